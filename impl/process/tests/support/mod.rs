//! Stores and processes with short timeouts, so that tests are short.

use std::time::Duration;
use tenure::testing::{Store, StoreSettings};
use tenure::{Builder, Phase, Process, ProcessSettings};

/// The lease of [`short`] stores.
pub(crate) const LEASE_MS: u64 = 600;

/// Starts a store with a short lease.
pub(crate) fn short() -> Store {
    Store::start_with(StoreSettings {
        lease_ms: LEASE_MS,
        remind_ms: 200,
        recall_ms: 5_000,
        wait_ms: 20_000,
        ..StoreSettings::default()
    })
    .expect("a store")
}

/// Returns a builder for a process with settings that fit a [`short`] store.
pub(crate) fn builder(address: &str, name: &str) -> Builder {
    Process::builder(address)
        .name(name)
        .settings(ProcessSettings {
            margin_ms: 50,
            keep_alive_ms: 150,
            resend_ms: 150,
            recall_margin_ms: 200,
            ..ProcessSettings::default()
        })
        .backoff(Duration::from_millis(5), Duration::from_millis(40))
}

pub(crate) async fn process(store: &Store, name: &str) -> Process {
    let builder = builder(&store.address(), name);
    builder.connect().await.expect("connected")
}

/// Waits until the process has connected more than `times` times.
pub(crate) async fn reconnected(process: &Process, times: u64) {
    let again =
        process.when(|status| status.connections > times && status.phase == Phase::Connected);
    let again = tokio::time::timeout(Duration::from_secs(20), again);
    again
        .await
        .expect("the process connects again within the time limit");
}
