//! Breadth-first exploration of every reachable state of a model.
//!
//! The explorer works over Stateright's `Model` trait and replaces Stateright's own checker. That checker overwrites
//! the first counterexample with later and longer ones, lets truncated runs pass, and keeps no graph on which progress
//! could be judged.
//!
//! The explorer promises the first witness in breadth-first order, hence a shortest one. Numbers, counts and witnesses
//! do not depend on the number of threads. A verdict holds only after a complete search.
//!
//! States are identified by 64-bit fingerprints ([`Exploration::missed_state_probability`]) and dropped after their
//! expansion. Beside the graph, a state costs 21 to 32 bytes. Paths are found by replaying the model.
//!
//! The explorer deliberately has no `eventually` properties (Stateright's do not see cycles; progress is judged on the
//! [`Graph`]), no symmetry (the model canonicalises its states), no depth-first or random search, and no storage on
//! disk.
//!
//! Read the modules in this order: `search`, the loop; `expand`, its parallel half; `merge`, its serial half;
//! `visited`; `path`.

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

/// A model that also defines progress.
///
/// The `Hash` of a state must be prefix-free, as a derived one is, and must cover everything that the model reads.
///
/// A state outside the model's boundary does not exist, and a transition to such a state is no edge. A fair action that
/// leads only there counts as not enabled.
pub trait FairModel:
    Model<State: Clone + Hash + Send + Sync, Action: Clone + fmt::Debug + PartialEq + Send> + Sync
{
    /// Returns the promise of fairness for an action in a state.
    fn class(&self, state: &Self::State, action: &Self::Action) -> Class;

    /// Returns the pending obligations of a state, one bit each.
    fn obligations(&self, state: &Self::State) -> u64;

    /// Returns whether a state is a dead end by definition: it is judged, and not expanded.
    ///
    /// In the graph such a state has no edges. If it has obligations, they are never met.
    fn is_final(&self, _state: &Self::State) -> bool {
        false
    }
}

/// The options of an exploration. By default one thread explores to the end and keeps no graph.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The number of threads that expand states, with the calling one.
    pub threads: usize,
    /// Whether to keep the graph for the progress pass.
    pub edges: bool,
    /// The number of states after which the search stops. The states found until then are still judged.
    pub states_max: Option<u64>,
    /// The function that the calling thread calls about ten times a second, and at the end.
    pub on_progress: Option<&'a (dyn Fn(&Live) + Sync)>,
    /// Whether to stop expanding at the first state that violates an `always` property, and to end with its level.
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

/// The progress of a running exploration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Live {
    /// The same count as [`Exploration::states`].
    pub states: u64,
    /// The number of states found.
    pub unique_states: u64,
    /// The same count as [`Exploration::depth`].
    pub depth: usize,
    /// The number of states found and not yet judged.
    pub queue: u64,
    /// The time since the start, in seconds.
    pub seconds: f64,
    /// The number of unique states per second since the start.
    pub rate: f64,
}

/// The reason for which a model cannot be explored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExploreError {
    /// The model has no properties, so nothing would be checked.
    #[error("the model has no properties")]
    NoProperties,
    /// The model has no initial state, so every property would hold.
    #[error("the model has no initial state within its boundary")]
    NoInitialState,
    /// The model has an `eventually` property, which does not see cycles and joins in Stateright.
    #[error(
        "property \"{name}\" is an `eventually`: state it as an obligation and judge it on the graph"
    )]
    Eventually {
        /// The name of the property.
        name: &'static str,
    },
    /// Two properties have the same name, so a verdict would be ambiguous.
    #[error("two properties are named \"{name}\"")]
    TwoProperties {
        /// The name of both properties.
        name: &'static str,
    },
}

/// The verdict of the exploration on a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The name of the property.
    pub name: &'static str,
    /// The kind of the property: `Always` or `Sometimes`.
    pub expectation: Expectation,
    /// The number of states on which it was evaluated: all for an `always`, those up to the first example for a
    /// `sometimes`.
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

    /// Returns whether the property holds. An `always` holds only if it was evaluated on every state of a complete
    /// exploration.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.expectation {
            Expectation::Always => self.exhaustive && self.witness.is_none(),
            Expectation::Sometimes => self.witness.is_some(),
            Expectation::Eventually => false,
        }
    }
}

/// The result of an exploration.
pub struct Exploration {
    /// The number of generated states: the initial ones and one for each transition, with duplicates.
    pub states: u64,
    /// The number of distinct states found.
    pub unique_states: u64,
    /// The number of levels, with the level of the initial states.
    pub depth: usize,
    /// The duration, in seconds.
    pub seconds: f64,
    /// Whether every reachable state was found, judged and expanded.
    pub complete: bool,
    /// An estimate of the largest memory held at once, without the heap memory of the states.
    pub peak_bytes: usize,
    /// The verdicts, one for each property, in the order of the model's properties.
    pub verdicts: Vec<Verdict>,
    /// The graph, if it was asked for and the exploration is complete.
    pub graph: Option<Graph>,
    visited: visited::Visited,
    origins: merge::Origins,
    levels: Vec<u32>,
}

impl Exploration {
    /// Returns whether the exploration is complete and every property holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.complete && self.verdicts.iter().all(Verdict::holds)
    }

    /// Returns the verdict on the property of this name.
    #[must_use]
    pub fn verdict(&self, name: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.name == name)
    }

    /// Returns the number of steps from the nearest initial state to a state.
    #[must_use]
    pub fn depth_of(&self, state: u32) -> u32 {
        u32::try_from(self.levels.partition_point(|end| *end <= state)).unwrap_or(u32::MAX)
    }

    /// Returns the probability that two states shared a fingerprint, so that one was missed: at most about N² / 2^65.
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
/// When the model cannot be judged: see [`ExploreError`].
///
/// # Panics
/// When the model panics, or when a state has more than 65,536 actions.
pub fn explore<M: FairModel>(
    model: &M,
    options: &Options<'_>,
) -> Result<Exploration, ExploreError> {
    Ok(search::Search::new(model, options)?.run())
}
