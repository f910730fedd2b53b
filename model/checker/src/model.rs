//! The model as the explorer sees it: its transitions, its properties, and the fairness of its actions.

use crate::explore::FairModel;
use crate::graph::Class;
use crate::property;
use crate::render;
use crate::system::{Action, Model, System};
use tenure_protocol::Hook;

impl<H: Hook> stateright::Model for Model<H> {
    type State = System<H>;
    type Action = Action;

    fn init_states(&self) -> Vec<System<H>> {
        vec![self.initial()]
    }

    fn actions(&self, state: &System<H>, actions: &mut Vec<Action>) {
        if state.violation.is_none() {
            self.list_actions(state, actions);
        }
    }

    fn next_state(&self, state: &System<H>, action: Action) -> Option<System<H>> {
        Some(self.successor(state, action))
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        property::of(self.universe)
            .map(property::Checked::property)
            .collect()
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }

    fn format_step(&self, state: &System<H>, action: Action) -> Option<String> {
        let next = self.raw_successor(state, action);
        Some(render::differences(state, &next).join("\n"))
    }
}

impl<H: Hook> FairModel for Model<H> {
    fn class(&self, state: &System<H>, action: &Action) -> Class {
        self.class_of(state, *action)
    }

    fn obligations(&self, state: &System<H>) -> u64 {
        property::pending(state)
    }
}
