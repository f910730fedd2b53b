//! Cases about expiry: an unused session ends, not early, and never while it is held.
//!
//! The process determines what counts as a use. Checking that a session still exists is not a use if the release states
//! the idle time.

use super::destroy::is_new;
use crate::case::cases;
use crate::end::{CaseEnd, Play, holds};
use crate::store::{CaseContext, Grant, ScriptedProcess, set};
use std::time::Duration;
use tenure_protocol::message::{Reason, RecallInfo, Release};
use tenure_protocol::{SessionId, ToProcess, ToStore, Version};
use tokio::time::{Instant, sleep};

cases! { Store:
    "expiry/held/stays", Must ["expiry.not-while-held"] (Expiry) held_stays,
        "A held session does not expire, however long it is unused.";
    "expiry/held/recalled", Must ["expiry.recalls"] (Expiry) held_is_recalled,
        "A held session is recalled with reason expiry when its time to live may have ended.";
    "expiry/held/never-written", Must ["expiry.once-written"] (Expiry) never_written,
        "A session that was never written is not recalled for expiry, however long it is held.";
    "expiry/not-early/released", Must ["expiry.not-early"] (Expiry) not_early,
        "A released session still exists before the end of its time to live.";
    "expiry/not-early/recalled", Must ["expiry.not-early"] (Expiry) not_early_recalled,
        "A session that was just used and is released on a recall for expiry still exists.";
    "expiry/idle/counts", Must ["expiry.ends"] (Expiry) idle_counts,
        "A session released with an idle time of its whole time to live expires at once.";
    "expiry/idle/counts-in-part", Must ["expiry.ends", "expiry.not-early"] (Expiry) idle_counts_in_part,
        "A session released with an idle time of half its time to live expires after at most the other half.";
    "expiry/use/busy", Should ["expiry.busy-is-use"] (Expiry) busy_is_use,
        "A session in which threads were inside just before still exists.";
    "expiry/use/commit", Should ["expiry.busy-is-use"] (Expiry) commit_is_use,
        "A session that was committed just before still exists.";
    "expiry/ends/unused", Must ["expiry.ends"] (Expiry) ends,
        "A session that was not used for its time to live no longer exists.";
    "expiry/ends/after-restart", Must ["expiry.ends"] (Expiry, Restart) ends_after_restart,
        "An unused session also expires if the store was killed meanwhile.";
}

/// The number of attempts for a case that must be fast and was not.
const ATTEMPTS: usize = 5;

/// Returns the store's time to live. Skips the case if it must not wait for twice that time.
fn time_to_live(ctx: &CaseContext) -> Play<u64> {
    let ms = ctx.target().expires_ms.unwrap_or_default();
    ctx.may_wait("twice a time to live", 2 * ms)?;
    Ok(ms)
}

fn too_slow() -> CaseEnd {
    CaseEnd::Skipped(
        "this computer is too slow for the time to live: raise --expires-ms".to_owned(),
    )
}

fn ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Lets time pass while these processes keep their leases.
pub(super) async fn live<const N: usize>(mut all: [&mut ScriptedProcess; N], span_ms: u64) -> Play {
    let began = Instant::now();
    loop {
        let mut pulse = span_ms.saturating_sub(ms(began));
        let is_over = pulse == 0;
        for p in &mut all {
            p.settle().await?;
            pulse = pulse.min(p.lease_ms / 4 + 1);
        }
        if is_over {
            return Ok(());
        }
        sleep(Duration::from_millis(pulse)).await;
    }
}

/// Returns a grant of a session with one attribute.
pub(super) async fn written(p: &mut ScriptedProcess, session: &SessionId) -> Play<Grant> {
    let mut grant = p.acquire(session).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    Ok(grant)
}

/// Releases the session without changes, with an idle time of `idle_ms`.
async fn gives_back(p: &mut ScriptedProcess, grant: &Grant, idle_ms: u64) -> Play<Option<Version>> {
    p.say(ToStore::Release(Release {
        session: grant.session.clone(),
        token: grant.token,
        base: grant.version,
        delta: set([]),
        requeue: None,
        idle_ms,
    }))
    .await?;
    p.released(&grant.session, grant.token).await
}

/// Waits for the recall with reason expiry.
pub(super) async fn expires(
    p: &mut ScriptedProcess,
    grant: &Grant,
    after_ms: u64,
) -> Play<RecallInfo> {
    p.expect_after("Recall, expiry", after_ms, |message| match message {
        ToProcess::Recall { hold, info }
            if *hold == grant.hold() && info.reason == Reason::Expiry =>
        {
            Some(*info)
        }
        _ => None,
    })
    .await
}

/// Waits until the session has expired, without using it. Its last use was at `used`.
async fn ended(
    ctx: &CaseContext,
    p: &mut ScriptedProcess,
    session: &SessionId,
    used: Instant,
) -> Play {
    let began = Instant::now();
    loop {
        let grant = p.acquire(session).await?;
        if grant.attributes.is_empty() {
            let is_new = grant.version == Version::NONE;
            return holds(is_new, "version [0, 0] in the next life", grant.version);
        }
        gives_back(p, &grant, ms(used)).await?;
        let is_late = began.elapsed() > ctx.target().slack();
        holds(!is_late, "the end of the session", &grant)?;
        sleep(Duration::from_millis(20)).await;
    }
}

async fn held_stays(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let [mut p, mut q] = ctx.two().await?;
    let mut grant = written(&mut p, &ctx.session("s")).await?;
    live([&mut p, &mut q], 2 * life).await?;
    p.commit(&mut grant, set([("b", Some("2"))])).await?;
    p.release(&grant, set([])).await?;
    let next = q.acquire(&grant.session).await?;
    holds(
        next.attributes == grant.attributes,
        "a and b",
        &next.attributes,
    )
}

async fn held_is_recalled(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let mut p = ctx.player("p").await?;
    let grant = written(&mut p, &ctx.session("s")).await?;
    expires(&mut p, &grant, life).await.map(drop)
}

async fn never_written(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    live([&mut p], 2 * life).await?;
    let recalls = p.recalls().await?;
    holds(recalls.is_empty(), "no recall", recalls)?;
    // The life of a session begins with its first write.
    let grant = written(&mut p, &grant.session).await?;
    expires(&mut p, &grant, life).await.map(drop)
}

async fn not_early(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let [mut p, mut q] = ctx.two().await?;
    for attempt in 0..ATTEMPTS {
        let s = ctx.session(&format!("s{attempt}"));
        let grant = written(&mut p, &s).await?;
        let used = Instant::now();
        gives_back(&mut p, &grant, 0).await?;
        live([&mut p, &mut q], life / 2).await?;
        let next = q.acquire(&s).await?;
        if ms(used) < life {
            return holds(!next.attributes.is_empty(), "a is still there", &next);
        }
        p.settle().await?;
    }
    Err(too_slow())
}

async fn not_early_recalled(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let mut p = ctx.player("p").await?;
    for attempt in 0..ATTEMPTS {
        let s = ctx.session(&format!("s{attempt}"));
        let grant = written(&mut p, &s).await?;
        expires(&mut p, &grant, life).await?;
        // Connect only now: the process would otherwise be silent for a whole time to live.
        let mut q = ctx.player(&format!("q{attempt}")).await?;
        let used = Instant::now();
        gives_back(&mut p, &grant, 0).await?;
        let next = q.acquire(&s).await?;
        if ms(used) < life {
            return holds(!next.attributes.is_empty(), "a is still there", &next);
        }
    }
    Err(too_slow())
}

async fn idle_counts(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let used = Instant::now() - Duration::from_millis(life);
    let grant = written(&mut p, &s).await?;
    gives_back(&mut p, &grant, life).await?;
    ended(&ctx, &mut p, &s, used).await
}

async fn idle_counts_in_part(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let [mut p, mut q] = ctx.two().await?;
    for attempt in 0..ATTEMPTS {
        let s = ctx.session(&format!("s{attempt}"));
        let grant = written(&mut p, &s).await?;
        let used = Instant::now();
        gives_back(&mut p, &grant, life / 2).await?;
        let next = q.acquire(&s).await?;
        if ms(used) < life / 2 {
            holds(!next.attributes.is_empty(), "a is still there", &next)?;
            gives_back(&mut q, &next, life / 2 + ms(used)).await?;
            live([&mut p, &mut q], life / 2).await?;
            let used = used - Duration::from_millis(life / 2);
            return ended(&ctx, &mut q, &s, used).await;
        }
        p.settle().await?;
    }
    Err(too_slow())
}

/// Checks whether a session whose holder has died still exists shortly after its last use `used`.
async fn outlives(
    ctx: &CaseContext,
    p: ScriptedProcess,
    grant: &Grant,
    used: Instant,
    life: u64,
) -> Play {
    // The next start of the process ends the grant without reporting a use.
    let mut reborn = p.reborn(ctx).await?;
    reborn.enter().await?;
    sleep(Duration::from_millis(life / 4)).await;
    let next = reborn.acquire(&grant.session).await?;
    if ms(used) >= life {
        return Err(too_slow());
    }
    holds(!next.attributes.is_empty(), "a is still there", &next)
}

async fn busy_is_use(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let mut p = ctx.player("p").await?;
    let grant = written(&mut p, &ctx.session("s")).await?;
    expires(&mut p, &grant, life).await?;
    let used = Instant::now();
    p.busy(&grant, vec![]).await?;
    p.settle().await?;
    outlives(&ctx, p, &grant, used, life).await
}

async fn commit_is_use(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let mut p = ctx.player("p").await?;
    let mut grant = written(&mut p, &ctx.session("s")).await?;
    expires(&mut p, &grant, life).await?;
    let used = Instant::now();
    p.commit(&mut grant, set([("b", Some("2"))])).await?;
    outlives(&ctx, p, &grant, used, life).await
}

async fn ends(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    let used = Instant::now();
    gives_back(&mut p, &grant, 0).await?;
    live([&mut p, &mut q], life).await?;
    ended(&ctx, &mut q, &s, used).await
}

async fn ends_after_restart(ctx: CaseContext) -> Play {
    let life = time_to_live(&ctx)?;
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    let used = Instant::now();
    gives_back(&mut p, &grant, 0).await?;
    ctx.restart().await?;
    let mut p = p.again(&ctx).await?;
    p.enter().await?;
    live([&mut p], life.saturating_sub(ms(used))).await?;
    ended(&ctx, &mut p, &s, used).await?;
    p.settle().await?;
    is_new(&mut p, &ctx.session("other")).await.map(drop)
}
