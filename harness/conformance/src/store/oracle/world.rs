//! One explanation of what came so far: a machine, what it has said that did not come yet, and which numbers are which.

use crate::store::oracle::Connection;
use crate::store::oracle::books::{Attributes, Books};
use crate::store::oracle::names::{Kind, Names};
use std::collections::{BTreeMap, BTreeSet};
use tenure_protocol::message::{Hold, Notice, Reason, Wish};
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{
    Records, SessionId, Settings, Stamp, Store, StoreSettings, Ticket, Time, ToProcess, ToStore,
    Token, Update, Version,
};

/// The machine's time stands still: all its timers are due whenever the target shows that its own was.
const NOW: Time = Time::ZERO;

/// The first epoch, as in the scripts that name numbers of it.
const EPOCH: u64 = 2;

/// What the machine has said, or done to a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owed {
    pub(super) what: What,
    /// What the session was when a grant of it was said.
    pub(super) attributes: Attributes,
    /// Whether the target may leave it out.
    is_optional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    Said(ToProcess),
    Closed,
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) store: Store,
    records: Records,
    epoch: u64,
    pub(super) names: Names,
    pub(super) owed: BTreeMap<Connection, Vec<Owed>>,
    /// Connections that were cut; the machine was not told yet.
    pub(super) unnoticed: BTreeSet<Connection>,
    /// Recalls of the last step and the one before: they may be told again.
    pub(super) recalls: [Vec<(Hold, Reason)>; 2],
}

/// What is open, and what is known of times.
pub(super) struct Around<'a> {
    pub(super) open: &'a BTreeSet<Connection>,
    pub(super) books: &'a Books,
    /// Whether what is asked about is what may have happened before the step.
    pub(super) is_before: bool,
    /// Whether unused sessions may have ended.
    pub(super) may_expire: bool,
}

impl World {
    pub(super) fn new(expires: bool) -> Self {
        let records = Records::default();
        Self {
            store: Store::recover(settings(expires), EPOCH, &records, NOW),
            records,
            epoch: EPOCH,
            names: Names::default(),
            owed: BTreeMap::new(),
            unnoticed: BTreeSet::new(),
            recalls: Default::default(),
        }
    }

    /// A message of a process, with the target's numbers.
    pub(super) fn hear(&mut self, connection: &Connection, message: &ToStore, around: &Around) {
        let message = self.ours(message);
        let input = Input::Message {
            process: connection.process.clone(),
            link: connection.link,
            message,
        };
        self.step(input, around);
    }

    pub(super) fn step(&mut self, input: Input, around: &Around) {
        let actor = asks(&input);
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
                    self.owe(connection, What::Said(message), is_asked, around);
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
        });
    }

    pub(super) fn attributes(&self, session: &SessionId) -> Attributes {
        let record = self.store.session(session).map(|session| session.record());
        let all = record.into_iter().flat_map(|record| record.attributes());
        all.filter_map(|own| Some((own.name.clone(), own.value.clone()?)))
            .collect()
    }

    /// A new step begins.
    pub(super) fn turn(&mut self) {
        let now = self.recalled();
        let [last, before] = &mut self.recalls;
        *before = std::mem::replace(last, now);
    }

    /// The recalls that are not answered.
    pub(super) fn recalled(&self) -> Vec<(Hold, Reason)> {
        let recalled = self.store.sessions().filter_map(|(id, session)| {
            let (session, token) = (id.clone(), session.record().head.holder.as_ref()?.token);
            let reason = self.store.session(id)?.recall()?.reason;
            Some((Hold { session, token }, reason))
        });
        recalled.collect()
    }

    /// The connection was cut, by a process or by the store.
    pub(super) fn cut(&mut self, connection: &Connection) {
        self.owed.remove(connection);
        self.unnoticed.insert(connection.clone());
    }

    /// The store was killed and started again.
    pub(super) fn restart(&mut self, expires: bool) {
        self.epoch += 1;
        self.store = Store::recover(settings(expires), self.epoch, &self.records, NOW);
        self.owed.clear();
        self.unnoticed.clear();
    }

    /// Whether all has come that must.
    pub(super) fn is_satisfied(&self) -> bool {
        self.owed.values().flatten().all(Owed::may_be_missing)
    }

    /// Every way in which something that cannot be seen may have happened.
    pub(super) fn hidden(&self, around: &Around) -> Vec<Self> {
        let mut all = Vec::new();
        for connection in &self.unnoticed {
            let mut world = self.clone();
            world.unnoticed.remove(connection);
            let Connection { process, link } = connection.clone();
            world.step(Input::Disconnected { process, link }, around);
            all.push(world);
        }
        for (_, timer) in self.store.timers() {
            if self.may_pass(&timer, around) {
                let mut world = self.clone();
                world.step(Input::Timer(timer), around);
                all.push(world);
            }
        }
        all
    }

    fn may_pass(&self, timer: &Timer, around: &Around) -> bool {
        match timer {
            Timer::Lease(process) => around.books.may_end(process, around.is_before),
            Timer::Revoke(session) => {
                let own = self.store.session(session);
                let holder = own.and_then(|own| own.record().head.holder.as_ref());
                let token = holder
                    .and_then(|holder| self.names.theirs(Kind::Token, session, holder.token.0));
                around.books.may_revoke(session, token.map(Token))
            }
            // How long a store lets others wait it tells nobody.
            Timer::Wait(..) => true,
            Timer::Expire(_) => around.may_expire,
            Timer::Remind(_) => false, // A recall may be told again at any time.
        }
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

    fn wish(&self, wish: &Wish) -> Wish {
        Wish {
            // The machine says the whole state: what the process has in the end is compared.
            known: None,
            ticket: wish.ticket.map(|ticket| self.ticket(&wish.session, ticket)),
            ..wish.clone()
        }
    }

    fn hold(&self, hold: &Hold) -> Hold {
        let (session, token) = (hold.session.clone(), self.token(&hold.session, hold.token));
        Hold { session, token }
    }

    /// A message of a process, with the machine's numbers.
    fn ours(&self, message: &ToStore) -> ToStore {
        let mut message = message.clone();
        match &mut message {
            ToStore::Hello { holds, waits, .. } => {
                holds.iter_mut().for_each(|hold| *hold = self.hold(hold));
                waits.iter_mut().for_each(|wish| *wish = self.wish(wish));
            }
            ToStore::Acquire(wish) => *wish = self.wish(wish),
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
pub(super) const EARLIEST: Version = Version(Stamp {
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

impl Owed {
    /// Whether the target need not say it.
    pub(super) fn may_be_missing(&self) -> bool {
        self.is_optional
    }

    /// The session that it is about.
    pub(super) fn session(&self) -> Option<&SessionId> {
        match &self.what {
            What::Said(message) => message.session(),
            What::Closed => None,
        }
    }

    /// A recall that is told by itself though it could have been told with the grant.
    pub(super) fn recall(hold: Hold, notice: Notice) -> Self {
        Self {
            what: What::Said(ToProcess::Recall { hold, notice }),
            attributes: Attributes::new(),
            is_optional: false,
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
        limits: tenure_protocol::Limits::default(),
    })
}
