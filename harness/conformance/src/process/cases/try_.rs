//! Cases about tries, which wait for no thread.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::session;
use tenure_protocol::message::{Reason, Refusal, WaitMode};

cases! { Process:
    "process/try/thread/locked", Must ["try.thread"] locked,
        "A try for an attribute that another thread has locked is refused at once.";
    "process/try/thread/behind-others", Must ["try.thread", "gate.order"] behind,
        "A try for an attribute that another thread waits for is refused at once.";
    "process/try/thread/gate", Must ["try.thread", "gate.closed"] gate,
        "A try at a closed gate is refused at once.";
    "process/try/store/asks", Must ["thread.asks", "try.thread"] asks,
        "If the process does not hold the session, a try sends a request to the store that does not wait.";
    "process/try/store/refused", Must ["thread.ends-once", "try.thread"] refused,
        "If the store refuses a try, the try is refused, and a waiting thread sends a new request.";
    "process/try/store/free", Must ["thread.needs-grant"] free,
        "A try that the store grants is granted.";
}

async fn locked(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, lock) = t.take(1, &s, &["a"]).await?;
    for names in [&["a"][..], &["a", "b"], &[]] {
        let id = t.try_for(2, &s, names).await?;
        t.refused(id, "would-block").await?;
    }
    t.is_quiet("the process has the session").await?;
    t.unlock(&lock).await?;
    let id = t.try_for(2, &s, &["a"]).await?;
    t.locked(id).await.map(drop)
}

async fn behind(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, _inside) = t.take(1, &s, &["a"]).await?;
    let all = t.ask(2, &s, &[]).await?;
    let id = t.try_for(3, &s, &["b"]).await?;
    t.refused(id, "would-block").await?;
    t.still_waits(all, "a thread is inside").await
}

async fn gate(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    let id = t.try_for(2, &s, &["b"]).await?;
    t.refused(id, "would-block").await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    holds(
        release.requeue.is_none(),
        "no request: a try does not wait",
        release,
    )
}

async fn asks(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.try_for(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    holds(acquire.wait_mode == WaitMode::Try, "a try", &acquire)?;
    t.refuse(&acquire, Refusal::WouldBlock).await?;
    t.refused(id, "would-block").await?;
    t.is_quiet("no thread waits").await
}

async fn refused(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let tries = t.try_for(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let waits = t.ask(2, &s, &["a"]).await?;
    // A longer wait is sent as the same request.
    let patient = t.acquired(&s).await?;
    let is_same = patient.request == acquire.request && patient.wait_mode == WaitMode::Wait;
    holds(is_same, "the same request, now waiting", &patient)?;
    t.refuse(&patient, Refusal::WouldBlock).await?;
    t.refused(tries, "would-block").await?;
    let next = t.acquired(&s).await?;
    holds(next.request > acquire.request, "a new request", &next)?;
    let grant = t.grant_of(&next);
    t.peer.say(grant.full([])).await?;
    t.locked(waits).await.map(drop)
}

async fn free(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.try_for(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.waits(id, "the request was not answered").await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    t.locked(id).await.map(drop)
}
