//! Blocking waits inside a task.

use crate::support::{process, short};
use std::time::Duration;
use tenure::Error;

/// A task holds the lock over an `await`, and another one of the same thread blocks: the holder could never go on.
#[tokio::test]
async fn a_blocking_wait_for_a_task_of_the_same_thread_is_refused_at_once() {
    let store = short();
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let guard = session.lock("a").await.expect("granted");
    for _ in 0..2 {
        let refused = session.lock("a").blocking();
        assert!(
            matches!(refused, Err(Error::BlocksRuntime(_))),
            "{refused:?}"
        );
        let refused = session.lock_all().blocking();
        assert!(
            matches!(refused, Err(Error::BlocksRuntime(_))),
            "{refused:?}"
        );
    }
    let said = session
        .lock("a")
        .blocking()
        .expect_err("refused")
        .to_string();
    assert!(said.contains("spawn_blocking"), "{said}");
    drop(guard);
    drop(
        session
            .lock("a")
            .blocking()
            .expect("free: nothing is waited for"),
    );
    assert!(
        session.busy().waiters.is_empty(),
        "the refused left nothing"
    );
}

/// The remedy that the error names.
#[tokio::test]
async fn a_blocking_wait_beside_the_runtime_is_granted() {
    let store = short();
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let guard = session.lock("a").await.expect("granted");
    let own = session.clone();
    let waits = tokio::task::spawn_blocking(move || own.lock("a").blocking().map(drop));
    while session.busy().waiters.is_empty() {
        tokio::task::yield_now().await;
    }
    drop(guard);
    assert_eq!(waits.await.expect("no panic"), Ok(()));
}

/// Only the store is waited for, whose answer needs no thread of the runtime.
#[tokio::test]
async fn a_blocking_wait_for_the_store_alone_is_granted() {
    let store = short();
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let granted = session
        .lock("a")
        .timeout(Duration::from_secs(20))
        .blocking();
    drop(granted.expect("the driver has a thread of its own"));
}
