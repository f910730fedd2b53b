//! A scripted store that grants and accepts releases at once, and stores nothing. So each step has the same cost with
//! any number of sessions. The machine of [`Rig`](super::Rig) does not promise that in a debug build, where it checks
//! all sessions.

use super::poll;
use tenure_locks::{Event, Locks};
use tenure_protocol::attributes::{State, Value};
use tenure_protocol::message::{Granted, Hello, Release};
use tenure_protocol::{
    Delta, Incarnation, ProcessSettings, SessionId, Stamp, Time, ToProcess, ToStore, Token, Version,
};

/// The idle time after which memory for use is freed, in milliseconds.
pub(crate) const FOLD_MS: u64 = 60_000;
/// The idle time after which a session is given back, in milliseconds.
pub(crate) const IDLE_MS: u64 = 600_000;

/// A lock manager that is connected to a scripted store.
pub(crate) struct ByHand {
    pub(crate) locks: Locks,
    stamps: u64,
    /// The value that each use writes.
    value: Value,
}

/// Returns the id of the session with this number.
pub(crate) fn id(at: usize) -> SessionId {
    SessionId::new(format!("{at:032}")).expect("a short id")
}

impl ByHand {
    pub(crate) fn new(settings: ProcessSettings, value: Value) -> Self {
        let locks = Locks::with_manual_clock(settings, Incarnation(1));
        locks.connected();
        let mut rig = Self {
            locks,
            stamps: 0,
            value,
        };
        rig.pump();
        rig
    }

    fn stamp(&mut self) -> Stamp {
        self.stamps += 1;
        Stamp {
            epoch: 1,
            sequence: self.stamps,
        }
    }

    fn answer(&mut self, message: ToStore) -> Option<ToProcess> {
        Some(match message {
            ToStore::Hello(Hello { sent, .. }) => ToProcess::Welcome {
                minor: tenure_protocol::MINOR,
                sent,
                lease_ms: 1 << 40,
                holds: Vec::new(),
                gone: Vec::new(),
                limits: None,
            },
            ToStore::Acquire(acquire) => ToProcess::Granted(Granted {
                session: acquire.session,
                request: acquire.request,
                token: Token(self.stamp()),
                version: Version::NONE,
                state: State::Full(Delta::default()),
                recall: None,
                give_back: false,
            }),
            ToStore::Release(Release { session, token, .. }) => ToProcess::Released {
                session,
                token,
                version: Some(Version(self.stamp())),
                limit: None,
            },
            _ => return None,
        })
    }

    /// Carries messages until none is under way.
    pub(crate) fn pump(&mut self) {
        while let Some(event) = self.locks.try_event() {
            if let Event::Send { link, message } = event
                && let Some(answer) = self.answer(message)
            {
                self.locks.message(link, answer);
            }
        }
    }

    /// Locks a session that the process does not hold, writes the attribute `a`, and unlocks.
    pub(crate) fn use_once(&mut self, at: usize) {
        let (locks, id) = (self.locks.clone(), id(at));
        let mut request = locks.lock(&id, "a");
        assert!(
            poll(&mut request).is_none(),
            "the process does not hold the session"
        );
        self.pump();
        let guard = poll(&mut request).expect("the scripted store has granted the session");
        guard
            .expect("granted")
            .set(self.value.clone())
            .expect("small");
    }

    /// Does the regular upkeep of a driver.
    pub(crate) fn look_after(&mut self, now: u64, cached_max: usize) {
        self.locks.set_time(Time(now));
        self.locks.tick();
        self.locks.sweep(FOLD_MS);
        self.locks.trim(cached_max, IDLE_MS);
        self.pump();
    }
}
