//! The script language: one line, one operation on the world.
//!
//! | line | effect |
//! |---|---|
//! | `p connect` | process `p` gets a new connection and says hello |
//! | `p cut` | the connection of `p` breaks: all packets under way are lost; both ends still have to notice |
//! | `p send`, `p get` | the next message from, to `p` arrives |
//! | `p send lose`, `p get lose` | the message is lost instead |
//! | `p send twice`, `p get twice` | the message arrives, and will arrive once more |
//! | `p get late` | the message goes to the back of the line |
//! | `p crash` | `p` dies and starts again as a new incarnation |
//! | `p next q` | `p` starts again, as node `q`, while the old incarnation still runs |
//! | `p tick`, `store tick` | the due timers of `p`, of the store fire |
//! | `p release s`, `p forget s`, `p shutdown` | the driver of `p` makes this request |
//! | `p.1 lock s a b`, `p.1 try s *` | thread 1 of `p` locks attributes of session `s`, or all |
//! | `p.1 write s a x`, `p.1 remove s a` | thread 1 writes an attribute, removes an attribute |
//! | `p.1 unlock s a b`, `p.1 discard s a` | thread 1 leaves, with or without its writes |
//! | `p.1 commit s`, `p.1 destroy s`, `p.1 rename s r`, `p.1 abandon s` | thread 1 makes this [`Call`] |
//! | `store crash` | the store dies and recovers from its durable records |
//! | `store recall s` | the operator recalls the session |
//! | `wait 500` | the clock moves; no timer fires |
//! | `settle` | every message under way arrives, in order |

use super::words;
use std::fmt;
use std::str::FromStr;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::WaitMode;
use tenure_protocol::process::{Call, Names};
use tenure_protocol::{SessionId, Time};

/// The fate of the next message of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Lost,
    Twice,
    Late,
}

/// One line of a script.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Connect(String),
    Cut(String),
    Send(String, Fate),
    Get(String, Fate),
    Crash(String),
    Next(String, String),
    Tick(String),
    Release(String, SessionId),
    Forget(String, SessionId),
    Shutdown(String),
    /// A call of a thread. The time of a lock is counted from now.
    Thread(String, u64, SessionId, Call),
    StoreCrash,
    StoreTick,
    StoreRecall(SessionId),
    Wait(u64),
    Settle,
}

/// The time for which a thread waits unless the script says otherwise.
pub(crate) const WAIT_MS: u64 = 50_000;

fn fate(word: Option<&&str>) -> Fate {
    match word {
        None => Fate::Arrives,
        Some(&"lose") => Fate::Lost,
        Some(&"twice") => Fate::Twice,
        Some(&"late") => Fate::Late,
        Some(other) => panic!("no such fate: {other}"),
    }
}

fn names(words: &[&str]) -> Names {
    match words {
        ["*"] => Names::All,
        [name] => Names::One(words::attribute(name)),
        names => Names::Many(names.iter().map(|name| words::attribute(name)).collect()),
    }
}

fn call(words: &[&str]) -> Call {
    match words {
        ["lock", _, attributes @ .., "until", ms] => {
            lock(attributes, WaitMode::Wait, ms.parse().expect("a number"))
        }
        ["lock", _, attributes @ ..] => lock(attributes, WaitMode::Wait, WAIT_MS),
        ["try", _, attributes @ ..] => lock(attributes, WaitMode::Try, WAIT_MS),
        ["existing", _, attributes @ ..] => only_existing(attributes, WaitMode::Wait),
        ["try-existing", _, attributes @ ..] => only_existing(attributes, WaitMode::Try),
        ["write", _, name, value] => Call::Write {
            name: words::attribute(name),
            value: Some(Value::copy_from_slice(value.as_bytes())),
        },
        ["remove", _, name] => Call::Write {
            name: words::attribute(name),
            value: None,
        },
        ["unlock", _, attributes @ ..] => Call::Unlock(names(attributes)),
        ["discard", _, attributes @ ..] => Call::Discard(names(attributes)),
        ["commit", _] => Call::Commit,
        ["destroy", _] => Call::Destroy,
        ["rename", _, to] => Call::Rename(words::session(to)),
        ["abandon", _] => Call::Abandon,
        other => panic!("no such call: {other:?}"),
    }
}

fn lock(attributes: &[&str], wait_mode: WaitMode, ms: u64) -> Call {
    Call::Lock {
        names: names(attributes),
        wait_mode,
        until: Time(ms),
        existing: false,
    }
}

fn only_existing(attributes: &[&str], wait_mode: WaitMode) -> Call {
    Call::Lock {
        names: names(attributes),
        wait_mode,
        existing: true,
        until: Time(WAIT_MS),
    }
}

impl FromStr for Op {
    type Err = std::convert::Infallible;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let op = match words[..] {
            ["settle"] => Self::Settle,
            ["wait", ms] => Self::Wait(ms.parse().expect("milliseconds")),
            ["store", "crash"] => Self::StoreCrash,
            ["store", "tick"] => Self::StoreTick,
            ["store", "recall", session] => Self::StoreRecall(words::session(session)),
            [node, "connect"] => Self::Connect(node.to_owned()),
            [node, "cut"] => Self::Cut(node.to_owned()),
            [node, "send", ref how @ ..] => Self::Send(node.to_owned(), fate(how.first())),
            [node, "get", ref how @ ..] => Self::Get(node.to_owned(), fate(how.first())),
            [node, "crash"] => Self::Crash(node.to_owned()),
            [node, "next", label] => Self::Next(node.to_owned(), label.to_owned()),
            [node, "tick"] => Self::Tick(node.to_owned()),
            [node, "shutdown"] => Self::Shutdown(node.to_owned()),
            [node, "release", session] => Self::Release(node.to_owned(), words::session(session)),
            [node, "forget", session] => Self::Forget(node.to_owned(), words::session(session)),
            [who, ref rest @ ..] => {
                let (node, thread) = who
                    .split_once('.')
                    .unwrap_or_else(|| panic!("not a line: {line}"));
                let thread = thread.parse().expect("a thread has a number");
                Self::Thread(node.to_owned(), thread, words::session(rest[1]), call(rest))
            }
            [] => panic!("an empty line"),
        };
        Ok(op)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = |fate: &Fate| match fate {
            Fate::Arrives => "",
            Fate::Lost => " lose",
            Fate::Twice => " twice",
            Fate::Late => " late",
        };
        match self {
            Self::Connect(node) => write!(f, "{node} connect"),
            Self::Cut(node) => write!(f, "{node} cut"),
            Self::Send(node, how) => write!(f, "{node} send{}", fate(how)),
            Self::Get(node, how) => write!(f, "{node} get{}", fate(how)),
            Self::Crash(node) => write!(f, "{node} crash"),
            Self::Next(node, label) => write!(f, "{node} next {label}"),
            Self::Tick(node) => write!(f, "{node} tick"),
            Self::Release(node, session) => write!(f, "{node} release {session}"),
            Self::Forget(node, session) => write!(f, "{node} forget {session}"),
            Self::Shutdown(node) => write!(f, "{node} shutdown"),
            Self::Thread(node, thread, session, call) => {
                write_call(f, &format!("{node}.{thread}"), session, call)
            }
            Self::StoreCrash => f.write_str("store crash"),
            Self::StoreTick => f.write_str("store tick"),
            Self::StoreRecall(session) => write!(f, "store recall {session}"),
            Self::Wait(ms) => write!(f, "wait {ms}"),
            Self::Settle => f.write_str("settle"),
        }
    }
}

/// Prints a failing schedule as a script that can be pasted into a transcript.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn write_call(
    f: &mut fmt::Formatter<'_>,
    who: &str,
    session: &SessionId,
    call: &Call,
) -> fmt::Result {
    let list = |names: &Names| match names {
        Names::All => "*".to_owned(),
        Names::One(name) => name.to_string(),
        Names::Many(names) => names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "),
    };
    match call {
        Call::Lock {
            names,
            wait_mode,
            existing: true,
            ..
        } => {
            let tries = if *wait_mode == WaitMode::Try {
                "try-"
            } else {
                ""
            };
            write!(f, "{who} {tries}existing {session} {}", list(names))
        }
        Call::Lock {
            names,
            wait_mode: WaitMode::Try,
            ..
        } => write!(f, "{who} try {session} {}", list(names)),
        Call::Lock { names, until, .. } if until.0 == WAIT_MS => {
            write!(f, "{who} lock {session} {}", list(names))
        }
        Call::Lock { names, until, .. } => {
            write!(f, "{who} lock {session} {} until {until}", list(names))
        }
        Call::Abandon => write!(f, "{who} abandon {session}"),
        Call::Write {
            name,
            value: Some(value),
        } => {
            write!(
                f,
                "{who} write {session} {name} {}",
                String::from_utf8_lossy(value)
            )
        }
        Call::Write { name, value: None } => write!(f, "{who} remove {session} {name}"),
        Call::Unlock(names) => write!(f, "{who} unlock {session} {}", list(names)),
        Call::Discard(names) => write!(f, "{who} discard {session} {}", list(names)),
        Call::Commit => write!(f, "{who} commit {session}"),
        Call::Destroy => write!(f, "{who} destroy {session}"),
        Call::Rename(to) => write!(f, "{who} rename {session} {to}"),
    }
}
