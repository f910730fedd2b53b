//! Cases about tries: a try gets a session that is free or only cached, and never waits for a thread.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, ScriptedProcess, set};
use tenure_protocol::message::{Reason, Refusal, WaitMode};
use tenure_protocol::{Request, SessionId, ToProcess};

cases! { Store:
    "try/free/at-once", Must ["grant.at-once"] free_at_once,
        "A try for a free session is granted at once.";
    "try/own/again", Must ["grant.same-again"] own_again,
        "A holder that tries for its own session receives its grant again.";
    "try/recalls/a-kept-grant", Must ["try.recalls"] recalls_kept,
        "A try makes the store recall the grant.";
    "try/recalls/each-new-grant", Must ["try.recalls"] recalls_each,
        "Each of several successive tries recalls the grant that is then current.";
    "try/succeeds/when-given-back", Must ["try.recalls"] succeeds,
        "A try is granted when the holder answers the recall with Release.";
    "try/succeeds/before-a-waiter", Must ["try.recalls", "queue.fifo-connected"] succeeds_before_waiter,
        "A try that came first is granted before a waiting request.";
    "try/busy/answered", Must ["try.refused-when-busy"] refused_when_busy,
        "A try is refused when the holder answers the recall with Busy.";
    "try/busy/already", Must ["try.refused-when-busy", "try.refused-otherwise"] busy_already,
        "A try is refused if the holder has already reported that it is busy and another process waits.";
    "try/busy/waiter-stays", Must ["try.refused-when-busy"] waiter_stays,
        "A Busy refuses only the try: the waiting request behind it is eventually granted.";
    "try/behind/a-waiter", Must ["try.refused-otherwise"] behind_waiter,
        "A try for a session that another waits for is refused.";
    "try/behind/a-try", Must ["try.refused-otherwise"] behind_try,
        "A try for a session that another tries for is refused.";
    "try/away/before", Must ["try.refused-otherwise"] away_before,
        "A try is refused if the holder has lost its connection.";
    "try/away/meanwhile", Must ["try.refused-otherwise"] away_meanwhile,
        "A try that waits for the holder's answer is refused when the holder loses its connection.";
    "try/away/after-restart", Must ["try.refused-otherwise"] (Restart) away_after_restart,
        "After a restart of the store, a try is refused until the holder has reconnected.";
    "try/passed/to-another", Must ["try.refused-otherwise"] passed_to_another,
        "A waiting try is refused when the session is granted to another process.";
}

async fn free_at_once(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let mut acquire = p.acquire_request(&s);
    acquire.wait_mode = WaitMode::Try;
    let grant = p.grant_at_once(acquire).await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    let mut acquire = q.acquire_request(&s);
    acquire.wait_mode = WaitMode::Try;
    q.grant_at_once(acquire).await.map(drop)
}

async fn own_again(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&s).await?;
    let request = p.try_for(&s).await?;
    let again = p.granted(&s, request).await?;
    holds(again.token == grant.token, "the same token", again.token)?;
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

async fn recalls_kept(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    q.try_for(&s).await?;
    let reason = p.recalled(&grant).await?.reason;
    holds(reason >= Reason::Try, "a recall for a try", reason)
}

async fn recalls_each(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut players = ctx.two().await?;
    let mut grant = players[0].acquire(&s).await?;
    for turn in 0..4 {
        let [p, q] = &mut players;
        let (holder, other) = if turn % 2 == 0 { (p, q) } else { (q, p) };
        let request = other.try_for(&s).await?;
        holder.recalled(&grant).await?;
        holder.give_back(&grant).await?;
        grant = other.granted(&s, request).await?;
    }
    Ok(())
}

async fn succeeds(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let request = q.try_for(&s).await?;
    p.recalled(&grant).await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    let next = q.granted(&s, request).await?;
    holds(next.token > grant.token, "a later token", next.token)?;
    let is_written = next.text("a").as_deref() == Some("1");
    holds(
        is_written,
        "the changes that the holder released",
        &next.attributes,
    )
}

async fn succeeds_before_waiter(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let first = q.tries(&s).await?;
    let second = r.waits_for(&s).await?;
    p.give_back(&grant).await?;
    let grant = q.granted(&s, first).await?;
    r.hears_nothing_of(&s, "the try came first").await?;
    q.give_back(&grant).await?;
    r.granted(&s, second).await.map(drop)
}

async fn refused_when_busy(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let mut grant = p.acquire(&s).await?;
    let request = q.try_for(&s).await?;
    p.recalled(&grant).await?;
    p.busy(&grant, Vec::new()).await?;
    is_refused(&mut q, &s, request).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    p.give_back(&grant).await?;
    q.hears_nothing_of(&s, "its try was refused").await
}

async fn busy_already(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let waits = r.waits_for(&s).await?;
    p.recalled(&grant).await?;
    p.busy(&grant, Vec::new()).await?;
    p.hears_nothing_of(&s, "the holder has only reported that it is busy")
        .await?;
    let request = q.try_for(&s).await?;
    is_refused(&mut q, &s, request).await?;
    // Without a waiting process, the refusal can only come from the holder's threads, whether the holder is asked again
    // or not.
    r.say_cancel(&s, waits).await?;
    r.refused(&s, waits).await?;
    let request = q.try_for(&s).await?;
    let heard = q.settle_at(&s).await?;
    let is_refusal = |message: &ToProcess| match message {
        ToProcess::Refused {
            request: own, why, ..
        } => *own == request && *why == Refusal::WouldBlock,
        _ => false,
    };
    if heard.iter().any(is_refusal) {
        return Ok(());
    }
    p.busy(&grant, Vec::new()).await?;
    is_refused(&mut q, &s, request).await
}

async fn waiter_stays(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let tried = q.tries(&s).await?;
    let waits = r.waits_for(&s).await?;
    p.busy(&grant, Vec::new()).await?;
    is_refused(&mut q, &s, tried).await?;
    r.hears_nothing_of(&s, "the request waits for threads")
        .await?;
    p.give_back(&grant).await?;
    r.granted(&s, waits).await.map(drop)
}

async fn behind_waiter(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let waits = q.waits_for(&s).await?;
    let request = r.try_for(&s).await?;
    is_refused(&mut r, &s, request).await?;
    p.give_back(&grant).await?;
    let grant = q.granted(&s, waits).await?;
    q.give_back(&grant).await?;
    r.hears_nothing_of(&s, "its try was refused").await
}

async fn behind_try(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let first = q.tries(&s).await?;
    let request = r.try_for(&s).await?;
    is_refused(&mut r, &s, request).await?;
    p.give_back(&grant).await?;
    q.granted(&s, first).await.map(drop)
}

async fn away_before(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    p.acquire(&s).await?;
    p.last_words().await?;
    let request = q.try_for(&s).await?;
    is_refused(&mut q, &s, request).await
}

async fn away_meanwhile(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let request = q.tries(&s).await?;
    p.recalled(&grant).await?;
    p.cut();
    is_refused(&mut q, &s, request).await
}

async fn away_after_restart(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    ctx.restart().await?;
    let mut q = q.again(&ctx).await?;
    q.enter().await?;
    let request = q.try_for(&s).await?;
    is_refused(&mut q, &s, request).await?;
    let mut p = p.again(&ctx).await?;
    p.enter_with(vec![grant.hold()], Vec::new()).await?;
    let request = q.try_for(&s).await?;
    p.recalled(&grant).await?;
    p.give_back(&grant).await?;
    q.granted(&s, request).await.map(drop)
}

async fn passed_to_another(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    // An older ticket gives a request a place before the try that came first.
    let cancelled = r.ask(&s).await?;
    let ticket = r.place(&s, cancelled).await?;
    r.say_cancel(&s, cancelled).await?;
    r.refused(&s, cancelled).await?;
    let tried = q.tries(&s).await?;
    let mut acquire = r.acquire_request(&s);
    acquire.ticket = Some(ticket);
    r.say_acquire(&acquire).await?;
    r.hears_nothing_of(&s, "another process holds the session")
        .await?;
    p.give_back(&grant).await?;
    r.granted(&s, acquire.request).await?;
    is_refused(&mut q, &s, tried).await
}

async fn is_refused(p: &mut ScriptedProcess, session: &SessionId, request: Request) -> Play {
    let why = p.refused(session, request).await?;
    holds(why == Refusal::WouldBlock, "Refused, would block", why)
}
