//! Cases about the recall message.

use crate::end::{CaseEnd, Play, holds};
use crate::store::{CaseContext, Grant, set};
use tenure_protocol::message::Reason;
use tenure_protocol::{ToProcess, ToStore, Token};
use tokio::time::Instant;

/// The number of round trips within which a store sends the results of a `Hello`. An independent repetition of a recall
/// comes later.
const ROUND_TRIPS: usize = 20;

pub(super) async fn nobody_wants_it(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let other = q.acquire(&ctx.session("t")).await?;
    q.release(&other, set([])).await?;
    p.is_not_recalled(&grant).await
}

pub(super) async fn connected_holder(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    q.ask(&s).await?;
    p.recalled_for_good(&grant).await.map(drop)
}

pub(super) async fn next_holder(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let first = q.ask(&s).await?;
    q.settle().await?;
    r.ask(&s).await?;
    r.settle().await?;
    p.release(&grant, set([])).await?;
    let next = q.granted(&s, first).await?;
    if next.recall.is_some_and(|info| info.reason.insists()) {
        return Ok(());
    }
    q.recalled_for_good(&next).await.map(drop)
}

pub(super) async fn wait_after_try(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    q.try_for(&s).await?;
    p.recalled(&grant).await?;
    r.ask(&s).await?;
    p.recalled_for_good(&grant).await.map(drop)
}

pub(super) async fn holder_that_was_away(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let mut back = p.again(&ctx).await?;
    p.cut();
    q.ask(&s).await?;
    q.settle().await?;
    let welcome = back.enter_with(vec![grant.hold()], Vec::new()).await?;
    holds(welcome.holds == [grant.hold()], "a known grant", &welcome)?;
    back.recalled_for_good(&grant).await.map(drop)
}

pub(super) async fn every_known_grant(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let grants = [p.acquire(&s).await?, p.acquire(&t).await?];
    for grant in &grants {
        q.ask(&grant.session).await?;
        p.recalled(grant).await?;
    }
    let claims = grants.iter().map(|grant| grant.hold()).collect();
    let (mut p, _) = p.back(&ctx, claims, Vec::new()).await?;
    let mut heard = Vec::new();
    for _ in 0..ROUND_TRIPS {
        heard.extend(p.settle().await?);
        let is_said = |grant: &Grant| {
            let mut all = heard.iter();
            all.any(|message| matches!(message, ToProcess::Recall { hold, .. } if *hold == grant.hold()))
        };
        if grants.iter().all(is_said) {
            return Ok(());
        }
    }
    Err(p.failed("Recall of both grants after Welcome", heard))
}

pub(super) async fn further_requests(ctx: CaseContext) -> Play {
    const REQUESTS: usize = 20;
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let mut acquire = q.acquire_request(&s);
    q.say(ToStore::Acquire(acquire.clone())).await?;
    p.recalled(&grant).await?;
    acquire.ticket = Some(q.queued(&s, acquire.request).await?);
    r.ask(&s).await?;
    r.settle().await?;
    for _ in 0..REQUESTS {
        q.say(ToStore::Acquire(acquire.clone())).await?;
    }
    q.settle().await?;
    let heard = p.settle().await?;
    let is_recall = |message: &&ToProcess| matches!(message, ToProcess::Recall { .. });
    let recalls = heard.iter().filter(is_recall).count();
    // Some recalls may be reminders.
    holds(recalls < REQUESTS / 2, "no Recall for each request", heard)
}

pub(super) async fn lists_every_recall(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let mut expected = Vec::new();
    for name in ["s", "t", "u"] {
        let grant = p.acquire(&ctx.session(name)).await?;
        if name != "u" {
            q.ask(&grant.session).await?;
            expected.push(grant.hold());
        }
    }
    q.settle().await?;
    for _ in 0..2 {
        let recalls = p.recalls().await?;
        let mut listed: Vec<_> = recalls.iter().map(|(hold, _)| hold.clone()).collect();
        listed.sort_by_key(|hold| hold.token);
        holds(listed == expected, "the two recalls", recalls)?;
    }
    Ok(())
}

pub(super) async fn after_busy(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    q.ask(&s).await?;
    p.recalled(&grant).await?;
    p.busy(&grant, Vec::new()).await?;
    p.due(&grant).await.map(drop)
}

pub(super) async fn told_in_the_grant(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let first = q.ask(&s).await?;
    q.settle().await?;
    r.ask(&s).await?;
    r.settle().await?;
    p.release(&grant, set([])).await?;
    let next = q.granted(&s, first).await?;
    q.due(&next).await.map(drop)
}

pub(super) async fn until_the_grant_ends(ctx: CaseContext) -> Play {
    reminded(ctx, false).await
}

pub(super) async fn busy_is_reminded(ctx: CaseContext) -> Play {
    reminded(ctx, true).await
}

/// Expects that a recall is repeated twice before the deadline.
async fn reminded(ctx: CaseContext, is_busy: bool) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    q.ask(&s).await?;
    let info = p.recalled(&grant).await?;
    if is_busy {
        p.busy(&grant, Vec::new()).await?;
    }
    let most = info.deadline_ms.min(ctx.target().wait_max_ms);
    let began = Instant::now();
    let repeated = p.expect_after("the Recall again", most, |message| match message {
        ToProcess::Recall { hold, .. } => Some(*hold == grant.hold()),
        _ => None,
    });
    match repeated.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(CaseEnd::fault("nothing else is held")),
        Err(stop) if info.deadline_ms <= most => Err(stop),
        Err(_) => Err(CaseEnd::Skipped(format!(
            "a store may remind after more than {:?}",
            began.elapsed()
        ))),
    }
}

pub(super) async fn old_token_is_ignored(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let old = p.acquire(&s).await?;
    p.release(&old, set([])).await?;
    let grant = p.acquire(&s).await?;
    let request = q.try_for(&s).await?;
    p.recalled(&grant).await?;
    p.busy(&old, Vec::new()).await?;
    p.settle().await?;
    q.is_quiet("the holder was not busy under this token")
        .await?;
    p.release(&grant, set([])).await?;
    q.granted(&s, request).await.map(drop)
}

pub(super) async fn of_no_grant_is_ignored(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let mut grant = p.acquire(&s).await?;
    let mut strange = grant.clone();
    (strange.session, strange.token) = (ctx.session("t"), Token::default());
    q.busy(&strange, vec![s.clone()]).await?;
    q.is_quiet("there is no such grant").await?;
    strange.session = s;
    q.busy(&strange, Vec::new()).await?;
    q.is_quiet("the process does not hold the session").await?;
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

pub(super) async fn with_the_release(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let request = q.ask(&s).await?;
    p.recalled(&grant).await?;
    p.release(&grant, set([])).await?;
    let next = q.granted(&s, request).await?;
    q.is_not_recalled(&next).await?;
    p.is_not_recalled(&grant).await
}

pub(super) async fn same_holder_again(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let request = q.ask(&s).await?;
    p.recalled(&grant).await?;
    q.say(ToStore::Cancel {
        session: s.clone(),
        request,
    })
    .await?;
    q.refused(&s, request).await?;
    // Write something, because a store may forget all data of an absent session.
    p.release(&grant, set([("a", Some("1"))])).await?;
    let again = p.acquire(&s).await?;
    p.is_not_recalled(&again).await
}

pub(super) async fn operator_asks(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    ctx.recall(&s).await?;
    let info = p.recalled(&grant).await?;
    holds(info.reason == Reason::Operator, "Operator", info)
}
