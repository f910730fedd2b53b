//! One explanation of what came so far: a machine, what it has said that did not come yet, and which numbers are which.

use crate::store::oracle::Connection;
use crate::store::oracle::ledger::{Attributes, Ledger};
use crate::store::oracle::names::{Kind, Names};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tenure_protocol::message::{AcquireRequest, GrantRef, Reason, RecallInfo};
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{
    Link, Records, SessionId, Settings, Stamp, StoreMachine, StoreSettings, Ticket, Time,
    ToProcess, ToStore, Token, Update, Version,
};

/// The machine's time stands still: all its timers are due whenever the target shows that its own was.
const NOW: Time = Time::ZERO;

/// The first epoch, as in the scripts that name numbers of it.
const EPOCH: u64 = 2;

/// What the machine has said, or done to a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owed {
    pub(crate) what: What,
    /// What the session was when a grant of it was said.
    pub(crate) attributes: Attributes,
    /// Whether the target may leave it out.
    is_optional: bool,
    /// When it was, by [`Hypothesis::clock`].
    pub(crate) since: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Said(ToProcess),
    Closed,
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hypothesis {
    pub(crate) store: StoreMachine,
    pub(super) records: Records,
    pub(super) epoch: u64,
    pub(crate) names: Names,
    pub(crate) owed: BTreeMap<Connection, Vec<Owed>>,
    /// Connections that were cut; the machine was not told yet.
    pub(crate) unnoticed: BTreeSet<Connection>,
    /// What time it is for who looks at what happened earlier: since when something is owed.
    pub(crate) clock: u64,
    /// Recalls of the last step and the one before: they may be told again.
    pub(crate) recalls: [Vec<(GrantRef, Reason)>; 2],
}

/// What is open, and what is known of times.
pub(crate) struct Around<'a> {
    pub(crate) open: &'a BTreeSet<Connection>,
    pub(crate) ledger: &'a Ledger,
    /// Whether what is asked about is what may have happened before the step.
    pub(crate) is_before: bool,
    /// Whether unused sessions may have ended.
    pub(crate) may_expire: bool,
    /// Whether everything may have ended, as if nobody had said how long it lasts: who was too early did that.
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

    /// A message of a process, with the target's numbers.
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
                message: ToStore::Hello { .. },
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
                    // A recall may be repeated at any time, so one that says a later deadline is not owed. r[recall.spares]
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
            What::Said(ToProcess::Granted { session, .. }) => self.attributes(session),
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

    /// A new step begins.
    pub(crate) fn turn(&mut self) {
        let now = self.recalled();
        let [last, before] = &mut self.recalls;
        *before = std::mem::replace(last, now);
    }

    /// The recalls that are not answered.
    pub(crate) fn recalled(&self) -> Vec<(GrantRef, Reason)> {
        let recalled = self.store.sessions().filter_map(|(id, session)| {
            let (session, token) = (id.clone(), session.record().head.holder.as_ref()?.token);
            let reason = self.store.session(id)?.recall()?.reason;
            Some((GrantRef { session, token }, reason))
        });
        recalled.collect()
    }

    /// The connection was cut, by a process or by the store.
    pub(crate) fn cut(&mut self, connection: &Connection) {
        self.owed.remove(connection);
        self.unnoticed.insert(connection.clone());
    }

    /// The store was killed and started again.
    pub(crate) fn restart(&mut self, expires: bool) {
        self.epoch += 1;
        self.store = StoreMachine::recover(settings(expires), self.epoch, &self.records, NOW);
        self.owed.clear();
        self.unnoticed.clear();
    }

    /// Whether all has come that must.
    pub(crate) fn is_satisfied(&self) -> bool {
        self.owed.values().flatten().all(Owed::may_be_missing)
    }

    /// The hypothesis in which all that was cut was noticed.
    pub(crate) fn noticed(&self, around: &Around) -> Self {
        let mut hypothesis = self.clone();
        while let Some(Connection { process, link }) = hypothesis.unnoticed.pop_first() {
            hypothesis.step(Input::Disconnected { process, link }, around);
        }
        hypothesis
    }

    /// Every way in which something that cannot be seen may have happened.
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
            Timer::Remind(_) => false, // A recall may be told again at any time.
            _ if around.at_any_time => true,
            Timer::Lease(process) => around.ledger.may_end(process, around.is_before),
            Timer::Revoke(session) => {
                let own = self.store.session(session);
                let holder = own.and_then(|own| own.record().head.holder.as_ref());
                let token = holder
                    .and_then(|holder| self.names.theirs(Kind::Token, session, holder.token.0));
                around.ledger.may_revoke(session, token.map(Token))
            }
            // How long a store lets others wait it tells nobody.
            Timer::Wait(..) => true,
            Timer::Expire(_) => around.may_expire,
        }
    }

    /// What is owed of what is meant, in words.
    pub(crate) fn allowed(&self, is_meant: impl Fn(&Owed) -> bool) -> String {
        let mut all = Vec::new();
        for (connection, owed) in &self.owed {
            for owed in owed.iter().filter(|owed| is_meant(owed)) {
                all.push(format!("{}: {owed}", shown(connection)));
            }
        }
        if all.is_empty() {
            all.push("nothing but what timers lead to".to_owned());
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

    /// One that the machine does not know is before or after all that it does.
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
            // The machine says the whole state: what the process has in the end is compared.
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

    /// A message of a process, with the machine's numbers.
    fn ours(&self, message: &ToStore) -> ToStore {
        let mut message = message.clone();
        match &mut message {
            ToStore::Hello { holds, waits, .. } => {
                holds.iter_mut().for_each(|hold| *hold = self.hold(hold));
                waits
                    .iter_mut()
                    .for_each(|acquire| *acquire = self.acquire_request(acquire));
            }
            ToStore::Acquire(acquire) => *acquire = self.acquire_request(acquire),
            ToStore::Commit {
                session,
                token,
                base,
                ..
            }
            | ToStore::Release {
                session,
                token,
                base,
                ..
            } => {
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

/// A version before all that the machine draws.
pub(crate) const EARLIEST: Version = Version(Stamp {
    epoch: 0,
    sequence: 1,
});
const LATEST: Stamp = Stamp {
    epoch: u64::MAX,
    sequence: u64::MAX,
};

/// The connection on which something was asked that has to be answered there.
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
    /// What no rule demands: a place in a queue; that a connection is closed, and why, or that a lease has ended, unless that
    /// answers what was said there.
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
            What::Said(message @ ToProcess::Granted { .. }) => {
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
    /// Whether the target need not say it.
    pub(crate) fn may_be_missing(&self) -> bool {
        self.is_optional
    }

    /// The session that it is about.
    pub(crate) fn session(&self) -> Option<&SessionId> {
        match &self.what {
            What::Said(message) => message.session(),
            What::Closed => None,
        }
    }

    /// A recall that is told by itself though it could have been told with the grant.
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
