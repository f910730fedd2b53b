//! The text of a state, fact by fact, and the differences between two states.
//!
//! A fact has a place (`store / s1`), a subject (`holder`) and a value (`p1 #2.1`). Two states differ where their facts
//! differ. Facts that always hold, or follow from other facts, are left out.

use super::words::{self, changes, list, shown};
use crate::system::app::Do;
use crate::system::{
    ATTRIBUTES, InUniverse, PROCESSES, ProcessSide, SESSIONS, System, Wire, thread_id,
};
use crate::universe::Universe;
use std::collections::BTreeMap;
use std::fmt;
use tenure_protocol::attributes::{Record, Value};
use tenure_protocol::message::WaitMode;
use tenure_protocol::process::{
    Connection, Ending, Grant, Phase, Session as Client, ThreadClaim, Wanted,
};
use tenure_protocol::store::Place;
use tenure_protocol::{
    AttributeName, Hook, ProcessId, ProcessMachine, StoreMachine, ToProcess, ToStore,
};

/// One fact of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The place: `store / s1`, `p2`, `p1.t2`, `wire of p1`.
    pub place: String,
    /// The subject: `holder`; empty when the place says it.
    pub what: &'static str,
    /// The value.
    pub value: String,
}

/// Returns the facts of a state. No two facts have both the same place and the same subject.
#[must_use]
pub fn facts<H: Hook>(state: &System<H>) -> Vec<Fact> {
    let InUniverse(universe) = state.store.universe;
    let mut facts = Facts::default();
    facts.store(&state.store.machine);
    if universe.has_disk() {
        facts.disk(state);
    }
    for (index, side) in state.each_process() {
        facts.process(universe, index, side);
    }
    for (index, wire) in state.each_wire() {
        facts.wire(index, wire);
    }
    facts.list
}

/// Returns the differences between two states, a line for each: `store / s1: holder p1 #2.1 -> p2 #2.2`.
///
/// To see the changes of a step, compare with [`raw_successor`](crate::system::Model::raw_successor): a canonical
/// successor gives other numbers to unchanged facts.
#[must_use]
pub fn differences<H: Hook>(before: &System<H>, after: &System<H>) -> Vec<String> {
    let (old, new) = (facts(before), facts(after));
    let by_key = |facts: &[Fact]| -> BTreeMap<(String, &'static str), String> {
        facts
            .iter()
            .map(|fact| ((fact.place.clone(), fact.what), fact.value.clone()))
            .collect()
    };
    let (values, others) = (by_key(&old), by_key(&new));
    // The lost facts of a process that has died need no lines.
    let is_dead = |name: &&ProcessId| {
        others
            .get(&(name.to_string(), ""))
            .is_some_and(|is| is == DEAD)
    };
    let dead: Vec<String> = PROCESSES
        .iter()
        .filter(is_dead)
        .map(ToString::to_string)
        .collect();
    let is_gone = |fact: &&Fact| {
        let is_said = dead
            .iter()
            .any(|name| fact.place.starts_with(name.as_str()));
        !is_said && !others.contains_key(&(fact.place.clone(), fact.what))
    };
    let mut changed: Vec<&Fact> = new.iter().chain(old.iter().filter(is_gone)).collect();
    let place = |fact: &Fact| {
        new.iter()
            .position(|other| other.place == fact.place)
            .unwrap_or(usize::MAX)
    };
    changed.sort_by_key(|fact| place(fact));
    let line = |fact: &Fact| {
        let key = (fact.place.clone(), fact.what);
        let (was, is) = (values.get(&key), others.get(&key));
        let said = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
        let space = if fact.what.is_empty() { "" } else { " " };
        (was != is).then(|| {
            format!(
                "{}: {}{space}{} -> {}",
                fact.place,
                fact.what,
                said(was),
                said(is)
            )
        })
    };
    changed.into_iter().filter_map(line).collect()
}

/// Writes each place with its facts below it.
impl<H: Hook> fmt::Debug for System<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for Fact { place, what, value } in facts(self) {
            if last.as_ref() != Some(&place) {
                let space = if last.is_none() { "" } else { "\n" };
                write!(f, "{space}{place}")?;
            }
            if what.is_empty() {
                write!(f, ": {value}")?;
            } else {
                write!(f, "\n    {what}: {value}")?;
            }
            last = Some(place);
        }
        match self.violation {
            Some(violation) => write!(f, "\nviolation in the last step: {violation:?}"),
            None => Ok(()),
        }
    }
}

const DEAD: &str = "dead";

#[derive(Default)]
struct Facts {
    list: Vec<Fact>,
}

impl Facts {
    fn add(&mut self, place: &str, what: &'static str, value: impl Into<String>) {
        self.list.push(Fact {
            place: place.to_owned(),
            what,
            value: value.into(),
        });
    }

    fn add_some(&mut self, place: &str, what: &'static str, value: Option<String>) {
        if let Some(value) = value {
            self.add(place, what, value);
        }
    }

    fn add_list(
        &mut self,
        place: &str,
        what: &'static str,
        items: impl IntoIterator<Item = String>,
    ) {
        let items: Vec<String> = items.into_iter().collect();
        self.add_some(place, what, (!items.is_empty()).then(|| items.join(", ")));
    }

    fn store<H: Hook>(&mut self, store: &StoreMachine<H>) {
        for (id, session) in store.sessions() {
            let place = format!("store / {id}");
            self.record(&place, session.record());
            let holder = session
                .record()
                .head
                .holder
                .iter()
                .map(|holder| &holder.process);
            let inside = session.lock().holders().iter().map(|own| &own.process);
            if !holder.eq(inside.clone()) {
                self.add(&place, "lock held by", list(&inside.collect::<Vec<_>>()));
            }
            self.add_list(&place, "queue", session.lock().waiters().map(waiter));
            self.add_some(
                &place,
                "recall",
                session
                    .recall()
                    .map(|recall| format!("{:?}", recall.reason)),
            );
            let busy = session.busy().map(|busy| match busy.blocked_on.is_empty() {
                true => format!("{} inside", busy.inside),
                false => format!(
                    "{} inside, blocked on {}",
                    busy.inside,
                    list(&busy.blocked_on)
                ),
            });
            self.add_some(&place, "busy", busy);
        }
        for (name, peer) in store.peers() {
            let link = peer.link().map_or_else(
                || "no connection".to_owned(),
                |link| format!("connection {link}"),
            );
            let lease = format!("of incarnation {}, {link}", peer.incarnation());
            self.add(&format!("store / {name}"), "lease", lease);
        }
    }

    fn record(&mut self, place: &str, record: &Record) {
        let holder = record
            .head
            .holder
            .as_ref()
            .map(|holder| match holder.incarnation.0 {
                1 => format!("{} #{}", holder.process, holder.token),
                later => format!("{} #{} (incarnation {later})", holder.process, holder.token),
            });
        self.add_some(place, "holder", holder);
        let values = record.attributes().iter().filter(|own| own.value.is_some());
        let values: Vec<String> = values
            .map(|own| value(&own.name, own.value.as_ref()))
            .collect();
        let state = || format!("v{} {{{}}}", record.head.version, values.join(", "));
        self.add_some(place, "state", record.exists().then(state));
    }

    fn disk<H: Hook>(&mut self, state: &System<H>) {
        for (id, record) in state.store.durable.iter() {
            self.record(&format!("disk / {id}"), record);
        }
        let words = words::Words {
            names_sessions: true,
        };
        let numbered = (1..).zip(&state.store.updates);
        let held = |number| {
            state
                .store
                .barrier
                .held()
                .filter(move |(own, _)| *own == number)
        };
        let waiting = numbered.flat_map(|(number, update)| {
            let write = format!("write ({})", words.update(update));
            let said = held(number).map(|(_, (process, _, message))| {
                format!("say {} to {process}", down_name(message))
            });
            [write].into_iter().chain(said)
        });
        self.add_list("disk", "still to do", waiting);
    }

    fn wire(&mut self, index: usize, wire: &Wire) {
        let place = format!("wire of {}", PROCESSES[index]);
        self.add(&place, "", if wire.is_open { "open" } else { "cut" });
        let up = wire
            .up
            .iter()
            .map(|(_, message)| message.as_ref().map_or("(end)", up_name).to_owned());
        self.add_list(&place, "to the store", up);
        self.add_list(
            &place,
            "to the process",
            wire.down
                .iter()
                .map(|(_, message)| down_name(message).to_owned()),
        );
    }

    fn process<H: Hook>(&mut self, universe: &Universe, index: usize, side: &ProcessSide<H>) {
        let place = PROCESSES[index].to_string();
        let Some(machine) = &side.machine else {
            return self.add(&place, "", DEAD);
        };
        self.add(&place, "", format!("incarnation {}", machine.incarnation()));
        let connection = match machine.connection() {
            Connection::Down => "none".to_owned(),
            Connection::Greeting(link) => format!("{link}, has said hello"),
            Connection::Up(link) => link.to_string(),
        };
        self.add(&place, "connection", connection);
        let lease = machine.lease().map(|lease| match universe.clocks {
            Some(_) => format!("for {} more", lease.since(universe.now().1)),
            None => "yes".to_owned(),
        });
        self.add_some(&place, "lease", lease);
        if machine.has_left() || machine.is_closing() {
            self.add(
                &place,
                "shutdown",
                if machine.has_left() {
                    "done"
                } else {
                    "under way"
                },
            );
        }
        if side.skew > 0 {
            self.add(&place, "clock ahead by", side.skew.to_string());
        }
        for (id, client) in machine.sessions() {
            let place = format!("{place} / {id}");
            self.add(&place, "", phase(client.phase()));
            client
                .grant()
                .into_iter()
                .for_each(|grant| self.grant(&place, grant));
            self.copy(&place, client);
            self.claims(&place, client);
        }
        for (thread, program) in universe.programs[index].iter().enumerate() {
            let value = doing(side, thread, program, machine);
            self.add(&format!("{place}.t{}", thread + 1), "", value);
        }
    }

    fn grant(&mut self, place: &str, grant: &Grant) {
        self.add_some(
            place,
            "recall",
            grant.recall.map(|(info, _)| format!("{:?}", info.reason)),
        );
        self.add_some(place, "gate", grant.is_closed.then(|| "closed".to_owned()));
        self.add_some(
            place,
            "to be given back",
            grant.give_back.then(|| "when idle".to_owned()),
        );
        let ending = grant.ending.as_ref().map(|(thread, ending)| match ending {
            Ending::Destroy => format!("t{thread} destroys it"),
            Ending::Rename(to) => format!("t{thread} renames it to {to}"),
        });
        self.add_some(place, "ending", ending);
    }

    /// Adds the client state, and the changes that have not reached the store.
    fn copy(&mut self, place: &str, client: &Client) {
        let slots = || client.slots().iter();
        let kept = slots()
            .filter(|slot| slot.value.is_some())
            .map(|slot| value(&slot.name, slot.value.as_ref()));
        let kept: Vec<String> = kept.collect();
        let copy = client
            .version()
            .map(|version| format!("v{version} {{{}}}", kept.join(", ")));
        self.add_some(place, "copy", copy);
        let changed = slots()
            .filter(|slot| slot.is_dirty)
            .map(|slot| slot.name.to_string());
        self.add_list(place, "changed since", changed);
        let written = slots()
            .zip(0..)
            .filter_map(|(slot, place)| Some(value(&slot.name, client.written(place)?.as_ref())));
        self.add_list(place, "written inside", written);
        let commit = client
            .commit()
            .map(|commit| format!("{} onto v{}", changes(&commit.delta), commit.base));
        self.add_some(place, "commit under way", commit);
        self.add_some(
            place,
            "early recall",
            client
                .early_recall()
                .map(|(token, _)| format!("of #{token}")),
        );
        self.add_some(
            place,
            "returning",
            client.returning().map(|token| format!("#{token}, unused")),
        );
    }

    fn claims(&mut self, place: &str, client: &Client) {
        let claim =
            |claim: &ThreadClaim| format!("t{} {}", claim.thread, wanted(client, &claim.wanted));
        self.add_list(place, "inside", client.lock().holders().iter().map(claim));
        self.add_list(place, "queue", client.lock().waiters().map(claim));
        let poisoned = client
            .poisoned()
            .iter()
            .map(|(thread, why)| format!("t{thread} ({})", words::poison(*why)));
        self.add_list(place, "poisoned", poisoned);
    }
}

fn value(name: &AttributeName, value: Option<&Value>) -> String {
    format!("{name}={}", shown(value))
}

fn waiter(place: &Place) -> String {
    let wait_mode = if place.wait_mode == WaitMode::Try {
        ", only tries"
    } else {
        ""
    };
    let existing = if place.existing {
        ", only if it exists"
    } else {
        ""
    };
    format!(
        "{} (r{}, ticket {}{wait_mode}{existing})",
        place.process, place.request, place.ticket
    )
}

fn phase(phase: &Phase) -> String {
    match phase {
        Phase::Absent => "Absent".to_owned(),
        Phase::Wanted {
            request,
            ticket,
            wait_mode,
            existing,
        } => {
            let ticket = ticket.map_or_else(String::new, |ticket| format!(", ticket {ticket}"));
            let wait_mode = if *wait_mode == WaitMode::Try {
                ", only tries"
            } else {
                ""
            };
            let existing = if *existing { ", only if it exists" } else { "" };
            format!("Wanted r{request}{ticket}{wait_mode}{existing}")
        }
        Phase::Cancelling { request } => format!("Cancelling r{request}"),
        Phase::Held(grant) => format!("Held #{}", grant.token),
        Phase::Releasing {
            token,
            delta,
            requeue,
            ..
        } => {
            let requeue =
                requeue.map_or_else(String::new, |request| format!(", asks again as r{request}"));
            format!("Releasing #{token} {}{requeue}", changes(delta))
        }
    }
}

fn wanted(client: &Client, wanted: &Wanted) -> String {
    let slots = client.slots().iter().enumerate();
    let own = slots
        .filter(|(slot, _)| wanted.has(*slot as u32))
        .map(|(_, slot)| slot.name.to_string());
    match wanted {
        Wanted::All => "all".to_owned(),
        Wanted::One(_) | Wanted::Many(_) => own.collect::<Vec<_>>().join("+"),
    }
}

/// Returns the activity of a thread: `inside with a of s1, waits for b of s1`.
pub(super) fn doing<H: Hook>(
    side: &ProcessSide<H>,
    thread: usize,
    program: &[Do],
    machine: &ProcessMachine<H>,
) -> String {
    let own = &side.threads[thread];
    let held = own
        .locks(program)
        .into_iter()
        .filter_map(|place| program[place].locks());
    let held: Vec<String> = held
        .map(|(session, names, _)| attributes(session, names))
        .collect();
    let mut parts = Vec::new();
    if !held.is_empty() {
        parts.push(format!("inside with {}", held.join(" and ")));
    }
    if own.is_waiting {
        parts.push(format!(
            "waits for {}",
            awaited(program[usize::from(own.at)])
        ));
    }
    let id = thread_id(thread);
    let is_own = |client: &Client| {
        client
            .poisoned()
            .iter()
            .any(|(poisoned, _)| *poisoned == id)
    };
    if machine.sessions().any(|(_, client)| is_own(client)) {
        parts.push("poisoned".to_owned());
    } else if own.is_leaving {
        parts.push("leaving".to_owned());
    }
    if parts.is_empty() {
        "idle".to_owned()
    } else {
        parts.join(", ")
    }
}

fn attributes(session: u8, attributes: &[u8]) -> String {
    let names: Vec<String> = attributes
        .iter()
        .map(|at| ATTRIBUTES[usize::from(*at)].to_string())
        .collect();
    let names = if names.is_empty() {
        "all".to_owned()
    } else {
        names.join("+")
    };
    format!("{names} of {}", SESSIONS[usize::from(session)])
}

/// Returns the text of the request that a thread waits for.
fn awaited(step: Do) -> String {
    let session = |session: u8| &SESSIONS[usize::from(session)];
    match step {
        Do::Lock(session, names) | Do::Try(session, names) | Do::LockExisting(session, names) => {
            attributes(session, names)
        }
        Do::Commit(own) => format!("its commit of {}", session(own)),
        Do::Destroy(own) => format!("the end of {}", session(own)),
        Do::Rename(own, to) => format!("{} to become {}", session(own), session(to)),
        Do::Write(..) | Do::WriteAndUnlock(_) | Do::Unlock | Do::Discard => "nothing".to_owned(),
    }
}

fn up_name(message: &ToStore) -> &'static str {
    match message {
        ToStore::Hello(_) => "Hello",
        ToStore::KeepAlive { .. } => "KeepAlive",
        ToStore::Acquire(_) => "Acquire",
        ToStore::Cancel { .. } => "Cancel",
        ToStore::Commit(_) => "Commit",
        ToStore::Release(_) => "Release",
        ToStore::Busy { .. } => "Busy",
        ToStore::Destroy { .. } => "Destroy",
        ToStore::Rename { .. } => "Rename",
        ToStore::Goodbye => "Goodbye",
    }
}

fn down_name(message: &ToProcess) -> &'static str {
    match message {
        ToProcess::Welcome { .. } => "Welcome",
        ToProcess::Alive { .. } => "Alive",
        ToProcess::Granted(_) => "Granted",
        ToProcess::Queued { .. } => "Queued",
        ToProcess::Recall { .. } => "Recall",
        ToProcess::Committed { .. } => "Committed",
        ToProcess::Released { .. } => "Released",
        ToProcess::Revoked { .. } => "Revoked",
        ToProcess::Refused { .. } => "Refused",
        ToProcess::NotRenamed { .. } => "NotRenamed",
        ToProcess::Gone { .. } => "Gone",
        ToProcess::LeaseEnded => "LeaseEnded",
        ToProcess::Superseded => "Superseded",
        ToProcess::Full => "Full",
    }
}
