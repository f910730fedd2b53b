//! The serial half of the search: numbers the new states in breadth-first order.
//!
//! States are merged in the order of their numbers, and their successors in the order of the model's actions. All
//! counts and results depend only on that order. The division into chunks and the choice of workers have no effect on
//! them.

use std::hash::Hash;
use std::mem;

use stateright::Expectation;

use super::Verdict;
use super::expand::{Edge, Expanded, Row, UNKNOWN};
use super::visited::{Visited, fingerprint};
use crate::graph::{Class, Graph};

/// The number of states in a chunk: large enough to hide the cost of passing it on, small enough to divide a narrow
/// level.
pub(super) const CHUNK: usize = 256;

/// The parent of an initial state, which has none.
const NO_PARENT: u32 = u32::MAX;

/// The first path to each state, at 6 bytes for each state.
#[derive(Default)]
pub(super) struct Origins {
    pub(super) parents: Vec<u32>,
    /// The index of the action among the actions that the model lists in the parent.
    pub(super) actions: Vec<u16>,
    /// The number of initial states, which are the first ones.
    pub(super) roots: u32,
}

pub(super) struct Merger<S> {
    pub(super) origins: Origins,
    /// The number of transitions and initial states.
    pub(super) generated: u64,
    /// The number of states whose properties are evaluated: the number of the next state to be merged.
    pub(super) evaluated: u32,
    /// The number of states whose successors are known. Lags behind `evaluated` only once the search has halted.
    pub(super) expanded: u32,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) graph: Option<Graph>,
    /// The next level, in chunks.
    pub(super) next: Vec<Vec<S>>,
    pub(super) states_max: u32,
    pub(super) stop_at_violation: bool,
    /// Whether no further state is expanded, because a state did not fit or a violation ended the search.
    pub(super) halted: bool,
    row: Vec<(u32, Class)>,
}

impl<S: Hash> Merger<S> {
    pub(super) fn new(
        verdicts: Vec<Verdict>,
        edges: bool,
        states_max: u32,
        stop_at_violation: bool,
    ) -> Self {
        Self {
            origins: Origins::default(),
            generated: 0,
            evaluated: 0,
            expanded: 0,
            verdicts,
            graph: edges.then(Graph::default),
            next: Vec::new(),
            states_max,
            stop_at_violation,
            halted: false,
            row: Vec::new(),
        }
    }

    pub(super) fn unique(&self) -> usize {
        self.origins.parents.len()
    }

    /// Reserves room for as many states as the visited set has. A `Vec` that grows by itself would double its memory.
    pub(super) fn reserve(&mut self, len: usize) {
        let more = len.saturating_sub(self.unique());
        self.origins.parents.reserve_exact(more);
        self.origins.actions.reserve_exact(more);
    }

    pub(super) fn seed(&mut self, visited: &Visited, initial: Vec<S>) {
        for state in initial {
            self.generated += 1;
            if self
                .admit(visited, fingerprint(&state), state, (NO_PARENT, 0))
                .is_none()
            {
                self.halt();
                break;
            }
        }
        self.origins.roots = self.unique() as u32;
    }

    /// Merges the next chunk. The caller has reserved room for all its fresh states.
    pub(super) fn merge(&mut self, visited: &Visited, mut expanded: Expanded<S>) {
        let violation = self.judge(&expanded);
        let unknown = expanded.edges.iter().filter(|edge| edge.target == UNKNOWN);
        visited.warm(unknown.map(|edge| edge.fingerprint));
        let mut edges = mem::take(&mut expanded.edges).into_iter();
        let mut fresh = mem::take(&mut expanded.fresh).into_iter();
        for (index, row) in expanded.rows.iter().enumerate() {
            if violation == Some(index) && self.stop_at_violation {
                self.halt();
            }
            if self.halted {
                break;
            }
            if self
                .merge_row(visited, row, &mut edges, &mut fresh)
                .is_none()
            {
                self.halt();
            }
            self.expanded += 1;
        }
        self.evaluated += expanded.rows.len() as u32;
    }

    fn halt(&mut self) {
        self.halted = true;
        // The rows are incomplete, so the graph must not be taken for the reachable graph.
        self.graph = None;
    }

    /// Merges the transitions of one state. Returns `None` if a state or an edge did not fit.
    fn merge_row(
        &mut self,
        visited: &Visited,
        row: &Row,
        edges: &mut impl Iterator<Item = Edge>,
        fresh: &mut impl Iterator<Item = S>,
    ) -> Option<()> {
        self.generated += u64::from(row.edges);
        self.row.clear();
        for edge in edges.take(row.edges as usize) {
            let target = if edge.target == UNKNOWN {
                let state = fresh
                    .next()
                    .expect("a worker keeps one fresh state for each unknown target");
                self.admit(
                    visited,
                    edge.fingerprint,
                    state,
                    (self.expanded, edge.action),
                )?
            } else {
                edge.target
            };
            if self.graph.is_some() {
                self.row.push((target, edge.class));
            }
        }
        if let Some(graph) = &mut self.graph {
            u32::try_from(graph.edge_count() + self.row.len()).ok()?;
            graph.push(row.pending, self.row.drain(..));
        }
        Some(())
    }

    /// Returns the number of a state, after numbering it if it is new. Returns `None` if it is new and the limit is
    /// reached.
    fn admit(
        &mut self,
        visited: &Visited,
        fingerprint: u64,
        state: S,
        origin: (u32, u16),
    ) -> Option<u32> {
        let id = self.unique() as u32;
        if id == self.states_max {
            return visited.find(fingerprint);
        }
        let known = visited.insert(fingerprint, id);
        if known.is_some() {
            return known;
        }
        self.origins.parents.push(origin.0);
        self.origins.actions.push(origin.1);
        match self.next.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(state),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(state);
                self.next.push(chunk);
            }
        }
        Some(id)
    }

    /// Enters the chunk's findings into the verdicts. Returns the first index in the chunk that violates an `always`
    /// property.
    fn judge(&mut self, expanded: &Expanded<S>) -> Option<usize> {
        let mut violation: Option<usize> = None;
        for (verdict, hit) in self.verdicts.iter_mut().zip(&expanded.hits) {
            let always = verdict.expectation == Expectation::Always;
            if always {
                violation = violation.into_iter().chain(*hit).min();
            }
            if always || verdict.witness.is_none() {
                // Workers may evaluate states behind the first example. Those evaluations are not counted, so that
                // counts do not vary.
                let last = hit
                    .filter(|_| !always)
                    .map_or(expanded.rows.len(), |hit| hit + 1);
                verdict.evaluated += last as u64;
                let base = self.evaluated;
                verdict.witness = verdict.witness.or_else(|| hit.map(|hit| base + hit as u32));
            }
        }
        violation
    }

    pub(super) fn violated(&self) -> bool {
        self.verdicts
            .iter()
            .any(|verdict| verdict.expectation == Expectation::Always && verdict.witness.is_some())
    }

    pub(super) fn bytes(&self) -> usize {
        self.origins.parents.capacity() * 4
            + self.origins.actions.capacity() * 2
            + self.graph.as_ref().map_or(0, Graph::bytes)
    }
}
