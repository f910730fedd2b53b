//! The driver as a task of the application's runtime, and its way back when that runtime does not run it.

use crate::support::{process, short};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};
use tenure::testing::Store;
use tenure::{Process, Session};
use tokio::runtime::{Builder, Runtime};

/// The time limit of each test for what should take milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

fn single() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
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

/// Another process, on a thread of its own, locks the session and gives it back.
fn elsewhere(store: &Store, session: &'static str) -> thread::JoinHandle<()> {
    let address = store.address();
    thread::spawn(move || {
        let process = crate::support::builder(&address, "elsewhere")
            .connect_blocking()
            .expect("connected");
        let lock = process.session(session).expect("an id");
        drop(lock.lock("a").timeout(LIMIT).blocking().expect("granted"));
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
    let process = first.block_on(async {
        let process = process(&store, "one").await;
        has_guest(&process).await;
        process
    });
    drop(first);
    let session = process.session("s").expect("an id");
    drop(
        session
            .lock("a")
            .timeout(LIMIT)
            .blocking()
            .expect("granted"),
    );
    single().block_on(has_guest(&process));
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
    let process = idle.block_on(async {
        let process = process(&store, "one").await;
        has_guest(&process).await;
        process
    });
    for number in 0..100 {
        let session = process.session(format!("s{number}")).expect("an id");
        drop(
            session
                .lock("a")
                .timeout(LIMIT)
                .blocking()
                .expect("granted"),
        );
    }
    // Entered, but not run.
    let _entered = idle.enter();
    let session = process.session("entered").expect("an id");
    drop(
        session
            .lock("a")
            .timeout(LIMIT)
            .blocking()
            .expect("granted"),
    );
    assert_eq!(process.status().connections, 1);
    process.shutdown_blocking().expect("in time");
}

#[test]
fn two_runtimes_and_plain_threads_use_one_process_at_once() {
    let store = short();
    let process = single().block_on(process(&store, "one"));
    let (done, all_done) = mpsc::channel();
    for number in 0..4 {
        let (process, done) = (process.clone(), done.clone());
        thread::spawn(move || {
            for round in 0..200 {
                let session = process
                    .session(format!("s{}", (number + round) % 3))
                    .expect("an id");
                if number % 2 == 0 {
                    drop(
                        single()
                            .block_on(async { session.lock("a").await })
                            .expect("granted"),
                    );
                } else {
                    drop(
                        session
                            .lock("a")
                            .timeout(LIMIT)
                            .blocking()
                            .expect("granted"),
                    );
                }
                session.release();
            }
            done.send(()).expect("the test waits");
        });
    }
    for _ in 0..4 {
        all_done.recv_timeout(3 * LIMIT).expect("each thread ends");
    }
    assert_eq!(process.status().connections, 1);
    process.shutdown_blocking().expect("in time");
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
