//! A waiting lock request, and its answer.

use crate::cell::{Entrance, HandedOver};
use crate::granted::Granted;
use crate::wait::{Outcome, Wait};
use tenure_protocol::process::Names;

/// The lock of a waiting request. Small, since it passes through the memory of both threads.
#[derive(Debug)]
pub(crate) enum LockAnswer {
    Granted(Box<Granted>),
    /// The lock was handed off in its cell.
    HandedOff(HandedOver),
}

const _: () = assert!(size_of::<Outcome<LockAnswer>>() <= 24);

/// A waiting lock request, shared by the session and the request. The last of the two owners frees the names. After a
/// handoff in a cell, that is the session, which is not in a hurry.
#[derive(Debug)]
#[repr(C)] // The fields that both threads of a handoff read come first, together.
pub(crate) struct Waiter {
    pub(crate) wait: Wait<LockAnswer>,
    pub(crate) entrance: Entrance,
    pub(crate) names: Names,
    /// The value of [`Hub::losses`](crate::hub::Hub::losses) when the wait began.
    pub(crate) losses: u64,
}

impl Waiter {
    pub(crate) fn new(entrance: Entrance, names: Names, losses: u64) -> Self {
        Self {
            wait: Wait::default(),
            entrance,
            names,
            losses,
        }
    }
}
