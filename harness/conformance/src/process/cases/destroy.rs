//! Cases about the end of sessions.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Grant, Locked, Scene, session};
use tenure_protocol::ToStore;
use tenure_protocol::message::Reason;

cases! { Process:
    "process/destroy/locked/all", Must ["destroy.all-locked"] all_locked,
        "A thread that has not locked the whole session can neither destroy nor rename it.";
    "process/destroy/pending/nobody-enters", Must ["destroy.nobody-enters"] nobody_enters,
        "While a Destroy is unanswered, no thread enters the session, even if the destroying thread has left.";
    "process/destroy/pending/recalled", Must ["destroy.nobody-enters", "recall.keeps-until-out"] recalled,
        "A recall during an unanswered Destroy does not make the process release the session.";
    "process/destroy/answered/gone", Must ["reconnect.ended-by-me", "grant.known"] drops,
        "After Gone, neither threads nor requests see any state of the destroyed session.";
    "process/destroy/answered/waiters", Must ["thread.ends-once"] waiters,
        "If another process destroys a session, its waiting threads are notified or request it anew.";
    "process/destroy/answered/fenced", Must ["fence.revoked", "thread.told"] fenced,
        "If a Destroy is answered with Revoked, the destroy has failed and the grant is lost.";
    "process/destroy/repeated/next-connection", Must ["reconnect.repeats"] repeated,
        "A Destroy without an answer is sent again on the next connection.";
}

/// Begins to destroy a session, and waits until the store has received the Destroy.
async fn destroying(t: &mut Scene) -> Play<(Grant, Locked, u64)> {
    let (grant, lock) = t.take_full(1, &session("s"), &[], &[("a", "1")]).await?;
    let id = t.begin("destroy", &lock).await?;
    heard(t, &grant).await?;
    Ok((grant, lock, id))
}

async fn heard(t: &mut Scene, grant: &Grant) -> Play {
    let heard = t.peer.next("Destroy").await?;
    let (session, token) = (grant.session.clone(), grant.token);
    holds(
        heard == ToStore::Destroy { session, token },
        "Destroy",
        heard,
    )
}

async fn all_locked(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (_, one) = t.take(1, &session("s"), &["a", "b"]).await?;
    let id = t.rename(&one, &session("to")).await?;
    t.fails(id).await?;
    let id = t.begin("destroy", &one).await?;
    t.fails(id).await?;
    t.is_quiet("not all is locked").await
}

async fn nobody_enters(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, _, destroy) = destroying(&mut t).await?;
    let id = t.ask(2, &session("s"), &["a"]).await?;
    t.waits(id, "a Destroy is under way").await?;
    t.cancel(destroy).await?;
    t.adapter.answer(destroy).await?.ok();
    t.waits(id, "a Destroy is still under way").await?;
    t.peer.say(grant.gone(None)).await?;
    asks_or_fails(&mut t, id).await
}

/// Expects that a thread that waited for the ended session is notified, or that its process requests the session anew.
async fn asks_or_fails(t: &mut Scene, id: u64) -> Play {
    let heard = t.settle().await?;
    let acquire = match heard.into_iter().next() {
        None => return t.fails(id).await,
        Some(ToStore::Acquire(acquire)) => acquire,
        Some(other) => return Err(t.peer.failed("a new request, or nothing", other)),
    };
    holds(acquire.known.is_none(), "no known version", &acquire)?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    let lock = t.locked(id).await?;
    holds(lock.text("a").is_none(), "nothing of the old state", lock)
}

async fn recalled(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, _, id) = destroying(&mut t).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let heard = t.settle().await?;
    let is_release = |message: &ToStore| matches!(message, ToStore::Release(_));
    holds(!heard.iter().any(is_release), "no Release", heard)?;
    t.peer.say(grant.gone(None)).await?;
    t.done(id).await.map(drop)
}

async fn drops(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, _, id) = destroying(&mut t).await?;
    t.peer.say(grant.gone(None)).await?;
    t.done(id).await?;
    t.is_quiet("the session has ended").await?;
    let id = t.ask(2, &s, &[]).await?;
    let acquire = t.acquired(&s).await?;
    holds(acquire.known.is_none(), "no known version", &acquire)?;
    let next = t.grant_of(&acquire);
    t.peer.say(next.full([])).await?;
    let lock = t.locked(id).await?;
    holds(lock.text("a").is_none(), "no attributes", lock)
}

async fn waiters(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take_full(1, &s, &[], &[("a", "1")]).await?;
    let id = t.ask(2, &s, &["a"]).await?;
    let destroy = t.begin("destroy", &lock).await?;
    heard(&mut t, &grant).await?;
    t.peer.say(grant.gone(None)).await?;
    t.done(destroy).await?;
    asks_or_fails(&mut t, id).await
}

async fn fenced(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, _, id) = destroying(&mut t).await?;
    t.peer.say(grant.revoked()).await?;
    t.fails(id).await?;
    t.is_quiet("the grant is lost").await
}

async fn repeated(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, _, id) = destroying(&mut t).await?;
    for _ in 0..2 {
        t.come_back().await?;
        heard(&mut t, &grant).await?;
    }
    t.peer.say(grant.gone(None)).await?;
    t.done(id).await.map(drop)
}
