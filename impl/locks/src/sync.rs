//! The synchronization primitives of this crate, in one place: those of `std`, or those of loom or shuttle when the
//! harness compiles these sources to explore their interleavings.
//!
//! If a mutex is poisoned, the next thread that locks it panics too. A bug in Tenure has left the machine behind the
//! mutex in the middle of a step, so its state cannot be trusted.

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

    /// A cell with loom's interface: access through closures, so that the same code compiles with both.
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

    /// Sleeps until a wake-up, but at most for `limit`. May wake up early.
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

    /// A cell with loom's interface.
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

    /// Returns whether this thread is treated as unwinding. The checkers run all threads on one OS thread, which cannot
    /// unwind in one of them and continue in another.
    pub(crate) fn panicking() -> bool {
        UNWINDS.with(std::cell::Cell::get)
    }

    /// Makes the checkers treat this thread as unwinding, or no longer.
    pub fn pretend_to_unwind(is_unwinding: bool) {
        UNWINDS.with(|unwinds| unwinds.set(is_unwinding));
    }

    /// Sleeps until a wake-up. The checkers have no time.
    pub(crate) fn park(_: Duration) {
        thread::park();
    }
}

#[cfg(any(feature = "loom", feature = "shuttle"))]
pub use own::pretend_to_unwind;
pub(crate) use own::*;

use std::sync::Arc as StdArc;
use std::task::Wake;

/// A waker that unparks an OS thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: StdArc<Self>) {
        self.0.unpark();
    }
    fn wake_by_ref(self: &StdArc<Self>) {
        self.0.unpark();
    }
}

/// Locks a mutex, and panics if it is poisoned. See the [module](self).
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("a thread panicked inside the lock manager, which is a bug in Tenure")
}
