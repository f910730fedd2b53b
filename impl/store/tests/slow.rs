//! Tests with processes that request much and read nothing.

use crate::support::{Player, Running, acquire, config, id, set};
use std::time::Duration;
use tenure_protocol::message::Release;
use tenure_protocol::{SessionId, ToStore};
use tenure_store::Stop;

/// The number of sessions whose states exceed the sockets' own buffers.
const SESSIONS: u64 = 64;

async fn with_large_sessions(lease_ms: u64) -> (Running, Vec<SessionId>, Player) {
    let mut config = config(std::path::Path::new("unused"));
    config.lease = Duration::from_millis(lease_ms);
    config.limits.session_bytes_max = 1 << 20;
    config.limits.outgoing_bytes_max = 4 << 20;
    let memory = tenure_engine::Memory::new();
    let store = Running::with_engine(config, Box::new(memory)).await;
    let ids: Vec<SessionId> = (0..SESSIONS).map(|at| id(&format!("s{at}"))).collect();
    let mut q = Player::connect(store.address, "q").await;
    for (at, id) in ids.iter().enumerate() {
        let grant = q.acquire(id, at as u64).await;
        let large = set("n", vec![b'x'; 512 << 10]);
        q.release(id, grant.token, grant.version, large).await;
    }
    (store, ids, q)
}

async fn is_closed_as_slow(store: Running) {
    let counted = |_, text: &str| text.contains("tenure_faults_total{kind=\"slow\"} 1");
    store.until("/metrics", counted).await;
    // The connection is gone, although the process has not read the reason.
    let is_alone = |_, text: &str| text.contains("\"connections\":1,");
    store.until("/status", is_alone).await;
    let mut other = Player::connect(store.address, "other").await;
    other.write(&id("other"), 1, "1").await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_process_that_requests_more_than_it_reads_is_paused_and_then_closed() {
    let (store, ids, _) = with_large_sessions(300).await;
    let mut slow = Player::connect(store.address, "slow").await;
    for (at, id) in ids.iter().enumerate() {
        slow.say(acquire(id, at as u64)).await;
    }
    let q = Player::silent(store.address, "q", 2, 1);
    let mut q = q.await;
    q.hello(vec![], vec![]).await;
    q.next().await;
    let beat = tokio::spawn(async move {
        // Other processes are served meanwhile.
        loop {
            q.lives().await;
            tokio::task::yield_now().await;
            if q.stream.try_write(&[]).is_err() {
                return;
            }
        }
    });
    let counted = |_, text: &str| text.contains("tenure_faults_total{kind=\"slow\"} 1");
    store.until("/metrics", counted).await;
    assert!(
        !beat.is_finished(),
        "q ended before the slow process was closed"
    );
    let is_alone = |_, text: &str| text.contains("\"connections\":1,");
    store.until("/status", is_alone).await;
    beat.abort();
    store.stop(Stop::Fast).await.expect("no failure");
    drop(slow);
}

#[tokio::test]
async fn a_process_that_is_sent_more_than_it_reads_is_closed() {
    let (store, ids, mut q) = with_large_sessions(60_000).await;
    let mut grants = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        grants.push(q.acquire(id, 100 + at as u64).await);
    }
    let mut slow = Player::connect(store.address, "slow").await;
    for (at, id) in ids.iter().enumerate() {
        slow.say(acquire(id, at as u64)).await;
        q.lives().await;
    }
    for (id, grant) in ids.iter().zip(&grants) {
        let release = ToStore::Release(Release {
            session: id.clone(),
            token: grant.token,
            base: grant.version,
            delta: Default::default(),
            requeue: None,
            idle_ms: 0,
        });
        q.say(release).await;
    }
    q.lives().await;
    is_closed_as_slow(store).await;
    drop(q);
    drop(slow);
}
