//! A part of the state that most transitions leave alone: shared between states, and judged, hashed and its numbers
//! listed once.
//!
//! A transition changes one machine and a channel or two of a state that has up to seven parts. Sharing the rest makes a
//! successor cost a few reference counts, and hashing it a few words. The list of numbers lets the canonical form be
//! found without touching parts that it does not change.

use super::canonical::{Lister, Numbered, Ranks};
use crate::explore::fingerprint;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

struct Inner<T> {
    hash: u64,
    numbers: Lister,
    /// A bit for each property of the part alone that does not hold, see `property`.
    broken: u32,
    value: T,
}

/// See the top of this file.
pub struct Shared<T>(Arc<Inner<T>>);

impl<T: Numbered + Hash> Shared<T> {
    /// Shares a value, after what its lister normalises (times) is normal.
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

    /// The same value with its numbers replaced by their ranks.
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
    /// A bit for each property of the part alone that does not hold.
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
