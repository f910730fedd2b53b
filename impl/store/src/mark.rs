//! The mark that a start of the store leaves to the next one: where its time is, and what it has promised. The engine keeps it
//! beside the sessions.

use crate::clock::{Clock, DOWNTIME_MAX_MS, Mark, Started, TimeSource};
use crate::config::{Config, millis};
use crate::error::StoreError;
use std::sync::Arc;
use tenure_engine::{Engine, EngineError};
use tenure_protocol::Promised;

/// Returns the mark of this moment, as the engine keeps it. A promise of an earlier start is in it as long as it may stand.
pub(crate) fn now(clock: &Clock, config: &Config, promised: &Promised) -> Vec<u8> {
    let now = clock.now();
    let lease_ms = millis::of(config.lease).max(promised.lease.since(now));
    let recall_ms = millis::of(config.recall).max(promised.recall.since(now));
    let mark = clock.mark(lease_ms, recall_ms);
    serde_json::to_vec(&mark).expect("numbers and a string are JSON")
}

/// Starts the clock behind the mark of the last start, and leaves one, so that what this start promises is durable before it
/// is promised. Returns also how long the promises of earlier starts stand.
///
/// # Errors
/// When the engine cannot read or write the mark. A full disk is no error.
pub(crate) fn start_clock(
    config: &Config,
    engine: &mut dyn Engine,
    source: Arc<dyn TimeSource>,
) -> Result<(Clock, Promised), StoreError> {
    let marked = engine.marked()?;
    let mark: Option<Mark> = match marked.as_deref().map(serde_json::from_slice) {
        None => None,
        Some(Ok(mark)) => Some(mark),
        Some(Err(error)) => {
            tracing::error!(%error, "the clock's mark in the data folder is damaged: the wall clock is the store's time, and no promise of an earlier start is known");
            None
        }
    };
    let (clock, started) = Clock::start(source, mark.as_ref());
    match started {
        Started::New | Started::On => {}
        Started::Behind(behind_ms) => tracing::error!(
            behind_ms,
            "the wall clock is behind the time of the last run: times to live go on from there, as if the store had not been down; set the clock of this machine"
        ),
        Started::Ahead(ahead_ms) => tracing::error!(
            ahead_ms,
            counted_ms = DOWNTIME_MAX_MS,
            "the wall clock is far ahead of the time of the last run: only a part counts against times to live; if the store was not down for so long, set the clock of this machine"
        ),
    }
    let time = clock.now();
    let of = |before: fn(&Mark) -> u64| mark.as_ref().map_or(time, |mark| time.after(before(mark)));
    let promised = Promised {
        lease: of(|mark| mark.lease_ms),
        recall: of(|mark| mark.recall_ms),
    };
    match engine.mark(&now(&clock, config, &promised)) {
        Ok(()) => {}
        Err(error @ EngineError::Full { .. }) => {
            tracing::error!(%error, "the clock's mark is not durable: a next start counts from an earlier one");
        }
        Err(error) => return Err(error.into()),
    }
    Ok((clock, promised))
}
