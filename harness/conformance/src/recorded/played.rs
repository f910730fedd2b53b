//! What a case of the suite has recorded, as a trace: of a store, what went over the wire; of a process also what its adapter was
//! told to do, which is what its threads did.
//!
//! What the suite plays is not judged: it does wrong on purpose. Of what is not all there, as a frame that is too long for a report, nothing
//! behind it is judged.

use super::entry::{Entry, Line, Unreadable, Way, What, in_order};
use super::head::{Head, Settings};
use crate::case::Side;
use crate::report::{Outcome, Report};
use crate::trace::{CUTS, PAUSES, RECALLS, RESTARTS, Traced};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tenure_protocol::SessionId;

/// What the process that is judged is called.
const PROCESS: &str = "p";
/// On whose connections a scripted store notes what went over the wire.
const STORE: &str = "store";

/// A case as a trace.
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
            PAUSES => break, // When it takes what is said to it is anybody's guess.
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

/// Of a case that starts its process several times the first start, and nothing when two run at a time.
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
                Err(_) if own.way == '<' => break, // What is no answer fails its case already.
                Err(why) => return Err(at_line(at, why)),
            }
            continue;
        }
        let Some(number) = own.who.strip_prefix(STORE) else {
            continue; // What an adapter writes to its standard error.
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
        entries.clear(); // Nothing says whose connection is whose.
    }
    Ok(entries)
}

fn at_line(at: usize, why: impl Into<String>) -> Unreadable {
    Unreadable::new(at + 1, why)
}

/// Whether it is a command of an adapter, or its answer.
fn is_command(own: &Traced) -> bool {
    own.way != '!' && own.hex.is_empty() && !own.who.starts_with(STORE)
}

/// What a command or an answer is in a trace.
enum Taken {
    Line(Box<Line>),
    Settings(Settings),
    Nothing,
    /// From here on not everything is known.
    Unknown,
}

/// The commands so far: an answer says only which one it is for.
#[derive(Default)]
struct Desk {
    commands: BTreeMap<u64, Map<String, Value>>,
    /// Those without an answer.
    open: BTreeSet<u64>,
}

impl Desk {
    fn take(&mut self, own: &Traced) -> Result<Taken, String> {
        if own.says.ends_with('…') {
            return Ok(Taken::Unknown);
        }
        let Ok(Value::Object(line)) = serde_json::from_str(&own.says) else {
            return Ok(Taken::Unknown); // No answer.
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

    /// The lock that a command is about.
    fn lock(&self, command: &Map<String, Value>) -> Option<&Map<String, Value>> {
        let number = command.get("lock").and_then(Value::as_u64)?;
        self.commands.get(&number)
    }

    /// The commands of that kind that have no answer.
    fn unanswered(&self, what: &str) -> impl Iterator<Item = &Map<String, Value>> {
        let all = self.open.iter().filter_map(|id| self.commands.get(id));
        all.filter(move |own| own.get("do").and_then(Value::as_str) == Some(what))
    }

    /// Whether commands may wait behind a commit, while others overtake them.
    fn is_committing(&self) -> bool {
        self.unanswered("commit").next().is_some()
    }

    /// Whether the lock gets another session meanwhile, nobody knows when.
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
                    return Ok(Taken::Unknown); // A machine does not know that its thread has gone.
                };
                return object(json!({
                    "did": "abandon", "thread": lock.get("thread"), "session": lock.get("session"),
                }));
            }
            "release" => return object(json!({"did": "release", "session": word("session")})),
            "shutdown" => return object(json!({"did": "shutdown"})),
            "read" | "check" | "write" | "commit" | "rename" | "destroy" | "unlock" | "discard" => {
                let Some(lock) = self.lock(command) else {
                    return Ok(Taken::Nothing); // Refused: there is no such lock.
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
    // They are set by whoever has seen it.
    line["at_ms"] = 0.into();
    line["who"] = PROCESS.into();
    line["way"] = "!".into();
    let line = serde_json::from_value(line).map_err(|why| why.to_string())?;
    Ok(Taken::Line(Box::new(line)))
}
