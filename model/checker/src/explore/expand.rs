//! The parallel half of the search: the expansion of a chunk of states.
//!
//! A worker evaluates the properties of its states, lists their transitions, and drops every successor that the visited
//! set already contains. It assigns no numbers: the merge does, so that numbers do not depend on the threads.

use stateright::{Expectation, Model, Property};

use super::FairModel;
use super::visited::{Visited, fingerprint};
use crate::graph::Class;

/// The target of an edge to a state that the worker did not find. The state itself is in [`Expanded::fresh`].
pub(super) const UNKNOWN: u32 = u32::MAX;

/// The number of successors that are looked up together.
const WINDOW: usize = 32;

pub(super) struct Expander<'m, M: Model> {
    pub(super) model: &'m M,
    pub(super) properties: Vec<Property<M>>,
    pub(super) visited: Visited,
    /// Whether the graph is wanted, with fairness classes and pending obligations.
    pub(super) edges: bool,
    /// For each property, whether it is still evaluated.
    pub(super) wanted: Vec<bool>,
    /// Whether the search is over except for the evaluation of the states already found.
    pub(super) halted: bool,
}

/// A transition within the boundary, to another state or to the same one.
pub(super) struct Edge {
    pub(super) fingerprint: u64,
    pub(super) target: u32,
    pub(super) action: u16,
    pub(super) class: Class,
}

/// The transitions of one state.
pub(super) struct Row {
    /// The number of transitions.
    pub(super) edges: u32,
    pub(super) pending: u64,
}

/// The result of expanding a chunk of states.
pub(super) struct Expanded<S> {
    /// For each property, the index in the chunk of the first state that decides the property.
    pub(super) hits: Vec<Option<usize>>,
    pub(super) rows: Vec<Row>,
    pub(super) edges: Vec<Edge>,
    /// The target states of the edges with an unknown target, in the order of these edges.
    pub(super) fresh: Vec<S>,
}

impl<S> Expanded<S> {
    fn new(states: usize, properties: usize) -> Self {
        Self {
            hits: vec![None; properties],
            rows: Vec::with_capacity(states),
            edges: Vec::new(),
            fresh: Vec::new(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + self.edges.capacity() * size_of::<Edge>()
            + self.fresh.capacity() * size_of::<S>()
    }
}

impl<M: FairModel> Expander<'_, M> {
    /// Expands a chunk. The method consumes the chunk, so that the worker also frees its states.
    pub(super) fn expand(&self, chunk: Vec<M::State>) -> Expanded<M::State> {
        let mut expanded = Expanded::new(chunk.len(), self.properties.len());
        let mut actions = Vec::new();
        let mut resolved = 0;
        for (index, state) in chunk.iter().enumerate() {
            self.evaluate(state, index, &mut expanded.hits);
            let edges = expanded.edges.len();
            if !self.halted && !self.model.is_final(state) {
                self.model.actions(state, &mut actions);
                self.take(state, actions.drain(..), &mut expanded);
            }
            expanded.rows.push(Row {
                edges: (expanded.edges.len() - edges) as u32,
                pending: if self.edges {
                    self.model.obligations(state)
                } else {
                    0
                },
            });
            if expanded.edges.len() - resolved >= WINDOW || index + 1 == chunk.len() {
                self.resolve(resolved, &mut expanded);
                resolved = expanded.edges.len();
            }
        }
        expanded
    }

    fn evaluate(&self, state: &M::State, index: usize, hits: &mut [Option<usize>]) {
        for ((property, hit), wanted) in self.properties.iter().zip(hits).zip(&self.wanted) {
            if !wanted || hit.is_some() {
                continue;
            }
            let decisive = property.expectation == Expectation::Sometimes;
            if (property.condition)(self.model, state) == decisive {
                *hit = Some(index);
            }
        }
    }

    /// Takes every action in the state. The targets of the edges are resolved later.
    fn take(
        &self,
        state: &M::State,
        actions: impl Iterator<Item = M::Action>,
        into: &mut Expanded<M::State>,
    ) {
        for (index, action) in actions.enumerate() {
            let class = if self.edges {
                self.model.class(state, &action)
            } else {
                Class::Free
            };
            let Some(next) = self.model.next_state(state, action) else {
                continue;
            };
            if self.model.within_boundary(&next) {
                into.edges.push(Edge {
                    fingerprint: fingerprint(&next),
                    target: UNKNOWN,
                    action: u16::try_from(index)
                        .expect("the model lists at most 65,536 actions in a state"),
                    class,
                });
                into.fresh.push(next);
            }
        }
    }

    /// Looks up the targets of the edges from `start` on, and drops the target states that are known.
    fn resolve(&self, start: usize, expanded: &mut Expanded<M::State>) {
        let Expanded { edges, fresh, .. } = expanded;
        let edges = &mut edges[start..];
        self.visited.warm(edges.iter().map(|edge| edge.fingerprint));
        let first = fresh.len() - edges.len();
        let mut kept = first;
        for (offset, edge) in edges.iter_mut().enumerate() {
            if let Some(id) = self.visited.find(edge.fingerprint) {
                edge.target = id;
            } else {
                fresh.swap(kept, first + offset);
                kept += 1;
            }
        }
        fresh.truncate(kept);
    }
}
