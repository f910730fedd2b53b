//! Cases about the end of a lease, and about leases over a restart of the store.

use super::half_a_lease;
use crate::end::{CaseEnd, Play, holds};
use crate::store::{CaseContext, Due, Grant, Heard, acquire_request, is_state, set};
use std::time::Duration;
use tenure_protocol::message::{Commit, Release};
use tenure_protocol::{Request, Time, ToProcess, ToStore};
use tokio::time::{Instant, sleep, sleep_until};

pub(super) async fn frees_grants(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    p.loses_lease(&ctx, &mut []).await?;
    let mut q = ctx.player("q").await?;
    let next = q.acquire_free(&s).await?;
    holds(next.token > grant.token, "a later token", next.token)?;
    let mut p = p.back_without(&ctx, &grant).await?;
    p.say_commit(&grant, set([("a", Some("late"))])).await?;
    p.fenced(&s, grant.token).await?;
    q.still_has(next, &[]).await
}

pub(super) async fn holder_dies(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    ctx.may_wait("a lease", p.lease_ms)?;
    let s = ctx.session("s");
    let mut grant = p.acquire(&s).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    let request = q.ask(&s).await?;
    p.recalled(&grant).await?;
    let lease_ms = p.lease_ms;
    p.cut();
    let next = q.granted_after(&s, request, lease_ms).await?;
    holds(next.token > grant.token, "a later token", next.token)?;
    q.is_not_recalled(&next).await?;
    is_state(&next, &[("a", "1")])
}

pub(super) async fn clears_recalls(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    ctx.may_wait("a lease", p.lease_ms)?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    // Wait, so that the lease ends before the deadline of the recall.
    half_a_lease(&p).await;
    let request = q.ask(&s).await?;
    p.recalled(&grant).await?;
    let lease_ms = p.lease_ms;
    let (lost, next) = tokio::join!(
        p.loses_lease(&ctx, &mut []),
        q.granted_after(&s, request, lease_ms),
    );
    lost?;
    q.is_not_recalled(&next?).await
}

pub(super) async fn drops_waits(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    ctx.may_wait("a lease", q.lease_ms)?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    // Wait, so that the lease ends before the deadline of the recall.
    half_a_lease(&q).await;
    p.settle().await?;
    let request = q.ask(&s).await?;
    q.loses_lease(&ctx, &mut [&mut p]).await?;
    if p.release(&grant, set([])).await?.is_none() {
        let why = "the deadline of a recall is not half as long as a lease here";
        return Err(CaseEnd::Skipped(why.to_owned()));
    }
    let mut r = ctx.player("r").await?;
    let grant = r.acquire_free(&s).await?;
    let mut q = q.again(&ctx).await?;
    q.enter().await?;
    q.is_quiet("its wait has ended").await?;
    r.is_not_recalled(&grant).await?;
    let again = vec![acquire_request(&s, request, None)];
    let (mut q, _) = q.back(&ctx, Vec::new(), again).await?;
    r.release(&grant, set([])).await?;
    q.granted(&s, request).await.map(drop)
}

pub(super) async fn after_a_pause(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    ctx.may_wait("a lease", p.lease_ms)?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    q.ask(&s).await?;
    q.settle().await?;
    ctx.pause().await?;
    sleep(Duration::from_millis(p.lease_ms + 300)).await;
    p.say_commit(&grant, set([("a", Some("1"))])).await?;
    ctx.resume().await?;
    let is_written = p
        .expect(
            "Committed, Revoked or LeaseEnded",
            |message| match message {
                ToProcess::Committed { token, .. } if *token == grant.token => Some(Some(true)),
                ToProcess::Revoked { token, .. } if *token == grant.token => Some(Some(false)),
                // This may be the answer, or have overtaken it.
                ToProcess::LeaseEnded => Some(None),
                _ => None,
            },
        )
        .await?;
    // Both processes release their grants.
    for own in [p, q] {
        own.reborn(&ctx).await?.enter().await?;
    }
    let found = ctx.player("r").await?.acquire(&s).await?;
    let is_there = found.text("a").is_some();
    let is_right = is_written.is_none_or(|is_written| is_written == is_there);
    holds(
        is_right,
        "the changes if they were Committed, else not",
        found,
    )
}

pub(super) async fn every_message(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    p.loses_lease(&ctx, &mut []).await?;
    for (name, message) in all_messages(&grant) {
        // Send it twice, because one LeaseEnded may have come unprompted.
        for _ in 0..2 {
            p.say(message.clone()).await?;
            p.lease_ended(name).await?;
        }
    }
    Ok(())
}

/// Returns all messages that a process can send under a grant.
fn all_messages(grant: &Grant) -> [(&'static str, ToStore); 8] {
    let (session, token) = (grant.session.clone(), grant.token);
    let (base, delta) = (grant.version, set([("a", Some("1"))]));
    [
        ("KeepAlive", ToStore::KeepAlive { sent: Time(3) }),
        (
            "Acquire",
            ToStore::Acquire(acquire_request(&session, Request(50), None)),
        ),
        (
            "Cancel",
            ToStore::Cancel {
                session: session.clone(),
                request: Request(50),
            },
        ),
        (
            "Commit",
            ToStore::Commit(Commit {
                session: session.clone(),
                token,
                base,
                delta: delta.clone(),
            }),
        ),
        (
            "Busy",
            ToStore::Busy {
                session: session.clone(),
                token,
                inside: 1,
                blocked_on: Vec::new(),
            },
        ),
        (
            "Rename",
            ToStore::Rename {
                session: session.clone(),
                token,
                to: session.clone(),
            },
        ),
        (
            "Destroy",
            ToStore::Destroy {
                session: session.clone(),
                token,
            },
        ),
        (
            "Release",
            ToStore::Release(Release {
                session,
                token,
                base,
                delta,
                requeue: None,
                idle_ms: 0,
            }),
        ),
    ]
}

pub(super) async fn restart_knows_holder(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    ctx.restart().await?;
    let mut q = ctx.player("q").await?;
    let request = q.ask(&s).await?;
    q.is_quiet("another process holds the session").await?;
    let mut p = p.back_with(&ctx, &grant).await?;
    p.recalled_for_good(&grant).await?;
    let version = p.release(&grant, set([("a", Some("1"))])).await?;
    holds(version.is_some(), "Released with a version", version)?;
    let next = q.granted(&s, request).await?;
    holds(next.token > grant.token, "a later token", next.token)?;
    is_state(&next, &[("a", "1")])
}

pub(super) async fn restart_whole_lease(ctx: CaseContext) -> Play {
    const TURNS: usize = 3;
    for turn in 0..TURNS {
        if has_whole_lease(&ctx, &format!("p{turn}")).await? {
            return Ok(());
        }
    }
    let why = "the restart took almost as long as a lease";
    Err(CaseEnd::Skipped(why.to_owned()))
}

/// Returns whether the case was decisive: the process reconnected after the end of its old lease and before the end of
/// the new one.
async fn has_whole_lease(ctx: &CaseContext, name: &str) -> Play<bool> {
    let mut p = ctx.player(name).await?;
    ctx.may_wait("a lease", p.lease_ms)?;
    let lease = Duration::from_millis(p.lease_ms);
    let grant = p.acquire(&ctx.session(name)).await?;
    p.settle().await?;
    let heard_of = Instant::now();
    sleep(lease / 3).await;
    let before = Instant::now();
    ctx.restart().await?;
    let is_in_time = heard_of.elapsed() < lease;
    sleep_until(heard_of + lease + lease / 8).await;
    let (mut p, welcome) = p.back(ctx, vec![grant.hold()], Vec::new()).await?;
    if !is_in_time || before.elapsed() >= lease {
        return Ok(false);
    }
    holds(welcome.holds == [grant.hold()], "a known grant", &welcome)?;
    p.still_has(grant, &[]).await?;
    Ok(true)
}

pub(super) async fn restart_ends_too(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let lease_ms = p.lease_ms;
    ctx.may_wait("a lease", lease_ms)?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let before = Instant::now();
    ctx.restart().await?;
    let mut q = ctx.player("q").await?;
    // The process only tries, because a waiting request would get the session by the deadline of a recall.
    let next = q.tries_until_granted(&s, lease_ms).await?;
    Due::after(lease_ms, before).has_passed()?;
    holds(next.token > grant.token, "a later token", next.token)?;
    p.back_without(&ctx, &grant).await.map(drop)
}

pub(super) async fn goodbye(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let grant = p.acquire(&s).await?;
    let other = q.acquire(&t).await?;
    p.ask(&t).await?;
    q.recalled(&other).await?;
    let request = r.ask(&s).await?;
    p.recalled(&grant).await?;
    p.say(ToStore::Goodbye).await?;
    p.keeps_alive = false;
    p.say(ToStore::KeepAlive { sent: Time(3) }).await?;
    match p.hear(0).await? {
        Heard::Message(ToProcess::LeaseEnded) | Heard::Closed => {}
        other => return Err(p.failed("LeaseEnded, or the end of the connection", other)),
    }
    let next = r.granted(&s, request).await?;
    r.is_not_recalled(&next).await?;
    q.release(&other, set([])).await?;
    r.acquire_free(&t).await.map(drop)
}

pub(super) async fn welcome_after_goodbye(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let version = p.release(&grant, set([("a", Some("1"))])).await?;
    holds(version.is_some(), "Released with a version", version)?;
    p.say(ToStore::Goodbye).await?;
    let mut p = p.back_without(&ctx, &grant).await?;
    is_state(&p.acquire(&grant.session).await?, &[("a", "1")])
}
