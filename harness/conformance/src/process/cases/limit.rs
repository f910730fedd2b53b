//! Cases about limits of the process and of the store.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{delta, session};
use crate::process::scripted_store::LEASE_MS;
use serde_json::json;
use tenure_protocol::StoreLimits;
use tenure_protocol::message::{Limited, Reason, Refusal};

/// The largest limit that a case tries to reach.
const BYTES_MAX: u64 = 64 << 10;

cases! { Process:
    "process/limit/write/attribute-bytes", Must ["limit.checks"] attribute_bytes,
        "The write of a value above the limit is refused, and nothing of it is sent.";
    "process/limit/write/session-bytes", Must ["limit.checks"] session_bytes,
        "A write that would raise the session above its size limit is refused.";
    "process/limit/write/attributes", Must ["limit.checks"] attributes,
        "A write of one attribute more than the limit is refused.";
    "process/limit/write/of-store", Must ["limit.of-store"] of_welcome,
        "A write above a limit that the welcome has stated is refused, and nothing of it is sent.";
    "process/limit/session/too-large", Should ["limit.session-too-large"] too_large,
        "A session above the process's size limit is released. Its threads are notified, and the connection continues.";
    "process/limit/threads/one-too-many", Should ["limit.threads"] threads,
        "A thread above the limit of threads that wait for a session is refused.";
    "process/limit/store/grants", Must ["limit.told", "thread.ends-once"] grants,
        "If a request fails at the store's limit of grants, the thread is notified or the process repeats the request.";
    "process/limit/store/waiters", Must ["limit.told"] waiters,
        "If a request fails because the queue is full, the thread is notified or the process repeats the request.";
    "process/limit/store/storage", Must ["limit.told"] storage,
        "If a request fails because the store's disk is full, the thread is notified or the process repeats the \
        request.";
}

async fn attribute_bytes(ctx: CaseContext) -> Play {
    let settings = json!({"attribute_bytes_max": 1_000});
    let mut t = ctx.scene_with(settings, LEASE_MS).await?;
    let max = usize::try_from(t.setting("attribute_bytes_max", BYTES_MAX)?).unwrap_or(usize::MAX);
    let (grant, lock) = t.take_full(1, &session("s"), &["a"], &[("a", "1")]).await?;
    let refused = t.try_write(&lock, "a", &"x".repeat(max + 1)).await?;
    let is_limit = refused.is_err_and(|refused| refused.kind == "limit");
    holds(is_limit, "`limit`", max)?;
    t.is_quiet("nothing was written").await?;
    holds(
        t.read(&lock, "a").await?.as_deref() == Some("1"),
        "the value that it had",
        (),
    )?;
    let full = "y".repeat(max);
    t.write(&lock, "a", &full).await?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    holds(
        release.delta == delta([("a", Some(full.as_str()))]),
        "a value of just the limit",
        (),
    )
}

async fn session_bytes(ctx: CaseContext) -> Play {
    let settings = json!({"attribute_bytes_max": 1_000, "session_bytes_max": 2_000});
    let mut t = ctx.scene_with(settings, LEASE_MS).await?;
    t.setting("attribute_bytes_max", 1_000)?;
    let max = usize::try_from(t.setting("session_bytes_max", BYTES_MAX)?).unwrap_or(usize::MAX);
    let (grant, lock) = t.take(1, &session("s"), &[]).await?;
    let names: Vec<String> = (0..max / 500 + 2)
        .map(|number| format!("n{number}"))
        .collect();
    let mut written = 0;
    let mut is_refused = false;
    for name in &names {
        match t.try_write(&lock, name, &"x".repeat(500)).await? {
            Ok(_) => written += 500,
            Err(refused) => {
                holds(refused.kind == "limit", "`limit`", refused)?;
                is_refused = true;
            }
        }
    }
    holds(
        is_refused && written <= max,
        "a refusal at the limit",
        written,
    )?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    holds(
        release.delta.changes().len() * 500 == written,
        "what was accepted",
        release,
    )
}

async fn attributes(ctx: CaseContext) -> Play {
    let mut t = ctx
        .scene_with(json!({"attributes_max": 4}), LEASE_MS)
        .await?;
    let max = t.setting("attributes_max", 1_024)?;
    let (grant, lock) = t.take(1, &session("s"), &[]).await?;
    for number in 0..max {
        t.write(&lock, &format!("n{number}"), "1").await?;
    }
    let refused = t.try_write(&lock, "more", "1").await?;
    let is_limit = refused.is_err_and(|refused| refused.kind == "limit");
    holds(is_limit, "`limit`", max)?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    let count = release.delta.changes().len() as u64;
    holds(count == max, "what was accepted", release)
}

/// Returns limits of a store with this limit on an attribute's value.
fn store_limits(attribute_bytes_max: u64) -> Option<StoreLimits> {
    Some(StoreLimits {
        grants_max: 1_000,
        waiters_max: 1_000,
        attributes_max: 1_000,
        attribute_bytes_max,
        session_bytes_max: 1_000_000,
    })
}

async fn of_welcome(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?.of_1_1()?;
    t.peer.limits = store_limits(10);
    t.come_back().await?;
    let (grant, lock) = t.take_full(1, &session("s"), &["a"], &[("a", "1")]).await?;
    let refused = t.try_write(&lock, "a", "12345678901").await?;
    let is_limit = refused.is_err_and(|refused| refused.kind == "limit");
    holds(is_limit, "`limit`", 10)?;
    t.is_quiet("nothing was written").await?;
    t.write(&lock, "a", "1234567890").await?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    holds(
        release.delta == delta([("a", Some("1234567890"))]),
        "a value of just the limit",
        release,
    )
}

async fn too_large(ctx: CaseContext) -> Play {
    let settings = json!({"attribute_bytes_max": 1_000});
    let mut t = ctx.scene_with(settings, LEASE_MS).await?;
    let max = usize::try_from(t.setting("attribute_bytes_max", BYTES_MAX)?).unwrap_or(usize::MAX);
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let large = "x".repeat(max + 1);
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([("a", large.as_str())])).await?;
    let release = t.released(&grant).await?;
    holds(
        release.delta.is_empty(),
        "a release without changes",
        release,
    )?;
    t.refused(id, "limit").await?;
    t.take(2, &session("other"), &["a"]).await.map(drop)
}

async fn threads(ctx: CaseContext) -> Play {
    let mut t = ctx.scene_with(json!({"threads_max": 3}), LEASE_MS).await?;
    let max = t.setting("threads_max", 200)?;
    let s = session("s");
    let (_, lock) = t.take(1000, &s, &["a"]).await?;
    let mut waiting = Vec::new();
    for thread in 0..max {
        waiting.push(t.ask(thread + 1, &s, &["a"]).await?);
    }
    let over = t.ask(max + 1, &s, &["a"]).await?;
    t.refused(over, "limit").await?;
    t.unlock(&lock).await?;
    t.locked(waiting[0]).await.map(drop)
}

async fn grants(ctx: CaseContext) -> Play {
    of_store(ctx, Limited::Grants).await
}
async fn waiters(ctx: CaseContext) -> Play {
    of_store(ctx, Limited::Waiters).await
}
async fn storage(ctx: CaseContext) -> Play {
    of_store(ctx, Limited::Storage).await
}

async fn of_store(ctx: CaseContext, limited: Limited) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.refuse(&acquire, Refusal::Limit(limited)).await?;
    let heard = t.settle().await?;
    if t.adapter.has_answered(id)? {
        t.refused(id, "limit").await?;
        return holds(
            heard.is_empty(),
            "no request, because no thread waits",
            heard,
        );
    }
    let next = match heard.into_iter().next() {
        Some(tenure_protocol::ToStore::Acquire(next)) => next,
        _ => t.acquired(&s).await?,
    };
    holds(next.request > acquire.request, "a new request", next)
}
