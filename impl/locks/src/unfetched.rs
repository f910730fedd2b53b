//! Waiting requests by deadline. A lock that was granted and not taken by its deadline goes back.
//!
//! If a request is not granted, the machine refuses it at its deadline. If it is granted, it has left the machine's
//! queue, and its task may never be polled again. So each request is noted here when it begins to wait. Removing a
//! request when it ends would need the machine's mutex. Instead, ended requests are removed in bulk from time to time,
//! at a constant amortized cost for each request.

use crate::sync::Arc;
use crate::waiter::Waiter;
use std::collections::BTreeMap;
use tenure_protocol::{SessionId, Time};

/// The minimum number of requests at which ended requests are removed.
const COUNT_MIN: usize = 64;

/// The waiting requests by deadline. See the [module](self).
#[derive(Debug)]
pub(crate) struct Unfetched {
    all: BTreeMap<(Time, u64), (SessionId, Arc<Waiter>)>,
    /// The number of requests noted so far.
    noted: u64,
    /// The number of requests at which ended requests are removed.
    full: usize,
}

impl Unfetched {
    pub(crate) fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            noted: 0,
            full: COUNT_MIN,
        }
    }

    /// Notes a request that begins to wait.
    pub(crate) fn note(&mut self, until: Time, session: SessionId, waiter: Arc<Waiter>) {
        if self.all.len() >= self.full {
            self.all.retain(|_, (_, waiter)| !waiter.wait.is_over());
            self.full = COUNT_MIN.max(2 * self.all.len());
        }
        self.noted += 1;
        self.all.insert((until, self.noted), (session, waiter));
    }

    /// Returns whether the deadline of any request has passed.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.all
            .first_key_value()
            .is_some_and(|((until, _), _)| *until <= now)
    }

    /// Removes and returns the next request whose deadline has passed and whose lock was neither taken nor withdrawn.
    pub(crate) fn next_due(&mut self, now: Time) -> Option<(SessionId, Arc<Waiter>)> {
        while let Some(first) = self.all.first_entry()
            && first.key().0 <= now
        {
            let (session, waiter) = first.remove();
            if !waiter.wait.is_over() {
                return Some((session, waiter));
            }
        }
        None
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Entrance;
    use std::panic::Location;
    use tenure_protocol::ThreadId;
    use tenure_protocol::process::Names;

    fn waiter() -> Arc<Waiter> {
        let entrance = Entrance {
            thread: ThreadId(1),
            place: Location::caller(),
            now: Time::ZERO,
        };
        Arc::new(Waiter::new(entrance, Names::All, 0))
    }

    #[test]
    fn ended_requests_are_removed_so_that_memory_stays_bounded() {
        let mut unfetched = Unfetched::new();
        let session = SessionId::from_static("s");
        let lasting = waiter();
        unfetched.note(Time(5), session.clone(), Arc::clone(&lasting));
        for _ in 0..10_000 {
            let over = waiter();
            unfetched.note(Time(9), session.clone(), Arc::clone(&over));
            drop(over.wait.close());
            assert!(unfetched.len() <= COUNT_MIN);
        }
        assert!(unfetched.next_due(Time(4)).is_none());
        let (_, due) = unfetched
            .next_due(Time(9))
            .expect("this request has not ended");
        assert!(Arc::ptr_eq(&due, &lasting));
        assert!(unfetched.next_due(Time(9)).is_none());
        assert_eq!(unfetched.len(), 0);
    }
}
