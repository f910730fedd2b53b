//! Cases about the lease: it counts from the sending of the keep-alive, less a margin, and its end loses all grants.
//!
//! The threads themselves check whether their locks are still valid. A slow process answers that check later, when the
//! lease has ended all the more. These cases therefore need no slack.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Grant, Locked, Scene, session};
use crate::process::scripted_store::Heard;
use serde_json::json;
use std::time::Duration;
use tenure_protocol::message::Release;
use tenure_protocol::{Time, ToProcess, ToStore};
use tokio::time::{Instant, sleep_until};

/// The lease time of cases that wait for its end.
const SHORT_MS: u64 = 1_500;
const LOST: &[&str] = &["lease-lost"];

cases! { Process:
    "process/lease/count/from-sent", Must ["lease.from-sent"] from_sent,
        "A lease counts from the sending of the keep-alive, however late the answer arrives.";
    "process/lease/count/margin", Must ["lease.margin"] margin,
        "A process's lease ends earlier than the store's by a margin.";
    "process/lease/count/alive-of-the-future", Must ["lease.from-sent"] alive_of_the_future,
        "An Alive that names a future time extends the lease from the present at most.";
    "process/lease/count/welcome-of-the-future", Must ["lease.from-sent"] welcome_of_the_future,
        "A Welcome that names a future time extends the lease from the present at most.";
    "process/lease/lost/by-the-clock", Must ["lease.lost", "thread.told"] by_the_clock,
        "If no keep-alive is answered, the lease ends and the threads inside are notified.";
    "process/lease/lost/without-connection", Must ["lease.lost"] without_connection,
        "A lease also ends while there is no connection.";
    "process/lease/lost/lease-ended", Must ["lease.lost", "reconnect.names-holds", "connect.again"] lease_ended,
        "After LeaseEnded all grants are lost, and the next hello lists none.";
    "process/lease/lost/full", Must ["lease.lost", "limit.told"] full,
        "After Full all grants are lost. Waiting threads are notified, or their process repeats the request.";
    "process/lease/lost/answers-hello", Must ["lease.lost", "connect.only-newest"] answers_hello,
        "LeaseEnded before the welcome also ends all grants.";
    "process/lease/kept/through-reconnects", Must ["lease.from-sent"] kept,
        "A lease continues while the connection is lost.";
    "process/lease/silent/keep-alive", Should ["lease.silent"] silent_keep_alive,
        "A connection without answers to keep-alives is replaced before the lease ends, and the next hello lists the \
        grants.";
    "process/lease/silent/hello", Should ["lease.silent"] silent_hello,
        "If the next connection is silent too, a third connection preserves the lease.";
    "process/lease/alive/three-times", Should ["lease.keeps-alive", "time.monotonic"] three_times,
        "A process sends at least three keep-alives per lease.";
    "process/lease/goodbye/last", Must ["lease.goodbye-last", "release.whole"] goodbye_last,
        "A process sends Goodbye after every release was answered, and sends nothing after it.";
    "process/lease/goodbye/said", Should ["lease.says-goodbye"] goodbye_said,
        "A process that stops releases all grants and sends Goodbye.";
    "process/lease/goodbye/waiters-told", Must ["thread.ends-once"] waiters_told,
        "When the process stops, its waiting threads are notified.";
}

/// Returns a guard under a lease that ends soon if no keep-alive is answered.
async fn short(ctx: &CaseContext) -> Play<(Scene, Locked, u64)> {
    let settings = json!({"keep_alive_ms": 200, "margin_ms": 200});
    let mut t = ctx.scene_with(settings, SHORT_MS).await?;
    t.setting("keep_alive_ms", SHORT_MS / 3)?;
    let margin_ms = t.setting("margin_ms", SHORT_MS / 2)?;
    let (_, lock) = t.take(1, &session("s"), &["a"]).await?;
    Ok((t, lock, margin_ms))
}

/// Waits for the next keep-alive without answering it. Returns its send time, and the time of its arrival.
async fn next_alive(t: &mut Scene) -> Play<(Time, Instant)> {
    t.peer.keeps_alive = false;
    let count = t.peer.sent.len();
    let until = Instant::now() + t.ctx.slack();
    while t.peer.sent.len() == count {
        holds(Instant::now() < until, "a KeepAlive", ())?;
        t.silence(1, "the process is idle").await?;
    }
    Ok((*t.peer.sent.last().expect("just heard"), Instant::now()))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn from_sent(ctx: CaseContext) -> Play {
    let (mut t, lock, _) = short(&ctx).await?;
    let (sent, heard) = next_alive(&mut t).await?;
    // Wait longer than the margin, but not so long that the process abandons the connection as silent.
    sleep_until(heard + ms(400)).await;
    t.peer.alive(sent).await?;
    sleep_until(heard + ms(SHORT_MS)).await;
    t.lost(&lock, LOST).await
}

async fn margin(ctx: CaseContext) -> Play {
    let (mut t, lock, margin_ms) = short(&ctx).await?;
    holds(margin_ms > 0, "a margin", margin_ms)?;
    let (sent, heard) = next_alive(&mut t).await?;
    t.peer.alive(sent).await?;
    sleep_until(heard + ms(SHORT_MS - margin_ms / 2)).await;
    t.lost(&lock, LOST).await
}

async fn alive_of_the_future(ctx: CaseContext) -> Play {
    let (mut t, lock, _) = short(&ctx).await?;
    let (sent, _) = next_alive(&mut t).await?;
    t.peer.alive(Time(sent.0 + 100_000)).await?;
    t.settle().await?;
    let heard = Instant::now();
    sleep_until(heard + ms(SHORT_MS)).await;
    t.lost(&lock, LOST).await
}

async fn welcome_of_the_future(ctx: CaseContext) -> Play {
    let settings = json!({"keep_alive_ms": 300, "margin_ms": 400});
    let mut t = Scene::silent(&ctx, settings).await?;
    t.peer.lease_ms = SHORT_MS;
    t.peer.keeps_alive = false;
    t.opening.sent = Time(t.opening.sent.0 + 100_000);
    t.enter().await?;
    let heard = Instant::now();
    t.setting("margin_ms", SHORT_MS / 2)?;
    let (_, lock) = t.take(1, &session("s"), &["a"]).await?;
    sleep_until(heard + ms(SHORT_MS)).await;
    t.lost(&lock, LOST).await
}

async fn by_the_clock(ctx: CaseContext) -> Play {
    let (mut t, lock, _) = short(&ctx).await?;
    t.write(&lock, "a", "1").await?;
    let (_, heard) = next_alive(&mut t).await?;
    // The process may send a hello on other connections meanwhile, which receive no Welcome.
    let until = heard + ms(SHORT_MS);
    let left = || until.saturating_duration_since(Instant::now());
    while let Some(mut peer) = t.listener.accept_within(left()).await? {
        t.opening = peer.hello().await?;
        t.peer = peer;
    }
    t.lost(&lock, LOST).await?;
    let id = t.begin("unlock", &lock).await?;
    t.fails(id).await?;
    t.peer.close().await;
    // The process may already have sent a hello on a waiting connection.
    t.next_hello().await?;
    t.peer.lease_ms = crate::process::scripted_store::LEASE_MS;
    t.welcome(Vec::new(), Vec::new()).await?;
    let (_, next) = t.take(2, &session("s"), &["a"]).await?;
    holds(next.text("a").is_none(), "nothing of what was lost", next)
}

async fn without_connection(ctx: CaseContext) -> Play {
    let (mut t, lock, _) = short(&ctx).await?;
    t.peer.close().await;
    let closed = Instant::now();
    sleep_until(closed + ms(SHORT_MS)).await;
    t.lost(&lock, LOST).await
}

async fn lease_ended(ctx: CaseContext) -> Play {
    ended(ctx, ToProcess::LeaseEnded).await
}

async fn full(ctx: CaseContext) -> Play {
    ended(ctx, ToProcess::Full).await
}

async fn ended(ctx: CaseContext, verdict: ToProcess) -> Play {
    let mut t = ctx.scene().await?;
    let [held, kept, wanted] = ["held", "kept", "wanted"].map(session);
    let (_, lock) = t.take(1, &held, &["a"]).await?;
    t.keep(&kept).await?;
    let id = t.ask(2, &wanted, &["a"]).await?;
    t.acquired(&wanted).await?;
    t.write(&lock, "a", "1").await?;
    t.peer.say(verdict).await?;
    t.next_hello().await?;
    holds(t.opening.holds.is_empty(), "no grant", &t.opening)?;
    t.lost(&lock, LOST).await?;
    let named = t
        .opening
        .waits
        .iter()
        .find(|acquire| acquire.session == wanted)
        .cloned();
    t.welcome(Vec::new(), Vec::new()).await?;
    if !t.adapter.has_answered(id)? {
        let acquire = match named {
            Some(acquire) => acquire,
            None => t.acquired(&wanted).await?,
        };
        let grant = t.grant_of(&acquire);
        t.peer.say(grant.full([])).await?;
        t.locked(id).await?;
    }
    let (_, lock) = t.take(3, &kept, &["a"]).await?;
    t.stands(&lock).await
}

async fn answers_hello(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (_, lock) = t.take(1, &session("s"), &["a"]).await?;
    t.reconnect().await?;
    t.peer.say(ToProcess::LeaseEnded).await?;
    t.next_hello().await?;
    holds(t.opening.holds.is_empty(), "no grant", &t.opening)?;
    t.lost(&lock, LOST).await
}

async fn kept(ctx: CaseContext) -> Play {
    let (mut t, lock, _) = short(&ctx).await?;
    let until = Instant::now() + ms(2 * SHORT_MS);
    while Instant::now() < until {
        t.come_back().await?;
        t.stands(&lock).await?;
        t.silence(250, "the process is idle").await?;
    }
    Ok(())
}

/// Returns a guard under a lease that lasts long enough to abandon a silent connection.
async fn held(ctx: &CaseContext) -> Play<(Scene, Grant, Locked)> {
    const LEASE_MS: u64 = 4_000;
    let settings = json!({"keep_alive_ms": 300, "margin_ms": 200});
    let mut t = ctx.scene_with(settings, LEASE_MS).await?;
    t.setting("keep_alive_ms", LEASE_MS / 4)?;
    t.setting("margin_ms", LEASE_MS / 4)?;
    let (grant, lock) = t.take(1, &session("s"), &["a"]).await?;
    next_alive(&mut t).await?;
    Ok((t, grant, lock))
}

async fn silent_keep_alive(ctx: CaseContext) -> Play {
    let (mut t, grant, lock) = held(&ctx).await?;
    t.next_hello().await?;
    saved(t, &grant, &lock).await
}

async fn silent_hello(ctx: CaseContext) -> Play {
    let (mut t, grant, lock) = held(&ctx).await?;
    t.next_hello().await?;
    t.next_hello().await?;
    saved(t, &grant, &lock).await
}

/// Expects that the newest hello lists the grant, and that the guard is valid.
async fn saved(mut t: Scene, grant: &Grant, lock: &Locked) -> Play {
    let named = &t.opening.holds;
    holds(named == &[grant.hold()], "the grant", &t.opening)?;
    t.peer.keeps_alive = true;
    t.welcome(vec![grant.hold()], Vec::new()).await?;
    t.settle().await?;
    t.stands(lock).await
}

async fn three_times(ctx: CaseContext) -> Play {
    const LEASE_MS: u64 = 3_000;
    let settings = json!({"keep_alive_ms": 500, "margin_ms": 400});
    let mut t = ctx.scene_with(settings, LEASE_MS).await?;
    t.setting("keep_alive_ms", LEASE_MS / 3)?;
    while t.peer.sent.len() < 4 {
        t.silence(100, "the process is idle").await?;
    }
    // Compare the process's own times, so that delays of this side do not count.
    let sent = &t.peer.sent;
    holds(sent.is_sorted(), "times that rise", sent)?;
    let took = sent[3].since(sent[0]);
    holds(took <= LEASE_MS, "three keep-alives in a lease", sent)
}

async fn goodbye_last(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [r, s] = ["r", "s"].map(session);
    let of_r = t.keep(&r).await?;
    let (of_s, lock) = t.take(1, &s, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    t.unlock(&lock).await?;
    let id = t
        .adapter
        .begin("shutdown", json!({"within_ms": 30_000}))
        .await?;
    let mut open = vec![of_r, of_s];
    for _ in 0..open.len() {
        let heard = t.peer.next("the Release of each").await?;
        let is_due = |grant: &Grant| matches!(&heard, ToStore::Release(Release { token, .. }) if *token == grant.token);
        holds(open.iter().any(is_due), "the Release of each", &heard)?;
    }
    while let Some(grant) = open.pop() {
        t.silence(200, "a release is not answered").await?;
        t.peer.say(grant.released(Some(grant.version))).await?;
    }
    let goodbye = t.peer.hear(0).await?;
    if goodbye == Heard::Message(ToStore::Goodbye) {
        let end = t.peer.hear(0).await?;
        holds(end == Heard::Closed, "nothing behind the goodbye", end)?;
    } else {
        holds(goodbye == Heard::Closed, "Goodbye", goodbye)?;
    }
    t.done(id).await.map(drop)
}

async fn goodbye_said(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let grant = t.keep(&session("s")).await?;
    let id = t
        .adapter
        .begin("shutdown", json!({"within_ms": 30_000}))
        .await?;
    t.released(&grant).await?;
    t.peer.say(grant.released(Some(grant.version))).await?;
    let goodbye = t.peer.next("Goodbye").await?;
    holds(goodbye == ToStore::Goodbye, "Goodbye", goodbye)?;
    t.done(id).await.map(drop)
}

async fn waiters_told(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.adapter
        .begin("shutdown", json!({"within_ms": 30_000}))
        .await?;
    t.refused(id, "shutting-down").await?;
    // A grant that comes nevertheless is released.
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    loop {
        match t.peer.next("a Release of the late grant").await? {
            ToStore::Cancel { .. } => {}
            ToStore::Release(Release { token, .. }) if token == grant.token => return Ok(()),
            other => return Err(t.peer.failed("a Release of the late grant", other)),
        }
    }
}
