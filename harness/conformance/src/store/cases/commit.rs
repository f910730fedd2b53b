//! Cases about commits: durable, applied once, and without effect on the grant or a recall.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, is_state, later, set};

cases! { Store:
    "commit/answered/with-changes", Must ["commit.answered"] with_changes,
        "A commit is answered with its base and a later version.";
    "commit/answered/without-changes", Must ["commit.answered"] without_changes,
        "A commit without changes is also answered.";
    "commit/answered/one-after-another", Must ["commit.answered"] one_after_another,
        "Each commit creates a later version, and the session contains all of their changes.";
    "commit/repeated/at-once", Must ["commit.repeated"] at_once,
        "A commit that is received twice is applied once, and both answers have the same version.";
    "commit/repeated/after-a-later-one", Must ["commit.repeated"] after_a_later_one,
        "An old commit that is received again does not undo a later one, and its answer has the current version.";
    "commit/repeated/answer-lost", Must ["commit.repeated", "commit.answered"] answer_lost,
        "If the answer to a commit is lost and the commit is repeated after a reconnect, it is applied once.";
    "commit/base/unknown-is-refused", Must ["commit.base-ends-grant"] unknown_is_refused,
        "Changes to a version that the session never had are refused, and the grant stays.";
    "commit/recall/keeps-grant-and-recall", Must ["commit.keeps-grant"] keeps_grant_and_recall,
        "A commit during a recall ends neither the grant nor the recall, and does not move the deadline.";
    "commit/durable/restart", Must ["commit.durable", "lease.restart"] (Restart) durable,
        "Committed changes are there after a restart of the store, and the process can continue from them.";
    "commit/durable/outlives-the-holder", Must ["commit.durable", "connect.new-incarnation"] outlives_the_holder,
        "Committed changes remain when the process is started again.";
}

async fn with_changes(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    p.say_commit(&grant, set([("a", Some("1"))])).await?;
    let version = p.committed(&grant).await?;
    holds(version > grant.version, "a later version", version)
}

async fn without_changes(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    p.say_commit(&grant, set([])).await?;
    let version = p.committed(&grant).await?;
    holds(version >= grant.version, "no earlier version", version)?;
    grant.version = version;
    p.still_has(grant, &[("a", "1")]).await
}

async fn one_after_another(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    for turn in 0..10 {
        let before = grant.version;
        let (own, last) = (format!("a{turn}"), turn.to_string());
        let delta = set([(&own[..], Some("1")), ("last", Some(&last[..]))]);
        p.commit(&mut grant, delta).await?;
        holds(grant.version > before, "a later version", grant.version)?;
    }
    let expected = grant.attributes.clone();
    let version = p.release(&grant, set([])).await?;
    let found = ctx.player("q").await?.acquire(&grant.session).await?;
    holds(
        Some(found.version) == version,
        "the last version",
        found.version,
    )?;
    holds(
        found.attributes == expected,
        "all that was committed",
        found,
    )
}

async fn at_once(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    for _ in 0..2 {
        p.say_commit(&grant, set([("a", Some("1"))])).await?;
    }
    let first = p.committed(&grant).await?;
    let second = p.committed(&grant).await?;
    holds(first == second, "the same version", (first, second))?;
    grant.version = first;
    p.still_has(grant, &[("a", "1")]).await
}

async fn after_a_later_one(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    let old = grant.clone();
    let delta = set([("a", Some("1")), ("b", Some("1"))]);
    p.commit(&mut grant, delta.clone()).await?;
    let delta_after = set([("a", Some("2")), ("b", None)]);
    let version = p.commit(&mut grant, delta_after).await?;
    p.say_commit(&old, delta).await?;
    let answer = p.committed(&old).await?;
    holds(answer == version, "the current version", answer)?;
    p.still_has(grant, &[("a", "2")]).await
}

async fn answer_lost(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    let delta = set([("a", Some("1"))]);
    p.say_commit(&grant, delta.clone()).await?;
    let first = p.committed(&grant).await?;
    // Continue as if the answer had not been received.
    let mut p = p.back_with(&ctx, &grant).await?;
    p.say_commit(&grant, delta).await?;
    grant.version = p.committed(&grant).await?;
    holds(grant.version == first, "the same version", grant.version)?;
    p.still_has(grant, &[("a", "1")]).await
}

async fn unknown_is_refused(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    let mut wrong = grant.clone();
    wrong.version = later(grant.version);
    p.is_fenced(&wrong, set([("a", Some("2"))])).await?;
    p.recalled(&grant).await?;
    let version = p.release(&grant, set([])).await?;
    holds(
        version == Some(grant.version),
        "the session's former version",
        version,
    )?;
    is_state(&p.acquire(&grant.session).await?, &[("a", "1")])
}

async fn keeps_grant_and_recall(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let s = ctx.session("s");
    let mut grant = p.acquire(&s).await?;
    let request = q.ask(&s).await?;
    p.recalled(&grant).await?;
    let due = p.due(&grant).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    due.is_still(p.due(&grant).await?)?;
    q.is_quiet("another process holds the session").await?;
    p.commit(&mut grant, set([("b", Some("2"))])).await?;
    p.release(&grant, set([])).await?;
    is_state(&q.granted(&s, request).await?, &[("a", "1"), ("b", "2")])
}

async fn durable(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    // Repeat it, because a commit that is not yet durable may become durable by chance before the kill.
    for turn in ["a", "b", "c"] {
        let before = grant.version;
        p.commit(&mut grant, set([(turn, Some("1"))])).await?;
        holds(grant.version > before, "a later version", grant.version)?;
        ctx.restart().await?;
        p = p.back_with(&ctx, &grant).await?;
    }
    p.still_has(grant, &[("a", "1"), ("b", "1"), ("c", "1")])
        .await
}

async fn outlives_the_holder(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let mut grant = p.acquire(&s).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    let mut p = p.reborn(&ctx).await?;
    p.enter().await?;
    let again = p.acquire(&s).await?;
    holds(
        again.version == grant.version,
        "that version",
        again.version,
    )?;
    is_state(&again, &[("a", "1")])
}
