//! Cases about grants: used only if requested, cached, and released if unwanted.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Scene, delta, session};
use tenure_protocol::attributes::State;
use tenure_protocol::message::{Granted, Reason, Release};
use tenure_protocol::{Request, ToProcess, ToStore};

cases! { Process:
    "process/grant/unasked/never-asked", Must ["grant.unasked", "grant.returns-unasked"] never_asked,
        "A grant of a session that was not requested is released unused.";
    "process/grant/unasked/other-request",
        Must ["grant.unasked", "grant.returns-unasked", "thread.needs-grant"] other_request,
        "A grant that names another request admits no thread and is released.";
    "process/grant/unasked/given-back", Must ["grant.unasked"] given_back,
        "A released grant is not used when its message arrives again.";
    "process/grant/late/after-cancel", Must ["grant.returns-unasked", "end.cancels"] after_cancel,
        "A request without waiting threads is cancelled, or its grant is released.";
    "process/grant/old-copy/ignored", Must ["end.stray"] old_copy,
        "A grant message that arrives again does not overwrite changes of threads.";
    "process/grant/old-copy/lower-token", Must ["end.stray"] lower_token,
        "A grant with a lower token than the current one is ignored.";
    "process/grant/base/unchanged-without", Must ["grant.needs-base", "grant.returns-unasked"] unchanged_without,
        "A grant with the state `unchanged` is released if the process has no base version.";
    "process/grant/base/delta-without", Must ["grant.needs-base", "grant.returns-unasked"] delta_without,
        "A grant with a delta is released if the process has no base version.";
    "process/grant/known/nothing-at-first", Must ["grant.known"] nothing_at_first,
        "The first request for a session names no known version.";
    "process/grant/known/after-release", Must ["grant.known", "thread.sees-state"] known_after_release,
        "A request names the version of the last release as known, and a delta in the grant is applied to it.";
    "process/grant/known/kept-base", May ["grant.keeps-base"] kept_base,
        "A process caches the state that it has released and names its version in the next request.";
    "process/grant/kept/no-message", Should ["grant.keeps"] kept,
        "A second lock on a session whose grant the process has sends no message.";
    "process/grant/hint/given-back", Should ["grant.gives-back-hinted"] hinted,
        "A grant marked as give-back-when-idle is released when no thread uses it.";
    "process/grant/hint/not-while-used", Must ["recall.keeps-until-out"] hinted_while_used,
        "A grant marked as give-back-when-idle stays while a thread is inside.";
}

async fn never_asked(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let grant = t.grant_for(&s, Request(41));
    t.peer.say(grant.full([("a", "1")])).await?;
    t.returned(&grant).await?;
    t.peer.say(grant.released(None)).await?;
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.waits(id, "the session was not granted to it").await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    let lock = t.locked(id).await?;
    holds(
        lock.text("a").is_none(),
        "nothing of the grant that was not asked for",
        lock,
    )
}

async fn other_request(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let wrong = t.grant_for(&s, Request(acquire.request.0 + 7));
    t.peer.say(wrong.full([("a", "wrong")])).await?;
    t.returned(&wrong).await?;
    t.waits(id, "its own request was not granted").await?;
    t.peer.say(wrong.released(None)).await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([("a", "right")])).await?;
    let lock = t.locked(id).await?;
    let is_right = lock.token == grant.token && lock.text("a").as_deref() == Some("right");
    holds(is_right, "the grant that names its request", lock)
}

async fn given_back(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let grant = t.keep(&s).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.released(&grant).await?;
    t.peer
        .say_all([
            grant.released(Some(grant.version)),
            grant.full([("a", "late")]),
        ])
        .await?;
    t.settle().await?; // The process may release the grant once more.
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.waits(id, "that grant was given back").await?;
    let next = t.grant_of(&acquire);
    t.peer.say(next.full([])).await?;
    let lock = t.locked(id).await?;
    holds(lock.token == next.token, "the new token", lock)
}

async fn after_cancel(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    t.cancel(id).await?;
    t.refused(id, "cancelled").await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.full([])).await?;
    let heard = t.settle().await?;
    let is_back = |message: &ToStore| {
        matches!(message, ToStore::Release(Release { token, delta, .. })
        if *token == grant.token && delta.is_empty())
    };
    if heard.iter().any(is_back) {
        return Ok(());
    }
    let has_cancelled = |message: &ToStore| {
        matches!(message, ToStore::Cancel { request, .. }
        if *request == acquire.request)
    };
    holds(
        heard.iter().any(has_cancelled),
        "a Cancel, or a Release of the late grant",
        &heard,
    )?;
    // The process may also keep and use a grant that has crossed its cancel.
    let lock = t.lock(2, &s, &["a"]).await?;
    holds(lock.token == grant.token, "the grant that came", lock)
}

async fn old_copy(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let (grant, lock) = t.take_full(1, &s, &["a"], &[("a", "1")]).await?;
    t.write(&lock, "a", "2").await?;
    t.unlock(&lock).await?;
    t.peer
        .say_all([grant.full([("a", "1")]), grant.full([("a", "3")])])
        .await?;
    t.is_quiet("the process has this grant").await?;
    let lock = t.lock(2, &s, &["a"]).await?;
    holds(
        lock.text("a").as_deref() == Some("2"),
        "what a thread has unlocked",
        &lock,
    )
}

async fn lower_token(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let early = t.grant_for(&s, Request(0));
    let (grant, lock) = t.take_full(1, &s, &["a"], &[("a", "1")]).await?;
    let old = crate::process::scene::Grant {
        token: early.token,
        ..grant.clone()
    };
    t.peer.say(old.full([("a", "old"), ("b", "old")])).await?;
    t.is_quiet("the process has a later token").await?;
    t.stands(&lock).await?;
    let other = t.lock(2, &s, &["b"]).await?;
    let is_kept = other.text("b").is_none() && other.token == grant.token;
    holds(is_kept, "the grant that the process has", other)
}

async fn unchanged_without(ctx: CaseContext) -> Play {
    without(ctx, State::Unchanged).await
}

async fn delta_without(ctx: CaseContext) -> Play {
    without(ctx, State::Delta(delta([("a", Some("1"))]))).await
}

async fn without(ctx: CaseContext, state: State) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(grant.with(state, None)).await?;
    t.returned(&grant).await?;
    let again = t.acquired(&s).await?;
    t.still_waits(id, "that grant cannot be used").await?;
    holds(again.known.is_none(), "no known version", &again)?;
    holds(again.request > acquire.request, "a new request", &again)?;
    t.peer.say(grant.released(None)).await?;
    let grant = t.grant_of(&again);
    t.peer.say(grant.full([("a", "2")])).await?;
    let lock = t.locked(id).await?;
    holds(
        lock.text("a").as_deref() == Some("2"),
        "the whole state",
        lock,
    )
}

async fn nothing_at_first(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    holds(acquire.known.is_none(), "no known version", acquire)
}

/// Releases the changes of a thread, and requests the session again.
async fn asked_again(
    t: &mut Scene,
) -> Play<(
    u64,
    tenure_protocol::message::AcquireRequest,
    tenure_protocol::Version,
)> {
    let s = session("s");
    let (grant, lock) = t.take_full(1, &s, &["a"], &[("b", "1")]).await?;
    t.write(&lock, "a", "1").await?;
    t.unlock(&lock).await?;
    t.peer.say(grant.recall(Reason::Wait)).await?;
    t.released(&grant).await?;
    let version = t.version();
    t.peer.say(grant.released(Some(version))).await?;
    let id = t.ask(1, &s, &[]).await?;
    Ok((id, t.acquired(&s).await?, version))
}

async fn known_after_release(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (id, acquire, version) = asked_again(&mut t).await?;
    let is_known = acquire.known.is_none_or(|known| known == version);
    holds(is_known, "the version of the release, or none", &acquire)?;
    let grant = t.grant_of(&acquire);
    let state = match acquire.known {
        Some(_) => State::Delta(delta([("b", Some("2")), ("c", Some("2"))])),
        None => State::Full(delta([
            ("a", Some("1")),
            ("b", Some("2")),
            ("c", Some("2")),
        ])),
    };
    t.peer.say(grant.with(state, None)).await?;
    let lock = t.locked(id).await?;
    let has = ["a", "b", "c"].map(|name| lock.text(name).unwrap_or_default());
    holds(has == ["1", "2", "2"], "a=1, b=2, c=2", has)
}

async fn kept_base(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (_, acquire, version) = asked_again(&mut t).await?;
    holds(
        acquire.known == Some(version),
        "the version of the release",
        acquire,
    )
}

async fn kept(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let grant = t.keep(&s).await?;
    for thread in 1..4 {
        let lock = t.lock(thread, &s, &["a"]).await?;
        holds(
            lock.token == grant.token,
            "the grant that the process has",
            &lock,
        )?;
        t.unlock(&lock).await?;
    }
    t.is_quiet("the grant is cached").await
}

/// Adds the hint to give the grant back when idle.
fn with_hint(granted: ToProcess) -> ToProcess {
    match granted {
        ToProcess::Granted(Granted {
            session,
            request,
            token,
            version,
            state,
            recall,
            ..
        }) => ToProcess::Granted(Granted {
            session,
            request,
            token,
            version,
            state,
            recall,
            give_back: true,
        }),
        other => other,
    }
}

async fn hinted(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(with_hint(grant.full([]))).await?;
    let lock = t.locked(id).await?;
    t.write(&lock, "a", "1").await?;
    t.unlock(&lock).await?;
    let release = t.released(&grant).await?;
    holds(
        release.delta == delta([("a", Some("1"))]),
        "the written changes",
        release,
    )
}

async fn hinted_while_used(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let grant = t.grant_of(&acquire);
    t.peer.say(with_hint(grant.full([]))).await?;
    let lock = t.locked(id).await?;
    t.is_quiet("a thread is inside").await?;
    t.stands(&lock).await
}
