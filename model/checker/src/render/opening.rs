//! The first row of a step: the text of the action, where the following rows do not show it.

use super::Step;
use super::renderer::{Actor, Renderer};
use crate::system::{Action, PROCESSES, ProcessTimer, StoreTimer};
use tenure_protocol::Hook;

impl<H: Hook> Renderer<'_, H> {
    /// Adds a row for the action, where the following rows do not show it.
    #[expect(clippy::too_many_lines, reason = "one match, an arm for each action")]
    pub(super) fn open(&mut self, step: &Step<H>) {
        let process = |index: u8| Actor::Process(usize::from(index));
        match step.action {
            Action::Cut { process: index, .. } => {
                self.fault(process(index), "its connection is cut")
            }
            Action::Silence { process: index } => self.fault(
                process(index),
                "its connection goes silent without being closed",
            ),
            Action::Crash { process: index, .. } => self.fault(process(index), "dies"),
            Action::Start { process: index } => {
                let side = step.told.next.processes[usize::from(index)].as_ref();
                let incarnation = side.map_or(0, |side| side.incarnation);
                self.note(
                    process(index),
                    format!("starts again, as incarnation {incarnation}"),
                );
            }
            Action::Shutdown { process: index } => {
                self.note(process(index), "is asked to shut down")
            }
            Action::GiveBack {
                process: index,
                session,
            } => {
                let session = self.session(session);
                self.note(
                    process(index),
                    format!("gives {session} back of its own accord"),
                );
            }
            Action::Restart => {
                let epoch = step.told.next.store.machine.stamps().last().epoch;
                self.fault(
                    Actor::Store,
                    format!("dies, and starts again from its disk as epoch {epoch}"),
                );
            }
            Action::Stop { drains } => {
                let how = if drains {
                    "to drain"
                } else {
                    "to stop for a restart"
                };
                self.note(Actor::Store, format!("begins {how}"));
            }
            Action::Fill { is_full } => {
                let text = if is_full {
                    "its disk is full"
                } else {
                    "its disk has room again"
                };
                self.note(Actor::Store, text);
            }
            Action::StoreTimer(timer) => self.store_timer(timer),
            Action::ProcessTimer {
                process: index,
                timer,
            } => self.process_timer(process(index), timer),
            Action::Tick { clocks } => {
                let clocks = &clocks[..self.model.universe.programs.len()];
                let own = clocks
                    .iter()
                    .zip(&PROCESSES)
                    .map(|(by, name)| format!(", {by} at {name}"));
                self.note(
                    Actor::Store,
                    format!("time passes: 1 at the store{}", own.collect::<String>()),
                );
            }
            Action::Thread { .. }
            | Action::Abandon { .. }
            | Action::ToStore { .. }
            | Action::ToProcess { .. }
            | Action::LoseUp { .. }
            | Action::LoseDown { .. }
            | Action::Connect { .. }
            | Action::Flush => {}
        }
    }

    fn store_timer(&mut self, timer: StoreTimer) {
        let process = |index: u8| &PROCESSES[usize::from(index)];
        let session = |index: u8| self.session(index);
        match timer {
            StoreTimer::Lease { process: index } => {
                self.fault(
                    Actor::Store,
                    format!("the lease of {} ends, by the store's clock", process(index)),
                );
            }
            StoreTimer::Revoke { session: index } => {
                self.fault(
                    Actor::Store,
                    format!("the deadline of the recall of {} passes", session(index)),
                );
            }
            StoreTimer::Remind { session: index } => {
                self.note(
                    Actor::Store,
                    format!("no answer yet: repeats the recall of {}", session(index)),
                );
            }
            StoreTimer::Wait {
                session: index,
                process: waiter,
            } => {
                self.note(
                    Actor::Store,
                    format!(
                        "{} has waited too long for {}",
                        process(waiter),
                        session(index)
                    ),
                );
            }
            StoreTimer::Expire { session: index } => {
                self.note(
                    Actor::Store,
                    format!("the time to live of {} ends", session(index)),
                );
            }
        }
    }

    fn process_timer(&mut self, process: Actor, timer: ProcessTimer) {
        match timer {
            ProcessTimer::Lease => self.fault(process, "its lease ends, by its own clock"),
            ProcessTimer::Late { session } => {
                let session = self.session(session);
                self.fault(
                    process,
                    format!("can wait no longer: gives {session} up with threads inside"),
                );
            }
            ProcessTimer::KeepAlive => {}
            ProcessTimer::Silent => self.note(
                process,
                "no answer for half of what the lease had left: tries another connection",
            ),
            ProcessTimer::ResendHello | ProcessTimer::Resend { .. } => {
                self.note(process, "no answer yet: says it again")
            }
            ProcessTimer::Wait { thread, .. } => {
                self.note(process, format!("t{} has waited too long", thread + 1))
            }
        }
    }
}
