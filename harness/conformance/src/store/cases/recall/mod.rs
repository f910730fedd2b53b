//! Cases about recalls: when a store recalls a grant, how often it repeats the recall, and when it revokes the grant.

mod deadline;
mod nobody;
mod notice;

use crate::case::cases;

cases! { Store:
    "recall/reason/none-while-nobody-wants-it", Should ["recall.not-without-reason"] notice::nobody_wants_it,
        "A grant that no other process requests is not recalled.";
    "recall/asks/connected-holder", Must ["recall.asks"] notice::connected_holder,
        "A request that has to wait makes the store recall the grant.";
    "recall/asks/next-holder", Must ["recall.asks"] notice::next_holder,
        "A grant for which others already wait is recalled when it is made.";
    "recall/asks/wait-after-try", Must ["recall.asks"] notice::wait_after_try,
        "A grant recalled for a try is recalled with a deadline when a process waits.";
    "recall/asks/holder-that-was-away", Must ["recall.asks", "recall.repeated"] notice::holder_that_was_away,
        "A holder that was disconnected when others requested is recalled when it reconnects.";
    "recall/after-hello/every-known-grant", Must ["recall.repeated"] notice::every_known_grant,
        "After the Welcome, the recalls of all known grants are repeated.";
    "recall/once/further-requests", Should ["recall.once"] notice::further_requests,
        "Further requests cause no further recall.";
    "recall/alive/lists-every-recall", Must ["recall.repeated"] notice::lists_every_recall,
        "An Alive lists exactly the recalled grants of the process.";
    "recall/alive/after-busy", Must ["recall.repeated"] notice::after_busy,
        "An Alive lists a recall that was answered only with Busy.";
    "recall/alive/told-in-the-grant", Must ["recall.repeated"] notice::told_in_the_grant,
        "An Alive lists a recall that came with the grant.";
    "recall/reminds/until-the-grant-ends", Should ["recall.reminds"] notice::until_the_grant_ends,
        "A recall is repeated until the grant ends.";
    "recall/reminds/after-busy", Should ["recall.reminds"] notice::busy_is_reminded,
        "A recall that was answered with Busy is repeated.";
    "recall/busy/old-token-is-ignored", Must ["recall.stray-busy", "try.recalls"] notice::old_token_is_ignored,
        "A Busy under an old token does not refuse a try.";
    "recall/busy/of-no-grant-is-ignored", Must ["recall.stray-busy"] notice::of_no_grant_is_ignored,
        "A Busy of a process that does not hold the session is ignored.";
    "recall/ends/with-the-release", Must ["recall.ends-with-grant"] notice::with_the_release,
        "After a release neither the next holder nor the former one is recalled.";
    "recall/ends/same-holder-again", Must ["recall.ends-with-grant"] notice::same_holder_again,
        "A process that releases a recalled grant and gets a new one is not recalled again.";
    "recall/ends/with-the-revocation", Must ["recall.ends-with-grant"] deadline::ends_with_it,
        "After a revocation the next holder is not recalled.";
    "recall/deadline/revokes", Must ["recall.revokes", "recall.not-early", "queue.passes-by"] deadline::revokes,
        "At the deadline, and not sooner, the grant is revoked and the next waiter is granted the session.";
    "recall/deadline/told-in-the-grant", Must ["recall.revokes", "recall.not-early"] deadline::told_in_the_grant,
        "A grant that was already recalled when it was made is revoked at the stated deadline, and not sooner.";
    "recall/deadline/busy-does-not-stop-it",
        Must ["recall.revokes", "recall.deadline-kept"] deadline::busy_does_not_stop_it,
        "A holder that keeps sending Busy loses the grant at the deadline.";
    "recall/deadline/busy-does-not-move-it", Must ["recall.deadline-kept"] deadline::busy_does_not_move_it,
        "A Busy does not move the deadline.";
    "recall/deadline/repetition-does-not-move-it", Must ["recall.deadline-kept"] deadline::repetition_does_not_move_it,
        "A recall repeated in an Alive states the same deadline.";
    "recall/deadline/request-does-not-move-it", Must ["recall.deadline-kept"] deadline::request_does_not_move_it,
        "Further and repeated requests do not move the deadline.";
    "recall/deadline/hello-does-not-move-it", Must ["recall.deadline-kept"] deadline::hello_does_not_move_it,
        "A new connection does not move the deadline.";
    "recall/deadline/runs-while-away", Must ["recall.asks", "recall.deadline-kept"] deadline::runs_while_away,
        "If a holder is disconnected when others request, its deadline counts from their request, not from its return.";
    "recall/deadline/operator-does-not-move-it",
        Must ["recall.deadline-kept"] (Recall) deadline::operator_does_not_move_it,
        "An operator's recall of a recalled grant does not move the deadline.";
    "recall/deadline/takes-one-grant", Must ["recall.revokes"] deadline::takes_one_grant,
        "A process that is late with one grant keeps its other grants and its lease.";
    "recall/for-nobody/waiter-cancels", Must ["recall.for-nobody"] nobody::waiter_cancels,
        "A late holder keeps its grant if the only waiter has given up.";
    "recall/for-nobody/waiter-is-away", Must ["recall.for-nobody"] nobody::waiter_is_away,
        "A late holder keeps its grant if the only waiter has lost its connection.";
    "recall/for-nobody/waiter-is-back", Must ["recall.revokes", "recall.not-early"] nobody::waiter_is_back,
        "When the waiter reconnects, the grant is revoked at the deadline stated last.";
    "recall/for-nobody/more-time", Should ["recall.spares"] nobody::more_time,
        "When the only waiter has given up, the recall states a later deadline.";
    "recall/mild/try-takes-nothing", Must ["recall.mild"] deadline::try_takes_nothing,
        "A holder that does not answer a try keeps the grant.";
    "recall/mild/expiry-takes-nothing", Must ["recall.mild"] (Expiry) deadline::expiry_takes_nothing,
        "A holder that does not answer a recall for expiry keeps the grant.";
    "recall/mild/busy-ends-it", Must ["recall.mild-answered", "try.recalls"] (Expiry) deadline::busy_ends_it,
        "A Busy ends a recall for expiry, and a later try causes a new recall.";
    "recall/operator/asks", Should ["recall.operator"] (Recall) notice::operator_asks,
        "An operator can recall a grant without waiters.";
    "recall/operator/revokes", Must ["recall.revokes"] (Recall) deadline::operator_revokes,
        "A holder that ignores an operator's recall loses the grant at the deadline.";
}
