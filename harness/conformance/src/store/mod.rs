//! The suite for stores: it plays processes that behave, and some that do not, against any store that listens.

mod cases;
mod derived;
mod grant;
mod heartbeat;
mod limits;
pub(crate) mod oracle;
mod player;
mod players;
mod stage;
mod target;
mod workload;

pub use cases::all;
pub(crate) use derived::{DerivedScript, play as play_script};
pub(crate) use grant::{Grant, set};
pub use limits::Limits;
pub(crate) use player::{Heard, Player};
pub(crate) use players::{Due, acquire_request, alive, is_state, later};
pub use stage::Stage;
pub use target::{Hook, Hooks, Target};
