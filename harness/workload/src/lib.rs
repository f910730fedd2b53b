//! Many processes count in common sessions, and are killed, and so is their store: what was acknowledged must be there in the
//! end, and nothing twice.
//!
//! | module | what it does |
//! |---|---|
//! | [`worker`] | one application process: threads and tasks that count, and write down what they saw and did |
//! | [`journal`] | what they write down, in a file that survives their death |
//! | [`judge`] | what the journals say must be in the store |
//! | [`director`] | starts the store and the processes as OS processes, kills them, and has the end judged |
//! | [`stopped`] | a holder that is stopped past its lease, and goes on |
//! | [`program`] | programs as OS processes |
//!
//! # The count
//! Each counter belongs to one thread of one process: an attribute `n:THREAD` whose value only that thread raises, by one. In the
//! same lock, and so in the same write set, it raises the session's `count`. So at any time `count` is the sum of all `n:`, or an
//! update was lost, invented or split; and each thread knows between which bounds its own counter must be when it looks again.
pub mod director;
pub mod journal;
pub mod judge;
pub mod program;
pub mod stopped;
pub mod worker;

mod random;
