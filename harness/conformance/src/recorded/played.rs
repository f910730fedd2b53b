//! Converts the recording of a case to a trace. For a store, the recording has the messages on the wire. For a process,
//! it also has the adapter's commands, which are the actions of its threads.
//!
//! The side that the suite plays is not judged, because it deliberately misbehaves. If a frame is incomplete because it
//! is too long for a report, nothing behind it is judged.

use super::entry::{Entry, Line, Unreadable, Way, What, in_order};
use super::head::{Head, Settings};
use crate::case::Side;
use crate::report::{Outcome, Report};
use crate::trace::{CUTS, PAUSES, RECALLS, RESTARTS, Traced};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tenure_protocol::SessionId;

/// The name of the judged process.
const PROCESS: &str = "p";
/// The name with which a scripted store records the messages on its connections.
const STORE: &str = "store";

/// Returns the trace of a case.
pub(super) fn read(report: &Report, case: &Outcome) -> Result<(Head, Vec<Entry>), Unreadable> {
    let mut head = Head::of_case(report, &case.id);
    let entries = match report.side {
        Side::Store => of_store(&case.trace),
        Side::Process => of_process(&case.trace, &mut head),
    }?;
    in_order(&entries)?;
    Ok((head, entries))
}

fn of_store(traced: &[Traced]) -> Result<Vec<Entry>, Unreadable> {
    let mut entries = Vec::new();
    for (at, own) in traced.iter().enumerate() {
        let mut entry = Line::of(own)
            .entry(at + 1)
            .map_err(|why| at_line(at, why))?;
        let did = if own.way == '!' { &*own.says } else { "" };
        entry.what = match did {
            CUTS => What::Ends(Way::ToStore),
            RESTARTS => What::Restarts,
            PAUSES => break, // The time at which the store processes later messages is unknown.
            _ => match did
                .strip_prefix(RECALLS)
                .map(|own| SessionId::new(own.to_owned()))
            {
                Some(Ok(session)) => What::Recalls(session),
                _ => entry.what,
            },
        };
        if own.way == '>' && entry.what == What::CutShort {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Returns the first start of a process. If two processes run at the same time, the trace is empty.
fn of_process(traced: &[Traced], head: &mut Head) -> Result<Vec<Entry>, Unreadable> {
    let mut desk = Desk::default();
    let mut entries = Vec::new();
    for (at, own) in traced.iter().enumerate() {
        if is_command(own) {
            let taken = desk.take(own).and_then(|taken| {
                Ok(match taken {
                    Taken::Line(mut line) => {
                        (line.at_ms, line.way, line.who) = (own.at_ms, '!', PROCESS.to_owned());
                        let mut entry = line.entry(at + 1)?;
                        entry.in_order = !desk.is_committing();
                        entries.push(entry);
                        true
                    }
                    Taken::Settings(settings) => {
                        head.process = settings;
                        true
                    }
                    Taken::Nothing => true,
                    Taken::Unknown => false,
                })
            });
            match taken {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) if own.way == '<' => break, // A malformed answer already fails its case.
                Err(why) => return Err(at_line(at, why)),
            }
            continue;
        }
        let Some(number) = own.who.strip_prefix(STORE) else {
            continue; // This is output on the adapter's standard error.
        };
        let mut frame = Line::of(own);
        frame.who = format!("{PROCESS}{number}");
        frame.way = match own.way {
            '>' => '<',
            '<' => '>',
            other => other,
        };
        let mut entry = frame.entry(at + 1).map_err(|why| at_line(at, why))?;
        if own.way == '!' && own.says == CUTS {
            entry.what = What::Ends(Way::ToProcess);
        }
        if entry.what == What::CutShort {
            break;
        }
        entries.push(entry);
    }
    let adapters = traced.iter().filter(|own| is_command(own));
    let adapters: BTreeSet<_> = adapters.map(|own| &own.who).collect();
    if adapters.len() > 1 {
        entries.clear(); // The connections cannot be assigned to processes.
    }
    Ok(entries)
}

fn at_line(at: usize, why: impl Into<String>) -> Unreadable {
    Unreadable::new(at + 1, why)
}

/// Returns whether the entry is a command to an adapter, or an answer.
fn is_command(own: &Traced) -> bool {
    own.way != '!' && own.hex.is_empty() && !own.who.starts_with(STORE)
}

/// The meaning of a command or an answer in a trace.
enum Taken {
    Line(Box<Line>),
    Settings(Settings),
    Nothing,
    /// An entry after which the record is incomplete.
    Unknown,
}

/// The commands so far, because an answer names only the number of its command.
#[derive(Default)]
struct Desk {
    commands: BTreeMap<u64, Map<String, Value>>,
    /// The numbers of commands without an answer.
    open: BTreeSet<u64>,
}

impl Desk {
    fn take(&mut self, own: &Traced) -> Result<Taken, String> {
        if own.says.ends_with('…') {
            return Ok(Taken::Unknown);
        }
        let Ok(Value::Object(line)) = serde_json::from_str(&own.says) else {
            return Ok(Taken::Unknown); // The line is not an answer.
        };
        let Some(id) = line.get("id").and_then(Value::as_u64) else {
            return Ok(Taken::Nothing);
        };
        if own.way == '>' {
            let is_again = id == 1 && !self.commands.is_empty();
            let is_renamed = line.get("lock").is_some_and(|own| self.is_renamed(own));
            if is_again || is_renamed {
                return Ok(Taken::Unknown);
            }
            let did = self.did(&line);
            self.open.insert(id);
            self.commands.insert(id, line);
            return did;
        }
        let Some(command) = self.commands.get(&id).cloned() else {
            return Ok(Taken::Unknown);
        };
        self.open.remove(&id);
        let told = self.told(&command, &line);
        if let (Some("rename"), Some(_)) =
            (command.get("do").and_then(Value::as_str), line.get("ok"))
            && let Some(lock) = command.get("lock").and_then(Value::as_u64)
            && let Some(lock) = self.commands.get_mut(&lock)
        {
            lock.insert(
                "session".to_owned(),
                command.get("to").cloned().unwrap_or_default(),
            );
        }
        told
    }

    /// Returns the lock to which a command belongs.
    fn lock(&self, command: &Map<String, Value>) -> Option<&Map<String, Value>> {
        let number = command.get("lock").and_then(Value::as_u64)?;
        self.commands.get(&number)
    }

    /// Returns the unanswered commands of that kind.
    fn unanswered(&self, what: &str) -> impl Iterator<Item = &Map<String, Value>> {
        let all = self.open.iter().filter_map(|id| self.commands.get(id));
        all.filter(move |own| own.get("do").and_then(Value::as_str) == Some(what))
    }

    /// Returns whether commands may wait behind a commit while others overtake them.
    fn is_committing(&self) -> bool {
        self.unanswered("commit").next().is_some()
    }

    /// Returns whether the session of the lock may change at an unknown time.
    fn is_renamed(&self, lock: &Value) -> bool {
        let mut all = self.unanswered("rename");
        all.any(|own| own.get("lock") == Some(lock))
    }

    fn did(&self, command: &Map<String, Value>) -> Result<Taken, String> {
        let word = |name: &str| command.get(name).cloned().unwrap_or(Value::Null);
        let what = command.get("do").and_then(Value::as_str).unwrap_or("");
        let mut line = match what {
            "lock" => {
                let mut line = command.clone();
                line.remove("id");
                line
            }
            "cancel" => {
                let command = word("command").as_u64();
                let lock = command.and_then(|id| self.commands.get(&id));
                let Some(lock) = lock.filter(|own| own.get("do") == Some(&json!("lock"))) else {
                    return Ok(Taken::Unknown); // The machine has no input for a thread that ends.
                };
                return object(json!({
                    "did": "abandon", "thread": lock.get("thread"), "session": lock.get("session"),
                }));
            }
            "release" => return object(json!({"did": "release", "session": word("session")})),
            "shutdown" => return object(json!({"did": "shutdown"})),
            "read" | "check" | "write" | "commit" | "rename" | "destroy" | "unlock" | "discard" => {
                let Some(lock) = self.lock(command) else {
                    return Ok(Taken::Nothing); // The command is refused because the lock does not exist.
                };
                let of_lock = ["thread", "session", "attributes"];
                let own = ["attribute", "value", "to"];
                let of_lock = of_lock
                    .iter()
                    .map(|name| (*name, lock.get(*name).cloned().unwrap_or(Value::Null)));
                let own = own.iter().map(|name| (*name, word(name)));
                let all = of_lock.chain(own);
                all.map(|(name, value)| (name.to_owned(), value)).collect()
            }
            _ => return Ok(Taken::Nothing),
        };
        let did = if what == "read" { "check" } else { what };
        line.insert("did".to_owned(), did.into());
        object(Value::Object(line))
    }

    fn told(
        &self,
        command: &Map<String, Value>,
        answer: &Map<String, Value>,
    ) -> Result<Taken, String> {
        let what = command.get("do").and_then(Value::as_str).unwrap_or("");
        let ok = answer.get("ok").and_then(Value::as_object);
        if what == "connect" {
            let settings = ok.and_then(|ok| ok.get("settings")).cloned();
            let settings = settings.map(serde_json::from_value).transpose();
            let settings = settings.map_err(|why| why.to_string())?.unwrap_or_default();
            return Ok(Taken::Settings(settings));
        }
        let lock = if what == "lock" {
            Some(command)
        } else {
            self.lock(command)
        };
        let is_asked = !matches!(
            what,
            "cancel" | "release" | "shutdown" | "recalled" | "about"
        );
        let Some(lock) = lock.filter(|_| is_asked) else {
            return Ok(Taken::Nothing);
        };
        let mut line = Map::new();
        for name in ["thread", "session"] {
            line.insert(
                name.to_owned(),
                lock.get(name).cloned().unwrap_or(Value::Null),
            );
        }
        for name in ["token", "version", "values"] {
            if let Some(own) = ok.and_then(|ok| ok.get(name)) {
                line.insert(name.to_owned(), own.clone());
            }
        }
        let why = answer.get("error").and_then(|error| error.get("kind"));
        let why = why.and_then(Value::as_str).unwrap_or("");
        let told = match (ok, why, what) {
            (None, "lease-lost" | "revoked" | "late" | "superseded", _) => "lost",
            (None, "unsupported", _) => return Ok(Taken::Unknown),
            (None, ..) => "refused",
            (Some(_), _, "lock") => "locked",
            (Some(_), _, "commit") => "committed",
            (Some(_), _, "rename") => {
                line.insert(
                    "to".to_owned(),
                    command.get("to").cloned().unwrap_or_default(),
                );
                "renamed"
            }
            (Some(_), _, "destroy") => "destroyed",
            (Some(_), ..) => "done",
        };
        line.insert("told".to_owned(), told.into());
        line.insert("why".to_owned(), why.into());
        object(Value::Object(line))
    }
}

fn object(mut line: Value) -> Result<Taken, String> {
    // The caller sets the time and the place.
    line["at_ms"] = 0.into();
    line["who"] = PROCESS.into();
    line["way"] = "!".into();
    let line = serde_json::from_value(line).map_err(|why| why.to_string())?;
    Ok(Taken::Line(Box::new(line)))
}
