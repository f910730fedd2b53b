//! A second copy of the store, driven as a driver with little memory does: every session that can be evicted is
//! evicted, and is admitted again only for a step that concerns it. Timers are kept in an index. The copy must produce
//! the same outputs and miss no timer.

use std::collections::BTreeMap;
use tenure_protocol::message::Granted;
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{Records, SessionId, Settings, StoreMachine, StoreSettings, Time, ToProcess};

/// The forgetful store; see the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Forgetful {
    store: StoreMachine,
    timers: BTreeMap<SessionId, Vec<(Time, Timer)>>,
}

impl Forgetful {
    /// Creates a copy from the durable records.
    pub(crate) fn recover(
        settings: &StoreSettings,
        epoch: u64,
        records: &Records,
        now: Time,
    ) -> Self {
        let settings = Settings::new(settings.clone());
        let mut own = Self {
            store: StoreMachine::recover(settings, epoch, &Records::default(), now),
            timers: BTreeMap::new(),
        };
        for (id, record) in records.iter() {
            own.store.admit(id, record, now);
            own.note(id);
        }
        own.evict();
        own
    }

    /// Takes the step that `other` has just taken with these outputs, from the durable records before it.
    pub(crate) fn step(
        &mut self,
        now: Time,
        input: &Input,
        records: &Records,
        (other, outputs): (&StoreMachine, &[Output]),
    ) {
        let concerned = self.store.concerned(input);
        for id in &concerned {
            if let Some(record) = records.get(id) {
                self.store.admit(id, record, now);
            }
        }
        let mut out = Vec::new();
        self.store.step(now, input.clone(), &mut out);
        let (own, others) = (without_hints(&out), without_hints(outputs));
        assert_eq!(own, others, "{input:?}");
        concerned.iter().for_each(|id| self.note(id));
        self.evict();
        for (due, timer) in other.timers() {
            let known = match &timer {
                Timer::Lease(_) => self.store.due(&timer) == Some(due),
                Timer::Remind(id) | Timer::Revoke(id) | Timer::Wait(id, _) | Timer::Expire(id) => {
                    self.timers.get(id).is_some_and(|timers| {
                        timers.iter().any(|known| *known == (due, timer.clone()))
                    })
                }
            };
            assert!(known, "{timer:?} is missed after {input:?}");
        }
    }

    fn note(&mut self, id: &SessionId) {
        self.timers
            .insert(id.clone(), self.store.timers_of(id).collect());
    }

    fn evict(&mut self) {
        let ids: Vec<SessionId> = self.store.sessions().map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.store.evict(&id);
        }
    }
}

/// Ignores whether processes take turns: the evicted session forgets that, and it is only a hint.
fn without_hints(outputs: &[Output]) -> Vec<Output> {
    let mut outputs = outputs.to_vec();
    for output in &mut outputs {
        if let Output::Send {
            message: ToProcess::Granted(Granted { give_back, .. }),
            ..
        } = output
        {
            *give_back = false;
        }
    }
    outputs
}
