//! Where a script is: the store's machine, and what each process was told.

use crate::system::{PROCESSES, PROCESSES_MAX, SESSIONS};
use std::collections::BTreeSet;
use tenure_protocol::message::{Patience, Reason};
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{
    Incarnation, Limits, Link, ProcessId, Records, Request, SessionId, Settings, Stamp, Store,
    StoreSettings, Ticket, Time, ToProcess, ToStore, Token, Version,
};

/// What a process knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub(super) link: Option<Link>,
    pub(super) incarnation: u64,
    pub(super) last_link: u64,
    pub(super) last_request: u64,
    /// Tokens, versions and tickets that it was told.
    pub(super) told: BTreeSet<Stamp>,
    /// A token of its that is none any more.
    pub(super) old: Option<Token>,
    pub(super) ticket: Option<Ticket>,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) store: Store,
    records: Records,
    pub(super) sides: [Side; PROCESSES_MAX],
}

/// As in the universes of the model, and in the oracle of the suite: scripts name numbers of it.
pub(super) const EPOCH: u64 = 2;

/// As the oracle of the suite sets it: timers are due when a script says so.
fn settings() -> Settings<StoreSettings> {
    Settings::new(StoreSettings {
        lease_ms: 0,
        remind_ms: 0,
        recall_ms: 0,
        wait_ms: 0,
        time_to_live_ms: None,
        turns: 0,
        limits: Limits::default(),
    })
}

pub(super) fn index(process: &ProcessId) -> usize {
    let found = PROCESSES.iter().position(|own| own == process);
    found.expect("a process of the model")
}

impl Place {
    pub(super) fn first() -> Self {
        let records = Records::default();
        Self {
            store: Store::recover(settings(), EPOCH, &records, Time::ZERO),
            records,
            sides: Default::default(),
        }
    }

    /// What the store sees happens; answers what it says.
    pub(super) fn step(&mut self, input: Input) -> Vec<Output> {
        match &input {
            Input::Message {
                process,
                link,
                message,
            } => self.note(index(process), *link, message),
            Input::Disconnected { process, link } => {
                let side = &mut self.sides[index(process)];
                side.link = side.link.filter(|own| own != link);
            }
            _ => {}
        }
        let mut outputs = Vec::new();
        self.store.step(Time::ZERO, input, &mut outputs);
        for output in &outputs {
            match output {
                Output::Persist(update) => self.records.apply(update),
                Output::Send {
                    process,
                    link,
                    message,
                } => self.sides[index(process)].hear(*link, message),
                Output::Disconnect { process, link } => {
                    let side = &mut self.sides[index(process)];
                    side.link = side.link.filter(|own| own != link);
                }
            }
        }
        outputs
    }

    fn note(&mut self, process: usize, link: Link, message: &ToStore) {
        let side = &mut self.sides[process];
        match message {
            ToStore::Hello { incarnation, .. } => {
                if side.incarnation <= incarnation.0 {
                    side.link = Some(link);
                }
                side.last_link = link.number;
                side.incarnation = side.incarnation.max(incarnation.0);
            }
            ToStore::Goodbye => side.link = None,
            ToStore::Acquire(wish) => {
                side.last_request = side.last_request.max(wish.request.0);
            }
            ToStore::Release {
                requeue: Some(request),
                ..
            } => side.last_request = side.last_request.max(request.0),
            _ => {}
        }
    }

    pub(super) fn restart(&mut self) {
        let epoch = self.store.stamps().last().epoch + 1;
        self.store = Store::recover(settings(), epoch, &self.records, Time::ZERO);
        self.sides.iter_mut().for_each(|side| side.link = None);
    }

    /// Whether a black box can say it: it was told the numbers in it.
    pub(super) fn can_say(&self, process: &ProcessId, message: &ToStore) -> bool {
        // Whom another was told is known too: the black box is all of them.
        let told = |stamp: Stamp| {
            stamp == Stamp::default() || self.sides.iter().any(|side| side.told.contains(&stamp))
        };
        let _ = process;
        match message {
            ToStore::Hello { holds, waits, .. } => {
                holds.iter().all(|hold| told(hold.token.0))
                    && waits
                        .iter()
                        .all(|wish| wish.ticket.is_none_or(|ticket| told(ticket.0)))
            }
            ToStore::Acquire(wish) => wish.ticket.is_none_or(|ticket| told(ticket.0)),
            ToStore::Commit { token, base, .. } | ToStore::Release { token, base, .. } => {
                told(token.0) && told(base.0)
            }
            ToStore::Busy { token, .. }
            | ToStore::Destroy { token, .. }
            | ToStore::Rename { token, .. } => told(token.0),
            ToStore::KeepAlive { .. } | ToStore::Cancel { .. } | ToStore::Goodbye => true,
        }
    }

    /// Why waiting for that timer would show something else, if it would.
    pub(super) fn race(&self, timer: &Timer) -> Option<&'static str> {
        match timer {
            Timer::Remind(_) => return Some("a recall may be told again at any time"),
            Timer::Expire(_) => return Some("when unused sessions end is the target's own"),
            _ => {}
        }
        let is_connected = |process: &ProcessId| self.sides[index(process)].link.is_some();
        if matches!(timer, Timer::Lease(process) if is_connected(process)) {
            return Some("who is connected keeps its lease");
        }
        let mut others = self.store.timers().map(|(_, other)| other).filter(|other| {
            other != timer
                && match other {
                    Timer::Lease(process) => !is_connected(process),
                    Timer::Revoke(_) => true,
                    // A wait is longer than a recall.
                    Timer::Wait(..) => !matches!(timer, Timer::Revoke(_)),
                    Timer::Remind(_) | Timer::Expire(_) => false,
                }
        });
        others
            .next()
            .map(|_| "which of two timers is first is the target's own")
    }

    // ---- what a transition looks like -------------------------------------------------------------------------------

    /// How a session stands, for a process.
    pub(super) fn class(&self, process: usize, id: &SessionId) -> String {
        let name = &PROCESSES[process];
        let Some(session) = self.store.session(id) else {
            return "absent".to_owned();
        };
        let mut words = Vec::new();
        words.push(match session.holder() {
            None => "free",
            Some(holder) if holder == name => "held",
            Some(holder) if self.sides[index(holder)].link.is_some() => "held by another",
            Some(_) => "held by one away",
        });
        match session.recall().map(|recall| recall.reason) {
            Some(Reason::Try) => words.push("recalled by a try"),
            Some(_) => words.push("recalled"),
            None => {}
        }
        if session.busy().is_some() {
            words.push("busy");
        }
        let mut waiters = session.lock().waiters();
        if let Some(own) = waiters.find(|place| place.process == *name) {
            words.push(match own.patience {
                Patience::Try => "tries",
                Patience::Wait => "waits",
            });
        }
        let mut waiters = session.lock().waiters();
        if waiters.any(|place| place.process != *name) && session.holder() != Some(name) {
            words.push("others wait");
        }
        words.join(", ")
    }

    /// All that makes a difference for what a script can do next, as far as scripts are told apart.
    pub(super) fn key(&self) -> String {
        let mut key = String::new();
        for (process, side) in self.sides.iter().enumerate() {
            let is_known = self.store.peer(&PROCESSES[process]).is_some();
            let link = (side.link.is_some(), is_known, side.old.is_some());
            key += &format!("{link:?}{};", side.incarnation);
        }
        for id in &SESSIONS {
            key += "|";
            let Some(session) = self.store.session(id) else {
                continue;
            };
            let head = &session.record().head;
            let (recall, busy) = (session.recall().map(|own| own.reason), session.busy());
            let is_told = head.holder.as_ref().map(|own| {
                (
                    own.renamed.is_some(),
                    self.sides
                        .iter()
                        .any(|side| side.told.contains(&own.token.0)),
                )
            });
            let waiters: Vec<_> = session
                .lock()
                .waiters()
                .map(|place| (&place.process, place.patience))
                .collect();
            let is_new = head.version == Version::NONE;
            key += &format!(
                "{:?}{is_told:?}{is_new}{recall:?}{busy:?}{waiters:?}",
                session.holder()
            );
        }
        key + &self.store.stamps().last().epoch.to_string()
    }
}

impl Side {
    pub(super) fn next_link(&self) -> Link {
        Link {
            incarnation: Incarnation(self.incarnation.max(1)),
            number: self.last_link + 1,
        }
    }

    pub(super) fn next_request(&self) -> Request {
        Request(self.last_request + 1)
    }

    fn hear(&mut self, link: Link, message: &ToProcess) {
        if self.link != Some(link) {
            return;
        }
        match message {
            ToProcess::Granted { token, version, .. } => {
                self.told.extend([token.0, version.0]);
            }
            ToProcess::Queued { ticket, .. } => {
                self.ticket = Some(*ticket);
                self.told.insert(ticket.0);
            }
            ToProcess::Committed { version, .. } => drop(self.told.insert(version.0)),
            ToProcess::Released { version, token, .. } => {
                self.told.extend(version.map(|version| version.0));
                self.old = Some(*token);
            }
            ToProcess::Revoked { token, .. } => self.old = Some(*token),
            ToProcess::Gone { renamed, token, .. } => {
                self.told.extend(renamed.as_ref().map(|hold| hold.token.0));
                self.old = Some(*token);
            }
            ToProcess::Welcome { gone, .. } => {
                let renamed = gone.iter().filter_map(|(_, renamed)| renamed.as_ref());
                self.told.extend(renamed.map(|hold| hold.token.0));
            }
            ToProcess::Superseded | ToProcess::Full => self.link = None,
            _ => {}
        }
    }
}
