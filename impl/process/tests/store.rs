//! The library and the reference store, which otherwise know each other only by the protocol.

use crate::support::reconnected;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use tenure::{Process, Typed};
use tenure_store::{Config, Server, Stop, Stopper, StoreError};

/// A store on a thread of its own.
struct Running {
    address: SocketAddr,
    stopper: Stopper,
    thread: JoinHandle<Result<(), StoreError>>,
}

impl Running {
    /// On the port of an earlier one, or on any.
    fn start(folder: &Path, port: u16) -> Self {
        let config = Config {
            listen: ([127, 0, 0, 1], port).into(),
            admin: ([127, 0, 0, 1], 0).into(),
            data: folder.join("data"),
            ..Config::default()
        };
        let (told, tells) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let server = Server::start(config).await?;
                let address = server.address().expect("bound");
                told.send((address, server.stopper())).expect("awaited");
                server.run().await
            })
        });
        let (address, stopper) = tells.recv().expect("it starts");
        Self {
            address,
            stopper,
            thread,
        }
    }

    fn stop(self, how: Stop) {
        self.stopper.stop(how);
        self.thread.join().expect("no panic").expect("it stops");
    }
}

/// A new grant would have a new token: the same token says that the session was never given back.
#[tokio::test]
async fn a_cached_session_that_is_in_use_survives_a_restart_of_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(folder.path(), 0);
    let address = store.address;
    let process = Process::connect(address.to_string())
        .await
        .expect("connected");
    let session = process.session("cart").expect("an id");
    let mut count = 0_u32;
    let first = session.lock("count").await.expect("locked").token();
    let mut store = Some(store);
    let mut restarted = None;
    for round in 0..300 {
        let mut guard = session.lock("count").await.expect("locked");
        assert_eq!(guard.token(), first, "round {round}");
        assert_eq!(guard.get::<u32>(), Ok((count > 0).then_some(count)));
        count += 1;
        guard.put(&count).expect("put");
        match round {
            100 => {
                // Locked while the store stops and starts.
                store.take().expect("running").stop(Stop::Keep);
                restarted = Some(Running::start(folder.path(), address.port()));
                reconnected(&process, 1).await;
                guard.commit().await.expect("durable");
            }
            200 => {
                // Cached and not locked.
                guard.unlock().expect("held");
                restarted.take().expect("running").stop(Stop::Keep);
                restarted = Some(Running::start(folder.path(), address.port()));
            }
            _ => guard.unlock().expect("held"),
        }
    }
    process.shutdown().await.expect("in time");
    restarted.expect("running").stop(Stop::Keep);
}

#[tokio::test]
async fn the_reference_store_serves_two_processes_over_two_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(folder.path(), 0);
    let address = store.address;
    let one = Process::connect(address.to_string())
        .await
        .expect("connected");
    let two = Process::connect(address.to_string())
        .await
        .expect("connected");
    let (of_one, of_two) = (
        one.session("s").expect("an id"),
        two.session("s").expect("an id"),
    );
    for round in 0..20_u32 {
        let session = if round % 2 == 0 { &of_one } else { &of_two };
        let mut guard = session.lock("count").await.expect("locked");
        assert_eq!(guard.get::<u32>(), Ok((round > 0).then_some(round)));
        guard.put(&(round + 1)).expect("put");
        if round % 3 == 0 {
            guard.commit().await.expect("durable");
        }
    }

    let mut guard = of_one.lock("count").await.expect("locked");
    guard.put(&100).expect("put");
    guard.commit().await.expect("durable");
    store.stop(Stop::Fast);
    let store = Running::start(folder.path(), address.port());
    reconnected(&one, 1).await;
    guard.put(&101).expect("put");
    guard.commit().await.expect("durable");
    guard.unlock().expect("never lost");
    let guard = of_two.lock("count").await.expect("locked");
    assert_eq!(guard.get(), Ok(Some(101)));
    drop(guard);

    one.shutdown().await.expect("in time");
    two.shutdown().await.expect("in time");
    store.stop(Stop::Drain);
}
