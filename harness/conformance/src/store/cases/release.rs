//! Cases about releases: their changes are written, and each is answered whenever and however it arrives.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, acquire_request, is_state, later, set};
use tenure_protocol::message::Granted;
use tenure_protocol::{ToProcess, Version};

cases! { Store:
    "release/answered/with-changes", Must ["release.answered"] with_changes,
        "A release with changes is answered with a new version.";
    "release/answered/without-changes", Must ["release.answered"] without_changes,
        "A release without changes is answered with the session's previous version.";
    "release/written/before-the-next-grant", Must ["release.written", "queue.passes-by"] before_the_next_grant,
        "A waiter that gets the session finds everything that was committed and released, and nothing else.";
    "release/written/found-later", Must ["release.written"] found_later,
        "A process that requests the session later finds the released state.";
    "release/written/commit-unanswered", Must ["release.written", "release.answered"] commit_unanswered,
        "A release that repeats the changes of an unanswered commit is accepted.";
    "release/durable/restart", Must ["commit.durable", "grant.token-rises"] (Restart) durable,
        "Released changes are there after a restart of the store, and the session is free.";
    "release/old/repeated", Must ["release.old"] repeated,
        "A repeated release is answered without a version and changes nothing.";
    "release/old/while-held-again", Must ["release.old"] while_held_again,
        "A release under a process's earlier token does not end its current grant.";
    "release/old/right-token-of-another", Must ["release.old"] right_token_of_another,
        "A release with the current token changes nothing if the sender does not hold the session.";
    "release/old/session-that-never-was", Must ["release.old"] session_that_never_was,
        "A release of an absent session is answered and does not create it.";
    "release/old/after-the-revocation", Must ["release.old", "recall.revokes"] after_the_revocation,
        "A release that arrives after the grant was revoked writes nothing.";
    "release/old/replaced-connection", Must ["connect.old-connection"] replaced_connection,
        "A release on a replaced connection ends nothing.";
    "release/base/unknown-is-refused", Must ["commit.base-ends-grant"] unknown_is_refused,
        "Changes to a version that the session never had are refused, and the grant stays.";
    "release/base/any-without-changes", Must ["release.answered"] any_without_changes,
        "A release without changes is accepted whatever base version it names.";
    "release/requeued/nobody-waits", Must ["release.requeued"] nobody_waits,
        "A process that releases and requests again gets the session again if no other process waits.";
    "release/requeued/others-wait", Must ["release.requeued", "recall.asks"] others_wait,
        "A process that releases and requests again gets the session after the earlier waiters.";
    "release/requeued/old-token", Must ["release.requeued", "release.old"] requeued_under_old_token,
        "The request within a release under an old token is accepted.";
    "release/lost/answer", Must ["release.old", "reconnect.known"] answer_lost,
        "A release whose answer was lost is answered again after a reconnect and does not affect the next holder.";
    "release/lost/never-came", Must ["release.answered", "lease.frees-nothing"] never_came,
        "A release that was lost with the connection is accepted when it is repeated.";
    "release/lost/requeue", Must ["release.requeued", "reconnect.waits"] requeue_lost,
        "A process that releases, requests again and loses its connection gets the session in its turn.";
}

async fn with_changes(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let version = p.release(&grant, set([("a", Some("1"))])).await?;
    holds(version > Some(grant.version), "a later version", version)
}

async fn without_changes(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let written = p.release(&grant, set([("a", Some("1"))])).await?;
    let grant = p.acquire(&s).await?;
    holds(
        Some(grant.version) == written,
        "the released changes",
        grant.version,
    )?;
    let version = p.release(&grant, set([])).await?;
    holds(version == written, "the same version", version)
}

async fn before_the_next_grant(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let mut grant = p.acquire(&s).await?;
    let request = q.ask(&s).await?;
    let delta = set([("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
    p.commit(&mut grant, delta).await?;
    let delta = set([("b", Some("2")), ("c", None), ("d", Some(""))]);
    let version = p.release(&grant, delta).await?;
    let next = q.granted(&s, request).await?;
    is_state(&next, &[("a", "1"), ("b", "2"), ("d", "")])?;
    holds(
        Some(next.version) == version,
        "the released changes",
        next.version,
    )
}

async fn found_later(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let version = p.release(&grant, set([("a", Some("1"))])).await?;
    let found = ctx.player("q").await?.acquire(&s).await?;
    is_state(&found, &[("a", "1")])?;
    holds(
        Some(found.version) == version,
        "the released changes",
        found.version,
    )
}

async fn commit_unanswered(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    p.say_commit(&grant, set([("a", Some("1"))])).await?;
    let delta = set([("a", Some("1")), ("b", Some("2"))]);
    p.say_release(&grant, delta, None).await?;
    p.committed(&grant).await?;
    let version = p.released(&s, grant.token).await?;
    holds(version > Some(grant.version), "a later version", version)?;
    is_state(&p.acquire(&s).await?, &[("a", "1"), ("b", "2")])
}

async fn durable(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let version = p.release(&grant, set([("a", Some("1"))])).await?;
    ctx.restart().await?;
    let found = ctx.player("q").await?.acquire(&s).await?;
    holds(
        Some(found.version) == version,
        "the released changes",
        found.version,
    )?;
    holds(found.token > grant.token, "a later token", found.token)?;
    is_state(&found, &[("a", "1")])
}

async fn repeated(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let version = p.release(&grant, set([("a", Some("1"))])).await?;
    let again = p.release(&grant, set([("a", Some("1"))])).await?;
    holds(again.is_none(), "Released without a version", again)?;
    let found = p.acquire(&s).await?;
    holds(Some(found.version) == version, "one version", found.version)
}

async fn while_held_again(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let old = p.acquire(&s).await?;
    p.release(&old, set([("a", Some("1"))])).await?;
    let grant = p.acquire(&s).await?;
    let request = q.ask(&s).await?;
    p.recalled(&grant).await?;
    let answer = p.release(&old, set([("a", Some("2"))])).await?;
    holds(answer.is_none(), "Released without a version", answer)?;
    q.is_quiet("another process holds the session").await?;
    let version = p.release(&grant, set([("b", Some("3"))])).await?;
    holds(version.is_some(), "Released with a version", version)?;
    is_state(&q.granted(&s, request).await?, &[("a", "1"), ("b", "3")])
}

async fn right_token_of_another(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let answer = q.release(&grant, set([("a", Some("2"))])).await?;
    holds(answer.is_none(), "Released without a version", answer)?;
    p.still_has(grant, &[]).await
}

async fn session_that_never_was(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    grant.session = ctx.session("never");
    let answer = p.release(&grant, set([("a", Some("1"))])).await?;
    holds(answer.is_none(), "Released without a version", answer)?;
    let found = q.acquire(&grant.session).await?;
    holds(found.version == Version::NONE, "no session", found.version)?;
    is_state(&found, &[])
}

async fn after_the_revocation(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let request = q.ask(&s).await?;
    let info = p.recalled_for_good(&grant).await?;
    ctx.may_wait("a recall", info.deadline_ms)?;
    let (lost, next) = tokio::join!(
        p.late(&grant, info.deadline_ms),
        q.granted_after(&s, request, info.deadline_ms),
    );
    lost?;
    let answer = p.release(&grant, set([("a", Some("late"))])).await?;
    holds(answer.is_none(), "Released without a version", answer)?;
    q.still_has(next?, &[]).await
}

async fn replaced_connection(ctx: CaseContext) -> Play {
    let mut old = ctx.player("p").await?;
    let grant = old.acquire(&ctx.session("s")).await?;
    let mut new = old.again(&ctx).await?;
    let welcome = new.enter_with(vec![grant.hold()], Vec::new()).await?;
    holds(welcome.holds == [grant.hold()], "a known grant", &welcome)?;
    old.say_release(&grant, set([("a", Some("old"))]), None)
        .await?;
    old.is_ignored(&mut new, ctx.target().slack()).await?;
    new.still_has(grant, &[]).await
}

async fn unknown_is_refused(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let mut grant = p.acquire(&s).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    let mut wrong = grant.clone();
    wrong.version = later(grant.version);
    p.say_release(&wrong, set([("a", Some("2"))]), None).await?;
    let version = p.released(&s, grant.token).await?;
    holds(version.is_none(), "Released without a version", version)?;
    is_state(&p.acquire(&s).await?, &[("a", "1")])
}

async fn any_without_changes(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let mut other = grant.clone();
    other.version = later(grant.version);
    let version = p.release(&other, set([])).await?;
    holds(
        version == Some(grant.version),
        "the version it has",
        version,
    )?;
    p.acquire(&s).await.map(drop)
}

async fn nobody_waits(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let request = p.requeue(&grant, set([("a", Some("1"))])).await?;
    // The order of the two answers is not specified.
    let (mut is_released, mut next) = (false, None);
    while !is_released || next.is_none() {
        match p.next("Released and Granted").await? {
            ToProcess::Released { token, .. } if token == grant.token => is_released = true,
            ToProcess::Granted(Granted {
                request: own,
                token,
                ..
            }) if own == request => next = Some(token),
            ToProcess::Queued { .. } => {}
            other => return Err(p.failed("Released and Granted", other)),
        }
    }
    holds(next > Some(grant.token), "a later token", next)?;
    let release = p.release_of(&s, next.unwrap_or_default()).await?;
    holds(release.is_some(), "Released with a version", release)?;
    is_state(&p.acquire(&s).await?, &[("a", "1")])
}

async fn others_wait(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let waits = q.ask(&s).await?;
    p.recalled(&grant).await?;
    let request = p.requeue(&grant, set([("a", Some("1"))])).await?;
    p.released(&s, grant.token).await?;
    let next = q.granted(&s, waits).await?;
    p.is_quiet("another process holds the session").await?;
    q.due(&next).await?;
    q.release(&next, set([("b", Some("2"))])).await?;
    let again = p.granted_again(&s, request, &[("a", "1")]).await?;
    is_state(&again, &[("a", "1"), ("b", "2")])
}

async fn requeued_under_old_token(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let old = p.acquire(&s).await?;
    p.release(&old, set([])).await?;
    let held = q.acquire(&s).await?;
    let request = p.requeue(&old, set([("a", Some("old"))])).await?;
    let answer = p.released(&s, old.token).await?;
    holds(answer.is_none(), "Released without a version", answer)?;
    q.recalled_for_good(&held).await?;
    q.release(&held, set([])).await?;
    let grant = p.granted(&s, request).await?;
    is_state(&grant, &[])
}

async fn answer_lost(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let request = q.ask(&s).await?;
    let delta = set([("a", Some("1"))]);
    p.say_release(&grant, delta.clone(), None).await?;
    let next = q.granted(&s, request).await?;
    let mut p = p.back_without(&ctx, &grant).await?;
    let answer = p.release(&grant, delta).await?;
    holds(answer.is_none(), "Released without a version", answer)?;
    q.is_not_recalled(&next).await?;
    q.still_has(next, &[("a", "1")]).await
}

async fn never_came(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let request = q.ask(&s).await?;
    p.recalled(&grant).await?;
    let mut p = p.back_with(&ctx, &grant).await?;
    let version = p.release(&grant, set([("a", Some("1"))])).await?;
    holds(version > Some(grant.version), "a later version", version)?;
    is_state(&q.granted(&s, request).await?, &[("a", "1")])
}

async fn requeue_lost(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let waits = q.ask(&s).await?;
    p.recalled(&grant).await?;
    let request = p.requeue(&grant, set([("a", Some("1"))])).await?;
    let next = q.granted(&s, waits).await?;
    let again = vec![acquire_request(&s, request, None)];
    let (mut p, welcome) = p.back(&ctx, vec![grant.hold()], again).await?;
    holds(welcome.holds.is_empty(), "the grant is not known", &welcome)?;
    p.is_quiet("another process holds the session").await?;
    q.release(&next, set([])).await?;
    is_state(&p.granted(&s, request).await?, &[("a", "1")])
}
