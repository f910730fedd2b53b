//! The wire: what a store refuses as bytes, what it takes though a careful writer would not write it, and what it writes itself.
//!
//! Each refusal is played against a process that holds a session. It proves four things: the connection ends, what was refused
//! and what came behind it had no effect, the grant and the session are as they were, and others did not notice.

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
