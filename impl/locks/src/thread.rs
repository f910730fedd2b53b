//! The requesting threads: OS threads and tasks, numbered as one kind of thread.
//!
//! A blocking thread is identified by its OS thread. A task is identified only inside of [`task`]. Outside of it, each
//! `.await` counts as a thread of its own that holds no other lock. So a task that waits for itself is detected only by
//! its deadline.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tenure_protocol::ThreadId;

/// The number of thread numbers that an OS thread reserves at a time.
const BLOCK: u64 = 1 << 12;

/// The next block. Only the uniqueness of the numbers matters, so the checkers need not explore this atomic.
static BLOCKS: AtomicU64 = AtomicU64::new(1);

/// The numbers that an OS thread knows. 0 means no number.
struct ThreadNumbers {
    thread: Cell<u64>,
    task: Cell<u64>,
    next: Cell<u64>,
}

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
thread_local! {
    static NUMBERS: ThreadNumbers = const { ThreadNumbers::new() };
}

#[cfg(any(feature = "loom", feature = "shuttle"))]
crate::sync::thread_local! {
    static NUMBERS: ThreadNumbers = ThreadNumbers::new();
}

impl ThreadNumbers {
    const fn new() -> Self {
        Self {
            thread: Cell::new(0),
            task: Cell::new(0),
            next: Cell::new(0),
        }
    }

    #[inline]
    fn draw(&self) -> u64 {
        let mut next = self.next.get();
        if next.is_multiple_of(BLOCK) {
            next = Self::next_block();
        }
        self.next.set(next + 1);
        next + 1
    }

    #[cold]
    fn next_block() -> u64 {
        BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK
    }
}

/// Returns the number of the thread or task that makes a blocking request here.
#[inline]
pub(crate) fn blocking() -> ThreadId {
    NUMBERS.with(|own| {
        if own.task.get() != 0 {
            return ThreadId(own.task.get());
        }
        if own.thread.get() == 0 {
            own.thread.set(own.draw());
        }
        ThreadId(own.thread.get())
    })
}

/// Returns the number of the task that awaits a request here.
#[inline]
pub(crate) fn awaiting() -> ThreadId {
    NUMBERS.with(|own| {
        ThreadId(if own.task.get() == 0 {
            own.draw()
        } else {
            own.task.get()
        })
    })
}

/// Runs `future` as one thread in Tenure's sense: all its locks, blocking or awaited, have one owner. A second lock on
/// the same attribute is then an error instead of an endless wait, and a deadlock through the task is detected.
pub fn task<F: Future>(future: F) -> Task<F> {
    Task {
        number: NUMBERS.with(ThreadNumbers::draw),
        future: Box::pin(future),
    }
}

/// A future that runs as one thread, from [`task`].
#[derive(Debug)]
#[must_use = "a future does nothing until it is awaited"]
pub struct Task<F> {
    number: u64,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        /// Restores the previous task, even if the poll panics.
        struct Before(u64);
        impl Drop for Before {
            fn drop(&mut self) {
                NUMBERS.with(|own| own.task.set(self.0));
            }
        }
        let _before = Before(NUMBERS.with(|own| own.task.replace(self.number)));
        self.future.as_mut().poll(context)
    }
}
