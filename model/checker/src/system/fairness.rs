//! The promise of fairness for each transition, see decision 4.

use super::actions::{holder, lives};
use super::{Action, Model, PROCESSES, ProcessTimer, StoreTimer, System, THREADS_MAX, app::Do};
use crate::graph::Class;
use tenure_protocol::{Hook, ToProcess, ToStore};

impl<H: Hook> Model<H> {
    /// Returns the promise of fairness. There is a class for each thread, each direction of each channel, each
    /// connection and each timer.
    pub(crate) fn class_of(&self, state: &System<H>, action: Action) -> Class {
        let by_process = |base: u8, process: u8| Class::Fair(base + process);
        match action {
            Action::Thread { process, thread } => self.class_of_thread(state, process, thread),
            Action::ToStore {
                place: 0,
                stays: false,
                process,
            } => by_process(9, process),
            Action::ToProcess {
                place: 0,
                stays: false,
                process,
            } => by_process(12, process),
            Action::Connect { process } => by_process(15, process),
            Action::Flush => Class::Fair(18),
            Action::Tick { .. } => Class::Fair(19),
            Action::Abandon { .. }
            | Action::Start { .. }
            | Action::Shutdown { .. }
            | Action::GiveBack { .. } => Class::Free,
            Action::StoreTimer(timer) => self.class_of_store_timer(state, timer),
            Action::ProcessTimer { process, timer } => {
                self.class_of_process_timer(state, process, timer)
            }
            Action::ToStore { .. }
            | Action::ToProcess { .. }
            | Action::LoseUp { .. }
            | Action::LoseDown { .. }
            | Action::Cut { .. }
            | Action::Silence { .. }
            | Action::Crash { .. }
            | Action::Stop { .. }
            | Action::Fill { is_full: true } => Class::Fault,
            Action::Fill { is_full: false } => Class::Fair(48),
            // A stopped store is started again.
            Action::Restart if self.universe.closes => Class::Fair(49),
            Action::Restart => Class::Fault,
        }
    }

    fn class_of_thread(&self, state: &System<H>, process: u8, thread: u8) -> Class {
        let class = Class::Fair(process * THREADS_MAX as u8 + thread);
        let Some(side) = &state.processes[usize::from(process)] else {
            return Class::Free;
        };
        let own = side.threads[usize::from(thread)];
        let is_first = own.is_idle();
        // In a universe with lingering threads, a thread inside may stay for ever. A refused or poisoned thread leaves.
        let step = self.program(usize::from(process), usize::from(thread))[usize::from(own.at)];
        let lingers = self.universe.lingers
            && !own.is_leaving
            && matches!(step, Do::Unlock | Do::WriteAndUnlock(_));
        if is_first || lingers {
            Class::Free
        } else {
            class
        }
    }

    /// Returns the class of a timer of the store. A lease that no process renews ends fairly; the lease of a living
    /// process ends by a fault of the clocks.
    fn class_of_store_timer(&self, state: &System<H>, timer: StoreTimer) -> Class {
        match timer {
            StoreTimer::Lease { process } => {
                let is_fault = lives(state, process) && self.universe.clocks.is_none();
                if is_fault {
                    Class::Fault
                } else {
                    Class::Fair(20 + process)
                }
            }
            StoreTimer::Remind { session } => {
                let holder = holder(state, session);
                if holder.is_some_and(|process| store_is_hasty(state, process)) {
                    Class::Fault
                } else {
                    Class::Fair(23 + session)
                }
            }
            StoreTimer::Revoke { session } if self.universe.lingers => Class::Fair(25 + session),
            StoreTimer::Revoke { .. } | StoreTimer::Wait { .. } => Class::Fault,
            StoreTimer::Expire { .. } => Class::Free,
        }
    }

    fn class_of_process_timer(&self, state: &System<H>, process: u8, timer: ProcessTimer) -> Class {
        match timer {
            // The lease ends fairly after the store has ended it. Before that, it ends by a fault of the clocks.
            ProcessTimer::Lease => {
                let has_lease = state
                    .store
                    .machine
                    .peer(&PROCESSES[usize::from(process)])
                    .is_some();
                let is_fault = has_lease && self.universe.clocks.is_none();
                if is_fault {
                    Class::Fault
                } else {
                    Class::Fair(27 + process)
                }
            }
            ProcessTimer::ResendHello | ProcessTimer::Resend { .. }
                if process_is_hasty(state, process) =>
            {
                Class::Fault
            }
            ProcessTimer::KeepAlive => Class::Fair(30 + process),
            ProcessTimer::Silent => Class::Fair(48 + process),
            ProcessTimer::ResendHello => Class::Fair(33 + process),
            ProcessTimer::Resend { session } => Class::Fair(36 + process * 2 + session),
            ProcessTimer::Late { session } if self.universe.lingers => {
                Class::Fair(42 + process * 2 + session)
            }
            ProcessTimer::Late { .. } => Class::Fault,
            ProcessTimer::Wait { .. } => Class::Free,
        }
    }
}

/// Returns whether the store would repeat a recall while the recall or its answer is under way. Such an early
/// repetition is too quick for the network. It happens finitely often, like the network's other faults.
fn store_is_hasty<H>(state: &System<H>, process: u8) -> bool {
    let wire = state.wires[usize::from(process)].as_ref();
    let is_recall = |message: &ToProcess| matches!(message, ToProcess::Recall { .. });
    wire.is_some_and(|wire| {
        wire.down.iter().any(|(_, message)| is_recall(message))
            || wire.up.iter().any(|(_, message)| is_answer(message))
    })
}

/// Returns whether a process would repeat a message while that message is under way.
fn process_is_hasty<H>(state: &System<H>, process: u8) -> bool {
    let wire = state.wires[usize::from(process)].as_ref();
    wire.is_some_and(|wire| !wire.up.iter().all(|(_, message)| is_answer(message)))
}

/// Returns whether a message answers a recall and is not repeated by itself.
fn is_answer(message: &Option<ToStore>) -> bool {
    matches!(message, Some(ToStore::Busy { .. }))
}
