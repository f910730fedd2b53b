//! Paths and successors of numbered states, found by running the model again.
//!
//! No state is stored, only the way in which it was first reached. Each replayed state is looked up by its fingerprint.
//! If the model behaves differently the second time, the replay panics instead of returning a false path.

use std::iter;

use super::visited::fingerprint;
use super::{Exploration, FairModel};
use crate::graph::Class;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<S, A> {
    /// The state in which the action is taken.
    pub state: S,
    /// The action.
    pub action: A,
    /// The state that it leads to.
    pub next: S,
}

/// A shortest path from an initial state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<S, A> {
    /// The initial state.
    pub initial: S,
    /// The steps in order; empty if the target is an initial state.
    pub steps: Vec<Step<S, A>>,
}

impl<S, A> Path<S, A> {
    /// Returns the state to which the path leads.
    #[must_use]
    pub fn last(&self) -> &S {
        self.steps.last().map_or(&self.initial, |step| &step.next)
    }
}

/// One edge of the graph, with the parts that the graph does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor<S, A> {
    /// The action of the edge.
    pub action: A,
    /// The promise of fairness for the action.
    pub class: Class,
    /// The target state.
    pub state: S,
    /// The number of the target state, unless the search ended before it was found.
    pub id: Option<u32>,
}

impl Exploration {
    /// Returns a shortest path to a state, the first in breadth-first order.
    ///
    /// # Panics
    /// When there is no such state. Also when the model behaves differently in the replay: then the model is not
    /// deterministic, or another model was explored.
    #[must_use]
    pub fn path<M: FairModel>(&self, model: &M, state: u32) -> Path<M::State, M::Action> {
        assert!(
            u64::from(state) < self.unique_states,
            "there is no state {state}"
        );
        let parent = |id: u32| self.origins.parents[id as usize];
        let roots = self.origins.roots;
        let mut ids: Vec<u32> =
            iter::successors(Some(state), |&id| (id >= roots).then(|| parent(id))).collect();
        ids.reverse();
        let initial = self.initial(model, ids[0]);
        let mut steps: Vec<Step<_, _>> = Vec::with_capacity(ids.len() - 1);
        for &id in &ids[1..] {
            let from = steps
                .last()
                .map_or(&initial, |step: &Step<_, _>| &step.next)
                .clone();
            steps.push(self.step(model, from, id));
        }
        Path { initial, steps }
    }

    /// Returns the edges of a state in the order of [`Graph::edges`](crate::graph::Graph::edges).
    #[must_use]
    pub fn successors<M: FairModel>(
        &self,
        model: &M,
        state: &M::State,
    ) -> Vec<Successor<M::State, M::Action>> {
        let mut actions = Vec::new();
        if !model.is_final(state) {
            model.actions(state, &mut actions);
        }
        let successor = |action: M::Action| {
            let class = model.class(state, &action);
            let next = model.next_state(state, action.clone())?;
            model.within_boundary(&next).then(|| Successor {
                action,
                class,
                id: self.id(&next),
                state: next,
            })
        };
        actions.into_iter().filter_map(successor).collect()
    }

    /// Returns the number of a state, if the state was found.
    #[must_use]
    pub fn id<S: std::hash::Hash>(&self, state: &S) -> Option<u32> {
        self.visited.find(fingerprint(state))
    }

    fn initial<M: FairModel>(&self, model: &M, id: u32) -> M::State {
        model
            .init_states()
            .into_iter()
            .find(|state| self.id(state) == Some(id))
            .unwrap_or_else(|| {
                panic!("the model is not deterministic: initial state {id} is not among its initial states now")
            })
    }

    fn step<M: FairModel>(&self, model: &M, state: M::State, id: u32) -> Step<M::State, M::Action> {
        let index = usize::from(self.origins.actions[id as usize]);
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        let count = actions.len();
        let Some(action) = actions.into_iter().nth(index) else {
            panic!(
                "the model is not deterministic: state {id} was reached by action {index} of what now are {count}"
            );
        };
        let next = model.next_state(&state, action.clone());
        let Some(next) = next.filter(|next| self.id(next) == Some(id)) else {
            panic!(
                "the model is not deterministic: {action:?} led to state {id} and now leads elsewhere"
            );
        };
        Step {
            state,
            action,
            next,
        }
    }
}
