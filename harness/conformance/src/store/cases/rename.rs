//! Cases about rename: the session moves to a new id with its holder, durably, under a new token.

use super::destroy::{fenced, gone, is_new, say_destroy, say_rename};
use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, Grant, ScriptedProcess, set};
use tenure_protocol::message::{GrantRef, Reason, Refusal};
use tenure_protocol::{SessionId, ToProcess};

cases! { Store:
    "rename/moves/attributes", Must ["rename.moves"] moves,
        "A renamed session has its attributes and version under the new id, and none under the old one.";
    "rename/moves/holder", Must ["rename.moves"] moves_holder,
        "The renaming process holds the session under the new id, and the old id is free.";
    "rename/token/of-old-id", Must ["rename.new-token"] new_token,
        "The token of a renamed session is greater than that of its earlier grant, which is void.";
    "rename/token/of-new-id", Must ["rename.new-token"] token_of_new_id,
        "The token of a renamed session is greater than all tokens of an earlier life of the new id.";
    "rename/taken/written", Must ["rename.taken", "rename.moves"] taken_written,
        "A rename to the id of an existing session is refused and changes nothing.";
    "rename/taken/held", Must ["rename.taken"] taken_held,
        "A rename to an id that is only held is refused, and both grants stay.";
    "rename/taken/waited-for", Must ["rename.taken"] taken_waited_for,
        "A rename to an id that others wait for is refused, and their places stay.";
    "rename/taken/itself", Must ["rename.taken"] taken_itself,
        "A rename of a session to its own id is refused.";
    "rename/repeated/same-connection", Must ["rename.repeated"] repeated,
        "A repeated rename is answered with the same Gone.";
    "rename/repeated/next-connection", Must ["rename.repeated"] repeated_later,
        "A rename that is repeated on the next connection is answered with the same Gone.";
    "rename/recall/cleared", Must ["recall.ends-with-grant"] recall_cleared,
        "A recalled session is no longer recalled after its rename.";
    "rename/recall/not-revoked", Must ["recall.ends-with-grant"] not_revoked,
        "The deadline of a recall does not revoke a session that has been renamed since.";
    "rename/durable/restart", Must ["commit.durable"] (Restart) durable,
        "After a rename was acknowledged, the session keeps its new id, holder and token even if the store is killed.";
}

/// Returns a grant of a session with one attribute.
async fn written(p: &mut ScriptedProcess, session: &SessionId) -> Play<Grant> {
    let mut grant = p.acquire(session).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    Ok(grant)
}

/// Renames the session, and waits for the confirmation. Returns the new grant.
async fn renames(p: &mut ScriptedProcess, grant: &Grant, to: &SessionId) -> Play<Grant> {
    say_rename(p, &grant.hold(), to).await?;
    let renamed = gone(p, &grant.hold()).await?;
    let Some(GrantRef { session, token }) = renamed.filter(|renamed| renamed.session == *to) else {
        return Err(p.failed("Gone with a grant under the new id", "another"));
    };
    let grant = grant.clone();
    Ok(Grant {
        session,
        token,
        ..grant
    })
}

async fn is_taken(p: &mut ScriptedProcess, grant: &Grant, to: &SessionId) -> Play {
    say_rename(p, &grant.hold(), to).await?;
    let not_renamed = ToProcess::NotRenamed {
        session: grant.session.clone(),
        token: grant.token,
        why: Refusal::IdTaken,
    };
    let expected = format!("{not_renamed:?}");
    p.expect(&expected, |message| (*message == not_renamed).then_some(()))
        .await
}

async fn moves(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let grant = written(&mut p, &s).await?;
    let renamed = renames(&mut p, &grant, &t).await?;
    is_new(&mut q, &s).await?;
    let version = p.release(&renamed, set([])).await?;
    holds(
        version == Some(grant.version),
        "the session's former version",
        version,
    )?;
    let next = q.acquire(&t).await?;
    let is_so = next.attributes == grant.attributes && next.version == grant.version;
    holds(is_so, "its attributes and its version", &next)
}

async fn moves_holder(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let grant = written(&mut p, &s).await?;
    let mut renamed = renames(&mut p, &grant, &t).await?;
    let request = q.ask(&t).await?;
    p.recalled(&renamed).await?;
    q.is_quiet("the session is held under its new id").await?;
    p.commit(&mut renamed, set([("b", Some("2"))])).await?;
    p.release(&renamed, set([])).await?;
    let next = q.granted(&t, request).await?;
    holds(
        next.attributes == renamed.attributes,
        "a and b",
        &next.attributes,
    )
}

async fn new_token(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let grant = written(&mut p, &s).await?;
    let mut renamed = renames(&mut p, &grant, &t).await?;
    holds(renamed.token > grant.token, "a later token", renamed.token)?;
    let old = Grant {
        token: grant.token,
        ..renamed.clone()
    };
    for grant in [grant, old] {
        p.say_commit(&grant, set([("a", Some("late"))])).await?;
        fenced(&mut p, &grant.hold()).await?;
    }
    p.commit(&mut renamed, set([("b", Some("2"))]))
        .await
        .map(drop)
}

async fn token_of_new_id(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let grant = written(&mut p, &s).await?;
    let mut last = grant.token;
    // Create some lives of the new id, all of them later than the grant.
    for _ in 0..3 {
        let life = written(&mut q, &t).await?;
        holds(life.token > last, "a later token", life.token)?;
        last = life.token;
        say_destroy(&mut q, &life.hold()).await?;
        gone(&mut q, &life.hold()).await?;
    }
    let renamed = renames(&mut p, &grant, &t).await?;
    holds(
        renamed.token > last,
        "a later token than all before",
        renamed.token,
    )
}

async fn taken_written(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let mut grant = written(&mut p, &s).await?;
    let there = q.acquire(&t).await?;
    q.release(&there, set([("b", Some("2"))])).await?;
    is_taken(&mut p, &grant, &t).await?;
    let there = q.acquire(&t).await?;
    holds(
        there.text("b").as_deref() == Some("2"),
        "b is 2",
        &there.attributes,
    )?;
    p.commit(&mut grant, set([("c", Some("3"))]))
        .await
        .map(drop)
}

async fn taken_held(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let mut grant = written(&mut p, &s).await?;
    let mut held = q.acquire(&t).await?;
    is_taken(&mut p, &grant, &t).await?;
    q.commit(&mut held, set([("b", Some("2"))])).await?;
    p.commit(&mut grant, set([("c", Some("3"))]))
        .await
        .map(drop)
}

async fn taken_waited_for(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let grant = written(&mut p, &s).await?;
    let held = q.acquire(&t).await?;
    let request = r.ask(&t).await?;
    r.queued(&t, request).await?;
    is_taken(&mut p, &grant, &t).await?;
    r.is_quiet("nothing has happened").await?;
    q.release(&held, set([])).await?;
    r.granted(&t, request).await.map(drop)
}

async fn taken_itself(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let mut grant = written(&mut p, &s).await?;
    is_taken(&mut p, &grant, &s).await?;
    p.commit(&mut grant, set([("b", Some("2"))]))
        .await
        .map(drop)
}

async fn repeated(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let t = ctx.session("t");
    let grant = written(&mut p, &ctx.session("s")).await?;
    let mut renamed = renames(&mut p, &grant, &t).await?;
    let again = renames(&mut p, &grant, &t).await?;
    holds(
        again.hold() == renamed.hold(),
        "the same grant",
        again.hold(),
    )?;
    p.commit(&mut renamed, set([("b", Some("2"))])).await?;
    // The answer is still the same after the session was used.
    let again = renames(&mut p, &grant, &t).await?;
    holds(
        again.hold() == renamed.hold(),
        "the same grant",
        again.hold(),
    )
}

async fn repeated_later(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let t = ctx.session("t");
    let grant = written(&mut p, &ctx.session("s")).await?;
    let mut renamed = renames(&mut p, &grant, &t).await?;
    // Continue as if the answer had been lost.
    let mut p = p.again(&ctx).await?;
    p.enter_with(vec![grant.hold()], vec![]).await?;
    let again = renames(&mut p, &grant, &t).await?;
    holds(
        again.hold() == renamed.hold(),
        "the same grant",
        again.hold(),
    )?;
    p.commit(&mut renamed, set([("b", Some("2"))]))
        .await
        .map(drop)
}

/// Returns a grant that was recalled and then renamed, and the time that the recall left.
async fn recalled_and_renamed(ctx: &CaseContext) -> Play<(ScriptedProcess, Grant, u64)> {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = written(&mut p, &s).await?;
    let request = q.ask(&s).await?;
    let info = p.recalled(&grant).await?;
    let renamed = renames(&mut p, &grant, &ctx.session("t")).await?;
    q.refused(&s, request).await?;
    Ok((p, renamed, info.deadline_ms))
}

async fn recall_cleared(ctx: CaseContext) -> Play {
    let (mut p, ..) = recalled_and_renamed(&ctx).await?;
    let recalls = p.recalls().await?;
    // A store in which sessions expire may recall for that reason by now.
    let is_so = recalls
        .iter()
        .all(|(_, info)| info.reason == Reason::Expiry);
    holds(is_so, "Alive without the recall", recalls)
}

async fn not_revoked(ctx: CaseContext) -> Play {
    let (mut p, mut renamed, deadline_ms) = recalled_and_renamed(&ctx).await?;
    ctx.may_wait("a recall", deadline_ms)?;
    super::expiry::live([&mut p], deadline_ms).await?;
    p.commit(&mut renamed, set([("b", Some("2"))]))
        .await
        .map(drop)
}

async fn durable(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let grant = written(&mut p, &s).await?;
    let mut renamed = renames(&mut p, &grant, &t).await?;
    ctx.restart().await?;
    let mut p = p.again(&ctx).await?;
    let welcome = p.enter_with(vec![renamed.hold()], vec![]).await?;
    holds(
        welcome.holds == [renamed.hold()],
        "the grant under the new id",
        &welcome,
    )?;
    p.commit(&mut renamed, set([("b", Some("2"))])).await?;
    is_new(&mut p, &s).await?;
    p.release(&renamed, set([])).await?;
    let next = p.acquire(&t).await?;
    holds(
        next.attributes == renamed.attributes,
        "a and b",
        &next.attributes,
    )
}
