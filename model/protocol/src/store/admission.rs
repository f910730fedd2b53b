//! Conditions for new work: the store may be stopping, and its disk may be full. Rules 2, 3, 6 and 18.
//!
//! A driver knows both facts and passes them as an [`Admission`]. The machine decides what follows from them:
//!
//! - While a store stops, in either way, it makes no new grant. A request that would have been granted waits. Its
//!   process receives a ticket and presents it to the next start of the store, so the order of arrival survives the
//!   restart.
//! - A store that stops for a restart recalls nothing: the next start knows the holders (rule 8).
//! - A store that drains recalls every grant. No grant is passed on, so the last one comes back.
//! - While the disk is full, a request that is not waiting yet is refused. A holder keeps its grant, and a waiter keeps
//!   its place.
//!
//! A further condition for new grants would become a field here, for example the rights of a process.

/// The conditions under which a store accepts new work, as its driver found them. By default the store accepts all
/// work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Admission {
    /// Whether the disk is full, so that nothing more can be made durable for now.
    pub is_full: bool,
    /// Whether the store stops, and in which way.
    pub stopping: Stopping,
}

/// Whether a store stops, and in which way. A store that has begun to stop returns to normal only by a new start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stopping {
    /// The store does not stop.
    #[default]
    No,
    /// The store stops for a restart: every grant stays with its holder.
    Keeping,
    /// The store stops for good: every grant is recalled.
    Draining,
}

impl Stopping {
    /// Returns whether the store stops, in either way.
    #[must_use]
    pub fn is_stopping(self) -> bool {
        self > Self::No
    }
}
