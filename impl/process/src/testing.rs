//! A store in this OS process, on a loopback port: for your own tests, and for the ones here.
//!
//! It is the protocol's store with its records in memory: what it is told is durable at once, and survives
//! [`Store::restart`], but not the drop of it. It has a thread of its own, and needs no runtime.

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

/// How long [`Store::wait_until`] waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store. Dropping it ends it, and all that it knows.
#[derive(Debug)]
pub struct Store {
    core: Arc<Core>,
    address: SocketAddr,
}

/// What its connections share.
#[derive(Debug)]
struct Core {
    state: Mutex<State>,
    /// Something has changed in it.
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
    /// What is to be written on each connection; `None`: no more.
    lines: HashMap<(ProcessId, Link), mpsc::UnboundedSender<Option<Box<FromStore>>>>,
    counts: Counts,
    /// Connections that were ever accepted.
    accepted: u64,
    is_listening: bool,
}

/// What a [`Store`] has received, since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Messages of any kind.
    pub messages: u64,
    /// Of these, keep-alives, which come with time and not with use.
    pub keep_alives: u64,
    /// Of these, first messages of a connection.
    pub hellos: u64,
    /// Of these, goodbyes.
    pub goodbyes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Control {
    is_paused: bool,
    is_stopped: bool,
    has_ended: bool,
    /// Connections of an earlier one are cut.
    generation: u64,
    /// Connections up to this number are silent.
    silent: u64,
}

impl Store {
    /// Starts a store with the usual settings, on a port that the OS chooses.
    ///
    /// # Errors
    /// When the OS gives no port or no thread.
    pub fn start() -> io::Result<Self> {
        Self::start_with(StoreSettings::default())
    }

    /// Starts a store with other times and limits: a short lease makes short tests.
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
                    let listener = TcpListener::from_std(listener).expect("a new listener");
                    own.listen(listener, address).await;
                });
            })?;
        Ok(Self { core, address })
    }

    /// Where it listens: for [`Process::connect`](crate::Process::connect).
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts all connections. Frees nothing.
    pub fn cut(&self) {
        self.core
            .control
            .send_modify(|control| control.generation += 1);
    }

    /// Reads and writes nothing any more, as behind a broken network; connections stay, and time passes.
    pub fn pause(&self) {
        self.core
            .control
            .send_modify(|control| control.is_paused = true);
    }

    /// Makes the connections that exist, and the `next` ones, silent for ever: nothing is read or written there, and none of
    /// them is closed. Later ones work.
    pub fn silence(&self, next: u64) {
        let accepted = self.core.state().accepted;
        self.core
            .control
            .send_modify(|control| control.silent = accepted + next);
    }

    /// Reads and writes again.
    pub fn resume(&self) {
        self.core
            .control
            .send_modify(|control| control.is_paused = false);
    }

    /// As if it was killed and started again: cuts all connections, and knows only what was durable.
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

    /// As if it was killed: cuts all connections and listens no more, until [`Store::restart`].
    pub fn stop(&self) {
        self.core.control.send_modify(|control| {
            control.is_stopped = true;
            control.generation += 1;
        });
        self.wait_until(|store| !store.core.state().is_listening);
    }

    /// Asks the holder to give a session back, as an operator would.
    pub fn recall(&self, session: &str) {
        self.core.step(Input::Recall(id(session)));
    }

    /// The durable value of an attribute.
    #[must_use]
    pub fn value(&self, session: &str, attribute: &str) -> Option<Bytes> {
        let attribute = AttributeName::new(attribute.to_owned()).ok()?;
        let state = self.core.state();
        state.records.get(&id(session))?.value(&attribute).cloned()
    }

    /// The name of the process that holds a session.
    #[must_use]
    pub fn holder(&self, session: &str) -> Option<String> {
        let state = self.core.state();
        let holder = state.records.get(&id(session))?.head.holder.as_ref()?;
        Some(holder.process.to_string())
    }

    /// The names of the processes that wait for a session, in order.
    #[must_use]
    pub fn waiters(&self, session: &str) -> Vec<String> {
        let state = self.core.state();
        let session = state.machine.session(&id(session));
        let places = session
            .into_iter()
            .flat_map(|session| session.lock().waiters());
        places.map(|place| place.process.to_string()).collect()
    }

    /// What it has received.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.core.state().counts
    }

    /// Waits until it is as `is_wanted`, which is asked after everything that happens. Blocks this OS thread.
    ///
    /// # Panics
    /// When that takes longer than 20 seconds.
    #[track_caller]
    pub fn wait_until(&self, mut is_wanted: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_wanted(self) {
            assert!(Instant::now() < until, "it did not come to that");
            let state = self.core.state();
            // What happens between the question and here is seen a little later.
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
    SessionId::new(session.to_owned()).expect("an id has 1..=128 bytes")
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
                ToStore::Hello { .. } => counts.hellos += 1,
                ToStore::Goodbye => counts.goodbyes += 1,
                _ => {}
            }
        }
        let mut out = Vec::new();
        machine.step(self.now(), input, &mut out);
        for output in out {
            // Whoever has gone gets nothing: the next hello says what was missed.
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
                        .expect("the port is still free"),
                );
            }
            self.state().is_listening = listener.is_some();
            self.changed.notify_all();
            tokio::select! {
                _ = control.changed() => {}
                Ok((stream, _)) = async { listener.as_ref().expect("just seen").accept().await }, if listener.is_some() => {
                    tokio::spawn(Arc::clone(&self).serve(stream));
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut own = None;
        // However it ends, the other side sees that it has.
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
                let fault = Fault::new(FaultCode::Unexpected, "not its place");
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
