//! Cases about the wire format: the bytes that a store refuses, those that it accepts although a careful writer would
//! not write them, and those that it writes.
//!
//! Each refusal is played with a process that holds a session. It checks four things. The connection ends. Neither the
//! refused frame nor a later one has an effect. The grant and the session are unchanged. Other processes notice
//! nothing.

mod bodies;
mod bytes;
mod frames;
mod lenient;
mod scene;
mod speech;
mod tour;

pub(super) use scene::ends;

use crate::Case;

pub(super) const FRAMES: &[Case] = frames::CASES;
pub(super) const BODIES: &[Case] = bodies::CASES;
pub(super) const LENIENT: &[Case] = lenient::CASES;
pub(super) const SPEECH: &[Case] = speech::CASES;
