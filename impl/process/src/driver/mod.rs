//! The driver: one OS thread of its own for each process, which connects the locks to the store.
//!
//! It has a thread, and on it a runtime, of its own so that nothing the application does can keep it from running: a handler
//! that blocks its runtime's thread for longer than the lease would otherwise cost the process everything that it holds
//! (decision 13). It owns no rule. What it sends the locks have told it to send; what comes it gives to them; when time is to
//! pass they say when. What it decides is only when to connect, and which cached sessions nobody will miss.

mod incoming;

use crate::builder::Builder;
use crate::cache::Cache;
use crate::connection::Connection;
use crate::connection_state::{Backoff, ConnectionEvent, ConnectionState};
use crate::error::ConnectError;
use crate::host::OsHost;
use crate::log::Log;
use crate::shared::{Identity, Orders, Phase, Shared, State};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tenure_locks::{Event, Locks, ShortId};
use tenure_protocol::{Link, ProcessSettings, Time, ToStore};
use tenure_wire::{FrameLimits, FromProcess};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{Level, debug, error, warn};

/// How fine the times are that people look at.
const TICK: Duration = Duration::from_millis(100);
/// How often it looks for sessions that nobody uses.
const SWEEP: Duration = Duration::from_secs(1);
/// How soon it looks when there are too many.
const SWEEP_SOON: Duration = Duration::from_millis(50);

pub(crate) struct Driver {
    shared: Arc<Shared>,
    log: Log,
    orders: watch::Receiver<Orders>,
    settings: ProcessSettings,
    limits: FrameLimits,
    connection: ConnectionState,
    backoff: Backoff,
    cache: Cache,
    /// When the locks want to be called, as far as is known. Asked at each tick: the answer looks at all who wait.
    due: Option<Time>,
    tick_at: Instant,
    sweep_at: Instant,
    /// By then a store must have welcomed it; `None` once one has.
    connect_by: Option<Instant>,
    connect: Duration,
    /// Why the store has ended the lease, when it said so.
    verdict: Option<&'static str>,
    /// It will do no more.
    is_done: bool,
}

impl Driver {
    /// Starts the thread.
    pub(crate) fn start(identity: Identity, builder: Builder) -> Result<Arc<Shared>, ConnectError> {
        let Builder { settings, .. } = &builder;
        let failed = |error: io::Error| ConnectError::Driver {
            why: error.to_string(),
        };
        let host = Box::new(OsHost::new().map_err(failed)?);
        let locks = Locks::with_host(settings.clone(), identity.incarnation, host);
        let orders = watch::Sender::new(Orders::default());
        let shared = Arc::new(Shared {
            identity,
            locks,
            shutdown_timeout: builder.shutdown_timeout,
            orders,
            state: watch::Sender::new(State::default()),
            events_dropped: Arc::default(),
        });
        let own = Arc::clone(&shared);
        let log = Log::start(Arc::clone(&shared.events_dropped)).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        std::thread::Builder::new()
            .name("tenure-driver".to_owned())
            .spawn(move || {
                let ending = Ending(Arc::clone(&own));
                runtime.block_on(async { Self::new(own, log, &builder).run().await });
                // A look-up of the store's address may still be under way, and nobody wants its answer.
                runtime.shutdown_background();
                drop(ending);
            })
            .map_err(failed)?;
        Ok(shared)
    }

    fn new(shared: Arc<Shared>, log: Log, builder: &Builder) -> Self {
        let now = Instant::now();
        let connect = builder.connect_timeout;
        Self {
            orders: shared.orders.subscribe(),
            connection: ConnectionState::open(shared.identity.address.clone(), connect, None),
            shared,
            log,
            settings: builder.settings.clone(),
            limits: FrameLimits::generous(&builder.settings.limits),
            backoff: Backoff::new(builder.backoff_ms),
            cache: Cache::new(builder.cached_max, builder.idle_ms),
            due: None,
            tick_at: now,
            sweep_at: now + SWEEP,
            connect_by: Some(now + connect),
            connect,
            verdict: None,
            is_done: false,
        }
    }

    async fn run(mut self) {
        while !self.is_done {
            self.pass_time();
            self.carry_out_all();
            self.heed_orders();
            if self.is_done {
                break;
            }
            let wake = self.wake_at();
            let locks = self.shared.locks.clone();
            // In this order, so that a run can be repeated. Neither starves the others: each turn begins with the time, and
            // carries out every event.
            tokio::select! {
                biased;
                _ = self.orders.changed() => {}
                moved = self.connection.progress() => self.on_moved(moved),
                event = locks.event() => self.carry_out(event),
                () = sleep_until(wake) => {}
            }
        }
        self.carry_out_all();
        if let ConnectionState::Open(connection) =
            std::mem::replace(&mut self.connection, ConnectionState::Closed)
        {
            connection.finish().await;
        }
    }

    /// Does what is due.
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
        let Orders { shutdown_by, .. } = *self.orders.borrow();
        let late = self.shared.state.borrow().late;
        let shutdown_by = shutdown_by.filter(|by| late < Some(*by));
        let times = [due, self.connect_by, shutdown_by.map(Instant::from_std)];
        let times = times.into_iter().flatten();
        times.fold(self.tick_at.min(self.sweep_at), Instant::min)
    }

    /// Everything that the locks want, then the bytes of it.
    fn carry_out_all(&mut self) {
        // First: its farewell is among the events then.
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
                // A farewell is still to be written.
                if self.is_current(link) && !self.shared.locks.has_left() {
                    // The machine leaves a silent connection while it has a lease, and any connection when the lease ends.
                    let why = if self.shared.locks.lease().is_some() {
                        "the connection is silent: a keep-alive has had no answer for half of what the lease had left"
                    } else {
                        "the lease has ended: nothing was heard of the store"
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
            (ToStore::Hello { .. }, None) => connection.link = Some(link),
            // A second hello on the same connection would make its answers ambiguous.
            // r[connect.hello-alone]
            (ToStore::Hello { .. }, Some(_)) => {
                return self.close("the store accepts connections, but does not answer");
            }
            (_, own) if own == Some(link) => {}
            _ => return, // It was for an earlier connection.
        }
        if let ToStore::Release { session, token, .. } = &message
            && Log::is_on(Level::DEBUG)
        {
            let (session, token) = (session.clone(), *token);
            self.log.say(Level::DEBUG, move || {
                debug!(session = %ShortId(&session), token = %token, "released");
            });
        }
        let item = FromProcess::new(&self.shared.identity.name, link, message);
        if let Err(error) = connection.push(&item) {
            // The limits that the locks check are smaller, so this is a bug of ours.
            let why = format!("a message was not sent: {error}");
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

    /// The connection has ended, or did not come about.
    fn close(&mut self, why: &str) {
        let lived = match &self.connection {
            ConnectionState::Open(connection) => Some(connection.opened.elapsed()),
            _ => None,
        };
        // While there is a lease to save, a long pause may cost it.
        let most = self.lease_left().map(|left| left / 4);
        let pause = self.backoff.next(lived, most);
        let why = match self.backoff.cuts() {
            cuts @ 2.. if lived.is_some() => format!(
                "{why}; {cuts} connections in a row ended soon after they had begun: the log of the store says why"
            ),
            _ => why.to_owned(),
        };
        // r[connect.again]
        self.connection = ConnectionState::Waiting(Instant::now() + pause);
        self.shared.locks.disconnected();
        let Identity { address, name, .. } = self.shared.identity.clone();
        let again_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.note_error(&why);
        self.log.say(
            Level::WARN,
            move || warn!(%address, process = %name, again_ms, "no connection: {why}"),
        );
        self.shared
            .state
            .send_modify(|state| state.phase = Phase::Connecting);
    }

    /// How much longer the lease lasts; `None` without one.
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

    /// Gives up: nobody was ever let in, or nobody will be again.
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

    /// What the handles want.
    fn heed_orders(&mut self) {
        let Orders {
            shutdown_by,
            is_dropped,
        } = *self.orders.borrow_and_update();
        let Some(by) = shutdown_by else {
            return;
        };
        let is_late = std::time::Instant::now() >= by;
        // Without a lease there is nothing to give back, and nobody to say goodbye to.
        let is_free = self.shared.locks.lease().is_none() && self.held() == 0;
        let is_alone =
            self.connect_by.is_some() || !matches!(self.connection, ConnectionState::Open(_));
        if is_late && is_dropped || is_free && is_alone {
            if !is_free {
                let held = self.held();
                self.log.say(Level::WARN, move || {
                    warn!("stopped before everything was given back: {held} sessions until the lease ends");
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

/// Tells the handles that the thread ends, also when it panics.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        // Nobody may wait for what will never come. After a panic inside the locks, a bug in Tenure, this panics as whoever uses
        // them next does; the handles are told nonetheless.
        let locks = &self.0.locks;
        let _ = catch_unwind(AssertUnwindSafe(|| {
            locks.disconnected();
            locks.shutdown();
        }));
        self.0.state.send_modify(|state| {
            if state.phase != Phase::Superseded {
                state.phase = Phase::Stopped;
            }
            // Else threads would be told that the process shuts down, and nobody why.
            if std::thread::panicking() {
                state.last_error = Some(Arc::from(
                    "the thread of the connection has panicked, which is a bug in Tenure: its message says where",
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
