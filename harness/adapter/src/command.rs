//! The suite's commands and the adapter's answers as JSON. The page *Adapters* of the book is the reference.

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use tenure::Error;

/// One line of the suite: a command with its number.
#[derive(Debug, Deserialize)]
pub(crate) struct Command {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) what: What,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum What {
    About,
    Connect(Connect),
    Lock(Lock),
    Cancel {
        command: u64,
    },
    Read {
        lock: u64,
        attribute: Hex,
    },
    Write {
        lock: u64,
        attribute: Hex,
        value: Option<Hex>,
    },
    Check {
        lock: u64,
    },
    Recalled {
        lock: u64,
    },
    Commit {
        lock: u64,
    },
    Rename {
        lock: u64,
        to: Hex,
    },
    Destroy {
        lock: u64,
    },
    Unlock {
        lock: u64,
    },
    Discard {
        lock: u64,
    },
    Release {
        session: Hex,
    },
    Shutdown {
        within_ms: u64,
    },
    /// A command of a later version of the suite.
    #[serde(other)]
    Unsupported,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Connect {
    pub(crate) store: String,
    pub(crate) process: String,
    /// The incarnation of the process. If absent, the library chooses one.
    pub(crate) incarnation: Option<u64>,
    /// Settings of the library. A setting that the library does not have is ignored.
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Lock {
    pub(crate) thread: u64,
    pub(crate) session: Hex,
    /// The attributes to lock. If absent, all attributes.
    pub(crate) attributes: Option<Vec<Hex>>,
    #[serde(default, rename = "try")]
    pub(crate) is_try: bool,
    #[serde(default)]
    pub(crate) existing: bool,
    pub(crate) wait_ms: Option<u64>,
}

/// Bytes, written as lower-case hexadecimal digits.
#[derive(Debug)]
pub(crate) struct Hex(pub(crate) Bytes);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pairs = (0..text.len()).step_by(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
            .collect();
        let wrong =
            || serde::de::Error::custom("bytes must be written as pairs of hexadecimal digits");
        Ok(Self(bytes.ok_or_else(wrong)?.into()))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
        text
    })
}

/// An error answer to a command.
#[derive(Debug)]
pub(crate) struct Refusal {
    kind: &'static str,
    cycle: Vec<String>,
    text: String,
}

impl Refusal {
    pub(crate) fn new(kind: &'static str, text: impl ToString) -> Self {
        Self {
            kind,
            cycle: Vec::new(),
            text: text.to_string(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Name(_) => "name",
            Error::AlreadyLocked(_) => "already-locked",
            Error::Deadline(_) => "deadline",
            Error::Deadlock { .. } => "deadlock",
            Error::WouldBlock(_) => "would-block",
            Error::Gone(_) => "gone",
            Error::IdTaken(_) => "id-taken",
            Error::Limit(..) => "limit",
            Error::LeaseLost(_) => "lease-lost",
            Error::Revoked(_) => "revoked",
            Error::Late(_) => "late",
            Error::Superseded(_) => "superseded",
            Error::NotLocked(_) => "not-held",
            Error::Forked => "forked",
            Error::BlocksRuntime(_) => "blocks-runtime",
            Error::ShuttingDown(_) => "shutting-down",
            Error::Absent(_) => "absent",
            Error::Unsupported(_) => "older-store",
            // An error kind added to the library after this adapter was written. The suite has no name for it.
            _ => "unknown",
        };
        let mut refusal = Self::new(kind, &error);
        if let Error::Deadlock { cycle } = &error {
            refusal.cycle = cycle.iter().map(|id| hex(id.as_bytes())).collect();
        }
        refusal
    }
}

/// The answer to a command.
pub(crate) type Answer = Result<Value, Refusal>;

/// Writes an answer as one line.
pub(crate) fn answer(id: u64, answer: Answer) {
    let line = match answer {
        Ok(ok) => json!({"id": id, "ok": ok}),
        Err(Refusal { kind, cycle, text }) => {
            json!({"id": id, "error": {"kind": kind, "cycle": cycle, "text": text}})
        }
    };
    let mut out = std::io::stdout().lock();
    // If the suite is gone, the end of its commands also ends this program.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
