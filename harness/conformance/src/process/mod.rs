//! The suite for processes: it plays a store, one that behaves and some that do not, to a client library that an adapter drives.

mod adapter;
mod behaved;
mod cases;
mod grant;
mod peer;
mod raw;
mod scene;
mod stage;
mod target;
mod threads;

pub use cases::all;
pub use stage::Stage;
pub use target::Target;
