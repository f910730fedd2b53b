//! Cases about tokens: threads see them, and they determine which grant a revocation ends.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Grant, session};
use tenure_protocol::Token;

cases! { Process:
    "process/fence/token/shown", Must ["fence.token-shown"] shown,
        "Each thread sees the token of the grant under which it entered.";
    "process/fence/revoked/told", Must ["fence.revoked", "thread.told"] revoked,
        "After Revoked, the threads inside are notified and the client state is dropped.";
    "process/fence/revoked/idle", Must ["fence.revoked", "grant.known"] revoked_idle,
        "After Revoked, an idle session is requested anew, without a base version.";
    "process/fence/revoked/waiters-ask-again", Must ["thread.asks"] waiters_ask_again,
        "If a grant is revoked, a thread that waited for another thread of its process waits for the store.";
    "process/fence/revoked/other-token", Must ["end.stray"] other_token,
        "A Revoked is ignored if its token is not the token of the grant.";
    "process/fence/revoked/after-release", Must ["end.stray"] after_release,
        "A Revoked of a released grant does not affect the next grant.";
}

async fn shown(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    holds(lock.token == grant.token, "its token", &lock)?;
    let several = t.lock(2, &s, &["b", "c"]).await?;
    holds(several.token == grant.token, "its token", &several)
}

async fn revoked(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, one) = t.take_full(1, &s, &["a"], &[("c", "1")]).await?;
    let two = t.lock(2, &s, &["b"]).await?;
    t.write(&one, "a", "1").await?;
    t.peer.say(grant.revoked()).await?;
    t.is_quiet("nothing is left to say").await?;
    for lock in [&one, &two] {
        t.lost(lock, &["revoked", "lease-lost"]).await?;
        let id = t.begin("unlock", lock).await?;
        t.fails(id).await?;
    }
    let id = t.ask(3, &s, &[]).await?;
    let acquire = t.acquired(&s).await?;
    holds(acquire.known.is_none(), "no known version", &acquire)?;
    let next = t.grant_of(&acquire);
    t.peer.say(next.full([("d", "2")])).await?;
    let lock = t.locked(id).await?;
    let is_new = lock.text("d").is_some() && lock.text("a").is_none() && lock.text("c").is_none();
    holds(is_new, "the state of the new grant alone", lock)
}

async fn revoked_idle(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let grant = t.keep(&s).await?;
    t.peer.say(grant.revoked()).await?;
    t.is_quiet("no other process waits").await?;
    t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    holds(acquire.known.is_none(), "no known version", acquire)
}

async fn waiters_ask_again(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    let id = t.ask(2, &s, &["a"]).await?;
    t.waits(id, "another thread has the attribute").await?;
    t.peer.say(grant.revoked()).await?;
    let acquire = t.acquired(&s).await?;
    t.lost(&lock, &["revoked", "lease-lost"]).await?;
    let next = t.grant_of(&acquire);
    t.peer.say(next.full([])).await?;
    let lock = t.locked(id).await?;
    holds(lock.token == next.token, "the next grant", lock)
}

async fn other_token(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let earlier = Token(t.stamp());
    let (grant, lock) = t.take(1, &s, &["a"]).await?;
    let later = Token(t.stamp());
    for token in [earlier, later] {
        let wrong = Grant {
            token,
            ..grant.clone()
        };
        t.peer.say(wrong.revoked()).await?;
    }
    t.is_quiet("the process has another grant").await?;
    t.stands(&lock).await?;
    let other = t.lock(2, &s, &["b"]).await?;
    holds(
        other.token == grant.token,
        "the grant that the process has",
        other,
    )
}

async fn after_release(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let first = t.keep(&s).await?;
    t.peer
        .say(first.recall(tenure_protocol::message::Reason::Wait))
        .await?;
    t.released(&first).await?;
    t.peer.say(first.released(Some(first.version))).await?;
    let (_, lock) = t.take(1, &s, &["a"]).await?;
    t.peer.say(first.revoked()).await?;
    t.is_quiet("that grant is over").await?;
    t.stands(&lock).await
}
