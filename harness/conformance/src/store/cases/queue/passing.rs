//! A session whose grant ends is passed on, and never to one that has gone; no wait lasts for ever.

use crate::stop::{Play, Stop};
use crate::store::{Heard, Player, Stage, alive};
use tenure_protocol::message::Refusal;
use tenure_protocol::{SessionId, ToProcess, ToStore};

pub(super) async fn goodbye(stage: Stage) -> Play {
    let s = stage.session("s");
    let [mut p, mut q] = stage.two().await?;
    p.acquire(&s).await?;
    // A try, since it leads to no revocation: that would give it the session, too.
    let request = q.tries(&s).await?;
    p.say(ToStore::Goodbye).await?;
    q.granted(&s, request).await.map(drop)
}

pub(super) async fn started_again(stage: Stage) -> Play {
    let s = stage.session("s");
    let [mut p, mut q] = stage.two().await?;
    p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    let mut reborn = p.reborn(&stage).await?;
    reborn.enter().await?;
    q.granted(&s, request).await?;
    is_not_asked(&mut reborn, &s).await
}

pub(super) async fn not_named(stage: Stage) -> Play {
    let s = stage.session("s");
    let [mut p, mut q] = stage.two().await?;
    p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    let mut again = p.again(&stage).await?;
    again.enter().await?;
    q.granted(&s, request).await?;
    is_not_asked(&mut again, &s).await
}

/// That the other was granted was not the end of a recall.
async fn is_not_asked(p: &mut Player, session: &SessionId) -> Play {
    let heard = p.settle_at(session).await?;
    let of_it = heard
        .iter()
        .find(|message| message.session() == Some(session));
    match of_it {
        None => Ok(()),
        Some(message) => Err(p.failed("nothing of a grant that it does not have", message)),
    }
}

pub(super) async fn lease_end(stage: Stage) -> Play {
    let s = stage.session("s");
    let [mut p, mut q] = stage.two().await?;
    p.acquire(&s).await?;
    let lease_ms = p.lease_ms;
    stage.may_wait("a lease", lease_ms)?;
    p.cut();
    let request = q.waits_for(&s).await?;
    q.granted_from(&s, request, &<_>::default(), lease_ms)
        .await
        .map(drop)
}

pub(super) async fn revoked(stage: Stage) -> Play {
    let s = stage.session("s");
    let [mut p, mut q] = stage.two().await?;
    let grant = p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    let deadline_ms = p.recalled(&grant).await?.deadline_ms;
    stage.may_wait("a recall", deadline_ms)?;
    let base = <_>::default();
    let granted = q.granted_from(&s, request, &base, deadline_ms);
    alive(&mut [&mut p], granted).await.map(drop)
}

pub(super) async fn to_one_that_dies(stage: Stage) -> Play {
    let s = stage.session("s");
    let [mut p, mut q, mut r] = stage.three().await?;
    let grant = p.acquire(&s).await?;
    q.waits_for(&s).await?;
    let lease_ms = q.lease_ms;
    stage.may_wait("a lease", lease_ms)?;
    let request = r.waits_for(&s).await?;
    q.last_words().await?;
    p.give_back(&grant).await?;
    r.granted_from(&s, request, &<_>::default(), lease_ms)
        .await
        .map(drop)
}

pub(super) async fn orphan_goodbye(stage: Stage) -> Play {
    let s = stage.session("s");
    let [mut p, mut q, mut r] = stage.three().await?;
    let grant = p.acquire(&s).await?;
    q.waits_for(&s).await?;
    q.say(ToStore::Goodbye).await?;
    q.last_words().await?;
    p.give_back(&grant).await?;
    r.acquire_at_once(&s).await.map(drop)
}

pub(super) async fn orphan_lease_end(stage: Stage) -> Play {
    let (s, other) = (stage.session("s"), stage.session("other"));
    let [mut p, mut q, mut r] = stage.three().await?;
    let grant = p.acquire(&s).await?;
    q.acquire(&other).await?;
    q.waits_for(&s).await?;
    let lease_ms = q.lease_ms;
    stage.may_wait("a lease", lease_ms)?;
    q.last_words().await?;
    // That it gets what the dead one held tells that the lease has ended.
    let last = r.waits_for(&other).await?;
    let base = <_>::default();
    let granted = r.granted_from(&other, last, &base, lease_ms);
    alive(&mut [&mut p], granted).await?;
    // Its grant may have been revoked meanwhile, when recalls are shorter than leases: then it was passed on already.
    p.say_release(&grant, <_>::default(), None).await?;
    p.settle_at(&s).await?;
    r.acquire_at_once(&s).await.map(drop)
}

pub(super) async fn wait_ends(stage: Stage) -> Play {
    let s = stage.session("s");
    let mut p = stage.player("p").await?;
    let grant = p.acquire(&s).await?;
    let mut waiters = Vec::new();
    for name in ["q", "r", "u", "v", "w"] {
        let mut waiter = stage.player(name).await?;
        let request = waiter.waits_for(&s).await?;
        waiters.push((waiter, request));
    }
    let (mut last, request) = waiters.pop().expect("five of them");
    // Whoever gets the session keeps it until that is revoked: so long the last one may wait.
    let recall_ms = p.recalled(&grant).await?.deadline_ms;
    let most_ms = recall_ms * (waiters.len() as u64 + 1);
    stage.may_wait("five recalls", most_ms)?;
    let mut others: Vec<&mut Player> = waiters.iter_mut().map(|(waiter, _)| waiter).collect();
    others.push(&mut p);
    let why = alive(&mut others, ended(&mut last, &s, most_ms)).await?;
    match why {
        Some(Refusal::Deadline) => Ok(()),
        Some(other) => Err(last.failed("Refused, deadline", (request, other))),
        None => Err(Stop::Skipped(format!(
            "its waits are longer than five recalls of {recall_ms} ms"
        ))),
    }
}

/// How a request ends: by a refusal, or `None` when it was granted after all.
async fn ended(p: &mut Player, session: &SessionId, after_ms: u64) -> Play<Option<Refusal>> {
    p.expect_after("Refused or Granted", after_ms, |message| match message {
        ToProcess::Refused {
            session: own, why, ..
        } if own == session => Some(Some(why.clone())),
        ToProcess::Granted { session: own, .. } if own == session => Some(None),
        _ => None,
    })
    .await
}

pub(super) async fn try_ends(stage: Stage) -> Play {
    let s = stage.session("s");
    let [mut p, mut q] = stage.two().await?;
    let grant = p.acquire(&s).await?;
    let own = q.tries(&s).await?;
    p.recalled(&grant).await?;
    // How long a wait may be a store does not say.
    let most_ms = stage.target().wait_max_ms;
    let heard = alive(&mut [&mut p], next_but_queued(&mut q, most_ms)).await?;
    match heard {
        Heard::Message(ToProcess::Refused {
            request,
            why: Refusal::Deadline | Refusal::WouldBlock,
            ..
        }) if request == own => Ok(()),
        Heard::Nothing => Err(Stop::Skipped(format!(
            "its waits are longer than --wait-max-ms {most_ms}"
        ))),
        other => Err(q.failed("Refused, deadline", other)),
    }
}

async fn next_but_queued(q: &mut Player, most_ms: u64) -> Play<Heard> {
    loop {
        match q.hear(most_ms).await? {
            Heard::Message(ToProcess::Queued { .. }) => {}
            heard => return Ok(heard),
        }
    }
}
