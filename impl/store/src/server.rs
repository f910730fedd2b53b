//! Starting, running and stopping a store.

use crate::admin;
use crate::clock::{SystemTimeSource, TimeSource};
use crate::config::{Config, millis};
use crate::connection::Service;
use crate::error::StoreError;
use crate::mark::{self, start_clock};
use crate::metrics::Metrics;
use crate::shard::{Failure, Shard};
use crate::stall::{StallChange, StallWatch};
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

/// Heads that are read at a time when a store starts.
const PAGE: usize = 10_000;

/// How often sessions are looked at that may leave memory.
const EVICT_EVERY: Duration = Duration::from_millis(100);

/// How long connections may take to end: a little more than a peer has to read why.
const CLOSE: Duration = Duration::from_millis(2_500);

/// How often a running store leaves a mark of its clock for the next start.
const MARK_EVERY: Duration = Duration::from_secs(60);

/// How a store is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    Run,
    /// Recall nothing: grants stay, and the next start knows their holders. Make durable what was said.
    Keep,
    /// Recall what is held, wait for it for as long as [`Config::stop_ms`], make everything durable.
    Drain,
    /// Make durable what was said, and nothing more.
    Fast,
}

/// A store that listens.
#[derive(Debug)]
pub struct Server {
    service: Arc<Service>,
    listener: TcpListener,
    admin: TcpListener,
    writer: JoinHandle<()>,
    recovered: Recovered,
    stop: watch::Sender<Stop>,
}

/// What a store found when it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The epoch of this start, larger than any before.
    pub epoch: u64,
    /// Sessions that have a record.
    pub sessions: usize,
    /// Those among them that a process holds.
    pub held: usize,
}

/// The count of log lines that nobody will read.
#[derive(Clone, Debug)]
pub struct DroppedLines(Counter);

impl DroppedLines {
    /// Adds to the count. Never blocks, and never logs.
    pub fn add(&self, lines: u64) {
        self.0.inc_by(lines);
    }
}

/// Tells a store that runs to stop.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<Stop>);

impl Stopper {
    /// Returns how the store is to stop.
    pub(crate) fn how(&self) -> Stop {
        *self.0.borrow()
    }

    /// Stops it so; what was asked for last counts if it is faster.
    pub fn stop(&self, how: Stop) {
        self.0.send_if_modified(|stop| {
            let is_more = how > *stop;
            if is_more {
                *stop = how;
            }
            is_more
        });
    }
}

impl Server {
    /// Opens the embedded engine in the configured folder, and as [`Server::with_engine`].
    ///
    /// # Errors
    /// As [`Server::with_engine`], and whatever is wrong with the folder.
    pub async fn start(config: Config) -> Result<Self, StoreError> {
        config.check()?;
        let settings = EngineSettings {
            level: config.durability.into(),
            ..EngineSettings::default()
        };
        let engine = Embedded::open(&config.data, settings)?;
        Self::with_engine(config, Box::new(engine)).await
    }

    /// Takes the engine over, reads what is durable, and listens. Nothing is answered before [`Server::run`].
    ///
    /// # Errors
    /// When a setting cannot be so, the engine refuses, or an address cannot be listened on.
    pub async fn with_engine(config: Config, engine: Box<dyn Engine>) -> Result<Self, StoreError> {
        Self::with_clock(config, engine, Arc::new(SystemTimeSource)).await
    }

    /// As [`Server::with_engine`], with other clocks than the system's: for tests and simulations.
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
        // First: an address that is in use is no reason to take the data over.
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
        let writer = Arc::new(Writer::new(config.limits.backlog_bytes_max));
        let shard = Shard::new(machine, clock, Arc::clone(&writer), Arc::clone(&metrics));
        let shard = Arc::new(shard);
        let recovered = recover(&shard, &mut *engine, epoch)?;
        let told: Arc<dyn Durable> = Arc::clone(&shard) as _;
        let writer = writer
            .start(engine, told, Arc::clone(&metrics))
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

    /// Where processes connect: the port too, when it was chosen by the system.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where the admin listener is.
    ///
    /// # Errors
    /// What the system says.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// What was found at the start.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Counts lines that the log of this store's program has dropped, as `tenure_log_dropped_lines_total`.
    #[must_use]
    pub fn dropped_lines(&self) -> DroppedLines {
        DroppedLines(self.service.metrics.dropped_lines.clone())
    }

    /// Tells this store to stop, while it runs.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the engine failed, [`StoreError::Panicked`] for a bug: what was acknowledged is durable, and
    /// nothing was since.
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
            // They end only so: whoever panics leaves the machine locked for ever.
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
                    tracing::info!(held, "stopping: everything that is held is recalled");
                    give_back(&service, &mut stops, until).await;
                }
                _ => tracing::info!(
                    held,
                    "stopping: nothing is recalled, the next start knows the holders"
                ),
            }
        }
        // Before the writer: it ends when nothing is left to write, and processes would go on to commit.
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
        for task in [ticks, evicts, marks, admin] {
            task.abort();
        }
        let failure = failure.or_else(|| shard.failed.borrow().clone());
        failure.map_or(Ok(()), |failure| Err(StoreError::from(failure)))
    }
}

/// Waits until everything that was said is durable, or the disk has not answered for too long.
async fn written(writer: JoinHandle<()>, until: Instant, has_failed: bool) {
    // The last words are written by the connections' own tasks.
    let joined = tokio::task::spawn_blocking(move || writer.join());
    match timeout_at(until, joined).await {
        Ok(ended) => debug_assert!(
            matches!(ended, Ok(Ok(()))),
            "the writer says itself that it panicked"
        ),
        Err(_) if has_failed => {}
        Err(_) => tracing::error!(
            "stopped although the disk does not answer: what was not acknowledged may not be durable"
        ),
    }
}

/// Waits for what was recalled, within bounds.
async fn give_back(service: &Service, stops: &mut watch::Receiver<Stop>, until: Instant) {
    let shard = &service.shard;
    let returned = async {
        while shard.held() > 0 {
            shard.released.notified().await;
            // One count for many releases: with many grants, counting at each would take longer than they do.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = returned => {}
        () = sleep_until(until) => {
            let held = shard.held();
            tracing::warn!(held, "not everything came back in time; the grants stand, and are known after the next start");
        }
        _ = stops.wait_for(|stop| *stop == Stop::Fast) => tracing::warn!("stopping at once"),
    }
}

/// Reads what is durable: what is held comes into memory, of the rest only that it is there.
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
                // Too many open files, most likely: others have to go first.
                tracing::error!(%error, "cannot accept a connection");
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
    tracing::warn!(%from, max, "turned away: too many connections (limits.connections_max)");
    let fault = Fault::new(
        FaultCode::Busy,
        &format!("there are {max} connections already"),
    );
    tokio::spawn(Arc::clone(service).turn_away(stream, fault));
}

/// Does what is due when it is due.
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

/// Leaves a mark of the clock now and then.
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
        // The writer reports a full disk.
        let stalled = service.stalled().filter(|_| !service.shard.is_full());
        match watch.look(stalled) {
            Some(StallChange::Began(waited)) => tracing::error!(
                waited_ms = waited.as_millis(),
                stall_ms = millis::of(config.stall),
                "the disk does not answer: commits and grants wait. Nothing is lost; see to the disk (dmesg)"
            ),
            Some(StallChange::Ended(longest)) => {
                tracing::warn!(waited_ms = longest.as_millis(), "the disk answers again");
            }
            None => {}
        }
        service
            .shard
            .evict(millis::of(config.evict), config.limits.memory_sessions_max);
    }
}
