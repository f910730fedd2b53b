//! The wrong decisions of the mutants of a process.

use super::{ProtocolMutant, SeededHook, Sound, seeded};
use crate::config::StoreLimits;
use crate::id::{Request, Time};
use crate::lock::{End, Gate};
use crate::message::{AcquireRequest, RecallInfo};
use crate::rules::ProcessRules;

seeded! { ProcessRules:
    // The connection and the lease.
    fn greets_with(acquire: &AcquireRequest) -> bool { GreetsWithNewRequests => true }
    fn understands_existing(store_minor: u8) -> bool { AsksOlderStore => true }
    fn agreed_limits(stated: Option<&StoreLimits>) -> Option<&StoreLimits> { IgnoresStoreLimits => None }
    fn lease_from(sent: Time, now: Time) -> Time { LeaseFromReceipt => now }
    fn lease_margin_ms(margin_ms: u64) -> u64 { LeaseWithoutMargin => 0 }
    fn leaves_silent_link() -> bool { StaysOnSilentLink => false }

    // Requests.
    fn resends(is_release: bool) -> bool { ReleaseNotRepeated => !is_release }
    fn is_refused_as_absent(is_asked: bool) -> bool { RefusesByOldAnswer => true }

    // Grants and their end.
    fn is_answer(wanted: Request, granted: Request) -> bool { AcceptsOldGrant => true }
    fn early_recall(early: Option<RecallInfo>) -> Option<RecallInfo> { ForgetsEarlyRecall => None }
    fn uses_grant(is_recalled: bool) -> bool { GrantWithoutUse => !is_recalled }
    fn gives_back(is_hinted: bool) -> bool { NeverKeeps => true }
    fn waits_for_insiders() -> bool { ReleasesWhileInside => false }
    fn releases_commit() -> bool { ReleaseForgetsCommit => false }
    fn drops_lost_base() -> bool { KeepsDirtyBase => false }
    fn ends_with_lease() -> bool { KeepsGuardsPastLease => false }

    // Threads.
    fn gate(is_open: bool) -> Gate {
        AdmitsAfterRecall => Gate::Open,
        RefusesInsiders => if is_open { Gate::Open } else { Gate::Closed },
    }
    fn queue_end() -> End { LifoAtAttribute => End::Front }
    fn passes_waiters() -> bool { Barges => true }
    fn admits_existing(exists: bool) -> bool { EntersAbsent => true }
    fn leaves_queue() -> bool { AbandonLeavesWaiter => false }
    fn frees_own_alone() -> bool { UnlockByStranger => false }
    fn keeps_discarded() -> bool { DiscardKeepsWrites => true }
    fn keeps_poisoned(is_late: bool) -> bool { AppliesLateWrites => is_late }
    fn breaks_local_deadlock() -> bool { OverlooksLocalDeadlock => false }
}
