//! Detection of blocking waits inside the tasks of a tokio runtime, before the OS thread goes to sleep.
//!
//! A task that blocks keeps its thread from running other tasks. On a single-threaded runtime, these are all other
//! tasks. If one of them holds the lock, it could never release it, and the wait would last until its deadline. So such
//! a wait is refused.
//!
//! On a multi-threaded runtime, other threads go on. The same is true if the wait is only for the store, since the
//! driver's own thread receives the store's answer. Such a wait is only logged as a warning, once for each call site.
//!
//! A thread of `spawn_blocking` has entered a runtime too, and may block. So the check must find out whether a task is
//! being polled. Tokio's cooperative budget tells: it counts the polls of a task, and counts nothing in
//! `spawn_blocking` and `block_in_place`.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::coop::poll_proceed;
use tracing::warn;

/// A number of polls above tokio's budget for one poll of a task.
const POLLS: usize = 1_024;

/// The maximum number of call sites that are remembered as warned about.
const PLACES_MAX: usize = 256;

/// Returns whether this OS thread is polling a task. Leaves the task's budget unchanged.
fn is_in_task() -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let mut spent = Vec::new();
    let is_counted = (0..POLLS).any(|_| match poll_proceed(&mut context) {
        Poll::Pending => true,
        Poll::Ready(one) => {
            spent.push(one);
            false
        }
    });
    // Each drop restores the budget from before its poll, so the first poll is dropped last.
    while spent.pop().is_some() {}
    is_counted
}

/// Returns whether this OS thread may sleep for a lock. See the [module](self). Calls `blocks` if this would block all
/// tasks of a runtime.
pub(crate) fn may_sleep(
    is_local: &dyn Fn() -> bool,
    place: &'static Location<'static>,
    blocks: &dyn Fn(),
) -> bool {
    let Ok(runtime) = Handle::try_current() else {
        return true;
    };
    if !is_in_task() {
        return true;
    }
    if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
        if is_local() {
            return false;
        }
        blocks();
    }
    if is_new(place) {
        warn!(
            %place,
            "a task waits for a lock with a blocking call, which blocks a thread of its runtime; \
             await the lock instead, or wait in block_in_place or spawn_blocking"
        );
    }
    true
}

/// Returns whether this is the first warning for this call site.
fn is_new(place: &'static Location<'static>) -> bool {
    static SEEN: Mutex<BTreeSet<&'static Location<'static>>> = Mutex::new(BTreeSet::new());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    seen.len() < PLACES_MAX && seen.insert(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    /// Returns whether a sleep is allowed if a thread of this process holds the lock, and if none does.
    #[track_caller]
    fn answers() -> (bool, bool) {
        let place = Location::caller();
        let asked = |is_local: bool| may_sleep(&|| is_local, place, &|| {});
        (asked(true), asked(false))
    }

    /// Returns whether a sleep for the store would block all tasks of a runtime.
    #[track_caller]
    fn blocks() -> bool {
        let blocks = std::cell::Cell::new(false);
        may_sleep(&|| false, Location::caller(), &|| blocks.set(true));
        blocks.get()
    }

    #[test]
    fn a_sleep_in_a_task_blocks_all_tasks_of_a_single_threaded_runtime() {
        assert!(!blocks());
        let single = Builder::new_current_thread().build().expect("a runtime");
        assert!(single.block_on(async { blocks() }));
        let aside = async { tokio::task::spawn_blocking(blocks).await };
        assert!(!single.block_on(aside).expect("no panic"));
        let many = Builder::new_multi_thread().worker_threads(2).build();
        assert!(!many.expect("a runtime").block_on(async { blocks() }));
    }

    #[test]
    fn a_thread_outside_of_any_runtime_may_sleep() {
        assert_eq!(answers(), (true, true));
    }

    #[test]
    fn a_task_on_a_single_threaded_runtime_may_not_sleep_for_a_lock_of_its_process() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        assert_eq!(runtime.block_on(async { answers() }), (false, true));
        let task = async { tokio::spawn(async { answers() }).await };
        assert_eq!(runtime.block_on(task).expect("no panic"), (false, true));
        let blocking = async { tokio::task::spawn_blocking(answers).await };
        assert_eq!(runtime.block_on(blocking).expect("no panic"), (true, true));
        let _entered = runtime.enter();
        assert_eq!(answers(), (true, true), "no task is polled");
    }

    #[test]
    fn a_blocking_call_is_allowed_in_a_task_of_a_multi_threaded_runtime() {
        let runtime = Builder::new_multi_thread().worker_threads(2).build();
        let runtime = runtime.expect("a runtime");
        let task = async { tokio::spawn(async { (answers(), is_in_task()) }).await };
        let task = runtime.block_on(task).expect("no panic");
        assert_eq!(task, ((true, true), true));
        let allowed = async { tokio::task::block_in_place(is_in_task) };
        let allowed = runtime.block_on(async { tokio::spawn(allowed).await });
        assert!(
            !allowed.expect("no panic"),
            "inside block_in_place, no poll is counted"
        );
    }

    #[test]
    fn each_call_site_is_new_only_once() {
        let place = Location::caller();
        assert!(is_new(place) && !is_new(place));
    }

    #[test]
    fn the_check_leaves_the_budget_of_the_task_unchanged() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let left = |task: fn()| {
            runtime.block_on(async {
                task();
                let mut context = Context::from_waker(Waker::noop());
                let spends = |_: &usize| match poll_proceed(&mut context) {
                    Poll::Ready(one) => {
                        one.made_progress();
                        true
                    }
                    Poll::Pending => false,
                };
                (0..POLLS).take_while(spends).count()
            })
        };
        let whole = left(|| {});
        assert!(whole < POLLS);
        assert_eq!(left(|| assert!(is_in_task())), whole);
    }
}
