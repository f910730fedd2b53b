//! The result of a run, as it is written to JSON.

use crate::statistics::Summary;
use serde::Serialize;

/// The result of one run of `tenure bench`.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// The command that measured.
    pub command: String,
    /// Whether the run was short.
    pub quick: bool,
    /// The number of samples of each contestant.
    pub pairs: usize,
    /// The machine that measured.
    pub machine: Machine,
    /// The measured rows.
    pub rows: Vec<Row>,
    /// The promises behind the figures.
    pub guarantees: Vec<Guarantee>,
    /// Programs and conditions that this machine does not have.
    pub missing: Vec<Missing>,
}

/// The machine of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The model of the CPU.
    pub cpu: String,
    /// The number of cores that the harness may use.
    pub cores: usize,
    /// The operating system and its kernel.
    pub kernel: String,
    /// The average number of runnable processes when the run ended, over 1, 5 and 15 minutes.
    pub load: String,
}

/// One quantity, measured for several contestants.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The name, as `--row` takes it.
    pub name: String,
    /// The quantity.
    pub what: String,
    /// The cores of store and clients, or the value that a curve varies.
    pub place: String,
    /// The unit of all samples.
    pub unit: String,
    /// Whether less is better. Otherwise, more is better.
    pub less_is_better: bool,
    /// The contestants. The first is the one that the others are compared with.
    pub sides: Vec<Side>,
}

/// One contestant in one row.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// The contestant and its durability.
    pub name: String,
    /// The commands of one cycle.
    pub recipe: String,
    /// The address of the page that recommends this recipe.
    pub source: String,
    /// The samples, or the reason why there are none.
    pub outcome: Outcome,
}

/// The end of the runs of one contestant.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All runs succeeded.
    Measured {
        /// The samples.
        samples: Summary,
        /// Whether the samples differ too much for a conclusion.
        disturbed: bool,
        /// The first contestant's sample divided by this one's, pair by pair.
        ratio: Option<Summary>,
    },
    /// A run or the start of the server failed. Samples of earlier runs are discarded.
    Failed {
        /// The error.
        error: String,
    },
}

/// The promises of one contestant.
#[derive(Clone, Debug, Serialize)]
pub struct Guarantee {
    /// The contestant.
    pub name: String,
    /// The version of the server that ran.
    pub version: String,
    /// The writes that a crash or a power loss takes.
    pub durability: String,
    /// Whether a late holder's write is refused.
    pub fencing: String,
    /// The order in which waiters are served.
    pub order: String,
    /// Whether two holders can meet when one of them is paused.
    pub exclusion: String,
}

/// A program or condition that this machine does not have.
#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    /// The missing part.
    pub name: String,
    /// The consequence, and how to get the part.
    pub why: String,
}
