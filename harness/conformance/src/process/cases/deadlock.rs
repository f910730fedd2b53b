//! Cases about deadlocks: reported to the store as needed, and detected among the threads of one process.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Grant, Locked, Scene, session};
use tenure_protocol::message::{Reason, Refusal};

cases! { Process:
    "process/deadlock/busy/blocked-on", Must ["deadlock.blocked-on", "recall.obeyed"] blocked_on,
        "A Busy names the session that a thread inside waits for, and no other session.";
    "process/deadlock/busy/through-threads", Must ["deadlock.blocked-on"] through_threads,
        "A Busy names a session that a thread inside waits for indirectly, through another thread of the process.";
    "process/deadlock/busy/says-again", Must ["deadlock.says-again"] says_again,
        "If the sessions that block the threads inside change, the process sends Busy again.";
    "process/deadlock/local/two-attributes", Must ["deadlock.local", "thread.ends-once"] two_attributes,
        "If two threads wait for each other's attribute, one of them is refused.";
    "process/deadlock/local/two-sessions", Must ["deadlock.local"] two_sessions,
        "A cycle of threads through two sessions of one process is refused, and the refusal names both sessions.";
    "process/deadlock/victims/only-the-cycle", Should ["deadlock.victims"] victims,
        "After a deadlock only threads of the cycle are refused, and other threads keep waiting.";
}

/// Returns a thread inside the recalled session `one`.
async fn recalled(t: &mut Scene) -> Play<(Grant, Locked)> {
    let (grant, lock) = t.take(1, &session("one"), &["a"]).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let blocked = t.busy(&grant).await?;
    holds(blocked.is_empty(), "no session blocks the thread", blocked)?;
    Ok((grant, lock))
}

async fn blocked_on(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [one, two, three] = ["one", "two", "three"].map(session);
    let (grant, _) = t.take(1, &one, &["a"]).await?;
    t.ask(1, &two, &["a"]).await?;
    t.acquired(&two).await?;
    t.ask(9, &three, &["a"]).await?; // A thread outside does not count.
    t.acquired(&three).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let blocked = t.busy(&grant).await?;
    holds(
        blocked == [two],
        "the session that the thread inside waits for",
        blocked,
    )
}

async fn through_threads(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [one, local, far] = ["one", "local", "far"].map(session);
    let (grant, _) = t.take(1, &one, &["a"]).await?;
    t.take(2, &local, &["a"]).await?;
    t.ask(1, &local, &["a"]).await?; // For thread 2,
    t.ask(2, &far, &["a"]).await?; // which waits for the store.
    t.acquired(&far).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let blocked = t.busy(&grant).await?;
    holds(
        blocked == [far],
        "the session behind the other thread",
        blocked,
    )
}

async fn says_again(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, _) = recalled(&mut t).await?;
    let two = session("two");
    let id = t.ask(1, &two, &["a"]).await?;
    let mut acquire = None;
    let mut blocked = Vec::new();
    for _ in 0..2 {
        match t.peer.next("the request, and Busy").await? {
            tenure_protocol::ToStore::Acquire(own) => acquire = Some(own),
            tenure_protocol::ToStore::Busy {
                token, blocked_on, ..
            } if token == grant.token => {
                blocked = blocked_on;
            }
            other => return Err(t.peer.failed("the request, and Busy", other)),
        }
    }
    holds(blocked == [two], "blocked on the second session", blocked)?;
    let Some(acquire) = acquire else {
        return holds(false, "a request", ());
    };
    let next = t.grant_of(&acquire);
    t.peer.say(next.full([])).await?;
    t.locked(id).await?;
    let blocked = t.busy(&grant).await?;
    holds(
        blocked.is_empty(),
        "no session blocks the thread any more",
        blocked,
    )
}

async fn two_attributes(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, one) = t.take(1, &s, &["a"]).await?;
    let two = t.lock(2, &s, &["b"]).await?;
    let first = t.ask(1, &s, &["b"]).await?;
    t.waits(first, "thread 2 has it").await?;
    let second = t.ask(2, &s, &["a"]).await?;
    t.is_quiet("the store is not involved").await?;
    let (victim, other, free) = if t.adapter.has_answered(second)? {
        (second, first, two)
    } else {
        (first, second, one)
    };
    let cycle = t.refused(victim, "deadlock").await?;
    holds(cycle.contains(&s), "the session of the cycle", cycle)?;
    t.unlock(&free).await?;
    t.locked(other).await.map(drop)
}

async fn two_sessions(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [r, s] = ["r", "s"].map(session);
    let (_, one) = t.take(1, &r, &["a"]).await?;
    let (_, two) = t.take(2, &s, &["a"]).await?;
    let first = t.ask(1, &s, &["a"]).await?;
    t.waits(first, "thread 2 has it").await?;
    let second = t.ask(2, &r, &["a"]).await?;
    t.is_quiet("the store is not involved").await?;
    let (victim, other, free) = if t.adapter.has_answered(second)? {
        (second, first, two)
    } else {
        (first, second, one)
    };
    let cycle = t.refused(victim, "deadlock").await?;
    holds(
        cycle.contains(&r) && cycle.contains(&s),
        "both sessions",
        cycle,
    )?;
    t.unlock(&free).await?;
    t.locked(other).await.map(drop)
}

async fn victims(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [one, two] = ["one", "two"].map(session);
    let (grant, lock) = recalled(&mut t).await?;
    let stranger = t.ask(9, &two, &["b"]).await?;
    let acquire = t.acquired(&two).await?;
    let victim = t.ask(1, &two, &["a"]).await?;
    t.busy(&grant).await?;
    let cycle = vec![one.clone(), two.clone()];
    t.refuse(&acquire, Refusal::Deadlock { cycle }).await?;
    let named = t.refused(victim, "deadlock").await?;
    holds(
        named.contains(&one) && named.contains(&two),
        "the cycle",
        named,
    )?;
    let mut heard = t.peer.next("a new request for the stranger").await?;
    if matches!(heard, tenure_protocol::ToStore::Busy { .. }) {
        heard = t.peer.next("a new request for the stranger").await?; // The first message was a Busy without sessions.
    }
    let tenure_protocol::ToStore::Acquire(next) = heard else {
        return Err(t.peer.failed("a new request for the stranger", heard));
    };
    holds(next.request > acquire.request, "a new request", &next)?;
    t.stands(&lock).await?;
    let granted = t.grant_of(&next);
    t.peer.say(granted.full([])).await?;
    t.locked(stranger).await.map(drop)
}
