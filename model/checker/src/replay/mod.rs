//! Counterexamples in files: writing, reading, and replaying through the machines.
//!
//! The file is JSON with `"format": "tenure-counterexample"` and `"version": 1`. It contains the universe, the mutant
//! if one was seeded, the property, and the actions, one on each line. Actions name places, such as a thread or the
//! first message in a channel, and never numbers that the machines drew. These members are therefore enough for a
//! replay. `fingerprint` is the fingerprint of the last state: if it differs, the machines have changed since. `chart`
//! is a picture for tools that cannot run the machines. The reader ignores `chart` and unknown members.
//!
//! A file is not trusted. Its size and its number of steps are limited, and an action is taken only if the model lists
//! it in the present state. A file that does not lead to the stated violation is an error, never a panic.
//!
//! `file` writes and reads the text, `run` takes the steps, and `error` holds the errors of both.

pub(crate) mod error;
mod file;
pub(crate) mod run;

pub use error::{BYTES_MAX, ReplayError, STEPS_MAX};
pub use file::{load, load_from, save};
pub use run::{Replayed, replay};
