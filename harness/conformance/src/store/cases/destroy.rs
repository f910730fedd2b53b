//! Cases about destroy: a session ends durably and for all processes, and does not return.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, Grant, ScriptedProcess, set};
use tenure_protocol::message::{GrantRef, Refusal, Revocation};
use tenure_protocol::{SessionId, ToProcess, ToStore, Version};

cases! { Store:
    "destroy/answered/gone", Must ["destroy.answered"] gone_and_empty,
        "A destroy under the current token is answered with Gone, and the session no longer exists.";
    "destroy/answered/never-written", Must ["destroy.answered"] never_written,
        "A session that was locked but never written is destroyed like any other.";
    "destroy/answered/again", Must ["destroy.answered-old"] answered_again,
        "A repeated destroy is answered with Gone again.";
    "destroy/old-token/held-by-another", Must ["destroy.answered-old"] old_while_held,
        "A destroy under an old token is fenced while another process holds the session.";
    "destroy/old-token/free", Must ["destroy.answered-old"] old_while_free,
        "A destroy under an old token is fenced while the session exists and is free.";
    "destroy/old-token/next-life", Must ["destroy.answered-old", "destroy.stays"] old_in_next_life,
        "A repeated destroy does not end the next life of the session.";
    "destroy/stays/late-commit", Must ["destroy.stays"] late_commit,
        "A commit under an earlier token does not recreate a destroyed session.";
    "destroy/stays/late-release", Must ["destroy.stays"] late_release,
        "A release under an earlier token does not recreate a destroyed session.";
    "destroy/stays/late-write-in-next-life", Must ["destroy.stays"] late_in_next_life,
        "Writes under an earlier token do not reach the next life of a destroyed session.";
    "destroy/waiters/destroyed", Must ["destroy.waiters"] waiters_of_destroyed,
        "When a session is destroyed, all its waiters are notified that it is gone.";
    "destroy/waiters/renamed", Must ["destroy.waiters"] waiters_of_renamed,
        "When a session is renamed, all its waiters are notified that it is gone.";
    "destroy/durable/restart", Must ["commit.durable"] (Restart) durable,
        "After a destroy was acknowledged, the session stays destroyed even if the store is killed.";
}

pub(super) async fn say_destroy(p: &mut ScriptedProcess, hold: &GrantRef) -> Play {
    let GrantRef { session, token } = hold.clone();
    p.say(ToStore::Destroy { session, token }).await
}

pub(super) async fn say_rename(p: &mut ScriptedProcess, hold: &GrantRef, to: &SessionId) -> Play {
    let (GrantRef { session, token }, to) = (hold.clone(), to.clone());
    p.say(ToStore::Rename { session, token, to }).await
}

/// Waits for the `Gone` of that grant. Returns its new grant, if it was renamed.
pub(super) async fn gone(p: &mut ScriptedProcess, hold: &GrantRef) -> Play<Option<GrantRef>> {
    p.expect(&format!("Gone of {hold:?}"), |message| match message {
        ToProcess::Gone {
            session,
            token,
            renamed,
        } if *session == hold.session && *token == hold.token => Some(renamed.clone()),
        _ => None,
    })
    .await
}

/// Waits until the store reports that the token is fenced.
pub(super) async fn fenced(p: &mut ScriptedProcess, hold: &GrantRef) -> Play {
    let why = Revocation::Fenced;
    let revoked = ToProcess::Revoked {
        session: hold.session.clone(),
        token: hold.token,
        why,
        limit: None,
    };
    p.expect(&format!("{revoked:?}"), |message| {
        (*message == revoked).then_some(())
    })
    .await
}

/// Locks the session, and expects it to be empty.
pub(super) async fn is_new(p: &mut ScriptedProcess, session: &SessionId) -> Play<Grant> {
    let grant = p.acquire(session).await?;
    let is_so = grant.attributes.is_empty() && grant.version == Version::NONE;
    holds(is_so, "version [0, 0] and no attributes", &grant)?;
    Ok(grant)
}

/// Destroys the session, and waits for the confirmation.
async fn destroys(p: &mut ScriptedProcess, hold: &GrantRef) -> Play {
    say_destroy(p, hold).await?;
    let renamed = gone(p, hold).await?;
    holds(renamed.is_none(), "Gone without a new grant", renamed)
}

/// Returns a grant of a session with one attribute.
async fn written(p: &mut ScriptedProcess, session: &SessionId) -> Play<Grant> {
    let mut grant = p.acquire(session).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    Ok(grant)
}

async fn gone_and_empty(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    destroys(&mut p, &grant.hold()).await?;
    // The session is also free again.
    is_new(&mut q, &s).await.map(drop)
}

async fn never_written(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    destroys(&mut p, &grant.hold()).await?;
    is_new(&mut q, &s).await.map(drop)
}

async fn answered_again(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = written(&mut p, &ctx.session("s")).await?;
    destroys(&mut p, &grant.hold()).await?;
    destroys(&mut p, &grant.hold()).await?;
    // The same holds on the next connection.
    let mut again = p.again(&ctx).await?;
    again.enter_with(vec![grant.hold()], vec![]).await?;
    destroys(&mut again, &grant.hold()).await
}

async fn old_while_held(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    p.release(&grant, set([])).await?;
    let mut held = q.acquire(&s).await?;
    say_destroy(&mut p, &grant.hold()).await?;
    fenced(&mut p, &grant.hold()).await?;
    q.commit(&mut held, set([("b", Some("2"))])).await?;
    holds(held.attributes.len() == 2, "a and b", &held.attributes)
}

async fn old_while_free(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    p.release(&grant, set([])).await?;
    say_destroy(&mut p, &grant.hold()).await?;
    fenced(&mut p, &grant.hold()).await?;
    let next = q.acquire(&s).await?;
    holds(
        next.text("a").as_deref() == Some("1"),
        "a is 1",
        &next.attributes,
    )
}

async fn old_in_next_life(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    destroys(&mut p, &grant.hold()).await?;
    let mut next = is_new(&mut q, &s).await?;
    q.commit(&mut next, set([("b", Some("2"))])).await?;
    say_destroy(&mut p, &grant.hold()).await?;
    fenced(&mut p, &grant.hold()).await?;
    q.commit(&mut next, set([("c", Some("3"))])).await.map(drop)
}

async fn late_commit(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    destroys(&mut p, &grant.hold()).await?;
    p.say_commit(&grant, set([("a", Some("late"))])).await?;
    fenced(&mut p, &grant.hold()).await?;
    is_new(&mut q, &s).await.map(drop)
}

async fn late_release(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    destroys(&mut p, &grant.hold()).await?;
    let version = p.release(&grant, set([("a", Some("late"))])).await?;
    holds(version.is_none(), "Released without a version", version)?;
    is_new(&mut q, &s).await.map(drop)
}

async fn late_in_next_life(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    destroys(&mut p, &grant.hold()).await?;
    let next = is_new(&mut q, &s).await?;
    holds(
        next.token > grant.token,
        "a later token in the next life",
        next.token,
    )?;
    p.say_commit(&grant, set([("a", Some("late"))])).await?;
    fenced(&mut p, &grant.hold()).await?;
    let version = p.release(&grant, set([("a", Some("late"))])).await?;
    holds(version.is_none(), "Released without a version", version)?;
    q.release(&next, set([("b", Some("2"))])).await?;
    let last = p.acquire(&s).await?;
    holds(
        last.text("a").is_none() && last.attributes.len() == 1,
        "b alone",
        &last.attributes,
    )
}

async fn waiters_of_destroyed(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    let waits = [q.ask(&s).await?, r.ask(&s).await?];
    q.queued(&s, waits[0]).await?;
    r.queued(&s, waits[1]).await?;
    say_destroy(&mut p, &grant.hold()).await?;
    gone(&mut p, &grant.hold()).await?;
    for (player, request) in [(&mut q, waits[0]), (&mut r, waits[1])] {
        let why = player.refused(&s, request).await?;
        holds(why == Refusal::Gone, "Refused, gone", why)?;
        player.is_quiet("the request has ended").await?;
    }
    Ok(())
}

async fn waiters_of_renamed(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let grant = written(&mut p, &s).await?;
    let waits = [q.ask(&s).await?, r.ask(&s).await?];
    q.queued(&s, waits[0]).await?;
    r.queued(&s, waits[1]).await?;
    say_rename(&mut p, &grant.hold(), &t).await?;
    gone(&mut p, &grant.hold()).await?;
    for (player, request) in [(&mut q, waits[0]), (&mut r, waits[1])] {
        let why = player.refused(&s, request).await?;
        holds(why == Refusal::Gone, "Refused, gone", why)?;
    }
    // The old id is free for the next request.
    is_new(&mut q, &s).await.map(drop)
}

async fn durable(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    destroys(&mut p, &grant.hold()).await?;
    ctx.restart().await?;
    let mut p = p.again(&ctx).await?;
    p.enter().await?;
    is_new(&mut p, &s).await.map(drop)
}
