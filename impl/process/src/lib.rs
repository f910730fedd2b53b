//! Locks on the attributes of sessions, for the threads and tasks of many processes.
//!
//! Several processes of an application serve the same client sessions. Each session has attributes: a cart, a basket of
//! rights, a counter. Tenure lets one thread or task at a time use an attribute, wherever it runs. A store grants a whole session to a
//! process; the process keeps it after use, so that the next lock on it sends nothing and costs about what a mutex costs, and
//! gives it back when the store asks for another process.
//!
//! ```
//! use tenure::{Process, Typed};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = tenure::testing::Store::start()?; // In earnest: `tenure serve`, and its address below.
//!     let process = Process::connect(store.address()).await?;
//!     let session = process.session("b5c7-0d1e")?; // As in the client's cookie.
//!
//!     let mut cart = session.lock("cart").await?; // Nobody else has it now, in no process.
//!     let mut items: Vec<String> = cart.get()?.unwrap_or_default();
//!     items.push("apple".to_owned());
//!     cart.put(&items)?; // The next one sees it when the guard is dropped.
//!     cart.commit().await?; // And from here on it survives this process.
//!     drop(cart);
//!
//!     let again = session.lock("cart").wait()?; // From threads without a runtime. Sends nothing: the session is cached.
//!     assert_eq!(again.get::<Vec<String>>()?, Some(items));
//!     drop(again);
//!     process.shutdown().await?; // Gives everything back, so that others need not wait for the lease.
//!     Ok(())
//! }
//! ```
//!
//! The program wants this in its `Cargo.toml`; the feature `testing`, which brings `tenure::testing`, is otherwise for
//! `[dev-dependencies]`:
//!
//! ```toml
//! [dependencies]
//! tenure = { git = "https://github.com/tenure-rs/tenure", features = ["testing"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! No runtime of a certain kind is needed: `await` under any, or use the blocking twins ([`Process::connect_blocking`],
//! [`LockRequest::blocking`], [`Commit::blocking`], [`Process::shutdown_blocking`]) under none. The connection has an OS thread of its own, so
//! whatever the application does with its threads, the lease is kept alive.
//!
//! # When a lock waits, when it fails
//!
//! It waits while another thread has the attribute, here or elsewhere, first come, first served; for a minute, or as
//! [`LockRequest::timeout`] says. [`LockRequest::try_lock`] does not wait for threads. Dropping the request leaves no trace.
//!
//! Use [`LockRequest::existing`] for an id that comes from outside, such as a cookie. If there is no such session, the lock fails with
//! [`Absent`](Error::Absent), and neither the store nor this process keeps anything of that id. A plain lock creates a session of any id.
//! [`LockRequest::existing`] needs a store of version 1.1. With an older store that lock fails with [`Unsupported`](Error::Unsupported), and all
//! other locks go on.
//!
//! A lock that was granted to a task goes back at the deadline of its request if the task has not come for it: it is not polled any
//! more, perhaps. If the task comes later it gets [`Deadline`](Error::Deadline). A grant of a session that no thread fetched is kept as after
//! use: it is given back when the store asks, or when it was idle for long.
//!
//! The blocking twins are for threads without a runtime. Inside a task, `wait()` stops the runtime's thread while it waits. In a
//! runtime of one thread, where another task or thread of this process has the lock, it fails with [`Error::BlocksRuntime`]; elsewhere
//! it is logged as a warning, once for each line of the program. Await the lock, or wait in `spawn_blocking` or `block_in_place`.
//!
//! It fails with an [`Error`]: [`Deadline`](Error::Deadline), [`WouldBlock`](Error::WouldBlock),
//! [`Deadlock`](Error::Deadlock) with the cycle, [`AlreadyLocked`](Error::AlreadyLocked) with the line,
//! [`Gone`](Error::Gone) after a logout, [`Limit`](Error::Limit), [`ShuttingDown`](Error::ShuttingDown). Run each request as a
//! [`task`], so that a cycle through it is found at once and not by its deadline. [`tenure_locks`] says more.
//!
//! # What a guard guarantees
//!
//! As long as its grant stands, nobody else reads or writes the attribute. What it writes is discarded when the thread panics,
//! visible when it is dropped, and durable when [`Guard::commit`] returns or the session is given back. Write what must
//! not be lost with a commit: a process that is killed takes the rest along.
//!
//! The grant does not stand when the lease has ended, when the store took it, when the thread was too late after a recall
//! ([`Guard::recalled`] says that there is one), or when a newer start of the process took over. Then the write set is discarded, and
//! [`Guard::check`], [`Guard::commit`] and [`Guard::unlock`] say [`LeaseLost`](Error::LeaseLost), [`Revoked`](Error::Revoked),
//! [`Late`](Error::Late) or [`Superseded`](Error::Superseded). What was committed stays. Show [`Guard::token`] to other resources,
//! which refuse a lower one than they have seen, and a thread that has not noticed does no harm there either.
//!
//! # What happens when
//!
//! - **The connection is lost.** Nothing, until the lease ends: what the process holds it goes on using. It connects again, for ever, with
//!   pauses that grow; then both sides settle what each missed. Who waits keeps the place in the queue, also when the store was
//!   restarted. A commit waits until it is answered.
//! - **The lease ends**, since nothing was heard of the store for too long, or the process was stopped. Every guard is
//!   lost, what was not committed is discarded, and what is kept is forgotten. As soon as there is a store again, locks work again.
//! - **The process is stopped past its lease, and goes on.** Locks look at a clock, so none is given out from the cache, within the 1 to 10 ms
//!   of the kernel's coarse clock. A guard from before says that it is lost when it is asked ([`Guard::check`], [`Guard::recalled`],
//!   [`Guard::commit`], [`Guard::unlock`]). After a sleep of the whole machine this holds from the driver's first tick on.
//! - **The process forks.** The parent goes on undisturbed. In the child every call fails with [`Error::Forked`], and dropping what it
//!   inherited does nothing, so a guard that was held at the fork is still the parent's alone. Fork before you connect, or connect in the child, or
//!   execute another program there: that closes the connection's descriptors. Until then the child keeps copies of these, which does no harm. A `fork`
//!   that passes by the C library (a bare `clone`) is not noticed.
//! - **A newer start of the same name connects.** This one stops for ever: [`Phase::Superseded`].
//! - **[`Process::shutdown`], or the last handle is dropped.** Nobody is let in any more, each session is given back with what
//!   was written to it, the store hears a goodbye. That waits at most as long as [`Builder::shutdown_timeout`] says.
//!
//! [`Process::status`] says how it is. Logs go through `tracing`; a session appears there, and in the words of errors, as its
//! [`ShortId`] alone. A thread `tenure-log` calls the subscriber, so a subscriber that blocks costs no lease: past 1,024 waiting
//! events, further ones are dropped, counted in [`Status::events_dropped`], and named in the log. The connection's thread does
//! call the wakers of waiting tasks, so a waker must not block.
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
