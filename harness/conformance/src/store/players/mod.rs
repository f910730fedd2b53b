//! Steps of scripted processes: those that all processes take, and those that the cases of single chapters need.

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
