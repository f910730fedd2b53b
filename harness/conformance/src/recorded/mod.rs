//! Recorded runs: checks whether the messages on the wire, and the answers to threads, are consistent with the
//! protocol.
//!
//! A trace contains observations of a store and its processes: at the store, at the processes, or between them. The
//! store's machine judges the `store`. The process's machine judges each `process` whose threads are in the trace. The
//! judge only reads the trace, and searches for a sequence of invisible events that explains it (`search`). The result
//! names the first entry that no machine explains, the violated rule, and the allowed messages.
//!
//! Traces come from untrusted sources. A malformed trace is reported as [`Unreadable`], and no content makes the judge
//! fail.
//!
//! Deliberately absent are rules of the protocol, and the limits of a store, which a trace does not state.

mod entry;
mod head;
mod played;
mod process;
mod process_hypothesis;
mod process_said;
mod rule_process;
mod rule_store;
mod search;
mod store;
mod store_hypothesis;
mod talk;

pub use entry::{BYTES_MAX, Unreadable};
pub use head::{Breaks, VERSION};

use crate::Report;
use crate::case::Side;
use entry::{Entry, Place, What};
use head::Head;
use process::ProcessSide;
use process_hypothesis::{Under, Way};
use search::Breadth;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use store::StoreSide;
use talk::{Name, Said, Talk};
use tenure_protocol::process::Input;
use tenure_protocol::{Time, ToStore};

/// The first wrong entry of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The line of the file, counted from one, or the number of the entry for a trace in a report.
    pub line: usize,
    /// The violated rule.
    pub rule: &'static str,
    /// The allowed messages.
    pub allowed: String,
    /// The observed message.
    pub seen: String,
}

impl Finding {
    fn new(
        line: usize,
        rule: &'static str,
        allowed: impl Into<String>,
        seen: impl Into<String>,
    ) -> Self {
        Self {
            line,
            rule,
            allowed: allowed.into(),
            seen: seen.into(),
        }
    }
}

/// The judgement of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The name of the trace, if it has one.
    pub name: Option<String>,
    /// The number of entries.
    pub entries: usize,
    /// Whether the store was judged.
    pub store: bool,
    /// The starts of processes that were judged.
    pub processes: Vec<String>,
    /// The first wrong entry, if there is one.
    pub finding: Option<Finding>,
    /// The deliberate error that the trace declares, if it is a test vector with one.
    #[serde(skip)]
    pub breaks: Option<Breaks>,
}

/// Judges a file: a trace, or the report of a run, each of whose cases is judged separately.
///
/// # Errors
/// [`Unreadable`] if the file is neither.
pub fn check(text: &str) -> Result<Vec<Judgement>, Unreadable> {
    if text.len() > BYTES_MAX {
        return Err(Unreadable::new(0, format!("more than {BYTES_MAX} bytes")));
    }
    if let Ok(report) = serde_json::from_str::<Report>(text) {
        return check_report(&report);
    }
    let (head, entries) = entry::read(text)?;
    Ok(vec![judge(&head, &entries)])
}

/// Judges the trace of each case in a report: the target store, or the target process with its threads.
///
/// # Errors
/// [`Unreadable`] if the trace of a case is malformed.
pub fn check_report(report: &Report) -> Result<Vec<Judgement>, Unreadable> {
    let cases = report.cases.iter();
    let judged = cases.filter(|case| !case.trace.is_empty()).map(|case| {
        let (head, entries) = played::read(report, case)?;
        Ok(judge(&head, &entries))
    });
    judged.collect()
}

fn judge(head: &Head, entries: &[Entry]) -> Judgement {
    let looked_at = |breadth| {
        let mut judge = Judge::new(head, entries, breadth);
        let finding = judge.all(entries).err();
        (judge, finding)
    };
    let [quick, wider @ ..] = Breadth::ALL;
    let (mut judge, mut finding) = looked_at(quick);
    for breadth in wider {
        if finding.is_some() {
            (judge, finding) = looked_at(breadth);
        }
    }
    Judgement {
        name: head.name.clone(),
        entries: entries.len(),
        store: judge.has_store,
        processes: judge.processes.keys().cloned().collect(),
        finding,
        breaks: head.breaks.clone(),
    }
}

struct Judge<'a> {
    head: &'a Head,
    talk: Talk,
    store: StoreSide,
    has_store: bool,
    processes: BTreeMap<String, ProcessSide>,
    /// The best places of observation per connection, for judging the store and the process.
    seen_at: BTreeSet<(String, Place)>,
    /// The connections of the only judged process that have begun and are not known to have ended.
    connections: Vec<String>,
    breadth: Breadth,
}

impl<'a> Judge<'a> {
    fn new(head: &'a Head, entries: &[Entry], breadth: Breadth) -> Self {
        let seen = entries.iter().map(|own| (own.who.clone(), own.at));
        Self {
            head,
            talk: Talk::new(head.judged),
            store: StoreSide::new(head.slack(), head.store.time_to_live_ms, breadth),
            breadth,
            has_store: false,
            processes: BTreeMap::new(),
            seen_at: seen.collect(),
            connections: Vec::new(),
        }
    }

    fn all(&mut self, entries: &[Entry]) -> Result<(), Finding> {
        for entry in entries {
            self.store.turns(entry.line, entry.at_ms)?;
            for own in self.processes.values_mut() {
                own.turns(entry.line, Time(entry.at_ms))?;
            }
            self.take(entry)?;
        }
        let last = entries.last().map_or(1, |entry| entry.line);
        self.store.ends(last)?;
        self.processes
            .values_mut()
            .try_for_each(|own| own.ends(last))
    }

    /// Returns whether the entry was observed at the best place to judge this side by this connection.
    fn is_best(&self, entry: &Entry, place: Place) -> bool {
        let is_seen = |at: Place| self.seen_at.contains(&(entry.who.clone(), at));
        let other = if place == Place::Store {
            Place::Process
        } else {
            Place::Store
        };
        let best = [place, Place::Between, other]
            .into_iter()
            .find(|at| is_seen(*at));
        best == Some(entry.at)
    }

    fn take(&mut self, entry: &Entry) -> Result<(), Finding> {
        match &entry.what {
            What::Bytes(way, _) => self.talks(entry, *way),
            What::CutShort => {
                self.store.is_cut_short();
                Ok(())
            }
            What::Ends(way) => {
                self.ends(entry, *way);
                Ok(())
            }
            What::Restarts => {
                self.store.restarts();
                Ok(())
            }
            What::Recalls(session) => {
                self.store.recalls(session);
                Ok(())
            }
            What::Did(thread, session, call) => {
                let under = Under::ThreadCall(*thread, session.clone(), call.clone());
                let way = if entry.in_order {
                    Way::Driver
                } else {
                    Way::Thread(*thread)
                };
                self.comes(entry, &way, &under);
                Ok(())
            }
            What::ThreadAnswer(thread, session, told) => {
                match self.processes.get_mut(entry.process()) {
                    Some(own) => own.tells(entry.line, (*thread, session), told),
                    None => Ok(()),
                }
            }
            What::Release(session) => self.drives(entry, Input::Release(session.clone())),
            What::Forget(session) => self.drives(entry, Input::Forget(session.clone())),
            What::Shutdown => self.drives(entry, Input::Shutdown),
            What::Note => Ok(()),
        }
    }

    fn drives(&mut self, entry: &Entry, input: Input) -> Result<(), Finding> {
        self.comes(entry, &Way::Driver, &Under::Input(input));
        Ok(())
    }

    /// Records a message to a process, if the process is judged.
    fn comes(&mut self, entry: &Entry, way: &Way, under: &Under) {
        if let Some(own) = self.processes.get_mut(entry.process()) {
            own.comes(entry.at, way, under);
        }
    }

    fn talks(&mut self, entry: &Entry, way: entry::Way) -> Result<(), Finding> {
        let (said, heard) = self.talk.hear(entry);
        for own in said {
            self.is_said(entry, way, own)?;
        }
        let speaker = match way {
            entry::Way::ToStore => Side::Process,
            entry::Way::ToProcess => Side::Store,
        };
        if heard.is_err() && self.head.judged.is_some_and(|own| own != speaker) {
            // The judged process gives up the connection.
            self.ends(entry, way);
            return Ok(());
        }
        heard
    }

    fn is_said(&mut self, entry: &Entry, way: entry::Way, said: Said) -> Result<(), Finding> {
        let Some(name) = self.talk.name(&entry.who).cloned() else {
            return Ok(());
        };
        let (of_store, of_process) = (
            self.head.judged != Some(Side::Process) && self.is_best(entry, Place::Store),
            self.is_best(entry, Place::Process),
        );
        match said {
            Said::ToStore(message) => {
                if of_process {
                    self.begins(entry, &name, &message);
                    self.replaces(entry, &message);
                    if let Some(own) = self.processes.get_mut(entry.process()) {
                        own.says(entry.line, &entry.who, &message)?;
                    }
                }
                if of_store {
                    self.has_store = true;
                    self.store.heard(entry.at, &name, message);
                }
            }
            Said::ToProcess(message) => {
                if of_store {
                    self.store.says(entry.line, &name, message.clone())?;
                }
                if of_process {
                    let way = Way::Connection(entry.who.clone());
                    let under = Under::Message(entry.who.clone(), message);
                    self.comes(entry, &way, &under);
                }
            }
            Said::Fault => self.ends(entry, way),
        }
        Ok(())
    }

    /// Begins to judge a start of a process with its first hello.
    fn begins(&mut self, entry: &Entry, name: &Name, message: &ToStore) {
        let process = entry.process();
        let is_new = matches!(message, ToStore::Hello(_)) && !self.processes.contains_key(process);
        if is_new && self.head.threads.has(process) {
            let incarnation = name.link.incarnation.0;
            let mut own = ProcessSide::new(
                &self.head.process,
                self.head.slack(),
                incarnation,
                self.breadth,
            );
            // There was nothing to send before.
            let _ = own.turns(entry.line, Time(entry.at_ms));
            self.processes.insert(process.to_owned(), own);
        }
    }

    /// Ends a process's earlier connections at its next hello, because their ends may not be in the trace.
    fn replaces(&mut self, entry: &Entry, message: &ToStore) {
        let is_hello = matches!(message, ToStore::Hello(_));
        if is_hello && self.head.judged == Some(Side::Process) {
            for own in std::mem::take(&mut self.connections) {
                let (way, under) = (Way::Connection(own.clone()), Under::Ends(own));
                self.comes(entry, &way, &under);
            }
            self.connections.push(entry.who.clone());
        }
    }

    fn ends(&mut self, entry: &Entry, way: entry::Way) {
        let Some(name) = self.talk.name(&entry.who).cloned() else {
            return;
        };
        if self.head.judged != Some(Side::Process) && self.is_best(entry, Place::Store) {
            let is_of_process = way == entry::Way::ToStore;
            self.store.ends_connection(entry.at, &name, is_of_process);
        }
        if self.is_best(entry, Place::Process) {
            self.connections.retain(|own| *own != entry.who);
            let way = Way::Connection(entry.who.clone());
            self.comes(entry, &way, &Under::Ends(entry.who.clone()));
        }
    }
}
