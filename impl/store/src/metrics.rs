//! The store's metrics, in the Prometheus format.

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tenure_protocol::message::{Limited, Refusal};
use tenure_protocol::{ToProcess, ToStore};
use tenure_wire::FaultCode;

/// The label of a counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: Name,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name(&'static str);

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl EncodeLabelValue for Name {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

type Kinds = Family<Kind, Counter>;

/// The metrics registry and its counters. See the [module](self).
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    received: Kinds,
    sent: Kinds,
    refusals: Kinds,
    faults: Kinds,
    pub(crate) connections: Gauge,
    resident: Gauge,
    outside: Gauge,
    full: Gauge,
    oldest: Gauge<f64, AtomicU64>,
    updates: Counter,
    commits: Histogram,
    pub(crate) dropped_lines: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut own = Self {
            registry: Registry::with_prefix("tenure"),
            received: Family::default(),
            sent: Family::default(),
            refusals: Family::default(),
            faults: Family::default(),
            connections: Gauge::default(),
            resident: Gauge::default(),
            outside: Gauge::default(),
            full: Gauge::default(),
            oldest: Gauge::default(),
            updates: Counter::default(),
            dropped_lines: Counter::default(),
            // Buckets from 50 µs, the sync time of a fast disk, to about 3 s.
            commits: Histogram::new(exponential_buckets(0.000_05, 3.0, 11)),
        };
        let registry = &mut own.registry;
        registry.register(
            "messages_received",
            "Messages received from processes, by kind",
            own.received.clone(),
        );
        registry.register(
            "messages_sent",
            "Messages sent to processes, by kind",
            own.sent.clone(),
        );
        registry.register(
            "refusals",
            "Requests that ended without a grant, by reason",
            own.refusals.clone(),
        );
        registry.register(
            "faults",
            "Connections that the store closed, by reason",
            own.faults.clone(),
        );
        registry.register("connections", "Open connections", own.connections.clone());
        registry.register(
            "sessions_in_memory",
            "Sessions in memory",
            own.resident.clone(),
        );
        registry.register(
            "sessions_on_disk",
            "Sessions only on disk",
            own.outside.clone(),
        );
        registry.register(
            "storage_full",
            "1 while the disk is full and new work is refused, otherwise 0",
            own.full.clone(),
        );
        registry.register(
            "oldest_commit_seconds",
            "Time that the oldest pending commit has waited for the disk",
            own.oldest.clone(),
        );
        registry.register("updates", "Updates made durable", own.updates.clone());
        registry.register(
            "log_dropped_lines",
            "Log lines that were dropped because the log was not read",
            own.dropped_lines.clone(),
        );
        registry.register(
            "commit_seconds",
            "Time that each batch took to become durable",
            own.commits.clone(),
        );
        own
    }

    /// Returns all metrics in the text format of Prometheus. `oldest` is the wait of the oldest pending commit.
    pub(crate) fn text(&self, oldest: Duration) -> String {
        self.oldest.set(oldest.as_secs_f64());
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String never fails");
        text
    }

    pub(crate) fn received(&self, message: &ToStore) {
        let kind = match message {
            ToStore::Hello(_) => "hello",
            ToStore::KeepAlive { .. } => "keep_alive",
            ToStore::Acquire(_) => "acquire",
            ToStore::Cancel { .. } => "cancel",
            ToStore::Commit(_) => "commit",
            ToStore::Release(_) => "release",
            ToStore::Busy { .. } => "busy",
            ToStore::Destroy { .. } => "destroy",
            ToStore::Rename { .. } => "rename",
            ToStore::Goodbye => "goodbye",
        };
        count(&self.received, kind);
    }

    pub(crate) fn sent(&self, message: &ToProcess) {
        let kind = match message {
            ToProcess::Welcome { .. } => "welcome",
            ToProcess::Alive { .. } => "alive",
            ToProcess::Granted(_) => "granted",
            ToProcess::Queued { .. } => "queued",
            ToProcess::Recall { .. } => "recall",
            ToProcess::Committed { .. } => "committed",
            ToProcess::Released { .. } => "released",
            ToProcess::Revoked { .. } => "revoked",
            ToProcess::Refused { why, .. } => {
                count(&self.refusals, refusal(why));
                "refused"
            }
            ToProcess::NotRenamed { .. } => "not_renamed",
            ToProcess::Gone { .. } => "gone",
            ToProcess::LeaseEnded => "lease_ended",
            ToProcess::Superseded => "superseded",
            ToProcess::Full => "full",
        };
        count(&self.sent, kind);
    }

    pub(crate) fn fault(&self, code: FaultCode) {
        let kind = match code {
            FaultCode::Malformed => "malformed",
            FaultCode::TooLarge => "too_large",
            FaultCode::Version => "version",
            FaultCode::Unknown => "unknown",
            FaultCode::Unexpected => "unexpected",
            FaultCode::Busy => "busy",
            FaultCode::ShuttingDown => "shutting_down",
            FaultCode::Silent => "silent",
            FaultCode::Slow => "slow",
            FaultCode::Forbidden => "forbidden",
            FaultCode::Internal => "internal",
            FaultCode::Other(_) => "other",
        };
        count(&self.faults, kind);
    }

    pub(crate) fn committed(&self, updates: usize, took: Duration) {
        self.updates.inc_by(updates as u64);
        self.commits.observe(took.as_secs_f64());
    }

    pub(crate) fn sessions(&self, resident: usize, outside: usize) {
        self.resident.set(signed(resident));
        self.outside.set(signed(outside));
    }

    pub(crate) fn full(&self, is_full: bool) {
        self.full.set(i64::from(is_full));
    }
}

fn count(kinds: &Kinds, kind: &'static str) {
    kinds.get_or_create(&Kind { kind: Name(kind) }).inc();
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn refusal(why: &Refusal) -> &'static str {
    match why {
        Refusal::WouldBlock => "would_block",
        Refusal::Cancelled => "cancelled",
        Refusal::Deadline => "deadline",
        Refusal::Deadlock { .. } => "deadlock",
        Refusal::Limit(Limited::Storage) => "storage_full",
        Refusal::Limit(_) => "limit",
        Refusal::Gone => "gone",
        Refusal::AlreadyLocked => "already_locked",
        Refusal::NotHeld => "not_held",
        Refusal::IdTaken => "id_taken",
        Refusal::ShuttingDown => "shutting_down",
        Refusal::Absent => "absent",
        Refusal::Unsupported => "unsupported",
    }
}
