//! What the store has said of itself in its last welcome: its version and its limits. Threads may write the smaller of this
//! process's limits and those of the store.

use crate::error::{Exceeded, Unsupported, Whose};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use tenure_protocol::message::Limited;
use tenure_protocol::{Limits, SessionId, StoreLimits};

/// A limit that the store has not said.
const UNSAID: u64 = u64::MAX;

/// See the [module](self).
///
/// The numbers are read one by one: a change of the store's limits has no order with a write, and the store refuses what it does
/// not take. So they are the plain primitives of `std`, whose interleavings no checker has to explore.
pub(crate) struct Agreed {
    own: Limits,
    /// The store's minor version.
    minor: AtomicU8,
    grants: AtomicU64,
    waiters: AtomicU64,
    attributes: AtomicU64,
    attribute_bytes: AtomicU64,
    session_bytes: AtomicU64,
    /// What threads may write, worked out when the store said its limits: each lock reads it. Attributes of a session, bytes of
    /// an attribute, bytes of a session.
    current: [AtomicUsize; 3],
}

impl Agreed {
    pub(crate) fn new(own: Limits) -> Self {
        let unsaid = || AtomicU64::new(UNSAID);
        Self {
            current: writable(&own).map(AtomicUsize::new),
            own,
            minor: AtomicU8::new(0),
            grants: unsaid(),
            waiters: unsaid(),
            attributes: unsaid(),
            attribute_bytes: unsaid(),
            session_bytes: unsaid(),
        }
    }

    /// Notes what the store that has welcomed the process says of its version and its limits.
    pub(crate) fn note(&self, minor: u8, store: Option<&StoreLimits>) {
        self.minor.store(minor, Ordering::Relaxed);
        let said = |limit: fn(&StoreLimits) -> u64| store.map_or(UNSAID, limit);
        let own = [
            (&self.grants, said(|store| store.grants_max)),
            (&self.waiters, said(|store| store.waiters_max)),
            (&self.attributes, said(|store| store.attributes_max)),
            (
                &self.attribute_bytes,
                said(|store| store.attribute_bytes_max),
            ),
            (&self.session_bytes, said(|store| store.session_bytes_max)),
        ];
        for (limit, said) in own {
            limit.store(said, Ordering::Relaxed);
        }
        let agreed = store.map_or_else(|| self.own.clone(), |store| self.own.within(store));
        for (current, limit) in self.current.iter().zip(writable(&agreed)) {
            current.store(limit, Ordering::Relaxed);
        }
    }

    /// Returns what the store has said; all of it unsaid when it said nothing.
    fn store(&self) -> StoreLimits {
        StoreLimits {
            grants_max: self.grants.load(Ordering::Relaxed),
            waiters_max: self.waiters.load(Ordering::Relaxed),
            attributes_max: self.attributes.load(Ordering::Relaxed),
            attribute_bytes_max: self.attribute_bytes.load(Ordering::Relaxed),
            session_bytes_max: self.session_bytes.load(Ordering::Relaxed),
        }
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
        let minor = self.minor.load(Ordering::Relaxed);
        Box::new(Unsupported {
            session: session.clone(),
            feature: "existing()",
            needs: (tenure_protocol::MAJOR, tenure_protocol::EXISTING_SINCE),
            store: (tenure_protocol::MAJOR, minor),
        })
    }

    /// Returns which limit is exceeded, whose it is, and its value.
    pub(crate) fn exceeded(&self, session: &SessionId, limit: Limited) -> Box<Exceeded> {
        let (own, store) = (&self.own.said(), &self.store());
        let of_store = |max: u64| (Whose::Store, (max != UNSAID).then_some(max));
        let smaller = |own: u64, store: u64| {
            let whose = if store < own {
                Whose::Store
            } else {
                Whose::Process
            };
            (whose, Some(own.min(store)))
        };
        let (whose, max) = match limit {
            Limited::Processes | Limited::Storage => (Whose::Store, None),
            Limited::Grants => of_store(store.grants_max),
            Limited::Waiters => of_store(store.waiters_max),
            Limited::Attributes => smaller(own.attributes_max, store.attributes_max),
            Limited::AttributeBytes => smaller(own.attribute_bytes_max, store.attribute_bytes_max),
            Limited::SessionBytes => smaller(own.session_bytes_max, store.session_bytes_max),
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
