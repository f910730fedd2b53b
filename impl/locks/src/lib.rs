//! The thread-level lock manager of Tenure: locks on the attributes of sessions, for the OS threads and tasks of one
//! process.
//!
//! A store grants a whole session to one process, and the process caches that grant after use. While the grant is
//! cached, locking an attribute sends no message and costs about as much as a mutex. When the store recalls the
//! session, the threads that hold its locks finish, and new threads queue behind the other process. The writes go back
//! with the grant.
//!
//! All rules are implemented by [`tenure_protocol::ProcessMachine`], the machine that the model checker explores. This
//! crate adds threads and memory to the machine, and no rule. The crate needs no runtime: any driver can carry its
//! messages.
//!
//! # When a lock waits
//!
//! - Another thread holds the attribute, or waits for it and came first. Blocking threads and tasks share one queue, in
//!   order of arrival.
//! - The process does not hold the session. The process then requests the grant from the store, and the store recalls
//!   it from its holder.
//! - The session is recalled, and the thread holds no lock in it. The thread then queues behind the other process. A
//!   thread that holds a lock in the session may take more locks, because otherwise no thread could finish.
//!
//! Every wait has a deadline: [`WAIT_MS`], or the limit set by [`LockRequest::timeout`]. Dropping a request withdraws
//! it completely.
//!
//! A task that is no longer polled may never take a lock that was granted to it. If the lock is not taken by the
//! deadline, it goes back with the driver's next tick: to the next thread, or to the store if the session is recalled.
//! If the task is polled later, it gets [`Error::Deadline`].
//!
//! [`LockRequest::blocking`] puts the OS thread to sleep. Inside a task, this keeps other tasks from running, perhaps
//! the holder of the lock. The driver's [`Host`] can refuse the sleep there ([`Error::BlocksRuntime`]).
//!
//! A lock is requested through a handle with [`Session::lock`], or by session id with [`Locks::lock`]. For a single
//! lock, the latter is cheaper than opening and dropping a handle.
//!
//! # When a lock fails
//!
//! A lock fails with an [`Error`] that names the session, for one of these reasons:
//!
//! - the deadline has passed;
//! - the wait would be a deadlock, through any number of threads and sessions;
//! - the thread already holds the attribute, and the error names the source line;
//! - the request was a try, and another thread holds the attribute;
//! - the session was destroyed;
//! - a limit was reached;
//! - the process is shutting down;
//! - the grant was lost.
//!
//! A blocking thread is identified by its OS thread. A task is identified inside of [`task`] or by
//! [`LockRequest::beside`]. Outside of these, each lock counts as a thread of its own.
//!
//! # What a guard guarantees
//!
//! - While the grant is valid, no other thread of this process or of another one reads or writes the attribute.
//! - When the guard is dropped, its writes become visible to the next thread. The writes become durable with
//!   [`Guard::commit`], or when the session is given back.
//! - A panic discards the writes. A loss of the grant discards them too: the lease ends, the store revokes the grant,
//!   or the thread misses the deadline of a recall. [`Guard::unlock`] and [`Guard::check`] report the loss to the
//!   thread. [`Event::Discarded`] and [`Session::last_discard`] report it to others.
//! - A thread may continue past its lease, for example after a stop in a debugger. Such a thread cannot do harm: the
//!   store refuses its writes by their [token](Guard::token). Any other resource that receives the token can do the
//!   same.
//! - After the end of the lease, no lock is granted from the cache, within the resolution of the clock passed to
//!   [`Locks::with_host`]. Reads and writes through an older guard check no clock. [`Guard::recalled`],
//!   [`Guard::check`], [`Guard::commit`] and [`Guard::unlock`] do check it.
//! - In a child of a `fork`, every call fails with [`Error::Forked`], and dropping inherited values has no effect.
//!
//! # For drivers
//!
//! [`Locks::event`] returns what the driver must send. [`Locks::connected`], [`Locks::message`] and
//! [`Locks::disconnected`] accept what the driver receives. The driver must call [`Locks::tick`] no later than
//! [`Locks::next_deadline`]. [`Locks::trim`] releases idle sessions after a [`Locks::sweep`]. `examples/shared.rs` is a
//! complete program.
pub use asking::WAIT_MS;
pub use error::{Error, Exceeded, First, Unsupported, Whose};
pub use event::Event;
pub use guard::{Commit, Guard};
pub use host::Host;
pub use locks::Locks;
#[cfg(feature = "mutants")]
pub use mutant::{LockMutant, plant, plant_in_machine};
pub use owned::{OwnedGuard, OwnedLockRequest};
pub use request::{LockRequest, LockSetRequest};
pub use session::Session;
pub use set::GuardSet;
pub use snapshot::{Busy, Discard, Discarded, Holder};
pub use tenure_protocol::id::ShortId;
pub use thread::{Task, task};
pub use uses::Cached;

#[cfg(any(feature = "loom", feature = "shuttle"))]
pub use sync::pretend_to_unwind;

mod answers;
mod asking;
mod by_id;
mod calls;
mod cell;
mod cells;
mod clock;
mod content;
mod entry;
mod error;
mod event;
mod granted;
mod guard;
mod hint;
mod host;
mod hub;
mod key;
mod limits;
mod link;
mod locks;
mod machine;
mod map;
mod mutant;
mod owned;
mod request;
mod session;
mod session_ref;
mod set;
mod snapshot;
mod state;
mod step;
mod survey;
mod sync;
mod table;
mod thread;
mod unfetched;
mod uses;
mod wait;
mod waiter;
