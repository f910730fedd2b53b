//! Cases about renamed sessions.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Grant, Locked, Scene, delta, session};
use tenure_protocol::message::{Reason, Refusal};
use tenure_protocol::{ToProcess, ToStore, Token};

cases! { Process:
    "process/rename/done/new-hold", Must ["rename.new-hold", "fence.token-shown"] new_hold,
        "After a rename, all messages use the new id and the new token.";
    "process/rename/done/reconnect", Must ["rename.new-hold", "reconnect.names-holds"] reconnect,
        "After a rename, a hello lists the new id and the new token.";
    "process/rename/done/old-id", Must ["rename.new-hold", "thread.asks"] old_id,
        "After a rename, a lock on the old id is a new request.";
    "process/rename/done/recall-of-old", Must ["recall.old", "rename.new-hold"] recall_of_old,
        "A recall under the old id does not close the gate of the renamed session.";
    "process/rename/refused/taken", Must ["thread.ends-once", "recall.keeps-until-out"] taken,
        "A rename to an id that is taken fails, and the thread keeps its locks.";
    "process/rename/unasked/ignored", Must ["end.stray"] unasked,
        "A Gone that answers no message of the process is ignored.";
    "process/rename/unasked/other", Must ["end.stray"] other,
        "A Gone with another id or token does not answer a rename.";
    "process/rename/pending/nobody-enters", Must ["destroy.nobody-enters"] nobody_enters,
        "While a Rename is unanswered, no thread enters the session.";
    "process/rename/repeated/next-connection", Must ["reconnect.repeats"] repeated,
        "A Rename without an answer is sent again on the next connection.";
}

/// Begins to rename `s` to `to`, and waits until the store has received the Rename.
async fn renaming(t: &mut Scene) -> Play<(Grant, Locked, u64)> {
    let (grant, lock) = t.take_full(1, &session("s"), &[], &[("a", "1")]).await?;
    let id = t.rename(&lock, &session("to")).await?;
    heard(t, &grant).await?;
    Ok((grant, lock, id))
}

async fn heard(t: &mut Scene, grant: &Grant) -> Play {
    let heard = t.peer.next("Rename").await?;
    let expected = ToStore::Rename {
        session: grant.session.clone(),
        token: grant.token,
        to: session("to"),
    };
    holds(heard == expected, "Rename", heard)
}

/// Returns a session that was renamed to `to`.
async fn renamed(t: &mut Scene) -> Play<(Grant, Grant, Locked)> {
    let (grant, lock, id) = renaming(t).await?;
    let mut next = t.grant_for(&session("to"), grant.request);
    next.version = grant.version;
    t.peer.say(grant.gone(Some(next.hold()))).await?;
    let ok = t.done(id).await?;
    let Token(token) = next.token;
    let shown = serde_json::json!([token.epoch, token.sequence]);
    holds(ok.get("token") == Some(&shown), "the new token", ok)?;
    Ok((grant, next, lock))
}

async fn new_hold(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (_, next, lock) = renamed(&mut t).await?;
    t.write(&lock, "b", "2").await?;
    let id = t.begin("commit", &lock).await?;
    let commit = t.committed(&next).await?;
    holds(
        commit.base == next.version,
        "the session's former version",
        &commit,
    )?;
    let version = t.version();
    t.peer.say(next.committed(commit.base, version)).await?;
    t.done(id).await?;
    t.unlock(&lock).await?;
    let other = t.lock(2, &session("to"), &["a"]).await?;
    let is_same = other.token == next.token && other.text("a").as_deref() == Some("1");
    holds(is_same, "the session under its new id", &other)?;
    t.write(&other, "a", "3").await?;
    t.peer.say(next.recall(Reason::Wait)).await?;
    t.busy(&next).await?;
    t.unlock(&other).await?;
    let release = t.released(&next).await?;
    let is_right = release.base == version && release.delta == delta([("a", Some("3"))]);
    holds(is_right, "what changed since the commit", release)
}

async fn reconnect(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (_, next, lock) = renamed(&mut t).await?;
    t.reconnect().await?;
    holds(t.opening.holds == [next.hold()], "the new hold", &t.opening)?;
    t.welcome(vec![next.hold()], Vec::new()).await?;
    t.is_quiet("nothing is unanswered").await?;
    t.stands(&lock).await
}

async fn old_id(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    renamed(&mut t).await?;
    t.ask(2, &session("s"), &["a"]).await?;
    let acquire = t.acquired(&session("s")).await?;
    holds(acquire.known.is_none(), "no known version", acquire)
}

async fn recall_of_old(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (old, next, lock) = renamed(&mut t).await?;
    t.peer.say(old.recall(Reason::Wait)).await?;
    t.settle().await?; // The process may answer that it does not hold that grant.
    t.unlock(&lock).await?;
    let other = t.lock(2, &session("to"), &["a"]).await?;
    holds(other.token == next.token, "the gate is open", other)
}

async fn taken(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock, id) = renaming(&mut t).await?;
    t.peer
        .say(ToProcess::NotRenamed {
            session: grant.session.clone(),
            token: grant.token,
            why: Refusal::IdTaken,
        })
        .await?;
    t.refused(id, "id-taken").await?;
    t.stands(&lock).await?;
    t.is_quiet("the grant stays").await?;
    t.unlock(&lock).await?;
    t.lock(2, &session("s"), &["a"]).await.map(drop)
}

async fn unasked(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take(1, &session("s"), &[]).await?;
    let next = t.grant_for(&session("to"), grant.request);
    t.peer
        .say_all([grant.gone(None), grant.gone(Some(next.hold()))])
        .await?;
    t.is_quiet("the process has not sent such a message")
        .await?;
    t.stands(&lock).await?;
    t.unlock(&lock).await?;
    let other = t.lock(2, &session("s"), &["a"]).await?;
    holds(
        other.token == grant.token,
        "the grant that the process has",
        other,
    )
}

async fn other(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, _, id) = renaming(&mut t).await?;
    let elsewhere = t.grant_for(&session("elsewhere"), grant.request);
    let next = t.grant_for(&session("to"), grant.request);
    let wrong = Grant {
        token: elsewhere.token,
        ..grant.clone()
    };
    t.peer
        .say_all([
            grant.gone(Some(elsewhere.hold())),
            grant.gone(None),
            wrong.gone(Some(next.hold())),
        ])
        .await?;
    t.waits(id, "that message does not answer the command")
        .await?;
    t.peer.say(grant.gone(Some(next.hold()))).await?;
    t.done(id).await.map(drop)
}

async fn nobody_enters(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock, _) = renaming(&mut t).await?;
    let one = t.ask(2, &session("s"), &["b"]).await?;
    t.waits(one, "a Rename is under way").await?;
    let next = t.grant_for(&session("to"), grant.request);
    t.peer.say(grant.gone(Some(next.hold()))).await?;
    t.unlock(&lock).await?;
    t.lock(3, &session("to"), &["b"]).await.map(drop)
}

async fn repeated(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, _, id) = renaming(&mut t).await?;
    for _ in 0..2 {
        t.come_back().await?;
        heard(&mut t, &grant).await?;
    }
    let next = t.grant_for(&session("to"), grant.request);
    t.peer.say(grant.gone(Some(next.hold()))).await?;
    t.done(id).await.map(drop)
}
