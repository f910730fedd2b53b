//! A part of the state that most transitions leave unchanged. The part is shared between states. It is judged and
//! hashed once, and its numbers are listed once.
//!
//! A transition changes one machine and one or two channels of a state with up to seven parts. With shared parts, a
//! successor costs a few reference counts, and its hash a few words. With the list of numbers, the canonical form is
//! found without touching unchanged parts.

use super::canonical::{Lister, Numbered, Ranks};
use crate::explore::fingerprint;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

struct Inner<T> {
    hash: u64,
    numbers: Lister,
    /// One bit for each violated property of this part alone, see `part`.
    broken: u32,
    value: T,
}

/// A shared part of the state.
pub struct Shared<T>(Arc<Inner<T>>);

impl<T: Numbered + Hash> Shared<T> {
    /// Shares a value after its lister has normalised it (times).
    pub(super) fn new(mut value: T, mut numbers: Lister) -> Self {
        value.visit(&mut numbers);
        numbers.finish();
        Self(Arc::new(Inner {
            hash: fingerprint(&value),
            broken: value.broken(numbers.universe),
            numbers,
            value,
        }))
    }

    pub(super) fn numbers(&self) -> &Lister {
        &self.0.numbers
    }

    /// Returns the same value with its numbers replaced by their ranks.
    pub(super) fn renumbered(&self, ranks: &Ranks) -> Self
    where
        T: Clone,
    {
        self.remade(|mut value| {
            value.visit(&mut ranks.writer());
            value
        })
    }

    pub(super) fn remade(&self, change: impl FnOnce(T) -> T) -> Self
    where
        T: Clone,
    {
        let lister = Lister::new(self.0.numbers.universe);
        Self::new(change(self.0.value.clone()), lister)
    }
}

impl<T> Shared<T> {
    /// Returns one bit for each violated property of this part alone.
    pub(crate) fn broken(&self) -> u32 {
        self.0.broken
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.0.value == other.0.value)
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}
