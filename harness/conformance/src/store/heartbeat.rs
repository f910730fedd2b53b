//! Detects whether a lease has ended because the store or this machine was too slow to process keep-alives. The store
//! is right in that case, so the result says nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tenure_protocol::message::Hello;
use tenure_protocol::{Time, ToProcess, ToStore};
use tokio::time::Instant;

/// The flag that any process of a case sets when it was starved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Starved(Arc<AtomicBool>);

impl Starved {
    pub(crate) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The keep-alives that a connection has sent, and those that were answered.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    unanswered: VecDeque<(Time, Instant)>,
    /// The earliest end of the lease according to the last answer.
    end: Option<Instant>,
    starved: Starved,
}

impl Heartbeat {
    pub(crate) fn new(starved: Starved) -> Self {
        Self {
            unanswered: VecDeque::new(),
            end: None,
            starved,
        }
    }

    pub(crate) fn says(&mut self, message: &ToStore, now: Instant) {
        if let ToStore::Hello(Hello { sent, .. }) | ToStore::KeepAlive { sent } = message {
            self.unanswered.push_back((*sent, now));
        }
    }

    pub(crate) fn hears(&mut self, message: &ToProcess, now: Instant) {
        match message {
            ToProcess::Welcome { sent, lease_ms, .. } | ToProcess::Alive { sent, lease_ms, .. } => {
                let mut all = self.unanswered.iter();
                let Some(place) = all.position(|(own, _)| own == sent) else {
                    return;
                };
                let answered = self.unanswered.drain(..=place).next_back();
                let span = Duration::from_millis(*lease_ms);
                self.end = answered.map(|(_, said)| said + span);
            }
            ToProcess::LeaseEnded => {
                let is_over = self.end.is_some_and(|end| now >= end);
                if is_over && !self.unanswered.is_empty() {
                    self.starved.0.store(true, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE_MS: u64 = 1_000;

    fn alive(sent: u64) -> ToProcess {
        ToProcess::Alive {
            sent: Time(sent),
            lease_ms: LEASE_MS,
            recalls: Vec::new(),
        }
    }

    /// Sends keep-alives at these times, receives the answer to the first, and then LeaseEnded. Returns whether the
    /// process was starved.
    fn is_starved(ends_at_ms: u64, says_at_ms: &[u64]) -> bool {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let starved = Starved::default();
        let mut own = Heartbeat::new(starved.clone());
        for (sent, said_ms) in (1..).zip(says_at_ms) {
            own.says(&ToStore::KeepAlive { sent: Time(sent) }, at(*said_ms));
        }
        own.hears(&alive(1), at(LEASE_MS / 2));
        own.hears(&ToProcess::LeaseEnded, at(ends_at_ms));
        starved.is_so()
    }

    #[test]
    fn a_store_that_processed_no_keep_alive_for_a_lease_was_too_slow() {
        assert!(is_starved(LEASE_MS, &[0, 300]));
    }

    #[test]
    fn a_store_that_ends_a_lease_early_or_without_keep_alives_was_not_too_slow() {
        assert!(!is_starved(LEASE_MS - 1, &[0, 300]), "early");
        assert!(
            !is_starved(LEASE_MS, &[0]),
            "no keep-alive was sent after the first"
        );
    }
}
