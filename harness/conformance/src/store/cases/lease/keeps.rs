//! Cases about the length of a lease, and about the messages that extend it.

use super::half_a_lease;
use crate::end::{Play, holds};
use crate::frames::encode;
use crate::store::{CaseContext, Due, acquire_request, is_state, set};
use std::time::Duration;
use tenure_protocol::message::Commit;
use tenure_protocol::{Request, Time, ToProcess, ToStore};
use tenure_wire::FromProcess;
use tokio::time::{Instant, sleep};

pub(super) async fn echo_in_welcome(ctx: CaseContext) -> Play {
    let asked = Time(ctx.chance().u64(..1 << 53));
    let mut p = ctx.silent("p").await?;
    let mut opening = p.opening(Vec::new(), Vec::new());
    opening.sent = asked;
    let bytes = encode(&FromProcess::Hello(opening))?;
    p.push(&bytes, &format!("Hello, sent {asked:?}")).await?;
    let welcome = p.welcome().await?;
    holds(welcome.sent == asked, "the time of the Hello", &welcome)
}

pub(super) async fn echo_in_alive(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    // The times are out of order, because a store must not interpret a clock that it does not know.
    let times = [7_u64, 1 << 39, 3, 3, 0].map(Time);
    for sent in times {
        p.say(ToStore::KeepAlive { sent }).await?;
    }
    for asked in times {
        let message = p.next("Alive").await?;
        let is_it = matches!(&message, ToProcess::Alive { sent, .. } if *sent == asked);
        holds(is_it, &format!("Alive with {asked:?}"), message)?;
    }
    Ok(())
}

pub(super) async fn whole_after_hello(ctx: CaseContext) -> Play {
    let mut p = ctx.silent("p").await?;
    let asked = Instant::now();
    p.enter().await?;
    let due = Due::after(p.lease_ms, asked);
    p.loses_lease(&ctx, &mut []).await?;
    due.has_passed()
}

pub(super) async fn whole_after_keep_alive(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    ctx.may_wait("a lease", p.lease_ms)?;
    half_a_lease(&p).await;
    let asked = Instant::now();
    p.recalls().await?;
    let due = Due::after(p.lease_ms, asked);
    p.loses_lease(&ctx, &mut []).await?;
    due.has_passed()
}

pub(super) async fn whole_after_second_hello(ctx: CaseContext) -> Play {
    let p = ctx.player("p").await?;
    ctx.may_wait("a lease", p.lease_ms)?;
    half_a_lease(&p).await;
    let mut next = p.again(&ctx).await?;
    let asked = Instant::now();
    next.enter().await?;
    let due = Due::after(next.lease_ms, asked);
    next.loses_lease(&ctx, &mut []).await?;
    due.has_passed()
}

pub(super) async fn kept_for_long(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    ctx.may_wait("a lease", p.lease_ms)?;
    let grant = p.acquire(&ctx.session("s")).await?;
    for _ in 0..6 {
        sleep(Duration::from_millis(p.lease_ms / 4)).await;
        p.is_quiet("the process keeps its lease").await?;
    }
    p.still_has(grant, &[]).await
}

pub(super) async fn only_keep_alive(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    let (session, token) = (grant.session.clone(), grant.token);
    let commit = ToStore::Commit(Commit {
        session: session.clone(),
        token,
        base: grant.version,
        delta: set([]),
    });
    let busy = ToStore::Busy {
        session: session.clone(),
        token,
        inside: 1,
        blocked_on: Vec::new(),
    };
    let cancel = ToStore::Cancel {
        session: ctx.session("t"),
        request: Request(999),
    };
    let again = ToStore::Acquire(acquire_request(&session, grant.request, None));
    p.loses_lease_saying(&ctx, &mut [], &[commit, busy, cancel, again])
        .await
        .map(drop)
}

pub(super) async fn frees_nothing(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    ctx.may_wait("a lease", p.lease_ms)?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    // A connection without a hello belongs to no process.
    let away = p.again(&ctx).await?;
    p.cut();
    let request = q.ask(&s).await?;
    half_a_lease(&q).await;
    q.is_quiet("the holder has a lease").await?;
    let mut p = away.back_with(&ctx, &grant).await?;
    let version = p.release(&grant, set([("a", Some("1"))])).await?;
    holds(version.is_some(), "Released with a version", version)?;
    is_state(&q.granted(&s, request).await?, &[("a", "1")])
}
