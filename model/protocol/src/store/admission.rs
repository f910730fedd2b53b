//! What a store takes on: it may be stopping, and its disk may be full. Rules 2, 3, 6 and 18.
//!
//! A driver knows both facts and decides nothing: it passes them as an [`Admission`]. What follows from them is decided here.
//!
//! - While a store stops, in either way, it makes no new grant. A request that would have been granted waits. Its
//!   process receives a ticket, and presents it to the store that starts next. So the order of arrival survives the restart.
//! - A store that stops for a restart recalls nothing: the next start knows the holders (rule 8).
//! - A store that drains recalls every grant. None is passed on, so the last one comes back.
//! - While the disk is full, a request that is not waiting yet is refused. A holder keeps its grant, and a waiter its place.
//!
//! A further condition for new grants becomes a field here: what a process may do, or whether the store is confirmed.

use super::context::StepContext;
use super::{Output, StoreMachine};
use crate::id::{SessionId, Time};
use crate::mutant::{Hook, ProtocolMutant};
use alloc::vec::Vec;

/// Whether a store takes on new work, as its driver has found it. The default is a store that takes everything on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Admission {
    /// Whether nothing more can be made durable for now: the disk is full.
    pub is_full: bool,
    /// Whether the store stops, and how.
    pub stopping: Stopping,
}

/// Whether a store stops. A store that has begun to stop never goes back, except by starting anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stopping {
    /// The store does not stop.
    #[default]
    No,
    /// For a restart: every grant stays with its holder.
    Keeping,
    /// For good: every grant is recalled.
    Draining,
}

impl Stopping {
    /// Whether the store stops, in either way.
    #[must_use]
    pub fn is_stopping(self) -> bool {
        self > Self::No
    }
}

impl<H: Hook> StoreMachine<H> {
    /// What the store takes on.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.admission
    }

    pub(crate) fn on_admission(&mut self, now: Time, admission: Admission, out: &mut Vec<Output>) {
        let before = self.admission.stopping;
        let stopping = before.max(admission.stopping);
        self.admission = Admission {
            stopping,
            ..admission
        };
        if stopping == before || !self.recalls_everything() {
            return;
        }
        let held: Vec<SessionId> = self.all_held().cloned().collect();
        for id in held {
            // r[stop.drains]
            self.on_operator_recall(now, &id, out);
        }
    }

    fn recalls_everything(&self) -> bool {
        match self.admission.stopping {
            Stopping::No => false,
            // r[stop.keeps]
            Stopping::Keeping => self.hook.is_mutant(ProtocolMutant::StopRecalls),
            Stopping::Draining => !self.hook.is_mutant(ProtocolMutant::DrainRecallsNothing),
        }
    }

    /// The sessions that are held.
    pub(crate) fn all_held(&self) -> impl Iterator<Item = &SessionId> {
        self.peers.iter().flat_map(|(_, peer)| &peer.holds)
    }
}

impl<H: Hook> StepContext<'_, H> {
    /// Whether the store stops, so that no grant may be made.
    pub(crate) fn is_stopping(&self) -> bool {
        self.admission.stopping.is_stopping()
            && !self.is_mutant(ProtocolMutant::GrantsWhileStopping)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.admission.stopping == Stopping::Draining
    }

    /// Whether a request that does not wait yet is refused for want of room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        self.admission.is_full && !self.is_mutant(ProtocolMutant::GrantsWhenFull)
    }
}
