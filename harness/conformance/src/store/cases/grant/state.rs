//! Cases about the state in a grant: whatever version a process knows, it has the whole state afterwards.

use crate::end::{Play, holds};
use crate::store::{CaseContext, Grant, ScriptedProcess, set};
use std::collections::BTreeMap;
use tenure_protocol::attributes::{State, Value};
use tenure_protocol::{AttributeName, SessionId, ToProcess, ToStore, Version};

/// A version of a session that a process may know, with its attributes.
type Known = (Version, BTreeMap<AttributeName, Value>);

pub(super) async fn of_any_version(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let (grant, versions) = history(&mut p, &s).await?;
    for known in versions {
        let next = knowing(&mut q, &s, &known).await?;
        is_state_of(&next, &grant)?;
        q.give_back(&next).await?;
    }
    Ok(())
}

pub(super) async fn of_its_own_release(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let (mut grant, _) = history(&mut p, &s).await?;
    grant = knowing(&mut p, &s, &(grant.version, grant.attributes)).await?;
    let changes = set([("b", None), ("d", Some("4"))]);
    let version = p.release(&grant, changes.clone()).await?;
    let version = version.unwrap_or(Version::NONE);
    crate::store::grant::apply(&mut grant.attributes, &changes);
    let mut next = q.acquire(&s).await?;
    holds(
        next.version == version,
        "the released version",
        next.version,
    )?;
    q.commit(&mut next, set([("a", Some("9")), ("d", None)]))
        .await?;
    q.give_back(&next).await?;
    let last = knowing(&mut p, &s, &(version, grant.attributes)).await?;
    is_state_of(&last, &next)
}

pub(super) async fn after_restart(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let (grant, versions) = history(&mut p, &s).await?;
    ctx.restart().await?;
    let mut p = p.again(&ctx).await?;
    p.enter().await?;
    for known in versions {
        let next = knowing(&mut p, &s, &known).await?;
        is_state_of(&next, &grant)?;
        p.give_back(&next).await?;
    }
    Ok(())
}

pub(super) async fn to_a_waiter(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let mut grant = p.acquire(&s).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    let base = (grant.version, grant.attributes.clone());
    let mut acquire = q.acquire_request(&s);
    acquire.known = Some(base.0);
    q.say_acquire(&acquire).await?;
    q.hears_nothing_of(&s, "another process holds the session")
        .await?;
    p.commit(&mut grant, set([("a", Some("2"))])).await?;
    p.commit(&mut grant, set([("a", None), ("b", Some("3"))]))
        .await?;
    p.give_back(&grant).await?;
    let next = q.granted_from(&s, acquire.request, &base.1, 0).await?;
    is_state_of(&next, &grant)
}

pub(super) async fn without_known(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let (grant, _) = history(&mut p, &s).await?;
    // Repeat it with the former holder, which may have dropped its copy.
    for player in [&mut p, &mut q] {
        let next = player.acquire(&s).await?;
        is_full(&next)?;
        is_state_of(&next, &grant)?;
        player.give_back(&next).await?;
    }
    Ok(())
}

pub(super) async fn of_earlier_life(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let (_, versions) = history(&mut p, &s).await?;
    let first = p.acquire(&s).await?;
    p.ends_session(&first).await?;
    let mut second = p.acquire(&s).await?;
    p.commit(&mut second, set([("new", Some("1"))])).await?;
    p.give_back(&second).await?;
    for known in versions {
        let next = knowing(&mut q, &s, &known).await?;
        is_full(&next)?;
        is_state_of(&next, &second)?;
        q.give_back(&next).await?;
    }
    Ok(())
}

pub(super) async fn of_renamed_away(ctx: CaseContext) -> Play {
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let [mut p, mut q] = ctx.two().await?;
    // This session is older than `s`, so the known version of `s` is greater than its version.
    let mut moving = p.acquire(&t).await?;
    p.commit(&mut moving, set([("a", Some("1"))])).await?;
    let mut first = p.acquire(&s).await?;
    p.commit(&mut first, set([("b", Some("2"))])).await?;
    renamed(&mut p, &mut first, ctx.session("away")).await?;
    renamed(&mut p, &mut moving, s.clone()).await?;
    p.give_back(&moving).await?;
    let next = knowing(&mut q, &s, &(first.version, first.attributes)).await?;
    is_full(&next)?;
    is_state_of(&next, &moving)
}

pub(super) async fn nothing_changed(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let (grant, _) = history(&mut p, &s).await?;
    let next = knowing(&mut p, &s, &(grant.version, grant.attributes)).await?;
    holds(
        next.state == State::Unchanged,
        "that nothing has changed (state 0)",
        &next.state,
    )
}

pub(super) async fn difference(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let (_, mut versions) = history(&mut p, &s).await?;
    versions.pop();
    let before = versions.pop().expect("the version before the last");
    let next = knowing(&mut p, &s, &before).await?;
    let changes = match &next.state {
        State::Delta(delta) => delta.changes().len(),
        _ => 0,
    };
    holds(
        changes == 2,
        "the two attributes that have changed (state 1)",
        &next.state,
    )
}

// ---- what they share ------------------------------------------------------------------------------------------------

/// Writes several versions of a session. Returns the last grant and all versions, of which the last is the current one.
async fn history(p: &mut ScriptedProcess, session: &SessionId) -> Play<(Grant, Vec<Known>)> {
    let mut grant = p.acquire(session).await?;
    let mut versions = Vec::new();
    let deltas = [
        set([("a", Some("1")), ("b", Some("1"))]),
        set([("b", Some("2")), ("c", Some("1"))]),
        set([("a", None)]),
        set([("a", Some("3")), ("c", None)]),
    ];
    for delta in deltas {
        p.commit(&mut grant, delta).await?;
        versions.push((grant.version, grant.attributes.clone()));
    }
    p.give_back(&grant).await?;
    Ok((grant, versions))
}

/// Acquires a session with a known version.
async fn knowing(p: &mut ScriptedProcess, session: &SessionId, known: &Known) -> Play<Grant> {
    let mut acquire = p.acquire_request(session);
    acquire.known = Some(known.0);
    p.say_acquire(&acquire).await?;
    p.granted_from(session, acquire.request, &known.1, 0).await
}

fn is_state_of(next: &Grant, written: &Grant) -> Play {
    let expected = format!("version {}", written.version);
    holds(next.version == written.version, &expected, next.version)?;
    let expected = format!("a state that gives {:?}", written.attributes);
    let seen = (&next.state, &next.attributes);
    holds(next.attributes == written.attributes, &expected, seen)
}

fn is_full(next: &Grant) -> Play {
    let is_full = matches!(next.state, State::Full(_));
    holds(is_full, "all attributes (state 2)", &next.state)
}

/// Renames the session.
async fn renamed(p: &mut ScriptedProcess, grant: &mut Grant, to: SessionId) -> Play {
    let old = grant.hold();
    let (session, token) = (old.session.clone(), old.token);
    p.say(ToStore::Rename { session, token, to }).await?;
    let new = p
        .expect("Gone, and the new grant", |message| match message {
            ToProcess::Gone {
                session,
                token,
                renamed: Some(new),
            } if *session == old.session && *token == old.token => Some(new.clone()),
            _ => None,
        })
        .await?;
    (grant.session, grant.token) = (new.session, new.token);
    Ok(())
}
