//! The judgement of a store by the [oracle](crate::store::oracle), whose machine receives the same messages as the
//! store.
//!
//! The time at which the store processed a message is known only for observations at the store. All other messages
//! count as in flight until a later message shows that they were processed, or until the slack is over.

use super::Finding;
use super::entry::Place;
use super::head::Slack;
use super::rule_store;
use super::search::{Breadth, Hypothesis as _};
use super::store_hypothesis::{Explained, Under, with_silent};
use super::talk::Name;
use crate::store::oracle::Connection;
use crate::store::oracle::compare::Came;
use crate::store::oracle::hypothesis::Around;
use crate::store::oracle::ledger::Ledger;
use crate::store::oracle::names::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tenure_protocol::message::{GrantRef, Granted, Hello, Release};
use tenure_protocol::store::{Input, Timer};
use tenure_protocol::{ProcessId, Request, SessionId, ToProcess, ToStore, Token, Version};
use tokio::time::Instant;

/// The judge of the store. See the [module](self).
pub(super) struct StoreSide {
    hypotheses: Vec<Explained>,
    ledger: Ledger,
    open: BTreeSet<Connection>,
    slack: Slack,
    origin: Instant,
    now_ms: u64,
    time_to_live_ms: Option<u64>,
    /// The longest idle time that a process has reported for a session, in milliseconds.
    idle_ms: u64,
    /// The last message of each process, and the deadline of each recalled grant. Leases and grants end then at the
    /// latest.
    heard: BTreeMap<ProcessId, u64>,
    recalled: BTreeMap<(SessionId, Token), u64>,
    /// The time until which each grant may have been extended because its last waiter has gone. r[recall.for-nobody]
    moved: BTreeMap<(SessionId, Token), u64>,
    /// The requests whose place in the queue was sent.
    queued: BTreeSet<(ProcessId, SessionId, Request)>,
    count: u64,
    /// Whether the trace has an incomplete frame, after which no message can count as missing.
    is_cut_short: bool,
    breadth: Breadth,
}

impl StoreSide {
    pub(super) fn new(slack: Slack, time_to_live_ms: Option<u64>, breadth: Breadth) -> Self {
        Self {
            hypotheses: vec![Explained::new(time_to_live_ms.is_some())],
            ledger: Ledger::default(),
            open: BTreeSet::new(),
            slack,
            origin: Instant::now(),
            now_ms: 0,
            time_to_live_ms,
            idle_ms: 0,
            heard: BTreeMap::new(),
            recalled: BTreeMap::new(),
            moved: BTreeMap::new(),
            queued: BTreeSet::new(),
            count: 0,
            is_cut_short: false,
            breadth,
        }
    }

    fn around(&self) -> Around<'_> {
        Around {
            open: &self.open,
            ledger: &self.ledger,
            is_before: false,
            may_expire: self
                .time_to_live_ms
                .is_some_and(|ms| self.now_ms.saturating_add(self.idle_ms) >= ms),
            at_any_time: false,
        }
    }

    /// Applies a function to all hypotheses and their surroundings.
    fn change(&mut self, change: impl FnOnce(Vec<Explained>, &Around<'_>) -> Vec<Explained>) {
        let hypotheses = std::mem::take(&mut self.hypotheses);
        self.hypotheses = change(hypotheses, &self.around());
    }

    /// Advances the time. An overdue message is a finding.
    pub(super) fn turns(&mut self, line: usize, now_ms: u64) -> Result<(), Finding> {
        self.now_ms = now_ms;
        let slack = Duration::from_millis(self.slack.early_ms);
        let now = self.origin + Duration::from_millis(now_ms.min(u64::from(u32::MAX)));
        self.ledger.looks_back_at(now, slack);
        for own in &mut self.hypotheses {
            own.hypothesis.clock = now_ms;
        }
        self.take_overdue();
        self.force();
        self.miss(line, false)
    }

    /// Processes the messages that have been in flight for too long.
    fn take_overdue(&mut self) {
        let until = self.now_ms.saturating_sub(self.slack.late_ms);
        let breadth = self.breadth;
        self.change(|mut left, around| {
            let mut hypotheses = Vec::new();
            left.reverse(); // Examine the likeliest hypothesis first.
            while let Some(own) = left.pop() {
                match own.overdue(until) {
                    None => hypotheses.push(own),
                    Some(connection) => {
                        left.extend(own.take(&connection, around).into_iter().rev())
                    }
                }
            }
            breadth.few(hypotheses)
        });
    }

    /// Fires the timers that must have fired.
    fn force(&mut self) {
        let late = self
            .now_ms
            .saturating_sub(self.slack.early_ms.saturating_add(self.slack.late_ms));
        let lease_ms = u64::try_from(self.ledger.lease.as_millis()).unwrap_or(u64::MAX);
        let ended = self.heard.iter();
        let ended = ended.filter(|(_, heard)| heard.saturating_add(lease_ms) < late);
        let mut due: Vec<Timer> = ended
            .map(|(process, _)| Timer::Lease(process.clone()))
            .collect();
        if lease_ms == 0 {
            due.clear(); // The lease time is not known yet.
        }
        self.note_moved();
        let mut recalled = self.recalled.clone();
        for (key, moved) in &self.moved {
            recalled
                .entry(key.clone())
                .and_modify(|until| *until = (*until).max(*moved));
        }
        self.change(|mut hypotheses, around| {
            for own in &mut hypotheses {
                let revoked = own.hypothesis.store.sessions().filter_map(|(id, session)| {
                    let holder = session.record().head.holder.as_ref()?;
                    session.recall().filter(|recall| recall.reason.insists())?;
                    let token = own
                        .hypothesis
                        .names
                        .theirs(Kind::Token, id, holder.token.0)?;
                    let until = recalled.get(&(id.clone(), Token(token)))?;
                    (*until < late).then(|| Timer::Revoke(id.clone()))
                });
                let revoked: Vec<Timer> = revoked.collect();
                for timer in due.iter().cloned().chain(revoked) {
                    own.hypothesis.step(Input::Timer(timer), around);
                }
            }
            hypotheses
        });
    }

    /// Checks for a missing message.
    fn miss(&mut self, line: usize, is_end: bool) -> Result<(), Finding> {
        if self.is_cut_short {
            return Ok(());
        }
        let (now, slack) = (self.now_ms, self.slack.late_ms);
        let is_late = move |since: u64| {
            let until = since.saturating_add(slack);
            until < now || is_end && until <= now
        };
        let is_well = |own: &Explained| rule_store::overdue(&own.hypothesis, is_late).is_none();
        if self.hypotheses.iter().any(is_well) {
            self.hypotheses.retain(is_well);
            return Ok(());
        }
        let found = self
            .breadth
            .explain(&self.hypotheses, &self.around(), |own| is_well(own));
        if !found.is_empty() {
            self.hypotheses = found;
            return Ok(());
        }
        let Some(first) = self.hypotheses.first() else {
            return Ok(());
        };
        let Some((connection, owed)) = rule_store::overdue(&first.hypothesis, is_late) else {
            return Ok(());
        };
        let rule = rule_store::missing(&self.queued, first, connection, owed);
        let allowed = first.hypothesis.allowed(|own| own == owed);
        let seen = if is_end {
            "the end of the trace"
        } else {
            "something later"
        };
        Err(Finding::new(
            line,
            rule,
            format!("the machine sends, with its own numbers: {allowed}"),
            seen,
        ))
    }

    /// Finishes the judgement at the end of the trace.
    pub(super) fn ends(&mut self, line: usize) -> Result<(), Finding> {
        self.miss(line, true)
    }

    /// Records a frame of which only the beginning is known.
    pub(super) fn is_cut_short(&mut self) {
        self.is_cut_short = true;
    }

    /// Records a message of a process.
    pub(super) fn heard(&mut self, at: Place, name: &Name, message: ToStore) {
        let connection = of(name);
        self.note(&connection, &message);
        self.count += 1;
        let under = Under {
            at_ms: self.now_ms,
            place: self.count,
            message,
        };
        let breadth = self.breadth;
        self.change(|mut hypotheses, around| {
            for own in &mut hypotheses {
                let all = own.under_way.entry(connection.clone()).or_default();
                all.push_back(under.clone());
            }
            if at != Place::Store {
                return hypotheses;
            }
            let hypotheses = with_silent(breadth, hypotheses, around);
            let taken = hypotheses.into_iter();
            breadth.few(taken.flat_map(|own| own.take(&connection, around)))
        });
    }

    fn note(&mut self, connection: &Connection, message: &ToStore) {
        let process = &connection.process;
        if let ToStore::Release(Release { idle_ms, .. }) = message {
            self.idle_ms = self.idle_ms.max(*idle_ms);
        }
        match message {
            ToStore::Hello(Hello { sent, waits, .. }) => {
                self.open.insert(connection.clone());
                self.ledger.says_it_lives(connection, *sent);
                self.heard.insert(process.clone(), self.now_ms);
                for acquire in waits {
                    self.ledger
                        .asks(process, &acquire.session, acquire.request, acquire.known);
                }
            }
            ToStore::KeepAlive { sent } => {
                self.ledger.says_it_lives(connection, *sent);
                self.heard.insert(process.clone(), self.now_ms);
            }
            _ => self.ledger.said(process, message),
        }
    }

    /// Checks a message of the store.
    pub(super) fn says(
        &mut self,
        line: usize,
        name: &Name,
        message: ToProcess,
    ) -> Result<(), Finding> {
        let connection = of(name);
        self.ledger.hears(&connection, &message);
        self.note_recalls(line, &message)?;
        let results = self.ledger.results_of(&name.process, &message);
        let came = Came::Said(message, results);
        let found = self
            .breadth
            .explain(&self.hypotheses, &self.around(), |own| {
                own.says(&connection, &came)
            });
        let Came::Said(message, results) = &came else {
            return Ok(());
        };
        if found.is_empty() {
            return Err(self.failed(line, &connection, &came));
        }
        self.hypotheses = found;
        if let ToProcess::Queued {
            session, request, ..
        } = message
        {
            let place = (name.process.clone(), session.clone(), *request);
            self.queued.insert(place);
        }
        if let Some(own) = self.hypotheses.first() {
            let now = |session: &SessionId| own.hypothesis.attributes(session);
            self.ledger.copy(&name.process, message, results, now);
        }
        Ok(())
    }

    fn failed(&self, line: usize, connection: &Connection, came: &Came) -> Finding {
        let anytime = Around {
            at_any_time: true,
            ..self.around()
        };
        let early = self
            .breadth
            .explain(&self.hypotheses, &anytime, |own| own.says(connection, came));
        let timer = early.first().and_then(|own| own.passed.as_ref());
        let timer = timer.filter(|timer| self.may_be_early(timer, came));
        let rule = timer.and_then(rule_store::too_early);
        let hypotheses = self
            .breadth
            .closure(self.hypotheses.clone(), &self.around());
        // Use the hypothesis that has processed as much as possible.
        let likely = hypotheses
            .last()
            .filter(|_| self.hypotheses.iter().any(|own| !own.under_way.is_empty()));
        let first = likely.or_else(|| self.hypotheses.first());
        let Came::Said(message, results) = came else {
            unreachable!("every hypothesis accepts the end of a connection at any time");
        };
        let mut written = self.ledger.copies.keys();
        let existed = written.any(|(session, version)| {
            Some(session) == message.session() && *version != Version::NONE
        });
        let (rule, allowed) = match (rule, first) {
            (Some(rule), Some(own)) => (rule, own.hypothesis.allowed(|_| true)),
            (None, Some(own)) => (
                rule_store::wrong(own, connection, message, results, existed),
                own.hypothesis.allowed(|_| true),
            ),
            (rule, None) => (rule.unwrap_or("end.once"), "nothing".to_owned()),
        };
        let mut seen = format!("{message:?}");
        if matches!(message, ToProcess::Granted(_)) {
            seen += &format!(", which makes {results:?}");
        }
        Finding::new(
            line,
            rule,
            format!("the machine allows, with its own numbers: {allowed}"),
            seen,
        )
    }

    /// Returns whether the message itself reports the early end, or concerns a process that cannot receive such a
    /// report.
    fn may_be_early(&self, timer: &Timer, came: &Came) -> bool {
        let is_connected = |process: &ProcessId| {
            let mut open = self.open.iter().filter(|own| own.process == *process);
            let hypotheses = || self.hypotheses.iter();
            open.any(|own| {
                hypotheses().any(|hypothesis| !hypothesis.hypothesis.unnoticed.contains(own))
            })
        };
        match (timer, came) {
            (_, Came::Said(ToProcess::LeaseEnded | ToProcess::Revoked { .. }, _)) => true,
            (Timer::Lease(process), _) => !is_connected(process),
            (Timer::Revoke(_), _) => false,
            _ => true,
        }
    }

    /// Records the deadline in a recall. A later deadline than before is a finding, unless no process waits any more.
    fn note_recalls(&mut self, line: usize, message: &ToProcess) -> Result<(), Finding> {
        let told = match message {
            ToProcess::Recall { hold, info } => vec![(hold.clone(), *info)],
            ToProcess::Alive { recalls, .. } => recalls.clone(),
            ToProcess::Granted(Granted {
                session,
                token,
                recall: Some(info),
                ..
            }) => {
                let (session, token) = (session.clone(), *token);
                vec![(GrantRef { session, token }, *info)]
            }
            _ => Vec::new(),
        };
        for (GrantRef { session, token }, info) in told {
            if !info.reason.insists() {
                continue;
            }
            let until = self.now_ms.saturating_add(info.deadline_ms);
            let key = (session, token);
            let known = self.recalled.get(&key).copied().unwrap_or(until);
            let moved = until.abs_diff(known);
            let is_moved = moved > self.slack.late_ms;
            let may_move = until > known
                && is_moved
                && (self.moved.get(&key).is_some_and(|latest| until <= *latest)
                    || self.may_move_deadline(&key.0));
            self.recalled
                .insert(key, if may_move { until } else { known });
            if is_moved && !may_move {
                let allowed = format!("the deadline stated before, {moved} ms earlier or later");
                let seen = format!("{message:?}");
                return Err(Finding::new(line, "recall.deadline-kept", allowed, seen));
            }
        }
        Ok(())
    }

    /// Records which grants are now recalled without a waiter, as far as is known.
    fn note_moved(&mut self) {
        let recall_ms = u64::try_from(self.ledger.recall.as_millis()).unwrap_or(u64::MAX);
        let whole = self.now_ms.saturating_add(recall_ms);
        for key in self.recalled.keys() {
            let mut hypotheses = self.hypotheses.iter();
            if hypotheses.any(|own| own.hypothesis.store.is_recalled_for_nobody(&key.0)) {
                self.moved.insert(key.clone(), whole);
            }
        }
    }

    /// Returns whether the store may have found that no process waits any more. r[recall.for-nobody]
    fn may_move_deadline(&self, session: &SessionId) -> bool {
        let around = self.around();
        let is_for_nobody = |own: &Explained| own.hypothesis.store.is_recalled_for_nobody(session);
        let mut hypotheses = self.hypotheses.iter();
        hypotheses.any(|own| {
            let passed = own.passed(&around);
            // The loss of a connection is not reported. The end of a wait is reported to its process.
            let mut silent = passed
                .iter()
                .filter(|next| next.hypothesis.owed == own.hypothesis.owed);
            is_for_nobody(own)
                || silent.any(is_for_nobody)
                || own.taken(&around).iter().any(is_for_nobody)
        })
    }

    /// Records that the stream of a process, or of the store, has ended on a connection.
    pub(super) fn ends_connection(&mut self, at: Place, name: &Name, is_of_process: bool) {
        let connection = of(name);
        self.open.remove(&connection);
        let breadth = self.breadth;
        self.change(|mut hypotheses, around| {
            for own in &mut hypotheses {
                own.hypothesis.cut(&connection);
                if at == Place::Store && is_of_process {
                    own.hypothesis.unnoticed.remove(&connection);
                    let Connection { process, link } = connection.clone();
                    own.hypothesis
                        .step(Input::Disconnected { process, link }, around);
                }
            }
            breadth.few(hypotheses)
        });
    }

    /// Records a kill and restart of the store, which may have processed any part of the messages in flight.
    pub(super) fn restarts(&mut self) {
        let expires = self.time_to_live_ms.is_some();
        let breadth = self.breadth;
        self.change(|hypotheses, around| {
            let mut hypotheses = breadth.closure(hypotheses, around);
            for own in &mut hypotheses {
                own.under_way.clear();
                own.recalls.clear();
                own.hypothesis.restart(expires);
            }
            breadth.few(hypotheses)
        });
        self.ledger.restarted();
        self.open.clear();
        let now = self.now_ms;
        self.heard.values_mut().for_each(|heard| *heard = now);
        self.recalled.clear();
        self.moved.clear();
    }

    /// Records that the operator has recalled a session.
    pub(super) fn recalls(&mut self, session: &SessionId) {
        for own in &mut self.hypotheses {
            own.recalls.push_back(session.clone());
        }
    }
}

fn of(name: &Name) -> Connection {
    Connection {
        process: name.process.clone(),
        link: name.link,
    }
}
