//! Cases about waiters whose connection was lost: they are granted nothing meanwhile, and keep their place.

use super::{acquire_request, goes_in_order};
use crate::end::Play;
use crate::store::{CaseContext, Grant, ScriptedProcess};
use tenure_protocol::{Request, SessionId};

/// The situation: `q` waits for a session that `p` holds, and holds another one.
struct Wait {
    session: SessionId,
    grant: Grant,
    request: Request,
    other: Grant,
}

async fn waits(ctx: &CaseContext, p: &mut ScriptedProcess, q: &mut ScriptedProcess) -> Play<Wait> {
    let session = ctx.session("s");
    let other = q.acquire(&ctx.session("other")).await?;
    let grant = p.acquire(&session).await?;
    let request = q.waits_for(&session).await?;
    Ok(Wait {
        session,
        grant,
        request,
        other,
    })
}

impl Wait {
    /// Cuts the connection of `q`, and waits until the store has noticed: it then refuses `r` the session of `q`.
    /// Returns the next connection.
    async fn is_cut_off(
        &self,
        ctx: &CaseContext,
        q: ScriptedProcess,
        r: &mut ScriptedProcess,
    ) -> Play<ScriptedProcess> {
        let again = q.again(ctx).await?;
        q.last_words().await?;
        let request = r.try_for(&self.other.session).await?;
        r.refused(&self.other.session, request).await?;
        Ok(again)
    }

    /// Reconnects `q`, which waits as before.
    async fn is_back(&self, again: &mut ScriptedProcess) -> Play {
        let acquires = vec![acquire_request(&self.session, self.request, None)];
        again.enter_with(vec![self.other.hold()], acquires).await?;
        Ok(())
    }
}

pub(super) async fn head_is_away(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let own = waits(&ctx, &mut p, &mut q).await?;
    let mut again = own.is_cut_off(&ctx, q, &mut r).await?;
    let second = r.waits_for(&own.session).await?;
    own.is_back(&mut again).await?;
    p.give_back(&own.grant).await?;
    let order = &mut [(&mut again, own.request), (&mut r, second)];
    goes_in_order(&own.session, order).await
}

pub(super) async fn one_behind_it(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let own = waits(&ctx, &mut p, &mut q).await?;
    let second = r.waits_for(&own.session).await?;
    let mut again = own.is_cut_off(&ctx, q, &mut r).await?;
    p.give_back(&own.grant).await?;
    let next = r.granted(&own.session, second).await?;
    own.is_back(&mut again).await?;
    r.recalled(&next).await?;
    r.give_back(&next).await?;
    again.granted(&own.session, own.request).await.map(drop)
}

pub(super) async fn newcomer(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let own = waits(&ctx, &mut p, &mut q).await?;
    own.is_cut_off(&ctx, q, &mut r).await?;
    p.give_back(&own.grant).await?;
    r.acquire_at_once(&own.session).await.map(drop)
}

pub(super) async fn back_to_a_free_one(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let own = waits(&ctx, &mut p, &mut q).await?;
    let mut again = own.is_cut_off(&ctx, q, &mut r).await?;
    p.give_back(&own.grant).await?;
    own.is_back(&mut again).await?;
    again.granted(&own.session, own.request).await.map(drop)
}
