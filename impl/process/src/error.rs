//! Why a process could not connect, or could not stop in time. What a lock or a guard answers is [`Error`](crate::Error).

use std::time::Duration;
use tenure_locks::Busy;
use tenure_protocol::id::NameLength;

/// Why [`Process::connect`](crate::Process::connect) gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name of the process is empty or too long. Give it another with [`Builder::name`](crate::Builder::name).
    #[error("the name of the process: {0}")]
    Name(NameLength),
    /// The OS gave no thread or no runtime for the driver.
    #[error("cannot start the driver's thread: {why}")]
    Driver {
        /// The OS's words.
        why: String,
    },
    /// The address cannot be used: `host:port` is wanted.
    #[error(
        "cannot use the store's address {address:?} ({why}); write it as host:port, for example 127.0.0.1:7420"
    )]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// No store has welcomed the process in time. It was tried again and again until then.
    #[error(
        "no store at {address} within {} ms: {why}; is `tenure serve` running there, and does the network let this host through?",
        .waited.as_millis()
    )]
    Unreachable {
        /// The address.
        address: String,
        /// How long it was tried.
        waited: Duration,
        /// What went wrong last.
        why: String,
    },
    /// The store turned the process away, and would do so again.
    #[error("the store at {address} refuses this process: {why}")]
    Refused {
        /// The address.
        address: String,
        /// The store's words.
        why: String,
    },
    /// The store knows a newer incarnation of this process.
    #[error(
        "the store at {address} knows a newer start of process {name:?}; give each process a name of its own, or see why the \
         clock of this host went back"
    )]
    Superseded {
        /// The address.
        address: String,
        /// The name of the process.
        name: String,
    },
    /// The store's lease is so short that this process would lose it between two keep-alives.
    #[error(
        "the lease of the store at {address} is {} ms, but this process sends a keep-alive every {} ms and ends its lease {} ms \
         early; lower Builder::keep_alive and Builder::margin, or raise the store's lease_ms",
        .lease.as_millis(), .keep_alive.as_millis(), .margin.as_millis()
    )]
    LeaseTooShort {
        /// The address.
        address: String,
        /// The store's lease.
        lease: Duration,
        /// The process's setting, [`Builder::keep_alive`](crate::Builder::keep_alive).
        keep_alive: Duration,
        /// The process's setting, [`Builder::margin`](crate::Builder::margin).
        margin: Duration,
    },
}

/// Why [`Process::shutdown`](crate::Process::shutdown) gave up waiting. The driver goes on releasing until the last handle is
/// dropped; what is not released by then, the store takes when the lease ends, and what was written to it and not committed
/// is lost.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "not everything was given back within {} ms: {} sessions are in use, {held} grants are still held{}",
    .waited.as_millis(), .busy.len(), .last_error.as_ref().map_or_else(String::new, |why| format!("; the connection: {why}"))
)]
#[non_exhaustive]
pub struct ShutdownError {
    /// How long was waited.
    pub waited: Duration,
    /// The sessions that threads still use.
    pub busy: Vec<Busy>,
    /// How many grants the process still has.
    pub held: usize,
    /// What went wrong last with the connection, when there is none.
    pub last_error: Option<String>,
}
