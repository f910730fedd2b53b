//! Cases about the place in the store's queue.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::session;
use crate::process::scripted_store::LEASE_MS;
use serde_json::json;
use tenure_protocol::ToProcess;

cases! { Process:
    "process/queue/ticket/in-hello", Must ["queue.keeps-ticket", "reconnect.names-waits"] in_hello,
        "A hello names the ticket of each waiting request.";
    "process/queue/ticket/in-acquire", Must ["queue.keeps-ticket", "end.resends"] in_acquire,
        "A repeated request names the ticket that it has received.";
    "process/queue/ticket/newest", Must ["queue.keeps-ticket"] newest,
        "If a request has received several tickets, the last one counts.";
    "process/queue/ticket/after-lease", Must ["queue.keeps-ticket"] after_lease,
        "A wait continues after the end of the lease, with its ticket if its request is the same.";
}

async fn in_hello(ctx: CaseContext) -> Play {
    waits_with_ticket(ctx, 1).await
}

async fn newest(ctx: CaseContext) -> Play {
    waits_with_ticket(ctx, 3).await
}

async fn waits_with_ticket(ctx: CaseContext, times: u32) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let mut ticket = None;
    for _ in 0..times {
        ticket = Some(t.queue(&acquire).await?);
    }
    t.waits(id, "the request has a place but no grant").await?;
    t.reconnect().await?;
    let named = t.opening.waits.iter().find(|wait| wait.session == s);
    let is_named = named.is_some_and(|own| own.request == acquire.request && own.ticket == ticket);
    holds(is_named, "the request with its ticket", &t.opening)?;
    t.welcome(Vec::new(), Vec::new()).await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    t.locked(id).await.map(drop)
}

async fn in_acquire(ctx: CaseContext) -> Play {
    let mut t = ctx.scene_with(json!({"resend_ms": 200}), LEASE_MS).await?;
    let resend_ms = t.setting("resend_ms", 5_000)?;
    let s = session("s");
    t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let ticket = t.queue(&acquire).await?;
    // Repetitions that were in flight do not have the ticket yet.
    t.settle().await?;
    t.peer.forget();
    for _ in 0..10 {
        let expected = "the request again, with its ticket";
        let heard = t.peer.next_after(expected, resend_ms).await?;
        let again = tenure_protocol::message::AcquireRequest {
            ticket: Some(ticket),
            ..acquire.clone()
        };
        if heard == tenure_protocol::ToStore::Acquire(again) {
            return Ok(());
        }
        holds(
            heard == tenure_protocol::ToStore::Acquire(acquire.clone()),
            expected,
            heard,
        )?;
    }
    Ok(())
}

async fn after_lease(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let ticket = t.queue(&acquire).await?;
    t.is_quiet("it waits").await?;
    t.peer.say(ToProcess::LeaseEnded).await?;
    t.next_hello().await?;
    let named = t
        .opening
        .waits
        .iter()
        .find(|own| own.request == acquire.request);
    holds(
        named.is_none_or(|own| own.ticket == Some(ticket)),
        "its ticket",
        &t.opening,
    )?;
    let named = named.cloned();
    t.welcome(Vec::new(), Vec::new()).await?;
    let acquire = match named {
        Some(acquire) => acquire,
        None => t.acquired(&s).await?,
    };
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    t.locked(id).await.map(drop)
}
