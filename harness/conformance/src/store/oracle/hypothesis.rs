//! A hypothesis: one explanation of all observations. It consists of a machine, the machine's messages that the target
//! has not sent yet, and the mapping of numbers.

use crate::store::oracle::Connection;
use crate::store::oracle::ledger::{Attributes, Ledger};
use crate::store::oracle::names::{Kind, Names};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Granted, Hello, Reason, RecallInfo, Release,
};
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{
    Link, Records, SessionId, Settings, Stamp, StoreMachine, StoreSettings, Ticket, Time,
    ToProcess, ToStore, Token, Update, Version,
};

/// The machine's time stands still: every timer is due as soon as the target shows that its own timer has fired.
const NOW: Time = Time::ZERO;

/// The first epoch, which the numbers in scripts use.
const EPOCH: u64 = 2;

/// An action of the machine that the target still owes: a message, or the end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owed {
    pub(crate) what: What,
    /// The session's attributes at the time of a grant message.
    pub(crate) attributes: Attributes,
    /// Whether the target may leave out the message.
    is_optional: bool,
    /// The time of the action, by [`Hypothesis::clock`].
    pub(crate) since: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Said(ToProcess),
    Closed,
}

/// One possible history. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hypothesis {
    pub(crate) store: StoreMachine,
    pub(super) records: Records,
    pub(super) epoch: u64,
    pub(crate) names: Names,
    pub(crate) owed: BTreeMap<Connection, Vec<Owed>>,
    /// Connections that were cut while the machine has not been notified yet.
    pub(crate) unnoticed: BTreeSet<Connection>,
    /// The time from which later observations count an action as owed.
    pub(crate) clock: u64,
    /// The recalls of the last two steps, which may be repeated.
    pub(crate) recalls: [Vec<(GrantRef, Reason)>; 2],
}

/// The open connections and the known times.
pub(crate) struct Around<'a> {
    pub(crate) open: &'a BTreeSet<Connection>,
    pub(crate) ledger: &'a Ledger,
    /// Whether events before the current step are examined.
    pub(crate) is_before: bool,
    /// Whether unused sessions may have expired.
    pub(crate) may_expire: bool,
    /// Whether every timer may have fired, whatever time was stated. Finds the timer that a target fired too early.
    pub(crate) at_any_time: bool,
}

impl Hypothesis {
    pub(crate) fn new(expires: bool) -> Self {
        let records = Records::default();
        Self {
            store: StoreMachine::recover(settings(expires), EPOCH, &records, NOW),
            records,
            epoch: EPOCH,
            names: Names::default(),
            owed: BTreeMap::new(),
            unnoticed: BTreeSet::new(),
            clock: 0,
            recalls: Default::default(),
        }
    }

    /// Processes a message of a process that has the target's numbers.
    pub(crate) fn hear(&mut self, connection: &Connection, message: &ToStore, around: &Around) {
        let message = self.ours(message);
        let input = Input::Message {
            process: connection.process.clone(),
            link: connection.link,
            message,
        };
        self.step(input, around);
    }

    pub(crate) fn step(&mut self, input: Input, around: &Around) {
        let actor = asks(&input);
        let is_welcomed = matches!(
            &input,
            Input::Message {
                message: ToStore::Hello(_),
                ..
            }
        );
        let recalled = self.recalled();
        let mut outputs = Vec::new();
        self.store.step(NOW, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Persist(update) => {
                    match &update {
                        Update::Remove { session } => self.names.end(session),
                        Update::Rename { from, to, .. } => self.names.rename(from, to),
                        Update::Put { .. } => {}
                    }
                    self.records.apply(&update);
                }
                Output::Send {
                    process,
                    link,
                    message,
                } => {
                    let connection = Connection { process, link };
                    let is_asked = actor.as_ref() == Some(&connection);
                    // A recall may be repeated at any time, so one that states a later deadline is not owed.
                    // r[recall.spares]
                    let is_repeated = matches!(&message, ToProcess::Recall { hold, info }
                        if !is_welcomed && recalled.contains(&(hold.clone(), info.reason)));
                    if !is_repeated {
                        self.owe(connection, What::Said(message), is_asked, around);
                    }
                }
                Output::Disconnect { process, link } => {
                    let connection = Connection { process, link };
                    let is_asked = actor.as_ref() == Some(&connection);
                    self.owe(connection, What::Closed, is_asked, around);
                }
            }
        }
    }

    pub(super) fn owe(
        &mut self,
        connection: Connection,
        what: What,
        is_asked: bool,
        around: &Around,
    ) {
        if !around.open.contains(&connection) || self.unnoticed.contains(&connection) {
            return;
        }
        let attributes = match &what {
            What::Said(ToProcess::Granted(Granted { session, .. })) => self.attributes(session),
            _ => Attributes::new(),
        };
        let is_optional = what.is_optional(is_asked);
        let all = self.owed.entry(connection).or_default();
        all.push(Owed {
            what,
            attributes,
            is_optional,
            since: self.clock,
        });
    }

    pub(crate) fn attributes(&self, session: &SessionId) -> Attributes {
        let record = self.store.session(session).map(|session| session.record());
        let all = record.into_iter().flat_map(|record| record.attributes());
        all.filter_map(|own| Some((own.name.clone(), own.value.clone()?)))
            .collect()
    }

    /// Begins a new step.
    pub(crate) fn turn(&mut self) {
        let now = self.recalled();
        let [last, before] = &mut self.recalls;
        *before = std::mem::replace(last, now);
    }

    /// Returns the unanswered recalls.
    pub(crate) fn recalled(&self) -> Vec<(GrantRef, Reason)> {
        let recalled = self.store.sessions().filter_map(|(id, session)| {
            let (session, token) = (id.clone(), session.record().head.holder.as_ref()?.token);
            let reason = self.store.session(id)?.recall()?.reason;
            Some((GrantRef { session, token }, reason))
        });
        recalled.collect()
    }

    /// Records that a connection was cut, by the process or by the store.
    pub(crate) fn cut(&mut self, connection: &Connection) {
        self.owed.remove(connection);
        self.unnoticed.insert(connection.clone());
    }

    /// Records that the store was killed and restarted.
    pub(crate) fn restart(&mut self, expires: bool) {
        self.epoch += 1;
        self.store = StoreMachine::recover(settings(expires), self.epoch, &self.records, NOW);
        self.owed.clear();
        self.unnoticed.clear();
    }

    /// Returns whether all required messages have come.
    pub(crate) fn is_satisfied(&self) -> bool {
        self.owed.values().flatten().all(Owed::may_be_missing)
    }

    /// Returns the hypothesis in which the store has noticed all cuts.
    pub(crate) fn noticed(&self, around: &Around) -> Self {
        let mut hypothesis = self.clone();
        while let Some(Connection { process, link }) = hypothesis.unnoticed.pop_first() {
            hypothesis.step(Input::Disconnected { process, link }, around);
        }
        hypothesis
    }

    /// Returns the hypotheses for each possible invisible event.
    pub(crate) fn hidden(&self, around: &Around) -> Vec<Self> {
        let mut all = Vec::new();
        for connection in &self.unnoticed {
            let mut hypothesis = self.clone();
            hypothesis.unnoticed.remove(connection);
            let Connection { process, link } = connection.clone();
            hypothesis.step(Input::Disconnected { process, link }, around);
            all.push(hypothesis);
        }
        for (_, timer) in self.store.timers() {
            if self.may_pass(&timer, around) {
                let mut hypothesis = self.clone();
                hypothesis.step(Input::Timer(timer), around);
                all.push(hypothesis);
            }
        }
        all
    }

    pub(crate) fn may_pass(&self, timer: &Timer, around: &Around) -> bool {
        match timer {
            Timer::Remind(_) => false, // A recall may be repeated at any time.
            _ if around.at_any_time => true,
            Timer::Lease(process) => around.ledger.may_end(process, around.is_before),
            Timer::Revoke(session) => {
                let own = self.store.session(session);
                let holder = own.and_then(|own| own.record().head.holder.as_ref());
                let token = holder
                    .and_then(|holder| self.names.theirs(Kind::Token, session, holder.token.0));
                around.ledger.may_revoke(session, token.map(Token))
            }
            // A store does not state how long it lets a process wait.
            Timer::Wait(..) => true,
            Timer::Expire(_) => around.may_expire,
        }
    }

    /// Describes the owed messages that match.
    pub(crate) fn allowed(&self, is_meant: impl Fn(&Owed) -> bool) -> String {
        let mut all = Vec::new();
        for (connection, owed) in &self.owed {
            for owed in owed.iter().filter(|owed| is_meant(owed)) {
                all.push(format!("{}: {owed}", shown(connection)));
            }
        }
        if all.is_empty() {
            all.push("no message except as a result of timers".to_owned());
        }
        all.join("; ")
    }

    // ---- numbers ----------------------------------------------------------------------------------------------------

    fn token(&self, session: &SessionId, theirs: Token) -> Token {
        let never = Stamp {
            epoch: 0,
            sequence: u64::MAX,
        };
        Token(
            self.names
                .ours(Kind::Token, session, theirs.0)
                .unwrap_or(never),
        )
    }

    /// Maps a version to the machine's. An unknown version sorts before or after all known ones.
    fn version(&self, session: &SessionId, theirs: Version) -> Version {
        if theirs == Version::NONE {
            return theirs;
        }
        if let Some(ours) = self.names.ours(Kind::Version, session, theirs.0) {
            return Version(ours);
        }
        let head = self
            .store
            .session(session)
            .map(|own| own.record().head.version);
        let current = head.and_then(|own| self.names.theirs(Kind::Version, session, own.0));
        let is_later = current.is_some_and(|current| theirs.0 > current);
        if is_later { Version(LATEST) } else { EARLIEST }
    }

    fn ticket(&self, session: &SessionId, theirs: Ticket) -> Ticket {
        let ours = self.names.ours(Kind::Ticket, session, theirs.0);
        Ticket(ours.unwrap_or(LATEST))
    }

    fn acquire_request(&self, acquire: &AcquireRequest) -> AcquireRequest {
        AcquireRequest {
            // The machine always sends the whole state, because the comparison uses the resulting state of the process.
            known: None,
            ticket: acquire
                .ticket
                .map(|ticket| self.ticket(&acquire.session, ticket)),
            ..acquire.clone()
        }
    }

    fn hold(&self, hold: &GrantRef) -> GrantRef {
        let (session, token) = (hold.session.clone(), self.token(&hold.session, hold.token));
        GrantRef { session, token }
    }

    /// Returns a message of a process with the machine's numbers.
    fn ours(&self, message: &ToStore) -> ToStore {
        let mut message = message.clone();
        match &mut message {
            ToStore::Hello(Hello { holds, waits, .. }) => {
                holds.iter_mut().for_each(|hold| *hold = self.hold(hold));
                waits
                    .iter_mut()
                    .for_each(|acquire| *acquire = self.acquire_request(acquire));
            }
            ToStore::Acquire(acquire) => *acquire = self.acquire_request(acquire),
            ToStore::Commit(Commit {
                session,
                token,
                base,
                ..
            })
            | ToStore::Release(Release {
                session,
                token,
                base,
                ..
            }) => {
                *token = self.token(session, *token);
                *base = self.version(session, *base);
            }
            ToStore::Busy { session, token, .. }
            | ToStore::Destroy { session, token }
            | ToStore::Rename { session, token, .. } => *token = self.token(session, *token),
            ToStore::KeepAlive { .. } | ToStore::Cancel { .. } | ToStore::Goodbye => {}
        }
        message
    }
}

/// A version before all versions of the machine.
pub(crate) const EARLIEST: Version = Version(Stamp {
    epoch: 0,
    sequence: 1,
});
const LATEST: Stamp = Stamp {
    epoch: u64::MAX,
    sequence: u64::MAX,
};

/// Returns the connection on which an input requires an answer.
fn asks(input: &Input) -> Option<Connection> {
    match input {
        Input::Message {
            process,
            link,
            message,
        } if *message != ToStore::Goodbye => Some(Connection {
            process: process.clone(),
            link: *link,
        }),
        _ => None,
    }
}

impl What {
    /// Returns whether no rule requires the message. Examples are a queue place, the end of a connection and its
    /// reason, and the end of a lease. The last two are required if they answer a message on that connection.
    fn is_optional(&self, is_asked: bool) -> bool {
        match self {
            Self::Said(ToProcess::Queued { .. }) => true,
            Self::Said(ToProcess::LeaseEnded | ToProcess::Superseded) | Self::Closed => !is_asked,
            Self::Said(_) => false,
        }
    }
}

impl fmt::Display for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Said(message @ ToProcess::Granted(_)) => {
                write!(f, "{message:?} of {:?}", self.attributes)
            }
            What::Said(message) => write!(f, "{message:?}"),
            What::Closed => f.write_str("the end of the connection"),
        }
    }
}

pub(crate) fn shown(connection: &Connection) -> String {
    let Link {
        incarnation,
        number,
    } = connection.link;
    format!("{} ({incarnation}/{number})", connection.process)
}

impl Owed {
    /// Returns whether the target may leave out the message.
    pub(crate) fn may_be_missing(&self) -> bool {
        self.is_optional
    }

    /// Returns the session that the message concerns.
    pub(crate) fn session(&self) -> Option<&SessionId> {
        match &self.what {
            What::Said(message) => message.session(),
            What::Closed => None,
        }
    }

    /// Returns a recall as a separate message that could have come with the grant.
    pub(crate) fn recall(hold: GrantRef, info: RecallInfo, since: u64) -> Self {
        Self {
            what: What::Said(ToProcess::Recall { hold, info }),
            attributes: Attributes::new(),
            is_optional: false,
            since,
        }
    }
}

fn settings(expires: bool) -> Settings<StoreSettings> {
    Settings::new(StoreSettings {
        lease_ms: 0,
        remind_ms: 0,
        recall_ms: 0,
        wait_ms: 0,
        time_to_live_ms: expires.then_some(0),
        turns: 0,
        promised: tenure_protocol::Promised::default(),
        limits: tenure_protocol::Limits::default(),
    })
}
