//! From numbers back to states: paths and successors, found by running the model again.
//!
//! No state is stored, only how it was first reached. Each replayed state is looked up by its fingerprint, so a model
//! that answers differently the second time is found out instead of yielding a false path.

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

/// A shortest way from an initial state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<S, A> {
    /// Where it starts.
    pub initial: S,
    /// The steps in order; none if an initial state was asked for.
    pub steps: Vec<Step<S, A>>,
}

impl<S, A> Path<S, A> {
    /// The state that the path leads to.
    #[must_use]
    pub fn last(&self) -> &S {
        self.steps.last().map_or(&self.initial, |step| &step.next)
    }
}

/// One edge of the graph, with what the graph does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor<S, A> {
    /// The action that leads there.
    pub action: A,
    /// What fairness promises of it.
    pub class: Class,
    /// The state.
    pub state: S,
    /// Its number, unless the search ended before it was found.
    pub id: Option<u32>,
}

impl Exploration {
    /// A shortest path to a state, the first in breadth-first order.
    ///
    /// # Panics
    /// If there is no such state, or if the model, run again, does something else: then it is not deterministic (or not
    /// the one that was explored).
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

    /// The edges of a state as [`Graph::edges`](crate::graph::Graph::edges) lists them, in the same order.
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

    /// The number of a state, if it was found.
    #[must_use]
    pub fn id<S: std::hash::Hash>(&self, state: &S) -> Option<u32> {
        self.visited.find(fingerprint(state))
    }

    fn initial<M: FairModel>(&self, model: &M, id: u32) -> M::State {
        model
            .init_states()
            .into_iter()
            .find(|state| self.id(state) == Some(id))
            .unwrap_or_else(|| panic!("the model is not deterministic: initial state {id} is not among its initial states now"))
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
