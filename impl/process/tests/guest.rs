//! The driver as a task of the application's runtime, and its way back when that runtime does not run it.

use crate::support::{LEASE_MS, builder, short};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};
use tenure::testing::Store;
use tenure::{Process, Session};
use tokio::runtime::{Builder, Handle, Runtime};

/// The time limit of each test for what should take milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

fn single() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Connects a process that may run on the runtime of the caller.
async fn process(store: &Store, name: &str) -> Process {
    let builder = builder(&store.address(), name).runtime(Handle::current());
    builder.connect().await.expect("connected")
}

/// Records the name of the thread that wakes, and wakes another waker.
struct Named {
    by: Arc<Mutex<Option<String>>>,
    waker: Waker,
}

impl Wake for Named {
    fn wake(self: Arc<Self>) {
        *self.by.lock().expect("no panic") = thread::current().name().map(str::to_owned);
        self.waker.wake_by_ref();
    }
}

/// Takes the lock from another process and gives it back, and returns the name of the thread that received the grant.
async fn receiver(session: &Session) -> Option<String> {
    let by = Arc::default();
    let mut request = Box::pin(session.lock("a").into_future());
    let guard = std::future::poll_fn(|context: &mut Context<'_>| -> Poll<_> {
        let named = Named {
            by: Arc::clone(&by),
            waker: context.waker().clone(),
        };
        request
            .as_mut()
            .poll(&mut Context::from_waker(&Waker::from(Arc::new(named))))
    });
    drop(guard.await.expect("granted"));
    session.release();
    by.lock().expect("no panic").take()
}

/// Locks sessions until the runtime of this task receives the grants itself.
async fn has_guest(process: &Process) {
    let by = Instant::now() + LIMIT;
    let own = thread::current().name().map(str::to_owned);
    for number in 0.. {
        let session = process.session(format!("first-{number}")).expect("an id");
        if receiver(&session).await == own {
            return;
        }
        assert!(
            Instant::now() < by,
            "the driver's thread receives each grant"
        );
    }
}

/// Locks the session and leaves it, on this OS thread.
fn lock_here(session: &Session) {
    drop(
        session
            .lock("a")
            .timeout(LIMIT)
            .blocking()
            .expect("granted"),
    );
}

/// Returns a process of this runtime, which has received a grant.
fn guest_of(runtime: &Runtime, store: &Store) -> Process {
    runtime.block_on(async {
        let process = process(store, "one").await;
        has_guest(&process).await;
        process
    })
}

/// Another process, on a thread of its own, locks the session and gives it back.
fn elsewhere(store: &Store, session: &'static str) -> thread::JoinHandle<()> {
    let address = store.address();
    thread::spawn(move || {
        let process = builder(&address, "elsewhere")
            .connect_blocking()
            .expect("connected");
        let lock = process.session(session).expect("an id");
        lock_here(&lock);
        process.shutdown_blocking().expect("in time");
    })
}

#[test]
fn the_runtime_whose_tasks_lock_receives_their_grants() {
    let store = short();
    single().block_on(async {
        let process = process(&store, "one").await;
        has_guest(&process).await;
        process.shutdown().await.expect("in time");
    });
}

/// The runtime is blocked while the store recalls a cached grant. The driver's own thread gives the grant back.
#[test]
fn a_blocked_runtime_delays_no_recall_and_keeps_the_lease() {
    let store = short();
    single().block_on(async {
        let process = process(&store, "one").await;
        has_guest(&process).await;
        let cached = process.session("cached").expect("an id");
        drop(cached.lock("a").await.expect("granted"));
        let kept = process.session("kept").expect("an id");
        let guard = kept.lock("a").await.expect("granted");
        for _ in 0..3 {
            elsewhere(&store, "cached")
                .join()
                .expect("the thread gets the session");
        }
        // The runtime is blocked for three leases.
        thread::sleep(Duration::from_millis(3 * LEASE_MS));
        assert_eq!(guard.check(), Ok(()));
        drop(guard);
        assert_eq!(process.status().connections, 1);
        drop(cached.lock("a").await.expect("granted"));
    });
}

#[test]
fn the_driver_survives_the_end_of_the_runtime_that_ran_it() {
    let store = short();
    let first = single();
    let process = guest_of(&first, &store);
    drop(first);
    let session = process.session("s").expect("an id");
    lock_here(&session);
    elsewhere(&store, "s")
        .join()
        .expect("the thread gets the session");
    assert_eq!(process.status().connections, 1);
    process.shutdown_blocking().expect("in time");
}

/// A runtime that nobody runs has a guest: its threads do other things. The process works as if it had none.
#[test]
fn a_runtime_that_nobody_runs_delays_other_threads_only_briefly() {
    let store = short();
    let idle = single();
    let process = guest_of(&idle, &store);
    for number in 0..100 {
        let session = process.session(format!("s{number}")).expect("an id");
        lock_here(&session);
    }
    // Entered, but not run.
    let _entered = idle.enter();
    let session = process.session("entered").expect("an id");
    lock_here(&session);
    assert_eq!(process.status().connections, 1);
    process.shutdown_blocking().expect("in time");
}

#[test]
fn the_named_runtime_another_one_and_plain_threads_use_one_process_at_once() {
    let store = short();
    let named = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let named = named.expect("a runtime");
    let process = named.block_on(process(&store, "one"));
    let (done, all_done) = mpsc::channel();
    for number in 0..6 {
        let (process, done, named) = (process.clone(), done.clone(), named.handle().clone());
        thread::spawn(move || {
            let other = single();
            for round in 0..200 {
                let session = process
                    .session(format!("s{}", (number + round) % 4))
                    .expect("an id");
                match number % 3 {
                    0 => drop(
                        named
                            .block_on(async { session.lock("a").await })
                            .expect("granted"),
                    ),
                    1 => drop(
                        other
                            .block_on(async { session.lock("a").await })
                            .expect("granted"),
                    ),
                    _ => lock_here(&session),
                }
                session.release();
            }
            done.send(()).expect("the test waits");
        });
    }
    for _ in 0..6 {
        all_done.recv_timeout(3 * LIMIT).expect("each thread ends");
    }
    assert_eq!(process.status().connections, 1);
    process.shutdown_blocking().expect("in time");
}

/// Such a runtime cannot serve a connection.
#[test]
fn a_runtime_without_io_uses_a_process_and_is_refused_as_its_place() {
    let store = short();
    let bare = Builder::new_current_thread().build().expect("a runtime");
    bare.block_on(async {
        let process = crate::support::process(&store, "one").await;
        let session = process.session("s").expect("an id");
        for _ in 0..10 {
            drop(session.lock("a").await.expect("granted"));
            session.release();
        }
        process.shutdown().await.expect("in time");
    });
    let named = || Process::builder(store.address()).runtime(bare.handle().clone());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(named)).is_err());
}

#[test]
fn a_lost_connection_comes_back_while_a_runtime_runs_the_driver() {
    let store = short();
    single().block_on(async {
        let process = process(&store, "one").await;
        for times in 1..4 {
            has_guest(&process).await;
            store.cut();
            crate::support::reconnected(&process, times).await;
        }
        process.shutdown().await.expect("in time");
    });
}
