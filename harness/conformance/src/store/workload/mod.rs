//! Random histories: three processes and two sessions, step after step, judged by the [oracle](super::oracle).
//!
//! The steps are drawn before they are played, and are relative: *release your grant*, not *release token 7*. A failing
//! history can therefore be shortened by leaving out steps, and the report shows the short one. A step that is
//! impossible at its point of a history does nothing.

mod act;
mod player;
mod shrink;
mod side;

use crate::case::{Case, cases};
use crate::end::{CaseEnd, Play};
use crate::store::CaseContext;
use act::{Act, Mix};

cases! { Store:
    "workload/locks",
        Must ["grant.exclusive", "queue.fifo-connected", "recall.asks", "end.once", "release.written"] locks,
        "Random requests, cancels, commits and releases get the answers that the machine allows.";
    "workload/links",
        Must ["lease.frees-nothing", "reconnect.known", "queue.presented", "connect.new-incarnation"] links,
        "With random connection cuts, reconnects and restarts of processes, all answers are those that the machine \
        allows.";
    "workload/strangers", Must ["fence.commit", "release.old", "grant.same-again", "commit.repeated"] strangers,
        "Random repetitions, stale tokens and tokens of other processes change nothing.";
    "workload/ends", Must ["destroy.answered", "destroy.stays", "grant.full", "rename.moves"] ends,
        "With random destroys and renames, all answers are those that the machine allows.";
    "workload/mixed", Must ["grant.exclusive", "grant.state", "wire.in-order"] mixed,
        "A random history of all operations gets the answers that the machine allows.";
    "workload/deadlines", Must ["recall.revokes", "recall.not-early", "lease.ends", "lease.whole"] deadlines,
        "In random histories with passing time, waits, grants and leases end as in the machine, and not early.";
    "workload/restarts",
        Must ["grant.durable", "lease.restart", "grant.token-rises", "commit.durable"] (Restart) restarts,
        "Over random restarts of the store, no acknowledged change is lost.";
}

pub(super) fn all() -> &'static [Case] {
    CASES
}

async fn locks(ctx: CaseContext) -> Play {
    judge(ctx, Mix::LOCKS, 300).await
}

async fn links(ctx: CaseContext) -> Play {
    judge(ctx, Mix::LINKS, 300).await
}

async fn strangers(ctx: CaseContext) -> Play {
    judge(ctx, Mix::STRANGERS, 300).await
}

async fn ends(ctx: CaseContext) -> Play {
    judge(ctx, Mix::ENDS, 300).await
}

async fn mixed(ctx: CaseContext) -> Play {
    judge(ctx, Mix::MIXED, 300).await
}

async fn deadlines(ctx: CaseContext) -> Play {
    judge(ctx, Mix::DEADLINES, 60).await
}

async fn restarts(ctx: CaseContext) -> Play {
    judge(ctx, Mix::RESTARTS, 80).await
}

/// Plays a random history. A failing history is shortened before it is reported.
async fn judge(ctx: CaseContext, mix: Mix, steps: usize) -> Play {
    let mut chance = ctx.chance();
    let acts: Vec<Act> = (0..steps).map(|_| mix.draw(&mut chance)).collect();
    let (played, stop) = match player::play(&ctx, &acts).await {
        Err((played, CaseEnd::Failed { expected, seen })) => {
            (played, CaseEnd::Failed { expected, seen })
        }
        Err((_, stop)) => return Err(stop),
        Ok(()) => return Ok(()),
    };
    let failing = acts[..played].to_vec();
    let (acts, stop) = shrink::shrink(&ctx, failing, stop).await;
    let CaseEnd::Failed { expected, seen } = stop else {
        return Err(stop);
    };
    let told: Vec<String> = acts.iter().map(ToString::to_string).collect();
    Err(CaseEnd::Failed {
        expected,
        seen: format!(
            "{seen}\n         after {} steps (shortened; case seed {}): {}",
            acts.len(),
            ctx.seed(),
            told.join(", ")
        ),
    })
}
