//! A store inside this OS process, on a loopback port, for tests.
//!
//! The store is the protocol's machine with its records in memory. Each record is durable at once: it survives
//! [`Store::restart`], but not the drop of the store. The store has its own thread and needs no runtime.

use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tenure_protocol::attributes::Records;
use tenure_protocol::config::Settings;
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{
    AttributeName, Link, ProcessId, SessionId, StoreMachine as Machine, Time, ToStore,
};
use tenure_wire::{Decoder, Fault, FaultCode, FrameLimits, FromProcess, FromStore, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

pub use tenure_protocol::StoreSettings;

/// The time limit of [`Store::wait_until`].
const PATIENCE: Duration = Duration::from_secs(20);

/// A store for tests. Dropping it ends the store and loses its records.
#[derive(Debug)]
pub struct Store {
    core: Arc<Core>,
    address: SocketAddr,
}

/// The state that all connections share.
#[derive(Debug)]
struct Core {
    state: Mutex<State>,
    /// Notified after each change of the state.
    changed: Condvar,
    control: watch::Sender<Control>,
    settings: StoreSettings,
    limits: FrameLimits,
    origin: Instant,
}

#[derive(Debug)]
struct State {
    machine: Machine,
    records: Records,
    epoch: u64,
    /// The output queue of each connection. The item `None` closes the connection.
    lines: HashMap<(ProcessId, Link), mpsc::UnboundedSender<Option<Box<FromStore>>>>,
    counts: Counts,
    /// The number of connections accepted since the start.
    accepted: u64,
    is_listening: bool,
}

/// The numbers of messages that a [`Store`] has received since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// The number of messages of any kind.
    pub messages: u64,
    /// The number of keep-alives among them. These come with time and not with use.
    pub keep_alives: u64,
    /// The number of hellos among them, the first messages of connections.
    pub hellos: u64,
    /// The number of goodbyes among them.
    pub goodbyes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Control {
    is_paused: bool,
    is_stopped: bool,
    has_ended: bool,
    /// The current generation. Connections of earlier generations are cut.
    generation: u64,
    /// Connections up to this number are silent.
    silent: u64,
}

impl Store {
    /// Starts a store with default settings, on a port that the OS chooses.
    ///
    /// # Errors
    /// The OS provides no port or no thread.
    pub fn start() -> io::Result<Self> {
        Self::start_with(StoreSettings::default())
    }

    /// Starts a store with other durations and limits. A short lease makes tests short.
    ///
    /// # Errors
    /// As [`Store::start`].
    pub fn start_with(settings: StoreSettings) -> io::Result<Self> {
        let records = Records::default();
        let machine = Machine::recover(Settings::new(settings.clone()), 1, &records, Time::ZERO);
        let state = State {
            machine,
            records,
            epoch: 1,
            lines: HashMap::new(),
            counts: Counts::default(),
            accepted: 0,
            is_listening: true,
        };
        let core = Arc::new(Core {
            state: Mutex::new(state),
            changed: Condvar::new(),
            control: watch::Sender::new(Control::default()),
            limits: FrameLimits::generous(&settings.limits),
            settings,
            origin: Instant::now(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let own = Arc::clone(&core);
        std::thread::Builder::new()
            .name("tenure-testing".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::spawn(Arc::clone(&own).keep_time());
                    let listener = TcpListener::from_std(listener)
                        .expect("the runtime accepts a non-blocking listener");
                    own.listen(listener, address).await;
                });
            })?;
        Ok(Self { core, address })
    }

    /// Returns the address of the store, for [`Process::connect`](crate::Process::connect).
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts all connections. Ends no lease and frees no session.
    pub fn cut(&self) {
        self.core
            .control
            .send_modify(|control| control.generation += 1);
    }

    /// Stops reading and writing, as a broken network does. Connections stay open, and time passes.
    pub fn pause(&self) {
        self.core
            .control
            .send_modify(|control| control.is_paused = true);
    }

    /// Makes all existing connections and the `next` new ones silent for ever. The store neither reads, writes nor
    /// closes them. Later connections work.
    pub fn silence(&self, next: u64) {
        let accepted = self.core.state().accepted;
        self.core
            .control
            .send_modify(|control| control.silent = accepted + next);
    }

    /// Resumes reading and writing after [`Store::pause`].
    pub fn resume(&self) {
        self.core
            .control
            .send_modify(|control| control.is_paused = false);
    }

    /// Simulates a kill and a new start: cuts all connections and keeps only durable records.
    pub fn restart(&self) {
        let core = &self.core;
        let mut state = core.state();
        state.epoch += 1;
        let settings = Settings::new(core.settings.clone());
        state.machine = Machine::recover(settings, state.epoch, &state.records, core.now());
        drop(state);
        self.cut();
        self.core
            .control
            .send_modify(|control| control.is_stopped = false);
    }

    /// Simulates a kill: cuts all connections and stops listening until [`Store::restart`].
    pub fn stop(&self) {
        self.core.control.send_modify(|control| {
            control.is_stopped = true;
            control.generation += 1;
        });
        self.wait_until(|store| !store.core.state().is_listening);
    }

    /// Recalls a session from its holder, as an operator would.
    pub fn recall(&self, session: &str) {
        self.core.step(Input::Recall(id(session)));
    }

    /// Returns the durable value of an attribute.
    #[must_use]
    pub fn value(&self, session: &str, attribute: &str) -> Option<Bytes> {
        let attribute = AttributeName::new(attribute.to_owned()).ok()?;
        let state = self.core.state();
        state.records.get(&id(session))?.value(&attribute).cloned()
    }

    /// Returns the name of the process that holds a session.
    #[must_use]
    pub fn holder(&self, session: &str) -> Option<String> {
        let state = self.core.state();
        let holder = state.records.get(&id(session))?.head.holder.as_ref()?;
        Some(holder.process.to_string())
    }

    /// Returns the names of the processes that wait for a session, in queue order.
    #[must_use]
    pub fn waiters(&self, session: &str) -> Vec<String> {
        let state = self.core.state();
        let session = state.machine.session(&id(session));
        let places = session
            .into_iter()
            .flat_map(|session| session.lock().waiters());
        places.map(|place| place.process.to_string()).collect()
    }

    /// Returns the numbers of messages received so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.core.state().counts
    }

    /// Waits until `is_wanted` returns true, and blocks this OS thread until then. Calls `is_wanted` after each change
    /// of the store.
    ///
    /// # Panics
    /// Panics when that takes longer than 20 seconds.
    #[track_caller]
    pub fn wait_until(&self, mut is_wanted: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_wanted(self) {
            assert!(
                Instant::now() < until,
                "the store did not reach the expected state within 20 s"
            );
            let state = self.core.state();
            // A change between the call of `is_wanted` and this wait is noticed after 10 ms.
            let waited = self
                .core
                .changed
                .wait_timeout(state, Duration::from_millis(10));
            drop(waited);
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.core
            .control
            .send_modify(|control| control.has_ended = true);
    }
}

fn id(session: &str) -> SessionId {
    SessionId::new(session.to_owned()).expect("the test passes a session id of 1..=128 bytes")
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn step(&self, input: Input) {
        let mut state = self.state();
        let State {
            machine,
            records,
            lines,
            counts,
            ..
        } = &mut *state;
        if let Input::Message { message, .. } = &input {
            counts.messages += 1;
            match message {
                ToStore::KeepAlive { .. } => counts.keep_alives += 1,
                ToStore::Hello(_) => counts.hellos += 1,
                ToStore::Goodbye => counts.goodbyes += 1,
                _ => {}
            }
        }
        let mut out = Vec::new();
        machine.step(self.now(), input, &mut out);
        for output in out {
            // A message to a closed connection is dropped: the next hello reports the state anew.
            match output {
                Output::Persist(update) => records.apply(&update),
                Output::Send {
                    process,
                    link,
                    message,
                } => {
                    let line = lines.get(&(process, link));
                    line.map(|line| line.send(Some(Box::new(FromStore::Message(message)))));
                }
                Output::Disconnect { process, link } => {
                    lines.remove(&(process, link)).map(|line| line.send(None));
                }
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    async fn keep_time(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            tick.tick().await;
            let mut due: Vec<_> = self.state().machine.timers().collect();
            due.retain(|(due, _)| *due <= self.now());
            due.sort();
            for (_, timer) in due {
                self.step(Input::Timer(timer));
            }
        }
    }

    async fn listen(self: Arc<Self>, listener: TcpListener, address: SocketAddr) {
        let mut control = self.control.subscribe();
        let mut listener = Some(listener);
        while !control.borrow_and_update().has_ended {
            let is_stopped = control.borrow().is_stopped;
            if is_stopped {
                listener = None;
            } else if listener.is_none() {
                listener = Some(
                    TcpListener::bind(address)
                        .await
                        .expect("the port of the stopped store is still free"),
                );
            }
            self.state().is_listening = listener.is_some();
            self.changed.notify_all();
            tokio::select! {
                _ = control.changed() => {}
                Ok((stream, _)) = async { listener.as_ref().expect("enabled with a listener").accept().await },
                    if listener.is_some() =>
                {
                    tokio::spawn(Arc::clone(&self).serve(stream));
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut own = None;
        // The result does not matter: the other side sees the end of the connection.
        let _ = self.talk(stream, &mut own).await;
        if let Some((process, link)) = own {
            self.state().lines.remove(&(process.clone(), link));
            self.step(Input::Disconnected { process, link });
        }
    }

    async fn talk(
        &self,
        mut stream: TcpStream,
        own: &mut Option<(ProcessId, Link)>,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let number = {
            let mut state = self.state();
            state.accepted += 1;
            state.accepted
        };
        let mut control = self.control.subscribe();
        let generation = control.borrow().generation;
        let (line, mut lines) = mpsc::unbounded_channel::<Option<Box<FromStore>>>();
        let mut decoder = Decoder::new(self.limits.clone());
        let mut input = BytesMut::new();
        let mut outgoing = Outgoing::new();
        loop {
            let Control {
                is_paused,
                generation: newest,
                silent,
                ..
            } = *control.borrow_and_update();
            if newest != generation {
                return Ok(());
            }
            let is_paused = is_paused || number <= silent;
            tokio::select! {
                _ = control.changed() => {}
                item = lines.recv(), if !is_paused => {
                    let Some(Some(item)) = item else {
                        return stream.shutdown().await;
                    };
                    outgoing.push(&*item, &self.limits).map_err(io::Error::other)?;
                    stream.write_all_buf(&mut outgoing).await?;
                }
                read = stream.read_buf(&mut input), if !is_paused => {
                    if read? == 0 {
                        return Ok(());
                    }
                    loop {
                        match decoder.decode(&mut input) {
                            Ok(Some(item)) => self.take(item, own, &line),
                            Ok(None) => break,
                            Err(error) => {
                                let fault = FromStore::Fault(Fault::from(&error));
                                outgoing.push(&fault, &self.limits).map_err(io::Error::other)?;
                                return stream.write_all_buf(&mut outgoing).await;
                            }
                        }
                    }
                }
            }
        }
    }

    fn take(
        &self,
        item: FromProcess,
        own: &mut Option<(ProcessId, Link)>,
        line: &mpsc::UnboundedSender<Option<Box<FromStore>>>,
    ) {
        let (process, link, message) = match (item, own.clone()) {
            (FromProcess::Hello(opening), None) => {
                let (process, link, message) = opening.into_parts();
                *own = Some((process.clone(), link));
                self.state()
                    .lines
                    .insert((process.clone(), link), line.clone());
                (process, link, message)
            }
            (FromProcess::Message(message), Some((process, link))) => (process, link, message),
            (FromProcess::Fault(_), _) => return drop(line.send(None)),
            _ => {
                let fault = Fault::new(FaultCode::Unexpected, "this message is not allowed here");
                let told = line.send(Some(Box::new(FromStore::Fault(fault))));
                return drop(told.and_then(|()| line.send(None)));
            }
        };
        self.step(Input::Message {
            process,
            link,
            message,
        });
    }
}
