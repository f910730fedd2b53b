//! Cases about grants: one at a time, at once if the session is free, with the state, and with rising tokens.

mod again;
mod durable;
mod state;
mod token;

use crate::case::cases;
use crate::end::{CaseEnd, Play, holds};
use crate::store::{CaseContext, Grant, ScriptedProcess, set};
use tenure_protocol::attributes::State;
use tenure_protocol::{SessionId, Version};

cases! { Store:
    "grant/free/at-once", Must ["grant.at-once"] free_is_at_once,
        "A free session is granted at once.";
    "grant/free/given-back", Must ["grant.at-once"] given_back_is_at_once,
        "A released session without waiters is granted at once to any process that requests it.";
    "grant/exclusive/second-waits", Must ["grant.exclusive"] second_waits,
        "A second process gets a session only after the first has released it.";
    "grant/exclusive/nothing-lost", Must ["grant.exclusive"] nothing_lost,
        "When three processes take turns as fast as they can, each sees the changes of the previous holder.";
    "grant/exclusive/holder-is-away", Must ["grant.exclusive"] holder_is_away,
        "The session of a holder that has lost its connection is not granted to another.";
    "grant/exclusive/after-restart", Must ["grant.exclusive", "grant.durable"] (Restart) durable::excludes,
        "A restarted store does not grant a session that is held.";
    "grant/token/rises", Must ["grant.token-rises"] token::rises,
        "Each grant of a session has a greater token than the grant before, whichever process gets it.";
    "grant/token/of-unwritten", Must ["grant.token-rises"] token::of_unwritten,
        "Tokens also rise if the session was never written.";
    "grant/token/across-lives", Must ["grant.token-rises"] token::across_lives,
        "The token of a session's second life is greater than all tokens of its first life.";
    "grant/token/across-restart", Must ["grant.token-rises"] (Restart) token::across_restart,
        "Tokens after a restart of the store are greater than before, also for a session that was never written.";
    "grant/durable/free", Must ["grant.durable"] (Restart) durable::free,
        "A store that is killed right after granting a free session knows the grant when it is back.";
    "grant/durable/passed-on", Must ["grant.durable"] (Restart) durable::passed_on,
        "A store that is killed right after a handoff knows the new holder and its state when it is back.";
    "grant/request/newest", Must ["grant.names-request"] again::names_newest,
        "After a cancel and a new request, the grant names the new request.";
    "grant/again/sent-twice", Must ["grant.same-again", "end.once"] again::sent_twice,
        "A request that is sent twice in a row is granted once: both answers have the same token.";
    "grant/again/by-the-holder", Must ["grant.same-again", "grant.names-request"] again::by_the_holder,
        "A holder that repeats its request, or sends a greater one, receives its grant again.";
    "grant/again/crosses-grant", Must ["grant.same-again", "end.once"] again::crosses_grant,
        "A waiter whose repeated request crosses its grant gets one grant.";
    "grant/again/under-recall", Must ["grant.same-again"] again::under_recall,
        "A recalled holder that repeats its request receives its grant again and is not queued.";
    "grant/again/after-commit", Must ["grant.same-again", "grant.full"] again::after_commit,
        "A holder that repeats its request without a known version receives everything that it has committed.";
    "grant/late/while-waiting", Must ["grant.no-late-request"] again::late_while_waiting,
        "A lower request of a waiting process is not answered and does not affect the wait.";
    "grant/late/while-holding", Must ["grant.no-late-request"] again::late_while_holding,
        "A lower request of the holder is not answered and does not affect the grant.";
    "grant/state/of-any-version", Must ["grant.state"] state::of_any_version,
        "Whichever version a process names as known, it has the current state after the grant.";
    "grant/state/of-its-own-release", Must ["grant.state"] state::of_its_own_release,
        "A process that names the version of its own release has the current state after the grant.";
    "grant/state/after-restart", Must ["grant.state"] (Restart) state::after_restart,
        "A process that names a version from before a restart of the store has the current state after the grant.";
    "grant/state/to-a-waiter", Must ["grant.state"] state::to_a_waiter,
        "A waiter receives the state at the time of its grant, not at the time of its request.";
    "grant/state/without-known", Must ["grant.full"] state::without_known,
        "A process that names no known version receives all attributes.";
    "grant/state/of-an-earlier-life", Must ["grant.full"] state::of_earlier_life,
        "A process that names a version of an earlier life receives all attributes, and none of the earlier life.";
    "grant/state/of-one-renamed-away", Must ["grant.full"] state::of_renamed_away,
        "A process that names a version of a session that had this id before receives all attributes.";
    "grant/state/nothing-changed", Should ["grant.smallest-state"] state::nothing_changed,
        "A process that names the current version receives the state unchanged.";
    "grant/state/difference", Should ["grant.smallest-state"] state::difference,
        "A process that names the previous version receives only the attributes that have changed since.";
    "grant/state/new-is-empty", Must ["grant.new-session"] new_is_empty,
        "A session that was never written has no attributes.";
    "grant/new/given-back", Must ["grant.new-session"] new_given_back,
        "A session that was held but never written is granted as a new one.";
    "grant/new/destroyed", Must ["grant.new-session", "grant.full"] new_destroyed,
        "A destroyed session is granted as a new one, even to a process that names its last version.";
    "grant/give-back/taking-turns", Should ["grant.give-back"] taking_turns,
        "When two processes take turns, a grant eventually contains the hint to give it back when idle.";
}

async fn free_is_at_once(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire_at_once(&ctx.session("s")).await?;
    holds(grant.recall.is_none(), "no recall", grant.recall)
}

async fn given_back_is_at_once(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire_at_once(&s).await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    let grant = q.acquire_at_once(&s).await?;
    q.give_back(&grant).await?;
    let grant = q.acquire_at_once(&s).await?;
    q.give_back(&grant).await?;
    p.acquire_at_once(&s).await.map(drop)
}

async fn second_waits(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    p.recalled(&grant).await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    let next = q.granted(&s, request).await?;
    holds(next.token > grant.token, "a later token", next.token)?;
    holds(
        next.text("a").as_deref() == Some("1"),
        "the written changes",
        &next.attributes,
    )
}

async fn nothing_lost(ctx: CaseContext) -> Play {
    const TURNS: u32 = 8;
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let (p, q, r) = tokio::join!(
        counts(&mut p, &s, TURNS),
        counts(&mut q, &s, TURNS),
        counts(&mut r, &s, TURNS)
    );
    let last = p?.max(q?).max(r?);
    holds(last == 3 * TURNS, "that all were counted", last)
}

/// Increments the session's counter in `turns` separate grants. Returns the last count.
async fn counts(player: &mut ScriptedProcess, session: &SessionId, turns: u32) -> Play<u32> {
    let mut count = 0;
    for _ in 0..turns {
        let grant = player.acquire(session).await?;
        let text = grant.text("count").unwrap_or_else(|| "0".to_owned());
        count = 1 + text
            .parse::<u32>()
            .map_err(|_| CaseEnd::failed("a count", &text))?;
        player
            .release(&grant, set([("count", Some(count.to_string().as_str()))]))
            .await?;
    }
    Ok(count)
}

async fn holder_is_away(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let mut again = p.again(&ctx).await?;
    let grant = p.acquire(&s).await?;
    p.last_words().await?;
    let request = q.waits_for(&s).await?;
    again.enter_with(vec![grant.hold()], Vec::new()).await?;
    again.release(&grant, set([("a", Some("1"))])).await?;
    let next = q.granted(&s, request).await?;
    holds(
        next.text("a").as_deref() == Some("1"),
        "what the holder wrote when it was back",
        &next.attributes,
    )
}

async fn new_is_empty(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    is_new(&grant)
}

async fn new_given_back(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    p.give_back(&grant).await?;
    is_new(&q.acquire(&s).await?)
}

async fn new_destroyed(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let mut grant = p.acquire(&s).await?;
    let known = p.commit(&mut grant, set([("a", Some("1"))])).await?;
    p.ends_session(&grant).await?;
    let next = q.acquire(&s).await?;
    is_new(&next)?;
    q.give_back(&next).await?;
    let mut acquire = p.acquire_request(&s);
    acquire.known = Some(known);
    is_new(&p.grant_at_once(acquire).await?)
}

/// Expects a grant of an absent session.
fn is_new(grant: &Grant) -> Play {
    let is_empty = matches!(&grant.state, State::Full(delta) if delta.is_empty());
    holds(is_empty, "Full, and no attributes", &grant.state)?;
    holds(
        grant.version == Version::NONE,
        "version [0, 0]",
        grant.version,
    )
}

async fn taking_turns(ctx: CaseContext) -> Play {
    const TURNS: usize = 16;
    let s = ctx.session("s");
    let mut players = ctx.two().await?;
    for turn in 0..TURNS {
        let player = &mut players[turn % 2];
        let grant = player.acquire(&s).await?;
        if grant.give_back {
            return Ok(());
        }
        player.release(&grant, set([("a", Some("1"))])).await?;
    }
    let expected = format!("give back when idle in one of {TURNS} grants");
    Err(CaseEnd::told(expected, "no grant contained it"))
}
