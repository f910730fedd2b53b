//! A blocking log subscriber does not cost the lease.

use crate::support::{process, short};
use std::fmt::Debug;
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::Duration;
use tenure::Typed;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The name of the process whose events block.
const BLOCKED: &str = "its-subscriber-blocks";

/// The state of the subscriber.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    blocked: u32,
}

static GATE: OnceLock<Gate> = OnceLock::new();

fn gate() -> &'static Gate {
    GATE.get_or_init(Gate::default)
}

impl Gate {
    fn wait_while(&self, is_so: impl Fn(&State) -> bool) {
        let state = self.state.lock().expect("no panic");
        let waited = self
            .changed
            .wait_timeout_while(state, Duration::from_secs(30), |state| is_so(state));
        assert!(!waited.expect("no panic").1.timed_out());
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("no panic"));
        self.changed.notify_all();
    }
}

/// A subscriber that blocks the caller in each event that names [`BLOCKED`], until the gate opens.
struct Blocks;

#[derive(Default)]
struct Names(bool);

impl Visit for Names {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 |= field.name() == "process" && format!("{value:?}") == BLOCKED;
    }
}

impl Subscriber for Blocks {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tenure")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut names = Names::default();
        event.record(&mut names);
        if names.0 {
            gate().change(|state| state.blocked += 1);
            gate().wait_while(|state| !state.is_open);
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_log_subscriber_that_blocks_does_not_cost_the_lease() {
    tracing::subscriber::set_global_default(Blocks)
        .expect("no other test of this binary sets a subscriber");
    let store = short();
    let blocked = process(&store, BLOCKED).await;
    let session = blocked.session("s").expect("an id");
    let mut guard = session.lock("a").await.expect("locked");
    guard.put(&1).expect("put");
    gate().wait_while(|state| state.blocked == 0);

    // Each keep-alive is sent by the thread that must not block.
    let sent = store.counts().keep_alives;
    store.wait_until(|store| store.counts().keep_alives >= sent + 10);
    assert_eq!(guard.check(), Ok(()));
    guard.commit().await.expect("durable");
    assert_eq!(blocked.status().connections, 1);

    // The event of an error does not block either: the store stops and starts again.
    store.cut();
    crate::support::reconnected(&blocked, 1).await;
    guard.put(&2).expect("put");
    guard.commit().await.expect("durable");
    assert_eq!(
        blocked.status().events_dropped,
        0,
        "the queue had room for all events"
    );

    // A shutdown does not wait for the subscriber either.
    drop(guard);
    drop(session);
    blocked.shutdown().await.expect("in time");
    gate().wait_while(|state| state.blocked != 1);
    gate().change(|state| state.is_open = true);
}
