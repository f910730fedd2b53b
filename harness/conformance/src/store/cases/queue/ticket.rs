//! Cases about tickets: the place in the queue as a number that survives reconnects and restarts.

use super::{acquire_request, goes_in_order};
use crate::end::{Play, holds};
use crate::store::{CaseContext, ScriptedProcess};
use tenure_protocol::message::{AcquireRequest, WaitMode};
use tenure_protocol::{Request, SessionId, Ticket};

pub(super) async fn rises(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&s).await?;
    let mut waiters = Vec::new();
    let mut last = Ticket::default();
    for name in ["q", "r", "u", "v"] {
        let mut waiter = ctx.player(name).await?;
        let (_, ticket) = stands(&mut waiter, &s).await?;
        let expected = format!("a ticket after {last}");
        holds(ticket > last, &expected, ticket)?;
        last = ticket;
        waiters.push(waiter);
    }
    // A process that has released the session stands last again.
    let request = p.acquire_request(&s).request;
    p.say_release(&grant, <_>::default(), Some(request)).await?;
    p.released(&s, grant.token).await?;
    p.say_acquire(&acquire_request(&s, request, None)).await?;
    let (_, ticket) = stands_by(&mut p, &s, request).await?;
    let expected = format!("a ticket after {last}");
    holds(ticket > last, &expected, ticket)
}

pub(super) async fn same_again(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let (request, ticket) = stands(&mut q, &s).await?;
    for presented in [None, Some(ticket)] {
        q.say_acquire(&acquire_request(&s, request, presented))
            .await?;
        let again = q.place(&s, request).await?;
        is_same(again, ticket)?;
    }
    p.give_back(&grant).await?;
    let next = q.granted(&s, request).await?;
    q.give_back(&next).await?;
    q.hears_nothing_of(&s, "the request was already granted")
        .await?;
    r.acquire_at_once(&s).await.map(drop)
}

pub(super) async fn more_patient(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let request = q.try_for(&s).await?;
    let ticket = q.place(&s, request).await?;
    q.say_acquire(&acquire_request(&s, request, None)).await?;
    is_same(q.place(&s, request).await?, ticket)?;
    p.busy(&grant, Vec::new()).await?;
    p.hears_nothing_of(&s, "the holder has only reported that it is busy")
        .await?;
    q.hears_nothing_of(&s, "the try waits for threads now")
        .await?;
    p.give_back(&grant).await?;
    q.granted(&s, request).await.map(drop)
}

pub(super) async fn after_reconnect(ctx: CaseContext) -> Play {
    reconnects(ctx, true).await
}

pub(super) async fn forgotten(ctx: CaseContext) -> Play {
    reconnects(ctx, false).await
}

/// The first of two waiters loses its connection and reconnects before its lease ends.
async fn reconnects(ctx: CaseContext, presents: bool) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let (first, ticket) = stands(&mut q, &s).await?;
    let second = r.waits_for(&s).await?;
    let mut again = q.again(&ctx).await?;
    q.last_words().await?;
    let acquire = acquire_request(&s, first, presents.then_some(ticket));
    again.enter_with(Vec::new(), vec![acquire]).await?;
    is_same(again.place(&s, first).await?, ticket)?;
    p.give_back(&grant).await?;
    goes_in_order(&s, &mut [(&mut again, first), (&mut r, second)]).await
}

pub(super) async fn asked_again(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let (cancelled, ticket) = stands(&mut q, &s).await?;
    let second = r.waits_for(&s).await?;
    q.say_cancel(&s, cancelled).await?;
    q.refused(&s, cancelled).await?;
    let mut acquire = q.acquire_request(&s);
    (acquire.ticket, acquire.wait_mode) = (Some(ticket), WaitMode::Wait);
    q.say_acquire(&acquire).await?;
    q.hears_nothing_of(&s, "another process holds the session")
        .await?;
    p.give_back(&grant).await?;
    let order = &mut [(&mut q, acquire.request), (&mut r, second)];
    goes_in_order(&s, order).await
}

pub(super) async fn after_restart(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let mut u = ctx.player("u").await?;
    let grant = p.acquire(&s).await?;
    let (first, first_ticket) = stands(&mut q, &s).await?;
    let (second, second_ticket) = stands(&mut r, &s).await?;
    let (third, third_ticket) = stands(&mut u, &s).await?;
    ctx.restart().await?;
    let mut p = p.again(&ctx).await?;
    p.enter_with(vec![grant.hold()], Vec::new()).await?;
    let mut r = waits_again(&ctx, &r, acquire_request(&s, second, Some(second_ticket))).await?;
    let mut u = waits_again(&ctx, &u, acquire_request(&s, third, Some(third_ticket))).await?;
    let mut q = waits_again(&ctx, &q, acquire_request(&s, first, Some(first_ticket))).await?;
    p.give_back(&grant).await?;
    let order = &mut [(&mut q, first), (&mut r, second), (&mut u, third)];
    goes_in_order(&s, order).await
}

pub(super) async fn before_newcomers(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let (first, ticket) = stands(&mut q, &s).await?;
    ctx.restart().await?;
    let mut p = p.again(&ctx).await?;
    p.enter_with(vec![grant.hold()], Vec::new()).await?;
    let mut newcomer = ctx.player("r").await?;
    let second = newcomer.waits_for(&s).await?;
    let mut q = waits_again(&ctx, &q, acquire_request(&s, first, Some(ticket))).await?;
    p.give_back(&grant).await?;
    goes_in_order(&s, &mut [(&mut q, first), (&mut newcomer, second)]).await
}

pub(super) async fn from_the_future(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let mut u = ctx.player("u").await?;
    let grant = p.acquire(&s).await?;
    let (first, ticket) = stands(&mut q, &s).await?;
    let (mut of_epoch, mut of_sequence) = (ticket, ticket);
    of_epoch.0.epoch += 1;
    of_sequence.0.sequence += 1 << 40;
    let (second, second_ticket) = presents(&mut r, &s, of_epoch).await?;
    let (third, third_ticket) = presents(&mut u, &s, of_sequence).await?;
    let is_rising = ticket < second_ticket && second_ticket < third_ticket;
    let tickets = (ticket, second_ticket, third_ticket);
    holds(is_rising, "tickets in the order of arrival", tickets)?;
    p.give_back(&grant).await?;
    let order = &mut [(&mut q, first), (&mut r, second), (&mut u, third)];
    goes_in_order(&s, order).await
}

pub(super) async fn of_another(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let mut u = ctx.player("u").await?;
    let grant = p.acquire(&s).await?;
    let (first, first_ticket) = stands(&mut q, &s).await?;
    let (second, second_ticket) = stands(&mut r, &s).await?;
    let (third, ticket) = presents(&mut u, &s, first_ticket).await?;
    let expected = format!("a ticket after {second_ticket}");
    holds(ticket > second_ticket, &expected, ticket)?;
    p.give_back(&grant).await?;
    let order = &mut [(&mut q, first), (&mut r, second), (&mut u, third)];
    goes_in_order(&s, order).await
}

// ---- what they share ------------------------------------------------------------------------------------------------

/// Sends a request, and waits for its place.
async fn stands(p: &mut ScriptedProcess, session: &SessionId) -> Play<(Request, Ticket)> {
    let request = p.ask(session).await?;
    stands_by(p, session, request).await
}

async fn stands_by(
    p: &mut ScriptedProcess,
    session: &SessionId,
    request: Request,
) -> Play<(Request, Ticket)> {
    let ticket = p.place(session, request).await?;
    Ok((request, ticket))
}

/// Sends a request with a ticket, and waits for its place.
async fn presents(
    p: &mut ScriptedProcess,
    session: &SessionId,
    ticket: Ticket,
) -> Play<(Request, Ticket)> {
    let mut acquire = p.acquire_request(session);
    acquire.ticket = Some(ticket);
    p.say_acquire(&acquire).await?;
    stands_by(p, session, acquire.request).await
}

/// Reconnects and lists the request. On return, the store has processed it.
async fn waits_again(
    ctx: &CaseContext,
    old: &ScriptedProcess,
    acquire: AcquireRequest,
) -> Play<ScriptedProcess> {
    let mut again = old.again(ctx).await?;
    let session = acquire.session.clone();
    again.enter_with(Vec::new(), vec![acquire]).await?;
    again
        .hears_nothing_of(&session, "another process holds the session")
        .await?;
    Ok(again)
}

fn is_same(ticket: Ticket, first: Ticket) -> Play {
    let expected = format!("the ticket that it had, {first}");
    holds(ticket == first, &expected, ticket)
}
