//! The entries of a trace file. The page *Traces* of the book is the reference.

use super::head::{Head, Threads, VERSION};
use crate::hex::unhex;
use crate::trace::Traced;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::WaitMode;
use tenure_protocol::process::{Names, Poison};
use tenure_protocol::{AttributeName, SessionId, Stamp, ThreadId};

/// The most bytes of a file, because traces come from untrusted sources.
pub const BYTES_MAX: usize = 64 << 20;
const LINES_MAX: usize = 200_000;
const LINE_BYTES_MAX: usize = 16 << 20;
const CONNECTIONS_MAX: usize = 1_000;

/// The reason why a file is not a valid trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The number of the line, counted from one, or 0 for the whole file.
    pub line: usize,
    /// A description of the error.
    pub why: String,
}

impl Unreadable {
    pub(super) fn new(line: usize, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { line, why }
    }
}

impl std::error::Error for Unreadable {}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.why),
            line => write!(f, "line {line}: {}", self.why),
        }
    }
}

/// The place of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    /// At the process, when a message left or reached it.
    Process,
    /// At the store, when a message left or reached it.
    Store,
    /// Somewhere between process and store.
    #[default]
    Between,
}

/// A line of the file. Unknown members are ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Line {
    pub(super) at_ms: u64,
    pub(super) who: String,
    pub(super) way: char,
    #[serde(default)]
    at: Place,
    #[serde(default)]
    hex: String,
    #[serde(default)]
    thread: Option<u64>,
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    did: Option<String>,
    #[serde(default)]
    told: Option<String>,
    /// `null` means all attributes.
    #[serde(default)]
    attributes: Option<Vec<String>>,
    #[serde(default)]
    attribute: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default, rename = "try")]
    is_try: bool,
    #[serde(default)]
    existing: bool,
    #[serde(default)]
    wait_ms: Option<u64>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    token: Option<(u64, u64)>,
    #[serde(default)]
    version: Option<(u64, u64)>,
    #[serde(default)]
    values: Option<BTreeMap<String, String>>,
    #[serde(default)]
    why: Option<String>,
}

/// An entry of a trace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The number of the line, counted from one.
    pub(crate) line: usize,
    pub(crate) at_ms: u64,
    /// The name of a connection, of a start of a process, or `store`.
    pub(crate) who: String,
    pub(crate) at: Place,
    pub(crate) what: What,
    /// Whether the action reaches its process after all earlier actions, and not only after those of its thread.
    pub(crate) in_order: bool,
}

impl Entry {
    /// Returns the start of the process to which the connection belongs.
    pub(crate) fn process(&self) -> &str {
        self.who.split('#').next().unwrap_or_default()
    }
}

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Way {
    ToStore,
    ToProcess,
}

/// An observation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Bytes(Way, Vec<u8>),
    /// A frame of which the trace contains only the beginning.
    CutShort,
    /// The end of the stream in that direction.
    Ends(Way),
    /// A kill and restart of the store.
    Restarts,
    /// A recall of the session by the store's operator.
    Recalls(SessionId),
    /// A call of a thread.
    Did(ThreadId, SessionId, ThreadCall),
    ThreadAnswer(ThreadId, SessionId, ThreadAnswer),
    /// A release that the process itself has chosen.
    Release(SessionId),
    Forget(SessionId),
    Shutdown,
    /// A note for human readers.
    Note,
}

/// A thread's call on a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ThreadCall {
    Lock {
        names: Names,
        wait_mode: WaitMode,
        existing: bool,
        wait_ms: u64,
    },
    Abandon,
    Write(AttributeName, Option<Value>),
    Unlock(Names),
    Discard(Names),
    Check,
    Commit,
    Destroy,
    Rename(SessionId),
}

/// The answer to a thread's call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ThreadAnswer {
    Locked(Stamp, BTreeMap<AttributeName, Value>),
    /// The call succeeded, and the grant is valid.
    Done,
    Committed(Stamp),
    Destroyed,
    Renamed(SessionId, Stamp),
    /// A refusal, with the kind that adapters use.
    Refused(String),
    Lost(Poison),
}

/// Parses a trace file.
pub(crate) fn read(text: &str) -> Result<(Head, Vec<Entry>), Unreadable> {
    if text.len() > BYTES_MAX {
        return Err(Unreadable::new(0, format!("more than {BYTES_MAX} bytes")));
    }
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let (_, first) = lines
        .next()
        .ok_or_else(|| Unreadable::new(0, "the file is empty"))?;
    let head: Head = json(1, first)?;
    if head.trace != VERSION {
        let why = format!("a trace of version {}, not {VERSION}", head.trace);
        return Err(Unreadable::new(1, why));
    }
    if let Threads::Word(word) = &head.threads
        && word != "all"
    {
        return Err(Unreadable::new(
            1,
            "`threads` must be \"all\" or a list of processes",
        ));
    }
    let mut entries = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        if number > LINES_MAX || line.len() > LINE_BYTES_MAX {
            let why = format!("more than {LINES_MAX} lines, or {LINE_BYTES_MAX} bytes in one");
            return Err(Unreadable::new(number, why));
        }
        let line: Line = json(number, line)?;
        let entry = line
            .entry(number)
            .map_err(|why| Unreadable::new(number, why))?;
        entries.push(entry);
    }
    in_order(&entries)?;
    Ok((head, entries))
}

pub(super) fn in_order(entries: &[Entry]) -> Result<(), Unreadable> {
    let mut connections = std::collections::BTreeSet::new();
    for pair in entries.windows(2) {
        if pair[1].at_ms < pair[0].at_ms {
            return Err(Unreadable::new(
                pair[1].line,
                "the time is earlier than the time of the previous line",
            ));
        }
    }
    for entry in entries {
        connections.insert(&entry.who);
        if connections.len() > CONNECTIONS_MAX {
            let why = format!("more than {CONNECTIONS_MAX} connections");
            return Err(Unreadable::new(entry.line, why));
        }
    }
    Ok(())
}

fn json<T: DeserializeOwned>(number: usize, line: &str) -> Result<T, Unreadable> {
    serde_json::from_str(line).map_err(|why| Unreadable::new(number, why.to_string()))
}

impl Line {
    /// Converts a traced frame, or a note beside frames, to a line.
    pub(super) fn of(traced: &Traced) -> Self {
        Self {
            at_ms: traced.at_ms,
            who: traced.who.clone(),
            way: traced.way,
            hex: traced.hex.clone(),
            ..Self::default()
        }
    }

    pub(super) fn entry(self, line: usize) -> Result<Entry, String> {
        if self.who.is_empty() || self.who.len() > 256 {
            return Err("`who` must have 1 to 256 bytes".to_owned());
        }
        let what = self.what()?;
        Ok(Entry {
            line,
            at_ms: self.at_ms,
            who: self.who,
            at: self.at,
            what,
            in_order: false,
        })
    }

    fn what(&self) -> Result<What, String> {
        let way = match self.way {
            '>' => Some(Way::ToStore),
            '<' => Some(Way::ToProcess),
            '!' => None,
            other => return Err(format!("the way `{other}` is not one of `>`, `<` and `!`")),
        };
        if let Some(way) = way {
            return match (self.did.as_deref(), &*self.hex) {
                (Some("ends"), "") => Ok(What::Ends(way)),
                (Some(_), _) => Err("an entry with a frame must have no other action".to_owned()),
                (None, "") => Ok(What::Note),
                (None, hex) if hex.ends_with('…') => Ok(What::CutShort),
                (None, hex) => unhex(hex)
                    .map(|bytes| What::Bytes(way, bytes))
                    .ok_or_else(|| "`hex` is not pairs of hexadecimal digits".to_owned()),
            };
        }
        match (&self.did, &self.told) {
            (Some(did), None) => self.did(did),
            (None, Some(told)) => {
                let told = self.told(told)?;
                Ok(What::ThreadAnswer(self.thread()?, self.session()?, told))
            }
            (None, None) => Ok(What::Note),
            (Some(_), Some(_)) => Err("`did` and `told` must not be in one entry".to_owned()),
        }
    }

    fn did(&self, did: &str) -> Result<What, String> {
        match did {
            "restarts" => return Ok(What::Restarts),
            "recalls" => return Ok(What::Recalls(self.session()?)),
            "release" => return Ok(What::Release(self.session()?)),
            "forget" => return Ok(What::Forget(self.session()?)),
            "shutdown" => return Ok(What::Shutdown),
            _ => {}
        }
        let call = match did {
            "lock" => ThreadCall::Lock {
                names: self.names()?,
                wait_mode: if self.is_try {
                    WaitMode::Try
                } else {
                    WaitMode::Wait
                },
                existing: self.existing,
                wait_ms: self.wait_ms.unwrap_or(u64::MAX),
            },
            "abandon" => ThreadCall::Abandon,
            "write" => {
                let value = self.value.as_deref().map(bytes).transpose()?;
                ThreadCall::Write(attribute(needed(&self.attribute, "attribute")?)?, value)
            }
            "unlock" => ThreadCall::Unlock(self.names()?),
            "discard" => ThreadCall::Discard(self.names()?),
            "check" => ThreadCall::Check,
            "commit" => ThreadCall::Commit,
            "destroy" => ThreadCall::Destroy,
            "rename" => ThreadCall::Rename(session(needed(&self.to, "to")?)?),
            other => return Err(format!("there is no action `{other}`")),
        };
        Ok(What::Did(self.thread()?, self.session()?, call))
    }

    fn told(&self, told: &str) -> Result<ThreadAnswer, String> {
        let why = || needed(&self.why, "why");
        Ok(match told {
            "locked" => {
                let values = self.values.iter().flatten();
                let values = values.map(|(name, value)| Ok((attribute(name)?, bytes(value)?)));
                let values: Result<_, String> = values.collect();
                ThreadAnswer::Locked(stamp(self.token, "token")?, values?)
            }
            "done" => ThreadAnswer::Done,
            "committed" => ThreadAnswer::Committed(stamp(self.version, "version")?),
            "destroyed" => ThreadAnswer::Destroyed,
            "renamed" => ThreadAnswer::Renamed(
                session(needed(&self.to, "to")?)?,
                stamp(self.token, "token")?,
            ),
            "refused" => ThreadAnswer::Refused(why()?.to_owned()),
            "lost" => ThreadAnswer::Lost(match why()? {
                "lease-lost" => Poison::LeaseLost,
                "revoked" => Poison::Revoked,
                "late" => Poison::Late,
                "superseded" => Poison::Superseded,
                other => {
                    return Err(format!(
                        "there is no reason `{other}` for the loss of a grant"
                    ));
                }
            }),
            other => return Err(format!("there is no answer `{other}` to a thread")),
        })
    }

    fn thread(&self) -> Result<ThreadId, String> {
        self.thread
            .map(ThreadId)
            .ok_or_else(|| "no `thread`".to_owned())
    }

    fn session(&self) -> Result<SessionId, String> {
        session(needed(&self.session, "session")?)
    }

    fn names(&self) -> Result<Names, String> {
        let Some(all) = &self.attributes else {
            return Ok(Names::All);
        };
        let names: Result<Vec<_>, _> = all.iter().map(|name| attribute(name)).collect();
        let mut names = names?;
        names.sort();
        names.dedup();
        match names.len() {
            0 => Err("`attributes` is empty; leave it out to name all attributes".to_owned()),
            1 => Ok(Names::One(names.remove(0))),
            _ => Ok(Names::Many(names)),
        }
    }
}

fn needed<'a>(member: &'a Option<String>, name: &str) -> Result<&'a str, String> {
    member.as_deref().ok_or_else(|| format!("no `{name}`"))
}

fn bytes(hex: &str) -> Result<Value, String> {
    let bytes = unhex(hex).ok_or_else(|| format!("`{hex}` is not pairs of hexadecimal digits"))?;
    Ok(bytes.into())
}

fn session(hex: &str) -> Result<SessionId, String> {
    SessionId::new(bytes(hex)?).map_err(|why| why.to_string())
}

fn attribute(hex: &str) -> Result<AttributeName, String> {
    AttributeName::new(bytes(hex)?).map_err(|why| why.to_string())
}

fn stamp(pair: Option<(u64, u64)>, name: &str) -> Result<Stamp, String> {
    let (epoch, sequence) = pair.ok_or_else(|| format!("no `{name}`"))?;
    Ok(Stamp { epoch, sequence })
}
