//! The errors of connecting and of shutting down. The error of a lock or a guard is [`Error`](crate::Error).

use std::time::Duration;
use tenure_locks::Busy;
use tenure_protocol::id::NameLength;

/// The reason why [`Process::connect`](crate::Process::connect) failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name of the process is empty or too long. Set another name with [`Builder::name`](crate::Builder::name).
    #[error("cannot use the name of the process: {0}; set another one with Builder::name")]
    Name(NameLength),
    /// The OS could not start the thread or the runtime of the driver.
    #[error("cannot start the driver's thread: {why}")]
    Driver {
        /// The error of the OS.
        why: String,
    },
    /// The address cannot be used. Write it as `host:port`.
    #[error(
        "cannot use the store's address {address:?} ({why}); write it as host:port, for example 127.0.0.1:7420"
    )]
    Address {
        /// The address as given.
        address: String,
        /// The reason why the address cannot be used.
        why: String,
    },
    /// No store accepted the process within the time limit, after repeated attempts.
    #[error(
        "no store at {address} within {} ms: {why}; is `tenure serve` \
         running there, and does the network let this host through?",
        .waited.as_millis()
    )]
    Unreachable {
        /// The address of the store.
        address: String,
        /// The time limit.
        waited: Duration,
        /// The error of the last attempt.
        why: String,
    },
    /// The store refused the process, and would refuse it again.
    #[error("the store at {address} refuses this process: {why}")]
    Refused {
        /// The address of the store.
        address: String,
        /// The store's reason.
        why: String,
    },
    /// The store knows a higher incarnation of this process name.
    #[error(
        "the store at {address} knows a newer start of process {name:?}; give each process its own name, or find \
         out why the clock of this host went back"
    )]
    Superseded {
        /// The address of the store.
        address: String,
        /// The name of the process.
        name: String,
    },
    /// The store's lease is too short: it would end between two keep-alives of this process.
    #[error(
        "the lease of the store at {address} is {} ms, but this process sends a keep-alive every {} ms and ends its \
         lease {} ms early; lower Builder::keep_alive and Builder::margin, or raise the store's lease_ms",
        .lease.as_millis(), .keep_alive.as_millis(), .margin.as_millis()
    )]
    LeaseTooShort {
        /// The address of the store.
        address: String,
        /// The length of the store's lease.
        lease: Duration,
        /// The interval of this process, set by [`Builder::keep_alive`](crate::Builder::keep_alive).
        keep_alive: Duration,
        /// The margin of this process, set by [`Builder::margin`](crate::Builder::margin).
        margin: Duration,
    },
}

/// The time limit of [`Process::shutdown`](crate::Process::shutdown) has passed while grants are left.
///
/// The driver goes on releasing grants until the last handle is dropped. When the lease ends, the store takes the
/// remaining grants, and their uncommitted writes are lost.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the shutdown did not finish within {} ms: threads use {} sessions, and {held} grants are not given back yet{}",
    .waited.as_millis(),
    .busy.len(),
    .last_error.as_ref().map_or_else(String::new, |why| format!("; the connection: {why}"))
)]
#[non_exhaustive]
pub struct ShutdownError {
    /// The time limit.
    pub waited: Duration,
    /// The sessions whose locks threads still hold or wait for.
    pub busy: Vec<Busy>,
    /// The number of grants that the process still holds.
    pub held: usize,
    /// The last error of the connection, if there is no connection now.
    pub last_error: Option<String>,
}
