//! Cases about deadlocks: in a cycle of holders that wait for each other, one is refused with the cycle, and no other
//! process is ever refused.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, Grant, ScriptedProcess, set};
use std::time::Duration;
use tenure_protocol::message::{Granted, Refusal};
use tenure_protocol::{Request, SessionId, ToProcess};
use tokio::time::{Instant, sleep};

cases! { Store:
    "deadlock/found/two-sessions", Must ["deadlock.found", "deadlock.true"] two_sessions,
        "If two holders are blocked on each other's session, one is refused, and the refusal names the cycle.";
    "deadlock/found/three-sessions", Must ["deadlock.found", "deadlock.true"] three_sessions,
        "If three holders block each other in a circle, one is refused, and the refusal names the cycle in order.";
    "deadlock/found/closed-by-a-request", Must ["deadlock.found"] closed_by_request,
        "A cycle is also found when a request closes it, and a waiter outside the cycle is not refused.";
    "deadlock/found/said-later", Must ["deadlock.found"] said_later,
        "A cycle is found when a busy holder reports later which session blocks it.";
    "deadlock/found/one-is-enough", Must ["deadlock.found"] one_is_enough,
        "After one wait was refused, the other wait continues and is granted the released session.";
    "deadlock/true/nobody-is-busy", Must ["deadlock.true"] nobody_is_busy,
        "Holders that wait for each other's session but have not sent Busy can release: none is refused.";
    "deadlock/true/not-blocked", Must ["deadlock.true"] not_blocked,
        "A holder that is busy but not blocked on the other's session closes no cycle.";
    "deadlock/true/not-waiting", Must ["deadlock.true"] not_waiting,
        "A holder that names a session for which it does not wait closes no cycle.";
    "deadlock/true/not-any-more", Must ["deadlock.true"] not_any_more,
        "When a holder reports that nothing blocks it, its earlier reports no longer count.";
    "deadlock/true/a-chain", Must ["deadlock.true"] chain,
        "A chain of holders whose last one waits for nothing is not a cycle.";
}

/// A process that holds a session and may wait for the next one's session.
struct Seat {
    p: ScriptedProcess,
    grant: Grant,
}

/// Returns processes that each hold a session, in a circle.
async fn seats(ctx: &CaseContext, names: &[&str]) -> Play<Vec<Seat>> {
    let mut all = Vec::new();
    for name in names {
        let mut p = ctx.player(name).await?;
        let grant = p.acquire(&ctx.session(name)).await?;
        all.push(Seat { p, grant });
    }
    Ok(all)
}

/// Requests the next process's session for the process at `at`, and waits for the recall.
async fn asks_next(seats: &mut [Seat], at: usize) -> Play<Request> {
    let next = (at + 1) % seats.len();
    let wanted = seats[next].grant.clone();
    let request = seats[at].p.ask(&wanted.session).await?;
    seats[next].p.recalled(&wanted).await?;
    Ok(request)
}

/// Makes every process request the next one's session.
async fn all_ask(seats: &mut [Seat]) -> Play {
    for at in 0..seats.len() {
        asks_next(seats, at).await?;
    }
    Ok(())
}

/// Reports that the process at `at` is blocked on the next one's session.
async fn is_blocked(seats: &mut [Seat], at: usize) -> Play {
    let next = seats[(at + 1) % seats.len()].grant.session.clone();
    let Seat { p, grant } = &mut seats[at];
    p.busy(grant, vec![next]).await
}

/// Waits until one of the processes is refused, and returns its position.
async fn victim(ctx: &CaseContext, seats: &mut [Seat]) -> Play<usize> {
    let until = Instant::now() + ctx.target().slack();
    let all: Vec<SessionId> = seats
        .iter()
        .map(|seat| seat.grant.session.clone())
        .collect();
    while Instant::now() < until {
        for (at, seat) in seats.iter_mut().enumerate() {
            for message in seat.p.settle().await? {
                let ToProcess::Refused { session, why, .. } = &message else {
                    continue;
                };
                // A cycle lists a process's own session first, then the session for which it waits, and so on.
                let mut cycle = all.clone();
                cycle.rotate_left(at);
                let is_so = *session == cycle[1 % cycle.len()];
                holds(is_so, "the refusal of the wait of the cycle", &message)?;
                holds(
                    *why == Refusal::Deadlock { cycle },
                    "the cycle in order",
                    why,
                )?;
                return Ok(at);
            }
        }
        sleep(Duration::from_millis(10)).await;
    }
    Err(seats[0]
        .p
        .failed("or another hears Refused, deadlock", "nothing"))
}

/// Expects that none of the processes is refused.
async fn nobody_is_refused(seats: &mut [Seat], why: &str) -> Play {
    // Check twice, because the last process's message may affect the first.
    for seat in seats.iter_mut() {
        seat.p.is_quiet(why).await?;
    }
    for seat in seats {
        seat.p.is_quiet(why).await?;
    }
    Ok(())
}

async fn two_sessions(ctx: CaseContext) -> Play {
    let mut seats = seats(&ctx, &["p", "q"]).await?;
    all_ask(&mut seats).await?;
    is_blocked(&mut seats, 0).await?;
    is_blocked(&mut seats, 1).await?;
    victim(&ctx, &mut seats).await.map(drop)
}

async fn three_sessions(ctx: CaseContext) -> Play {
    // The order of their names differs from that of the circle.
    let mut seats = seats(&ctx, &["q", "p", "r"]).await?;
    all_ask(&mut seats).await?;
    for at in 0..3 {
        is_blocked(&mut seats, at).await?;
    }
    victim(&ctx, &mut seats).await.map(drop)
}

async fn closed_by_request(ctx: CaseContext) -> Play {
    let mut seats = seats(&ctx, &["p", "q"]).await?;
    let mut beside = ctx.player("r").await?;
    let last = seats[1].grant.clone();
    let waits = beside.ask(&last.session).await?;
    beside.queued(&last.session, waits).await?;
    seats[1].p.recalled(&last).await?;
    asks_next(&mut seats, 1).await?;
    is_blocked(&mut seats, 1).await?;
    is_blocked(&mut seats, 0).await?;
    nobody_is_refused(&mut seats, "one of them does not wait yet").await?;
    seats[0].p.ask(&last.session).await?;
    victim(&ctx, &mut seats).await?;
    beside.is_quiet("the process is in no cycle").await
}

async fn said_later(ctx: CaseContext) -> Play {
    let mut seats = seats(&ctx, &["p", "q"]).await?;
    all_ask(&mut seats).await?;
    let Seat { p, grant } = &mut seats[0];
    p.busy(grant, vec![]).await?;
    is_blocked(&mut seats, 1).await?;
    nobody_is_refused(&mut seats, "one of them is not blocked").await?;
    is_blocked(&mut seats, 0).await?;
    victim(&ctx, &mut seats).await.map(drop)
}

async fn one_is_enough(ctx: CaseContext) -> Play {
    let mut seats = seats(&ctx, &["p", "q"]).await?;
    all_ask(&mut seats).await?;
    is_blocked(&mut seats, 0).await?;
    is_blocked(&mut seats, 1).await?;
    let at = victim(&ctx, &mut seats).await?;
    let mut left = seats.remove(1 - at);
    let Seat { p, grant } = &mut seats[0];
    left.p.is_quiet("one refusal was enough").await?;
    p.release(grant, set([])).await?;
    let wanted = grant.session.clone();
    let granted = left.p.expect("Granted", |message| match message {
        ToProcess::Granted(Granted { session, .. }) => Some(*session == wanted),
        _ => None,
    });
    holds(granted.await?, "the released changes", wanted)
}

async fn nobody_is_busy(ctx: CaseContext) -> Play {
    let mut seats = seats(&ctx, &["p", "q"]).await?;
    all_ask(&mut seats).await?;
    nobody_is_refused(&mut seats, "both may still give back").await?;
    is_blocked(&mut seats, 0).await?;
    nobody_is_refused(&mut seats, "one of them may still give back").await
}

async fn not_blocked(ctx: CaseContext) -> Play {
    let mut seats = seats(&ctx, &["p", "q"]).await?;
    all_ask(&mut seats).await?;
    is_blocked(&mut seats, 0).await?;
    let other = vec![ctx.session("other")];
    let Seat { p, grant } = &mut seats[1];
    p.busy(grant, other).await?;
    nobody_is_refused(&mut seats, "one of them is blocked on something else").await
}

async fn not_waiting(ctx: CaseContext) -> Play {
    let mut seats = seats(&ctx, &["p", "q"]).await?;
    let mut beside = ctx.player("r").await?;
    let last = seats[1].grant.clone();
    beside.ask(&last.session).await?;
    seats[1].p.recalled(&last).await?;
    asks_next(&mut seats, 1).await?;
    is_blocked(&mut seats, 0).await?;
    is_blocked(&mut seats, 1).await?;
    nobody_is_refused(&mut seats, "one of them does not wait").await
}

async fn not_any_more(ctx: CaseContext) -> Play {
    let mut seats = seats(&ctx, &["p", "q"]).await?;
    all_ask(&mut seats).await?;
    is_blocked(&mut seats, 0).await?;
    let Seat { p, grant } = &mut seats[0];
    p.busy(grant, vec![]).await?;
    p.is_quiet("the process is no longer blocked").await?;
    is_blocked(&mut seats, 1).await?;
    nobody_is_refused(&mut seats, "one of them is blocked no longer").await
}

async fn chain(ctx: CaseContext) -> Play {
    let mut seats = seats(&ctx, &["p", "q", "r"]).await?;
    asks_next(&mut seats, 0).await?;
    asks_next(&mut seats, 1).await?;
    is_blocked(&mut seats, 0).await?;
    is_blocked(&mut seats, 1).await?;
    let Seat { p, grant } = &mut seats[2];
    p.busy(grant, vec![]).await?;
    nobody_is_refused(&mut seats, "the last one waits for nothing").await
}
