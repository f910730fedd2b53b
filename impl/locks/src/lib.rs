//! The thread-level lock manager of Tenure.
pub use error::{Error, First};
pub use event::Event;
#[cfg(feature = "faults")]
pub use fault::{Fault, make};
pub use guard::{Commit, Guard};
pub use locks::Locks;
pub use request::{Lock, LockSet, WAIT_MS};
pub use session::Session;
pub use set::GuardSet;
pub use snapshot::{Busy, Discard, Discarded, Holder};
pub use thread::{Task, task};

#[cfg(any(feature = "loom", feature = "shuttle"))]
pub use sync::pretend_to_unwind;

mod cell;
mod clock;
mod entry;
mod error;
mod event;
mod fault;
mod guard;
mod hub;
mod locks;
mod map;
mod request;
mod session;
mod set;
mod snapshot;
mod sync;
mod thread;
mod wait;
