//! What players can do beside, for the cases of one chapter or a few.

mod lease;
mod order;
mod recall;
mod reconnect;
mod write;

pub(crate) use order::alive;
pub(crate) use recall::Due;
pub(crate) use reconnect::wish;
pub(crate) use write::{grant_of, is_state, later};
