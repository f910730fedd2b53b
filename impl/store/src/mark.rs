//! The clock mark: a small durable record that a start of the store leaves for the next one. The mark holds the store's
//! time and the promised lease and recall times. The engine stores it beside the sessions.

use crate::clock::{Clock, DOWNTIME_MAX_MS, Mark, Started, TimeSource};
use crate::config::{Config, millis};
use crate::error::StoreError;
use std::sync::Arc;
use tenure_engine::{Engine, EngineError};
use tenure_protocol::Promised;

/// Returns the encoded clock mark of this moment. The mark includes the promises of earlier starts that may still be
/// valid.
pub(crate) fn now(clock: &Clock, config: &Config, promised: &Promised) -> Vec<u8> {
    let now = clock.now();
    let lease_ms = millis::of(config.lease).max(promised.lease.since(now));
    let recall_ms = millis::of(config.recall).max(promised.recall.since(now));
    let mark = clock.mark(lease_ms, recall_ms);
    serde_json::to_vec(&mark)
        .expect("a mark consists of numbers and a string, which always serialize to JSON")
}

/// Starts the clock from the mark of the last start and writes a new mark. The new mark makes this start's lease and
/// recall times durable before the store promises them. Also returns until when promises of earlier starts remain
/// valid.
///
/// # Errors
/// [`StoreError::Engine`] if the engine cannot read or write the mark. A full disk is only logged.
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
            tracing::error!(%error, "the clock mark in the data folder is damaged: the store's time restarts from the \
            wall clock, and leases or recalls that an earlier start promised are unknown; check this machine's clock");
            None
        }
    };
    let (clock, started) = Clock::start(source, mark.as_ref());
    match started {
        Started::New | Started::On => {}
        Started::Behind(behind_ms) => tracing::error!(
            behind_ms,
            "the wall clock is behind the time of the last run: times to live continue as if the store had not been \
            down; correct this machine's clock"
        ),
        Started::Ahead(ahead_ms) => tracing::error!(
            ahead_ms,
            counted_ms = DOWNTIME_MAX_MS,
            "the wall clock is far ahead of the time of the last run: only counted_ms of the difference count against \
            times to live; if the store was not down that long, correct this machine's clock"
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
            tracing::error!(%error, "the clock mark was not written because the disk is full: the next start \
            continues from an older mark; free disk space");
        }
        Err(error) => return Err(error.into()),
    }
    Ok((clock, promised))
}
