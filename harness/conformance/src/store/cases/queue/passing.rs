//! Cases about handoffs: a session whose grant ends is granted to the next waiter and never to a process that has gone,
//! and every wait ends.

use crate::end::{CaseEnd, Play};
use crate::store::cases::expiry::live;
use crate::store::{CaseContext, Heard, ScriptedProcess, alive};
use tenure_protocol::message::{Granted, Refusal};
use tenure_protocol::{SessionId, ToProcess, ToStore};

pub(super) async fn goodbye(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    p.acquire(&s).await?;
    // Use a try, because it leads to no revocation, which would also free the session.
    let request = q.tries(&s).await?;
    p.say(ToStore::Goodbye).await?;
    q.granted(&s, request).await.map(drop)
}

pub(super) async fn started_again(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    let mut reborn = p.reborn(&ctx).await?;
    reborn.enter().await?;
    q.granted(&s, request).await?;
    is_not_asked(&mut reborn, &s).await
}

pub(super) async fn not_named(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    let mut again = p.again(&ctx).await?;
    again.enter().await?;
    q.granted(&s, request).await?;
    is_not_asked(&mut again, &s).await
}

/// Expects that the process is not recalled, so that the other's grant did not result from a recall.
async fn is_not_asked(p: &mut ScriptedProcess, session: &SessionId) -> Play {
    let heard = p.settle_at(session).await?;
    let of_it = heard
        .iter()
        .find(|message| message.session() == Some(session));
    match of_it {
        None => Ok(()),
        Some(message) => Err(p.failed("nothing of a grant that it does not have", message)),
    }
}

pub(super) async fn lease_end(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    p.acquire(&s).await?;
    let lease_ms = p.lease_ms;
    ctx.may_wait("a lease", lease_ms)?;
    p.cut();
    let request = q.waits_for(&s).await?;
    q.granted_from(&s, request, &<_>::default(), lease_ms)
        .await
        .map(drop)
}

pub(super) async fn revoked(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    let deadline_ms = p.recalled(&grant).await?.deadline_ms;
    ctx.may_wait("a recall", deadline_ms)?;
    let base = <_>::default();
    let granted = q.granted_from(&s, request, &base, deadline_ms);
    alive(&mut [&mut p], granted).await.map(drop)
}

pub(super) async fn to_one_that_dies(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    q.waits_for(&s).await?;
    let lease_ms = q.lease_ms;
    ctx.may_wait("a lease", lease_ms)?;
    let request = r.waits_for(&s).await?;
    q.last_words().await?;
    p.give_back(&grant).await?;
    r.granted_from(&s, request, &<_>::default(), lease_ms)
        .await
        .map(drop)
}

pub(super) async fn orphan_goodbye(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    q.waits_for(&s).await?;
    q.say(ToStore::Goodbye).await?;
    q.last_words().await?;
    p.give_back(&grant).await?;
    r.acquire_at_once(&s).await.map(drop)
}

pub(super) async fn orphan_lease_end(ctx: CaseContext) -> Play {
    let (s, other) = (ctx.session("s"), ctx.session("other"));
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    q.acquire(&other).await?;
    q.waits_for(&s).await?;
    let lease_ms = q.lease_ms;
    ctx.may_wait("a lease", lease_ms)?;
    q.last_words().await?;
    // Getting the dead process's session shows that the lease has ended.
    let last = r.waits_for(&other).await?;
    let base = <_>::default();
    let granted = r.granted_from(&other, last, &base, lease_ms);
    alive(&mut [&mut p], granted).await?;
    // If recalls are shorter than leases, the grant may have been revoked and the session granted already.
    p.say_release(&grant, <_>::default(), None).await?;
    p.settle_at(&s).await?;
    r.acquire_at_once(&s).await.map(drop)
}

pub(super) async fn wait_ends(ctx: CaseContext) -> Play {
    // If the last wait ends just as a grant is revoked, the session is free for it. Retry then with another time
    // between two revocations.
    let mut recall_ms = 0;
    for (turn, parts) in ["1", "2", "3"].into_iter().zip([0, 2, 3]) {
        let (why, told_ms) = last_wait_ends(&ctx, turn, parts).await?;
        match why {
            Some(Refusal::Deadline) => return Ok(()),
            Some(other) => return Err(CaseEnd::failed("Refused, deadline", other)),
            None => recall_ms = told_ms,
        }
    }
    Err(CaseEnd::Skipped(format!(
        "its waits are longer than five recalls of {recall_ms} ms"
    )))
}

/// Queues five processes, all but the first after this fraction of a recall time. Returns the end of the last wait, and
/// the recall time.
async fn last_wait_ends(ctx: &CaseContext, turn: &str, parts: u64) -> Play<(Option<Refusal>, u64)> {
    let s = &ctx.session(turn);
    let name = |process: &str| format!("{process}-{turn}");
    let mut p = ctx.player(&name("p")).await?;
    let grant = p.acquire(s).await?;
    let mut first = ctx.player(&name("q")).await?;
    first.waits_for(s).await?;
    let recall_ms = p.recalled(&grant).await?.deadline_ms;
    if let Some(later_ms) = recall_ms.checked_div(parts) {
        live([&mut p, &mut first], later_ms).await?;
    }
    let mut others = vec![first];
    for process in ["r", "u", "v"] {
        let mut waiter = ctx.player(&name(process)).await?;
        waiter.waits_for(s).await?;
        others.push(waiter);
    }
    let mut last = ctx.player(&name("w")).await?;
    last.waits_for(s).await?;
    // Each process keeps the session until its grant is revoked, so the last one may wait this long.
    let most_ms = recall_ms * (others.len() as u64 + 1);
    ctx.may_wait("five recalls", most_ms)?;
    let mut others: Vec<&mut ScriptedProcess> = others.iter_mut().collect();
    others.push(&mut p);
    let why = alive(&mut others, ended(&mut last, s, most_ms)).await?;
    Ok((why, recall_ms))
}

/// Returns how a request ends: by a refusal, or `None` if it was granted.
async fn ended(
    p: &mut ScriptedProcess,
    session: &SessionId,
    after_ms: u64,
) -> Play<Option<Refusal>> {
    p.expect_after("Refused or Granted", after_ms, |message| match message {
        ToProcess::Refused {
            session: own, why, ..
        } if own == session => Some(Some(why.clone())),
        ToProcess::Granted(Granted { session: own, .. }) if own == session => Some(None),
        _ => None,
    })
    .await
}

pub(super) async fn try_ends(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let own = q.tries(&s).await?;
    p.recalled(&grant).await?;
    // A store does not state how long it lets a process wait.
    let most_ms = ctx.target().wait_max_ms;
    let heard = alive(&mut [&mut p], next_but_queued(&mut q, most_ms)).await?;
    match heard {
        Heard::Message(ToProcess::Refused {
            request,
            why: Refusal::Deadline | Refusal::WouldBlock,
            ..
        }) if request == own => Ok(()),
        Heard::Nothing => Err(CaseEnd::Skipped(format!(
            "its waits are longer than --wait-max-ms {most_ms}"
        ))),
        other => Err(q.failed("Refused, deadline", other)),
    }
}

async fn next_but_queued(q: &mut ScriptedProcess, most_ms: u64) -> Play<Heard> {
    loop {
        match q.hear(most_ms).await? {
            Heard::Message(ToProcess::Queued { .. }) => {}
            heard => return Ok(heard),
        }
    }
}
