//! Cases about recalls whose waiters have all gone: the grant stays, and the recall states a later deadline.

use super::deadline::{Recalled, keeps, recalled};
use crate::end::{Play, holds};
use crate::store::{CaseContext, Due, acquire_request};
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub(super) async fn waiter_cancels(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    q.say_cancel(&own.grant.session, own.request).await?;
    q.refused(&own.grant.session, own.request).await?;
    keeps(&ctx, p, own.grant, own.info).await
}

pub(super) async fn waiter_is_away(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    q.last_words().await?;
    keeps(&ctx, p, own.grant, own.info).await
}

pub(super) async fn waiter_is_back(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    let mut again = q.again(&ctx).await?;
    q.last_words().await?;
    let acquires = vec![acquire_request(&own.grant.session, own.request, None)];
    again.enter_with(Vec::new(), acquires).await?;
    let asked = Instant::now();
    let recalls = p.recalls().await?;
    let is_own = |(hold, _): &&(_, _)| *hold == own.grant.hold();
    let Some((_, info)) = recalls.iter().find(is_own) else {
        return Err(p.failed("Alive with the recall", recalls));
    };
    let due = Due::of(*info, asked);
    let now = Recalled {
        due,
        info: *info,
        ..own
    };
    now.passes(&ctx, &mut p, &mut again).await.map(drop)
}

pub(super) async fn more_time(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let own = recalled(&mut p, &mut q, &ctx.session("s")).await?;
    ctx.may_wait("a recall", own.info.deadline_ms)?;
    // Half of the time has passed, so that a later deadline differs clearly.
    let half = Duration::from_millis(own.info.deadline_ms / 2);
    let until = Instant::now() + half;
    while Instant::now() < until {
        sleep(half / 8).await;
        p.settle().await?;
        q.settle().await?;
    }
    q.say_cancel(&own.grant.session, own.request).await?;
    q.refused(&own.grant.session, own.request).await?;
    let until = Instant::now() + p.slack();
    loop {
        let due = p.due(&own.grant).await?;
        if own.due.is_before(due) {
            return Ok(());
        }
        holds(Instant::now() < until, "a later deadline", due)?;
        sleep(half / 8).await;
    }
}
