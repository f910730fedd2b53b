//! Compares a message of a process with the machine's message, except for numbers.

use super::process_hypothesis::Hypothesis;
use std::collections::BTreeMap;
use tenure_protocol::message::{AcquireRequest, Commit, Hello, Release};
use tenure_protocol::{Request, ToStore};

impl Hypothesis {
    fn is_request(&mut self, ours: Request, theirs: Request) -> bool {
        let known = self
            .requests
            .iter()
            .find(|(own, other)| *own == ours || *other == theirs);
        match known {
            Some(pair) => *pair == (ours, theirs),
            None => {
                // Both numbers rise.
                let is_new = self
                    .requests
                    .iter()
                    .all(|(own, other)| (*own < ours) == (*other < theirs));
                self.requests.push((ours, theirs));
                is_new
            }
        }
    }

    fn is_acquire(&mut self, ours: &AcquireRequest, theirs: &AcquireRequest) -> bool {
        ours.session == theirs.session
            && ours.wait_mode == theirs.wait_mode
            && ours.ticket == theirs.ticket
            // The process need not cache the state that it has had.
            && (theirs.known.is_none() || ours.known == theirs.known)
            && self.is_request(ours.request, theirs.request)
    }

    pub(super) fn is_same(&mut self, ours: &ToStore, theirs: &ToStore) -> bool {
        match (ours, theirs) {
            (
                ToStore::Hello(Hello {
                    sent, holds, waits, ..
                }),
                ToStore::Hello(Hello {
                    sent: said,
                    holds: held,
                    waits: wanted,
                    ..
                }),
            ) => {
                self.sent.push((*sent, *said));
                holds.len() == held.len()
                    && held.iter().all(|hold| holds.contains(hold))
                    && waits.len() == wanted.len()
                    && wanted.iter().all(|acquire| {
                        let own = waits.iter().find(|own| own.session == acquire.session);
                        own.is_some_and(|own| self.is_acquire(own, acquire))
                    })
            }
            (ToStore::KeepAlive { sent }, ToStore::KeepAlive { sent: said }) => {
                self.sent.push((*sent, *said));
                true
            }
            (ToStore::Acquire(ours), ToStore::Acquire(theirs)) => self.is_acquire(ours, theirs),
            (
                ToStore::Cancel { request, .. },
                ToStore::Cancel {
                    request: theirs, ..
                },
            ) => self.is_request(*request, *theirs),
            (
                ToStore::Release(Release {
                    token,
                    base,
                    delta,
                    requeue,
                    ..
                }),
                ToStore::Release(Release {
                    token: t,
                    base: b,
                    delta: d,
                    requeue: r,
                    ..
                }),
            ) => {
                let is_request = match (requeue, r) {
                    (Some(ours), Some(theirs)) => self.is_request(*ours, *theirs),
                    (ours, theirs) => ours.is_none() && theirs.is_none(),
                };
                is_request && token == t && base == b && is_same_delta(delta, d)
            }
            (
                ToStore::Commit(Commit {
                    token, base, delta, ..
                }),
                ToStore::Commit(Commit {
                    token: t,
                    base: b,
                    delta: d,
                    ..
                }),
            ) => token == t && base == b && is_same_delta(delta, d),
            (ours, theirs) => ours == theirs,
        }
    }
}

fn is_same_delta(ours: &tenure_protocol::Delta, theirs: &tenure_protocol::Delta) -> bool {
    let ours: BTreeMap<_, _> = ours
        .changes()
        .iter()
        .map(|own| (&own.name, &own.value))
        .collect();
    let theirs: BTreeMap<_, _> = theirs
        .changes()
        .iter()
        .map(|own| (&own.name, &own.value))
        .collect();
    ours == theirs
}
