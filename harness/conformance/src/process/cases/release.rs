//! Cases about releases: complete, final, and repeated until answered.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Grant, Scene, delta, session};
use crate::process::scripted_store::LEASE_MS;
use serde_json::json;
use tenure_protocol::ToStore;
use tenure_protocol::message::Reason;

cases! { Process:
    "process/release/whole/with-unanswered-commit", Must ["release.whole"] with_unanswered_commit,
        "A Release also contains the changes of a Commit that was not answered.";
    "process/release/whole/since-commit", Must ["release.whole", "commit.told"] since_commit,
        "A Release after an answered Commit is based on the version of that Commit.";
    "process/release/whole/removed", Must ["release.whole"] removed,
        "A Release removes each attribute that a thread has removed.";
    "process/release/over/nobody-enters", Must ["release.over", "end.one-at-a-time"] over,
        "Until a Release is answered, no thread enters and no request is sent.";
    "process/release/over/old-grant-again", Must ["release.over", "grant.unasked"] old_grant_again,
        "A grant message that arrives again after its Release admits no thread.";
    "process/release/lost/no-base", Must ["release.drops-lost", "grant.known"] lost,
        "After a Released without a version, the client state is used neither for threads nor as a base.";
    "process/release/lost/with-requeue", Must ["release.drops-lost"] lost_with_requeue,
        "After a Released without a version, a new grant with a delta to the old state is released.";
    "process/release/changes/only-changed", Should ["release.really-changed"] only_changed,
        "A Release omits attributes whose value is unchanged.";
    "process/release/voluntary/idle", May ["release.voluntary"] voluntary,
        "A process releases a session when its application requests that.";
    "process/release/voluntary/not-while-used", Must ["recall.keeps-until-out"] voluntary_inside,
        "A session that a thread uses is not released, even if the application requests it.";
    "process/release/repeated/known", Must ["reconnect.repeats", "reconnect.names-holds"] repeated,
        "A Release without an answer is sent again, unchanged, on the next connection.";
    "process/release/repeated/resend", Should ["end.resends"] resent,
        "A Release without an answer is sent again on the same connection.";
    "process/release/repeated/unknown", Must ["reconnect.lost", "release.drops-lost"] repeated_unknown,
        "A Release that the next Welcome does not know has ended, and its state is dropped.";
    "process/release/revoked/while-releasing", Must ["fence.revoked", "release.drops-lost"] revoked_while_releasing,
        "If a grant is revoked while its Release is in flight, its state is not used as a base.";
}

async fn with_unanswered_commit(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take_full(1, &s, &["a"], &[("z", "0")]).await?;
    t.write(&lock, "a", "1").await?;
    let commit = t.begin("commit", &lock).await?;
    let first = t.committed(&grant).await?;
    holds(
        first.base == grant.version,
        "the version of the grant",
        &first,
    )?;
    t.cancel(commit).await?;
    t.refused(commit, "cancelled").await?;
    t.unlock(&lock).await?;
    let other = t.lock(2, &s, &["b"]).await?;
    t.write(&other, "b", "2").await?;
    t.unlock(&other).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    holds(
        release.base == grant.version,
        "the version of the grant",
        &release,
    )?;
    let both = delta([("a", Some("1")), ("b", Some("2"))]);
    holds(release.delta == both, "the changes of both", release)
}

async fn since_commit(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    let id = t.begin("commit", &lock).await?;
    let commit = t.committed(&grant).await?;
    let version = t.version();
    t.peer.say(grant.committed(commit.base, version)).await?;
    t.done(id).await?;
    t.unlock(&lock).await?;
    let other = t.lock(2, &s, &["b"]).await?;
    t.write(&other, "b", "2").await?;
    t.unlock(&other).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    holds(
        release.base == version,
        "the version that the commit made",
        &release,
    )?;
    let names_b = release
        .delta
        .changes()
        .iter()
        .any(|change| change.name.as_bytes() == b"b");
    holds(names_b, "what was unlocked since", release)
}

async fn removed(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take_full(1, &s, &[], &[("a", "1"), ("b", "2")]).await?;
    let with = json!({"lock": lock.id, "attribute": "61", "value": null});
    let id = t.adapter.begin("write", with).await?;
    t.done(id).await?;
    holds(t.read(&lock, "a").await?.is_none(), "no value", ())?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    holds(release.delta == delta([("a", None)]), "a removal", release)
}

/// Returns a grant whose release is in flight, after a thread wrote `a`.
async fn releasing(t: &mut Scene) -> Play<Grant> {
    let (grant, lock) = t.take_full(1, &session("s"), &["a"], &[("b", "1")]).await?;
    t.write(&lock, "a", "1").await?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.released(&grant).await?;
    Ok(grant)
}

async fn over(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let grant = releasing(&mut t).await?;
    let id = t.ask(2, &s, &["a"]).await?;
    t.waits(id, "the release is not answered").await?;
    t.peer.say(grant.released(Some(grant.version))).await?;
    let acquire = t.acquired(&s).await?;
    holds(
        acquire.request > grant.request,
        "a greater request",
        &acquire,
    )?;
    let next = t.grant_of(&acquire);
    t.peer.say(next.full([])).await?;
    t.locked(id).await.map(drop)
}

async fn old_grant_again(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let grant = releasing(&mut t).await?;
    let id = t.ask(2, &s, &["a"]).await?;
    t.peer.say(grant.full([])).await?;
    t.settle().await?; // The process may release the grant once more.
    t.still_waits(id, "that grant is over").await
}

async fn lost(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let grant = releasing(&mut t).await?;
    t.peer.say(grant.released(None)).await?;
    let id = t.ask(2, &s, &[]).await?;
    let acquire = t.acquired(&s).await?;
    holds(acquire.known.is_none(), "no known version", &acquire)?;
    let next = t.grant_of(&acquire);
    t.peer.say(next.full([("c", "3")])).await?;
    let lock = t.locked(id).await?;
    let is_new = lock.text("c").is_some() && lock.text("a").is_none() && lock.text("b").is_none();
    holds(is_new, "the state of the new grant alone", lock)
}

async fn lost_with_requeue(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take_full(1, &s, &["a"], &[("b", "1")]).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    let id = t.ask(2, &s, &["a"]).await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    let Some(request) = release.requeue else {
        return holds(false, "a new request, because a thread waits", release);
    };
    let next = t.grant_for(&s, request);
    let unchanged = next.with(tenure_protocol::attributes::State::Unchanged, None);
    t.peer.say_all([grant.released(None), unchanged]).await?;
    t.returned(&next).await?;
    let acquire = t.acquired(&s).await?;
    t.still_waits(id, "that grant has no base").await?;
    holds(acquire.known.is_none(), "no known version", acquire)
}

async fn only_changed(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let attributes = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
    let (grant, lock) = t.take_full(1, &s, &[], &attributes).await?;
    t.write(&lock, "a", "1").await?;
    t.write(&lock, "b", "2").await?;
    t.write(&lock, "b", "1").await?;
    t.write(&lock, "c", "2").await?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let release = t.released(&grant).await?;
    holds(
        release.delta == delta([("c", Some("2"))]),
        "only what has another value",
        release,
    )
}

async fn voluntary(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let grant = t.keep(&s).await?;
    let id = t.adapter.begin("release", json!({"session": "73"})).await?;
    t.done(id).await?;
    t.released(&grant).await.map(drop)
}

async fn voluntary_inside(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (_, lock) = t.take(1, &session("s"), &["a"]).await?;
    t.adapter
        .call("release", json!({"session": "73"}))
        .await?
        .ok();
    t.is_quiet("a thread is inside").await?;
    t.stands(&lock).await
}

async fn repeated(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    t.ask(2, &s, &["b"]).await?;
    t.unlock(&lock).await?;
    let first = t.released(&grant).await?;
    for _ in 0..2 {
        t.reconnect().await?;
        holds(
            t.opening.holds == [grant.hold()],
            "the released grant",
            &t.opening,
        )?;
        t.welcome(vec![grant.hold()], Vec::new()).await?;
        let again = t.released(&grant).await?;
        holds(again == first, "the same Release", (&first, again))?;
    }
    Ok(())
}

async fn resent(ctx: CaseContext) -> Play {
    let mut t = ctx.scene_with(json!({"resend_ms": 200}), LEASE_MS).await?;
    let resend_ms = t.setting("resend_ms", 5_000)?;
    let s = session("s");
    let grant = t.keep(&s).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    let first = t.released(&grant).await?;
    for _ in 0..2 {
        t.peer.forget();
        let again = t.released_after(&grant, resend_ms).await?;
        holds(again == first, "the same Release", (&first, again))?;
    }
    Ok(())
}

async fn repeated_unknown(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let grant = releasing(&mut t).await?;
    t.reconnect().await?;
    holds(
        t.opening.holds == [grant.hold()],
        "the released grant",
        &t.opening,
    )?;
    t.welcome(Vec::new(), Vec::new()).await?;
    t.is_quiet("the grant is over").await?;
    t.ask(2, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    holds(acquire.known.is_none(), "no known version", acquire)
}

async fn revoked_while_releasing(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let grant = releasing(&mut t).await?;
    t.peer
        .say_all([grant.revoked(), grant.released(None)])
        .await?;
    t.is_quiet("the grant is over").await?;
    let id = t.ask(2, &s, &["a"]).await?;
    let ToStore::Acquire(acquire) = t.peer.next("a new request").await? else {
        return holds(false, "a new request", ());
    };
    holds(acquire.known.is_none(), "no known version", &acquire)?;
    let next = t.grant_of(&acquire);
    t.peer.say(next.full([])).await?;
    let lock = t.locked(id).await?;
    holds(lock.text("a").is_none(), "nothing of the old state", lock)
}
