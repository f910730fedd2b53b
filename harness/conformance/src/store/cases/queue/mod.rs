//! Cases about the queue: first come, first served, over reconnects and restarts.

mod away;
mod passing;
mod ticket;

use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, ScriptedProcess, set};
use tenure_protocol::attributes::State;
use tenure_protocol::message::{AcquireRequest, Granted, WaitMode};
use tenure_protocol::{Request, SessionId, Ticket, ToProcess};

cases! { Store:
    "queue/fifo/two-waiters", Must ["queue.fifo-connected"] two_waiters,
        "Of two waiters, the first to request is granted first.";
    "queue/fifo/three-waiters", Must ["queue.fifo-connected", "queue.passes-by"] three_waiters,
        "Three waiters are granted in the order of their requests, in whichever order they connected.";
    "queue/fifo/one-gives-up", Must ["queue.fifo-connected", "queue.passes-by"] one_gives_up,
        "When a waiter cancels, the others are granted in their order.";
    "queue/fifo/head-is-away", Must ["queue.fifo-connected", "lease.frees-nothing"] away::head_is_away,
        "A waiter that lost its connection has its place again when it reconnects.";
    "queue/passed-by/one-behind-it", Must ["queue.passes-by", "grant.connected"] away::one_behind_it,
        "A waiter without a connection is passed by, and is granted the session in its turn when it is back.";
    "queue/passed-by/newcomer", Must ["queue.passes-by", "grant.connected"] away::newcomer,
        "A free session whose only waiter has no connection is granted to a newcomer at once.";
    "queue/passed-by/back-to-a-free-one", Must ["queue.passes-by", "reconnect.waits"] away::back_to_a_free_one,
        "A waiter that reconnects is granted the session if it is still free.";
    "queue/ticket/rises", Must ["queue.tickets-rise"] ticket::rises,
        "Each waiter's ticket is greater than all earlier ones.";
    "queue/ticket/same-again", Must ["queue.same-ticket"] ticket::same_again,
        "A waiter that repeats its request keeps its ticket and is granted once.";
    "queue/ticket/more-patient", Must ["queue.same-ticket"] ticket::more_patient,
        "A try that is repeated as a wait keeps its ticket, and waits.";
    "queue/ticket/after-reconnect", Must ["queue.presented", "lease.frees-nothing"] ticket::after_reconnect,
        "A waiter that reconnects and presents its ticket keeps its place.";
    "queue/ticket/forgotten", Must ["queue.same-ticket", "lease.frees-nothing"] ticket::forgotten,
        "A waiter that reconnects without its ticket still keeps its place and its ticket.";
    "queue/ticket/asked-again", Must ["queue.presented"] ticket::asked_again,
        "A request that presents the ticket of a cancelled request takes over its place.";
    "queue/ticket/after-restart", Must ["queue.presented"] (Restart) ticket::after_restart,
        "After a restart of the store, waiters with tickets keep their order, in whichever order they reconnect.";
    "queue/ticket/before-newcomers", Must ["queue.presented"] (Restart) ticket::before_newcomers,
        "After a restart of the store, a waiter with a ticket stands before newcomers.";
    "queue/ticket/from-the-future", Must ["queue.presented", "queue.tickets-rise"] ticket::from_the_future,
        "A ticket that was never issued is ignored: the request stands last and receives another ticket.";
    "queue/ticket/of-another", Must ["queue.presented", "queue.tickets-rise"] ticket::of_another,
        "Another waiter's ticket is ignored: the request stands last and receives another ticket.";
    "queue/requeue/last", Must ["queue.requeue-last"] requeue_last,
        "A process that releases and requests again stands behind all waiters.";
    "queue/requeue/alone", Must ["queue.requeue-last", "queue.passes-by"] requeue_alone,
        "A process that releases and requests again gets a new grant if no other process waits.";
    "queue/patience/kept", Must ["queue.same-ticket"] patience_kept,
        "A wait that is repeated as a try continues when the holder is busy.";
    "queue/told/at-once", Should ["queue.told"] told_at_once,
        "A request that must wait is answered with Queued at once.";
    "queue/told/with-a-release", Should ["queue.told"] told_with_release,
        "A request within a Release that must wait is also answered with Queued.";
    "queue/passes-on/goodbye", Must ["queue.passes-by"] passing::goodbye,
        "When the holder sends Goodbye, the head of the queue is granted the session.";
    "queue/passes-on/started-again", Must ["queue.passes-by"] passing::started_again,
        "When the holder is restarted, the head of the queue is granted the session.";
    "queue/passes-on/not-named", Must ["queue.passes-by"] passing::not_named,
        "When the holder's Hello does not list its grant, the head of the queue is granted the session.";
    "queue/passes-on/lease-end", Must ["queue.passes-by"] passing::lease_end,
        "When the holder's lease ends, the head of the queue is granted the session.";
    "queue/passes-on/revoked", Must ["queue.passes-by"] passing::revoked,
        "When a holder ignores its recall until the deadline, the head of the queue is granted the session.";
    "queue/passes-on/to-one-that-dies", Must ["queue.passes-by", "lease.ends"] passing::to_one_that_dies,
        "A session granted to a process that never reconnects is eventually granted to the next waiter.";
    "queue/orphan/goodbye", Must ["lease.ends"] passing::orphan_goodbye,
        "A waiter that has sent Goodbye is passed over.";
    "queue/orphan/lease-end", Must ["lease.ends"] passing::orphan_lease_end,
        "A waiter whose lease has ended is passed over.";
    "queue/wait-ends/behind-others", Must ["end.answered"] passing::wait_ends,
        "A request that has waited for the store's longest wait is refused.";
    "queue/wait-ends/try", Must ["end.answered"] passing::try_ends,
        "A try that the holder never answers is eventually refused.";
}

async fn two_waiters(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let first = r.waits_for(&s).await?;
    let second = q.waits_for(&s).await?;
    p.give_back(&grant).await?;
    goes_in_order(&s, &mut [(&mut r, first), (&mut q, second)]).await
}

async fn three_waiters(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let mut u = ctx.player("u").await?;
    let grant = u.acquire(&s).await?;
    let first = q.waits_for(&s).await?;
    let second = r.waits_for(&s).await?;
    let third = p.waits_for(&s).await?;
    u.give_back(&grant).await?;
    let order = &mut [(&mut q, first), (&mut r, second), (&mut p, third)];
    goes_in_order(&s, order).await
}

async fn one_gives_up(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let (mut u, mut v) = (ctx.player("u").await?, ctx.player("v").await?);
    let grant = p.acquire(&s).await?;
    let head = q.waits_for(&s).await?;
    let second = r.waits_for(&s).await?;
    let third = u.waits_for(&s).await?;
    let last = v.waits_for(&s).await?;
    // Cancel the head, then a waiter in the middle.
    for (player, request) in [(&mut q, head), (&mut u, third)] {
        player.say_cancel(&s, request).await?;
        player.refused(&s, request).await?;
    }
    p.give_back(&grant).await?;
    goes_in_order(&s, &mut [(&mut r, second), (&mut v, last)]).await?;
    for player in [&mut q, &mut u] {
        player
            .hears_nothing_of(&s, "the process has cancelled its request")
            .await?;
    }
    p.acquire_at_once(&s).await.map(drop)
}

async fn requeue_last(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let first = q.waits_for(&s).await?;
    let second = r.waits_for(&s).await?;
    let third = p.acquire_request(&s).request;
    p.say_release(&grant, set([("a", Some("1"))]), Some(third))
        .await?;
    p.released(&s, grant.token).await?;
    let order = &mut [(&mut q, first), (&mut r, second), (&mut p, third)];
    goes_in_order(&s, order).await
}

async fn requeue_alone(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&s).await?;
    let delta = set([("a", Some("1"))]);
    let request = p.acquire_request(&s).request;
    p.say_release(&grant, delta.clone(), Some(request)).await?;
    // No rule says whether `Released` or `Granted` comes first.
    let heard = p.settle_at(&s).await?;
    let released = heard.iter().find_map(|message| match message {
        ToProcess::Released { token, version, .. } if *token == grant.token => *version,
        _ => None,
    });
    let is_right = |message: &ToProcess| match message {
        ToProcess::Granted(Granted {
            request: own,
            token,
            version,
            state,
            ..
        }) => {
            let is_whole =
                matches!(state, State::Unchanged) || *state == State::Full(delta.clone());
            *own == request && *token > grant.token && Some(*version) == released && is_whole
        }
        _ => false,
    };
    let expected = "Released, and Granted of that version under a later token";
    holds(heard.iter().any(is_right), expected, &heard)
}

async fn patience_kept(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let mut acquire = q.acquire_request(&s);
    q.say_acquire(&acquire).await?;
    acquire.wait_mode = WaitMode::Try;
    q.say_acquire(&acquire).await?;
    q.hears_nothing_of(&s, "it waits").await?;
    p.busy(&grant, Vec::new()).await?;
    p.hears_nothing_of(&s, "the holder has only reported that it is busy")
        .await?;
    q.say_acquire(&acquire).await?;
    q.hears_nothing_of(&s, "the process waits for the holder")
        .await?;
    p.give_back(&grant).await?;
    q.granted(&s, acquire.request).await.map(drop)
}

async fn told_at_once(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    p.acquire(&s).await?;
    let first = q.ask(&s).await?;
    q.queued(&s, first).await?;
    let mut r = ctx.player("r").await?;
    let second = r.ask(&s).await?;
    r.queued(&s, second).await.map(drop)
}

async fn told_with_release(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    q.waits_for(&s).await?;
    let request = p.acquire_request(&s).request;
    p.say_release(&grant, <_>::default(), Some(request)).await?;
    p.released(&s, grant.token).await?;
    let heard = p.settle_at(&s).await?;
    let is_place = |message: &ToProcess| matches!(message, ToProcess::Queued { request: own, .. } if *own == request);
    holds(heard.iter().any(is_place), "Queued", &heard)
}

// ---- what they share ------------------------------------------------------------------------------------------------

/// Passes the session from one process to the next, and expects that later ones receive nothing meanwhile.
async fn goes_in_order(session: &SessionId, order: &mut [(&mut ScriptedProcess, Request)]) -> Play {
    for at in 0..order.len() {
        let (before, behind) = order.split_at_mut(at + 1);
        let (player, request) = &mut before[at];
        let grant = player.granted(session, *request).await?;
        for (other, _) in behind {
            other.hears_nothing_of(session, "others come first").await?;
        }
        player.give_back(&grant).await?;
    }
    Ok(())
}

/// Returns a waiting request, with its ticket if known.
fn acquire_request(
    session: &SessionId,
    request: Request,
    ticket: Option<Ticket>,
) -> AcquireRequest {
    AcquireRequest {
        session: session.clone(),
        request,
        known: None,
        wait_mode: WaitMode::Wait,
        ticket,
        existing: false,
    }
}
