//! Locks, writes and grants across processes, over real sockets.

use crate::support::{builder, process, short};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tenure::testing::Store;
use tenure::{
    Error, GuardSet, OwnedGuard, OwnedLockRequest, Process, SessionId, Typed, TypedSet, ValueError,
    task,
};

/// Returns the number of messages caused by use, without the keep-alives.
fn messages(store: &Store) -> u64 {
    let counts = store.counts();
    counts.messages - counts.keep_alives
}

#[tokio::test]
async fn two_processes_share_a_session() {
    let store = Store::start().expect("a store");
    let one = Process::connect(store.address()).await.expect("connected");
    let two = Process::connect(store.address()).await.expect("connected");
    assert_ne!(one.status().name, two.status().name);
    let cart = one.session("s").expect("an id");
    let mut guard = cart.lock("cart").await.expect("locked");
    guard.set("apple").expect("set");
    let first = guard.token();
    drop(guard);
    assert_eq!(
        store.value("s", "cart"),
        None,
        "a write is not durable before a commit or a release"
    );

    let cart = two.session("s").expect("an id");
    let guard = cart.lock("cart").await.expect("locked");
    assert_eq!(guard.bytes(), Some(&b"apple"[..]));
    assert!(guard.token() > first);
    assert_eq!(store.holder("s"), Some(two.status().name));
}

#[tokio::test]
async fn locking_a_cached_session_sends_no_message() {
    let store = Store::start().expect("a store");
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    drop(session.lock("a").await.expect("locked"));
    let before = messages(&store);
    for round in 0..1_000_u32 {
        let mut guard = session.lock("a").await.expect("locked");
        guard.put(&round).expect("put");
        drop(guard);
        drop(session.lock_many(["a", "b"]).blocking().expect("locked"));
    }
    assert_eq!(process.status().held, 1);
    let mut guard = session.lock("a").await.expect("locked");
    guard.commit().await.expect("durable");
    assert_eq!(
        messages(&store),
        before + 1,
        "only the commit sends a message"
    );
    assert_eq!(store.value("s", "a").as_deref(), Some(&b"999"[..]));
}

#[tokio::test]
async fn a_lock_by_session_id_works_without_a_handle() {
    let store = Store::start().expect("a store");
    let process = process(&store, "one").await;
    let id = SessionId::from_static("s");
    let mut guard = process.lock(&id, "cart").await.expect("locked");
    guard.put(&1_u64).expect("put");
    drop(guard);
    let before = messages(&store);
    let mut guard = process.lock(&id, "cart").blocking().expect("locked");
    guard.update(|count: &mut u64| *count += 1).expect("put");
    let place = process.busy()[0].holders[0].place;
    assert!(place.file().ends_with("sessions.rs"), "{place}");
    drop(guard);
    assert_eq!(messages(&store), before, "the session is cached");
    let session = process.session("s").expect("an id");
    let guard = session.lock("cart").await.expect("locked");
    assert_eq!(guard.get(), Ok(Some(2_u64)));
}

#[tokio::test]
async fn a_recalled_session_is_given_back_after_the_thread_inside_has_left() {
    let store = short();
    let (one, two) = (process(&store, "one").await, process(&store, "two").await);
    let (of_one, of_two) = (
        one.session("s").expect("an id"),
        two.session("s").expect("an id"),
    );
    let mut guard = of_one.lock("a").await.expect("locked");
    assert!(!guard.recalled());
    let mut other = pin!(of_two.lock("a"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(other.as_mut().poll(&mut context).is_pending());
    store.wait_until(|_| guard.recalled());
    guard.set("1").expect("set");
    assert_eq!(store.holder("s").as_deref(), Some("one"));
    // A thread that already holds a lock in the session may take more.
    drop(
        of_one
            .lock("b")
            .beside(guard.thread())
            .await
            .expect("locked"),
    );
    guard.unlock().expect("in time");
    let guard = other.await.expect("locked");
    assert_eq!(guard.bytes(), Some(&b"1"[..]));
    assert_eq!(store.holder("s").as_deref(), Some("two"));
}

#[tokio::test]
async fn an_operator_recall_makes_the_holder_give_the_session_back() {
    let store = Store::start().expect("a store");
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let mut guard = session.lock("a").await.expect("locked");
    guard.set("1").expect("set");
    store.recall("s");
    store.wait_until(|_| guard.recalled());
    drop(guard);
    store.wait_until(|store| store.holder("s").is_none());
    assert_eq!(store.value("s", "a").as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn a_try_takes_a_session_cached_elsewhere_and_waits_for_no_thread() {
    let store = Store::start().expect("a store");
    let (one, two) = (process(&store, "one").await, process(&store, "two").await);
    let (of_one, of_two) = (
        one.session("s").expect("an id"),
        two.session("s").expect("an id"),
    );
    let guard = of_one.lock("a").await.expect("locked");
    let here = of_one.lock("a").try_lock().await;
    assert!(matches!(here, Err(Error::WouldBlock(_))), "{here:?}");
    let there = of_two.lock("a").try_lock().await;
    assert!(matches!(there, Err(Error::WouldBlock(_))), "{there:?}");
    drop(guard);
    drop(
        of_two
            .lock("a")
            .try_lock()
            .await
            .expect("the other process only caches the session"),
    );
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline() {
    let store = Store::start().expect("a store");
    let (one, two) = (process(&store, "one").await, process(&store, "two").await);
    let (of_one, of_two) = (
        one.session("s").expect("an id"),
        two.session("s").expect("an id"),
    );
    let guard = of_one.lock("a").await.expect("locked");
    for session in [&of_one, &of_two] {
        let began = Instant::now();
        let late = session.lock("a").timeout(Duration::from_millis(60)).await;
        assert!(matches!(late, Err(Error::Deadline(_))), "{late:?}");
        assert!(began.elapsed() >= Duration::from_millis(59));
    }
    store.wait_until(|store| store.waiters("s").is_empty());
    drop(guard);
}

#[tokio::test]
async fn a_dropped_request_leaves_no_trace() {
    let store = Store::start().expect("a store");
    let (one, two) = (process(&store, "one").await, process(&store, "two").await);
    let (of_one, of_two) = (
        one.session("s").expect("an id"),
        two.session("s").expect("an id"),
    );
    let guard = of_one.lock("a").await.expect("locked");
    let mut request = Box::pin(of_two.lock("a"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(request.as_mut().poll(&mut context).is_pending());
    store.wait_until(|store| store.waiters("s") == ["two"]);
    drop(request);
    store.wait_until(|store| store.waiters("s").is_empty());
    assert!(two.busy().is_empty());
    drop(guard);
    drop(of_two.lock("a").await.expect("locked"));
}

#[tokio::test]
async fn a_deadlock_is_detected_and_its_error_names_the_sessions() {
    let store = Store::start().expect("a store");
    let process = process(&store, "one").await;
    let (a, b) = (
        process.session("a").expect("an id"),
        process.session("b").expect("an id"),
    );
    let in_a = a.lock("x").await.expect("locked");
    let other = task(async {
        let in_b = b.lock("x").await.expect("locked");
        let in_a = a.lock("x").await;
        drop(in_b);
        in_a.map(drop)
    });
    let mut other = pin!(other);
    let mut context = Context::from_waker(Waker::noop());
    while process
        .session("b")
        .expect("an id")
        .busy()
        .holders
        .is_empty()
    {
        assert!(other.as_mut().poll(&mut context).is_pending());
        tokio::task::yield_now().await;
    }
    assert!(other.as_mut().poll(&mut context).is_pending());
    let mine = b.lock("x").beside(in_a.thread()).await.map(drop);
    drop(in_a);
    let results = [mine, other.await];
    let cycles = results
        .iter()
        .filter(|result| matches!(result, Err(Error::Deadlock { cycle }) if cycle.len() == 2));
    assert_eq!(
        cycles.count(),
        1,
        "the deadlock fails exactly one request: {results:?}"
    );
}

#[tokio::test]
async fn locks_on_several_attributes_and_on_whole_sessions_exclude_others() {
    let store = Store::start().expect("a store");
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let mut set = session.lock_many(["cart", "visits"]).await.expect("locked");
    set.put("visits", &3_u32).expect("put");
    set.put("cart", &["apple"]).expect("put");
    assert_eq!(set.get::<u32>("visits"), Ok(Some(3)));
    let other = set.put("other", &1);
    assert!(matches!(other, Err(ValueError::Lock(Error::NotLocked(_)))));
    set.commit().await.expect("durable");
    drop(set);
    assert_eq!(store.value("s", "visits").as_deref(), Some(&b"3"[..]));

    let mut all = session.lock_all().await.expect("locked");
    assert_eq!(all.attributes().count(), 2);
    let to = SessionId::from_static("t");
    all.rename(&to).await.expect("renamed");
    drop(all);
    let session = process.session("t").expect("an id");
    assert_eq!(
        session.lock("visits").await.expect("locked").get(),
        Ok(Some(3_u32))
    );
    assert_eq!(process.status().held, 1);
    session
        .lock_all()
        .await
        .expect("locked")
        .destroy()
        .await
        .expect("destroyed");
    assert_eq!(store.value("t", "visits"), None);
    store.wait_until(|_| process.status().held == 0);
}

#[tokio::test]
async fn typed_errors_name_the_attribute_but_never_its_value() {
    let store = Store::start().expect("a store");
    let process = process(&store, "one").await;
    let session = process.session("secret-session").expect("an id");
    let mut guard = session.lock("pin").await.expect("locked");
    guard.put("secret-data").expect("put");
    let error = guard.get::<u32>().expect_err("the value is not a number");
    assert!(
        matches!(error, ValueError::Read { column: 13, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("pin"));
    assert!(!format!("{error} {error:?}").contains("secret"));
    guard
        .update(|value: &mut String| value.push('!'))
        .expect("a string");
    assert_eq!(guard.bytes(), Some(&b"\"secret-data!\""[..]));
    let busy = session
        .lock("pin")
        .try_lock()
        .await
        .expect_err("the attribute is locked");
    assert!(!busy.to_string().contains("secret"), "{busy}");
    assert_eq!(
        busy.session().map(|id| id.as_bytes()),
        Some(&b"secret-session"[..])
    );
}

#[tokio::test]
async fn the_least_recently_used_sessions_are_released_first() {
    let store = Store::start().expect("a store");
    let process = builder(&store.address(), "one").cached_max(3);
    let process = process.connect().await.expect("connected");
    for id in ["a", "b", "c", "a", "d", "e"] {
        let session = process.session(id).expect("an id");
        drop(session.lock("x").await.expect("locked"));
        // The order of last use is as precise as the manager's clock.
        let used = Instant::now();
        store.wait_until(|_| used.elapsed() > Duration::from_millis(120));
    }
    let released = |store: &Store| ["b", "c"].iter().all(|id| store.holder(id).is_none());
    store.wait_until(released);
    assert!(["a", "d", "e"].iter().all(|id| store.holder(id).is_some()));
    assert_eq!(process.status().held, 3);
}

#[tokio::test]
async fn sessions_idle_for_long_are_released() {
    let store = Store::start().expect("a store");
    let process = builder(&store.address(), "one").idle(Duration::from_millis(100));
    let process = process.connect().await.expect("connected");
    let (used, unused) = (
        process.session("a").expect("an id"),
        process.session("b").expect("an id"),
    );
    let guard = used.lock("x").await.expect("locked");
    unused
        .lock("x")
        .await
        .expect("locked")
        .set("1")
        .expect("set");
    store.wait_until(|store| store.holder("b").is_none());
    assert_eq!(store.value("b", "x").as_deref(), Some(&b"1"[..]));
    assert!(store.holder("a").is_some());
    drop(guard);
    used.release();
    process.release("never seen").expect("an id");
    store.wait_until(|store| store.holder("a").is_none());
}

#[test]
fn blocking_calls_work_on_threads_without_a_runtime() {
    let store = Store::start().expect("a store");
    let process = Process::connect_blocking(store.address()).expect("connected");
    let session = process.session("s").expect("an id");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut guard = session.lock("visits").blocking().expect("locked");
                    guard
                        .update(|visits: &mut u32| *visits += 1)
                        .expect("a number");
                }
            });
        }
    });
    session
        .lock("visits")
        .blocking()
        .expect("locked")
        .commit()
        .blocking()
        .expect("durable");
    assert_eq!(store.value("s", "visits").as_deref(), Some(&b"200"[..]));
    process.shutdown_blocking().expect("in time");
    assert_eq!(store.counts().goodbyes, 1);
}

/// An owned guard outlives the handles that it was created from, and the process does not stop until the guard is
/// dropped.
#[tokio::test]
async fn an_owned_guard_goes_to_another_task_and_outlives_its_handles() {
    fn travels<T: Send + 'static>(value: T) -> T {
        value
    }
    let store = Store::start().expect("a store");
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let locking: OwnedLockRequest = travels(session.lock_owned("a"));
    let set: GuardSet = travels(session.lock_many(["b", "c"]).await.expect("locked"));
    drop((process, session));
    let guard = tokio::spawn(async { locking.await.expect("locked") });
    let mut guard: OwnedGuard = travels(guard.await.expect("no panic"));
    assert_eq!(
        (guard.session_id().as_ref(), guard.name().as_ref()),
        (&b"s"[..], &b"a"[..])
    );
    guard.put(&7).expect("put");
    guard
        .update(|count: &mut u32| *count += 1)
        .expect("updated");
    guard
        .commit()
        .await
        .expect("the guard keeps the process alive");
    assert_eq!(store.value("s", "a").as_deref(), Some(&b"8"[..]));
    guard.set("9").expect("set");
    drop(set);
    guard.unlock().expect("in time");
    store.wait_until(|store| store.holder("s").is_none());
    assert_eq!(store.value("s", "a").as_deref(), Some(&b"9"[..]));
}

/// As with borrowed locks, dropping an owned request withdraws it, and a panic under an owned guard discards the
/// writes.
#[tokio::test]
async fn owned_requests_and_guards_end_like_borrowed_ones() {
    let store = Store::start().expect("a store");
    let process = process(&store, "one").await;
    let session = process.session("s").expect("an id");
    let guard = session.lock_owned("a").blocking().expect("free");
    let mut waits = Box::pin(session.lock_owned("a").timeout(Duration::from_secs(60)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut context).is_pending());
    assert_eq!(session.busy().waiters.len(), 1);
    drop(waits);
    assert_eq!(session.busy().waiters.len(), 0);
    let refused = session.lock_owned("a").try_lock().await;
    assert!(
        refused
            .expect_err("another guard holds the lock")
            .is_retryable()
    );
    let task = tokio::spawn(async move {
        let mut guard = guard;
        guard.set("lost").expect("set");
        panic!("on purpose");
    });
    task.await.expect_err("it panicked");
    let guard = session.lock_owned("a").existing().await;
    assert!(
        matches!(guard, Err(Error::Absent(_))),
        "a panic discards all writes"
    );
    session.lock_owned("a").await.expect("free").discard();
}
