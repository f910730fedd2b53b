//! A store in the same OS process, for whoever tests the lock manager: the machine that also runs as a store.

#![allow(dead_code)] // Each test file uses its own part of it.

pub(crate) mod by_hand;

use std::time::Duration;
use tenure_locks::{Event, Locks};
use tenure_protocol::attributes::Value;
use tenure_protocol::message::{AcquireRequest, WaitMode};
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Limits, Link, ProcessId, ProcessSettings, Records, Request,
    SessionId, Settings, StoreMachine, StoreSettings, Time, ToProcess, ToStore, Token, Version,
};

/// The process under test.
static OWN: ProcessId = ProcessId::from_static("own");
/// Another process, which is played by hand.
static OTHER: ProcessId = ProcessId::from_static("other");

/// The session that most tests use.
pub(crate) fn session() -> SessionId {
    SessionId::from_static("s")
}

/// Polls a future once.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// A store, a lock manager connected to it, and another process.
pub(crate) struct Rig {
    pub(crate) locks: Locks,
    store: StoreMachine,
    now: Time,
    link: Option<Link>,
    requests: u64,
    /// What the other process was told.
    pub(crate) told: Vec<ToProcess>,
    /// What the manager's driver was told, less what it was to send.
    pub(crate) events: Vec<Event>,
    /// How many messages went either way.
    pub(crate) messages: usize,
    /// How many updates the store has made durable.
    pub(crate) updates: usize,
    /// Whether the other process gives back at once what it is granted.
    pub(crate) passes_on: bool,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(ProcessSettings::default(), StoreSettings::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let process = ProcessSettings {
            limits,
            ..ProcessSettings::default()
        };
        Self::with(process, StoreSettings::default())
    }

    pub(crate) fn with(process: ProcessSettings, store: StoreSettings) -> Self {
        let store = StoreMachine::recover(Settings::new(store), 1, &Records::default(), Time::ZERO);
        let locks = Locks::with_manual_clock(process, Incarnation(1));
        Self::connect(locks, store)
    }

    /// As [`Rig::holding`], with the system's clock.
    pub(crate) fn holding_by_the_clock(ids: &[SessionId]) -> Self {
        let store = StoreMachine::recover(
            Settings::new(StoreSettings::default()),
            1,
            &Records::default(),
            Time::ZERO,
        );
        let locks = Locks::new(ProcessSettings::default(), Incarnation(1));
        let mut rig = Self::connect(locks, store);
        for id in ids {
            rig.hold(id, &[("a", b"0")]);
        }
        rig
    }

    fn connect(locks: Locks, store: StoreMachine) -> Self {
        let mut rig = Self {
            locks,
            store,
            now: Time::ZERO,
            link: None,
            requests: 0,
            told: Vec::new(),
            events: Vec::new(),
            messages: 0,
            updates: 0,
            passes_on: false,
        };
        rig.say(ToStore::Hello {
            minor: tenure_protocol::MINOR,
            incarnation: Incarnation(1),
            sent: Time::ZERO,
            holds: Vec::new(),
            waits: Vec::new(),
        });
        rig.locks.connected();
        rig.pump();
        rig.told.clear();
        rig
    }

    /// As [`Rig::new`], and the process holds these sessions, with an attribute "a" of value "0".
    pub(crate) fn holding(ids: &[SessionId]) -> Self {
        let mut rig = Self::new();
        for id in ids {
            rig.hold(id, &[("a", b"0")]);
        }
        rig.messages = 0;
        rig
    }

    /// Lets the process take a session and write these attributes.
    pub(crate) fn hold(&mut self, id: &SessionId, attributes: &[(&str, &'static [u8])]) {
        let session = self.locks.session(id);
        let mut request = Box::pin(session.lock_all());
        let mut guard = self.complete(&mut request).expect("locked");
        for (name, value) in attributes {
            guard.set(name, Value::from_static(value)).expect("set");
        }
        guard.unlock().expect("unlocked");
    }

    /// Polls a future once, carries the messages, and polls again: it must be ready then.
    pub(crate) fn complete<F: Future + Unpin>(&mut self, future: &mut F) -> F::Output {
        match self.poll(future) {
            Some(output) => output,
            None => {
                self.pump();
                self.poll(future)
                    .expect("ready when all messages have arrived")
            }
        }
    }

    /// Polls a future once.
    pub(crate) fn poll<F: Future + Unpin>(&mut self, future: &mut F) -> Option<F::Output> {
        poll(future)
    }

    /// Carries messages until nothing is under way.
    pub(crate) fn pump(&mut self) {
        while let Some(event) = self.locks.try_event() {
            self.take(event);
        }
    }

    /// Carries what one event says.
    pub(crate) fn take(&mut self, event: Event) {
        match event {
            Event::Send { link, message } => {
                self.link = Some(link);
                self.messages += 1;
                let process = OWN.clone();
                self.step(Input::Message {
                    process,
                    link,
                    message,
                });
            }
            event => self.events.push(event),
        }
    }

    /// The manager alone.
    pub(crate) fn into_locks(self) -> Locks {
        self.locks
    }

    /// Carries messages until the manager has left, which somebody tells it to.
    pub(crate) fn drive(&mut self) {
        while !self.locks.has_left() {
            let event = self.locks.wait_event(Duration::from_secs(60));
            self.take(event.expect("the manager leaves"));
        }
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.store.step(self.now, input, &mut out);
        for output in out {
            self.updates += usize::from(matches!(output, Output::Persist(_)));
            let Output::Send {
                process,
                link,
                message,
            } = output
            else {
                continue;
            };
            self.messages += 1;
            if process == OWN {
                self.locks.message(link, message);
            } else if let (true, ToProcess::Granted { session, .. }) = (self.passes_on, &message) {
                let session = session.clone();
                self.told.push(message);
                self.release_elsewhere(&session);
            } else {
                self.told.push(message);
            }
        }
    }

    /// The other process says something.
    pub(crate) fn say(&mut self, message: ToStore) {
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

    /// The other process asks for a session; who holds it is recalled.
    pub(crate) fn ask_elsewhere(&mut self, id: &SessionId) {
        self.requests += 1;
        self.say(ToStore::Acquire(AcquireRequest {
            session: id.clone(),
            request: Request(self.requests),
            known: None,
            wait_mode: WaitMode::Wait,
            ticket: None,
            existing: false,
        }));
    }

    /// The token and version under which the other process holds a session, if it does.
    pub(crate) fn held_elsewhere(&self, id: &SessionId) -> Option<(Token, Version)> {
        let head = &self.store.session(id)?.record().head;
        let holder = head.holder.as_ref()?;
        (holder.process == OTHER).then_some((holder.token, head.version))
    }

    /// The other process gives a session back.
    pub(crate) fn release_elsewhere(&mut self, id: &SessionId) {
        let (token, base) = self.held_elsewhere(id).expect("held elsewhere");
        self.say(ToStore::Release {
            session: id.clone(),
            token,
            base,
            delta: Delta::default(),
            requeue: None,
            idle_ms: 0,
        });
    }

    /// The operator wants a session back.
    pub(crate) fn recall(&mut self, id: &SessionId) {
        self.step(Input::Recall(id.clone()));
    }

    /// Time passes at both ends, and what is due is done.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now = self.now.after(ms);
        self.locks.set_time(self.now);
        self.locks.tick();
        let timers: Vec<_> = self.store.timers().collect();
        for (due, timer) in timers {
            if due <= self.now {
                self.step(Input::Timer(timer));
            }
        }
    }

    /// How many sessions the store has in memory.
    pub(crate) fn resident(&self) -> usize {
        self.store.resident()
    }

    /// What the store has of an attribute.
    pub(crate) fn stored(&self, id: &SessionId, name: &str) -> Option<Value> {
        let name = AttributeName::new(name.to_owned()).expect("a short name");
        self.store.session(id)?.record().value(&name).cloned()
    }
}

/// A driver on an OS thread of its own, until it is dropped.
pub(crate) struct Driver {
    pub(crate) locks: Locks,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<Rig>>,
}

impl Driver {
    pub(crate) fn start(mut rig: Rig) -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stops = std::sync::Arc::clone(&stop);
        let locks = rig.locks.clone();
        let thread = std::thread::spawn(move || {
            while !stops.load(std::sync::atomic::Ordering::Relaxed) {
                if let Some(event) = rig.locks.wait_event(Duration::from_millis(10)) {
                    rig.take(event);
                }
            }
            rig.pump();
            rig
        });
        Self {
            locks,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn stop(mut self) -> Rig {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let thread = self.thread.take().expect("started");
        thread.join().expect("the driver did not panic")
    }
}

/// An executor of one future on this OS thread, other than the manager's own.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
