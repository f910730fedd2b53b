//! Who asks: OS threads and tasks, numbered as one kind of thread.
//!
//! A thread that blocks is known by its OS thread. A task is known only inside [`task`]; an `.await` outside of it counts as
//! a thread of its own, which holds nothing else, so a task that waits for itself is found out by its deadline alone.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tenure_protocol::ThreadId;

/// Numbers that a thread draws at a time.
const BLOCK: u64 = 1 << 12;

/// The next block. Only their being different matters, so no checker needs to see it.
static BLOCKS: AtomicU64 = AtomicU64::new(1);

/// What an OS thread knows; 0 is no number.
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

/// Who blocks here.
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

/// Who awaits here.
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

/// Runs `future` as one thread in Tenure's sense: all locks that are taken in it, awaited or not, belong together, so that a
/// second lock on the same attribute is an error instead of a wait for its own end, and a cycle through it is found.
pub fn task<F: Future>(future: F) -> Task<F> {
    Task {
        number: NUMBERS.with(ThreadNumbers::draw),
        future: Box::pin(future),
    }
}

/// See [`task`].
#[derive(Debug)]
#[must_use = "a future does nothing until it is awaited"]
pub struct Task<F> {
    number: u64,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        /// Puts the task before this one back, also when the poll panics.
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
