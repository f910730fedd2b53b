//! The wrong decisions of the store's mutants. Bugs that are more than a decision call `store/seeded.rs`.

use super::{ProtocolMutant, SeededHook, Sound, seeded};
use crate::attributes::{Holder, State};
use crate::config::StoreLimits;
use crate::id::{Incarnation, ProcessId, Ticket, Token, Version};
use crate::lock::{End, Spot};
use crate::message::{AcquireRequest, Reason, WaitMode};
use crate::rules::StoreRules;
use alloc::vec::Vec;

seeded! { StoreRules:
    // The start of a store.
    fn epoch(epoch: u64) -> u64 { ReusesTokens => 1 }
    fn recovered_holder(holder: Option<Holder>) -> Option<Holder> { ForgetsHolderOnRestart => None }

    // New work.
    fn grants_nothing(is_stopping: bool) -> bool { GrantsWhileStopping => false }
    fn refuses_for_storage(is_full: bool) -> bool { GrantsWhenFull => false }
    fn recalls_all(is_draining: bool) -> bool { StopRecalls => true, DrainRecallsNothing => false }

    // Grants.
    fn waits_for_holder() -> bool { GrantsToTwo => false }
    fn may_receive(is_connected: bool) -> bool { GrantsToUnconnected => true }
    fn next_holder(head: Spot, second: impl FnOnce() -> Option<Spot>) -> Spot { SkipsHead => second().unwrap_or(head) }
    fn granted_state(known: Option<Version>, state: impl FnOnce() -> State) -> State {
        SendsNoState => if known.is_some() { State::Unchanged } else { state() },
    }
    fn order_grant(outputs: &mut [impl Sized], from: usize, sent: usize) {
        GrantsBeforeDurable => outputs[from..].rotate_left(sent - from),
    }
    fn keeps_token() -> bool { ReadBumpsToken => false }
    fn keeps_cancelled_grant() -> bool { CancelDropsGrant => false }

    // Requests for an existing session.
    fn is_absent(exists: bool) -> bool { GrantsAbsent => false, DeniesExisting => true }
    fn forgets_absent() -> bool { RemembersAbsent => false }

    // The queue.
    fn presented(ticket: Option<Ticket>) -> Option<Ticket> { IgnoresTicket => None }
    fn goes_before(ticket: Ticket, other: Ticket) -> bool { LifoAtStore => true, IgnoresTicket => false }
    fn requeue_end() -> End { RequeuesAtHead => End::Front }
    fn tells_place(is_granted: bool) -> bool { RequeuesUntold => false }
    fn is_queue_full(waiting: usize, waiters_max: usize) -> bool { QueueWithoutLimit => false }
    fn joins_wait() -> bool { QueuesTwice => false }

    // Recalls and tries.
    fn reason_of(wait_mode: WaitMode) -> Option<Reason> {
        TryNeverRecalls => (wait_mode == WaitMode::Wait).then_some(Reason::Wait),
    }
    fn may_recall() -> bool { ForgetsRecall => false }
    fn ends_recall() -> bool { KeepsRecallOfDead => false }
    fn refuses_busy_try() -> bool { TryWaitsForThread => false }
    fn spares_holder(is_for_nobody: bool) -> bool { RevokesForNobody => false }
    fn revokes(is_busy: bool) -> bool { BusyStopsRevoke => !is_busy }
    fn breaks_deadlock() -> bool { OverlooksDeadlock => false }

    // Writes.
    fn may_commit(is_holder: bool) -> bool { AcceptsOldToken => true }
    fn is_new_commit(base: Version, version: Version) -> bool { CommitsOnWrongVersion => true }
    fn order_commit(outputs: &mut [impl Sized], from: usize) {
        AcknowledgesBeforeDurable => outputs[from..].rotate_left(1),
    }
    fn may_release(is_holder: bool, process: &ProcessId, holder: Option<&ProcessId>) -> bool {
        ReleaseByStranger => holder.is_some(),
        DuplicateReleaseFrees => holder == Some(process),
    }
    fn writes_before_granting() -> bool { FreesBeforeWriting => false }
    fn waits_until_heard() -> bool { PassesOnUnheard => false }
    fn stays_destroyed() -> bool { ResurrectsDestroyed => false }
    fn tells_waiters_of_end() -> bool { DestroyForgetsWaiters => false }
    fn may_expire(is_held: bool) -> bool { ExpiresWhileHeld => true }
    fn written_floor(former: Version, floor: Version) -> Version { DeltaAcrossLives => former }
    fn renamed_floor(former: Version, floor: Version) -> Version { RenameKeepsFloor => former }
    fn renamed_token(former: Token, token: Token) -> Token { RenameKeepsToken => former }

    // Processes.
    fn replaces(hello: Incarnation, former: Incarnation) -> bool { KeepsOldIncarnation => false }
    fn settles_unclaimed() -> bool { KeepsOldIncarnation => false }
    fn stated_limits(limits: StoreLimits) -> Option<StoreLimits> { KeepsLimitsSecret => None }
    fn repeated(waits: Vec<AcquireRequest>) -> Vec<AcquireRequest> { LosesWaitersOnRestart => Vec::new() }
    fn keeps_disconnected() -> bool { FreesOnDisconnect => false }
    fn ends_lease_at_goodbye() -> bool { LeaseOutlivesGoodbye => false }
    fn voids_at_lease_end() -> bool { ForgetsGrantsOfDead => false }
    fn ends_orphaned_waits() -> bool { KeepsOrphanedWaiter => false }
}
