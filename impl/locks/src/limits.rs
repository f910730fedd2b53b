//! The store's version and limits from its last welcome. For writes, the smaller of this process's limit and the
//! store's limit applies.

use crate::error::{Error, Exceeded, First, Unsupported, Whose};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tenure_protocol::message::{Limited, Refusal};
use tenure_protocol::{Limits, SessionId, StoreLimits};

/// The limits of this process and of the store. See the [module](self).
///
/// The values that each lock reads need no ordering with writes, because the store refuses writes beyond its limits. So
/// these are plain primitives of `std`, which the checkers need not explore.
pub(crate) struct Agreed {
    own: Limits,
    /// The store's minor version, and its limits if the store has sent them. Read only for errors.
    said: Mutex<(u8, Option<StoreLimits>)>,
    /// The limits for writes, copied from the machine: attributes of a session, bytes of an attribute, bytes of a
    /// session.
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

    /// Records the version and the limits in the store's welcome, and the limits for writes from now on.
    pub(crate) fn note(&self, said: (u8, Option<StoreLimits>), current: &Limits) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
        for (own, limit) in self.current.iter().zip(writable(current)) {
            own.store(limit, Ordering::Relaxed);
        }
    }

    fn said(&self) -> (u8, Option<StoreLimits>) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current limits for writes.
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

    /// Returns the error for a refusal of the machine. For a repeated lock, the error has no source line yet.
    pub(crate) fn refused(&self, id: &SessionId, why: Refusal) -> Error {
        let session = || Box::new(id.clone());
        match why {
            Refusal::WouldBlock => Error::WouldBlock(session()),
            Refusal::Cancelled | Refusal::Deadline => Error::Deadline(session()),
            Refusal::Deadlock { cycle } => Error::Deadlock {
                cycle: cycle.into(),
            },
            Refusal::Limit(limited) => Error::Limit(self.exceeded(id, limited)),
            Refusal::Gone | Refusal::NotHeld => Error::Gone(session()),
            Refusal::AlreadyLocked => Error::AlreadyLocked(Box::new(First {
                session: *session(),
                place: None,
            })),
            Refusal::IdTaken => Error::IdTaken(session()),
            Refusal::ShuttingDown => Error::ShuttingDown(session()),
            Refusal::Absent => Error::Absent(session()),
            Refusal::Unsupported => Error::Unsupported(self.unsupported(id)),
        }
    }

    /// Returns the error for a feature that the store is too old for.
    fn unsupported(&self, session: &SessionId) -> Box<Unsupported> {
        let (minor, _) = self.said();
        Box::new(Unsupported {
            session: session.clone(),
            feature: "existing()",
            needs: (tenure_protocol::MAJOR, tenure_protocol::EXISTING_SINCE),
            store: (tenure_protocol::MAJOR, minor),
        })
    }

    /// Returns the error for an exceeded limit, with the limit's value and the side that sets it.
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

/// Returns the limits that apply to writes.
fn writable(limits: &Limits) -> [usize; 3] {
    [
        limits.attributes_max,
        limits.attribute_bytes_max,
        limits.session_bytes_max,
    ]
}
