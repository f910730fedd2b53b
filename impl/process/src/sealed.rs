//! The trait that seals this crate's public traits: methods can be added to them without a new major version.

use tenure_locks::{Guard, GuardSet, OwnedGuard};
use tenure_protocol::SessionId;

/// A type of this crate, for which the public traits may be implemented.
#[allow(unnameable_types)] // Other crates cannot name a sealed trait: that is its purpose.
pub trait Sealed {}

impl Sealed for Guard<'_> {}
impl Sealed for OwnedGuard {}
impl Sealed for GuardSet {}
impl Sealed for SessionId {}
