//! The timers of the model, as universes and actions name them.

use serde::{Deserialize, Serialize};

/// A timer of the store.
#[allow(missing_docs)] // The names of the fields say it; all count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StoreTimer {
    /// The lease of a process ends.
    Lease { process: u8 },
    /// A recall is repeated.
    Remind { session: u8 },
    /// A recall's deadline passes.
    Revoke { session: u8 },
    /// A process has waited too long.
    Wait { session: u8, process: u8 },
    /// The time to live of an unused session ends.
    Expire { session: u8 },
}

/// A timer of a process.
#[allow(missing_docs)] // The names of the fields say it; all count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProcessTimer {
    /// The lease of the process ends.
    Lease,
    /// A keep-alive is due.
    KeepAlive,
    /// A keep-alive has waited too long for its answer.
    Silent,
    /// The hello is sent again.
    ResendHello,
    /// The unanswered message of a session is sent again.
    Resend { session: u8 },
    /// The process gives a recalled grant up.
    Late { session: u8 },
    /// A thread has waited too long.
    Wait { session: u8, thread: u8 },
}
