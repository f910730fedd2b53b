//! Starting, running and stopping a store.

use crate::admin;
use crate::clock::{Clock, DOWNTIME_MAX_MS, Mark, Started, SystemTimeSource, TimeSource};
use crate::config::{Config, ConfigError};
use crate::connection::Service;
use crate::metrics::Metrics;
use crate::shard::{Failure, Shard};
use crate::writer::{Durable, Writer};
use prometheus_client::metrics::counter::Counter;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tenure_engine::{Embedded, Engine, EngineError, Settings as EngineSettings};
use tenure_protocol::store::Stopping;
use tenure_protocol::{Promised, Records, Settings, Store, StoreSettings};
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

/// Why a store did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A setting cannot be so.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The engine refuses: its folder is in use, unreadable, newer or damaged; or it has failed while the store ran.
    #[error("{0}")]
    Engine(Arc<EngineError>),
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; is another store running there? (--listen, --admin)"
    )]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or task of the store has panicked: a bug in Tenure, or in an engine. What was acknowledged is durable.
    #[error(
        "a part of the store has panicked, which is a bug: its message stands in the log before"
    )]
    Panicked,
    /// The system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Engine(error) => Self::Engine(error),
            Failure::Panic => Self::Panicked,
        }
    }
}

impl From<EngineError> for StoreError {
    fn from(error: EngineError) -> Self {
        Self::Engine(Arc::new(error))
    }
}

impl StoreError {
    /// Returns whether the condition passes by itself, so that the same start may succeed later: no room on the disk, an
    /// address or a folder that another program uses, a lack of memory, threads or open files.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Engine(error) => match &**error {
                EngineError::Full { .. } | EngineError::Locked { .. } => true,
                EngineError::Unknown { source, .. } | EngineError::Io { source, .. } => {
                    is_passing(source)
                }
                _ => false,
            },
            Self::Bind { source, .. } | Self::Thread(source) => is_passing(source),
            Self::Config(_) | Self::Panicked => false,
        }
    }
}

/// Returns whether an error of the system passes by itself: see [`StoreError::is_passing`].
#[must_use]
pub fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    use rustix::io::Errno;
    let scarce = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS];
    let scarce = scarce.map(|errno| Some(errno.raw_os_error()));
    scarce.contains(&error.raw_os_error())
        || matches!(
            error.kind(),
            Kind::StorageFull
                | Kind::QuotaExceeded
                | Kind::AddrInUse
                // An interface that comes up later.
                | Kind::AddrNotAvailable
                | Kind::OutOfMemory
                // A lack of threads.
                | Kind::WouldBlock
                | Kind::ResourceBusy
                | Kind::Interrupted
                | Kind::TimedOut
        )
}

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
        let machine = Store::recover(
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
            limits: FrameLimits::for_machines(&config.settings().limits),
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
        let marks = tokio::spawn(mark(Arc::clone(&service)));
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
            until = Instant::now() + Duration::from_millis(service.config.stop_ms);
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
        shard.writer.mark(service.mark());
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

/// Tells the log once when the disk no longer answers, and once when it does again.
#[derive(Debug, Default)]
struct StallWatch {
    longest: Option<Duration>,
}

/// What the log is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StallChange {
    Began(Duration),
    Ended(Duration),
}

impl StallWatch {
    fn look(&mut self, stalled: Option<Duration>) -> Option<StallChange> {
        match (self.longest, stalled) {
            (None, Some(waited)) => {
                self.longest = Some(waited);
                Some(StallChange::Began(waited))
            }
            (Some(longest), Some(waited)) => {
                self.longest = Some(longest.max(waited));
                None
            }
            (Some(longest), None) => {
                self.longest = None;
                Some(StallChange::Ended(longest))
            }
            (None, None) => None,
        }
    }
}

/// Leaves a mark of the clock now and then.
async fn mark(service: Arc<Service>) {
    loop {
        tokio::time::sleep(MARK_EVERY).await;
        service.shard.writer.mark(service.mark());
    }
}

impl Service {
    /// What the next start is to know. A promise of an earlier start is in it as long as it may stand.
    fn mark(&self) -> Vec<u8> {
        let clock = &self.shard.clock;
        let now = clock.now();
        let lease_ms = self.config.lease_ms.max(self.promised.lease.since(now));
        let recall_ms = self.config.recall_ms.max(self.promised.recall.since(now));
        encode(&clock.mark(lease_ms, recall_ms))
    }
}

fn encode(mark: &Mark) -> Vec<u8> {
    serde_json::to_vec(mark).expect("numbers and a string are JSON")
}

/// Starts the clock behind the mark of the last start, and leaves one, so that what this start promises is durable before it
/// is promised. Returns also how long the promises of earlier starts stand.
fn start_clock(
    config: &Config,
    engine: &mut dyn Engine,
    source: Arc<dyn TimeSource>,
) -> Result<(Clock, Promised), StoreError> {
    let marked = engine.marked()?;
    let mark: Option<Mark> = match marked.as_deref().map(serde_json::from_slice) {
        None => None,
        Some(Ok(mark)) => Some(mark),
        Some(Err(error)) => {
            tracing::error!(%error, "the clock's mark in the data folder is damaged: the wall clock is the store's time, and no promise of an earlier start is known");
            None
        }
    };
    let (clock, started) = Clock::start(source, mark.as_ref());
    match started {
        Started::New | Started::On => {}
        Started::Behind(behind_ms) => tracing::error!(
            behind_ms,
            "the wall clock is behind the time of the last run: times to live go on from there, as if the store had not been down; set the clock of this machine"
        ),
        Started::Ahead(ahead_ms) => tracing::error!(
            ahead_ms,
            counted_ms = DOWNTIME_MAX_MS,
            "the wall clock is far ahead of the time of the last run: only a part counts against times to live; if the store was not down for so long, set the clock of this machine"
        ),
    }
    let now = clock.now();
    let of = |before: fn(&Mark) -> u64| mark.as_ref().map_or(now, |mark| now.after(before(mark)));
    let promised = Promised {
        lease: of(|mark| mark.lease_ms),
        recall: of(|mark| mark.recall_ms),
    };
    let lease_ms = config.lease_ms.max(promised.lease.since(now));
    let recall_ms = config.recall_ms.max(promised.recall.since(now));
    match engine.mark(&encode(&clock.mark(lease_ms, recall_ms))) {
        Ok(()) => {}
        Err(error @ EngineError::Full { .. }) => {
            tracing::error!(%error, "the clock's mark is not durable: a next start counts from an earlier one");
        }
        Err(error) => return Err(error.into()),
    }
    Ok((clock, promised))
}

async fn evict(service: Arc<Service>) {
    let config = &service.config;
    let mut watch = StallWatch::default();
    loop {
        tokio::time::sleep(EVICT_EVERY).await;
        // A full disk is told by the writer.
        let stalled = service.stalled().filter(|_| !service.shard.is_full());
        match watch.look(stalled) {
            Some(StallChange::Began(waited)) => tracing::error!(
                waited_ms = waited.as_millis(),
                stall_ms = config.stall_ms,
                "the disk does not answer: commits and grants wait. Nothing is lost; see to the disk (dmesg)"
            ),
            Some(StallChange::Ended(longest)) => {
                tracing::warn!(waited_ms = longest.as_millis(), "the disk answers again");
            }
            None => {}
        }
        service
            .shard
            .evict(config.evict_ms, config.limits.memory_sessions_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn system(kind: io::ErrorKind) -> io::Error {
        kind.into()
    }

    #[test]
    fn a_stall_is_told_once_when_it_begins_and_once_when_it_ends() {
        let mut watch = StallWatch::default();
        let seconds = |count| Some(Duration::from_secs(count));
        let told = [
            None,
            seconds(6),
            seconds(7),
            seconds(9),
            None,
            None,
            seconds(5),
            None,
        ];
        let told = told.map(|stalled| watch.look(stalled));
        let began = |count| Some(StallChange::Began(Duration::from_secs(count)));
        let ended = |count| Some(StallChange::Ended(Duration::from_secs(count)));
        let expected = [
            None,
            began(6),
            None,
            None,
            ended(9),
            None,
            began(5),
            ended(5),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_condition_passes_when_the_same_start_may_succeed_later() {
        let folder = || PathBuf::from("data");
        let engine = |error: EngineError| StoreError::from(error);
        let cannot = |source| {
            engine(EngineError::Io {
                doing: "open",
                file: folder(),
                source,
            })
        };
        let bind = |source| StoreError::Bind {
            address: ([127, 0, 0, 1], 1).into(),
            source,
        };
        let passing = [
            engine(EngineError::Full { folder: folder() }),
            engine(EngineError::Locked { folder: folder() }),
            cannot(system(io::ErrorKind::OutOfMemory)),
            cannot(rustix::io::Errno::MFILE.into()),
            cannot(rustix::io::Errno::NFILE.into()),
            bind(system(io::ErrorKind::AddrInUse)),
            bind(system(io::ErrorKind::AddrNotAvailable)),
            bind(rustix::io::Errno::MFILE.into()),
            StoreError::Thread(rustix::io::Errno::AGAIN.into()),
        ];
        for error in passing {
            assert!(error.is_passing(), "{error}");
        }
        let lasting = [
            engine(EngineError::Newer {
                folder: folder(),
                found: 99,
                known: 1,
            }),
            engine(EngineError::Foreign {
                folder: folder(),
                what: "a test says so",
            }),
            engine(EngineError::Corrupt {
                file: folder(),
                offset: 0,
                what: "a test says so",
            }),
            engine(EngineError::Fenced {
                claimed: 1,
                current: 2,
            }),
            cannot(system(io::ErrorKind::PermissionDenied)),
            cannot(system(io::ErrorKind::ReadOnlyFilesystem)),
            cannot(rustix::io::Errno::IO.into()),
            bind(system(io::ErrorKind::PermissionDenied)),
            StoreError::Panicked,
        ];
        for error in lasting {
            assert!(!error.is_passing(), "{error}");
        }
    }
}
