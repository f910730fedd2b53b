//! Exclusive locks on the attributes of sessions, shared by the threads and tasks of many processes.
//!
//! Several processes of an application serve the same client sessions. Each session has attributes: a cart, a set of
//! permissions, a counter. Tenure lets one thread or task at a time use an attribute, in whichever process that thread
//! or task runs.
//!
//! A store grants a whole session to one process. The process caches the grant after use, so the next lock on that
//! session sends no message and costs about as much as a mutex. When the store recalls the grant for another process,
//! the caching process gives the session back.
//!
//! ```
//! use tenure::{Process, Typed};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = tenure::testing::Store::start()?; // In production: the address of a running `tenure serve`.
//!     let process = Process::connect(store.address()).await?;
//!     let session = process.session("b5c7-0d1e")?; // The id from the client's cookie.
//!
//!     let mut cart = session.lock("cart").await?; // No other thread holds this lock now, in any process.
//!     let mut items: Vec<String> = cart.get()?.unwrap_or_default();
//!     items.push("apple".to_owned());
//!     cart.put(&items)?; // The next holder of the lock sees this value after the guard is dropped.
//!     cart.commit().await?; // From here on, the value survives a crash of this process.
//!     drop(cart);
//!
//!     let again = session.lock("cart").blocking()?; // For threads without a runtime. The grant is cached: no message.
//!     assert_eq!(again.get::<Vec<String>>()?, Some(items));
//!     drop(again);
//!     process.shutdown().await?; // Gives all grants back, so that no other process waits for the lease to end.
//!     Ok(())
//! }
//! ```
//!
//! The program needs these lines in its `Cargo.toml`. The feature `testing` provides `tenure::testing`. Outside of
//! examples, enable that feature only under `[dev-dependencies]`:
//!
//! ```toml
//! [dependencies]
//! tenure = { git = "https://github.com/tenure-rs/tenure", features = ["testing"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! Tenure works under any async runtime with `await`. Threads without a runtime use the blocking twins:
//! [`Process::connect_blocking`], [`LockRequest::blocking`], [`Commit::blocking`] and [`Process::shutdown_blocking`].
//! The connection runs on an OS thread of its own, so a blocked application thread cannot cost the process its lease.
//!
//! # When a lock waits and when it fails
//!
//! A lock request waits while another thread holds the attribute, in this process or in another. Waiting threads are
//! served in order of arrival. A request waits one minute by default; [`LockRequest::timeout`] sets another limit.
//! [`LockRequest::try_lock`] does not wait for other threads. Dropping a request withdraws it completely.
//!
//! If an id comes from outside, such as from a cookie, use [`LockRequest::existing`]. If there is no such session, the
//! lock fails with [`Absent`](Error::Absent), and neither the store nor this process keeps any data about the id. A
//! plain lock creates a session of any id. [`LockRequest::existing`] needs a store of version 1.1 or later. With an
//! older store the lock fails with [`Unsupported`](Error::Unsupported), and other kinds of locks still work.
//!
//! A task that was granted a lock may never be polled again. If the task has not taken the lock by the deadline of its
//! request, the lock goes back. If the task is polled later, the request fails with [`Deadline`](Error::Deadline). If
//! the store grants a session that no thread takes, the grant is cached as after use. The process gives that grant back
//! when the store recalls the session, or when the session was idle for [`Builder::idle`].
//!
//! The blocking twins are for threads without a runtime. Inside a task, `blocking()` blocks the runtime's thread. On a
//! single-threaded runtime, if another task or thread of this process holds the lock, `blocking()` fails with
//! [`Error::BlocksRuntime`]. In every other case, the wait is logged as a warning, once for each call site. Await the
//! lock instead, or wait in `spawn_blocking` or `block_in_place`.
//!
//! A lock fails with an [`Error`]: [`Deadline`](Error::Deadline), [`WouldBlock`](Error::WouldBlock),
//! [`Deadlock`](Error::Deadlock) with the cycle, [`AlreadyLocked`](Error::AlreadyLocked) with the source line,
//! [`Gone`](Error::Gone) after a logout, [`Limit`](Error::Limit), or [`ShuttingDown`](Error::ShuttingDown). Run each
//! request as a [`task`], so that a deadlock through that request is detected at once and not by its deadline.
//! [`tenure_locks`] describes all of this in detail.
//!
//! # What a guard guarantees
//!
//! While the grant is valid, no other thread reads or writes the attribute. If the thread panics, the writes of the
//! guard are discarded. When the guard is dropped, its writes become visible to the next holder. The writes are durable
//! when [`Guard::commit`] returns, or when the session has been given back. If a write must not be lost, commit it:
//! when a process is killed, its uncommitted writes are lost.
//!
//! A grant becomes invalid when the lease ends, or when the store revokes the grant. A grant also becomes invalid when
//! the thread holds its lock past the deadline of a recall, or when a newer start of the process takes over.
//! [`Guard::recalled`] reports a recall. When the grant is lost, the write set is discarded. [`Guard::check`],
//! [`Guard::commit`] and [`Guard::unlock`] return [`LeaseLost`](Error::LeaseLost), [`Revoked`](Error::Revoked),
//! [`Late`](Error::Late) or [`Superseded`](Error::Superseded). Committed writes stay.
//!
//! Pass [`Guard::token`], a fencing token, to other resources. A resource that refuses a lower token than it has seen
//! is safe from a thread that has not noticed the loss.
//!
//! # What happens in a failure
//!
//! - **The connection is lost.** The process goes on using its grants until the lease ends. The process reconnects for
//!   ever, with growing pauses. After a reconnect, both sides exchange the messages that each has missed. Waiting
//!   threads keep their place in the queue, even if the store was restarted. A commit waits until the store has
//!   answered it.
//! - **The lease ends,** because no message from the store arrived in time, or because the process was stopped. Every
//!   guard is lost, uncommitted writes are discarded, and cached grants are forgotten. When a store is reachable again,
//!   locks work again.
//! - **The process is stopped past its lease and then continues.** Each lock reads a clock, so no lock is granted from
//!   the cache. The precision of this check is that of the kernel's coarse clock, 1 to 10 ms. A guard from before the
//!   stop reports the loss in its next [`Guard::check`], [`Guard::recalled`], [`Guard::commit`] or [`Guard::unlock`].
//!   After a suspend of the whole machine, these guarantees hold from the driver's first tick on.
//! - **The process forks.** The parent goes on undisturbed. In the child, every call fails with [`Error::Forked`], and
//!   dropping an inherited handle or guard has no effect. A guard that was held at the fork still belongs to the parent
//!   alone. Fork before you connect, connect in the child, or execute another program in the child. The last of these
//!   closes the connection's descriptors; until then the child keeps harmless copies of them. A `fork` that bypasses
//!   the C library (a bare `clone`) is not detected.
//! - **A newer start of the same name connects.** This process stops permanently: [`Phase::Superseded`].
//! - **[`Process::shutdown`] is called, or the last handle is dropped.** The process grants no more locks, gives each
//!   session back with its writes, and sends a goodbye. The wait for this is limited by [`Builder::shutdown_timeout`].
//!
//! [`Process::status`] returns the current state. Log events go through `tracing`. In events and in the texts of
//! errors, a session appears only as its [`ShortId`]. A thread `tenure-log` calls the subscriber, so a blocking
//! subscriber cannot cost the lease. If more than 1,024 events wait, further events are dropped, counted in
//! [`Status::events_dropped`], and reported in the log. In contrast, the thread that receives a grant calls
//! the wakers of waiting tasks, so a waker must not block.
//!
//! # Threads and runtimes
//!
//! The library works under any runtime and under none. Each process has a thread `tenure-driver`, which keeps the lease
//! alive whatever the application does, and by default serves the connection to the store. With [`Builder::runtime`], a
//! tokio runtime serves the connection while its tasks request sessions, so that a grant needs no switch between
//! threads. If that runtime is blocked or ends, the thread takes the connection back within 50 ms.
mod blocking;
mod builder;
mod cache;
mod connection;
mod connection_state;
mod driver;
mod error;
mod host;
mod log;
mod os;
mod place;
mod process;
mod random;
mod sealed;
mod shared;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "json")]
mod typed;

pub use builder::Builder;
pub use error::{ConnectError, ShutdownError};
pub use process::{Process, Session, Status};
pub use random::RandomSessionId;
pub use shared::Phase;
pub use tenure_locks::{
    Busy, Commit, Discard, Discarded, Error, Exceeded, First, Guard, GuardSet, Holder, LockRequest,
    LockSetRequest, OwnedGuard, OwnedLockRequest, ShortId, Task, Unsupported, WAIT_MS, Whose, task,
};
#[doc(hidden)]
pub use tenure_protocol::ProcessSettings;
pub use tenure_protocol::attributes::Value;
pub use tenure_protocol::id::NameLength;
pub use tenure_protocol::message::Limited;
pub use tenure_protocol::process::{Names, Poison};
pub use tenure_protocol::{AttributeName, Limits, SessionId, Stamp, ThreadId, Token, Version};
#[cfg(feature = "json")]
pub use typed::{Typed, TypedSet, ValueError};
