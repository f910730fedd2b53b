//! Cases about commits: one at a time, repeated unchanged, and durable when the store confirms it.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{delta, session};
use crate::process::scripted_store::LEASE_MS;
use serde_json::json;
use tenure_protocol::ToStore;
use tenure_protocol::message::{Commit, Reason};

cases! { Process:
    "process/commit/one/at-a-time", Must ["commit.one-at-a-time"] one_at_a_time,
        "A second commit of a session is sent only after the first was answered, and names the version of that answer.";
    "process/commit/one/per-session", Must ["commit.told"] per_session,
        "Each of two commits of different sessions is answered by the Committed of its own session.";
    "process/commit/again/next-connection", Must ["reconnect.repeats"] next_connection,
        "A commit without an answer is sent again, unchanged, on the next connection.";
    "process/commit/again/same-connection", Should ["end.resends"] same_connection,
        "A commit without an answer is sent again on the same connection.";
    "process/commit/again/same-content", Must ["reconnect.repeats"] same_content,
        "A commit that is sent again has the same changes, even if more was unlocked meanwhile.";
    "process/commit/told/not-before", Must ["commit.told"] not_before,
        "A thread is notified that its changes are durable after the store has confirmed it, and not before.";
    "process/commit/told/other-base", Must ["commit.told"] other_base,
        "A Committed with another base version does not answer a commit.";
    "process/commit/told/other-token", Must ["commit.told"] other_token,
        "A Committed with another token does not answer a commit.";
    "process/commit/recall/keeps-on", Must ["recall.keeps-until-out", "commit.told"] under_recall_kept,
        "A thread may commit behind a closed gate, and receives the result.";
    "process/commit/recall/as-they-leave", Should ["commit.under-recall"] as_they_leave,
        "If a thread leaves during a recall while other threads are inside, its changes are committed.";
    "process/commit/lost/revoked", Must ["thread.told", "fence.revoked"] revoked,
        "If a grant is revoked while a commit is in flight, the committing thread is notified that the grant is lost.";
}

async fn one_at_a_time(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, first) = t.take(1, &s, &["a"]).await?;
    let second = t.lock(2, &s, &["b"]).await?;
    t.write(&first, "a", "1").await?;
    t.write(&second, "b", "2").await?;
    let one = t.begin("commit", &first).await?;
    let commit = t.committed(&grant).await?;
    let two = t.begin("commit", &second).await?;
    t.waits(two, "one commit is out").await?;
    t.still_waits(one, "the store has not answered").await?;
    let version = t.version();
    t.peer.say(grant.committed(commit.base, version)).await?;
    t.done(one).await?;
    let next = t.committed(&grant).await?;
    holds(next.base == version, "the version of the first", &next)?;
    holds(
        next.delta == delta([("b", Some("2"))]),
        "the second's changes",
        &next,
    )?;
    t.still_waits(two, "the store has not answered").await?;
    let version = t.version();
    t.peer.say(grant.committed(next.base, version)).await?;
    t.done(two).await.map(drop)
}

async fn per_session(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let [r, s] = ["r", "s"].map(session);
    let (of_r, in_r) = t.take(1, &r, &["a"]).await?;
    let (of_s, in_s) = t.take(2, &s, &["a"]).await?;
    t.write(&in_r, "a", "1").await?;
    t.write(&in_s, "a", "2").await?;
    let one = t.begin("commit", &in_r).await?;
    let commit_r = t.committed(&of_r).await?;
    let two = t.begin("commit", &in_s).await?;
    let commit_s = t.committed(&of_s).await?;
    let version = t.version();
    t.peer.say(of_s.committed(commit_s.base, version)).await?;
    t.done(two).await?;
    t.waits(one, "only the other was answered").await?;
    let version = t.version();
    t.peer.say(of_r.committed(commit_r.base, version)).await?;
    t.done(one).await.map(drop)
}

async fn next_connection(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take(1, &session("s"), &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    let id = t.begin("commit", &lock).await?;
    let first = t.committed(&grant).await?;
    for _ in 0..2 {
        t.come_back().await?;
        let again = t.committed(&grant).await?;
        holds(again == first, "the same Commit", (&first, again))?;
    }
    t.still_waits(id, "the store has not answered").await?;
    let version = t.version();
    t.peer.say(grant.committed(first.base, version)).await?;
    t.done(id).await.map(drop)
}

async fn same_connection(ctx: CaseContext) -> Play {
    let mut t = ctx.scene_with(json!({"resend_ms": 200}), LEASE_MS).await?;
    let resend_ms = t.setting("resend_ms", 5_000)?;
    let (grant, lock) = t.take(1, &session("s"), &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    t.begin("commit", &lock).await?;
    let first = t.committed(&grant).await?;
    for _ in 0..2 {
        t.peer.forget();
        match t.peer.next_after("the Commit again", resend_ms).await? {
            ToStore::Commit(Commit {
                base, delta, token, ..
            }) => {
                let is_same = (token, base, &delta) == (first.token, first.base, &first.delta);
                holds(is_same, "the same Commit", delta)?;
            }
            other => return Err(t.peer.failed("the Commit again", other)),
        }
    }
    Ok(())
}

async fn same_content(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    t.begin("commit", &lock).await?;
    let first = t.committed(&grant).await?;
    let other = t.lock(2, &s, &["b"]).await?;
    t.write(&other, "b", "2").await?;
    t.unlock(&other).await?;
    t.come_back().await?;
    let again = t.committed(&grant).await?;
    holds(again == first, "the same Commit", (first, again))
}

async fn not_before(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take(1, &session("s"), &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    let id = t.begin("commit", &lock).await?;
    let commit = t.committed(&grant).await?;
    holds(
        commit.delta == delta([("a", Some("1"))]),
        "the written changes",
        &commit,
    )?;
    t.waits(id, "the commit is not durable").await?;
    t.come_back().await?;
    t.committed(&grant).await?;
    t.waits(id, "the commit is not durable").await?;
    let version = t.version();
    t.peer.say(grant.committed(commit.base, version)).await?;
    t.done(id).await.map(drop)
}

async fn other_base(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take(1, &session("s"), &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    let id = t.begin("commit", &lock).await?;
    let commit = t.committed(&grant).await?;
    let (wrong, version) = (t.version(), t.version());
    t.peer.say(grant.committed(wrong, version)).await?;
    t.waits(id, "the answer names another base").await?;
    t.peer.say(grant.committed(commit.base, version)).await?;
    t.done(id).await.map(drop)
}

async fn other_token(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    let id = t.begin("commit", &lock).await?;
    let commit = t.committed(&grant).await?;
    let wrong = t.grant_for(&s, grant.request);
    let version = t.version();
    t.peer.say(wrong.committed(commit.base, version)).await?;
    t.waits(id, "the answer names another grant").await?;
    t.peer.say(grant.committed(commit.base, version)).await?;
    t.done(id).await.map(drop)
}

async fn under_recall_kept(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take(1, &session("s"), &["a"]).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    t.write(&lock, "a", "1").await?;
    let id = t.begin("commit", &lock).await?;
    let commit = t.committed(&grant).await?;
    t.waits(id, "the store has not answered").await?;
    let version = t.version();
    t.peer.say(grant.committed(commit.base, version)).await?;
    t.done(id).await?;
    t.is_quiet("the thread is still inside").await?;
    t.unlock(&lock).await?;
    t.released(&grant).await.map(drop)
}

async fn as_they_leave(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, first) = t.take(1, &s, &["a"]).await?;
    let second = t.lock(2, &s, &["b"]).await?;
    t.write(&first, "a", "1").await?;
    t.write(&second, "b", "2").await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.busy(&grant).await?;
    t.unlock(&first).await?;
    let commit = t.committed(&grant).await?;
    holds(
        commit.delta == delta([("a", Some("1"))]),
        "the unlocked changes, and no more",
        commit,
    )
}

async fn revoked(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take(1, &session("s"), &["a"]).await?;
    t.write(&lock, "a", "1").await?;
    let id = t.begin("commit", &lock).await?;
    let commit = t.committed(&grant).await?;
    let version = t.version();
    t.peer
        .say_all([grant.revoked(), grant.committed(commit.base, version)])
        .await?;
    t.fails(id).await?;
    t.lost(&lock, &["revoked", "lease-lost"]).await
}
