//! Connections that become silent without being closed.

use crate::support::reconnected;
use std::time::Duration;
use tenure::testing::{Store, StoreSettings};
use tenure::{Process, ProcessSettings, Typed};

/// Connects a process with frequent keep-alives and late resends.
async fn connected(store: &Store) -> Process {
    let settings = ProcessSettings {
        margin_ms: 100,
        keep_alive_ms: 300,
        resend_ms: 60_000,
        ..ProcessSettings::default()
    };
    let builder = Process::builder(store.address())
        .name("one")
        .settings(settings)
        .backoff(Duration::from_millis(5), Duration::from_millis(40));
    builder.connect().await.expect("connected")
}

fn store() -> Store {
    let settings = StoreSettings {
        lease_ms: 3_000,
        ..StoreSettings::default()
    };
    Store::start_with(settings).expect("a store")
}

/// The current connection and the `next` ones become silent: the guard and the cached grant stay valid.
async fn survives(next: u64) {
    let store = store();
    let process = connected(&store).await;
    let session = process.session("s").expect("an id");
    let mut guard = session.lock("a").await.expect("locked");
    guard.put(&1).expect("put");
    let token = guard.token();

    store.silence(next);
    reconnected(&process, 1).await;
    assert_eq!(
        guard.check(),
        Ok(()),
        "the new connection came before the end of the lease"
    );
    guard.commit().await.expect("durable");
    assert_eq!(guard.token(), token, "the process has kept the same grant");
    let status = process.status();
    let why = status
        .last_error
        .expect("a process that lost its connection reports the error");
    let says = if next == 0 {
        "silent"
    } else {
        "did not answer"
    };
    assert!(why.contains(says), "{why}");
    assert_eq!(status.connections, 2);
}

#[tokio::test]
async fn a_process_replaces_a_silent_connection_before_its_lease_ends() {
    survives(0).await;
}

#[tokio::test]
async fn a_process_replaces_a_second_silent_connection_before_its_lease_ends() {
    survives(1).await;
}
