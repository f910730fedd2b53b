//! The two machines of two-level session locking: [`StoreMachine`] and [`ProcessMachine`].
//!
//! A store grants a whole process exclusive access to a session; the process keeps that grant after use until the store
//! recalls it for someone else; inside, it gives its threads locks on single attributes. Both machines are plain values
//! with one entry each: `step(now, input, out)`. They read no clock, do no I/O and have no thread: time is an argument, a
//! deadline is a question ([`StoreMachine::next_deadline`]), and whatever shall happen is an output that the driver carries out.
//!
//! The store, the library, the model checker, the simulator and the trace checker drive these same two types. There is no
//! second copy of a rule. Rule numbers in this crate are those of the book's chapter on the protocol.
//!
//! | module | what it holds |
//! |---|---|
//! | [`store`] | level one: who may access a session |
//! | [`process`] | level two: which of its threads, to which attribute |
//! | [`lock`] | the one queue discipline of both |
//! | [`message`] | what they say to each other |
//! | [`attributes`] | attributes, deltas, durable records |
//! | [`invariant`] | what is true after every step |
//! | [`mutant`] | seeded bugs, for the checkers |
//! | [`renumber`] | numbers whose only meaning is their order |
#![no_std]

extern crate alloc;

/// The major version of the protocol. Machines of different major versions do not understand each other.
pub const MAJOR: u8 = 1;

/// The highest minor version of the protocol that these machines speak. A peer says its own in `Hello` and in `Welcome`.
pub const MINOR: u8 = 1;

/// The minor version since which a request may ask for a session only if it exists.
pub const EXISTING_SINCE: u8 = 1;

pub mod attributes;
pub mod config;
pub mod id;
pub mod invariant;
pub mod lock;
pub mod message;
pub mod mutant;
pub mod process;
pub mod renumber;
pub mod store;

pub use attributes::{Delta, Record, Records, Update, Value};
pub use config::{Limits, ProcessSettings, Promised, Settings, StoreLimits, StoreSettings};
pub use id::{
    AttributeName, Incarnation, Link, ProcessId, Request, SessionId, Stamp, ThreadId, Ticket, Time,
    Token, Version,
};
pub use message::{ToProcess, ToStore};
pub use mutant::{Hook, ProtocolMutant, Seeded, Sound};
pub use process::ProcessMachine;
pub use store::StoreMachine;
