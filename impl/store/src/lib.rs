//! The reference store over TCP. It gives the machine of [`tenure_protocol::StoreMachine`] sockets, a clock and a disk, and adds no
//! rule to it.
//!
//! ```text
//!  processes ── TCP ── connection ──┐                    ┌── writer ── engine (its own thread)
//!                      connection ──┤── shard: machine ──┤
//!                      connection ──┘   timers, memory   └── ticker
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `connection` | frames to messages and back; hello first; back-pressure |
//! | `outbox` | what one connection is to be sent, bounded |
//! | `shard` | the machine behind its lock, and its outputs in order |
//! | `core` | what stands behind that lock |
//! | `writer` | updates to the engine in batches: one wait for the disk serves all |
//! | `memory` | which sessions are in memory, and what waits for one to be read |
//! | `timers` | what is due, by an index |
//! | `clock`, `mark` | the store's time, and what a start leaves of it to the next |
//! | `error` | why a store did not start, and whether that passes by itself |
//! | `stall` | when the log says that the disk does not answer |
//! | `size` | about how many bytes things take |
//! | `admin` | status, sessions, recall, metrics over HTTP |
//! | `server` | starting, running, stopping |
//!
//! Deliberately absent: rules (they are the machine's), threads within a process (the process's), who a peer is (an
//! authenticating proxy, or loopback).
pub use admin::{
    Drains, HolderStatus, ProcessStatus, SessionStatus, StoreStatus, WaiterStatus, parse, short,
    show,
};
pub use clock::{DOWNTIME_MAX_MS, SystemTimeSource, TimeSource};
pub use config::{ADMIN_PORT, Config, ConfigError, Durability, LimitsConfig, OnStop, PORT};
pub use error::{StoreError, is_passing};
pub use server::{DroppedLines, Recovered, Server, Stop, Stopper};

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
mod timers;
mod writer;
