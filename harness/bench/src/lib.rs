//! Tenure beside its peers and beside the floors of the machine.
//!
//! | module | purpose |
//! |---|---|
//! | `contest` | runs the contestants of an experiment in turns, so that all of them meet the same noise |
//! | `statistics` | medians, spreads, and the ratios of pairs |
//! | `document` | the result: rows, the machine, and the promises of each contestant |
//! | `table`, `picture` | the result as text and as SVG |
//! | `floors` | mutexes, round trips, a relay and a disk, without any store |
//! | `peers`, `restart`, `curves` | the experiments with stores |
//! | `arena` | the contestants with their recipes and promises, and the stores of a run |
//! | `fleet` | starts and stops the stores |
//! | `party` | one client process: the only code that runs while a clock runs |
//! | `client` | one cycle in the words of each store |
//! | `child` | a child process that ends with this one |
//! | `host` | cores, clocks and memory of the operating system |
//!
//! A measurement has three processes at least: the store, a client process, and this one, which sleeps meanwhile. The
//! store runs on core 0. The clients run on core 1 (`cross`) or on core 0 too (`same`).

mod arena;
mod child;
mod client;
mod contest;
mod curves;
mod document;
mod fleet;
mod floors;
mod host;
mod party;
mod peers;
mod picture;
mod restart;
mod statistics;
mod table;

pub use child::{become_program, remove_on_signals};
pub use document::{Document, Guarantee, Machine, Missing, Outcome, Row, Side};
pub use party::run as run_party;
pub use picture::svg;
pub use statistics::{DISTURBED, Summary};
pub use table::render;

use anyhow::{Result, bail};
use contest::Plan;

/// A group of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Tenure, Redis and PostgreSQL at the same work.
    Peers,
    /// The least that the machine itself takes.
    Floors,
    /// The cost of one acquire while one quantity grows.
    Curves,
}

impl Group {
    /// Returns the name that the command line uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Floors => "floors",
            Self::Curves => "curves",
        }
    }

    /// Returns the names of the rows, each with a sentence about what it measures.
    #[must_use]
    pub fn rows(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Peers => peers::ROWS.to_vec(),
            Self::Floors => floors::ROWS.to_vec(),
            Self::Curves => curves::ROWS.to_vec(),
        }
    }
}

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The group of measurements.
    pub group: Group,
    /// Fewer pairs, shorter runs and less data.
    pub quick: bool,
    /// The selected rows. Empty: all rows of the group.
    pub rows: Vec<String>,
}

/// Measures the selected rows. Calls `say` before each run with a line about it.
///
/// # Errors
/// An error if a row does not exist, or if this machine cannot run any measurement. A peer that is missing or does not
/// start is part of the result instead.
pub fn measure(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Document> {
    let known = options.group.rows();
    for row in &options.rows {
        if !known.iter().any(|(name, _)| name == row) {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            bail!(
                "there is no row '{row}' in `tenure bench {}`; its rows are {}",
                options.group.name(),
                names.join(", ")
            );
        }
    }
    let mut plan = Plan::new(options, say);
    let found = match options.group {
        Group::Peers => peers::measure(&mut plan)?,
        Group::Floors => floors::measure(&mut plan)?,
        Group::Curves => curves::measure(&mut plan)?,
    };
    Ok(Document {
        command: format!("tenure bench {}", options.group.name()),
        quick: options.quick,
        pairs: plan.pairs(),
        machine: host::machine(),
        rows: found.rows,
        guarantees: found.guarantees,
        missing: found.missing,
    })
}
