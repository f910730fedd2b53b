//! Cases about time: refusing an old token does not depend on any clock.
//!
//! Deliberately absent is `time.no-wall-clock`, because the clock of a store cannot be set from outside.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, Grant, ScriptedProcess, set};
use tenure_protocol::Delta;

cases! { Store:
    "time/fence/at-once", Must ["fence.commit"] at_once,
        "A commit under the old token is refused from the moment in which the grant has ended.";
    "time/fence/next-grant", Must ["fence.commit"] next_grant,
        "A process that holds the session again cannot commit under its earlier token.";
    "time/fence/after-lease", Must ["fence.commit"] after_lease,
        "A commit under a token whose lease has ended is refused, and the next holder's state stays.";
    "time/fence/after-restart", Must ["fence.commit"] (Restart) after_restart,
        "A restarted store refuses a token that had ended before, and accepts one that had not.";
    "time/fence/nobody-else", Must ["fence.commit"] nobody_else,
        "A commit under a released token is also refused if the session has been free since.";
}

async fn at_once(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let old = p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    p.release(&old, set([("a", Some("1"))])).await?;
    p.is_fenced(&old, late()).await?;
    let next = q.granted(&s, request).await?;
    is_unharmed(&mut q, next, &[("a", "1")]).await
}

async fn next_grant(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let old = p.acquire(&s).await?;
    p.release(&old, set([("a", Some("1"))])).await?;
    let next = p.acquire(&s).await?;
    p.is_fenced(&old, late()).await?;
    let mut of_now = next.clone();
    // Use the right version, too.
    of_now.token = old.token;
    p.is_fenced(&of_now, late()).await?;
    is_unharmed(&mut p, next, &[("a", "1")]).await
}

async fn nobody_else(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let mut old = p.acquire(&s).await?;
    let version = p.release(&old, set([("a", Some("1"))])).await?;
    old.version = version.unwrap_or(old.version);
    p.is_fenced(&old, late()).await?;
    let next = q.acquire(&s).await?;
    is_unharmed(&mut q, next, &[("a", "1")]).await
}

async fn after_lease(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let mut old = p.acquire(&s).await?;
    p.commit(&mut old, set([("a", Some("1"))])).await?;
    let lease_ms = p.lease_ms;
    ctx.may_wait("a lease", lease_ms)?;
    p.cut();
    let request = q.waits_for(&s).await?;
    let next = q
        .granted_from(&s, request, &<_>::default(), lease_ms)
        .await?;
    let mut again = ScriptedProcess::connect(&ctx, "p", 1, 2).await?;
    again.enter().await?;
    again.is_fenced(&old, late()).await?;
    is_unharmed(&mut q, next, &[("a", "1")]).await
}

async fn after_restart(ctx: CaseContext) -> Play {
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let [mut p, mut q] = ctx.two().await?;
    let old = p.acquire(&s).await?;
    let mut kept = p.acquire(&t).await?;
    p.release(&old, set([("a", Some("1"))])).await?;
    let next = q.acquire(&s).await?;
    ctx.restart().await?;
    let mut p = p.again(&ctx).await?;
    p.enter_with(vec![kept.hold()], Vec::new()).await?;
    p.is_fenced(&old, late()).await?;
    p.commit(&mut kept, set([("b", Some("2"))])).await?;
    let mut q = q.again(&ctx).await?;
    q.enter_with(vec![next.hold()], Vec::new()).await?;
    is_unharmed(&mut q, next, &[("a", "1")]).await
}

fn late() -> Delta {
    set([("a", Some("late"))])
}

/// Writes one more attribute as the holder, and expects exactly the former state and that attribute.
async fn is_unharmed(
    holder: &mut ScriptedProcess,
    mut grant: Grant,
    before: &[(&str, &str)],
) -> Play {
    holder.commit(&mut grant, set([("own", Some("1"))])).await?;
    holder.give_back(&grant).await?;
    let next = holder.acquire(&grant.session).await?;
    let is_so = before
        .iter()
        .all(|(name, text)| next.text(name).as_deref() == Some(text));
    let is_all = next.attributes.len() == before.len() + 1;
    holds(
        is_so && is_all,
        "the session without the late write",
        &next.attributes,
    )
}
