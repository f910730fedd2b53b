//! The suite for stores: plays correct and incorrect processes against any store that listens.

mod cases;
mod context;
mod derived;
mod grant;
mod heartbeat;
mod limits;
pub(crate) mod oracle;
mod players;
mod scripted_process;
mod target;
mod workload;

pub use cases::all;
pub use context::CaseContext;
pub(crate) use derived::{DerivedScript, play as play_script};
pub(crate) use grant::{Grant, set};
pub use limits::Limits;
pub(crate) use players::{Due, acquire_request, alive, is_state, later};
pub(crate) use scripted_process::{Heard, ScriptedProcess};
pub use target::{Hook, Hooks, Target};
