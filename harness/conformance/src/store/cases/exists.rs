//! Cases about existing-only requests.

use super::destroy::gone;
use crate::case::cases;
use crate::end::{CaseEnd, Play, holds};
use crate::store::{CaseContext, ScriptedProcess, set};
use tenure_protocol::message::{Refusal, WaitMode};
use tenure_protocol::{EXISTING_SINCE, Request, SessionId, Token, Version};

cases! { Store:
    "exists/free/absent", Must ["exists.absent", "exists.only"] free_absent,
        "An existing-only request for an absent session is refused as absent. An unconditional request is granted the \
        session, empty.";
    "exists/free/existing", Must ["exists.true", "grant.at-once"] free_existing,
        "An existing-only request is granted a session that was written, with its state.";
    "exists/free/try", Must ["exists.absent"] free_try,
        "An existing-only try for an absent session is refused as absent.";
    "exists/free/destroyed", Must ["exists.absent"] destroyed,
        "A destroyed session is absent.";
    "exists/queue/not-written", Must ["exists.absent", "exists.only"] not_written,
        "A waiting existing-only request is refused as absent if the holder of the new session releases it without a \
        change.";
    "exists/queue/written", Must ["exists.true"] written,
        "A waiting existing-only request is granted the session if the holder of the new session has changed it.";
    "exists/queue/passed-on", Must ["exists.absent", "queue.passes-by"] passed_on,
        "When a waiting request is refused as absent, the next request in the queue is granted the session.";
    "exists/queue/behind-a-plain-one", Must ["exists.true", "queue.fifo-connected"] behind_plain,
        "An existing-only request behind an unconditional one is decided when the latter's grant is released.";
    "exists/repeated/plainly", Must ["exists.never-stricter"] repeated_plainly,
        "An existing-only request that is repeated without its condition is granted even an absent session.";
    "exists/repeated/strictly", Must ["exists.never-stricter"] repeated_strictly,
        "A request that was once sent without the existing-only condition stays unconditional.";
    "exists/own/again", Must ["grant.same-again"] own_again,
        "If the holder of a new session sends an existing-only request, it receives its grant again.";
    "exists/older/ignored", Must ["wire.newer"] older,
        "A process of version 1.0 that has not stated support for the answer never receives absent.";
    "exists/leaves-nothing", Should ["exists.leaves-nothing"] leaves_nothing,
        "After many requests for absent sessions, a process holds none of them and can have as many grants as before.";
}

/// Skips the case if the store does not support such requests.
async fn two(ctx: &CaseContext) -> Play<[ScriptedProcess; 2]> {
    let players = ctx.two().await?;
    understands(&players[0])?;
    Ok(players)
}

fn understands(player: &ScriptedProcess) -> Play {
    if player.store_minor >= EXISTING_SINCE {
        return Ok(());
    }
    let minor = player.store_minor;
    Err(CaseEnd::Skipped(format!(
        "the store supports only version 1.{minor}"
    )))
}

async fn only_existing(p: &mut ScriptedProcess, session: &SessionId) -> Play<Request> {
    let mut acquire = p.acquire_request(session);
    acquire.existing = true;
    p.say_acquire(&acquire).await?;
    Ok(acquire.request)
}

async fn is_absent(p: &mut ScriptedProcess, session: &SessionId, request: Request) -> Play {
    let why = p.refused(session, request).await?;
    holds(why == Refusal::Absent, "Refused, absent", why)
}

async fn free_absent(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = two(&ctx).await?;
    for _ in 0..2 {
        let request = only_existing(&mut p, &s).await?;
        is_absent(&mut p, &s, request).await?;
    }
    let acquire = q.acquire_request(&s);
    let grant = q.grant_at_once(acquire).await?;
    holds(grant.version == Version::NONE, "no session", grant.version)
}

async fn free_existing(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = two(&ctx).await?;
    let grant = p.acquire(&s).await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    let mut acquire = q.acquire_request(&s);
    acquire.existing = true;
    let grant = q.grant_at_once(acquire).await?;
    let is_written = grant.text("a").as_deref() == Some("1");
    holds(is_written, "the written changes", &grant.attributes)
}

async fn free_try(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, _] = two(&ctx).await?;
    let mut acquire = p.acquire_request(&s);
    (acquire.existing, acquire.wait_mode) = (true, WaitMode::Try);
    p.say_acquire(&acquire).await?;
    is_absent(&mut p, &s, acquire.request).await
}

async fn destroyed(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = two(&ctx).await?;
    let mut grant = p.acquire(&s).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    p.say_destroy(&grant).await?;
    gone(&mut p, &grant.hold()).await?;
    let request = only_existing(&mut q, &s).await?;
    is_absent(&mut q, &s, request).await
}

/// Returns a process that waits while another process holds the new session.
async fn waits_for_new(
    p: &mut ScriptedProcess,
    q: &mut ScriptedProcess,
    s: &SessionId,
) -> Play<Request> {
    let request = only_existing(q, s).await?;
    q.hears_nothing_of(s, "another process holds the session")
        .await?;
    p.hears_nothing_of(s, "the holder is only recalled").await?;
    Ok(request)
}

async fn not_written(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = two(&ctx).await?;
    let grant = p.acquire(&s).await?;
    let request = waits_for_new(&mut p, &mut q, &s).await?;
    p.give_back(&grant).await?;
    is_absent(&mut q, &s, request).await?;
    let acquire = p.acquire_request(&s);
    p.grant_at_once(acquire).await.map(drop)
}

async fn written(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = two(&ctx).await?;
    let grant = p.acquire(&s).await?;
    let request = waits_for_new(&mut p, &mut q, &s).await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    let grant = q.granted(&s, request).await?;
    let is_written = grant.text("a").as_deref() == Some("1");
    holds(
        is_written,
        "the changes that the holder released",
        &grant.attributes,
    )
}

async fn passed_on(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = two(&ctx).await?;
    let mut r = ctx.player("r").await?;
    let grant = p.acquire(&s).await?;
    let first = waits_for_new(&mut p, &mut q, &s).await?;
    let second = r.waits_for(&s).await?;
    p.give_back(&grant).await?;
    is_absent(&mut q, &s, first).await?;
    let grant = r.granted(&s, second).await?;
    holds(grant.version == Version::NONE, "no session", grant.version)
}

async fn behind_plain(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = two(&ctx).await?;
    let mut r = ctx.player("r").await?;
    let grant = p.acquire(&s).await?;
    let first = r.waits_for(&s).await?;
    let second = only_existing(&mut q, &s).await?;
    q.hears_nothing_of(&s, "another process holds the session")
        .await?;
    p.give_back(&grant).await?;
    let grant = r.granted(&s, first).await?;
    q.hears_nothing_of(&s, "another one came first").await?;
    r.release(&grant, set([("a", Some("1"))])).await?;
    q.granted(&s, second).await.map(drop)
}

/// Sends a request in one form, and then in the other. Once the unconditional form was sent, the request is granted an
/// absent session.
async fn repeated(ctx: CaseContext, first_existing: bool) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = two(&ctx).await?;
    let grant = p.acquire(&s).await?;
    let mut acquire = q.acquire_request(&s);
    for existing in [first_existing, !first_existing] {
        acquire.existing = existing;
        q.say_acquire(&acquire).await?;
    }
    q.hears_nothing_of(&s, "another process holds the session")
        .await?;
    p.give_back(&grant).await?;
    q.granted(&s, acquire.request).await.map(drop)
}

async fn repeated_plainly(ctx: CaseContext) -> Play {
    repeated(ctx, true).await
}

async fn repeated_strictly(ctx: CaseContext) -> Play {
    repeated(ctx, false).await
}

async fn own_again(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, _] = two(&ctx).await?;
    let grant = p.acquire(&s).await?;
    let request = only_existing(&mut p, &s).await?;
    let again = p.granted(&s, request).await?;
    holds(again.token == grant.token, "the same token", again.token)
}

async fn older(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.silent("p").await?;
    p.minor_max = 0;
    p.enter().await?;
    understands(&p)?;
    let mut acquire = p.acquire_request(&s);
    acquire.existing = true;
    let grant = p.grant_at_once(acquire).await?;
    holds(grant.token > Token::default(), "a grant", grant.token)
}

async fn leaves_nothing(ctx: CaseContext) -> Play {
    const MANY: usize = 200;
    let [mut p, mut q] = two(&ctx).await?;
    let sessions: Vec<SessionId> = (0..MANY)
        .map(|number| ctx.session(&format!("s{number}")))
        .collect();
    for session in &sessions {
        let request = only_existing(&mut p, session).await?;
        is_absent(&mut p, session, request).await?;
    }
    // No process holds these sessions: another process gets one at once, and the first process's Goodbye ends nothing.
    for session in sessions.iter().step_by(50) {
        let acquire = q.acquire_request(session);
        let grant = q.grant_at_once(acquire).await?;
        holds(grant.version == Version::NONE, "no session", grant.version)?;
        q.give_back(&grant).await?;
    }
    Ok(())
}
