//! Cases about the gate: closed to new threads by a recall, open to threads inside, and fair.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::session;
use tenure_protocol::ToProcess;
use tenure_protocol::message::{Granted, Reason, RecallInfo};

cases! { Process:
    "process/gate/closed/new-thread-waits", Must ["gate.closed", "gate.requeues"] new_thread_waits,
        "A thread that arrives after a recall waits for the next grant, behind earlier threads.";
    "process/gate/closed/free-attribute", Must ["gate.closed"] free_attribute,
        "A closed gate also keeps a new thread from a free attribute.";
    "process/gate/insiders/take-more", Must ["gate.insiders"] insiders,
        "A thread inside can lock further free attributes behind a closed gate.";
    "process/gate/order/first-come", Must ["gate.order", "thread.one-per-attribute"] order,
        "Threads lock an attribute in the order of their requests.";
    "process/gate/order/insiders-first", Must ["gate.order"] insiders_first,
        "A thread inside locks an attribute before a thread that requested it earlier from outside.";
    "process/gate/one-use/recalled-grant", Must ["gate.one-use"] one_use,
        "A grant that is already recalled when it arrives serves the thread that requested it.";
    "process/gate/requeue/carried", Must ["gate.requeues", "end.requests-rise"] requeue,
        "If a thread waits, a Release carries a new request, and the grant of that request admits the thread.";
    "process/gate/requeue/cancelled", Must ["end.cancels"] requeue_cancelled,
        "A request that was sent with a Release is cancelled when its thread gives up.";
    "process/gate/requeue/patience", Must ["gate.requeues", "thread.deadline"] requeue_deadline,
        "A thread that waits at the gate is notified when its own deadline passes.";
}

async fn new_thread_waits(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    let id = t.ask(2, &s, &["a"]).await?;
    t.waits(id, "the gate is closed").await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    t.waits(id, "another process comes first").await?;
    let Some(request) = release.requeue else {
        return holds(false, "a new request, because a thread waits", release);
    };
    let version = t.version();
    let next = t.grant_for(&s, request);
    t.peer
        .say_all([grant.released(Some(version)), next.full([("a", "theirs")])])
        .await?;
    let lock = t.locked(id).await?;
    let is_next = lock.token == next.token && lock.text("a").as_deref() == Some("theirs");
    holds(is_next, "the next grant, with what others wrote", lock)
}

async fn free_attribute(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.peer.say(grant.recall(Reason::Operator)).await?;
    t.busy(&grant).await?;
    let one = t.ask(2, &s, &["b"]).await?;
    let both = t.ask(3, &s, &["c", "d"]).await?;
    t.waits(one, "the gate is closed").await?;
    t.still_waits(both, "the gate is closed").await?;
    t.stands(&lock).await
}

async fn insiders(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, first) = t.take(1, &s, &["a"]).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    let second = t.lock(1, &s, &["b"]).await?;
    let third = t.lock(1, &s, &["c", "d"]).await?;
    holds(
        second.token == grant.token && third.token == grant.token,
        "the same grant",
        third.token,
    )?;
    t.unlock(&first).await?;
    t.unlock(&second).await?;
    t.settle().await?; // The process may commit the unlocked changes.
    t.stands(&third).await?;
    t.unlock(&third).await?;
    t.released(&grant).await.map(drop)
}

async fn order(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, mut lock) = t.take(1, &s, &["a"]).await?;
    let mut waiting = Vec::new();
    for thread in 2..7 {
        waiting.push(t.ask(thread, &s, &["a"]).await?);
    }
    for (place, id) in waiting.iter().enumerate() {
        t.is_quiet("all is here").await?;
        for later in &waiting[place..] {
            t.still_waits(*later, "another thread has the attribute")
                .await?;
        }
        t.unlock(&lock).await?;
        lock = t.locked(*id).await?;
    }
    Ok(())
}

async fn insiders_first(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, _inside) = t.take(1, &s, &["a"]).await?;
    let holder = t.lock(2, &s, &["b"]).await?;
    let outside = t.ask(3, &s, &["b"]).await?;
    let inside = t.ask(1, &s, &["b"]).await?;
    t.waits(outside, "another thread has the attribute").await?;
    t.unlock(&holder).await?;
    let lock = t.locked(inside).await?;
    t.waits(outside, "one that is inside came first").await?;
    t.unlock(&lock).await?;
    t.locked(outside).await.map(drop)
}

async fn one_use(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let grant = t.grant_of(&acquire);
    let info = RecallInfo {
        reason: Reason::Wait,
        deadline_ms: 60_000,
    };
    let ToProcess::Granted(Granted { state, .. }) = grant.full([]) else {
        unreachable!("a grant");
    };
    t.peer.say(grant.with(state, Some(info))).await?;
    let lock = t.locked(id).await?;
    t.busy(&grant).await?;
    let other = t.ask(2, &s, &["b"]).await?;
    t.waits(other, "the gate is closed").await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    holds(
        release.requeue.is_some(),
        "a new request, because a thread waits",
        release,
    )
}

async fn requeue(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (mut grant, mut lock) = t.take(1, &s, &["a"]).await?;
    for thread in 2..5 {
        t.peer.say(grant.recall(Reason::Wait)).await?;
        t.busy(&grant).await?;
        let id = t.ask(thread, &s, &["a"]).await?;
        t.waits(id, "the gate is closed").await?;
        t.unlock(&lock).await?;
        let release = t.released(&grant).await?;
        let rises = release
            .requeue
            .is_some_and(|request| request > grant.request);
        holds(rises, "a greater request", &release)?;
        let version = t.version();
        t.peer.say(grant.released(Some(version))).await?;
        t.is_quiet("the request is known").await?;
        grant = t.grant_for(&s, release.requeue.expect("just seen"));
        t.peer.say(grant.full([])).await?;
        lock = t.locked(id).await?;
        holds(lock.token == grant.token, "the new token", &lock)?;
    }
    Ok(())
}

async fn requeue_cancelled(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    let id = t.ask(2, &s, &["a"]).await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    t.cancel(id).await?;
    t.refused(id, "cancelled").await?;
    let Some(request) = release.requeue else {
        return holds(false, "a new request, because a thread waits", release);
    };
    t.peer.say(grant.released(Some(grant.version))).await?;
    t.settle_acquire(&s, request).await
}

async fn requeue_deadline(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    let id = t
        .ask_with(2, &s, &["a"], serde_json::json!({"wait_ms": 200}))
        .await?;
    t.refused(id, "deadline").await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    holds(
        release.requeue.is_none(),
        "no request, because no thread waits any more",
        release,
    )
}
