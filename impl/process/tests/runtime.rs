//! Blocking waits inside of a task.

use crate::support::{process, short};
use std::time::Duration;
use tenure::Error;

/// One task holds the lock across an `await`, and another task on the same thread blocks, so the holder could never
/// continue.
#[tokio::test]
async fn a_blocking_wait_for_a_task_on_the_same_runtime_thread_fails_at_once() {
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
            .expect("the lock is free, so there is no wait"),
    );
    assert!(
        session.busy().waiters.is_empty(),
        "the refused request was withdrawn"
    );
}

/// The alternative that the error text names.
#[tokio::test]
async fn a_blocking_wait_in_spawn_blocking_is_granted() {
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

/// The wait is only for the store, whose answer needs no thread of the runtime.
#[tokio::test]
async fn a_blocking_wait_that_needs_only_the_store_is_granted() {
    let store = short();
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let granted = session
        .lock("a")
        .timeout(Duration::from_secs(20))
        .blocking();
    drop(granted.expect("the driver's own thread receives the answer"));
}
