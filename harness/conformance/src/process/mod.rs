//! The suite for processes: plays correct and incorrect stores against a client library that an adapter drives.

mod adapter;
mod behaved;
mod cases;
mod context;
mod grant;
mod raw;
mod scene;
mod scripted_store;
mod target;
mod threads;

pub use cases::all;
pub use context::CaseContext;
pub use target::Target;
