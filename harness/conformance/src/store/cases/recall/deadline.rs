//! Cases about the deadline of a recall. Deadlines stated in recalls are compared by bounds: see [`Due`].

use crate::end::{CaseEnd, Play, holds};
use crate::store::cases::expiry::{expires, written};
use crate::store::{CaseContext, Due, Grant, ScriptedProcess, set};
use std::time::Duration;
use tenure_protocol::message::{Reason, RecallInfo};
use tenure_protocol::{Request, SessionId, ToStore};
use tokio::time::{Instant, sleep};

/// A grant that is recalled with a deadline, because another process waits.
pub(super) struct Recalled {
    pub(super) grant: Grant,
    /// The request of the waiting process.
    pub(super) request: Request,
    pub(super) info: RecallInfo,
    pub(super) due: Due,
}

/// Acquires the session for `p`, and waits for its recall after a request of `q`.
pub(super) async fn recalled(
    p: &mut ScriptedProcess,
    q: &mut ScriptedProcess,
    s: &SessionId,
) -> Play<Recalled> {
    let grant = p.acquire(s).await?;
    let asked = Instant::now();
    let request = q.ask(s).await?;
    let info = p.recalled_for_good(&grant).await?;
    Ok(Recalled {
        due: Due::of(info, asked),
        grant,
        request,
        info,
    })
}

impl Recalled {
    /// Waits until `p` has lost the grant, which must not happen before the stated deadline, and `q` has the session.
    pub(super) async fn passes(
        &self,
        ctx: &CaseContext,
        p: &mut ScriptedProcess,
        q: &mut ScriptedProcess,
    ) -> Play<Grant> {
        let after_ms = self.info.deadline_ms;
        ctx.may_wait("a recall", after_ms)?;
        let session = &self.grant.session;
        let (lost, next) = tokio::join!(
            async {
                p.late(&self.grant, after_ms).await?;
                self.due.has_passed()
            },
            q.granted_after(session, self.request, after_ms),
        );
        lost?;
        let next = next?;
        holds(next.token > self.grant.token, "a later token", next.token)?;
        Ok(next)
    }

    /// Lets enough time pass to detect a deadline that moves along.
    async fn time_passes(&self) {
        sleep(Duration::from_millis((self.info.deadline_ms / 5).min(200))).await;
    }
}

pub(super) async fn revokes(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    own.passes(&ctx, &mut p, &mut q).await.map(drop)
}

pub(super) async fn ends_with_it(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    let next = own.passes(&ctx, &mut p, &mut q).await?;
    q.is_not_recalled(&next).await?;
    p.is_not_recalled(&own.grant).await
}

pub(super) async fn told_in_the_grant(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let first = q.ask(&s).await?;
    q.settle().await?;
    let request = r.ask(&s).await?;
    r.settle().await?;
    let asked = Instant::now();
    p.release(&grant, set([])).await?;
    let grant = q.granted(&s, first).await?;
    let info = match grant.recall {
        Some(info) => info,
        None => q.recalled_for_good(&grant).await?,
    };
    let own = Recalled {
        due: Due::of(info, asked),
        grant,
        request,
        info,
    };
    own.passes(&ctx, &mut q, &mut r).await.map(drop)
}

pub(super) async fn busy_does_not_stop_it(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    ctx.may_wait("a recall", own.info.deadline_ms)?;
    for _ in 0..3 {
        p.busy(&own.grant, Vec::new()).await?;
        own.time_passes().await;
    }
    own.passes(&ctx, &mut p, &mut q).await.map(drop)
}

pub(super) async fn busy_does_not_move_it(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    own.time_passes().await;
    p.busy(&own.grant, Vec::new()).await?;
    own.due.is_still(p.due(&own.grant).await?)
}

pub(super) async fn repetition_does_not_move_it(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    for _ in 0..2 {
        own.time_passes().await;
        own.due.is_still(p.due(&own.grant).await?)?;
    }
    Ok(())
}

pub(super) async fn request_does_not_move_it(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let own = recalled(&mut p, &mut q, &s).await?;
    own.time_passes().await;
    r.ask(&s).await?;
    r.settle().await?;
    own.due.is_still(p.due(&own.grant).await?)?;
    let again = crate::store::acquire_request(&s, own.request, None);
    q.say(ToStore::Acquire(again)).await?;
    q.settle().await?;
    own.due.is_still(p.due(&own.grant).await?)
}

pub(super) async fn hello_does_not_move_it(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    own.time_passes().await;
    let mut p = p.back_with(&ctx, &own.grant).await?;
    own.due.is_still(p.due(&own.grant).await?)
}

pub(super) async fn runs_while_away(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    // The recall time is known only from a recall.
    let told = recalled(&mut p, &mut q, &ctx.session("t")).await?;
    p.release(&told.grant, set([])).await?;
    q.granted(&told.grant.session, told.request).await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let mut back = p.again(&ctx).await?;
    p.cut();
    let asked = Instant::now();
    let request = q.ask(&s).await?;
    q.queued(&s, request).await?;
    let due = Due::after(told.info.deadline_ms, asked);
    told.time_passes().await;
    back.enter_with(vec![grant.hold()], Vec::new()).await?;
    due.is_still(back.due(&grant).await?)
}

pub(super) async fn operator_does_not_move_it(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let own = recalled(&mut p, &mut q, &s).await?;
    own.time_passes().await;
    ctx.recall(&s).await?;
    own.due.is_still(p.due(&own.grant).await?)
}

pub(super) async fn takes_one_grant(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let mut other = p.acquire(&ctx.session("t")).await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    own.passes(&ctx, &mut p, &mut q).await?;
    p.commit(&mut other, set([("a", Some("1"))])).await?;
    p.is_not_recalled(&other).await
}

pub(super) async fn try_takes_nothing(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    q.try_for(&s).await?;
    let info = p.recalled(&grant).await?;
    if info.reason.insists() {
        return Err(CaseEnd::Skipped(
            "this store recalls with a deadline for a try".to_owned(),
        ));
    }
    keeps(&ctx, p, grant, info).await
}

/// Holds a session for `p` whose time to live may have ended.
async fn aged(ctx: &CaseContext, p: &mut ScriptedProcess) -> Play<(Grant, RecallInfo)> {
    let after_ms = ctx.target().expires_ms.unwrap_or_default();
    ctx.may_wait("a time to live", after_ms)?;
    let grant = written(p, &ctx.session("s")).await?;
    let info = expires(p, &grant, after_ms).await?;
    Ok((grant, info))
}

pub(super) async fn expiry_takes_nothing(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let (grant, info) = aged(&ctx, &mut p).await?;
    keeps(&ctx, p, grant, info).await
}

pub(super) async fn busy_ends_it(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let (grant, _) = aged(&ctx, &mut p).await?;
    p.busy(&grant, Vec::new()).await?;
    p.settle().await?;
    // The session was just used, so its time to live cannot have ended again.
    let mut q = ctx.player("q").await?;
    q.try_for(&grant.session).await?;
    let info = p.recalled(&grant).await?;
    let is_new = info.reason != Reason::Expiry;
    holds(is_new, "a recall for the try", info)
}

/// Expects that a holder that does not answer keeps the grant after the stated deadline.
pub(super) async fn keeps(
    ctx: &CaseContext,
    mut p: ScriptedProcess,
    mut grant: Grant,
    info: RecallInfo,
) -> Play {
    const LATER: Duration = Duration::from_millis(300);
    ctx.may_wait("a recall", info.deadline_ms)?;
    let until = Instant::now() + Duration::from_millis(info.deadline_ms) + LATER;
    while Instant::now() < until {
        sleep(Duration::from_millis((p.lease_ms / 4).min(100))).await;
        p.is_quiet("the recall takes no grant").await?;
    }
    p.commit(&mut grant, set([("b", Some("2"))]))
        .await
        .map(drop)
}

pub(super) async fn operator_revokes(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let asked = Instant::now();
    ctx.recall(&s).await?;
    let info = p.recalled_for_good(&grant).await?;
    ctx.may_wait("a recall", info.deadline_ms)?;
    let due = Due::of(info, asked);
    p.late(&grant, info.deadline_ms).await?;
    due.has_passed()?;
    let again = p.acquire(&s).await?;
    holds(again.token > grant.token, "a later token", again.token)
}
