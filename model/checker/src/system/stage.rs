//! A step of the store and its disk in the model.

use super::canonical::{Numbered, Shift, index};
use super::watch::{self, Violation};
use super::{Model, PROCESSES_MAX, StoreSide};
use crate::universe::Universe;
use tenure_protocol::store::{DurabilityBarrier, Envelope, Input, Output};
use tenure_protocol::{Hook, Link, Stamp, StoreMachine, ToProcess};

/// An event at the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// A step of the machine.
    Step(Input),
    /// The next update becomes durable.
    Flush,
    /// The store crashes and recovers from the durable records.
    Restart,
    /// Time passes by one.
    Tick,
}

/// The effects of an event.
#[derive(Clone, Debug, Default)]
pub(super) struct Staged {
    pub(super) sent: Vec<(usize, Link, ToProcess)>,
    pub(super) destroyed: [Stamp; 2],
    pub(super) violation: Option<Violation>,
}

/// Applies an event to the store.
pub(super) fn stage<H: Hook>(
    model: &Model<H>,
    side: &mut StoreSide<H>,
    destroyed: [Stamp; 2],
    event: &Event,
) -> Staged {
    let mut staged = Staged {
        destroyed,
        ..Staged::default()
    };
    match event {
        Event::Step(input) => {
            let mut out = Vec::new();
            let before = side.machine.clone();
            side.machine
                .step(model.universe.now().0, input.clone(), &mut out);
            staged.violation = watch::store_step(&before, &side.machine, input, &out);
            staged.violation = staged
                .violation
                .or_else(|| watch::newer_than(input, model.universe.is_older));
            if model.universe.watches_destroyed {
                watch::note_ends(&before, &side.machine, &mut staged.destroyed);
                let resurrection = watch::resurrection(&before, &side.machine, input, &destroyed);
                staged.violation = staged.violation.or(resurrection);
            }
            if model.universe.has_disk() {
                staged.pass(side, out);
                while !model.universe.lags() && !side.updates.is_empty() {
                    staged.flush(side);
                }
            } else {
                out.into_iter().for_each(|output| staged.carry_out(output));
            }
        }
        Event::Flush => staged.flush(side),
        Event::Restart => {
            let epoch = side.machine.stamps().last().epoch + 1;
            side.updates.clear();
            side.barrier = DurabilityBarrier::default();
            let settings = model.store_settings.clone();
            side.machine = StoreMachine::with_hook(
                model.hook,
                settings,
                epoch,
                &side.durable,
                model.universe.now().0,
            );
        }
        Event::Tick => side.visit(&mut Shift::new([0; PROCESSES_MAX])),
    }
    staged.read_in(model.universe);
    staged
}

impl Staged {
    /// Carries outputs out as the store's driver does: updates go to the disk, and a message leaves when its updates
    /// are durable.
    fn pass<H: Hook>(&mut self, side: &mut StoreSide<H>, out: Vec<Output>) {
        let mut own = None;
        for output in out {
            match output {
                Output::Persist(update) => {
                    let number = side.updates.len() as u64 + 1;
                    for id in update.sessions().into_iter().flatten() {
                        side.barrier.note(number, id);
                    }
                    side.updates.push(update);
                    own = Some(number);
                }
                Output::Send {
                    process,
                    link,
                    message,
                } => {
                    if let Some(ready) = side.barrier.hold(own, (process, link, message)) {
                        self.send(ready);
                    }
                }
                Output::Disconnect { .. } => self.carry_out(output),
            }
        }
    }

    /// Makes the first update durable, and sends the messages that have waited for it.
    fn flush<H: Hook>(&mut self, side: &mut StoreSide<H>) {
        let update = side.updates.remove(0);
        side.durable.apply(&update);
        let ready: Vec<Envelope> = side.barrier.take(1).collect();
        side.barrier.rebase(1);
        ready.into_iter().for_each(|envelope| self.send(envelope));
    }

    fn send(&mut self, (process, link, message): Envelope) {
        self.sent.push((index(&process) as usize, link, message));
    }

    /// Changes the sent messages to those of this universe's versions: a store of 1.0 states that version, and a
    /// process of 1.0 does not read limits. A process that reads the limits must not exceed them.
    fn read_in(&mut self, universe: &Universe) {
        for (_, _, message) in &mut self.sent {
            match message {
                ToProcess::Welcome { minor, limits, .. } => {
                    if universe.is_older {
                        *minor = 0;
                    }
                    if universe.is_deaf {
                        *limits = None;
                    }
                }
                ToProcess::Revoked { limit: Some(_), .. }
                | ToProcess::Released { limit: Some(_), .. }
                    if !universe.is_deaf =>
                {
                    self.violation = self.violation.or(Some(Violation::Misbehaved));
                }
                _ => {}
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Persist(_) => {}
            Output::Send {
                process,
                link,
                message,
            } => self.send((process, link, message)),
            Output::Disconnect { .. } => {
                self.violation = self.violation.or(Some(Violation::Misbehaved))
            }
        }
    }
}
