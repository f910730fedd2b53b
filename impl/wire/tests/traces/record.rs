//! Records a scene as a trace: the inputs and outputs of each machine, in order, through the codec.

use super::machines::scenes::Scene;
use super::machines::script::{Fate, Op};
use super::machines::{Seen, World};
use crate::golden::diagnostic;
use crate::golden::file::to_hex;
use bytes::Buf;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use tenure_protocol::message::{Refusal, WaitMode};
use tenure_protocol::process::{self, Answer, Call, Names, Poison};
use tenure_protocol::{AttributeName, Link, ProcessId, SessionId, Stamp, ThreadId, store};
use tenure_wire::{FrameLimits, FromProcess, FromStore, Item, Outgoing};

/// An entry of a trace, or its first line.
pub(crate) type Entry = Map<String, Value>;

/// Returns the entries of a scene.
pub(crate) fn entries(scene: &Scene) -> Vec<Entry> {
    let mut own = Recorder {
        world: World::new(scene.setup(), scene.nodes()),
        entries: Vec::new(),
        links: HashMap::new(),
        asked: HashMap::new(),
    };
    let connect = scene.nodes().iter().map(|node| format!("{node} connect"));
    let script = connect.collect::<Vec<_>>().join("\n") + "\nsettle\n" + scene.script;
    let lines = script.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty()) {
        match line.parse().expect("never fails") {
            Op::Settle => own.settle(),
            op => own.play(&op),
        }
    }
    own.entries
}

struct Recorder {
    world: World,
    entries: Vec<Entry>,
    /// The last connection of each process.
    links: HashMap<usize, Link>,
    /// The last request of each thread.
    asked: HashMap<(usize, ThreadId), Names>,
}

/// Returns the name of a start of a process in a trace: `p`, and `p.2` for the second.
fn start(process: &ProcessId, incarnation: u64) -> String {
    match incarnation {
        1 => process.to_string(),
        _ => format!("{process}.{incarnation}"),
    }
}

/// Returns the name of a connection in a trace: `p`, and `p#2` for the second.
fn connection(process: &ProcessId, link: Link) -> String {
    let start = start(process, link.incarnation.0);
    match link.number {
        1 => start,
        number => format!("{start}#{number}"),
    }
}

fn stamp(Stamp { epoch, sequence }: Stamp) -> Value {
    json!([epoch, sequence])
}

fn object(value: Value) -> Entry {
    match value {
        Value::Object(object) => object,
        _ => panic!("no object"),
    }
}

/// Returns a frame in hexadecimal digits, and its body in diagnostic notation.
fn frame(item: &impl Item) -> (String, Option<String>) {
    let mut out = Outgoing::new();
    out.push(item, &FrameLimits::default()).expect("it fits");
    let bytes = out.copy_to_bytes(out.remaining());
    (to_hex(&bytes), diagnostic::of_stream(&bytes).remove(0))
}

/// Returns the same for an item as it stands in a trace.
pub(crate) fn encoded(is_of_process: bool, item: &Value) -> (String, Option<String>) {
    let read = "the item deserializes as one of that side";
    if is_of_process {
        frame(&serde_json::from_value::<FromProcess>(item.clone()).expect(read))
    } else {
        frame(&serde_json::from_value::<FromStore>(item.clone()).expect(read))
    }
}

impl Recorder {
    fn play(&mut self, op: &Op) {
        let poison = self.poison(op);
        self.world.play(op);
        if matches!(op, Op::StoreCrash) {
            self.note("store", '!', "store", json!({"did": "restarts"}));
        }
        for seen in std::mem::take(&mut self.world.seen) {
            match seen {
                Seen::Store(input, outputs) => self.store(input, outputs),
                Seen::Process(at, input, outputs) => self.process(at, (input, poison), outputs),
            }
        }
    }

    /// Delivers one message after the other, so that each thread sees the values of that time.
    fn settle(&mut self) {
        let nodes = self.world.nodes.iter();
        let nodes: Vec<String> = nodes.map(|node| node.label.clone()).collect();
        loop {
            let mut is_quiet = true;
            for node in &nodes {
                if !self.world.node(node).to_store.is_empty() {
                    self.play(&Op::Send(node.clone(), Fate::Arrives));
                    is_quiet = false;
                }
                if !self.world.node(node).to_process.is_empty() {
                    self.play(&Op::Get(node.clone(), Fate::Arrives));
                    is_quiet = false;
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Returns the way in which the acting thread has lost its grant.
    fn poison(&self, op: &Op) -> Option<Poison> {
        let Op::Thread(label, thread, session, _) = op else {
            return None;
        };
        let session = self.world.node(label).process.session(session)?;
        session.poison_of(ThreadId(*thread))
    }

    fn note(&mut self, who: &str, way: char, at: &str, more: Value) {
        let mut entry =
            object(json!({"at_ms": self.world.now.0, "who": who, "way": way, "at": at}));
        entry.extend(object(more));
        self.entries.push(entry);
    }

    /// Records a frame where it leaves, with its content, or where it arrives.
    fn frame<T: Item + serde::Serialize>(&mut self, who: &str, (way, at): (char, &str), item: &T) {
        let leaves = (way == '>') == (at == "process");
        let (hex, diagnostic) = frame(item);
        let more = if leaves {
            json!({"hex": hex, "diagnostic": diagnostic, "item": item})
        } else {
            json!({"hex": hex})
        };
        self.note(who, way, at, more);
    }

    fn store(&mut self, input: store::Input, outputs: Vec<store::Output>) {
        match input {
            store::Input::Message {
                process,
                link,
                message,
            } => {
                let item = FromProcess::new(&process, link, message);
                self.frame(&connection(&process, link), ('>', "store"), &item);
            }
            store::Input::Disconnected { process, link } => {
                let who = connection(&process, link);
                self.note(&who, '>', "store", json!({"did": "ends"}));
            }
            store::Input::Recall(session) => {
                let more = json!({"did": "recalls", "session": to_hex(session.as_bytes())});
                self.note("store", '!', "store", more);
            }
            store::Input::Timer(_) | store::Input::Admission(_) => {}
        }
        for output in outputs {
            match output {
                store::Output::Send {
                    process,
                    link,
                    message,
                } => {
                    let who = connection(&process, link);
                    self.frame(&who, ('<', "store"), &FromStore::Message(message));
                }
                store::Output::Disconnect { process, link } => {
                    let who = connection(&process, link);
                    self.note(&who, '<', "store", json!({"did": "ends"}));
                }
                store::Output::Persist(_) => {}
            }
        }
    }

    fn process(
        &mut self,
        at: usize,
        (input, poison): (process::Input, Option<Poison>),
        outputs: Vec<process::Output>,
    ) {
        let node = &self.world.nodes[at];
        let (name, incarnation) = (node.name.clone(), node.process.incarnation().0);
        let who = start(&name, incarnation);
        let mut called = None;
        match input {
            process::Input::Message { link, message } => {
                let who = connection(&name, link);
                self.frame(&who, ('<', "process"), &FromStore::Message(message));
            }
            process::Input::Thread {
                thread,
                session,
                call,
            } => {
                self.call(&who, thread, &session, &call);
                if let Call::Lock { names, .. } = &call {
                    self.asked.insert((at, thread), names.clone());
                }
                called = Some((thread, session, call));
            }
            process::Input::Release(session) => self.driver(&who, "release", Some(&session)),
            process::Input::Forget(session) => self.driver(&who, "forget", Some(&session)),
            process::Input::Shutdown => self.driver(&who, "shutdown", None),
            process::Input::Disconnected => {
                let who = connection(&name, self.links[&at]);
                self.note(&who, '<', "process", json!({"did": "ends"}));
            }
            process::Input::Connected | process::Input::Timer(_) => {}
        }
        let mut is_told = false;
        for output in outputs {
            match output {
                process::Output::Send { link, message } => {
                    self.links.insert(at, link);
                    let item = FromProcess::new(&name, link, message);
                    self.frame(&connection(&name, link), ('>', "process"), &item);
                }
                process::Output::Answer {
                    thread,
                    session,
                    answer,
                } => {
                    is_told |= called.as_ref().is_some_and(|(own, ..)| *own == thread);
                    let told = self.told(at, thread, &session, &answer);
                    self.tell(&who, thread, &session, told);
                }
                process::Output::Disconnect { link } => {
                    let who = connection(&name, link);
                    self.note(&who, '>', "process", json!({"did": "ends"}));
                }
            }
        }
        // The machine returns no answer if the call succeeds.
        if let Some((thread, session, Call::Write { .. } | Call::Unlock(_) | Call::Discard(_))) =
            called
            && !is_told
        {
            let told = poison.map_or_else(|| json!({"told": "done"}), lost);
            self.tell(&who, thread, &session, told);
        }
    }

    fn driver(&mut self, who: &str, did: &str, session: Option<&SessionId>) {
        let mut more = object(json!({ "did": did }));
        if let Some(session) = session {
            more.insert("session".to_owned(), to_hex(session.as_bytes()).into());
        }
        self.note(who, '!', "process", more.into());
    }

    fn call(&mut self, who: &str, thread: ThreadId, session: &SessionId, call: &Call) {
        let now = self.world.now;
        let all = |names: &Names| match names {
            Names::All => Value::Null,
            Names::One(name) => json!([to_hex(name.as_bytes())]),
            Names::Many(names) => names.iter().map(|name| to_hex(name.as_bytes())).collect(),
        };
        let more = match call {
            Call::Lock {
                names,
                wait_mode,
                until,
                existing,
            } => {
                let is_try = *wait_mode == WaitMode::Try;
                let wait_ms = until.since(now);
                let mut lock = json!({"did": "lock", "attributes": all(names), "try": is_try, "wait_ms": wait_ms});
                if *existing {
                    lock["existing"] = true.into();
                }
                lock
            }
            Call::Abandon => json!({"did": "abandon"}),
            Call::Write { name, value } => {
                let value = value.as_ref().map(|value| to_hex(value));
                json!({"did": "write", "attribute": to_hex(name.as_bytes()), "value": value})
            }
            Call::Unlock(names) => json!({"did": "unlock", "attributes": all(names)}),
            Call::Discard(names) => json!({"did": "discard", "attributes": all(names)}),
            Call::Commit => json!({"did": "commit"}),
            Call::Destroy => json!({"did": "destroy"}),
            Call::Rename(to) => json!({"did": "rename", "to": to_hex(to.as_bytes())}),
        };
        self.tell(who, thread, session, more);
    }

    fn tell(&mut self, who: &str, thread: ThreadId, session: &SessionId, more: Value) {
        let mut own = object(json!({"thread": thread.0, "session": to_hex(session.as_bytes())}));
        own.extend(object(more));
        self.note(who, '!', "process", own.into());
    }

    fn told(&self, at: usize, thread: ThreadId, session: &SessionId, answer: &Answer) -> Value {
        match answer {
            Answer::Locked(token) => {
                let own = self.world.nodes[at].process.session(session);
                let own = own.expect("the thread has locked the attribute");
                let asked = &self.asked[&(at, thread)];
                let is_asked = |name: &AttributeName| match asked {
                    Names::All => true,
                    Names::One(own) => own == name,
                    Names::Many(own) => own.contains(name),
                };
                let names = own.slots().iter().map(|slot| slot.name.clone());
                let values = names.filter(is_asked).filter_map(|name| {
                    let value = own.value(thread, &name)?;
                    Some((to_hex(name.as_bytes()), to_hex(value).into()))
                });
                let values: Entry = values.collect();
                json!({"told": "locked", "token": stamp(token.0), "values": values})
            }
            Answer::Refused(why) => refused(why),
            Answer::Committed(version) => {
                json!({"told": "committed", "version": stamp(version.0)})
            }
            Answer::Destroyed => json!({"told": "destroyed"}),
            Answer::Renamed(hold) => {
                let to = to_hex(hold.session.as_bytes());
                json!({"told": "renamed", "to": to, "token": stamp(hold.token.0)})
            }
            Answer::Poisoned(why) => lost(*why),
        }
    }
}

fn refused(why: &Refusal) -> Value {
    let kind = match why {
        Refusal::WouldBlock => "would-block",
        Refusal::Cancelled => "cancelled",
        Refusal::Deadline => "deadline",
        Refusal::Deadlock { .. } => "deadlock",
        Refusal::Limit(_) => "limit",
        Refusal::Gone => "gone",
        Refusal::AlreadyLocked => "already-locked",
        Refusal::NotHeld => "not-held",
        Refusal::IdTaken => "id-taken",
        Refusal::ShuttingDown => "shutting-down",
        Refusal::Absent => "absent",
        Refusal::Unsupported => "older-store",
    };
    json!({"told": "refused", "why": kind})
}

fn lost(why: Poison) -> Value {
    let kind = match why {
        Poison::LeaseLost => "lease-lost",
        Poison::Revoked => "revoked",
        Poison::Late => "late",
        Poison::Superseded => "superseded",
    };
    json!({"told": "lost", "why": kind})
}
