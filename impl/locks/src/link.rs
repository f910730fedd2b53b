//! A pointer that is set once and read by any thread.
//!
//! `std`'s `OnceLock` stores a state beside the pointer and has a cold path that costs the fast path code size, and
//! loom has no `OnceLock`.
#![allow(unsafe_code)]

use crate::sync::{AtomicPtr, Ordering};
use std::ptr;

/// A pointer to a box that is set once.
#[derive(Debug)]
pub(crate) struct Link<T>(AtomicPtr<T>);

impl<T> Link<T> {
    pub(crate) fn empty() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: the pointer is null, or comes from a box that `fill` has published and that is freed only
        // with `self`.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Sets the pointer, which must be null.
    ///
    /// # Safety
    /// No other thread sets the pointer at the same time.
    pub(crate) unsafe fn fill(&self, value: T) -> &T {
        debug_assert!(self.get().is_none());
        let new = Box::into_raw(Box::new(value));
        self.0.store(new, Ordering::Release);
        // SAFETY: the box was just created, and is freed only with `self`.
        unsafe { &*new }
    }
}

impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        let own = self.0.load(Ordering::Acquire);
        if !own.is_null() {
            // SAFETY: the pointer comes from a box, and no other thread can reach it any more.
            drop(unsafe { Box::from_raw(own) });
        }
    }
}
