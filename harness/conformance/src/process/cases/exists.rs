//! Cases about threads that lock a session only if it exists.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Scene, session};
use serde_json::json;
use tenure_protocol::message::{AcquireRequest, Refusal};
use tenure_protocol::{SessionId, Version};

cases! { Process:
    "process/exists/ask/granted", Must ["exists.told"] granted,
        "If a thread locks only an existing session, its process requests it with that condition. The thread gets the \
        attribute with the grant.";
    "process/exists/ask/absent", Must ["exists.told"] absent,
        "A thread that locks only an existing session is notified when it is absent. Another thread's request has no \
        such condition.";
    "process/exists/ask/others-go-on", Must ["exists.told"] others,
        "If a thread without the condition has joined a conditional request, it gets the session after the answer \
        absent.";
    "process/exists/ask/not-before", Must ["exists.not-before"] not_before,
        "The answer absent does not apply to a thread that locked after the request was sent.";
    "process/exists/grant/not-written", Must ["exists.thread"] not_written,
        "Under a grant of an absent session, threads with the existing-only condition stay out until another thread \
        has written.";
    "process/exists/reconnect/behind-welcome", Must ["exists.ends-with-link", "exists.asks-newer"] behind_welcome,
        "A hello lists no existing-only request. After the Welcome it is sent as a new request with its ticket.";
    "process/exists/older/not-asked", Must ["exists.asks-newer"] older,
        "A store whose Welcome has version 1.0 receives no existing-only request. All other requests continue.";
    "process/exists/older/told", Should ["exists.unsupported"] older_told,
        "If the store has version 1.0, a thread that locks only an existing session is notified that this is \
        unsupported.";
    "process/exists/older/replaced", Must ["exists.asks-newer"] replaced,
        "After the store was replaced by one of version 1.0, the process sends no existing-only request any more.";
}

/// Returns a scene. Skips the case if the library does not support such requests.
async fn scene(ctx: &CaseContext) -> Play<Scene> {
    ctx.scene().await?.of_1_1()
}

async fn only_existing(t: &mut Scene, thread: u64, s: &SessionId, names: &[&str]) -> Play<u64> {
    t.ask_with(thread, s, names, json!({"existing": true}))
        .await
}

fn is_strict(acquire: &AcquireRequest) -> Play {
    holds(
        acquire.existing,
        "an Acquire only for an existing session",
        acquire,
    )
}

async fn granted(ctx: CaseContext) -> Play {
    let s = session("s");
    let mut t = scene(&ctx).await?;
    let id = only_existing(&mut t, 1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    is_strict(&acquire)?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([("a", "1")])).await?;
    let lock = t.locked(id).await?;
    t.unlock(&lock).await?;
    // The grant is cached and the session exists, so another thread needs no message.
    let id = only_existing(&mut t, 2, &s, &["a"]).await?;
    t.locked(id).await.map(drop)
}

async fn absent(ctx: CaseContext) -> Play {
    let s = session("s");
    let mut t = scene(&ctx).await?;
    let id = only_existing(&mut t, 1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    is_strict(&acquire)?;
    t.refuse(&acquire, Refusal::Absent).await?;
    t.refused(id, "absent").await?;
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    holds(!acquire.existing, "an Acquire for any session", &acquire)?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    t.locked(id).await.map(drop)
}

async fn others(ctx: CaseContext) -> Play {
    let s = session("s");
    let mut t = scene(&ctx).await?;
    let strict = only_existing(&mut t, 1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    is_strict(&acquire)?;
    let any = t.ask(2, &s, &["b"]).await?;
    t.refuse(&acquire, Refusal::Absent).await?;
    t.refused(strict, "absent").await?;
    // The process may have repeated the request meanwhile, which also counts.
    let acquire = t.acquired(&s).await?;
    holds(!acquire.existing, "an Acquire for any session", &acquire)?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    t.locked(any).await.map(drop)
}

async fn not_before(ctx: CaseContext) -> Play {
    let s = session("s");
    let mut t = scene(&ctx).await?;
    let first = only_existing(&mut t, 1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let second = only_existing(&mut t, 2, &s, &["b"]).await?;
    t.is_quiet("the request was already sent").await?;
    t.refuse(&acquire, Refusal::Absent).await?;
    t.refused(first, "absent").await?;
    let acquire = t.acquired(&s).await?;
    // The session exists by now.
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([("b", "1")])).await?;
    t.locked(second).await.map(drop)
}

async fn not_written(ctx: CaseContext) -> Play {
    let s = session("s");
    let mut t = scene(&ctx).await?;
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let mut grant = t.grant_of(&acquire);
    grant.version = Version::NONE;
    t.peer.say(grant.full([])).await?;
    let lock = t.locked(id).await?;
    t.write(&lock, "a", "1").await?;
    // The attribute is written but not unlocked.
    let id = only_existing(&mut t, 2, &s, &["b"]).await?;
    t.refused(id, "absent").await?;
    t.unlock(&lock).await?;
    let id = only_existing(&mut t, 2, &s, &["b"]).await?;
    t.locked(id).await.map(drop)
}

async fn behind_welcome(ctx: CaseContext) -> Play {
    let s = session("s");
    let mut t = scene(&ctx).await?;
    let id = only_existing(&mut t, 1, &s, &["a"]).await?;
    let first = t.acquired(&s).await?;
    let ticket = t.queue(&first).await?;
    t.waits(id, "the request has a place but no grant").await?;
    t.reconnect().await?;
    let is_empty = t.opening.waits.is_empty();
    holds(is_empty, "a Hello that does not list it", &t.opening)?;
    t.welcome(Vec::new(), Vec::new()).await?;
    let again = t.acquired(&s).await?;
    is_strict(&again)?;
    let is_new = again.request > first.request && again.ticket == Some(ticket);
    holds(is_new, "a new request with the ticket", &again)?;
    let grant = t.grant_of(&again);
    t.peer.say(grant.full([("a", "1")])).await?;
    t.locked(id).await.map(drop)
}

async fn older(ctx: CaseContext) -> Play {
    let s = session("s");
    let mut t = Scene::silent(&ctx, json!({})).await?.of_1_1()?;
    t.peer.minor = 0;
    t.enter().await?;
    let id = only_existing(&mut t, 1, &s, &["a"]).await?;
    t.is_quiet("the store does not understand it").await?;
    t.fails(id).await?;
    t.take(1, &s, &["a"]).await.map(drop)
}

async fn older_told(ctx: CaseContext) -> Play {
    let s = session("s");
    let mut t = Scene::silent(&ctx, json!({})).await?.of_1_1()?;
    t.peer.minor = 0;
    t.enter().await?;
    let id = only_existing(&mut t, 1, &s, &["a"]).await?;
    t.refused(id, "older-store").await.map(drop)
}

async fn replaced(ctx: CaseContext) -> Play {
    let s = session("s");
    let mut t = scene(&ctx).await?;
    let id = only_existing(&mut t, 1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    is_strict(&acquire)?;
    t.reconnect().await?;
    t.peer.minor = 0;
    t.welcome(Vec::new(), Vec::new()).await?;
    t.is_quiet("the store does not understand it").await?;
    t.fails(id).await?;
    t.take(1, &s, &["a"]).await.map(drop)
}
