//! Cases about fencing: a message under another token than its sender's current one changes nothing.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, Grant, ScriptedProcess, is_state, set};
use tenure_protocol::Version;

cases! { Store:
    "fence/commit/after-the-release", Must ["fence.commit"] after_the_release,
        "A commit after the release of its grant is fenced.";
    "fence/commit/token-before-the-own", Must ["fence.commit"] token_before_the_own,
        "A commit under a process's earlier token is fenced while the process holds the session again.";
    "fence/commit/next-holder", Must ["fence.commit"] next_holder,
        "A commit of the former holder does not change the session of the next holder.";
    "fence/commit/right-token-of-another", Must ["fence.commit"] right_token_of_another,
        "A commit with the current token is fenced if the sender does not hold the session.";
    "fence/commit/session-that-never-was", Must ["fence.commit"] session_that_never_was,
        "A commit to an absent session is fenced and does not create it.";
    "fence/commit/after-the-revocation", Must ["fence.commit", "recall.revokes"] after_the_revocation,
        "A commit that arrives after the grant was revoked is fenced.";
    "fence/commit/former-incarnation", Must ["fence.commit", "connect.new-incarnation"] former_incarnation,
        "A restarted process cannot commit under its earlier token.";
    "fence/commit/restart", Must ["fence.commit", "grant.token-rises"] (Restart) restart,
        "A token that was released before a restart of the store is fenced after it.";
    "fence/destroy/old-token", Must ["destroy.answered-old"] destroy_old_token,
        "A former holder cannot destroy the session.";
    "fence/destroy/nobody-holds-it", Must ["destroy.answered-old"] destroy_nobody_holds_it,
        "A former holder cannot destroy the session even if it is free.";
    "fence/destroy/right-token-of-another", Must ["destroy.answered-old"] destroy_right_token,
        "A destroy with the current token is fenced if the sender does not hold the session.";
    "fence/rename/old-token", Must ["fence.rename"] rename_old_token,
        "A former holder cannot rename the session.";
    "fence/rename/right-token-of-another", Must ["fence.rename"] rename_right_token,
        "A rename with the current token is fenced if the sender does not hold the session.";
}

/// Commits under the token of that grant, and expects to be fenced.
async fn is_fenced(p: &mut ScriptedProcess, grant: &Grant) -> Play {
    p.say_commit(grant, set([("a", Some("fenced"))])).await?;
    p.fenced(&grant.session, grant.token).await
}

async fn after_the_release(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    is_fenced(&mut p, &grant).await?;
    is_state(&p.acquire(&grant.session).await?, &[("a", "1")])
}

async fn token_before_the_own(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let old = p.acquire(&ctx.session("s")).await?;
    p.release(&old, set([])).await?;
    let grant = p.acquire(&old.session).await?;
    is_fenced(&mut p, &old).await?;
    p.still_has(grant, &[]).await
}

/// Returns two processes: `p` held the session before, and `q` holds it now.
async fn handed_off(ctx: &CaseContext) -> Play<([ScriptedProcess; 2], Grant, Grant)> {
    let [mut p, mut q] = ctx.two().await?;
    let mut old = p.acquire(&ctx.session("s")).await?;
    p.commit(&mut old, set([("a", Some("1"))])).await?;
    p.release(&old, set([])).await?;
    let grant = q.acquire(&old.session).await?;
    Ok(([p, q], old, grant))
}

async fn next_holder(ctx: CaseContext) -> Play {
    let ([mut p, mut q], old, grant) = handed_off(&ctx).await?;
    is_fenced(&mut p, &old).await?;
    q.still_has(grant, &[("a", "1")]).await
}

async fn right_token_of_another(ctx: CaseContext) -> Play {
    let ([mut p, mut q], _, grant) = handed_off(&ctx).await?;
    is_fenced(&mut p, &grant).await?;
    q.still_has(grant, &[("a", "1")]).await
}

async fn session_that_never_was(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    grant.session = ctx.session("never");
    is_fenced(&mut p, &grant).await?;
    let found = p.acquire(&grant.session).await?;
    holds(found.version == Version::NONE, "no session", found.version)?;
    is_state(&found, &[])
}

async fn after_the_revocation(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let request = q.ask(&grant.session).await?;
    let info = p.recalled_for_good(&grant).await?;
    ctx.may_wait("a recall", info.deadline_ms)?;
    let (lost, next) = tokio::join!(
        p.late(&grant, info.deadline_ms),
        q.granted_after(&grant.session, request, info.deadline_ms),
    );
    lost?;
    is_fenced(&mut p, &grant).await?;
    q.still_has(next?, &[]).await
}

async fn former_incarnation(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let request = q.ask(&grant.session).await?;
    p.recalled(&grant).await?;
    let mut born = p.reborn(&ctx).await?;
    born.enter().await?;
    let next = q.granted(&grant.session, request).await?;
    is_fenced(&mut born, &grant).await?;
    q.is_not_recalled(&next).await?;
    q.still_has(next, &[]).await
}

async fn restart(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let old = p.acquire(&ctx.session("s")).await?;
    p.release(&old, set([("a", Some("1"))])).await?;
    ctx.restart().await?;
    let mut q = ctx.player("q").await?;
    let grant = q.acquire(&old.session).await?;
    holds(grant.token > old.token, "a later token", grant.token)?;
    let mut p = p.back_without(&ctx, &old).await?;
    is_fenced(&mut p, &old).await?;
    q.still_has(grant, &[("a", "1")]).await
}

async fn destroy_old_token(ctx: CaseContext) -> Play {
    let ([mut p, mut q], old, grant) = handed_off(&ctx).await?;
    p.say_destroy(&old).await?;
    p.fenced(&old.session, old.token).await?;
    q.still_has(grant, &[("a", "1")]).await
}

async fn destroy_nobody_holds_it(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    p.say_destroy(&grant).await?;
    p.fenced(&grant.session, grant.token).await?;
    is_state(&p.acquire(&grant.session).await?, &[("a", "1")])
}

async fn destroy_right_token(ctx: CaseContext) -> Play {
    let ([mut p, mut q], _, grant) = handed_off(&ctx).await?;
    p.say_destroy(&grant).await?;
    p.fenced(&grant.session, grant.token).await?;
    q.still_has(grant, &[("a", "1")]).await
}

async fn rename_old_token(ctx: CaseContext) -> Play {
    let ([mut p, mut q], old, grant) = handed_off(&ctx).await?;
    let to = ctx.session("to");
    p.say_rename(&old, &to).await?;
    p.fenced(&old.session, old.token).await?;
    q.still_has(grant, &[("a", "1")]).await?;
    is_state(&p.acquire(&to).await?, &[])
}

async fn rename_right_token(ctx: CaseContext) -> Play {
    let ([mut p, mut q], _, grant) = handed_off(&ctx).await?;
    let to = ctx.session("to");
    p.say_rename(&grant, &to).await?;
    p.fenced(&grant.session, grant.token).await?;
    q.still_has(grant, &[("a", "1")]).await?;
    is_state(&p.acquire(&to).await?, &[])
}
