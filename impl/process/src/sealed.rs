//! The traits of this crate are for its own types: a method may be added to them without a new major version.

use tenure_locks::{Guard, GuardSet, OwnedGuard};
use tenure_protocol::SessionId;

/// A type of this crate's own.
#[allow(unnameable_types)] // What is sealed cannot be named outside: that is its purpose.
pub trait Sealed {}

impl Sealed for Guard<'_> {}
impl Sealed for OwnedGuard {}
impl Sealed for GuardSet {}
impl Sealed for SessionId {}
