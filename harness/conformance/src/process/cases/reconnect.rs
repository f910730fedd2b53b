//! Cases about the lists in a hello, and the effects of a welcome.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Grant, Scene, session};
use std::collections::BTreeSet;
use tenure_protocol::message::{AcquireRequest, GrantRef, Reason};
use tenure_protocol::{Request, SessionId, ToStore, Token};

cases! { Process:
    "process/reconnect/hello/names-holds", Must ["reconnect.names-holds"] names_holds,
        "A hello lists exactly the grants that are cached, in use or being released.";
    "process/reconnect/hello/names-waits", Must ["reconnect.names-waits"] names_waits,
        "A hello lists all waiting requests, including those within releases, and no cancelled one.";
    "process/reconnect/hello/nothing-ended", Must ["reconnect.names-holds", "reconnect.names-waits"] nothing_ended,
        "A hello lists no grant or request that was revoked, refused, released or destroyed.";
    "process/reconnect/welcome/lost", Must ["reconnect.lost", "thread.told"] lost,
        "A grant that the Welcome does not list is lost, and its threads are notified.";
    "process/reconnect/welcome/other-token", Must ["reconnect.lost"] other_token,
        "A grant that the Welcome lists with another token is lost.";
    "process/reconnect/welcome/some", Must ["reconnect.lost", "lease.lost"] some,
        "Of several grants, exactly those that the Welcome does not list are lost.";
    "process/reconnect/welcome/ended-by-others", Must ["reconnect.ended-by-me", "thread.told"] ended_by_others,
        "If a Welcome lists a grant as ended and the process has not ended it, the grant is lost.";
    "process/reconnect/welcome/ended-by-me", Must ["reconnect.ended-by-me"] ended_by_me,
        "An ended grant in a Welcome answers a Destroy.";
    "process/reconnect/welcome/renamed-by-me", Must ["reconnect.ended-by-me", "rename.new-hold"] renamed_by_me,
        "A renamed grant in a Welcome answers a Rename.";
    "process/reconnect/welcome/ended-otherwise", Must ["reconnect.ended-by-me"] ended_otherwise,
        "A renamed grant in a Welcome does not answer a Destroy.";
    "process/reconnect/repeats/cancel", Must ["reconnect.repeats", "reconnect.names-waits"] repeats_cancel,
        "A cancelled request without an answer is not listed, and a grant of it is not used.";
    "process/reconnect/granted/lost-on-the-way", Must ["reconnect.names-waits", "thread.ends-once"] granted_lost,
        "A request whose grant was lost with the connection keeps waiting, and takes the grant on the next connection.";
    "process/reconnect/each-phase/waiting",
        Must ["connect.again", "reconnect.names-waits", "thread.ends-once"] phase_waiting,
        "If the connection is lost while a thread waits, its request and its place in the queue remain.";
}

fn tokens(holds: &[GrantRef]) -> BTreeSet<Token> {
    holds.iter().map(|hold| hold.token).collect()
}

async fn names_holds(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [kept, inside, releasing, released, waiting] =
        ["kept", "inside", "releasing", "released", "waiting"].map(session);
    let kept = t.keep(&kept).await?;
    let (inside, lock) = t.take(1, &inside, &["a"]).await?;
    let releasing = t.keep(&releasing).await?;
    let released = t.keep(&released).await?;
    t.peer
        .say_all([
            releasing.recall(Reason::Wait),
            released.recall(Reason::Wait),
        ])
        .await?;
    t.released(&releasing).await?;
    t.released(&released).await?;
    t.peer
        .say(released.released(Some(released.version)))
        .await?;
    t.ask(2, &waiting, &["a"]).await?;
    t.acquired(&waiting).await?;
    t.is_quiet("all messages were sent").await?;
    t.reconnect().await?;
    let expected = [&kept, &inside, &releasing].map(|grant| grant.token);
    holds(
        tokens(&t.opening.holds) == expected.into() && t.opening.holds.len() == 3,
        "what it has, and what is on its way back",
        &t.opening,
    )?;
    t.welcome(t.opening.holds.clone(), Vec::new()).await?;
    t.released(&releasing).await?;
    t.stands(&lock).await
}

fn requests(waits: &[AcquireRequest]) -> BTreeSet<Request> {
    waits.iter().map(|acquire| acquire.request).collect()
}

async fn names_waits(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [one, two, cancelled, requeued] = ["one", "two", "cancelled", "requeued"].map(session);
    t.ask(1, &one, &["a"]).await?;
    let first = t.acquired(&one).await?;
    t.ask(2, &two, &["a"]).await?;
    let second = t.acquired(&two).await?;
    let id = t.ask(3, &cancelled, &["a"]).await?;
    let third = t.acquired(&cancelled).await?;
    t.cancel(id).await?;
    t.refused(id, "cancelled").await?;
    let (grant, lock) = t.take_ignoring_cancel(4, &requeued, third.request).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    t.ask(5, &requeued, &["a"]).await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    let mut expected = BTreeSet::from([first.request, second.request]);
    expected.extend(release.requeue);
    t.reconnect().await?;
    let named = requests(&t.opening.waits);
    // A library that sends no `Cancel` still names the request.
    let is_right = named == expected && t.opening.waits.len() == expected.len();
    holds(is_right, "what was not ended nor cancelled", &t.opening)
}

async fn nothing_ended(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [revoked, refused, unasked] = ["revoked", "refused", "unasked"].map(session);
    let grant = t.keep(&revoked).await?;
    t.peer.say(grant.revoked()).await?;
    let id = t.ask(1, &refused, &["a"]).await?;
    let acquire = t.acquired(&refused).await?;
    t.refuse(&acquire, tenure_protocol::message::Refusal::Gone)
        .await?;
    t.refused(id, "gone").await?;
    let unasked = t.grant_for(&unasked, Request(77));
    t.peer.say(unasked.full([])).await?;
    t.returned(&unasked).await?;
    t.reconnect().await?;
    let is_empty = t.opening.holds.is_empty() && t.opening.waits.is_empty();
    holds(is_empty, "nothing", &t.opening)
}

/// Returns a guard whose connection was lost, and which the next hello lists.
async fn away(t: &mut Scene) -> Play<(Grant, super::super::scene::Locked)> {
    let (grant, lock) = t.take_full(1, &session("s"), &[], &[("a", "1")]).await?;
    t.reconnect().await?;
    holds(t.opening.holds == [grant.hold()], "the grant", &t.opening)?;
    Ok((grant, lock))
}

/// Expects that the grant is lost: the thread is notified, and a new lock sends a new request.
async fn is_lost(t: &mut Scene, lock: &super::super::scene::Locked) -> Play {
    t.is_quiet("no thread waits").await?;
    t.lost(lock, &["revoked", "lease-lost", "gone"]).await?;
    let id = t.ask(2, &session("s"), &["a"]).await?;
    let acquire = t.acquired(&session("s")).await?;
    holds(acquire.known.is_none(), "no known version", &acquire)?;
    let next = t.grant_of(&acquire);
    t.peer.say(next.full([])).await?;
    let lock = t.locked(id).await?;
    holds(lock.text("a").is_none(), "nothing of the old state", lock)
}

async fn lost(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (_, lock) = away(&mut t).await?;
    t.welcome(Vec::new(), Vec::new()).await?;
    is_lost(&mut t, &lock).await
}

async fn other_token(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = away(&mut t).await?;
    let other = Token(t.stamp());
    let wrong = GrantRef {
        token: other,
        ..grant.hold()
    };
    t.welcome(vec![wrong], Vec::new()).await?;
    is_lost(&mut t, &lock).await
}

async fn some(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (known, stays) = t.take(1, &session("known"), &["a"]).await?;
    let (_, goes) = t.take(2, &session("unknown"), &["a"]).await?;
    t.reconnect().await?;
    t.welcome(vec![known.hold()], Vec::new()).await?;
    t.is_quiet("no thread waits").await?;
    t.stands(&stays).await?;
    t.lost(&goes, &["revoked", "lease-lost"]).await
}

async fn ended_by_others(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = away(&mut t).await?;
    t.welcome(Vec::new(), vec![(grant.hold(), None)]).await?;
    is_lost(&mut t, &lock).await
}

async fn ended_by_me(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take(1, &session("s"), &[]).await?;
    let id = t.begin("destroy", &lock).await?;
    heard_ending(&mut t).await?;
    t.reconnect().await?;
    holds(t.opening.holds == [grant.hold()], "the grant", &t.opening)?;
    t.welcome(Vec::new(), vec![(grant.hold(), None)]).await?;
    t.done(id).await.map(drop)
}

async fn heard_ending(t: &mut Scene) -> Play {
    match t.peer.next("Destroy or Rename").await? {
        ToStore::Destroy { .. } | ToStore::Rename { .. } => Ok(()),
        other => Err(t.peer.failed("Destroy or Rename", other)),
    }
}

async fn renamed_by_me(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let to = session("to");
    let (grant, lock) = t.take(1, &session("s"), &[]).await?;
    let id = t.rename(&lock, &to).await?;
    heard_ending(&mut t).await?;
    t.reconnect().await?;
    let next = t.grant_for(&to, grant.request);
    t.welcome(Vec::new(), vec![(grant.hold(), Some(next.hold()))])
        .await?;
    t.done(id).await?;
    t.unlock(&lock).await?;
    t.peer.say(next.recall(Reason::Wait)).await?;
    t.released(&next).await.map(drop)
}

async fn ended_otherwise(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take(1, &session("s"), &[]).await?;
    let id = t.begin("destroy", &lock).await?;
    heard_ending(&mut t).await?;
    t.reconnect().await?;
    let other: SessionId = session("other");
    let next = t.grant_for(&other, grant.request);
    t.welcome(Vec::new(), vec![(grant.hold(), Some(next.hold()))])
        .await?;
    t.fails(id).await
}

async fn repeats_cancel(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.cancel(id).await?;
    t.refused(id, "cancelled").await?;
    let heard = t.settle().await?;
    let own = acquire.request;
    let is_cancelled =
        |message: &ToStore| matches!(message, ToStore::Cancel { request, .. } if *request == own);
    let has_cancelled = heard.iter().any(is_cancelled);
    t.reconnect().await?;
    let names = t
        .opening
        .waits
        .iter()
        .any(|own| own.request == acquire.request);
    holds(
        !(has_cancelled && names),
        "nothing that was cancelled",
        &t.opening,
    )?;
    t.welcome(Vec::new(), Vec::new()).await?;
    let heard = t.settle().await?;
    if has_cancelled {
        holds(heard.iter().any(is_cancelled), "the Cancel again", heard)?;
    }
    Ok(())
}

async fn granted_lost(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    // The store makes the grant, and its message is lost.
    let grant = t.grant_of(&acquire);
    t.reconnect().await?;
    let is_named = requests(&t.opening.waits) == BTreeSet::from([acquire.request]);
    holds(
        is_named && t.opening.holds.is_empty(),
        "the request",
        &t.opening,
    )?;
    t.welcome(Vec::new(), Vec::new()).await?;
    t.peer.say(grant.full([])).await?;
    let lock = t.locked(id).await?;
    holds(lock.token == grant.token, "the grant", lock)
}

async fn phase_waiting(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    for _ in 0..3 {
        t.reconnect().await?;
        let is_named = requests(&t.opening.waits) == BTreeSet::from([acquire.request]);
        holds(is_named, "the request", &t.opening)?;
        t.welcome(Vec::new(), Vec::new()).await?;
        t.waits(id, "the request was not granted").await?;
    }
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    t.locked(id).await.map(drop)
}
