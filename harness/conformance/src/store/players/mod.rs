//! What players can do: what all processes do, and beside that what the cases of one chapter or a few need.

mod lease;
mod order;
mod recall;
mod reconnect;
mod requests;
mod write;

pub(crate) use order::alive;
pub(crate) use recall::Due;
pub(crate) use reconnect::acquire_request;
pub(crate) use write::{grant_of, is_state, later};
