//! The machine of the process, the commands that wait for it, and the locks that it has granted.

use super::commands::{Command, done, hex, lost, refuse, refused, token, version};
use super::connection::Connection;
use crate::mutant::Mutant;
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tenure_protocol::config::Settings;
use tenure_protocol::message::WaitMode;
use tenure_protocol::process::{Answer, Call, Connection as State, Input, Names, Output};
use tenure_protocol::{
    Incarnation, Link, ProcessId, ProcessMachine, ProcessSettings, SessionId, ThreadId, Time,
};
use tenure_wire::{FrameLimits, FromProcess};

/// The time that a lock call waits if the command of the suite sets no limit.
const WAIT_MS: u64 = 60_000;

pub(super) struct Desk {
    mutant: Mutant,
    origin: Instant,
    own: Option<Own>,
    locks: BTreeMap<u64, Lock>,
    pending: Vec<Pending>,
    out: Vec<Output>,
    /// The command to answer when the lock has ended.
    leaving: Option<u64>,
}

/// The state that exists after the connect command.
struct Own {
    machine: ProcessMachine<Mutant>,
    name: ProcessId,
    address: String,
    /// The connect command to answer at the first Welcome.
    connecting: Option<u64>,
    /// The effective settings, for the answer to the connect command.
    told: serde_json::Value,
    limits: FrameLimits,
}

#[derive(Clone)]
struct Lock {
    thread: ThreadId,
    session: SessionId,
    names: Names,
}

/// A command that is answered later.
struct Pending {
    id: u64,
    lock: u64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Lock,
    Commit,
    Ending,
}

/// Returns a number that rises with every start.
fn started() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl Desk {
    pub(super) fn new(mutant: Mutant) -> Self {
        Self {
            mutant,
            origin: Instant::now(),
            own: None,
            locks: BTreeMap::new(),
            pending: Vec::new(),
            out: Vec::new(),
            leaving: None,
        }
    }

    fn now(&self) -> Time {
        // Avoid time zero, at which no deadline of a machine may lie.
        Time(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX) + 1)
    }

    pub(super) fn address(&self) -> &str {
        self.own.as_ref().map_or("", |own| &own.address)
    }

    pub(super) fn limits(&self) -> FrameLimits {
        let own = self.own.as_ref();
        own.map_or_else(FrameLimits::default, |own| own.limits.clone())
    }

    pub(super) fn wants_connection(&self) -> bool {
        let own = self.own.as_ref();
        own.is_some_and(|own| own.machine.connection() == State::Down && !own.machine.has_left())
    }

    pub(super) fn link(&self) -> Link {
        match self.own.as_ref().map(|own| own.machine.connection()) {
            Some(State::Greeting(link) | State::Up(link)) => link,
            _ => Link {
                incarnation: Incarnation(0),
                number: 0,
            },
        }
    }

    pub(super) fn until_next(&self) -> Duration {
        let next = self
            .own
            .as_ref()
            .and_then(|own| own.machine.next_deadline());
        next.map_or(Duration::from_secs(3600), |due| {
            Duration::from_millis(due.since(self.now()))
        })
    }

    pub(super) fn tick(&mut self) {
        let now = self.now();
        let Some(own) = &self.own else { return };
        let mut due: Vec<_> = own
            .machine
            .timers()
            .filter(|(due, _)| *due <= now)
            .collect();
        due.sort();
        for (_, timer) in due {
            self.step(Input::Timer(timer));
        }
    }

    pub(super) fn step(&mut self, input: Input) {
        let now = self.now();
        if let Some(own) = &mut self.own {
            own.machine.step(now, input, &mut self.out);
        }
    }

    /// Carries out the outputs of the machine.
    pub(super) async fn settle(&mut self, connection: &mut Connection) {
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Send { link, message } => {
                    if !connection.may_say(link) {
                        // The machine has given up this connection, and sends its next hello on a new one.
                        if connection.is_open() {
                            *connection = Connection::None;
                            self.step(Input::Disconnected);
                        }
                    } else if let Some(own) = &self.own {
                        let item = FromProcess::new(&own.name, link, message);
                        connection.say(&item).await;
                    }
                }
                Output::Disconnect { .. } => *connection = Connection::None,
                Output::Answer {
                    thread,
                    session,
                    answer,
                } => self.answer(thread, &session, answer),
            }
        }
        let Some(own) = &mut self.own else { return };
        if matches!(own.machine.connection(), State::Up(_))
            && let Some(id) = own.connecting.take()
        {
            done(id, json!({ "settings": own.told }));
        }
        if own.machine.has_left()
            && let Some(id) = self.leaving.take()
        {
            done(id, json!({}));
        }
    }

    pub(super) fn take(&mut self, command: Command) {
        let id = command.id.unwrap_or(0);
        match (command.what.as_str(), &self.own) {
            ("about", _) => {
                let features = [
                    "all-attributes",
                    "cancel",
                    "destroy",
                    "recalled",
                    "release",
                    "rename",
                    "try",
                ];
                let library = format!("mutant: {}", self.mutant);
                done(
                    id,
                    json!({"adapter": 1, "library": library, "features": features}),
                );
            }
            ("connect", None) => self.connect(id, &command),
            (_, None) => refuse(id, "not-connected", "connect first"),
            ("lock", _) => self.lock(id, &command),
            ("cancel", _) => self.cancel(id, &command),
            ("release", _) => {
                if let Some(session) = command.session("session") {
                    self.step(Input::Release(session));
                }
                done(id, json!({}));
            }
            ("shutdown", _) => {
                self.leaving = Some(id);
                self.step(Input::Shutdown);
            }
            _ => self.with_lock(id, &command),
        }
    }

    fn connect(&mut self, id: u64, command: &Command) {
        let mut settings = ProcessSettings::default();
        let limits = &mut settings.limits;
        let set = |key: &str, number: &mut u64| {
            if let Some(told) = command.setting(key) {
                *number = told;
            }
        };
        set("margin_ms", &mut settings.margin_ms);
        set("keep_alive_ms", &mut settings.keep_alive_ms);
        set("resend_ms", &mut settings.resend_ms);
        set("recall_margin_ms", &mut settings.recall_margin_ms);
        let known = [
            ("attributes_max", &mut limits.attributes_max),
            ("attribute_bytes_max", &mut limits.attribute_bytes_max),
            ("session_bytes_max", &mut limits.session_bytes_max),
            ("grants_max", &mut limits.grants_max),
            ("threads_max", &mut limits.threads_max),
        ];
        for (key, number) in known {
            if let Some(told) = command.setting(key) {
                *number = usize::try_from(told).unwrap_or(usize::MAX);
            }
        }
        let name = command.text("process").unwrap_or("p").to_owned();
        let Ok(name) = ProcessId::new(name) else {
            return refuse(id, "name", "a name has 1 to 128 bytes");
        };
        let incarnation = Incarnation(command.number("incarnation").unwrap_or_else(started));
        let limits = &settings.limits;
        let told = json!({
            "margin_ms": settings.margin_ms,
            "keep_alive_ms": settings.keep_alive_ms,
            "resend_ms": settings.resend_ms,
            "recall_margin_ms": settings.recall_margin_ms,
            "attributes_max": limits.attributes_max,
            "attribute_bytes_max": limits.attribute_bytes_max,
            "session_bytes_max": limits.session_bytes_max,
            "grants_max": limits.grants_max,
            "threads_max": limits.threads_max,
        });
        self.own = Some(Own {
            limits: FrameLimits::generous(limits),
            told,
            machine: ProcessMachine::with_hook(self.mutant, Settings::new(settings), incarnation),
            name,
            address: command.text("store").unwrap_or_default().to_owned(),
            connecting: Some(id),
        });
    }

    fn lock(&mut self, id: u64, command: &Command) {
        let (Some(session), Some(names)) = (command.session("session"), command.names()) else {
            return refuse(id, "name", "a name has 1 to 128 bytes");
        };
        let thread = ThreadId(command.number("thread").unwrap_or(1));
        let wait_mode = if command.is("try") {
            WaitMode::Try
        } else {
            WaitMode::Wait
        };
        let until = self
            .now()
            .after(command.number("wait_ms").unwrap_or(WAIT_MS));
        let lock = Lock {
            thread,
            session,
            names: names.clone(),
        };
        self.locks.insert(id, lock.clone());
        self.pending.push(Pending {
            id,
            lock: id,
            kind: Kind::Lock,
        });
        self.call(
            &lock,
            Call::Lock {
                names,
                wait_mode,
                existing: command.is("existing"),
                until,
            },
        );
    }

    fn cancel(&mut self, id: u64, command: &Command) {
        let meant = command.number("command");
        let place = self.pending.iter().position(|own| Some(own.id) == meant);
        if let Some(place) = place {
            let pending = self.pending.remove(place);
            refuse(pending.id, "cancelled", "cancelled by the suite");
            if pending.kind == Kind::Lock
                && let Some(lock) = self.locks.remove(&pending.lock)
            {
                self.call(&lock, Call::Abandon);
            }
        }
        done(id, json!({}));
    }

    /// Calls the machine. Its answers are carried out with its other outputs.
    fn call(&mut self, lock: &Lock, call: Call) {
        let now = self.now();
        if let Some(own) = &mut self.own {
            own.machine
                .call(now, lock.thread, &lock.session, &call, &mut self.out);
        }
    }

    /// Calls the machine and returns its immediate answer, which is a refusal.
    fn call_now(&mut self, lock: &Lock, call: Call) -> Option<Answer> {
        let before = self.out.len();
        self.call(lock, call);
        let is_own = |output: &Output| match output {
            Output::Answer { thread, answer, .. } => {
                *thread == lock.thread && matches!(answer, Answer::Refused(_))
            }
            _ => false,
        };
        let place = self.out[before..].iter().position(is_own)?;
        match self.out.remove(before + place) {
            Output::Answer { answer, .. } => Some(answer),
            _ => None,
        }
    }

    fn with_lock(&mut self, id: u64, command: &Command) {
        let number = command.number("lock").unwrap_or(0);
        let is_held = !self.pending.iter().any(|own| own.id == number);
        let Some(lock) = self.locks.get(&number).filter(|_| is_held).cloned() else {
            return refuse(id, "not-held", "there is no such lock");
        };
        let session = self
            .own
            .as_ref()
            .and_then(|own| own.machine.session(&lock.session));
        let poison = session.and_then(|session| session.poison_of(lock.thread));
        match command.what.as_str() {
            "read" => {
                let name = command.attribute();
                let value = name.and_then(|name| session?.value(lock.thread, &name));
                done(id, json!({ "value": value.map(|value| hex(value)) }));
            }
            "check" => match poison {
                Some(why) => lost(id, why),
                None => done(id, json!({})),
            },
            "recalled" => {
                let grant = session.and_then(|session| session.grant());
                let recalled = grant.is_none_or(|grant| grant.recall.is_some());
                done(id, json!({ "recalled": recalled }));
            }
            "write" => {
                let Some(name) = command.attribute() else {
                    return refuse(id, "name", "a name has 1 to 128 bytes");
                };
                let value = command.bytes("value");
                let told = self.call_now(&lock, Call::Write { name, value });
                self.tell(id, told, poison);
            }
            "unlock" | "discard" => {
                self.locks.remove(&number);
                let keeps = command.what == "unlock";
                let names = lock.names.clone();
                let call = if keeps {
                    Call::Unlock(names)
                } else {
                    Call::Discard(names)
                };
                let told = self.call_now(&lock, call);
                self.tell(id, told, poison.filter(|_| keeps));
            }
            "commit" => self.begin(id, number, &lock, (Kind::Commit, Call::Commit)),
            "destroy" => self.begin(id, number, &lock, (Kind::Ending, Call::Destroy)),
            "rename" => match command.session("to") {
                Some(to) => self.begin(id, number, &lock, (Kind::Ending, Call::Rename(to))),
                None => refuse(id, "name", "a name has 1 to 128 bytes"),
            },
            _ => refuse(id, "unsupported", "this adapter does not know the command"),
        }
    }

    fn tell(
        &self,
        id: u64,
        told: Option<Answer>,
        poison: Option<tenure_protocol::process::Poison>,
    ) {
        match (poison, told) {
            (Some(why), _) => lost(id, why),
            (None, Some(Answer::Refused(why))) => refused(id, &why),
            (None, _) => done(id, json!({})),
        }
    }

    fn begin(&mut self, id: u64, number: u64, lock: &Lock, (kind, call): (Kind, Call)) {
        self.pending.push(Pending {
            id,
            lock: number,
            kind,
        });
        if let Some(Answer::Refused(why)) = self.call_now(lock, call) {
            self.pending.retain(|own| own.id != id);
            refused(id, &why);
        }
    }

    /// Sends this answer for the command that waits for it.
    fn answer(&mut self, thread: ThreadId, session: &SessionId, answer: Answer) {
        let kind = match &answer {
            Answer::Locked(_) => Some(Kind::Lock),
            Answer::Committed(_) => Some(Kind::Commit),
            Answer::Destroyed | Answer::Renamed(_) => Some(Kind::Ending),
            Answer::Refused(tenure_protocol::message::Refusal::IdTaken) => Some(Kind::Ending),
            Answer::Refused(_) => Some(Kind::Lock),
            Answer::Poisoned(_) => None,
        };
        let mut told = Vec::new();
        let locks = &self.locks;
        self.pending.retain(|own| {
            let is_own = locks
                .get(&own.lock)
                .is_some_and(|lock| lock.thread == thread && lock.session == *session);
            let is_meant = is_own
                && kind.is_none_or(|kind| kind == own.kind)
                && (kind.is_none() || told.is_empty());
            if is_meant {
                told.push((own.id, own.lock, own.kind));
            }
            !is_meant
        });
        for (id, number, kind) in told {
            self.answer_one(id, number, kind, &answer);
        }
    }

    fn answer_one(&mut self, id: u64, number: u64, kind: Kind, answer: &Answer) {
        match answer {
            Answer::Locked(own) => {
                let values = self.values(number);
                done(id, json!({ "token": token(*own), "values": values }));
            }
            Answer::Committed(own) => done(id, json!({ "version": version(*own) })),
            Answer::Destroyed => {
                self.locks.remove(&number);
                done(id, json!({}));
            }
            Answer::Renamed(to) => {
                if let Some(lock) = self.locks.get_mut(&number) {
                    lock.session = to.session.clone();
                }
                done(id, json!({ "token": token(to.token) }));
            }
            Answer::Refused(why) => {
                if kind == Kind::Lock {
                    self.locks.remove(&number);
                }
                refused(id, why);
            }
            Answer::Poisoned(why) => lost(id, *why),
        }
    }

    /// Returns the values of the locked attributes that exist.
    fn values(&self, number: u64) -> Map<String, serde_json::Value> {
        let lock = &self.locks[&number];
        let session = self
            .own
            .as_ref()
            .and_then(|own| own.machine.session(&lock.session));
        let slots = session.map(|session| session.slots()).unwrap_or_default();
        let is_own = |name| match &lock.names {
            Names::All => true,
            Names::One(own) => own == name,
            Names::Many(own) => own.contains(name),
        };
        let own = slots.iter().filter(|slot| is_own(&slot.name));
        let values = own.filter_map(|slot| {
            let value = session?.value(lock.thread, &slot.name)?;
            Some((hex(slot.name.as_bytes()), hex(value).into()))
        });
        values.collect()
    }
}
