//! The primitives that everything here is built on, in one place: those of `std`, or those of loom or shuttle when the
//! harness compiles these sources to explore their interleavings.
//!
//! A lock that is poisoned makes whoever comes next panic too: the machine behind it was left in mid-step, by a fault of
//! ours, and nothing that it says can be trusted.

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod own {
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
    pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

    pub(crate) use std::thread::panicking;

    pub(super) use std::thread::Thread;

    use super::Unpark;
    use std::sync::Arc as StdArc;
    use std::task::Waker;
    use std::thread;
    use std::time::Duration;

    /// As loom's: access by closure, so that both are used alike.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
            access(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
            access(self.0.get())
        }
    }

    thread_local! {
        static WAKER: Waker = Waker::from(StdArc::new(Unpark(thread::current())));
    }

    /// Calls `poll` with a waker of this thread.
    pub(crate) fn with_thread_waker<R>(poll: impl FnOnce(&Waker) -> R) -> R {
        WAKER.with(|waker| poll(waker))
    }

    /// Sleeps until woken, or for `limit` at most. May wake early.
    pub(crate) fn park(limit: Duration) {
        thread::park_timeout(limit);
    }
}

#[cfg(any(feature = "loom", feature = "shuttle"))]
mod own {
    #[cfg(feature = "loom")]
    pub(crate) use loom::{
        cell::UnsafeCell,
        sync::atomic::{AtomicPtr, AtomicU64, Ordering},
        sync::{Arc, Mutex, MutexGuard},
        thread::{self, Thread},
        thread_local,
    };
    #[cfg(feature = "shuttle")]
    pub(crate) use shuttle::{
        sync::atomic::{AtomicPtr, AtomicU64, Ordering},
        sync::{Arc, Mutex, MutexGuard},
        thread::{self, Thread},
        thread_local,
    };

    use super::Unpark;
    use std::sync::Arc as StdArc;
    use std::task::Waker;
    use std::time::Duration;

    /// As loom's.
    #[cfg(feature = "shuttle")]
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    #[cfg(feature = "shuttle")]
    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }
        pub(crate) fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
            access(self.0.get())
        }
        pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
            access(self.0.get())
        }
    }

    pub(crate) fn with_thread_waker<R>(poll: impl FnOnce(&Waker) -> R) -> R {
        poll(&Waker::from(StdArc::new(Unpark(thread::current()))))
    }

    thread_local! {
        static UNWINDS: std::cell::Cell<bool> = std::cell::Cell::new(false);
    }

    /// Whether this thread is to be taken for one that unwinds. The checkers' threads share one OS thread, which cannot
    /// unwind in one of them and go on in another.
    pub(crate) fn panicking() -> bool {
        UNWINDS.with(std::cell::Cell::get)
    }

    /// Takes this thread for one that unwinds, or no longer.
    pub fn pretend_to_unwind(is_unwinding: bool) {
        UNWINDS.with(|unwinds| unwinds.set(is_unwinding));
    }

    /// The checkers know no time: a wait ends by being woken.
    pub(crate) fn park(_: Duration) {
        thread::park();
    }
}

#[cfg(any(feature = "loom", feature = "shuttle"))]
pub use own::pretend_to_unwind;
pub(crate) use own::*;

use std::sync::Arc as StdArc;
use std::task::Wake;

/// Wakes an OS thread that waits as a task does.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: StdArc<Self>) {
        self.0.unpark();
    }
    fn wake_by_ref(self: &StdArc<Self>) {
        self.0.unpark();
    }
}

/// Locks, see the [module](self).
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("a thread panicked inside the lock manager, which is a bug in Tenure")
}
