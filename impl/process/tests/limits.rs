//! Limits that differ between a store and its processes: one session fails, and no other session is affected.

use crate::support::{builder, process};
use tenure::testing::{Store, StoreSettings};
use tenure::{Error, Exceeded, Limits, ProcessSettings, Typed, Whose};
use tenure_protocol::message::Limited;

fn exceeded(result: Result<(), Error>) -> Exceeded {
    match result {
        Err(Error::Limit(exceeded)) => *exceeded,
        other => panic!("over a limit, not {other:?}"),
    }
}

#[tokio::test]
async fn a_write_beyond_a_store_limit_fails_in_the_process_that_writes() {
    let store = Store::start_with(StoreSettings {
        limits: Limits {
            attribute_bytes_max: 1_000,
            ..Limits::default()
        },
        ..StoreSettings::default()
    })
    .expect("a store");
    let process = process(&store, "one").await;
    let session = process.session("large").expect("an id");
    let mut guard = session.lock("a").await.expect("locked");
    let refused = guard.set(vec![0; 2_000]);
    let text = refused.as_ref().expect_err("refused").to_string();
    assert!(
        text.contains("the store: at most 1000 bytes of one attribute"),
        "{text}"
    );
    let found = exceeded(refused);
    assert_eq!(
        (found.limit, found.whose, found.max),
        (Limited::AttributeBytes, Whose::Store, Some(1_000))
    );
    guard
        .set(vec![1; 1_000])
        .expect("the value is as large as the limit");
    guard.commit().await.expect("durable");

    let other = process.session("healthy").expect("an id");
    let mut healthy = other.lock("a").await.expect("locked");
    healthy.put(&1).expect("put");
    healthy.commit().await.expect("durable");
    assert_eq!(
        process.status().connections,
        1,
        "the process has kept its connection"
    );
}

#[tokio::test]
async fn a_session_beyond_the_limits_of_the_process_fails_without_harm_to_others() {
    let store = Store::start().expect("a store");
    let writer = process(&store, "writer").await;
    for (id, bytes) in [("large", 6 << 20), ("small", 1)] {
        let session = writer.session(id).expect("an id");
        for name in ["a", "b", "c", "d", "e", "f"] {
            let mut guard = session.lock(name).await.expect("locked");
            guard.set(vec![7; bytes / 10]).expect("within the limits");
        }
        session
            .lock("a")
            .await
            .expect("locked")
            .commit()
            .await
            .expect("durable");
    }
    let small = builder(&store.address(), "reader").settings(ProcessSettings {
        limits: Limits {
            session_bytes_max: 100_000,
            ..Limits::default()
        },
        ..ProcessSettings::default()
    });
    let reader = small.connect().await.expect("connected");
    let session = reader.session("large").expect("an id");
    let found = exceeded(session.lock("a").await.map(drop));
    assert_eq!(
        (found.limit, found.whose, found.max),
        (Limited::SessionBytes, Whose::Process, Some(100_000))
    );
    let session = reader.session("small").expect("an id");
    drop(session.lock("a").await.expect("locked"));
    assert_eq!(
        reader.status().connections,
        1,
        "the process has kept its connection"
    );
}
