//! The decisions of a process, by family of rules.

use crate::EXISTING_SINCE;
use crate::config::StoreLimits;
use crate::id::{Request, Time};
use crate::lock::{End, Gate};
use crate::message::{AcquireRequest, RecallInfo};

/// The decisions of a process; see the [module](super).
pub trait ProcessRules: Copy {
    // The connection and the lease.

    /// Returns whether a hello lists the request.
    #[inline(always)]
    fn greets_with(self, acquire: &AcquireRequest) -> bool {
        !acquire.existing
    }

    /// Returns whether a store of this minor version understands a request that is only for an existing session.
    #[inline(always)]
    fn understands_existing(self, store_minor: u8) -> bool {
        store_minor >= EXISTING_SINCE
    }

    /// Returns the limits of the store that the process keeps to.
    #[inline(always)]
    fn agreed_limits(self, stated: Option<&StoreLimits>) -> Option<&StoreLimits> {
        stated
    }

    /// Returns the time from which a lease counts. The question was `sent` at that time, and answered at `now`.
    #[inline(always)]
    fn lease_from(self, sent: Time, now: Time) -> Time {
        sent.min(now) // The store returns `sent`, so it may be wrong.
    }

    /// Returns the margin by which a lease ends early.
    #[inline(always)]
    fn lease_margin_ms(self, margin_ms: u64) -> u64 {
        margin_ms
    }

    /// Returns whether the process leaves a connection on which no keep-alive is answered.
    #[inline(always)]
    fn leaves_silent_link(self) -> bool {
        true
    }

    // Requests.

    /// Returns whether an unanswered message is sent again.
    #[inline(always)]
    fn resends(self, _is_release: bool) -> bool {
        true
    }

    /// Returns whether the refusal of an absent session concerns a thread. `is_asked` says whether the thread waited
    /// when the request was sent.
    #[inline(always)]
    fn is_refused_as_absent(self, is_asked: bool) -> bool {
        is_asked
    }

    // Grants and their end.

    /// Returns whether a grant of the request `granted` answers the request `wanted`.
    #[inline(always)]
    fn is_answer(self, wanted: Request, granted: Request) -> bool {
        wanted == granted
    }

    /// Returns the recall that came before its grant.
    #[inline(always)]
    fn early_recall(self, early: Option<RecallInfo>) -> Option<RecallInfo> {
        early
    }

    /// Returns whether threads use a new grant before it is given back.
    #[inline(always)]
    fn uses_grant(self, _is_recalled: bool) -> bool {
        true
    }

    /// Returns whether an idle grant is given back. `is_hinted` says whether the store has asked for that.
    #[inline(always)]
    fn gives_back(self, is_hinted: bool) -> bool {
        is_hinted
    }

    /// Returns whether a recalled grant stays until the threads inside have left.
    #[inline(always)]
    fn waits_for_insiders(self) -> bool {
        true
    }

    /// Returns whether a release contains the changes of the unanswered commit.
    #[inline(always)]
    fn releases_commit(self) -> bool {
        true
    }

    /// Returns whether the client state is dropped together with a lost grant.
    #[inline(always)]
    fn drops_lost_base(self) -> bool {
        true
    }

    /// Returns whether a grant ends with the lease.
    #[inline(always)]
    fn ends_with_lease(self) -> bool {
        true
    }

    // Threads.

    /// Returns the classes of threads that the gate lets pass. `is_open` says whether a thread outside may enter.
    #[inline(always)]
    fn gate(self, is_open: bool) -> Gate {
        if is_open { Gate::Open } else { Gate::Insiders }
    }

    /// Returns the end of the queue at which a thread begins to wait.
    #[inline(always)]
    fn queue_end(self) -> End {
        End::Back
    }

    /// Returns whether a new thread passes by the threads that wait.
    #[inline(always)]
    fn passes_waiters(self) -> bool {
        false
    }

    /// Returns whether a thread that wants only an existing session may enter.
    #[inline(always)]
    fn admits_existing(self, exists: bool) -> bool {
        exists
    }

    /// Returns whether a thread leaves the queue when its wait ends.
    #[inline(always)]
    fn leaves_queue(self) -> bool {
        true
    }

    /// Returns whether only the holder of an attribute can free it.
    #[inline(always)]
    fn frees_own_alone(self) -> bool {
        true
    }

    /// Returns whether discarded writes become part of the client state.
    #[inline(always)]
    fn keeps_discarded(self) -> bool {
        false
    }

    /// Returns whether the writes of a thread that lost its grant become part of the client state.
    #[inline(always)]
    fn keeps_poisoned(self, _is_late: bool) -> bool {
        false
    }

    /// Returns whether the process refuses a wait in a cycle of its own threads.
    #[inline(always)]
    fn breaks_local_deadlock(self) -> bool {
        true
    }
}
