//! Cases about durability: a store knows a grant that it has sent until the grant ends.

use crate::end::{Play, holds};
use crate::store::{CaseContext, Grant, ScriptedProcess, set};

pub(super) async fn excludes(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    ctx.restart().await?;
    let mut q = q.again(&ctx).await?;
    q.enter().await?;
    let request = q.waits_for(&s).await?;
    let mut p = is_known(&ctx, &p, &grant).await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    let next = q.granted(&s, request).await?;
    holds(next.token > grant.token, "a later token", next.token)?;
    holds(
        next.text("a").as_deref() == Some("1"),
        "what the holder wrote after the restart",
        &next.attributes,
    )
}

pub(super) async fn free(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&s).await?;
    ctx.restart().await?;
    let mut p = is_known(&ctx, &p, &grant).await?;
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

pub(super) async fn passed_on(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    // Kill the store at the first sign of the new grant: its record must have been durable before.
    p.say_release(&grant, set([("a", Some("1"))]), None).await?;
    let mut next = q.granted(&s, request).await?;
    ctx.restart().await?;
    let mut q = is_known(&ctx, &q, &next).await?;
    q.commit(&mut next, set([("b", Some("2"))])).await?;
    q.give_back(&next).await?;
    let mut p = p.again(&ctx).await?;
    p.enter().await?;
    let last = p.acquire(&s).await?;
    holds(
        last.attributes == next.attributes,
        "what both have written",
        &last.attributes,
    )
}

/// Reconnects the holder, and expects its grant to be known.
async fn is_known(
    ctx: &CaseContext,
    old: &ScriptedProcess,
    grant: &Grant,
) -> Play<ScriptedProcess> {
    let mut again = old.again(ctx).await?;
    let hold = grant.hold();
    let welcome = again.enter_with(vec![hold.clone()], Vec::new()).await?;
    let expected = format!("a Welcome that knows {hold:?}");
    holds(welcome.holds == [hold], &expected, &welcome.holds)?;
    Ok(again)
}
