//! The reference store over TCP: connects [`tenure_protocol::StoreMachine`] to sockets, a clock and a disk. This crate
//! adds no protocol rule of its own.
//!
//! ```text
//!  processes ── TCP ── connection ──┐                    ┌── writer ── engine (its own thread)
//!                      connection ──┤── shard: machine ──┤
//!                      connection ──┘   timers, memory   └── ticker
//! ```
//!
//! | module | task |
//! |---|---|
//! | `connection` | decodes and encodes frames; expects a hello first; applies back-pressure |
//! | `outbox` | the bounded queue of messages to one connection |
//! | `shard` | the machine behind its mutex; carries out its outputs in order |
//! | `core` | the state behind that mutex |
//! | `writer` | group commit: writes updates to the engine in batches, with one disk sync per batch |
//! | `memory` | the sessions in memory, and the inputs that wait for a session to be loaded |
//! | `timers` | an index of the next deadline of each session and process |
//! | `clock`, `mark` | the store's time, and the durable clock mark from which the next start continues it |
//! | `error` | start and run errors, and whether a retry may succeed |
//! | `stall` | decides when the log reports a stalled disk |
//! | `size` | estimated sizes of messages and updates in bytes |
//! | `admin` | status, sessions, recall and metrics over HTTP |
//! | `server` | starts, runs and stops a store |
//!
//! Deliberately absent are protocol rules (the machine has them) and threads of a process (the process has them). Peers
//! are not authenticated here: use loopback or an authenticating proxy.
pub use admin::{
    Drains, HolderStatus, ProcessStatus, SessionStatus, StoreStatus, WaiterStatus, parse, short,
    show,
};
pub use clock::{DOWNTIME_MAX_MS, SystemTimeSource, TimeSource};
pub use config::{ADMIN_PORT, Config, ConfigError, Durability, LimitsConfig, OnStop, PORT};
pub use error::{StoreError, is_passing};
pub use server::{DroppedLines, Recovered, Server};
pub use stop::{Stop, Stopper};

mod admin;
mod clock;
mod config;
mod connection;
mod core;
mod error;
mod mark;
mod memory;
mod metrics;
mod outbox;
mod server;
mod shard;
mod size;
mod stall;
mod stop;
mod timers;
mod writer;
