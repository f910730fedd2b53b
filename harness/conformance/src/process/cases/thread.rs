//! Cases about threads: the attributes that they lock, the values that they see, and the answers that they receive.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{delta, session};
use serde_json::json;
use tenure_protocol::message::{Reason, Refusal};

cases! { Process:
    "process/thread/grant/needed", Must ["thread.needs-grant", "thread.asks"] needs_grant,
        "A thread gets no attribute of a session before its process has the grant.";
    "process/thread/attribute/one-at-a-time", Must ["thread.one-per-attribute"] one_per_attribute,
        "An attribute that one thread has locked is given to no other thread, whichever way it is requested.";
    "process/thread/attribute/side-by-side", Must ["thread.needs-grant", "thread.sees-state"] side_by_side,
        "Threads that use different attributes each see the granted values.";
    "process/thread/together/all-or-none", Must ["thread.together"] together,
        "A request for several attributes locks all at once, and none of them while it waits.";
    "process/thread/state/last-unlocked", Must ["thread.sees-state"] last_unlocked,
        "A thread sees the values that the last thread has unlocked, and granted values for all other attributes.";
    "process/thread/state/new-grant", Must ["thread.sees-state"] new_grant,
        "Under a new grant, threads see the changes of other processes.";
    "process/thread/stranger/refused", Must ["thread.stranger"] stranger,
        "An operation on an attribute that the thread has not locked is refused.";
    "process/thread/discard/no-trace", Must ["thread.discards"] discards,
        "Discarded changes are seen by no other thread and are not sent.";
    "process/thread/discard/behind-the-gate", Must ["thread.discards"] discards_recalled,
        "Changes discarded behind a closed gate are not sent.";
    "process/thread/told/writes-refused", Must ["thread.told", "thread.discards"] told,
        "After the loss of a grant, a thread's write set is discarded, whatever the thread does next.";
    "process/thread/once/granted-and-refused", Must ["thread.ends-once", "end.stray"] once,
        "A lock is answered once, even if the store grants, grants again and refuses.";
    "process/thread/once/cancel-crosses-grant", Must ["thread.ends-once"] cancel_crosses,
        "If a cancel crosses its grant, the lock is answered once and no attribute stays locked.";
    "process/thread/once/already-locked", Must ["thread.ends-once", "thread.one-per-attribute"] already_locked,
        "A thread that requests an attribute it has locked is refused, and keeps the attribute.";
    "process/thread/deadline/at-the-store", Must ["thread.deadline", "end.cancels"] deadline,
        "A thread's wait for the store ends at its own deadline.";
    "process/thread/deadline/at-an-attribute", Must ["thread.deadline"] deadline_local,
        "A thread's wait for another thread ends at its own deadline.";
    "process/thread/deadline/without-connection", Must ["thread.deadline"] deadline_alone,
        "A thread's wait also ends at its own deadline while there is no connection.";
    "process/thread/asks/after-refusal", Must ["thread.asks", "end.requests-rise"] asks_again,
        "After one thread was refused, the next thread's lock sends a new request to the store.";
}

async fn needs_grant(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let one = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let all = t.ask(2, &s, &[]).await?;
    t.waits(one, "there is no grant").await?;
    t.still_waits(all, "there is no grant").await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    t.locked(one).await.map(drop)
}

async fn one_per_attribute(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, lock) = t.take(1, &s, &["a"]).await?;
    let mut waiting = Vec::new();
    for (thread, names) in [(2, &["a"][..]), (3, &["a", "b"]), (4, &[])] {
        waiting.push(t.ask(thread, &s, names).await?);
    }
    t.is_quiet("the process has the session").await?;
    for id in &waiting {
        t.still_waits(*id, "thread 1 has the attribute").await?;
    }
    t.unlock(&lock).await?;
    for (place, id) in waiting.iter().enumerate() {
        let lock = t.locked(*id).await?;
        t.is_quiet("one is inside").await?;
        for later in &waiting[place + 1..] {
            t.still_waits(*later, "an earlier one has the attribute")
                .await?;
        }
        t.unlock(&lock).await?;
    }
    Ok(())
}

async fn side_by_side(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, one) = t
        .take_full(1, &s, &["a"], &[("a", "1"), ("b", "2")])
        .await?;
    let two = t.lock(2, &s, &["b"]).await?;
    holds(one.text("a").as_deref() == Some("1"), "a=1", &one)?;
    holds(
        two.text("b").as_deref() == Some("2") && two.token == grant.token,
        "b=2",
        &two,
    )?;
    t.write(&two, "b", "3").await?;
    holds(
        t.read(&two, "b").await?.as_deref() == Some("3"),
        "its own write",
        (),
    )
}

async fn together(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, lock) = t.take(1, &s, &["b"]).await?;
    let both = t.ask(2, &s, &["a", "b", "c"]).await?;
    t.waits(both, "one of them is locked").await?;
    t.cancel(both).await?;
    t.refused(both, "cancelled").await?;
    for name in ["a", "c"] {
        let id = t.try_for(3, &s, &[name]).await?;
        let free = t.locked(id).await?;
        t.unlock(&free).await?;
    }
    let both = t.ask(2, &s, &["a", "b", "c"]).await?;
    t.unlock(&lock).await?;
    t.locked(both).await?;
    for name in ["a", "b", "c"] {
        let id = t.try_for(3, &s, &[name]).await?;
        t.refused(id, "would-block").await?;
    }
    Ok(())
}

async fn last_unlocked(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, lock) = t
        .take_full(1, &s, &["a"], &[("a", "1"), ("b", "1")])
        .await?;
    t.write(&lock, "a", "2").await?;
    t.unlock(&lock).await?;
    let lock = t.lock(2, &s, &["a"]).await?;
    holds(lock.text("a").as_deref() == Some("2"), "a=2", &lock)?;
    t.write(&lock, "a", "3").await?;
    t.unlock(&lock).await?;
    let lock = t.lock(3, &s, &[]).await?;
    let has = ["a", "b"].map(|name| lock.text(name).unwrap_or_default());
    holds(has == ["3", "1"], "a=3, b=1", has)
}

async fn new_grant(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t
        .take_full(1, &s, &["a"], &[("a", "1"), ("b", "1")])
        .await?;
    t.write(&lock, "a", "2").await?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.released(&grant).await?;
    t.peer.say(grant.released(Some(grant.version))).await?;
    let id = t.ask(2, &s, &[]).await?;
    let acquire = t.acquired(&s).await?;
    let next = t.grant_of(&acquire);
    t.peer.say(next.full([("a", "theirs")])).await?;
    let lock = t.locked(id).await?;
    let is_new = lock.text("a").as_deref() == Some("theirs") && lock.text("b").is_none();
    holds(is_new, "what others have written and removed", lock)
}

async fn stranger(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take_full(1, &s, &["a"], &[("b", "1")]).await?;
    let refused = t.try_write(&lock, "b", "2").await?;
    holds(refused.is_err(), "a refusal", refused)?;
    t.unlock(&lock).await?;
    let other = t.lock(2, &s, &["a"]).await?;
    // The first thread has left, and another thread has the attribute.
    let refused = t.try_write(&lock, "a", "2").await?;
    holds(refused.is_err(), "a refusal", refused)?;
    let again = t.begin("unlock", &lock).await?;
    t.fails(again).await?;
    let third = t.ask(3, &s, &["a"]).await?;
    t.waits(third, "thread 2 has the attribute").await?;
    t.unlock(&other).await?;
    let third = t.locked(third).await?;
    t.unlock(&third).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    holds(release.delta.is_empty(), "no changes", release)
}

async fn discards(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take_full(1, &s, &["a", "b"], &[("a", "1")]).await?;
    t.write(&lock, "a", "2").await?;
    t.write(&lock, "b", "2").await?;
    let id = t.begin("discard", &lock).await?;
    t.done(id).await?;
    let lock = t.lock(2, &s, &["a"]).await?;
    holds(lock.text("a").as_deref() == Some("1"), "a=1", &lock)?;
    t.write(&lock, "a", "3").await?;
    let id = t.begin("discard", &lock).await?;
    t.done(id).await?;
    let lock = t.lock(3, &s, &[]).await?;
    let is_old = lock.text("a").as_deref() == Some("1") && lock.text("b").is_none();
    holds(is_old, "a=1 alone", &lock)?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    holds(release.delta.is_empty(), "no changes", release)
}

async fn discards_recalled(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, one) = t.take_full(1, &s, &["a"], &[("a", "1")]).await?;
    let many = t.lock(2, &s, &["b", "c"]).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    t.write(&one, "a", "2").await?;
    t.write(&many, "b", "2").await?;
    for lock in [&one, &many] {
        let id = t.begin("discard", lock).await?;
        t.done(id).await?;
    }
    let release = t.released(&grant).await?;
    holds(release.delta.is_empty(), "no changes", release)
}

async fn told(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    t.peer.say(grant.revoked()).await?;
    t.is_quiet("the grant is lost").await?;
    t.try_write(&lock, "a", "2").await?.ok(); // Refused, or discarded.
    let id = t.begin("commit", &lock).await?;
    t.fails(id).await?;
    let id = t.begin("unlock", &lock).await?;
    t.fails(id).await?;
    let (next, lock) = t.take(2, &s, &["a"]).await?;
    holds(lock.text("a").is_none(), "nothing of what was lost", &lock)?;
    t.unlock(&lock).await?;
    t.peer.say(next.recall(Reason::Wait)).await?;
    let release = t.released(&next).await?;
    holds(release.delta.is_empty(), "no changes", release)
}

async fn once(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let grant = t.grant_of(&acquire);
    t.peer.say_all([grant.full([]), grant.full([])]).await?;
    t.refuse(&acquire, Refusal::WouldBlock).await?;
    t.peer.say(grant.full([])).await?;
    let lock = t.locked(id).await?;
    t.is_quiet("the process has the grant").await?;
    t.stands(&lock).await?;
    // A second answer would have arrived by now.
    t.unlock(&lock).await
}

async fn cancel_crosses(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    for number in 0..5 {
        let s = session(&format!("s{number}"));
        let id = t.ask(1, &s, &["a"]).await?;
        let acquire = t.acquired(&s).await?;
        let grant = t.grant_of(&acquire);
        t.peer.say(grant.full([])).await?;
        t.cancel(id).await?;
        match t.adapter.answer(id).await? {
            Ok(_) => {
                let unlock = t.adapter.begin("unlock", json!({"lock": id})).await?;
                t.done(unlock).await?;
            }
            Err(refused) => holds(refused.kind == "cancelled", "`cancelled`", refused)?,
        }
        t.settle().await?;
        // The attribute is free. The lock succeeds at once, or after a request to the store if the session was
        // released.
        let id = t.ask(2, &s, &["a"]).await?;
        let heard = t.settle().await?;
        if let Some(tenure_protocol::ToStore::Acquire(acquire)) = heard.last() {
            let grant = t.grant_of(acquire);
            t.peer.say(grant.full([])).await?;
        }
        t.locked(id).await?;
    }
    Ok(())
}

async fn already_locked(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, lock) = t.take(1, &s, &["a"]).await?;
    for names in [&["a"][..], &["a", "b"]] {
        let id = t.ask(1, &s, names).await?;
        t.fails(id).await?;
    }
    t.stands(&lock).await?;
    let other = t.try_for(2, &s, &["a"]).await?;
    t.refused(other, "would-block").await.map(drop)
}

async fn deadline(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask_with(1, &s, &["a"], json!({"wait_ms": 300})).await?;
    t.acquired(&s).await?;
    t.refused(id, "deadline").await.map(drop)
}

async fn deadline_local(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (_, lock) = t.take(1, &s, &["a"]).await?;
    let id = t.ask_with(2, &s, &["a"], json!({"wait_ms": 300})).await?;
    let behind = t.ask(3, &s, &["a"]).await?;
    t.refused(id, "deadline").await?;
    t.stands(&lock).await?;
    t.unlock(&lock).await?;
    t.locked(behind).await.map(drop)
}

async fn deadline_alone(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    t.reconnect().await?;
    let id = t.ask_with(1, &s, &["a"], json!({"wait_ms": 300})).await?;
    t.refused(id, "deadline").await?;
    t.welcome(Vec::new(), Vec::new()).await?;
    let heard = t.settle().await?;
    let asks = |message: &tenure_protocol::ToStore| {
        matches!(message, tenure_protocol::ToStore::Acquire(_))
    };
    holds(
        !heard.iter().any(asks),
        "no request, because no thread waits",
        heard,
    )
}

async fn asks_again(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.refuse(&acquire, Refusal::Gone).await?;
    t.refused(id, "gone").await?;
    let (grant, lock) = t.take(2, &s, &["a"]).await?;
    holds(
        grant.request > acquire.request,
        "a greater request",
        grant.request,
    )?;
    t.write(&lock, "a", "1").await?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    holds(
        release.delta == delta([("a", Some("1"))]),
        "the written changes",
        release,
    )
}
