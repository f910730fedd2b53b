//! A process that forks while its threads hold locks: the parent continues undisturbed, and every call in the child
//! fails. This test is its own program, because a `fork` in a program that runs many tests at once would copy them all.
//!
//! The exit code of a child is the number of the first failed check, or 0. An alarm ends a child that blocks.
#![allow(unsafe_code)] // For `fork`, `alarm`, `waitpid` and `_exit`, which `std` does not have.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::RawFd;
use std::pin::{Pin, pin};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tenure::testing::Store;
use tenure::{Error, Guard, Phase, Process, Session, SessionId, Typed};

/// The time limit of a child, in seconds.
const ALARM_S: u32 = 20;

/// The number of forks while other threads use the locks. Each child must work without any mutex that was held at its
/// fork.
const FORKS: usize = 200;

/// Forks a child that runs `child`, and returns its process id.
fn fork(child: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the child uses only memory that `malloc` has made usable again, and this library, which is under
    // test.
    match unsafe { libc::fork() } {
        -1 => panic!("no fork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: both may be called at any time, and `_exit` runs no code of the parent.
            unsafe {
                libc::alarm(ALARM_S);
                libc::_exit(child());
            }
        }
        pid => pid,
    }
}

/// Waits for the end of a child, and returns its exit code.
fn wait_for(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the pointer is to a local variable.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    status
}

/// Runs `child` in a forked child, and returns its exit code.
fn in_child(child: impl FnOnce() -> i32) -> i32 {
    let status = wait_for(fork(child));
    assert!(
        libc::WIFEXITED(status),
        "a signal ended the child, so the child blocked"
    );
    libc::WEXITSTATUS(status)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Returns the number of the first failed check, or 0.
fn first_failed(checks: &[bool]) -> i32 {
    let failed = checks.iter().position(|is_right| !is_right);
    failed.map_or(0, |at| i32::try_from(at).expect("few") + 1)
}

fn is_forked<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Forked))
}

/// Returns whether every call that locks, by handle and by id, fails in the child.
fn locks_fail(process: &Process, session: &Session, id: &SessionId) -> bool {
    let is_refused = |answer: Option<Result<Guard<'_>, Error>>| answer.is_some_and(is_forked);
    first_failed(&[
        is_forked(session.lock("a").blocking()),
        is_forked(session.lock("b").try_lock().blocking()),
        is_refused(poll(pin!(session.lock("a")))),
        is_forked(process.lock(id, "a").blocking()),
        is_refused(poll(pin!(process.lock(id, "c")))),
        is_forked(session.lock_many(["a", "b"]).blocking()),
        is_forked(session.lock_all().blocking()),
        poll(pin!(session.lock_all())).is_some_and(is_forked),
        is_forked(process.session("new")),
        is_forked(process.release("s")),
    ]) == 0
}

/// A child inherits guards, a set, a request, a commit and handles. Each fails in the child, and can be dropped.
fn inherited_guards_handles_and_requests_fail_in_a_child(store: &Store) {
    let process = Process::connect_blocking(store.address()).expect("connected");
    let id = SessionId::new("s").expect("short");
    let session = process.session("s").expect("an id");
    let mut guard = session.lock("a").blocking().expect("granted");
    guard.put(&1).expect("put");
    let mut by_id = process.lock(&id, "c").blocking().expect("free");
    let other = process.session("t").expect("an id");
    let mut set = other.lock_many(["a", "b"]).blocking().expect("granted");
    let mut request = Box::pin(session.lock("a").beside(tenure::ThreadId(1 << 50)));
    assert!(poll(request.as_mut()).is_none(), "it waits");
    let third = process.session("u").expect("an id");
    let mut written = third.lock("a").blocking().expect("granted");
    written.put(&1).expect("put");
    // The child also drops a last handle. Nothing is given back to the store.
    let last = Process::connect_blocking(store.address()).expect("connected");
    let of_last = last.session("v").expect("an id");
    drop(of_last.lock("a").blocking().expect("granted"));
    drop(of_last);
    let mut last = Some(last);
    store.pause(); // The commit then has no answer yet.
    let mut commit = Box::pin(written.commit());
    assert!(poll(commit.as_mut()).is_none(), "it waits");
    let mut stopping = Box::pin(process.when(|status| status.phase == Phase::Stopped));
    assert!(poll(stopping.as_mut()).is_none(), "it waits");

    let code = in_child(|| {
        let failed = first_failed(&[
            locks_fail(&process, &session, &id),
            guard.get::<u32>() == Ok(Some(1)),
            is_forked(guard.set("2")),
            is_forked(guard.edit(|bytes| bytes.push(0))),
            is_forked(guard.check()),
            guard.recalled(),
            is_forked(guard.commit().blocking()),
            is_forked(by_id.set("2")),
            is_forked(by_id.commit().blocking()),
            by_id.session_id() == &id,
            is_forked(set.set("a", "2")),
            is_forked(set.remove("a")),
            is_forked(set.commit().blocking()),
            is_forked(set.check()),
            set.recalled(),
            poll(request.as_mut()).is_some_and(is_forked),
            poll(commit.as_mut()).is_some_and(is_forked),
            poll(stopping.as_mut()).is_some_and(|status| status.phase == Phase::Forked),
            process.status().phase == Phase::Forked,
            process.busy().is_empty() && session.busy().holders.is_empty(),
            session.last_discard().is_none(),
            process.shutdown_blocking().is_err(),
        ]);
        if failed != 0 {
            return failed;
        }
        by_id.discard();
        session.release();
        drop((request, commit, stopping));
        drop(last.take());
        2 * first_failed(&[is_forked(guard.unlock()), is_forked(set.unlock())])
    });
    store.resume();
    assert_eq!(
        code, 0,
        "the exit code is the number of the failed check in the child"
    );
    assert!(
        store.holder("v").is_some(),
        "the child must not give the session back"
    );
}

/// The calls of the child have no effect on the parent: its guards, lease and connection are unchanged.
fn the_parent_is_undisturbed_by_its_child(store: &Store) {
    let process = Process::connect_blocking(store.address()).expect("connected");
    let session = process.session("p").expect("an id");
    let mut guard = session.lock("a").blocking().expect("granted");
    guard.put(&1).expect("put");
    let code = in_child(|| {
        let is_refused = is_forked(guard.set("9")) && is_forked(guard.commit().blocking());
        drop(session.lock("a").blocking());
        drop(process.clone());
        i32::from(!is_refused)
    });
    assert_eq!(code, 0);
    assert_eq!(guard.check(), Ok(()));
    guard.commit().blocking().expect("durable");
    assert_eq!(guard.get::<u32>(), Ok(Some(1)));
    drop(guard);
    drop(session.lock("a").blocking().expect("cached"));
    assert_eq!(process.status().connections, 1);
    assert_eq!(store.value("p", "a").as_deref(), Some(&b"1"[..]));
    process.shutdown_blocking().expect("in time");
}

/// At the fork, other threads hold every kind of mutex of the manager.
fn a_child_never_blocks_on_a_mutex_held_at_the_fork(store: &Store) {
    let process = Process::connect_blocking(store.address()).expect("connected");
    let id = SessionId::new("busy").expect("short");
    let session = process.session("busy").expect("an id");
    let is_over = AtomicBool::new(false);
    let begun = Barrier::new(4);
    std::thread::scope(|scope| {
        for at in 0..3_u64 {
            let (process, session, id) = (&process, &session, &id);
            let (is_over, begun) = (&is_over, &begun);
            scope.spawn(move || {
                begun.wait();
                let mut round = at;
                while !is_over.load(Ordering::Relaxed) {
                    round += 1;
                    drop(session.lock("a").blocking().expect("granted"));
                    drop(
                        process
                            .lock(id, &format!("{round}"))
                            .blocking()
                            .expect("granted"),
                    );
                    drop(process.session(format!("{}", round % 50)).expect("an id"));
                    drop(session.lock_all().blocking().expect("granted"));
                    drop(process.busy());
                }
            });
        }
        begun.wait();
        for fork in 0..FORKS {
            let code = in_child(|| {
                let is_refused = locks_fail(&process, &session, &id)
                    && process.status().phase == Phase::Forked
                    && process.busy().is_empty();
                i32::from(!is_refused)
            });
            assert_eq!(code, 0, "fork {fork}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    process.shutdown_blocking().expect("in time");
}

/// The runtime of a forked task contains the task that runs the driver. In the child, that task must not touch the
/// connection.
fn a_child_that_runs_the_inherited_runtime_disturbs_no_connection(store: &Store) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let process = runtime.block_on(async {
        let builder = Process::builder(store.address());
        let builder = builder.runtime(tokio::runtime::Handle::current());
        let process = builder.connect().await.expect("connected");
        for number in 0..10 {
            let session = process
                .session(format!("inherited-{number}"))
                .expect("an id");
            drop(session.lock("a").await.expect("granted"));
        }
        process
    });
    let mut runtime = Some(runtime);
    let code = in_child(|| {
        let runtime = runtime.take().expect("not taken yet");
        let is_refused = runtime.block_on(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            is_forked(process.session("new"))
        });
        drop(runtime);
        i32::from(!is_refused)
    });
    assert_eq!(code, 0);
    let runtime = runtime.expect("only the child takes it");
    runtime.block_on(async {
        let session = process.session("inherited-new").expect("an id");
        drop(session.lock("a").await.expect("granted"));
    });
    assert_eq!(process.status().connections, 1);
    process.shutdown_blocking().expect("in time");
}

/// A child that connects gets its own process.
fn a_child_can_connect_its_own_process(store: &Store) {
    let process = Process::connect_blocking(store.address()).expect("connected");
    let session = process.session("own").expect("an id");
    let mut guard = session.lock("a").blocking().expect("granted");
    guard.put(&1).expect("put");
    drop(guard);
    let code = in_child(|| {
        let Ok(own) = Process::connect_blocking(store.address()) else {
            return 1;
        };
        let session = own.session("own").expect("an id");
        let mut guard = session
            .lock("a")
            .blocking()
            .expect("given back by the parent");
        let seen = guard.get::<u32>();
        guard.put(&2).expect("put");
        drop(guard);
        let is_stopped = own.shutdown_blocking().is_ok();
        // A child of the child can use neither process.
        let grandchild = in_child(|| first_failed(&[is_forked(own.session("own"))]));
        first_failed(&[seen == Ok(Some(1)), is_stopped, grandchild == 0]) * 2
    });
    assert_eq!(code, 0);
    let guard = session
        .lock("a")
        .blocking()
        .expect("given back by the child");
    assert_eq!(guard.get::<u32>(), Ok(Some(2)));
    drop(guard);
    process.shutdown_blocking().expect("in time");
}

/// A program that a process executes inherits no descriptor of the library.
fn descriptors_are_closed_when_another_program_is_executed(store: &Store) {
    let opened = || -> Vec<RawFd> {
        let all = std::fs::read_dir("/proc/self/fd").expect("Linux");
        let names = all.map(|entry| entry.expect("listed").file_name());
        names
            .filter_map(|name| name.to_string_lossy().parse().ok())
            .filter(|fd| *fd > 2)
            .collect()
    };
    let inherited = opened();
    let process = Process::connect_blocking(store.address()).expect("connected");
    let is_kept = |fd: &RawFd| {
        // SAFETY: the call only reads a flag of a descriptor. For a closed descriptor, it returns an error.
        let flags = unsafe { libc::fcntl(*fd, libc::F_GETFD) };
        flags != -1 && flags & libc::FD_CLOEXEC == 0
    };
    let own = opened().into_iter().filter(|fd| !inherited.contains(fd));
    let kept: Vec<_> = own.filter(is_kept).collect();
    assert_eq!(kept, [] as [RawFd; 0]);
    process.shutdown_blocking().expect("in time");
}

/// The copy of the socket in the child does not keep a connection open that the parent closes.
fn a_connection_closed_by_the_parent_is_closed_despite_a_child(_: &Store) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let connects = move || {
        let builder = Process::builder(address).connect_timeout(Duration::from_millis(1_000));
        builder.connect_blocking().is_err()
    };
    let connecting = std::thread::spawn(connects);
    let (mut stream, _) = listener.accept().expect("it connects");
    stream.read_exact(&mut [0; 1]).expect("a hello");
    let child = fork(|| {
        loop {
            std::thread::park(); // The child waits here until it is killed.
        }
    });
    stream.write_all(&[0xff; 64]).expect("no frame");
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit).expect("not zero");
    let end = stream.read_to_end(&mut Vec::new());
    // SAFETY: this is a child that no other code waits for.
    unsafe { libc::kill(child, libc::SIGKILL) };
    wait_for(child);
    let is_closed = match &end {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    assert!(is_closed, "{end:?}");
    assert!(
        connecting.join().expect("no panic"),
        "the listener of the test is not a store"
    );
}

/// The name of a test, and its function, which gets its own store.
type Test = (&'static str, fn(&Store));

fn main() {
    let tests: [Test; 7] = [
        (
            "a_connection_closed_by_the_parent_is_closed_despite_a_child",
            a_connection_closed_by_the_parent_is_closed_despite_a_child,
        ),
        (
            "inherited_guards_handles_and_requests_fail_in_a_child",
            inherited_guards_handles_and_requests_fail_in_a_child,
        ),
        (
            "the_parent_is_undisturbed_by_its_child",
            the_parent_is_undisturbed_by_its_child,
        ),
        (
            "a_child_never_blocks_on_a_mutex_held_at_the_fork",
            a_child_never_blocks_on_a_mutex_held_at_the_fork,
        ),
        (
            "a_child_that_runs_the_inherited_runtime_disturbs_no_connection",
            a_child_that_runs_the_inherited_runtime_disturbs_no_connection,
        ),
        (
            "a_child_can_connect_its_own_process",
            a_child_can_connect_its_own_process,
        ),
        (
            "descriptors_are_closed_when_another_program_is_executed",
            descriptors_are_closed_when_another_program_is_executed,
        ),
    ];
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    for (name, test) in tests {
        let store = Store::start().expect("a store");
        test(&store);
        println!("test {name} ... ok");
    }
}
