//! The thread-level lock manager of Tenure: locks on the attributes of sessions, for the OS threads and tasks of one process.
//!
//! A process holds the grant of a session and keeps it after use. While it does, a thread that takes an attribute sends
//! nothing, and pays about what a mutex costs. When the store wants the session back, threads inside finish, new ones queue
//! behind the other process, and what was written goes along. The rules of all that are those of
//! [`tenure_protocol::ProcessMachine`], the machine that the model checker explores; this crate adds threads and memory to it, and no
//! rule. It needs no runtime: a driver of any kind carries its messages.
//!
//! # When a lock waits
//!
//! - Another thread has the attribute, or waits for it and came first. First come, first served, whether it blocks or awaits.
//! - The process does not have the session: then it asks the store, which asks whoever has it.
//! - The session is recalled and the thread is not inside it: it goes behind the other process. A thread that is inside may
//!   take more, or nobody could finish.
//!
//! Every wait has a deadline: [`WAIT_MS`], or [`LockRequest::timeout`]. Dropping a request leaves no trace. A lock that was granted and is not
//! fetched by the deadline, since its task is not polled any more, goes back with the driver's next tick: to the next thread, or to the
//! store if the session is recalled. A task that comes later gets [`Error::Deadline`].
//!
//! [`LockRequest::blocking`] puts the OS thread to sleep. Inside a task that stops other tasks, perhaps the holder. The driver's [`Host`]
//! may refuse it there ([`Error::BlocksRuntime`]).
//!
//! Locks are taken by a handle, [`Session::lock`], or by the session's id, [`Locks::lock`]: for a single lock that takes less time
//! than to open a handle and to drop it.
//!
//! # When it fails
//!
//! With an [`Error`] that names the session: the deadline has passed; the wait would be for itself, through any number of
//! threads and sessions; the thread has locked the attribute already, and where; it was only a try; the session was destroyed;
//! a limit; the process shuts down; the grant was lost.
//!
//! A thread that blocks is known by its OS thread. A task is known inside [`task`] or by [`LockRequest::beside`]; outside of these
//! each lock counts as a thread of its own.
//!
//! # What a guard guarantees
//!
//! - Nobody else, in this process or another, reads or writes the attribute, as long as the grant stands.
//! - Dropping it makes what was written what the next thread sees. It becomes durable with [`Guard::commit`], or when the
//!   session is given back.
//! - A panic discards what was written, and so does the loss of the grant (the lease's end, a revocation, a recall that this
//!   thread was too late for). [`Guard::unlock`] and [`Guard::check`] tell the thread, [`Event::Discarded`] and
//!   [`Session::last_discard`] the others.
//! - A thread that went on for longer than its lease, stopped by a debugger perhaps, cannot do harm: the store refuses its writes
//!   by their [token](Guard::token), and so can any other resource that it is shown to.
//! - No lock is given out from the cache after the end of the lease, within the resolution of the clock that
//!   [`Locks::with_host`] is given. Reads and writes through a guard from before look at no clock; [`Guard::recalled`],
//!   [`Guard::check`], [`Guard::commit`] and [`Guard::unlock`] do.
//! - A child of a `fork` has no part in any of it: every call there fails with [`Error::Forked`], and dropping what it inherited does
//!   nothing.
//!
//! # For drivers
//!
//! [`Locks::event`] says what is to be sent; [`Locks::connected`], [`Locks::message`] and [`Locks::disconnected`] take what
//! comes; [`Locks::tick`] is to be called by [`Locks::next_deadline`]; [`Locks::sweep`] tells of idle sessions.
//! `examples/shared.rs` is a whole program.
pub use error::{Error, Exceeded, First, Unsupported, Whose};
pub use event::Event;
pub use guard::{Commit, Guard};
pub use host::Host;
pub use locks::Locks;
#[cfg(feature = "mutants")]
pub use mutant::{LockMutant, plant, plant_in_machine};
pub use owned::{OwnedGuard, OwnedLockRequest};
pub use request::{LockRequest, LockSetRequest, WAIT_MS};
pub use session::Session;
pub use set::GuardSet;
pub use snapshot::{Busy, Discard, Discarded, Holder};
pub use tenure_protocol::id::ShortId;
pub use thread::{Task, task};
pub use uses::Cached;

#[cfg(any(feature = "loom", feature = "shuttle"))]
pub use sync::pretend_to_unwind;

mod cell;
mod cells;
mod clock;
mod content;
mod entry;
mod error;
mod event;
mod guard;
mod hint;
mod host;
mod hub;
mod limits;
mod locks;
mod map;
mod mutant;
mod owned;
mod request;
mod session;
mod session_ref;
mod set;
mod snapshot;
mod spare;
mod step;
mod sync;
mod table;
mod thread;
mod unfetched;
mod uses;
mod wait;
