//! The requests that began to wait, by their deadlines: a lock that was granted and is not fetched by then goes back.
//!
//! A request that is not granted is refused by the machine at its deadline. One that is granted has left the machine's queue, and
//! its task may never be polled again. So each is noted here when it begins to wait. A request that is fetched or dropped is not
//! taken out, since that would take the machine's lock; now and then all of these are, at the cost of a constant for each request.

use crate::sync::Arc;
use crate::wait::Waiter;
use std::collections::BTreeMap;
use tenure_protocol::{SessionId, Time};

/// How many may stand here before those that are over are looked for.
const COUNT_MIN: usize = 64;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Unfetched {
    all: BTreeMap<(Time, u64), (SessionId, Arc<Waiter>)>,
    /// How many were noted ever.
    noted: u64,
    /// At this length those that are over are taken out.
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

    /// Whether the deadline of any has come.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.all
            .first_key_value()
            .is_some_and(|((until, _), _)| *until <= now)
    }

    /// Takes out the next request whose deadline has come and that was neither fetched nor dropped.
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
    fn requests_that_are_over_take_no_more_memory_than_those_that_are_not() {
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
        let (_, due) = unfetched.next_due(Time(9)).expect("not over");
        assert!(Arc::ptr_eq(&due, &lasting));
        assert!(unfetched.next_due(Time(9)).is_none());
        assert_eq!(unfetched.len(), 0);
    }
}
