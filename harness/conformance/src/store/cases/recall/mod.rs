//! Recalls: when a store asks for a grant, how often it says so, and when it takes the grant in the end.

mod deadline;
mod nobody;
mod notice;

use crate::case::cases;

cases! { Store:
    "recall/reason/none-while-nobody-wants-it", Should ["recall.not-without-reason"] notice::nobody_wants_it,
        "A grant that nobody else wants is not recalled.";
    "recall/asks/connected-holder", Must ["recall.asks"] notice::connected_holder,
        "A request that has to wait makes the store recall the grant.";
    "recall/asks/next-holder", Must ["recall.asks"] notice::next_holder,
        "A grant that others wait for already is recalled when it is made.";
    "recall/asks/wait-after-try", Must ["recall.asks"] notice::wait_after_try,
        "A grant that was recalled for a try is recalled for good when somebody waits.";
    "recall/asks/holder-that-was-away", Must ["recall.asks", "recall.repeated"] notice::holder_that_was_away,
        "A holder that was not connected when others came is asked when it is back.";
    "recall/after-hello/every-known-grant", Must ["recall.repeated"] notice::every_known_grant,
        "After Welcome the recalls of all known grants are said again.";
    "recall/once/further-requests", Should ["recall.once"] notice::further_requests,
        "Further requests do not make the store recall again.";
    "recall/alive/lists-every-recall", Must ["recall.repeated"] notice::lists_every_recall,
        "Alive lists the recalled grants of the process, and no other.";
    "recall/alive/after-busy", Must ["recall.repeated"] notice::after_busy,
        "Alive lists a recall that was answered by Busy only.";
    "recall/alive/told-in-the-grant", Must ["recall.repeated"] notice::told_in_the_grant,
        "Alive lists a recall that came with the grant.";
    "recall/reminds/until-the-grant-ends", Should ["recall.reminds"] notice::until_the_grant_ends,
        "A recall is repeated.";
    "recall/reminds/after-busy", Should ["recall.reminds"] notice::busy_is_reminded,
        "A recall that was answered by Busy is repeated.";
    "recall/busy/old-token-is-ignored", Must ["recall.stray-busy", "try.recalls"] notice::old_token_is_ignored,
        "A Busy under an old token does not keep out who tries.";
    "recall/busy/of-no-grant-is-ignored", Must ["recall.stray-busy"] notice::of_no_grant_is_ignored,
        "A Busy of a process that has no grant of the session is ignored.";
    "recall/ends/with-the-release", Must ["recall.ends-with-grant"] notice::with_the_release,
        "After a release neither the next holder nor the former one is recalled.";
    "recall/ends/same-holder-again", Must ["recall.ends-with-grant"] notice::same_holder_again,
        "Who has given a recalled grant back and gets a new one is not recalled.";
    "recall/ends/with-the-revocation", Must ["recall.ends-with-grant"] deadline::ends_with_it,
        "After a revocation the next holder is not recalled.";
    "recall/deadline/revokes", Must ["recall.revokes", "recall.not-early", "queue.passes-by"] deadline::revokes,
        "At the deadline, and not sooner, the grant is taken and passed on.";
    "recall/deadline/told-in-the-grant", Must ["recall.revokes", "recall.not-early"] deadline::told_in_the_grant,
        "A grant that was recalled when it was made is taken at the deadline it named, and not sooner.";
    "recall/deadline/busy-does-not-stop-it", Must ["recall.revokes", "recall.deadline-kept"] deadline::busy_does_not_stop_it,
        "A holder that says Busy again and again loses the grant at the deadline.";
    "recall/deadline/busy-does-not-move-it", Must ["recall.deadline-kept"] deadline::busy_does_not_move_it,
        "Busy leaves the deadline where it is.";
    "recall/deadline/repetition-does-not-move-it", Must ["recall.deadline-kept"] deadline::repetition_does_not_move_it,
        "What is said again in Alive names the same deadline.";
    "recall/deadline/request-does-not-move-it", Must ["recall.deadline-kept"] deadline::request_does_not_move_it,
        "Further and repeated requests leave the deadline where it is.";
    "recall/deadline/hello-does-not-move-it", Must ["recall.deadline-kept"] deadline::hello_does_not_move_it,
        "A new connection leaves the deadline where it is.";
    "recall/deadline/runs-while-away", Must ["recall.asks", "recall.deadline-kept"] deadline::runs_while_away,
        "The deadline of a holder that was not connected when others came counts from then, not from its return.";
    "recall/deadline/operator-does-not-move-it", Must ["recall.deadline-kept"] (Recall) deadline::operator_does_not_move_it,
        "An operator who recalls a recalled grant leaves the deadline where it is.";
    "recall/deadline/takes-one-grant", Must ["recall.revokes"] deadline::takes_one_grant,
        "A process that is late with one grant keeps its others, and its lease.";
    "recall/for-nobody/waiter-cancels", Must ["recall.for-nobody"] nobody::waiter_cancels,
        "A holder that is late keeps its grant when the only waiter has given up.";
    "recall/for-nobody/waiter-is-away", Must ["recall.for-nobody"] nobody::waiter_is_away,
        "A holder that is late keeps its grant when the only waiter has lost its connection.";
    "recall/for-nobody/waiter-is-back", Must ["recall.revokes", "recall.not-early"] nobody::waiter_is_back,
        "When the waiter is back, the grant is taken at the deadline that was named last.";
    "recall/for-nobody/more-time", Should ["recall.spares"] nobody::more_time,
        "When the only waiter has given up, the recall names a later deadline.";
    "recall/mild/try-takes-nothing", Must ["recall.mild"] deadline::try_takes_nothing,
        "A holder that does not answer a try keeps the grant.";
    "recall/mild/expiry-takes-nothing", Must ["recall.mild"] (Expiry) deadline::expiry_takes_nothing,
        "A holder that does not answer a recall for expiry keeps the grant.";
    "recall/mild/busy-ends-it", Must ["recall.mild-answered", "try.recalls"] (Expiry) deadline::busy_ends_it,
        "Busy ends a recall for expiry, and who tries then makes the store recall again.";
    "recall/operator/asks", Should ["recall.operator"] (Recall) notice::operator_asks,
        "An operator can recall a grant that nobody waits for.";
    "recall/operator/revokes", Must ["recall.revokes"] (Recall) deadline::operator_revokes,
        "A holder that does not answer an operator loses the grant at the deadline.";
}
