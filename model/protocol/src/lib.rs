//! The two machines of two-level session locking: [`StoreMachine`] and [`ProcessMachine`].
//!
//! A store grants one process exclusive access to a session. The process caches that grant after use, until the store
//! recalls it for another process. Inside the process, threads lock single attributes of the session.
//!
//! Both machines are plain values with one entry each: `step(now, input, out)`. They read no clock, do no I/O and start
//! no thread. Time is an argument, [`StoreMachine::next_deadline`] returns the next deadline, and the driver carries
//! out the outputs.
//!
//! The store, the library, the model checker, the simulator and the trace checker drive these same two types, so each
//! rule is implemented once. Rule numbers in this crate are those of the book's chapter on the protocol.
//!
//! | module | contents |
//! |---|---|
//! | [`store`] | level one: which process may access a session |
//! | [`process`] | level two: which thread of the process may access which attribute |
//! | [`lock`] | the queue discipline of both levels |
//! | [`message`] | the messages between a process and the store |
//! | [`attributes`] | attributes, deltas, durable records |
//! | [`invariant`] | the properties that hold after every step |
//! | [`rules`] | the decisions of the rules, as methods that a mutant overrides |
//! | [`mutant`] | seeded bugs, for the checkers |
//! | [`renumber`] | numbers of which only the order matters |
#![no_std]

extern crate alloc;

/// The major version of the protocol. Machines of different major versions do not understand each other.
pub const MAJOR: u8 = 1;

/// The highest minor version of the protocol that these machines speak. A peer states its own minor version in `Hello`
/// or `Welcome`.
pub const MINOR: u8 = 1;

/// The first minor version in which a request may ask for a session only if the session exists.
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
pub mod rules;
pub mod store;

pub use attributes::{Delta, Record, Records, Update, Value};
pub use config::{Limits, ProcessSettings, Promised, Settings, StoreLimits, StoreSettings};
pub use id::{
    AttributeName, Incarnation, Link, ProcessId, Request, SessionId, Stamp, ThreadId, Ticket, Time,
    Token, Version,
};
pub use message::{ToProcess, ToStore};
pub use mutant::{Hook, ProtocolMutant, Seeded, SeededHook, Sound};
pub use process::ProcessMachine;
pub use rules::{ProcessRules, StoreRules};
pub use store::StoreMachine;
