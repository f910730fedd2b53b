//! A crash test: many processes count in shared sessions and are killed at random, and so is their store. At the end,
//! every acknowledged increment must be there, and none twice.
//!
//! | module | task |
//! |---|---|
//! | [`worker`] | one application process: its threads and tasks count, and record their observations and actions |
//! | [`journal`] | these records, in a file that survives the death of the process |
//! | [`judge`] | compares the store with the journals |
//! | [`director`] | starts the store and the workers as OS processes, kills them, and judges the result |
//! | [`stopped`] | a holder that is paused past its lease, and resumed |
//! | [`program`] | programs as OS processes |
//!
//! # The count
//! Each counter belongs to one thread of one process: an attribute `n:THREAD`, which only that thread increments. Under
//! the same lock, and in the same write set, the thread increments the session's `count`. Hence `count` always equals
//! the sum of all `n:` attributes, unless an update was lost, invented or split. Each thread also knows the bounds of
//! its own counter at its next look.
pub mod director;
pub mod journal;
pub mod judge;
pub mod program;
pub mod stopped;
pub mod worker;

mod random;
