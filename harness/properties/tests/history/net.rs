//! A store and the connection to it. There are two: one for the manager, and one for the machine. They stay equal as
//! long as both send the same messages in the same order. So comparing them compares every message and every record.

use std::collections::VecDeque;
use tenure_protocol::attributes::{Change, Value};
use tenure_protocol::message::{AcquireRequest, Hello, Release, WaitMode};
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Limits, Link, ProcessId, Records, Request, SessionId,
    Settings, StoreMachine, StoreSettings, Time, ToProcess, ToStore, Token, Version,
};

/// The name of the compared process.
static OWN: ProcessId = ProcessId::from_static("own");
/// The name of the other process, whose messages the history sends.
static OTHER: ProcessId = ProcessId::from_static("other");

/// An output of the process for the store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Out {
    /// A message to send.
    Send(Link, ToStore),
    /// A request to close the connection.
    Close(Link),
}

/// A store and its connection. See the [module](self).
#[derive(Debug, PartialEq)]
pub(crate) struct Net {
    store: StoreMachine,
    limits: Limits,
    now: Time,
    /// The messages under way to the store, and the ends of connections.
    to_store: VecDeque<Out>,
    to_process: VecDeque<(Link, ToProcess)>,
    /// The current connection, if there is one.
    link: Option<Link>,
    /// The number of requests of the other process.
    asked: u64,
}

impl Net {
    pub(crate) fn new(settings: StoreSettings) -> Self {
        let limits = settings.limits.clone();
        let settings = Settings::new(settings);
        let mut net = Self {
            limits,
            store: StoreMachine::recover(settings, 1, &Records::default(), Time::ZERO),
            now: Time::ZERO,
            to_store: VecDeque::new(),
            to_process: VecDeque::new(),
            link: None,
            asked: 0,
        };
        net.say(ToStore::Hello(Hello {
            minor: tenure_protocol::MINOR,
            incarnation: Incarnation(1),
            sent: Time::ZERO,
            holds: Vec::new(),
            waits: Vec::new(),
        }));
        net
    }

    /// Returns whether there is a connection.
    pub(crate) fn is_up(&self) -> bool {
        self.link.is_some()
    }

    /// Takes the outputs of the process.
    pub(crate) fn take(&mut self, out: Out) {
        match &out {
            Out::Send(link, _) => self.link = Some(*link),
            Out::Close(_) => {
                self.link = None;
                self.to_process.clear();
            }
        }
        self.to_store.push_back(out);
    }

    /// Breaks the connection: messages under way are lost in both directions.
    pub(crate) fn break_off(&mut self) {
        self.to_store.clear();
        self.to_process.clear();
        if let Some(link) = self.link.take() {
            let process = OWN.clone();
            self.step(Input::Disconnected { process, link });
        }
    }

    /// Delivers the next message to the store. Returns whether there was one.
    pub(crate) fn reach_store(&mut self) -> bool {
        let process = OWN.clone();
        match self.to_store.pop_front() {
            Some(Out::Send(link, message)) => self.step(Input::Message {
                process,
                link,
                message,
            }),
            Some(Out::Close(link)) => self.step(Input::Disconnected { process, link }),
            None => return false,
        }
        true
    }

    /// Returns the next message that arrives at the process.
    pub(crate) fn reach_process(&mut self) -> Option<(Link, ToProcess)> {
        self.to_process.pop_front()
    }

    /// Returns the number of messages under way to the process.
    pub(crate) fn replies(&self) -> usize {
        self.to_process.len()
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.store.step(self.now, input, &mut out);
        for output in out {
            if let Output::Send {
                process,
                link,
                message,
            } = output
                && process == OWN
                && self.link.is_some()
            {
                self.to_process.push_back((link, message));
            }
        }
    }

    /// Sends a message of the other process.
    fn say(&mut self, message: ToStore) {
        let link = Link {
            incarnation: Incarnation(1),
            number: 1,
        };
        let process = OTHER.clone();
        self.step(Input::Message {
            process,
            link,
            message,
        });
    }

    /// Requests a session for the other process.
    pub(crate) fn ask(&mut self, session: &SessionId, wait_mode: WaitMode) {
        self.asked += 1;
        self.say(ToStore::Acquire(AcquireRequest {
            session: session.clone(),
            request: Request(self.asked),
            known: None,
            wait_mode,
            ticket: None,
            existing: false,
        }));
    }

    /// Returns the token and version under which the other process holds this session.
    pub(crate) fn held_elsewhere(&self, session: &SessionId) -> Option<(Token, Version)> {
        let head = &self.store.session(session)?.record().head;
        let holder = head.holder.as_ref()?;
        (holder.process == OTHER).then_some((holder.token, head.version))
    }

    /// Gives a session of the other process back, with a write if the limits allow it: that process checks them before
    /// it writes too.
    pub(crate) fn give_back(&mut self, session: &SessionId, name: AttributeName, value: Value) {
        let Some((token, base)) = self.held_elsewhere(session) else {
            return;
        };
        let is_short = value.len() <= self.limits.attribute_bytes_max;
        let value = Some(value);
        let write = Delta::from_iter([Change { name, value }]);
        let delta = if is_short && self.has_room(session, &write) {
            write
        } else {
            Delta::default()
        };
        self.say(ToStore::Release(Release {
            session: session.clone(),
            token,
            base,
            delta,
            requeue: None,
            idle_ms: 0,
        }));
    }

    fn has_room(&self, session: &SessionId, write: &Delta) -> bool {
        let session = self.store.session(session);
        session.is_some_and(|session| {
            let (bytes, count) = session.record().size_with(write);
            bytes <= self.limits.session_bytes_max && count <= self.limits.attributes_max
        })
    }

    /// Recalls a session as an operator does.
    pub(crate) fn recall(&mut self, session: &SessionId) {
        self.step(Input::Recall(session.clone()));
    }

    /// Lets time pass at the store. The other process keeps its lease alive.
    pub(crate) fn pass(&mut self, now: Time) {
        self.now = now;
        self.say(ToStore::KeepAlive { sent: now });
        loop {
            let mut due: Vec<_> = self.store.timers().filter(|(due, _)| *due <= now).collect();
            due.sort();
            if due.is_empty() {
                return;
            }
            for (_, timer) in due {
                self.step(Input::Timer(timer));
            }
        }
    }

    /// Returns whether this process holds any session at the store.
    pub(crate) fn has_grants(&self) -> bool {
        let held = |record: &tenure_protocol::Record| {
            record
                .head
                .holder
                .as_ref()
                .is_some_and(|holder| holder.process == OWN)
        };
        self.store
            .sessions()
            .any(|(_, session)| held(session.record()))
    }

    /// Returns whether any process waits at the store.
    pub(crate) fn has_waiters(&self) -> bool {
        self.store
            .sessions()
            .any(|(_, session)| session.lock().waiting() > 0)
    }

    /// Describes the difference from `other`.
    pub(crate) fn differs(&self, other: &Self) -> Option<(String, String)> {
        let pair = |one: &dyn std::fmt::Debug, two: &dyn std::fmt::Debug| {
            Some((format!("{one:?}"), format!("{two:?}")))
        };
        if self.to_store != other.to_store {
            return pair(&self.to_store, &other.to_store);
        }
        if self.to_process != other.to_process {
            return pair(&self.to_process, &other.to_process);
        }
        if self == other {
            return None;
        }
        pair(&self.store, &other.store)
    }
}
