//! The driver, which connects the locks of one process to the store.
//!
//! The driver has its own thread, with a runtime on it, so that the application cannot keep it from running. Otherwise,
//! a handler that blocks its runtime's thread for longer than the lease would cost the process all its grants (decision
//! 13). While tasks of a runtime that the application has named request sessions, the driver runs there: see the module
//! `place`.
//!
//! The driver implements no rule of the protocol. It sends the messages that the locks produce, passes received
//! messages to the locks, and calls the locks at the times that they request. The driver itself decides only when to
//! connect, and which cached sessions to release.

mod incoming;

use crate::cache::Cache;
use crate::connection::Connection;
use crate::connection_state::{Backoff, ConnectionEvent, ConnectionState};
use crate::error::ConnectError;
use crate::host::OsHost;
use crate::log::Log;
use crate::place::{Address, Place, Polled};
use crate::shared::{Identity, Orders, Phase, Shared};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tenure_locks::{Event, Locks, ShortId};
use tenure_protocol::message::Release;
use tenure_protocol::{Link, ProcessSettings, Time, ToStore};
use tenure_wire::{FrameLimits, FromProcess};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{Level, debug, error, warn};

/// The interval between two ticks, and so the precision of all deadlines.
const TICK: Duration = Duration::from_millis(100);
/// The interval between two checks for idle sessions.
const SWEEP: Duration = Duration::from_secs(1);
/// The delay of that check while the cache is full.
const SWEEP_SOON: Duration = Duration::from_millis(50);

/// The settings of a driver, from the [`Builder`](crate::Builder) of its process.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) settings: ProcessSettings,
    pub(crate) cached_max: usize,
    pub(crate) idle_ms: u64,
    pub(crate) connect_timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) backoff_ms: (u64, u64),
    /// The runtime of the application that may run the driver.
    pub(crate) runtime: Option<Handle>,
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    log: Log,
    settings: ProcessSettings,
    limits: FrameLimits,
    connection: ConnectionState,
    backoff: Backoff,
    cache: Cache,
    /// The next known deadline of the locks. Read once per tick, since the query looks at all waiting threads.
    due: Option<Time>,
    tick_at: Instant,
    sweep_at: Instant,
    /// The time by which a store must have accepted the process. `None` after the first acceptance.
    connect_by: Option<Instant>,
    connect: Duration,
    /// The reason that the store gave when it ended the lease.
    verdict: Option<&'static str>,
    /// The driver has finished its work.
    is_done: bool,
}

impl Driver {
    /// Starts the driver's thread.
    pub(crate) fn start(identity: Identity, options: Options) -> Result<Arc<Shared>, ConnectError> {
        let failed = |error: io::Error| ConnectError::Driver {
            why: error.to_string(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let place = Arc::new(
            Place::new(runtime.handle().clone(), options.runtime.clone()).map_err(failed)?,
        );
        let host = Box::new(OsHost::new(Arc::clone(&place)).map_err(failed)?);
        let locks = Locks::with_host(options.settings.clone(), identity.incarnation, host);
        let shared = Shared::new(
            identity,
            Arc::clone(&place),
            locks,
            options.shutdown_timeout,
        );
        let shared = Arc::new(shared);
        let log = Log::start(Arc::clone(&shared.events_dropped)).map_err(failed)?;
        let own = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("tenure-driver".to_owned())
            .spawn(move || {
                let ending = Ending(Arc::clone(&own));
                runtime.block_on(async {
                    let driver = Self::new(own, log, options);
                    place.run(Box::new(driver)).await;
                });
                // A DNS look-up of the store's address may still be running, and its result is not
                // needed.
                runtime.shutdown_background();
                drop(ending);
            })
            .map_err(failed)?;
        Ok(shared)
    }

    fn new(shared: Arc<Shared>, log: Log, options: Options) -> Self {
        let now = Instant::now();
        let connect = options.connect_timeout;
        Self {
            connection: ConnectionState::open(shared.identity.address.clone(), connect, None),
            shared,
            log,
            limits: FrameLimits::generous(&options.settings.limits),
            settings: options.settings,
            backoff: Backoff::new(options.backoff_ms),
            cache: Cache::new(options.cached_max, options.idle_ms),
            due: None,
            tick_at: now,
            sweep_at: now + SWEEP,
            connect_by: Some(now + connect),
            connect,
            verdict: None,
            is_done: false,
        }
    }

    /// Moves the connection to the runtime that runs the driver now.
    fn settle(&mut self) {
        let ConnectionState::Open(connection) = &mut self.connection else {
            return;
        };
        let (address, runtime) = self.shared.place.runtime();
        if let Err(error) = connection.move_to(address, &runtime) {
            self.close(&format!(
                "could not move the connection to another runtime: {error}"
            ));
        }
    }

    /// Handles all deadlines that have passed.
    fn pass_time(&mut self) {
        let now = Instant::now();
        let locks = &self.shared.locks;
        let is_due = self.due.is_some_and(|due| due <= locks.now());
        if is_due || now >= self.tick_at {
            locks.tick();
            self.due = locks.next_deadline();
            self.tick_at = now + TICK;
        }
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP;
            self.cache.trim(locks);
        }
        if self.connect_by.is_some_and(|by| now >= by) {
            self.fail(None);
        }
    }

    fn wake_at(&self) -> Instant {
        let locks = &self.shared.locks;
        let due = self.due.map(|due| {
            let left = due.since(locks.now());
            Instant::now() + Duration::from_millis(left)
        });
        let Orders { shutdown_by, .. } = self.shared.orders();
        let late = self.shared.state.borrow().late;
        let shutdown_by = shutdown_by.filter(|by| late < Some(*by));
        let times = [due, self.connect_by, shutdown_by.map(Instant::from_std)];
        let times = times.into_iter().flatten();
        times.fold(self.tick_at.min(self.sweep_at), Instant::min)
    }

    /// Carries out all events of the locks, and then writes the resulting bytes.
    fn carry_out_all(&mut self) {
        // Read before the events are taken: if true, the goodbye is among these events.
        let has_left = self.shared.locks.has_left();
        while let Some(event) = self.shared.locks.try_event() {
            self.carry_out(event);
        }
        if let ConnectionState::Open(connection) = &mut self.connection
            && let Err(error) = connection.flush()
        {
            self.close(&lost(&error));
        }
        self.is_done |= has_left;
    }

    fn carry_out(&mut self, event: Event) {
        match event {
            Event::Send { link, message } => self.send(link, message),
            Event::Disconnect { link } => {
                // After `has_left`, the goodbye must still be written, so the connection stays open.
                if self.is_current(link) && !self.shared.locks.has_left() {
                    // The machine leaves a silent connection while it has a lease, and any
                    // connection when the lease ends.
                    let why = if self.shared.locks.lease().is_some() {
                        "the connection is silent: a keep-alive has had no answer for half of the time left of \
                         the lease"
                    } else {
                        "the lease has ended: no message from the store has arrived in time"
                    };
                    let why = self.verdict.take().unwrap_or(why);
                    self.close(why);
                }
            }
            Event::Until(then) => {
                self.due = Some(self.due.map_or(then, |due| due.min(then)));
            }
            Event::Discarded(discard) => self.log.say(Level::WARN, move || warn!("{discard}")),
        }
    }

    fn is_current(&self, link: Link) -> bool {
        matches!(&self.connection, ConnectionState::Open(connection) if connection.link == Some(link))
    }

    fn send(&mut self, link: Link, message: ToStore) {
        let ConnectionState::Open(connection) = &mut self.connection else {
            return;
        };
        match (&message, connection.link) {
            (ToStore::Hello(_), None) => connection.link = Some(link),
            // After a second hello on one connection, answers to the two could not be told apart.
            // r[connect.hello-alone]
            (ToStore::Hello(_), Some(_)) => {
                return self
                    .close("the store accepted the connection, but did not answer the hello");
            }
            (_, own) if own == Some(link) => {}
            _ => return, // The message belongs to an earlier connection.
        }
        if let ToStore::Release(Release { session, token, .. }) = &message
            && Log::is_on(Level::DEBUG)
        {
            let (session, token) = (session.clone(), *token);
            self.log.say(Level::DEBUG, move || {
                debug!(session = %ShortId(&session), token = %token, "released");
            });
        }
        let item = FromProcess::new(&self.shared.identity.name, link, message);
        if let Err(error) = connection.push(&item) {
            // The locks check smaller limits than the encoder, so this error is a bug in Tenure.
            let why = format!(
                "could not encode a message to the store, which is a bug in Tenure: {error}"
            );
            self.note_error(&why);
            self.log.say(Level::ERROR, move || error!("{why}"));
        }
    }

    fn on_moved(&mut self, moved: ConnectionEvent) {
        match moved {
            ConnectionEvent::Time => {
                let address = self.shared.identity.address.clone();
                self.connection = ConnectionState::open(address, self.connect, self.lease_left());
            }
            ConnectionEvent::Opened(Ok(stream)) => {
                let connection = Connection::new(stream, self.limits.clone());
                self.connection = ConnectionState::Open(Box::new(connection));
                self.shared.locks.connected();
            }
            ConnectionEvent::Opened(Err(error)) => {
                if error.kind() == io::ErrorKind::InvalidInput && self.connect_by.is_some() {
                    let address = self.shared.identity.address.clone();
                    let why = error.to_string();
                    return self.fail(Some(ConnectError::Address { address, why }));
                }
                self.close(&error.to_string());
            }
            ConnectionEvent::Bytes(Ok(())) => self.take_messages(),
            ConnectionEvent::Bytes(Err(error)) => {
                self.take_messages();
                self.close(&lost(&error));
            }
        }
    }

    fn address(&self) -> String {
        self.shared.identity.address.clone()
    }

    /// Gives up the connection, or the attempt to connect, and schedules the next attempt.
    fn close(&mut self, why: &str) {
        let lived = match &self.connection {
            ConnectionState::Open(connection) => Some(connection.opened.elapsed()),
            _ => None,
        };
        // A long pause could cost the lease that is still valid.
        let most = self.lease_left().map(|left| left / 4);
        let pause = self.backoff.next(lived, most);
        let why = match self.backoff.cuts() {
            cuts @ 2.. if lived.is_some() => format!(
                "{why}; {cuts} connections in a row ended soon after they began; see the log of the store for the \
                 reason"
            ),
            _ => why.to_owned(),
        };
        // r[connect.again]
        self.connection = ConnectionState::wait(pause);
        self.shared.locks.disconnected();
        let Identity { address, name, .. } = self.shared.identity.clone();
        let again_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.note_error(&why);
        self.log.say(
            Level::WARN,
            move || warn!(%address, process = %name, again_ms, "no connection to the store; trying again later: {why}"),
        );
        self.shared
            .state
            .send_modify(|state| state.phase = Phase::Connecting);
    }

    /// Returns the time that is left of the lease, or `None` without a lease.
    fn lease_left(&self) -> Option<Duration> {
        let locks = &self.shared.locks;
        let left = locks.lease()?.since(locks.now());
        Some(Duration::from_millis(left))
    }

    fn note_error(&self, why: &str) {
        let why = Some(Arc::from(why));
        self.shared
            .state
            .send_modify(|state| state.last_error = why);
    }

    /// Stops for good: no store has accepted this process in time, or no store ever will again.
    fn fail(&mut self, failure: Option<ConnectError>) {
        let state = self.shared.state.borrow().clone();
        let failure = failure.unwrap_or_else(|| ConnectError::Unreachable {
            address: self.address(),
            waited: self.connect,
            why: state
                .last_error
                .map_or_else(|| "no answer".to_owned(), |why| why.to_string()),
        });
        let why = failure.to_string();
        self.note_error(&why);
        if self.connect_by.is_none() {
            self.log.say(Level::ERROR, move || error!("{why}"));
        }
        let is_superseded = matches!(failure, ConnectError::Superseded { .. });
        self.shared.state.send_modify(|state| {
            if is_superseded {
                state.phase = Phase::Superseded;
            }
            state.failure = Some(failure);
        });
        self.connect_by = None;
        self.shared.locks.shutdown();
        self.is_done = true;
    }

    /// Carries out the orders of the handles.
    fn heed_orders(&mut self) {
        let Orders {
            shutdown_by,
            is_dropped,
        } = self.shared.orders();
        let Some(by) = shutdown_by else {
            return;
        };
        let is_late = std::time::Instant::now() >= by;
        // Without a lease there are no grants to release and there is no goodbye to send.
        let is_free = self.shared.locks.lease().is_none() && self.held() == 0;
        let is_alone =
            self.connect_by.is_some() || !matches!(self.connection, ConnectionState::Open(_));
        if is_late && is_dropped || is_free && is_alone {
            if !is_free {
                let held = self.held();
                self.log.say(Level::WARN, move || {
                    warn!("stopped with grants left: {held} sessions stay blocked until the lease ends");
                });
            }
            self.is_done = true;
        } else if is_late {
            self.shared.state.send_if_modified(|state| {
                let is_news = state.late < Some(by);
                state.late = Some(by);
                is_news
            });
        }
    }

    fn held(&self) -> usize {
        self.shared.held(self.shared.state.borrow().phase)
    }
}

impl Polled for Driver {
    /// A fixed order makes a run repeatable. Nothing starves: each turn first handles the time and then all events.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.settle();
        loop {
            self.pass_time();
            self.carry_out_all();
            self.heed_orders();
            if self.is_done {
                self.carry_out_all();
                return Poll::Ready(());
            }
            if let Poll::Ready(moved) = self.connection.poll_progress(context) {
                self.on_moved(moved);
            } else if let Poll::Ready(event) = self.shared.locks.poll_event(context) {
                self.carry_out(event);
            } else {
                break;
            }
        }
        let is_open = matches!(self.connection, ConnectionState::Open(_));
        let is_wanted = self.connect_by.is_none() && self.shared.orders().shutdown_by.is_none();
        self.shared.place.note(self.wake_at(), is_open && is_wanted);
        Poll::Pending
    }

    fn has_input(&self) -> bool {
        matches!(&self.connection, ConnectionState::Open(connection) if connection.has_input())
    }

    /// Writes the last bytes and closes the connection.
    fn finish(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let connection = std::mem::replace(&mut self.connection, ConnectionState::Closed);
            if let ConnectionState::Open(mut connection) = connection
                && connection
                    .move_to(Address::default(), &Handle::current())
                    .is_ok()
            {
                connection.finish().await;
            }
        })
    }
}

/// Publishes the end of the driver's thread to the handles, even if the thread panics.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        // No handle may wait for ever for a thread that has ended. If the driver panicked inside the locks, a
        // bug in Tenure, these calls panic too; the state is published nonetheless.
        let locks = &self.0.locks;
        let _ = catch_unwind(AssertUnwindSafe(|| {
            locks.disconnected();
            locks.shutdown();
        }));
        self.0.state.send_modify(|state| {
            if state.phase != Phase::Superseded {
                state.phase = Phase::Stopped;
            }
                        // Without this, threads would see a shutdown without its reason.
            if std::thread::panicking() {
                state.last_error = Some(Arc::from(
                    "the driver's thread has panicked, which is a bug in Tenure; the panic message on stderr says \
                     where",
                ));
            }
            state.has_ended = true;
        });
    }
}

fn lost(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the store closed the connection".to_owned(),
        _ => format!("the connection was lost: {error}"),
    }
}
