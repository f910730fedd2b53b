//! A store in the same OS process, for tests of the lock manager. The store is the same machine that runs as a real
//! store.

#![allow(dead_code)] // Each test file uses only some of these items.

pub(crate) mod by_hand;

use std::time::Duration;
use tenure_locks::{Event, Locks};
use tenure_protocol::attributes::Value;
use tenure_protocol::message::{AcquireRequest, Granted, Hello, Release, WaitMode};
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Limits, Link, ProcessId, ProcessSettings, Records, Request,
    SessionId, Settings, StoreMachine, StoreSettings, Time, ToProcess, ToStore, Token, Version,
};

/// The name of the process under test.
static OWN: ProcessId = ProcessId::from_static("own");
/// The name of another process, whose messages the test sends.
static OTHER: ProcessId = ProcessId::from_static("other");

/// Returns the id of the session that most tests use.
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

/// A test rig: a store, a lock manager connected to the store, and another process.
pub(crate) struct Rig {
    pub(crate) locks: Locks,
    store: StoreMachine,
    now: Time,
    link: Option<Link>,
    requests: u64,
    /// The messages that the other process has received.
    pub(crate) told: Vec<ToProcess>,
    /// The events for the manager's driver, except for messages.
    pub(crate) events: Vec<Event>,
    /// The number of messages in both directions.
    pub(crate) messages: usize,
    /// The number of updates that the store has made durable.
    pub(crate) updates: usize,
    /// Whether the other process gives each grant back at once.
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

    /// Creates a rig as [`Rig::holding`] does, with the system's clock.
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
        rig.say(ToStore::Hello(Hello {
            minor: tenure_protocol::MINOR,
            incarnation: Incarnation(1),
            sent: Time::ZERO,
            holds: Vec::new(),
            waits: Vec::new(),
        }));
        rig.locks.connected();
        rig.pump();
        rig.told.clear();
        rig
    }

    /// Creates a rig whose process holds these sessions, each with an attribute "a" of value "0".
    pub(crate) fn holding(ids: &[SessionId]) -> Self {
        let mut rig = Self::new();
        for id in ids {
            rig.hold(id, &[("a", b"0")]);
        }
        rig.messages = 0;
        rig
    }

    /// Lets the process lock a session and write these attributes.
    pub(crate) fn hold(&mut self, id: &SessionId, attributes: &[(&str, &'static [u8])]) {
        let session = self.locks.session(id);
        let mut request = Box::pin(session.lock_all());
        let mut guard = self.complete(&mut request).expect("locked");
        for (name, value) in attributes {
            guard.set(name, Value::from_static(value)).expect("set");
        }
        guard.unlock().expect("unlocked");
    }

    /// Polls a future, carries all messages, and polls the future again. The future must be ready then.
    pub(crate) fn complete<F: Future + Unpin>(&mut self, future: &mut F) -> F::Output {
        match self.poll(future) {
            Some(output) => output,
            None => {
                self.pump();
                self.poll(future)
                    .expect("the future is ready after all messages have arrived")
            }
        }
    }

    /// Polls a future once.
    pub(crate) fn poll<F: Future + Unpin>(&mut self, future: &mut F) -> Option<F::Output> {
        poll(future)
    }

    /// Carries messages until none is under way.
    pub(crate) fn pump(&mut self) {
        while let Some(event) = self.locks.try_event() {
            self.take(event);
        }
    }

    /// Carries out one event of the manager.
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

    /// Returns the manager without the rig.
    pub(crate) fn into_locks(self) -> Locks {
        self.locks
    }

    /// Carries messages until the manager has left. Another thread must shut the manager down.
    pub(crate) fn drive(&mut self) {
        while !self.locks.has_left() {
            let event = self.locks.wait_event(Duration::from_secs(60));
            self.take(event.expect("another thread shuts the manager down within the time limit"));
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
            } else if let (true, ToProcess::Granted(Granted { session, .. })) =
                (self.passes_on, &message)
            {
                let session = session.clone();
                self.told.push(message);
                self.release_elsewhere(&session);
            } else {
                self.told.push(message);
            }
        }
    }

    /// Sends a message of the other process to the store.
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

    /// Requests a session for the other process, so that the store recalls it from its holder.
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

    /// Returns the token and version under which the other process holds a session, if it does.
    pub(crate) fn held_elsewhere(&self, id: &SessionId) -> Option<(Token, Version)> {
        let head = &self.store.session(id)?.record().head;
        let holder = head.holder.as_ref()?;
        (holder.process == OTHER).then_some((holder.token, head.version))
    }

    /// Gives a session of the other process back.
    pub(crate) fn release_elsewhere(&mut self, id: &SessionId) {
        let (token, base) = self.held_elsewhere(id).expect("held elsewhere");
        self.say(ToStore::Release(Release {
            session: id.clone(),
            token,
            base,
            delta: Delta::default(),
            requeue: None,
            idle_ms: 0,
        }));
    }

    /// Recalls a session as an operator does.
    pub(crate) fn recall(&mut self, id: &SessionId) {
        self.step(Input::Recall(id.clone()));
    }

    /// Moves the time at both ends, and handles all deadlines that have passed.
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

    /// Returns the number of sessions that the store has in memory.
    pub(crate) fn resident(&self) -> usize {
        self.store.resident()
    }

    /// Returns the store's value of an attribute.
    pub(crate) fn stored(&self, id: &SessionId, name: &str) -> Option<Value> {
        let name = AttributeName::new(name.to_owned()).expect("a short name");
        self.store.session(id)?.record().value(&name).cloned()
    }
}

/// A driver on its own OS thread, until it is dropped.
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

/// Runs one future on this OS thread with an executor other than the manager's own.
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
