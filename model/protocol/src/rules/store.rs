//! The decisions of the store, by family of rules.

use crate::attributes::{Holder, State};
use crate::config::StoreLimits;
use crate::id::{Incarnation, ProcessId, Ticket, Token, Version};
use crate::lock::{End, Spot};
use crate::message::{AcquireRequest, Reason, WaitMode};
use alloc::vec::Vec;

/// The decisions of a store; see the [module](super).
pub trait StoreRules: Copy {
    // The start of a store.

    /// Returns the epoch from which this start draws its stamps.
    #[inline(always)]
    fn epoch(self, epoch: u64) -> u64 {
        epoch
    }

    /// Returns the holder of a recovered session. The record names `holder`.
    #[inline(always)]
    fn recovered_holder(self, holder: Option<Holder>) -> Option<Holder> {
        holder
    }

    // New work.

    /// Returns whether the store makes no grant.
    #[inline(always)]
    fn grants_nothing(self, is_stopping: bool) -> bool {
        is_stopping
    }

    /// Returns whether the store refuses a request that does not wait yet, for lack of storage.
    #[inline(always)]
    fn refuses_for_storage(self, is_full: bool) -> bool {
        is_full
    }

    /// Returns whether a stopping store recalls every grant.
    #[inline(always)]
    fn recalls_all(self, is_draining: bool) -> bool {
        is_draining
    }

    // Grants.

    /// Returns whether a request waits while another process holds the session.
    #[inline(always)]
    fn waits_for_holder(self) -> bool {
        true
    }

    /// Returns whether a process may receive a grant.
    #[inline(always)]
    fn may_receive(self, is_connected: bool) -> bool {
        is_connected
    }

    /// Returns the waiter that receives the grant: the head of the queue.
    #[inline(always)]
    fn next_holder(self, head: Spot, _second: impl FnOnce() -> Option<Spot>) -> Spot {
        head
    }

    /// Returns the state that a grant contains, for a process that has the version `known`.
    #[inline(always)]
    fn granted_state(self, _known: Option<Version>, state: impl FnOnce() -> State) -> State {
        state()
    }

    /// Orders the outputs of a grant, which begin at `from`: first the record, and the messages from `sent` on last.
    #[inline(always)]
    fn order_grant(self, _outputs: &mut [impl Sized], _from: usize, _sent: usize) {}

    /// Returns whether a grant that is sent again keeps its token.
    #[inline(always)]
    fn keeps_token(self) -> bool {
        true
    }

    /// Returns whether a grant that crosses a cancel on the way stays.
    #[inline(always)]
    fn keeps_cancelled_grant(self) -> bool {
        true
    }

    // Requests for an existing session.

    /// Returns whether a request that is only for an existing session is refused.
    #[inline(always)]
    fn is_absent(self, exists: bool) -> bool {
        !exists
    }

    /// Returns whether a session that does not exist leaves memory after a request.
    #[inline(always)]
    fn forgets_absent(self) -> bool {
        true
    }

    // The queue.

    /// Returns the ticket that a request presents again.
    #[inline(always)]
    fn presented(self, ticket: Option<Ticket>) -> Option<Ticket> {
        ticket
    }

    /// Returns whether a new request with this ticket goes before a waiter with the ticket `other`.
    #[inline(always)]
    fn goes_before(self, ticket: Ticket, other: Ticket) -> bool {
        ticket < other
    }

    /// Returns the end of the queue at which the request of a releasing process begins to wait.
    #[inline(always)]
    fn requeue_end(self) -> End {
        End::Back
    }

    /// Returns whether a releasing process receives its place in the queue. `is_granted` says whether the process has
    /// the session again.
    #[inline(always)]
    fn tells_place(self, is_granted: bool) -> bool {
        !is_granted
    }

    /// Returns whether a queue has no room for another request.
    #[inline(always)]
    fn is_queue_full(self, waiting: usize, waiters_max: usize) -> bool {
        waiting >= waiters_max
    }

    /// Returns whether a repeated request joins the wait of the earlier one.
    #[inline(always)]
    fn joins_wait(self) -> bool {
        true
    }

    // Recalls and tries.

    /// Returns the reason for which a new waiter recalls the grant, if any.
    #[inline(always)]
    fn reason_of(self, wait_mode: WaitMode) -> Option<Reason> {
        Some(wait_mode.into())
    }

    /// Returns whether the store may recall a grant at all.
    #[inline(always)]
    fn may_recall(self) -> bool {
        true
    }

    /// Returns whether a recall ends with its grant when the grant is voided.
    #[inline(always)]
    fn ends_recall(self) -> bool {
        true
    }

    /// Returns whether a try is refused when threads are inside.
    #[inline(always)]
    fn refuses_busy_try(self) -> bool {
        true
    }

    /// Returns whether the holder keeps the grant beyond the deadline of its recall.
    #[inline(always)]
    fn spares_holder(self, is_for_nobody: bool) -> bool {
        is_for_nobody
    }

    /// Returns whether the deadline of a recall revokes the grant. `_is_busy` says whether threads are inside.
    #[inline(always)]
    fn revokes(self, _is_busy: bool) -> bool {
        true
    }

    /// Returns whether the store refuses a wait in a cycle of sessions.
    #[inline(always)]
    fn breaks_deadlock(self) -> bool {
        true
    }

    // Writes.

    /// Returns whether a process may commit. `is_holder` says whether it presents the token of its grant.
    #[inline(always)]
    fn may_commit(self, is_holder: bool) -> bool {
        is_holder
    }

    /// Returns whether a commit made to `base` is new.
    #[inline(always)]
    fn is_new_commit(self, base: Version, version: Version) -> bool {
        base == version
    }

    /// Orders the outputs of a commit, which begin at `from`: first the record, then the answer.
    #[inline(always)]
    fn order_commit(self, _outputs: &mut [impl Sized], _from: usize) {}

    /// Returns whether `process` may release. `is_holder` says whether it presents the token of its grant.
    #[inline(always)]
    fn may_release(self, is_holder: bool, _: &ProcessId, _holder: Option<&ProcessId>) -> bool {
        is_holder
    }

    /// Returns whether a released session is written before it is granted to the next process.
    #[inline(always)]
    fn writes_before_granting(self) -> bool {
        true
    }

    /// Returns whether the grant of a refused commit stays until the holder has heard of the loss.
    #[inline(always)]
    fn waits_until_heard(self) -> bool {
        true
    }

    /// Returns whether a late write cannot bring a destroyed session back.
    #[inline(always)]
    fn stays_destroyed(self) -> bool {
        true
    }

    /// Returns whether the waiters of an ended session receive a refusal.
    #[inline(always)]
    fn tells_waiters_of_end(self) -> bool {
        true
    }

    /// Returns whether a session ends at its time to live.
    #[inline(always)]
    fn may_expire(self, is_held: bool) -> bool {
        !is_held
    }

    /// Returns the oldest base for deltas after a write. `former` is that before the write.
    #[inline(always)]
    fn written_floor(self, _former: Version, floor: Version) -> Version {
        floor
    }

    /// Returns the oldest base for deltas after a rename. `former` is that before the rename.
    #[inline(always)]
    fn renamed_floor(self, _former: Version, floor: Version) -> Version {
        floor
    }

    /// Returns the token of the grant after a rename. `former` is that before the rename.
    #[inline(always)]
    fn renamed_token(self, _former: Token, token: Token) -> Token {
        token
    }

    // Processes.

    /// Returns whether a hello ends the former incarnation of its process.
    #[inline(always)]
    fn replaces(self, hello: Incarnation, former: Incarnation) -> bool {
        hello > former
    }

    /// Returns whether a grant is settled that its holder does not claim in its hello.
    #[inline(always)]
    fn settles_unclaimed(self) -> bool {
        true
    }

    /// Returns the limits that a welcome states.
    #[inline(always)]
    fn stated_limits(self, limits: StoreLimits) -> Option<StoreLimits> {
        Some(limits)
    }

    /// Returns those of the requests in a hello that the store handles.
    #[inline(always)]
    fn repeated(self, waits: Vec<AcquireRequest>) -> Vec<AcquireRequest> {
        waits
    }

    /// Returns whether the grants of a process stay when its connection is cut.
    #[inline(always)]
    fn keeps_disconnected(self) -> bool {
        true
    }

    /// Returns whether a goodbye ends the lease.
    #[inline(always)]
    fn ends_lease_at_goodbye(self) -> bool {
        true
    }

    /// Returns whether the end of a lease voids its grants.
    #[inline(always)]
    fn voids_at_lease_end(self) -> bool {
        true
    }

    /// Returns whether the waits of a process end together with its grants.
    #[inline(always)]
    fn ends_orphaned_waits(self) -> bool {
        true
    }
}
