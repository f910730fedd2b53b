//! Cases about the idle time of a session.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::scene::{Grant, Scene, session};
use std::time::Duration;
use tenure_protocol::message::Reason;
use tokio::time::{Instant, sleep};

/// The time for which no thread uses the session.
const IDLE: Duration = Duration::from_millis(900);

cases! { Process:
    "process/expiry/idle/since-use", Must ["expiry.idle-said"] since_use,
        "A Release states for how long no thread has used the session.";
    "process/expiry/idle/just-used", Must ["expiry.idle-said"] just_used,
        "A Release right after a thread has left states an idle time near zero.";
}

async fn released_idle(t: &mut Scene, grant: &Grant, left: Instant, waited: Duration) -> Play {
    t.peer.say(grant.recall(Reason::Expiry)).await?;
    let release = t.released(grant).await?;
    // The idle time is measured by the process's clock, whose resolution is unknown. It may be longer, because this
    // side may look late.
    let least = waited.as_millis() * 3 / 4;
    let most = left.elapsed().as_millis() + IDLE.as_millis() / 3;
    let idle = u128::from(release.idle_ms);
    holds(
        least <= idle && idle <= most,
        "an idle time of what has passed",
        (least, release, most),
    )
}

async fn since_use(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take(1, &session("s"), &["a"]).await?;
    let left = Instant::now();
    t.unlock(&lock).await?;
    sleep(IDLE).await;
    released_idle(&mut t, &grant, left, IDLE).await
}

async fn just_used(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take(1, &session("s"), &["a"]).await?;
    sleep(IDLE).await;
    let left = Instant::now();
    t.unlock(&lock).await?;
    released_idle(&mut t, &grant, left, Duration::ZERO).await
}
