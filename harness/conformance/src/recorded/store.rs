//! The store's side of a trace, judged by the [oracle](crate::store::oracle): its machine hears what the store heard.
//!
//! When the store took what it heard is known only of what was seen at the store. All else is under way until what comes shows
//! that it was taken, or until the slack is over.

use super::Finding;
use super::entry::Place;
use super::rule_store;
use super::search::{World as Explanation, closure, explain, few};
use super::talk::Name;
use crate::store::oracle::Connection;
use crate::store::oracle::books::{Attributes, Books};
use crate::store::oracle::compare::Came;
use crate::store::oracle::names::Kind;
use crate::store::oracle::world::{Around, World};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tenure_protocol::message::Hold;
use tenure_protocol::store::{Input, Timer};
use tenure_protocol::{ProcessId, Request, SessionId, ToProcess, ToStore, Token, Version};
use tokio::time::Instant;

/// What is under way to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Under {
    /// Since when.
    at_ms: u64,
    /// In which order all of it came.
    place: u64,
    message: ToStore,
}

/// One explanation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Explained {
    pub(super) world: World,
    under_way: BTreeMap<Connection, VecDeque<Under>>,
    /// The timer that passed last.
    pub(super) passed: Option<Timer>,
    /// How much was owed to each connection before it: nothing of that has become right by it.
    marks: Option<BTreeMap<Connection, usize>>,
}

impl Explained {
    /// Takes in what came, if it may come now.
    fn says(&mut self, connection: &Connection, came: &Came) -> bool {
        let Some(marks) = self.marks.take() else {
            return self.world.take(connection, came);
        };
        let mark = marks.get(connection).copied().unwrap_or_default();
        let before = self.world.owed.get(connection).cloned().unwrap_or_default();
        if !self.world.take(connection, came) {
            self.marks = Some(marks);
            return false;
        }
        let after = self
            .world
            .owed
            .get(connection)
            .map_or(&[][..], Vec::as_slice);
        let fresh = before.get(mark..).unwrap_or_default();
        after.len() == before.len() || !after.ends_with(fresh)
    }

    fn mark(&mut self) {
        let all = self.world.owed.iter();
        let lengths = all.map(|(connection, all)| (connection.clone(), all.len()));
        self.marks = Some(lengths.collect());
    }

    /// Whether the grant of a session may be revoked: not before its holder, if it can hear that, was told until when it has it.
    fn may_revoke(&self, session: &SessionId, around: &Around<'_>) -> bool {
        let own = self.world.store.session(session);
        let Some(holder) = own.and_then(|own| own.record().head.holder.as_ref()) else {
            return false;
        };
        let link = self
            .world
            .store
            .peer(&holder.process)
            .and_then(|peer| peer.link());
        let is_connected = link.is_some_and(|link| {
            let process = holder.process.clone();
            let connection = Connection { process, link };
            around.open.contains(&connection) && !self.world.unnoticed.contains(&connection)
        });
        let token = self
            .world
            .names
            .theirs(Kind::Token, session, holder.token.0);
        let is_told = token.is_some_and(|token| around.books.is_recalled(session, Token(token)));
        !is_connected || is_told || around.at_any_time
    }

    fn take(&mut self, connection: &Connection, around: &Around<'_>) {
        let next = self
            .under_way
            .get_mut(connection)
            .and_then(VecDeque::pop_front);
        if let Some(next) = next {
            self.world.turn();
            self.world.hear(connection, &next.message, around);
        }
        self.under_way.retain(|_, all| !all.is_empty());
    }
}

impl Explanation<Around<'_>> for Explained {
    fn taken(&self, around: &Around<'_>) -> Vec<Self> {
        let connections = self.under_way.keys().cloned();
        let all = connections.map(|connection| {
            let mut own = self.clone();
            own.take(&connection, around);
            own
        });
        all.collect()
    }

    fn passed(&self, around: &Around<'_>) -> Vec<Self> {
        let mut all = Vec::new();
        for connection in &self.world.unnoticed {
            let mut own = self.clone();
            own.world.unnoticed.remove(connection);
            own.under_way.remove(connection); // What was not read before the end never is.
            own.mark();
            let Connection { process, link } = connection.clone();
            own.world
                .step(Input::Disconnected { process, link }, around);
            all.push(own);
        }
        for (_, timer) in self.world.store.timers() {
            let may_pass = match &timer {
                Timer::Revoke(session) => self.may_revoke(session, around),
                _ => true,
            };
            if may_pass && self.world.may_pass(&timer, around) {
                let mut own = self.clone();
                own.mark();
                own.world.step(Input::Timer(timer.clone()), around);
                own.passed = Some(timer);
                all.push(own);
            }
        }
        all
    }
}

/// See the [module](self).
pub(super) struct StoreSide {
    worlds: Vec<Explained>,
    books: Books,
    open: BTreeSet<Connection>,
    slack_ms: u64,
    origin: Instant,
    now_ms: u64,
    time_to_live_ms: Option<u64>,
    /// When each process was last heard, and until when each grant is not to be revoked: when they end at the latest.
    heard: BTreeMap<ProcessId, u64>,
    recalled: BTreeMap<(SessionId, Token), u64>,
    /// Requests that were told their place.
    pub(super) queued: BTreeSet<(ProcessId, SessionId, Request)>,
    count: u64,
    /// A frame that the trace has not whole was said: nothing can be missed any more.
    is_cut_short: bool,
}

impl StoreSide {
    pub(super) fn new(slack_ms: u64, time_to_live_ms: Option<u64>) -> Self {
        Self {
            worlds: vec![Explained {
                world: World::new(time_to_live_ms.is_some()),
                under_way: BTreeMap::new(),
                passed: None,
                marks: None,
            }],
            books: Books::default(),
            open: BTreeSet::new(),
            slack_ms,
            origin: Instant::now(),
            now_ms: 0,
            time_to_live_ms,
            heard: BTreeMap::new(),
            recalled: BTreeMap::new(),
            queued: BTreeSet::new(),
            count: 0,
            is_cut_short: false,
        }
    }

    fn around(&self) -> Around<'_> {
        Around {
            open: &self.open,
            books: &self.books,
            is_before: false,
            may_expire: self.time_to_live_ms.is_some_and(|ms| self.now_ms >= ms),
            at_any_time: false,
        }
    }

    /// Does something with all worlds and what is around them.
    fn change(&mut self, change: impl FnOnce(Vec<Explained>, &Around<'_>) -> Vec<Explained>) {
        let worlds = std::mem::take(&mut self.worlds);
        self.worlds = change(worlds, &self.around());
    }

    /// It is so late: what is overdue is missing.
    pub(super) fn turns(&mut self, line: usize, now_ms: u64) -> Result<(), Finding> {
        self.now_ms = now_ms;
        let slack = Duration::from_millis(self.slack_ms);
        let now = self.origin + Duration::from_millis(now_ms.min(u64::from(u32::MAX)));
        self.books.looks_back_at(now, slack);
        for own in &mut self.worlds {
            own.world.clock = now_ms;
        }
        self.take_overdue();
        self.force();
        self.miss(line, false)
    }

    /// What has been under way for too long was taken.
    fn take_overdue(&mut self) {
        let until = self.now_ms.saturating_sub(self.slack_ms);
        self.change(|mut worlds, around| {
            for own in &mut worlds {
                loop {
                    let heads = own.under_way.iter();
                    let heads =
                        heads.filter_map(|(connection, all)| Some((all.front()?, connection)));
                    let overdue = heads.filter(|(head, _)| head.at_ms < until);
                    let first = overdue.min_by_key(|(head, _)| head.place);
                    let Some(connection) = first.map(|(_, connection)| connection.clone()) else {
                        break;
                    };
                    own.take(&connection, around);
                }
            }
            few(worlds)
        });
    }

    /// What must have ended has ended.
    fn force(&mut self) {
        let late = self.now_ms.saturating_sub(2 * self.slack_ms);
        let lease_ms = u64::try_from(self.books.lease.as_millis()).unwrap_or(u64::MAX);
        let ended = self.heard.iter();
        let ended = ended.filter(|(_, heard)| heard.saturating_add(lease_ms) < late);
        let mut due: Vec<Timer> = ended
            .map(|(process, _)| Timer::Lease(process.clone()))
            .collect();
        if lease_ms == 0 {
            due.clear(); // Nobody has said yet how long it is.
        }
        let recalled = self.recalled.clone();
        self.change(|mut worlds, around| {
            for own in &mut worlds {
                let revoked = own.world.store.sessions().filter_map(|(id, session)| {
                    let holder = session.record().head.holder.as_ref()?;
                    session.recall().filter(|recall| recall.reason.insists())?;
                    let token = own.world.names.theirs(Kind::Token, id, holder.token.0)?;
                    let until = recalled.get(&(id.clone(), Token(token)))?;
                    (*until < late).then(|| Timer::Revoke(id.clone()))
                });
                let revoked: Vec<Timer> = revoked.collect();
                for timer in due.iter().cloned().chain(revoked) {
                    own.world.step(Input::Timer(timer), around);
                }
            }
            worlds
        });
    }

    /// Whether something has not come that had to.
    fn miss(&mut self, line: usize, is_end: bool) -> Result<(), Finding> {
        if self.is_cut_short {
            return Ok(());
        }
        let (now, slack) = (self.now_ms, self.slack_ms);
        let is_late = move |since: u64| {
            let until = since.saturating_add(slack);
            until < now || is_end && until <= now
        };
        let is_well = |own: &Explained| rule_store::overdue(&own.world, is_late).is_none();
        if self.worlds.iter().any(is_well) {
            self.worlds.retain(is_well);
            return Ok(());
        }
        let found = explain(&self.worlds, &self.around(), |own| is_well(own));
        if !found.is_empty() {
            self.worlds = found;
            return Ok(());
        }
        let Some(first) = self.worlds.first() else {
            return Ok(());
        };
        let Some((connection, owed)) = rule_store::overdue(&first.world, is_late) else {
            return Ok(());
        };
        let rule = rule_store::missing(self, first, connection, owed);
        let allowed = first.world.allowed(|own| own == owed);
        let seen = if is_end {
            "the end of the trace"
        } else {
            "something later"
        };
        Err(Finding::new(
            line,
            rule,
            format!("the machine says, with its own numbers: {allowed}"),
            seen,
        ))
    }

    /// The trace has ended.
    pub(super) fn ends(&mut self, line: usize) -> Result<(), Finding> {
        self.miss(line, true)
    }

    /// A frame has come of which only the beginning is known.
    pub(super) fn is_cut_short(&mut self) {
        self.is_cut_short = true;
    }

    /// A process has said something.
    pub(super) fn heard(&mut self, at: Place, name: &Name, message: ToStore) {
        let connection = of(name);
        self.note(&connection, &message);
        self.count += 1;
        let under = Under {
            at_ms: self.now_ms,
            place: self.count,
            message,
        };
        self.change(|mut worlds, around| {
            for own in &mut worlds {
                let all = own.under_way.entry(connection.clone()).or_default();
                all.push_back(under.clone());
            }
            if at != Place::Store {
                return worlds;
            }
            let mut worlds = with_silent(worlds, around);
            worlds
                .iter_mut()
                .for_each(|own| own.take(&connection, around));
            few(worlds)
        });
    }

    fn note(&mut self, connection: &Connection, message: &ToStore) {
        let process = &connection.process;
        match message {
            ToStore::Hello { sent, waits, .. } => {
                self.open.insert(connection.clone());
                self.books.says_it_lives(connection, *sent);
                self.heard.insert(process.clone(), self.now_ms);
                for wish in waits {
                    self.books
                        .asks(process, &wish.session, wish.request, wish.known);
                }
            }
            ToStore::KeepAlive { sent } => {
                self.books.says_it_lives(connection, *sent);
                self.heard.insert(process.clone(), self.now_ms);
            }
            ToStore::Acquire(wish) => {
                self.books
                    .asks(process, &wish.session, wish.request, wish.known);
            }
            ToStore::Release {
                session,
                requeue: Some(request),
                ..
            } => self.books.requeues(process, session, *request),
            _ => {}
        }
    }

    /// The store has said something.
    pub(super) fn says(
        &mut self,
        line: usize,
        name: &Name,
        message: ToProcess,
    ) -> Result<(), Finding> {
        let connection = of(name);
        self.books.hears(&connection, &message);
        self.note_recalls(line, &message)?;
        let results = match &message {
            ToProcess::Granted {
                session,
                request,
                state,
                ..
            } => self.books.results(&name.process, session, *request, state),
            _ => Vec::new(),
        };
        let came = Came::Said(message, results);
        let found = explain(&self.worlds, &self.around(), |own| {
            own.says(&connection, &came)
        });
        let Came::Said(message, results) = &came else {
            return Ok(());
        };
        if found.is_empty() {
            return Err(self.failed(line, &connection, &came));
        }
        self.worlds = found;
        if let ToProcess::Queued {
            session, request, ..
        } = message
        {
            let place = (name.process.clone(), session.clone(), *request);
            self.queued.insert(place);
        }
        self.copy(&connection, message, results);
        Ok(())
    }

    fn failed(&self, line: usize, connection: &Connection, came: &Came) -> Finding {
        let anytime = Around {
            at_any_time: true,
            ..self.around()
        };
        let early = explain(&self.worlds, &anytime, |own| own.says(connection, came));
        let timer = early.first().and_then(|own| own.passed.as_ref());
        let timer = timer.filter(|timer| self.may_be_early(timer, came));
        let rule = timer.and_then(rule_store::too_early);
        let worlds = closure(self.worlds.clone(), &self.around());
        // Of what it may have taken, that which leads closest.
        let likely = worlds
            .last()
            .filter(|_| self.worlds.iter().any(|own| !own.under_way.is_empty()));
        let first = likely.or_else(|| self.worlds.first());
        let Came::Said(message, results) = came else {
            unreachable!("the end of a connection is taken at any time");
        };
        let mut written = self.books.copies.keys();
        let existed = written.any(|(session, version)| {
            Some(session) == message.session() && *version != Version::NONE
        });
        let (rule, allowed) = match (rule, first) {
            (Some(rule), Some(own)) => (rule, own.world.allowed(|_| true)),
            (None, Some(own)) => (
                rule_store::wrong(own, connection, message, results, existed),
                own.world.allowed(|_| true),
            ),
            (rule, None) => (rule.unwrap_or("end.once"), "nothing".to_owned()),
        };
        let mut seen = format!("{message:?}");
        if matches!(message, ToProcess::Granted { .. }) {
            seen += &format!(", which makes {results:?}");
        }
        Finding::new(
            line,
            rule,
            format!("the machine allows, with its own numbers: {allowed}"),
            seen,
        )
    }

    /// Whether who is too early has said so, or speaks of one who cannot hear it.
    fn may_be_early(&self, timer: &Timer, came: &Came) -> bool {
        let is_connected = |process: &ProcessId| {
            let mut open = self.open.iter().filter(|own| own.process == *process);
            let worlds = || self.worlds.iter();
            open.any(|own| worlds().any(|world| !world.world.unnoticed.contains(own)))
        };
        match (timer, came) {
            (_, Came::Said(ToProcess::LeaseEnded | ToProcess::Revoked { .. }, _)) => true,
            (Timer::Lease(process), _) => !is_connected(process),
            (Timer::Revoke(_), _) => false,
            _ => true,
        }
    }

    /// Until when the store lets a holder be, as it says: not later than it said before.
    fn note_recalls(&mut self, line: usize, message: &ToProcess) -> Result<(), Finding> {
        let told = match message {
            ToProcess::Recall { hold, notice } => vec![(hold.clone(), *notice)],
            ToProcess::Alive { recalls, .. } => recalls.clone(),
            ToProcess::Granted {
                session,
                token,
                recall: Some(notice),
                ..
            } => {
                let (session, token) = (session.clone(), *token);
                vec![(Hold { session, token }, *notice)]
            }
            _ => Vec::new(),
        };
        for (Hold { session, token }, notice) in told {
            if !notice.reason.insists() {
                continue;
            }
            let until = self.now_ms.saturating_add(notice.deadline_ms);
            let known = self.recalled.entry((session, token)).or_insert(until);
            let moved = until.abs_diff(*known);
            if moved > self.slack_ms {
                let allowed = format!("the deadline that was told before, {moved} ms away");
                let seen = format!("{message:?}");
                return Err(Finding::new(line, "recall.deadline-fixed", allowed, seen));
            }
        }
        Ok(())
    }

    /// Notes what a session is in a version.
    fn copy(&mut self, connection: &Connection, message: &ToProcess, results: &[Attributes]) {
        let Some(first) = self.worlds.first() else {
            return;
        };
        let now = |session: &SessionId| first.world.attributes(session);
        let (session, version, attributes) = match message {
            ToProcess::Granted {
                session, version, ..
            } => {
                let now = now(session);
                let is_now = results.iter().find(|own| **own == now);
                (session, version, is_now.or_else(|| results.first()).cloned())
            }
            ToProcess::Committed {
                session, version, ..
            }
            | ToProcess::Released {
                session,
                version: Some(version),
                ..
            } => (session, version, Some(now(session))),
            _ => return,
        };
        if let Some(attributes) = attributes {
            let key = (session.clone(), *version);
            self.books.copies.insert(key, attributes);
        }
        if matches!(message, ToProcess::Released { .. }) {
            self.books.released(&connection.process, session, *version);
        }
    }

    /// What a process says on a connection has ended, or what the store does.
    pub(super) fn ends_connection(&mut self, at: Place, name: &Name, is_of_process: bool) {
        let connection = of(name);
        self.open.remove(&connection);
        self.change(|mut worlds, around| {
            for own in &mut worlds {
                own.world.cut(&connection);
                if at == Place::Store && is_of_process {
                    own.world.unnoticed.remove(&connection);
                    let Connection { process, link } = connection.clone();
                    own.world
                        .step(Input::Disconnected { process, link }, around);
                }
            }
            few(worlds)
        });
    }

    /// The store was killed and started again. Of what was under way to it, it may have taken any part.
    pub(super) fn restarts(&mut self) {
        let expires = self.time_to_live_ms.is_some();
        self.change(|worlds, around| {
            let mut worlds = closure(worlds, around);
            for own in &mut worlds {
                own.under_way.clear();
                own.world.restart(expires);
            }
            few(worlds)
        });
        self.books.restarted();
        self.open.clear();
        let now = self.now_ms;
        self.heard.values_mut().for_each(|heard| *heard = now);
        self.recalled.clear();
    }

    /// Its operator has recalled a session.
    pub(super) fn recalls(&mut self, session: &SessionId) {
        self.change(|mut worlds, around| {
            for own in &mut worlds {
                own.world.turn();
                own.world.step(Input::Recall(session.clone()), around);
            }
            worlds
        });
    }
}

/// These, and those in which something has passed that nobody is told of.
fn with_silent(mut worlds: Vec<Explained>, around: &Around<'_>) -> Vec<Explained> {
    let silent = worlds.iter().flat_map(|own| {
        let passed = own.passed(around).into_iter();
        passed.filter(|other| other.world.owed == own.world.owed)
    });
    let silent = silent.map(|own| Explained { marks: None, ..own });
    let silent: Vec<_> = silent.collect();
    worlds.extend(silent);
    few(worlds)
}

fn of(name: &Name) -> Connection {
    Connection {
        process: name.process.clone(),
        link: name.link,
    }
}
