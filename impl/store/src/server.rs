//! Starts, runs and stops a store.

use crate::admin;
use crate::clock::{SystemTimeSource, TimeSource};
use crate::config::{Config, millis};
use crate::connection::Service;
use crate::error::StoreError;
use crate::mark::{self, start_clock};
use crate::metrics::Metrics;
use crate::shard::{Failure, Shard};
use crate::stall::{StallChange, StallWatch};
use crate::stop::{Stop, Stopper};
use crate::writer::{Durable, Writer};
use prometheus_client::metrics::counter::Counter;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tenure_engine::{Embedded, Engine, EngineError, Settings as EngineSettings};
use tenure_protocol::store::Stopping;
use tenure_protocol::{Records, Settings, StoreMachine, StoreSettings};
use tenure_wire::{Fault, FaultCode, FrameLimits};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// The number of session heads read from the engine at a time during start.
const PAGE: usize = 10_000;

/// The interval at which unused sessions are removed from memory.
const EVICT_EVERY: Duration = Duration::from_millis(100);

/// The time that connections have to close: slightly more than a peer has to read the reason.
const CLOSE: Duration = Duration::from_millis(2_500);

/// The interval at which a running store writes a clock mark for the next start.
const MARK_EVERY: Duration = Duration::from_secs(60);

/// A store that listens on its addresses and is ready to run.
#[derive(Debug)]
pub struct Server {
    service: Arc<Service>,
    listener: TcpListener,
    admin: TcpListener,
    writer: JoinHandle<()>,
    recovered: Recovered,
    stop: watch::Sender<Stop>,
}

/// The number of sessions and grants that a store found when it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The epoch of this start, larger than that of every earlier start.
    pub epoch: u64,
    /// The number of sessions that have a record.
    pub sessions: usize,
    /// The number of sessions that a process holds.
    pub held: usize,
}

/// A counter of log lines that were dropped because the log was not read.
#[derive(Clone, Debug)]
pub struct DroppedLines(Counter);

impl DroppedLines {
    /// Adds `lines` to the counter. This call never blocks and never logs.
    pub fn add(&self, lines: u64) {
        self.0.inc_by(lines);
    }
}

impl Server {
    /// Opens the embedded engine in the configured folder and starts a store as [`Server::with_engine`] does.
    ///
    /// # Errors
    /// As [`Server::with_engine`]. Also [`StoreError::Engine`] if the folder cannot be opened.
    pub async fn start(config: Config) -> Result<Self, StoreError> {
        config.check()?;
        let settings = EngineSettings {
            level: config.durability.into(),
            ..EngineSettings::default()
        };
        let engine = Embedded::open(&config.data, settings)?;
        Self::with_engine(config, Box::new(engine)).await
    }

    /// Claims the engine, reads the durable sessions, and starts to listen. No message is processed before
    /// [`Server::run`].
    ///
    /// # Errors
    /// [`StoreError::Config`] if a setting is invalid, [`StoreError::Bind`] if an address cannot be listened on,
    /// [`StoreError::Engine`] if the engine fails, and [`StoreError::Thread`] if no thread can be started.
    pub async fn with_engine(config: Config, engine: Box<dyn Engine>) -> Result<Self, StoreError> {
        Self::with_clock(config, engine, Arc::new(SystemTimeSource)).await
    }

    /// Starts a store as [`Server::with_engine`] does, with another time source than the system clocks. Intended for
    /// tests and simulations.
    ///
    /// # Errors
    /// As [`Server::with_engine`].
    pub async fn with_clock(
        config: Config,
        mut engine: Box<dyn Engine>,
        source: Arc<dyn TimeSource>,
    ) -> Result<Self, StoreError> {
        config.check()?;
        let bind = async |address| {
            let listener = TcpListener::bind(address).await;
            listener.map_err(|source| StoreError::Bind { address, source })
        };
        // Bind before claiming the engine: if an address is in use, the data is not taken over from a running store.
        let listener = bind(config.listen).await?;
        let admin = bind(config.admin).await?;
        let metrics = Arc::new(Metrics::new());
        let epoch = engine.claim()?;
        let (clock, promised) = start_clock(&config, &mut *engine, source)?;
        let settings = StoreSettings {
            promised: promised.clone(),
            ..config.settings()
        };
        let machine = StoreMachine::recover(
            Settings::new(settings),
            epoch,
            &Records::default(),
            clock.now(),
        );
        let writer = Arc::new(Writer::new(engine, config.limits.backlog_bytes_max));
        let shard = Shard::new(machine, clock, Arc::clone(&writer), Arc::clone(&metrics));
        let shard = Arc::new(shard);
        let recovered = writer.with_engine(|engine| recover(&shard, engine, epoch))?;
        let told: Arc<dyn Durable> = Arc::clone(&shard) as _;
        let writer = writer
            .start(told, Arc::clone(&metrics))
            .map_err(StoreError::Thread)?;
        let service = Service {
            shard,
            promised,
            limits: FrameLimits::generous(&config.settings().limits),
            config: Arc::new(config),
            metrics,
            closing: watch::Sender::new(false),
        };
        Ok(Self {
            service: Arc::new(service),
            listener,
            admin,
            writer,
            recovered,
            stop: watch::Sender::new(Stop::Run),
        })
    }

    /// Returns the listen address for processes. If the system chose the port, the address contains that port.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns the listen address of the admin listener.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Returns the number of sessions and grants that the start found.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Returns the counter of log lines that the surrounding program dropped, exported as
    /// `tenure_log_dropped_lines_total`.
    #[must_use]
    pub fn dropped_lines(&self) -> DroppedLines {
        DroppedLines(self.service.metrics.dropped_lines.clone())
    }

    /// Returns a handle that stops this store while it runs.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Serves connections until a [`Stopper`] stops the store.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine failed, and [`StoreError::Panicked`] if a thread panicked, which is a bug.
    /// All commits that were acknowledged before the failure are durable; none is acknowledged after it.
    pub async fn run(self) -> Result<(), StoreError> {
        let Self {
            service,
            listener,
            admin,
            writer,
            stop,
            ..
        } = self;
        let shard = Arc::clone(&service.shard);
        let accepts = tokio::spawn(accept(Arc::clone(&service), listener));
        let mut commits = tokio::spawn(commit(Arc::clone(&service)));
        let mut ticks = tokio::spawn(tick(Arc::clone(&shard)));
        let mut evicts = tokio::spawn(evict(Arc::clone(&service)));
        let marks = tokio::spawn(leave_marks(Arc::clone(&service)));
        let stopper = Stopper(stop.clone());
        let admin = tokio::spawn(admin::serve(admin, Arc::clone(&service), stopper));
        let mut stops = stop.subscribe();
        let mut fails = shard.failed.subscribe();
        let failure = tokio::select! {
            _ = stops.wait_for(|stop| *stop > Stop::Run) => None,
            failure = fails.wait_for(Option::is_some) => failure.ok().and_then(|own| own.clone()),
            // The loop ends when the engine fails, or by a panic.
            _ = &mut commits => Some(shard.failure().unwrap_or(Failure::Panic)),
            // These tasks end only by a panic, which leaves the machine's mutex poisoned.
            _ = &mut ticks => Some(Failure::Panic),
            _ = &mut evicts => Some(Failure::Panic),
        };
        accepts.abort();
        let mut until = Instant::now();
        if failure.is_none() {
            let how = *stops.borrow_and_update();
            until = Instant::now() + service.config.stop_limit;
            let held = shard.stop(match how {
                Stop::Drain => Stopping::Draining,
                _ => Stopping::Keeping,
            });
            match how {
                Stop::Drain => {
                    tracing::info!(held, "stopping: all grants are being recalled");
                    give_back(&service, &mut stops, until).await;
                }
                _ => tracing::info!(
                    held,
                    "stopping: all grants stay with their holders, which the next start knows"
                ),
            }
        }
        // Close the shard before the writer, because processes would otherwise continue to commit. The writer ends once
        // its queue is empty.
        shard.close();
        shard.writer.mark(mark_of(&service));
        shard.writer.stop();
        written(writer, until.max(Instant::now() + CLOSE), failure.is_some()).await;
        service.closing.send_replace(true);
        let connections = &service.metrics.connections;
        let closed = async {
            while connections.get() > 0 {
                shard.released.notified().await;
            }
        };
        let _ = timeout(CLOSE, closed).await;
        for task in [commits, ticks, evicts, marks, admin] {
            task.abort();
        }
        let failure = failure.or_else(|| shard.failure());
        failure.map_or(Ok(()), |failure| Err(StoreError::from(failure)))
    }
}

/// Waits until the writer has made all updates durable, or until the deadline passes because the disk does not answer.
async fn written(writer: JoinHandle<()>, until: Instant, has_failed: bool) {
    // Join on a blocking thread: meanwhile the connections' own tasks write their last messages.
    let joined = tokio::task::spawn_blocking(move || writer.join());
    match timeout_at(until, joined).await {
        Ok(ended) => debug_assert!(
            matches!(ended, Ok(Ok(()))),
            "the writer thread catches its panic and reports it as a failure, so that it ends normally"
        ),
        Err(_) if has_failed => {}
        Err(_) => tracing::error!(
            "stopped without waiting longer for the disk: commits that were not acknowledged may not be durable; \
            check the disk (dmesg)"
        ),
    }
}

/// Waits until all recalled grants are released, the deadline passes, or a faster stop is requested.
async fn give_back(service: &Service, stops: &mut watch::Receiver<Stop>, until: Instant) {
    let shard = &service.shard;
    let returned = async {
        while shard.held() > 0 {
            shard.released.notified().await;
            // Count once for many releases: with many grants, counting at each release would take longer than the
            // releases.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = returned => {}
        () = sleep_until(until) => {
            let held = shard.held();
            tracing::warn!(held, "some grants were not released within stop_ms; they stay with their holders, which \
            the next start knows");
        }
        _ = stops.wait_for(|stop| *stop == Stop::Fast) => tracing::warn!("a faster stop was requested: stopping \
        without waiting for the recalled grants"),
    }
}

/// Reads the durable sessions. Held sessions are loaded into memory. For all others only their existence and expiry are
/// recorded.
fn recover(shard: &Shard, engine: &mut dyn Engine, epoch: u64) -> Result<Recovered, EngineError> {
    let mut found = Recovered {
        epoch,
        ..Recovered::default()
    };
    let mut last = None;
    loop {
        let heads = engine.heads(last.as_ref(), PAGE)?;
        let Some((id, _)) = heads.last() else {
            return Ok(found);
        };
        last = Some(id.clone());
        found.sessions += heads.len();
        for (id, head) in heads {
            if head.holder.is_none() {
                shard.leave_outside(&id, head.expires);
            } else if let Some(record) = engine.load(&id)? {
                shard.admit(&id, &record);
                found.held += 1;
            }
        }
    }
}

async fn accept(service: Arc<Service>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(service.config.limits.connections_max));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The most likely cause is a lack of open files, which passes when other connections close.
                tracing::error!(%error, "cannot accept a connection: trying again in 100 ms; if the limit on open \
                files is reached, raise it");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let service = Arc::clone(&service);
                service.metrics.connections.inc();
                tokio::spawn(async move {
                    Arc::clone(&service).serve(stream, from).await;
                    service.metrics.connections.dec();
                    service.shard.released.notify_one();
                    drop(place);
                });
            }
            // r[limit.connections]
            Err(_) => turn_away(&service, stream, from),
        }
    }
}

fn turn_away(service: &Arc<Service>, stream: TcpStream, from: SocketAddr) {
    let max = service.config.limits.connections_max;
    tracing::warn!(%from, max, "connection refused because the maximum number of connections is open; raise \
    limits.connections_max if this is expected");
    let fault = Fault::new(
        FaultCode::Busy,
        &format!("the store has {max} connections, its maximum; try again later"),
    );
    tokio::spawn(Arc::clone(service).turn_away(stream, fault));
}

/// Commits the updates whose commit does not wait for the disk.
async fn commit(service: Arc<Service>) {
    let shard = &service.shard;
    shard
        .writer
        .commit_at_once(&**shard, &service.metrics)
        .await;
}

/// Runs the timers that are due, and sleeps until the next one.
async fn tick(shard: Arc<Shard>) {
    loop {
        let sooner = shard.sooner.notified();
        match shard.tick() {
            Some(due) => tokio::select! {
                () = sooner => {}
                () = sleep_until(shard.clock.instant(due)) => {}
            },
            None => sooner.await,
        }
    }
}

/// Writes a clock mark at a fixed interval.
async fn leave_marks(service: Arc<Service>) {
    loop {
        tokio::time::sleep(MARK_EVERY).await;
        service.shard.writer.mark(mark_of(&service));
    }
}

fn mark_of(service: &Service) -> Vec<u8> {
    mark::now(&service.shard.clock, &service.config, &service.promised)
}

async fn evict(service: Arc<Service>) {
    let config = &service.config;
    let mut watch = StallWatch::default();
    loop {
        tokio::time::sleep(EVICT_EVERY).await;
        // Skip a full disk, because the writer reports it.
        let stalled = service.stalled().filter(|_| !service.shard.is_full());
        match watch.look(stalled) {
            Some(StallChange::Began(waited)) => tracing::error!(
                waited_ms = waited.as_millis(),
                stall_ms = millis::of(config.stall),
                "the disk does not answer: commits and grants wait, and nothing is lost; check the disk (dmesg)"
            ),
            Some(StallChange::Ended(longest)) => {
                tracing::warn!(
                    waited_ms = longest.as_millis(),
                    "the disk answers again: commits and grants continue"
                );
            }
            None => {}
        }
        service
            .shard
            .evict(millis::of(config.evict), config.limits.memory_sessions_max);
    }
}
