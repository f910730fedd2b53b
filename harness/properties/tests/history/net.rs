//! A store and the connection to it, of which there are two: one for the manager, one for the machine. They are equal as long
//! as both say the same in the same order; so comparing them compares every message and every record.

use std::collections::VecDeque;
use tenure_protocol::attributes::{Change, Value};
use tenure_protocol::message::{AcquireRequest, WaitMode};
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Limits, Link, ProcessId, Records, Request, SessionId,
    Settings, StoreMachine, StoreSettings, Time, ToProcess, ToStore, Token, Version,
};

/// The process that is compared.
static OWN: ProcessId = ProcessId::from_static("own");
/// Another process, which is played by hand.
static OTHER: ProcessId = ProcessId::from_static("other");

/// What a process puts out for the store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Out {
    /// To be sent.
    Send(Link, ToStore),
    /// The connection is to be closed.
    Close(Link),
}

/// See the [module](self).
#[derive(Debug, PartialEq)]
pub(crate) struct Net {
    store: StoreMachine,
    limits: Limits,
    now: Time,
    /// Under way to the store, the end of a connection included.
    to_store: VecDeque<Out>,
    to_process: VecDeque<(Link, ToProcess)>,
    /// The newest connection, while it stands.
    link: Option<Link>,
    /// How often the other process has asked.
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
        net.say(ToStore::Hello {
            minor: tenure_protocol::MINOR,
            incarnation: Incarnation(1),
            sent: Time::ZERO,
            holds: Vec::new(),
            waits: Vec::new(),
        });
        net
    }

    /// Whether there is a connection.
    pub(crate) fn is_up(&self) -> bool {
        self.link.is_some()
    }

    /// Takes what the process puts out.
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

    /// The connection breaks: what is under way is lost in both directions.
    pub(crate) fn break_off(&mut self) {
        self.to_store.clear();
        self.to_process.clear();
        if let Some(link) = self.link.take() {
            let process = OWN.clone();
            self.step(Input::Disconnected { process, link });
        }
    }

    /// The next message arrives at the store; answers whether there was one.
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

    /// The next message that arrives at the process.
    pub(crate) fn reach_process(&mut self) -> Option<(Link, ToProcess)> {
        self.to_process.pop_front()
    }

    /// How many messages are under way to the process.
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

    /// The other process says something.
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

    /// The other process asks for a session.
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

    /// The other process has been granted this session, under this token at this version.
    pub(crate) fn held_elsewhere(&self, session: &SessionId) -> Option<(Token, Version)> {
        let head = &self.store.session(session)?.record().head;
        let holder = head.holder.as_ref()?;
        (holder.process == OTHER).then_some((holder.token, head.version))
    }

    /// The other process gives a session back, with a write if that is within the limits: it asks before it writes, too.
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
        self.say(ToStore::Release {
            session: session.clone(),
            token,
            base,
            delta,
            requeue: None,
            idle_ms: 0,
        });
    }

    fn has_room(&self, session: &SessionId, write: &Delta) -> bool {
        let session = self.store.session(session);
        session.is_some_and(|session| {
            let (bytes, count) = session.record().size_with(write);
            bytes <= self.limits.session_bytes_max && count <= self.limits.attributes_max
        })
    }

    /// The operator wants a session back.
    pub(crate) fn recall(&mut self, session: &SessionId) {
        self.step(Input::Recall(session.clone()));
    }

    /// Time passes at the store; the other process keeps its lease alive.
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

    /// Whether this process holds anything at the store.
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

    /// Whether anybody waits at the store.
    pub(crate) fn has_waiters(&self) -> bool {
        self.store
            .sessions()
            .any(|(_, session)| session.lock().waiting() > 0)
    }

    /// What differs from `other`, in words.
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
