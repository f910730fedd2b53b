//! A tour through nearly all messages of a store, so that their encoding can be checked.

use super::bytes::vector;
use crate::end::Play;
use crate::store::{CaseContext, set};
use tenure_protocol::ToProcess;
use tenure_protocol::message::GrantRef;
use tenure_protocol::{ToStore, Version};

/// Makes the store send the messages. A scripted process fails on a message that it cannot decode.
pub(super) async fn tour(ctx: &CaseContext) -> Play {
    handoff(ctx).await?;
    refusals(ctx).await?;
    ends(ctx).await?;
    farewells(ctx).await
}

/// Causes Granted in all states, Queued, Recall, Alive with a recall, Committed, Released in both forms, and Revoked.
async fn handoff(ctx: &CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let mut grant = p.acquire(&s).await?;
    let first = p.commit(&mut grant, set([("a", Some("1"))])).await?;
    let request = q.ask(&s).await?;
    q.queued(&s, request).await?;
    p.recalled(&grant).await?;
    p.settle().await?;
    let second = p.release(&grant, set([("b", Some("2"))])).await?;
    p.release(&grant, set([])).await?; // The token is old now.
    p.say_commit(&grant, set([("c", Some("3"))])).await?;
    p.expect("Revoked", |message| {
        is(matches!(message, ToProcess::Revoked { .. }))
    })
    .await?;
    let held = q.granted(&s, request).await?;
    q.release(&held, set([])).await?;
    for known in [Some(first), second] {
        let grant = knowing(&mut p, ctx, known).await?;
        p.release(&grant, set([])).await?;
    }
    Ok(())
}

async fn knowing(
    p: &mut crate::store::ScriptedProcess,
    ctx: &CaseContext,
    known: Option<Version>,
) -> Play<crate::store::Grant> {
    let s = ctx.session("s");
    let mut acquire = p.acquire_request(&s);
    acquire.known = known;
    let request = acquire.request;
    p.say(ToStore::Acquire(acquire)).await?;
    p.granted(&s, request).await
}

/// Causes several kinds of Refused, and NotRenamed.
async fn refusals(ctx: &CaseContext) -> Play {
    let (mut p, mut q) = (ctx.player("h").await?, ctx.player("i").await?);
    let (s, t) = (ctx.session("s2"), ctx.session("t2"));
    let grant = p.acquire(&s).await?;
    let taken = q.acquire(&t).await?;
    let request = q.try_for(&s).await?;
    p.recalled(&grant).await?;
    p.busy(&grant, vec![]).await?;
    q.refused(&s, request).await?;
    let request = q.ask(&s).await?;
    q.queued(&s, request).await?;
    let session = s.clone();
    q.say(ToStore::Cancel { session, request }).await?;
    q.refused(&s, request).await?;
    let GrantRef { session, token } = taken.hold();
    let to = s.clone();
    q.say(ToStore::Rename { session, token, to }).await?;
    q.expect("NotRenamed", |message| {
        is(matches!(message, ToProcess::NotRenamed { .. }))
    })
    .await
}

/// Causes Gone in both forms, and a Welcome that repeats it.
async fn ends(ctx: &CaseContext) -> Play {
    let mut p = ctx.player("e").await?;
    let before = p.acquire(&ctx.session("s3")).await?.hold();
    let GrantRef { session, token } = before.clone();
    let to = ctx.session("t3");
    p.say(ToStore::Rename { session, token, to }).await?;
    let renamed = p.expect("Gone", |message| match message {
        ToProcess::Gone { renamed, .. } => renamed.clone(),
        _ => None,
    });
    let renamed = renamed.await?;
    let ended = p.acquire(&ctx.session("u3")).await?.hold();
    let GrantRef { session, token } = ended.clone();
    p.say(ToStore::Destroy { session, token }).await?;
    p.expect("Gone", |message| {
        is(matches!(message, ToProcess::Gone { .. }))
    })
    .await?;
    let mut again = p.again(ctx).await?;
    again.enter_with(vec![before, ended], vec![]).await?;
    let mut again = again.again(ctx).await?;
    again.enter_with(vec![renamed], vec![]).await.map(drop)
}

/// Causes Superseded, LeaseEnded and Fault.
async fn farewells(ctx: &CaseContext) -> Play {
    let mut p = ctx.player("f").await?;
    let mut reborn = p.reborn(ctx).await?;
    reborn.enter().await?;
    p.expect("Superseded", |message| {
        is(matches!(message, ToProcess::Superseded))
    })
    .await?;
    let mut q = ctx.player("g").await?;
    q.keeps_alive = false;
    q.say(ToStore::Goodbye).await?;
    q.ask(&ctx.session("s")).await?;
    q.expect("LeaseEnded", |message| {
        is(matches!(message, ToProcess::LeaseEnded))
    })
    .await?;
    reborn.keeps_alive = false;
    reborn
        .push(&vector("an unknown critical kind")?, "something unknown")
        .await?;
    super::scene::ends(&mut reborn, "refused").await.map(drop)
}

fn is(it: bool) -> Option<()> {
    it.then_some(())
}
