//! Cases about connections: one hello first, nothing before the welcome, and a reconnect after each loss.

use crate::case::cases;
use crate::end::{CaseEnd, Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Scene, session};
use crate::process::scripted_store::Heard;
use serde_json::json;
use std::time::Duration;
use tenure_protocol::message::Reason;
use tenure_protocol::{ToProcess, ToStore};
use tokio::time::{Instant, sleep};

cases! { Process:
    "process/connect/hello/first", Must ["connect.hello-first"] hello_first,
        "The first frame on each connection is a hello.";
    "process/connect/hello/once", Must ["connect.hello-alone"] hello_once,
        "On a connection without an answer to the hello, the process sends nothing more.";
    "process/connect/hello/link-rises", Must ["connect.link-rises", "connect.again"] link_rises,
        "Each hello of a start has a greater link number than the one before.";
    "process/connect/hello/incarnation-rises", Must ["connect.incarnation-rises"] incarnation_rises,
        "If the library chooses the incarnations, each start has a greater one than the start before.";
    "process/connect/welcome/nothing-before", Must ["connect.hello-alone", "reconnect.repeats"] nothing_before,
        "Requests that threads make between hello and welcome are sent after the welcome.";
    "process/connect/welcome/ignores-before", Must ["connect.only-newest"] ignores_before,
        "Messages that a store sends before its welcome have no effect.";
    "process/connect/newest/ignores-older", Must ["connect.only-newest"] ignores_older,
        "Messages on a connection that a newer one has replaced have no effect.";
    "process/connect/superseded/stops", Must ["connect.superseded-stops", "thread.told"] superseded,
        "A process that was superseded notifies its threads and sends no further hello.";
    "process/connect/superseded/at-once", Must ["connect.superseded-stops"] superseded_at_once,
        "A process whose first hello is answered with Superseded gives up.";
    "process/connect/again/while-idle", Must ["connect.again"] again_idle,
        "A process without any session reconnects after a connection loss.";
    "process/connect/again/before-welcome", Must ["connect.again", "reconnect.names-holds"] again_before_welcome,
        "If the connection is lost before the welcome, the process reconnects and lists the same holds.";
    "process/connect/again/many-times", Must ["connect.again", "lease.lost"] again_many,
        "A process that loses its connection six times keeps its guards.";
    "process/connect/backs-off/longer-and-longer", Should ["connect.backs-off"] backs_off,
        "The pauses between failed connection attempts grow.";
}

async fn hello_first(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?; // The scene has checked that the first frame is a hello.
    t.reconnect().await
}

async fn hello_once(ctx: CaseContext) -> Play {
    const SILENT: Duration = Duration::from_millis(2_500);
    let mut t = Scene::silent(&ctx, json!({"resend_ms": 1_200})).await?;
    // The process may close the connection and try another.
    match t.peer.hear_within(SILENT).await? {
        Heard::Nothing | Heard::Fault(_) => {}
        Heard::Closed => t.next_hello().await?,
        other => return Err(t.peer.failed("nothing behind the hello", other)),
    }
    t.enter().await
}

async fn link_rises(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    for _ in 0..4 {
        let before = t.opening.link;
        t.come_back().await?;
        let link = t.opening.link;
        holds(
            link.incarnation == before.incarnation,
            "the same incarnation",
            link,
        )?;
        holds(link.number > before.number, "a greater link number", link)?;
    }
    Ok(())
}

async fn incarnation_rises(ctx: CaseContext) -> Play {
    let first = Scene::unnumbered(&ctx).await?;
    let first = first.opening.link.incarnation;
    sleep(Duration::from_millis(20)).await; // Real starts are not closer in time.
    let second = Scene::unnumbered(&ctx).await?;
    let second = second.opening.link.incarnation;
    holds(second > first, "a greater incarnation", (first, second))
}

async fn nothing_before(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [kept, new] = ["kept", "new"].map(session);
    let (grant, lock) = t.take(1, &kept, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    t.reconnect().await?;
    t.ask(2, &new, &["a"]).await?;
    t.begin("commit", &lock).await?;
    t.silence(300, "there was no welcome").await?;
    t.welcome(vec![grant.hold()], Vec::new()).await?;
    let mut heard = Vec::new();
    for _ in 0..2 {
        heard.push(t.peer.next("the request and the commit").await?);
    }
    let is_said = heard
        .iter()
        .any(|message| matches!(message, ToStore::Acquire(acquire) if acquire.session == new))
        && heard
            .iter()
            .any(|message| matches!(message, ToStore::Commit(_)));
    holds(is_said, "the request and the commit", heard)
}

async fn ignores_before(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [held, wanted] = ["held", "wanted"].map(session);
    let (grant, lock) = t.take(1, &held, &["a"]).await?;
    let id = t.ask(2, &wanted, &["a"]).await?;
    let acquire = t.acquired(&wanted).await?;
    t.reconnect().await?;
    let early = t.grant_of(&acquire);
    t.peer
        .say_all([grant.revoked(), grant.recall(Reason::Wait), early.full([])])
        .await?;
    t.welcome(vec![grant.hold()], Vec::new()).await?;
    t.waits(id, "the grant came before the welcome").await?;
    t.stands(&lock).await?;
    let other = t.lock(3, &held, &["b"]).await?; // The gate is open.
    t.stands(&other).await
}

async fn ignores_older(ctx: CaseContext) -> Play {
    const PATIENCE: Duration = Duration::from_secs(6);
    let mut t = Scene::silent(&ctx, json!({"resend_ms": 1_200})).await?;
    let Some(mut newer) = t.listener.accept_within(PATIENCE).await? else {
        let why = "the library makes no second connection while it has one";
        return Err(CaseEnd::Skipped(why.to_owned()));
    };
    let opening = newer.hello().await?;
    let late = t.welcome_of(Vec::new(), Vec::new());
    t.peer.say(late).await?;
    let heard = newer.hear_within(Duration::from_millis(200)).await?;
    (t.peer, t.opening) = (newer, opening);
    match heard {
        Heard::Nothing => {}
        Heard::Closed => t.next_hello().await?, // That connection had no answer either.
        other => {
            return Err(t.peer.failed("nothing: it was not welcomed there", other));
        }
    }
    t.enter().await?;
    t.is_quiet("the process is idle").await
}

async fn superseded(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [held, wanted] = ["held", "wanted"].map(session);
    let (_, lock) = t.take(1, &held, &["a"]).await?;
    let id = t.ask(2, &wanted, &["a"]).await?;
    t.acquired(&wanted).await?;
    t.peer.say(ToProcess::Superseded).await?;
    t.fails(id).await?;
    t.lost(&lock, &["superseded", "lease-lost", "revoked"])
        .await?;
    stays_away(&mut t).await
}

async fn superseded_at_once(ctx: CaseContext) -> Play {
    let mut t = Scene::silent(&ctx, json!({})).await?;
    t.peer.say(ToProcess::Superseded).await?;
    stays_away(&mut t).await
}

/// Expects that the process sends no further hello with this incarnation.
async fn stays_away(t: &mut Scene) -> Play {
    let Some(mut peer) = t
        .listener
        .accept_within(Duration::from_millis(1_500))
        .await?
    else {
        return Ok(());
    };
    match peer.hear_within(Duration::from_millis(500)).await? {
        Heard::Hello(opening) if opening.link.incarnation <= t.opening.link.incarnation => {
            Err(peer.failed("no hello of that incarnation", opening))
        }
        _ => Ok(()),
    }
}

async fn again_idle(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    t.come_back().await?;
    t.is_quiet("there is nothing to say").await
}

async fn again_before_welcome(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    for _ in 0..3 {
        t.reconnect().await?;
        holds(t.opening.holds == [grant.hold()], "the grant", &t.opening)?;
    }
    t.welcome(vec![grant.hold()], Vec::new()).await?;
    t.is_quiet("nothing is unanswered").await?;
    t.stands(&lock).await
}

async fn again_many(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, lock) = t.take(1, &s, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    for _ in 0..6 {
        t.come_back().await?;
        t.settle().await?; // A connection that lives for a while does not count as a failed attempt.
    }
    t.stands(&lock).await?;
    holds(
        t.read(&lock, "a").await?.as_deref() == Some("1"),
        "the written changes",
        (),
    )
}

async fn backs_off(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    t.peer.close().await;
    let mut attempts = Vec::new();
    for _ in 0..7 {
        drop(t.listener.accept().await?);
        attempts.push(Instant::now());
    }
    let gaps: Vec<_> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (early, late) = (gaps[0] + gaps[1], gaps[4] + gaps[5]);
    holds(late > early, "longer pauses", gaps)
}
