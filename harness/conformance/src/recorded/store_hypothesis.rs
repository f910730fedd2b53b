//! A hypothesis about a store: one explanation of its messages. It consists of a machine and the messages in flight to
//! it.

use super::search::{Breadth, Hypothesis as Explanation};
use crate::store::oracle::Connection;
use crate::store::oracle::compare::Came;
use crate::store::oracle::hypothesis::{Around, Hypothesis, What};
use crate::store::oracle::names::Kind;
use std::collections::{BTreeMap, VecDeque};
use tenure_protocol::message::Refusal;
use tenure_protocol::store::{Input, Timer};
use tenure_protocol::{SessionId, ToProcess, ToStore, Token};

/// A message in flight to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Under {
    /// The time since which the message is in flight.
    pub(super) at_ms: u64,
    /// The position of the message among all messages.
    pub(super) place: u64,
    pub(super) message: ToStore,
}

/// A hypothesis with the messages in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Explained {
    pub(super) hypothesis: Hypothesis,
    pub(super) under_way: BTreeMap<Connection, VecDeque<Under>>,
    /// The sessions that an operator has recalled. The time at which the store received each recall is unknown.
    pub(super) recalls: VecDeque<SessionId>,
    /// The timer that fired last.
    pub(super) passed: Option<Timer>,
    /// The number of messages owed to each connection before that timer. Those messages do not result from the timer.
    marks: Option<BTreeMap<Connection, usize>>,
}

impl Explained {
    pub(super) fn new(expires: bool) -> Self {
        Self {
            hypothesis: Hypothesis::new(expires),
            under_way: BTreeMap::new(),
            recalls: VecDeque::new(),
            passed: None,
            marks: None,
        }
    }

    /// Accepts a message if it may come now.
    pub(super) fn says(&mut self, connection: &Connection, came: &Came) -> bool {
        if let Came::Said(message, _) = came
            && (self.is_over_limit(connection, message) || self.left_before(connection, message))
        {
            return true;
        }
        let Some(marks) = self.marks.take() else {
            return self.hypothesis.take(connection, came);
        };
        let mark = marks.get(connection).copied().unwrap_or_default();
        let before = self
            .hypothesis
            .owed
            .get(connection)
            .cloned()
            .unwrap_or_default();
        if !self.hypothesis.take(connection, came) {
            self.marks = Some(marks);
            return false;
        }
        let after = self
            .hypothesis
            .owed
            .get(connection)
            .map_or(&[][..], Vec::as_slice);
        let fresh = before.get(mark..).unwrap_or_default();
        after.len() == before.len() || !after.ends_with(fresh)
    }

    /// Returns whether the message is a repeated recall, sent before its grant was revoked and observed late. The
    /// revocation is still to come.
    fn left_before(&self, connection: &Connection, message: &ToProcess) -> bool {
        let ToProcess::Recall { hold, .. } = message else {
            return false;
        };
        let owed = self.hypothesis.owed.get(connection);
        owed.into_iter().flatten().any(|own| match &own.what {
            What::Said(ToProcess::Revoked { session, token, .. }) if *session == hold.session => {
                let theirs = self.hypothesis.names.theirs(Kind::Token, session, token.0);
                theirs == Some(hold.token.0)
            }
            _ => false,
        })
    }

    /// Accepts a refusal by a limit that the trace does not state, as if the request had never arrived.
    fn is_over_limit(&mut self, connection: &Connection, message: &ToProcess) -> bool {
        let ToProcess::Refused {
            session,
            request,
            why: Refusal::Limit(_),
        } = message
        else {
            return false;
        };
        let Some(all) = self.under_way.get_mut(connection) else {
            return false;
        };
        let is_asked = |own: &Under| match &own.message {
            ToStore::Acquire(acquire) => acquire.session == *session && acquire.request == *request,
            _ => false,
        };
        let Some(place) = all.iter().position(is_asked) else {
            return false;
        };
        all.remove(place);
        self.under_way.retain(|_, all| !all.is_empty());
        true
    }

    /// Ends several leases at once. Processes that fall silent lose their leases at about the same time, without a
    /// message.
    fn dying(&self, around: &Around<'_>) -> Option<Self> {
        let timers = self.hypothesis.store.timers().map(|(_, timer)| timer);
        let is_end = |timer: &Timer| matches!(timer, Timer::Lease(_));
        let ended = timers.filter(|timer| is_end(timer) && self.hypothesis.may_pass(timer, around));
        let mut ended: Vec<Timer> = ended.collect();
        let mut own = self.clone();
        own.mark();
        own.passed = ended.pop();
        let last = own.passed.clone()?;
        if ended.is_empty() {
            return None;
        }
        for timer in ended.into_iter().chain([last]) {
            own.hypothesis.step(Input::Timer(timer), around);
        }
        Some(own)
    }

    fn mark(&mut self) {
        let all = self.hypothesis.owed.iter();
        let lengths = all.map(|(connection, all)| (connection.clone(), all.len()));
        self.marks = Some(lengths.collect());
    }

    /// Returns whether the grant of a session may be revoked. A holder that can receive messages must know the deadline
    /// before.
    fn may_revoke(&self, session: &SessionId, around: &Around<'_>) -> bool {
        let own = self.hypothesis.store.session(session);
        let Some(holder) = own.and_then(|own| own.record().head.holder.as_ref()) else {
            return false;
        };
        let link = self
            .hypothesis
            .store
            .peer(&holder.process)
            .and_then(|peer| peer.link());
        let is_connected = link.is_some_and(|link| {
            let process = holder.process.clone();
            let connection = Connection { process, link };
            around.open.contains(&connection) && !self.hypothesis.unnoticed.contains(&connection)
        });
        let token = self
            .hypothesis
            .names
            .theirs(Kind::Token, session, holder.token.0);
        let is_told = token.is_some_and(|token| around.ledger.is_recalled(session, Token(token)));
        !is_connected || is_told || around.at_any_time
    }

    /// Returns the connection with the first message in flight that was sent before the given time.
    pub(super) fn overdue(&self, until_ms: u64) -> Option<Connection> {
        let heads = self.under_way.iter();
        let heads = heads.filter_map(|(connection, all)| Some((all.front()?, connection)));
        let overdue = heads.filter(|(head, _)| head.at_ms < until_ms);
        let first = overdue.min_by_key(|(head, _)| head.place);
        first.map(|(_, connection)| connection.clone())
    }

    /// Processes the next message in flight on a connection. Returns the likeliest result first, followed by the
    /// results of other choices that the rules leave open.
    pub(super) fn take(mut self, connection: &Connection, around: &Around<'_>) -> Vec<Self> {
        let all = self.under_way.get_mut(connection);
        let Some(next) = all.and_then(VecDeque::pop_front) else {
            return vec![self];
        };
        self.under_way.retain(|_, all| !all.is_empty());
        self.hypothesis.turn();
        let before = self.hypothesis.clone();
        self.hypothesis.hear(connection, &next.message, around);
        let others = before.others(connection, &next.message, &self.hypothesis, around);
        let mut all = vec![self];
        for hypothesis in others {
            let other = Self {
                hypothesis,
                ..all[0].clone()
            };
            all.push(other);
        }
        all
    }
}

impl Explanation<Around<'_>> for Explained {
    fn taken(&self, around: &Around<'_>) -> Vec<Self> {
        let connections = self.under_way.keys().cloned();
        let all = connections.flat_map(|connection| self.clone().take(&connection, around));
        let mut asked = self.clone();
        let recalled = asked.recalls.pop_front().map(|session| {
            asked.hypothesis.turn();
            asked.hypothesis.step(Input::Recall(session), around);
            asked
        });
        all.chain(recalled).collect()
    }

    fn passed(&self, around: &Around<'_>) -> Vec<Self> {
        let mut all = Vec::new();
        for connection in &self.hypothesis.unnoticed {
            let mut own = self.clone();
            own.hypothesis.unnoticed.remove(connection);
            own.under_way.remove(connection); // Messages that were not read before the end are lost.
            own.mark();
            let Connection { process, link } = connection.clone();
            own.hypothesis
                .step(Input::Disconnected { process, link }, around);
            all.push(own);
        }
        all.extend(self.dying(around));
        for (_, timer) in self.hypothesis.store.timers() {
            let may_pass = match &timer {
                Timer::Revoke(session) => self.may_revoke(session, around),
                _ => true,
            };
            if may_pass && self.hypothesis.may_pass(&timer, around) {
                let mut own = self.clone();
                own.mark();
                own.hypothesis.step(Input::Timer(timer.clone()), around);
                own.passed = Some(timer);
                all.push(own);
            }
        }
        all
    }
}

/// Returns these hypotheses and those after an event that causes no message.
pub(super) fn with_silent(
    breadth: Breadth,
    mut hypotheses: Vec<Explained>,
    around: &Around<'_>,
) -> Vec<Explained> {
    let silent = hypotheses.iter().flat_map(|own| {
        let passed = own.passed(around).into_iter();
        passed.filter(|other| other.hypothesis.owed == own.hypothesis.owed)
    });
    let silent = silent.map(|own| Explained { marks: None, ..own });
    let silent: Vec<_> = silent.collect();
    hypotheses.extend(silent);
    breadth.few(hypotheses)
}
