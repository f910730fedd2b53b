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
use tenure_protocol::message::Refusal;

/// Returns the name of a refusal in the adapter protocol and in traces.
#[must_use]
pub fn refusal_kind(why: &Refusal) -> &'static str {
    match why {
        Refusal::WouldBlock => "would-block",
        Refusal::Cancelled => "cancelled",
        Refusal::Deadline => "deadline",
        Refusal::Deadlock { .. } => "deadlock",
        Refusal::Limit(_) => "limit",
        Refusal::Gone => "gone",
        Refusal::AlreadyLocked => "already-locked",
        Refusal::NotHeld => "not-held",
        Refusal::IdTaken => "id-taken",
        Refusal::ShuttingDown => "shutting-down",
        Refusal::Absent => "absent",
        Refusal::Unsupported => "older-store",
    }
}
