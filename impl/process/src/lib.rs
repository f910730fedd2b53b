//! Tenure.
mod builder;
mod cache;
mod connection;
mod driver;
mod error;
mod line;
mod process;
mod shared;
#[cfg(feature = "testing")]
pub mod testing;

pub use builder::Builder;
pub use error::{ConnectError, ShutdownError};
pub use process::{Process, Session, Status};
pub use shared::Phase;
pub use tenure_locks::{
    Busy, Commit, Discard, Discarded, Error, First, Guard, GuardSet, Holder, Lock, LockSet,
    ShortId, Task, WAIT_MS, task,
};
pub use tenure_protocol::{Limits, ProcessSettings, SessionId, ThreadId, Token, Version};
