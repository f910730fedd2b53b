//! What the store has said of itself in its last welcome: its version and its limits. Threads may write the smaller of this
//! process's limits and those of the store.

use crate::error::{Exceeded, Unsupported, Whose};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tenure_protocol::message::Limited;
use tenure_protocol::{Limits, SessionId, StoreLimits};

/// See the [module](self).
///
/// What is read by each lock has no order with a write: the store refuses what it does not take. So these are the plain primitives of
/// `std`, whose interleavings no checker has to explore.
pub(crate) struct Agreed {
    own: Limits,
    /// The store's minor version, and its limits if it has said them. Read for errors alone.
    said: Mutex<(u8, Option<StoreLimits>)>,
    /// What threads may write, as the machine has it. Attributes of a session, bytes of an attribute, bytes of a session.
    current: [AtomicUsize; 3],
}

impl Agreed {
    pub(crate) fn new(own: Limits) -> Self {
        Self {
            current: writable(&own).map(AtomicUsize::new),
            own,
            said: Mutex::default(),
        }
    }

    /// Notes what the store that has welcomed the process says of its version and its limits, and what threads may write from now on.
    pub(crate) fn note(&self, said: (u8, Option<StoreLimits>), current: &Limits) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
        for (own, limit) in self.current.iter().zip(writable(current)) {
            own.store(limit, Ordering::Relaxed);
        }
    }

    fn said(&self) -> (u8, Option<StoreLimits>) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what threads may write now.
    pub(crate) fn current(&self) -> Limits {
        let [attributes_max, attribute_bytes_max, session_bytes_max] = self
            .current
            .each_ref()
            .map(|limit| limit.load(Ordering::Relaxed));
        Limits {
            attributes_max,
            attribute_bytes_max,
            session_bytes_max,
            ..self.own.clone()
        }
    }

    /// Returns what the store is too old for, and how old it is.
    pub(crate) fn unsupported(&self, session: &SessionId) -> Box<Unsupported> {
        let (minor, _) = self.said();
        Box::new(Unsupported {
            session: session.clone(),
            feature: "existing()",
            needs: (tenure_protocol::MAJOR, tenure_protocol::EXISTING_SINCE),
            store: (tenure_protocol::MAJOR, minor),
        })
    }

    /// Returns which limit is exceeded, whose it is, and its value.
    pub(crate) fn exceeded(&self, session: &SessionId, limit: Limited) -> Box<Exceeded> {
        let (own, (_, store)) = (self.own.said(), self.said());
        let of_store = |max: fn(&StoreLimits) -> u64| (Whose::Store, store.as_ref().map(max));
        let smaller = |max: fn(&StoreLimits) -> u64| {
            let own = max(&own);
            let of_store = store.as_ref().map(max).filter(|store| *store < own);
            match of_store {
                Some(store) => (Whose::Store, Some(store)),
                None => (Whose::Process, Some(own)),
            }
        };
        let (whose, max) = match limit {
            Limited::Processes | Limited::Storage => (Whose::Store, None),
            Limited::Grants => of_store(|limits| limits.grants_max),
            Limited::Waiters => of_store(|limits| limits.waiters_max),
            Limited::Attributes => smaller(|limits| limits.attributes_max),
            Limited::AttributeBytes => smaller(|limits| limits.attribute_bytes_max),
            Limited::SessionBytes => smaller(|limits| limits.session_bytes_max),
            Limited::Threads => (Whose::Process, u64::try_from(self.own.threads_max).ok()),
        };
        Box::new(Exceeded {
            session: session.clone(),
            limit,
            whose,
            max,
        })
    }
}

/// The limits on what threads may write.
fn writable(limits: &Limits) -> [usize; 3] {
    [
        limits.attributes_max,
        limits.attribute_bytes_max,
        limits.session_bytes_max,
    ]
}
