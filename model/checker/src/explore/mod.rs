//! Explores every reachable state of a model, breadth first, and keeps what the checks need.
//!
//! Works over Stateright's `Model` trait, in place of Stateright's own checker, because that one overwrites the first
//! counterexample with later and longer ones, lets truncated runs pass, and keeps no graph to judge progress on.
//!
//! What is promised: the first witness in breadth-first order, hence a shortest one; the same numbers, counts and
//! witnesses whatever the number of threads; no verdict that holds unless the search was complete.
//!
//! States are told apart by 64-bit fingerprints ([`Exploration::missed_state_probability`]) and forgotten once expanded:
//! a state costs 21 to 32 bytes, the graph apart. Paths are found by replaying the model.
//!
//! Deliberately absent: `eventually` properties (Stateright's are blind on cycles; progress is judged on the [`Graph`]),
//! symmetry (canonicalise inside the model), depth-first and random search, storage on disk.
//!
//! Read in this order: `search`, the loop; `expand`, its parallel half; `merge`, its serial half; `visited`; `path`.

mod expand;
mod merge;
mod path;
mod search;
mod visited;

use std::fmt;
use std::hash::Hash;

use stateright::{Expectation, Model, Property};

use crate::graph::{Class, Graph};

pub use path::{Path, Step, Successor};
pub(crate) use visited::fingerprint;

/// A model that also says what progress means.
///
/// `Hash` of a state must be prefix-free, as a derived one is, and cover all that the model looks at.
///
/// A state outside the model's boundary does not exist: a transition to it is no edge. Mind that a fair action which
/// only leads there then counts as not enabled.
pub trait FairModel:
    Model<State: Clone + Hash + Send + Sync, Action: Clone + fmt::Debug + PartialEq + Send> + Sync
{
    /// What fairness promises of the action in that state.
    fn class(&self, state: &Self::State, action: &Self::Action) -> Class;

    /// The obligations that are pending in a state, one bit each.
    fn obligations(&self, state: &Self::State) -> u64;

    /// Whether a state is a dead end by definition: it is judged, and not expanded.
    ///
    /// In the graph it has no edges; if it also has obligations, they are never met.
    fn is_final(&self, _state: &Self::State) -> bool {
        false
    }
}

/// How to explore. The default: one thread, no graph, to the end.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Threads that expand, the calling one included.
    pub threads: usize,
    /// Keep the graph for the progress pass.
    pub edges: bool,
    /// Give up rather than find more states; those found are still judged.
    pub states_max: Option<u64>,
    /// Called by the calling thread about ten times a second, and at the end.
    pub on_progress: Option<&'a (dyn Fn(&Live) + Sync)>,
    /// Expand nothing from the first state on that violates an `always` property, and end with its level.
    pub stop_at_violation: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            threads: 1,
            edges: false,
            states_max: None,
            on_progress: None,
            stop_at_violation: false,
        }
    }
}

/// How far a running exploration is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Live {
    /// As [`Exploration::states`].
    pub states: u64,
    /// States found.
    pub unique_states: u64,
    /// As [`Exploration::depth`].
    pub depth: usize,
    /// States found and not yet judged.
    pub queue: u64,
    /// Since the start.
    pub seconds: f64,
    /// Unique states a second since the start.
    pub rate: f64,
}

/// Why a model was not explored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExploreError {
    /// There is nothing to check, so nothing may pass.
    #[error("the model has no properties")]
    NoProperties,
    /// There is no state, so everything would hold.
    #[error("the model has no initial state within its boundary")]
    NoInitialState,
    /// Stateright's notion of `eventually` is blind on cycles and joins.
    #[error(
        "property \"{name}\" is an `eventually`: state it as an obligation and judge it on the graph"
    )]
    Eventually {
        /// Of the property.
        name: &'static str,
    },
    /// A verdict would not say which one it is about.
    #[error("two properties are named \"{name}\"")]
    TwoProperties {
        /// Of both properties.
        name: &'static str,
    },
}

/// What the exploration says of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Of the property.
    pub name: &'static str,
    /// `Always` or `Sometimes`.
    pub expectation: Expectation,
    /// On how many states it was evaluated: `always` on all, `sometimes` up to its first example.
    pub evaluated: u64,
    /// The first state that violates an `always` or is an example of a `sometimes`, in breadth-first order.
    pub witness: Option<u32>,
    exhaustive: bool,
}

impl Verdict {
    fn open<M: Model>(property: &Property<M>) -> Self {
        Self {
            name: property.name,
            expectation: property.expectation.clone(),
            evaluated: 0,
            witness: None,
            exhaustive: false,
        }
    }

    /// Whether the property holds: an `always` only if it was evaluated on every state of a complete exploration.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.expectation {
            Expectation::Always => self.exhaustive && self.witness.is_none(),
            Expectation::Sometimes => self.witness.is_some(),
            Expectation::Eventually => false,
        }
    }
}

/// What was found.
pub struct Exploration {
    /// States generated: initial ones and one for each transition, duplicates included.
    pub states: u64,
    /// States found.
    pub unique_states: u64,
    /// Levels, that of the initial states included.
    pub depth: usize,
    /// Wall time.
    pub seconds: f64,
    /// Whether every state that can be reached was found, judged and expanded.
    pub complete: bool,
    /// An estimate of the largest memory held at once, what states keep on the heap not included.
    pub peak_bytes: usize,
    /// One for each property, in the order of the model's.
    pub verdicts: Vec<Verdict>,
    /// If asked for and complete.
    pub graph: Option<Graph>,
    visited: visited::Visited,
    origins: merge::Origins,
    levels: Vec<u32>,
}

impl Exploration {
    /// Whether the exploration is complete and every property holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.complete && self.verdicts.iter().all(Verdict::holds)
    }

    /// The verdict on the property of that name.
    #[must_use]
    pub fn verdict(&self, name: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.name == name)
    }

    /// The steps to a state from the nearest initial one.
    #[must_use]
    pub fn depth_of(&self, state: u32) -> u32 {
        u32::try_from(self.levels.partition_point(|end| *end <= state)).unwrap_or(u32::MAX)
    }

    /// The chance that two states shared a fingerprint, so that one was missed: at most about N² / 2^65.
    #[must_use]
    pub fn missed_state_probability(&self) -> f64 {
        let states = self.unique_states as f64;
        states * states / 2f64.powi(65)
    }
}

impl fmt::Debug for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exploration")
            .field("states", &self.states)
            .field("unique_states", &self.unique_states)
            .field("depth", &self.depth)
            .field("complete", &self.complete)
            .field("verdicts", &self.verdicts)
            .finish_non_exhaustive()
    }
}

/// Explores every state of the model.
///
/// # Errors
/// If the model could not be judged: see [`ExploreError`].
///
/// # Panics
/// As the model does; or if a state has more than 65,536 actions.
pub fn explore<M: FairModel>(
    model: &M,
    options: &Options<'_>,
) -> Result<Exploration, ExploreError> {
    Ok(search::Search::new(model, options)?.run())
}
