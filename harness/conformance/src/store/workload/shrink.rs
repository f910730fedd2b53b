//! Shortens a failing history: leaves out steps while the remaining history still fails.

use crate::end::CaseEnd;
use crate::store::CaseContext;
use crate::store::workload::act::Act;
use crate::store::workload::player::play;
use crate::trace::Trace;
use std::time::Duration;
use tokio::time::Instant;

/// The limits on the number of replays and on their total time.
const TRIES_MAX: usize = 120;
const TIME_MAX: Duration = Duration::from_secs(20);

/// Returns the shortest failing history found, and its failure. Its trace becomes the trace of the case.
pub(super) async fn shrink(
    ctx: &CaseContext,
    acts: Vec<Act>,
    stop: CaseEnd,
) -> (Vec<Act>, CaseEnd) {
    let (mut acts, mut stop) = (acts, stop);
    let (began, mut tries) = (Instant::now(), 0);
    let mut chunk = acts.len().div_ceil(2);
    while chunk > 0 && !matches!(stop, CaseEnd::Fault(_)) {
        let mut at = 0;
        while at < acts.len() {
            if tries >= TRIES_MAX || began.elapsed() >= TIME_MAX {
                return last(ctx, acts, stop).await;
            }
            tries += 1;
            let mut rest = acts.clone();
            rest.drain(at..(at + chunk).min(acts.len()));
            match play(&ctx.another(Trace::default()), &rest).await {
                Err((played, failed @ CaseEnd::Failed { .. })) => {
                    rest.truncate(played);
                    (acts, stop) = (rest, failed);
                }
                _ => at += chunk,
            }
        }
        chunk /= 2;
    }
    last(ctx, acts, stop).await
}

/// Plays the history once more, for the trace.
async fn last(ctx: &CaseContext, acts: Vec<Act>, stop: CaseEnd) -> (Vec<Act>, CaseEnd) {
    ctx.trace().clear();
    let again = ctx.another(ctx.trace().clone());
    match play(&again, &acts).await {
        Err((_, failed @ CaseEnd::Failed { .. })) => (acts, failed),
        // The failure is not reproducible, so the earlier observation counts.
        _ => (acts, stop),
    }
}
