//! Cases about requests: numbered, one at a time, and ended exactly once.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::session;
use crate::process::scripted_store::LEASE_MS;
use serde_json::json;
use tenure_protocol::Request;
use tenure_protocol::message::{Reason, Refusal};

cases! { Process:
    "process/end/requests/rise", Must ["end.requests-rise"] rise,
        "Each new request has a greater number than all earlier ones, across connections and sessions.";
    "process/end/requests/one-at-a-time", Must ["end.one-at-a-time"] one_at_a_time,
        "A process sends one request for a session, however many of its threads wait.";
    "process/end/requests/cancelled-first", Must ["end.one-at-a-time", "end.cancels"] cancelled_first,
        "A new request for a session is sent only after the cancelled one has ended.";
    "process/end/requests/not-while-held", Must ["end.one-at-a-time"] not_while_held,
        "A process does not request a session that it holds.";
    "process/end/refused/other-request", Must ["end.stray"] other_request,
        "A Refused or Queued that names another request is ignored.";
    "process/end/refused/after-grant", Must ["end.stray", "thread.ends-once"] after_grant,
        "A Refused that comes after the grant is ignored.";
    "process/end/cancel/nobody-waits", Must ["end.cancels"] cancels,
        "When its only waiting thread gives up, a request is cancelled or its grant is released.";
    "process/end/cancel/one-of-two", Must ["end.cancels", "thread.ends-once"] one_of_two,
        "When one of two waiting threads gives up, the request stays for the other.";
    "process/end/resend/acquire", Should ["end.resends"] resends,
        "A request without an answer is sent again on the same connection.";
    "process/end/deadline/asks-again", Must ["thread.deadline", "thread.asks"] deadline_of_store,
        "When the store's longest wait ends, a thread whose own deadline has not passed keeps waiting.";
}

async fn rise(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let mut last = Request(0);
    for number in 0..6 {
        let s = session(&format!("s{number}"));
        let id = t.ask(number + 1, &s, &["a"]).await?;
        let acquire = t.acquired(&s).await?;
        holds(acquire.request > last, "a greater request", &acquire)?;
        last = acquire.request;
        if number % 2 == 0 {
            t.refuse(&acquire, Refusal::Gone).await?;
            t.refused(id, "gone").await?;
        } else {
            t.come_back().await?;
        }
    }
    Ok(())
}

async fn one_at_a_time(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let mut all = vec![t.ask(1, &s, &["a"]).await?];
    let acquire = t.acquired(&s).await?;
    for thread in 2..6 {
        all.push(t.ask(thread, &s, &["b"]).await?);
    }
    t.is_quiet("the request was already sent").await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    t.locked(all[0]).await?;
    t.locked(all[1]).await.map(drop)
}

async fn cancelled_first(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.cancel(id).await?;
    t.refused(id, "cancelled").await?;
    t.settle().await?; // The process may have sent a Cancel.
    let id = t.ask(2, &s, &["a"]).await?;
    t.waits(id, "the first request has not ended").await?;
    t.refuse(&acquire, Refusal::Cancelled).await?;
    let next = t.acquired(&s).await?;
    holds(next.request > acquire.request, "a new request", &next)?;
    let grant = t.grant_of(&next);
    t.peer.say(grant.full([])).await?;
    t.locked(id).await.map(drop)
}

async fn not_while_held(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    let id = t.ask(2, &s, &["a"]).await?;
    t.waits(id, "a thread has the attribute").await?;
    t.come_back().await?;
    t.waits(id, "a thread has the attribute").await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    t.waits(id, "the gate is closed").await?;
    t.stands(&lock).await
}

async fn other_request(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    for request in [
        Request(acquire.request.0 + 1),
        Request(acquire.request.0.saturating_sub(1)),
    ] {
        let wrong = tenure_protocol::message::AcquireRequest {
            request,
            ..acquire.clone()
        };
        t.refuse(&wrong, Refusal::Gone).await?;
        t.queue(&wrong).await?;
    }
    t.waits(id, "its own request was not answered").await?;
    t.reconnect().await?;
    let is_named = t.opening.waits == [acquire.clone()];
    holds(is_named, "its request, without a ticket", &t.opening)
}

async fn after_grant(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    t.refuse(&acquire, Refusal::Gone).await?;
    let lock = t.locked(id).await?;
    t.is_quiet("the process has the grant").await?;
    t.stands(&lock).await
}

async fn cancels(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask_with(1, &s, &["a"], json!({"wait_ms": 200})).await?;
    let acquire = t.acquired(&s).await?;
    t.refused(id, "deadline").await?;
    t.settle_acquire(&s, acquire.request).await
}

async fn one_of_two(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let one = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let two = t.ask(2, &s, &["a"]).await?;
    t.cancel(one).await?;
    t.refused(one, "cancelled").await?;
    t.waits(two, "the request was not granted").await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    t.locked(two).await.map(drop)
}

async fn resends(ctx: CaseContext) -> Play {
    let mut t = ctx.scene_with(json!({"resend_ms": 200}), LEASE_MS).await?;
    let resend_ms = t.setting("resend_ms", 5_000)?;
    let s = session("s");
    t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.peer.forget();
    match t.peer.next_after("the request again", resend_ms).await? {
        tenure_protocol::ToStore::Acquire(again) => {
            holds(again == acquire, "the same request", again)
        }
        other => Err(t.peer.failed("the request again", other)),
    }
}

async fn deadline_of_store(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.refuse(&acquire, Refusal::Deadline).await?;
    // The process may request again, or report the end to its thread.
    match t
        .peer
        .hear_within(std::time::Duration::from_millis(500))
        .await?
    {
        crate::process::scripted_store::Heard::Message(tenure_protocol::ToStore::Acquire(next)) => {
            holds(next.request > acquire.request, "a new request", &next)?;
            let grant = t.grant_of(&next);
            t.peer.say(grant.full([])).await?;
            t.locked(id).await.map(drop)
        }
        _ => t.refused(id, "deadline").await.map(drop),
    }
}
