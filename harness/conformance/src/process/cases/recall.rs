//! Cases about recalls: obeyed once no thread is inside, and always answered, whether early, late, lost or repeated.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{delta, session};
use crate::process::scripted_store::LEASE_MS;
use serde_json::json;
use tenure_protocol::message::{Commit, Reason, Release};
use tenure_protocol::{Request, ToProcess, ToStore, Token};

cases! { Process:
    "process/recall/idle/waiter", Must ["recall.obeyed"] idle_waiter,
        "An idle grant is released when another process waits.";
    "process/recall/idle/operator", Must ["recall.obeyed"] idle_operator,
        "An idle grant is released when an operator recalls it.";
    "process/recall/idle/expiry", Must ["recall.mild-obeyed"] idle_expiry,
        "An idle grant is released when the session may have expired.";
    "process/recall/idle/try", Must ["recall.mild-obeyed"] idle_try,
        "An idle grant is released when another process tries.";
    "process/recall/inside/keeps-until-out", Must ["recall.keeps-until-out", "recall.obeyed"] keeps_until_out,
        "If a thread is inside, a recall is answered with Busy, and the grant is released when the thread has left.";
    "process/recall/inside/all-out", Must ["recall.keeps-until-out", "recall.obeyed"] all_out,
        "A recalled grant stays until the last of several threads has left.";
    "process/recall/mild/expiry-busy", Must ["recall.mild-obeyed", "recall.mild-gate"] expiry_busy,
        "If a thread is inside, a recall for expiry is answered with Busy and closes no gate.";
    "process/recall/mild/try-busy", Must ["recall.mild-obeyed", "recall.mild-gate"] try_busy,
        "If a thread is inside, a recall for a try is answered with Busy and closes no gate.";
    "process/recall/mild/then-waiter", Must ["recall.obeyed", "gate.closed"] mild_then_waiter,
        "A recall for a waiter closes the gate, even after a recall for a try.";
    "process/recall/old/other-token", Must ["recall.old"] old,
        "A recall of an older grant does not close the gate of the current one.";
    "process/recall/early/before-grant", Must ["recall.early", "gate.one-use"] early,
        "If a recall arrives before its grant, the grant is released after one use.";
    "process/recall/early/other-grant", Must ["recall.old"] early_other,
        "A recall that arrived early does not affect a grant with another token.";
    "process/recall/unknown/answered", Must ["recall.unknown"] unknown,
        "A recall of a grant that the process never had is answered with a Release.";
    "process/recall/crossed/same-release", Must ["recall.crossed"] crossed,
        "A recall that crosses a Release is answered with the same Release.";
    "process/recall/lost/in-alive", Must ["recall.obeyed"] in_alive,
        "A recall that is listed only in an Alive is obeyed.";
    "process/recall/storm/one-grant", Must ["recall.keeps-until-out", "recall.obeyed"] storm,
        "Fifty recalls of one grant have the effect of one.";
    "process/recall/storm/many-sessions", Must ["recall.obeyed"] storm_of_many,
        "Fifty simultaneous recalls of different sessions release all of them.";
    "process/recall/deadline/gives-up", Should ["recall.gives-up"] gives_up,
        "A thread that is late is notified, and changes that other threads have finished are released before the \
        deadline.";
    "process/recall/deadline/later-one", Should ["recall.later"] later_deadline,
        "If a repeated recall states at least the same remaining time, the threads inside get that time.";
    "process/recall/deadline/late-write-set", Must ["thread.discards", "thread.told"] late_write_set,
        "Changes that a late thread has not unlocked never reach the store.";
}

async fn idle_waiter(ctx: CaseContext) -> Play {
    idle(ctx, Reason::Wait).await
}
async fn idle_operator(ctx: CaseContext) -> Play {
    idle(ctx, Reason::Operator).await
}
async fn idle_expiry(ctx: CaseContext) -> Play {
    idle(ctx, Reason::Expiry).await
}
async fn idle_try(ctx: CaseContext) -> Play {
    idle(ctx, Reason::Try).await
}

async fn idle(ctx: CaseContext, reason: Reason) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(reason)).await?;
    let release = t.released(&grant).await?;
    holds(
        release.delta == delta([("a", Some("1"))]),
        "the unlocked changes",
        &release,
    )?;
    holds(
        release.requeue.is_none(),
        "no request, because no thread waits",
        release,
    )
}

async fn keeps_until_out(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let blocked_on = t.busy(&grant).await?;
    holds(
        blocked_on.is_empty(),
        "nothing blocks the thread",
        blocked_on,
    )?;
    t.is_quiet("a thread is inside").await?;
    t.stands(&lock).await?;
    t.write(&lock, "a", "1").await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    holds(
        release.delta == delta([("a", Some("1"))]),
        "the unlocked changes",
        release,
    )
}

async fn all_out(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, first) = t.take(1, &s, &["a"]).await?;
    let second = t.lock(2, &s, &["b"]).await?;
    let third = t.lock(3, &s, &["c", "d"]).await?;
    t.peer.say(grant.recall(Reason::Operator)).await?;
    t.busy(&grant).await?;
    t.unlock(&second).await?;
    t.unlock(&first).await?;
    t.is_quiet("one is still inside").await?;
    t.stands(&third).await?;
    t.unlock(&third).await?;
    t.released(&grant).await.map(drop)
}

async fn expiry_busy(ctx: CaseContext) -> Play {
    mild_busy(ctx, Reason::Expiry).await
}
async fn try_busy(ctx: CaseContext) -> Play {
    mild_busy(ctx, Reason::Try).await
}

async fn mild_busy(ctx: CaseContext, reason: Reason) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.peer.say(grant.recall(reason)).await?;
    t.busy(&grant).await?;
    let other = t.lock(2, &s, &["b"]).await?;
    holds(other.token == grant.token, "the same grant", &other)?;
    t.stands(&lock).await
}

async fn mild_then_waiter(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.peer.say(grant.recall(Reason::Try)).await?;
    t.busy(&grant).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    let id = t.ask(2, &s, &["b"]).await?;
    t.waits(id, "the gate is closed").await?;
    t.unlock(&lock).await?;
    t.released(&grant).await.map(drop)
}

async fn old(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let first = t.keep(&s).await?;
    t.peer.say(first.recall(Reason::Wait)).await?;
    t.released(&first).await?;
    t.peer.say(first.released(Some(first.version))).await?;
    let (second, lock) = t.take(1, &s, &["a"]).await?;
    t.peer.say(first.recall(Reason::Wait)).await?;
    t.settle().await?; // The process may release the old grant again.
    t.stands(&lock).await?;
    let other = t.lock(2, &s, &["b"]).await?;
    holds(other.token == second.token, "the gate is open", other)
}

async fn early(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.waits(id, "there is no grant yet").await?;
    t.peer.say(grant.full([])).await?;
    let lock = t.locked(id).await?;
    t.busy(&grant).await?;
    let other = t.ask(2, &s, &["b"]).await?;
    t.waits(other, "the gate is closed").await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    holds(
        release.requeue.is_some(),
        "a new request: one waits",
        release,
    )
}

async fn early_other(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let old = t.grant_of(&acquire);
    t.peer.say(old.recall(Reason::Wait)).await?;
    t.settle().await?; // The process may release the grant at once.
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    let lock = t.locked(id).await?;
    let other = t.lock(2, &s, &["b"]).await?;
    holds(other.token == grant.token, "the gate is open", other)?;
    t.stands(&lock).await
}

async fn unknown(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let grant = t.grant_for(&session("s"), Request(3));
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.returned(&grant).await?;
    t.is_quiet("the recall has its one answer").await
}

async fn crossed(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let first = t.released(&grant).await?;
    t.peer.forget();
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let again = t.released(&grant).await?;
    holds(again == first, "the same Release", (first, again))
}

async fn in_alive(ctx: CaseContext) -> Play {
    let mut t = ctx
        .scene_with(json!({"keep_alive_ms": 200}), LEASE_MS)
        .await?;
    let keep_alive_ms = t.setting("keep_alive_ms", 10_000)?;
    let s = session("s");
    let grant = t.keep(&s).await?;
    t.peer.keeps_alive = false;
    let count = t.peer.sent.len();
    while t.peer.sent.len() == count {
        t.silence(keep_alive_ms, "the process is idle").await?;
    }
    let ToProcess::Recall { hold, info } = grant.recall(Reason::Wait) else {
        unreachable!("a recall");
    };
    let sent = *t.peer.sent.last().expect("just heard");
    let alive = ToProcess::Alive {
        sent,
        lease_ms: LEASE_MS,
        recalls: vec![(hold, info)],
    };
    t.peer.say(alive).await?;
    t.released(&grant).await.map(drop)
}

async fn storm(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    let other = t.lock(2, &s, &["b"]).await?;
    let reasons = [
        Reason::Try,
        Reason::Wait,
        Reason::Expiry,
        Reason::Operator,
        Reason::Wait,
    ];
    let recalls = (0..50).map(|turn| grant.recall(reasons[turn % reasons.len()]));
    t.peer.say_all(recalls).await?;
    let heard = t.settle().await?;
    let is_busy =
        |message: &ToStore| matches!(message, ToStore::Busy { token, .. } if *token == grant.token);
    holds(
        !heard.is_empty() && heard.iter().all(is_busy),
        "Busy, and nothing else",
        &heard,
    )?;
    t.unlock(&lock).await?;
    t.is_quiet("one is still inside").await?;
    t.unlock(&other).await?;
    t.released(&grant).await?;
    t.is_quiet("the grant is released only once").await
}

async fn storm_of_many(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let mut grants = Vec::new();
    for number in 0..50 {
        grants.push(t.keep(&session(&format!("s{number}"))).await?);
    }
    let recalls: Vec<_> = grants
        .iter()
        .map(|grant| grant.recall(Reason::Wait))
        .collect();
    t.peer.say_all(recalls).await?;
    let mut open: Vec<Token> = grants.iter().map(|grant| grant.token).collect();
    while !open.is_empty() {
        match t.peer.next("the Release of each").await? {
            ToStore::Release(Release { token, .. }) if open.contains(&token) => {
                open.retain(|own| *own != token);
            }
            other => return Err(t.peer.failed("the Release of each, once", other)),
        }
    }
    Ok(())
}

async fn gives_up(ctx: CaseContext) -> Play {
    const DEADLINE_MS: u64 = 1_500;
    let mut t = ctx
        .scene_with(json!({"recall_margin_ms": 1_000}), LEASE_MS)
        .await?;
    let s = session("s");
    let (grant, late) = t.take(1, &s, &["a"]).await?;
    let finished = t.lock(2, &s, &["b"]).await?;
    t.write(&late, "a", "late").await?;
    t.write(&finished, "b", "1").await?;
    t.unlock(&finished).await?;
    t.peer
        .say(grant.recall_in(Reason::Wait, DEADLINE_MS))
        .await?;
    let mut committed = tenure_protocol::Delta::default();
    let released = loop {
        match t
            .peer
            .next_after("a Release before the deadline", DEADLINE_MS)
            .await?
        {
            ToStore::Busy { .. } => {}
            ToStore::Commit(Commit { base, delta, .. }) => {
                let version = t.version();
                t.peer.say(grant.committed(base, version)).await?;
                committed = delta;
            }
            ToStore::Release(Release { token, delta, .. }) if token == grant.token => {
                break delta;
            }
            other => return Err(t.peer.failed("a Release", other)),
        }
    };
    for change in released.changes() {
        committed.set(change.name.clone(), change.value.clone());
    }
    holds(
        committed == delta([("b", Some("1"))]),
        "what the others have finished",
        committed,
    )?;
    t.lost(&late, &["late", "revoked", "lease-lost"]).await
}

async fn later_deadline(ctx: CaseContext) -> Play {
    const DEADLINE_MS: u64 = 2_500;
    const PASSED_MS: u64 = 1_000;
    let mut t = ctx
        .scene_with(json!({"recall_margin_ms": 1_000}), LEASE_MS)
        .await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    let recall = grant.recall_in(Reason::Wait, DEADLINE_MS);
    t.peer.say(recall.clone()).await?;
    t.busy(&grant).await?;
    t.silence(PASSED_MS, "a thread is inside").await?;
    // The same remaining time, stated later: the deadline has moved.
    t.peer.say(recall).await?;
    t.busy(&grant).await?;
    t.silence(PASSED_MS, "the deadline is later now").await?;
    t.stands(&lock).await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    holds(
        release.delta == delta([("a", Some("1"))]),
        "what the thread has written",
        release,
    )
}

async fn late_write_set(ctx: CaseContext) -> Play {
    const DEADLINE_MS: u64 = 1_200;
    let mut t = ctx
        .scene_with(json!({"recall_margin_ms": 1_000}), LEASE_MS)
        .await?;
    let s = session("s");
    let (grant, late) = t.take(1, &s, &["a"]).await?;
    t.write(&late, "a", "late").await?;
    t.peer
        .say(grant.recall_in(Reason::Wait, DEADLINE_MS))
        .await?;
    t.busy(&grant).await?;
    // A process that does not give up the grant by itself loses it at the deadline.
    let expected = "a Release without the late writes, or nothing";
    match t
        .peer
        .hear_within(std::time::Duration::from_millis(DEADLINE_MS + 300))
        .await?
    {
        crate::process::scripted_store::Heard::Message(ToStore::Release(Release {
            delta, ..
        })) => {
            holds(delta.is_empty(), expected, delta)?;
            t.peer.say(grant.released(Some(grant.version))).await?;
        }
        crate::process::scripted_store::Heard::Nothing => t.peer.say(grant.revoked()).await?,
        other => return Err(t.peer.failed(expected, other)),
    }
    t.is_quiet("nothing is left to say").await?;
    t.lost(&late, &["late", "revoked", "lease-lost"]).await?;
    let unlock = t.begin("unlock", &late).await?;
    t.fails(unlock).await?;
    t.is_quiet("its write set is discarded").await?;
    let (_, next) = t.take(1, &s, &["a"]).await?;
    holds(next.text("a").is_none(), "nothing of the late writes", next)
}
