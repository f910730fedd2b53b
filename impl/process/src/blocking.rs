//! Blocking waits inside the tasks of a tokio runtime: found before the OS thread is put to sleep.
//!
//! A task that blocks keeps its thread from running other tasks. In a runtime of one thread that is all of them, so a task that holds
//! the lock could never give it back, and the wait would last until its deadline: that is refused. In a runtime of several
//! threads, or where only the store is waited for, which the driver's own thread hears, the others go on: that is a warning, once for
//! each place in the program.
//!
//! That a thread has entered a runtime says little: so have the threads of `spawn_blocking`, which may block. What tells a task that
//! is being polled is that its polls are counted, tokio's cooperative budget. Nothing is counted in `spawn_blocking` or in `block_in_place`.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::coop::poll_proceed;
use tracing::warn;

/// More polls than tokio's budget allows to a task before it yields.
const POLLS: usize = 1_024;

/// Of so many places in the program is remembered that they were warned of.
const PLACES_MAX: usize = 256;

/// Whether a task is being polled by this OS thread. Leaves its budget as it was.
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
    // Each puts back what there was before it: the first one last.
    while spent.pop().is_some() {}
    is_counted
}

/// Whether this OS thread may sleep for a lock, see the [module](self).
pub(crate) fn may_sleep(is_local: &dyn Fn() -> bool, place: &'static Location<'static>) -> bool {
    let Ok(runtime) = Handle::try_current() else {
        return true;
    };
    if !is_in_task() {
        return true;
    }
    if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread && is_local() {
        return false;
    }
    if is_new(place) {
        warn!(
            %place,
            "a blocking wait for a lock stops a thread of the runtime that this task runs on; \
             await the lock, or wait in block_in_place or spawn_blocking"
        );
    }
    true
}

/// Whether a place is seen for the first time.
fn is_new(place: &'static Location<'static>) -> bool {
    static SEEN: Mutex<BTreeSet<&'static Location<'static>>> = Mutex::new(BTreeSet::new());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    seen.len() < PLACES_MAX && seen.insert(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    /// Whether a sleep is allowed when a thread of this process has the lock, and when none has.
    #[track_caller]
    fn answers() -> (bool, bool) {
        let place = Location::caller();
        (may_sleep(&|| true, place), may_sleep(&|| false, place))
    }

    #[test]
    fn a_thread_without_a_runtime_may_sleep() {
        assert_eq!(answers(), (true, true));
    }

    #[test]
    fn a_task_of_the_only_thread_may_not_sleep_for_a_task_of_its_process() {
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
    fn a_task_of_several_threads_may_sleep_and_is_warned_of() {
        let runtime = Builder::new_multi_thread().worker_threads(2).build();
        let runtime = runtime.expect("a runtime");
        let task = async { tokio::spawn(async { (answers(), is_in_task()) }).await };
        let task = runtime.block_on(task).expect("no panic");
        assert_eq!(task, ((true, true), true));
        let allowed = async { tokio::task::block_in_place(is_in_task) };
        let allowed = runtime.block_on(async { tokio::spawn(allowed).await });
        assert!(!allowed.expect("no panic"), "it has said that it blocks");
    }

    #[test]
    fn each_place_is_new_once() {
        let place = Location::caller();
        assert!(is_new(place) && !is_new(place));
    }

    #[test]
    fn the_look_leaves_the_budget_as_it_was() {
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
