//! The store and its disk, taking one step of the model.

use super::canonical::{Numbered, Shift, index};
use super::watch::{self, Flaw};
use super::{Model, PROCESSES_MAX, StoreSide};
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{Hook, Link, Stamp, Store, ToProcess};

/// What happens to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// The machine takes a step.
    Step(Input),
    /// The next update becomes durable.
    Flush,
    /// It dies, and starts again from what is durable.
    Restart,
    /// Time passes by one.
    Tick,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Staged {
    pub(super) sent: Vec<(usize, Link, ToProcess)>,
    pub(super) destroyed: [Stamp; 2],
    pub(super) flaw: Option<Flaw>,
}

/// Lets it happen.
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
            staged.flaw = watch::store_step(&before, &side.machine, input);
            if model.universe.watches_destroyed {
                watch::note_ends(&before, &side.machine, &mut staged.destroyed);
                let resurrection = watch::resurrection(&before, &side.machine, input, &destroyed);
                staged.flaw = staged.flaw.or(resurrection);
            }
            if model.universe.restarts {
                side.outbox.extend(out);
            } else {
                out.into_iter().for_each(|output| staged.carry_out(output));
            }
        }
        Event::Flush => {
            if let Output::Persist(update) = side.outbox.remove(0) {
                side.durable.apply(&update);
            }
        }
        Event::Restart => {
            let epoch = side.machine.stamps().last().epoch + 1;
            side.outbox.clear();
            let settings = model.store_settings.clone();
            side.machine = Store::with_hook(
                model.hook,
                settings,
                epoch,
                &side.durable,
                model.universe.now().0,
            );
        }
        Event::Tick => side.visit(&mut Shift::new([0; PROCESSES_MAX])),
    }
    // What waits for no update leaves.
    let ready = side
        .outbox
        .iter()
        .position(|output| matches!(output, Output::Persist(_)));
    let ready: Vec<Output> = side
        .outbox
        .drain(..ready.unwrap_or(side.outbox.len()))
        .collect();
    ready
        .into_iter()
        .for_each(|output| staged.carry_out(output));
    staged
}

impl Staged {
    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Persist(_) => {}
            Output::Send {
                process,
                link,
                message,
            } => self.sent.push((index(&process) as usize, link, message)),
            Output::Disconnect { .. } => self.flaw = self.flaw.or(Some(Flaw::Misbehaved)),
        }
    }
}
