//! The writer: the thread that owns the engine. It makes queued updates durable by group commit, and loads sessions
//! that have left memory. While one batch is being written the next one gathers, so that one disk sync serves many
//! updates.
//!
//! If the disk is full, the writer retries the batch until there is room or the store stops. Sessions can still be
//! loaded meanwhile. Any other engine error ends the store: memory may then be ahead of the disk, and only the next
//! claim of the engine shows which updates are durable.

use crate::metrics::Metrics;
use crate::size;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tenure_engine::{Engine, EngineError};
use tenure_protocol::{Record, SessionId, Update};
use tokio::sync::Notify;

/// The time after which a commit that failed on a full disk is retried.
const RETRY: Duration = Duration::from_millis(250);

/// The most updates in one batch. A batch delays all updates behind it by one disk sync.
const BATCH_MAX: usize = 4_096;

/// The most bytes in one batch, well below the engine's own limit.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// The receiver of the writer's results.
pub(crate) trait Durable: Send + Sync + 'static {
    /// Reports that all updates up to and including number `sequence` are durable.
    fn on_durable(&self, sequence: u64);
    /// Delivers a session that [`Writer::load`] requested, or `None` if it has no record.
    fn on_loaded(&self, session: SessionId, record: Option<Record>);
    /// Reports whether the disk is full from now on.
    fn on_full(&self, is_full: bool);
    /// Reports that the engine has failed for good. The error is `None` if the writer's thread panicked.
    fn on_failed(&self, error: Option<EngineError>);
}

/// The queue of the writer's thread. See the [module](self).
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Notified when the backlog has shrunk.
    drained: Notify,
    backlog_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    updates: VecDeque<Update>,
    /// The time since which updates have been queued, or the time of the last batch if that is later.
    updates_since: Option<Instant>,
    /// Bytes of all updates that are not durable, including the batch that is being written.
    bytes: usize,
    loads: Vec<SessionId>,
    /// The clock mark that is to be written.
    mark: Option<Vec<u8>>,
    /// The time since which the oldest load request has waited.
    loads_since: Option<Instant>,
    /// The time since which the oldest update or load of the current batch has waited.
    in_hand_since: Option<Instant>,
    /// The number of updates that were ever queued.
    last: u64,
    is_stopping: bool,
    has_failed: bool,
}

impl Writer {
    pub(crate) fn new(backlog_bytes_max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Notify::new(),
            backlog_bytes_max,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue
            .lock()
            .expect("no code panics while it holds the writer's mutex")
    }

    /// Queues an update to be made durable after all earlier ones. Returns its sequence number.
    pub(crate) fn write(&self, update: Update) -> u64 {
        let mut queue = self.queue();
        queue.bytes += size::of_update(&update);
        queue.updates.push_back(update);
        queue.updates_since.get_or_insert_with(Instant::now);
        queue.last += 1;
        let last = queue.last;
        drop(queue);
        self.filled.notify_one();
        last
    }

    /// Queues a session to be loaded.
    pub(crate) fn load(&self, session: SessionId) {
        let mut queue = self.queue();
        queue.loads.push(session);
        queue.loads_since.get_or_insert_with(Instant::now);
        drop(queue);
        self.filled.notify_one();
    }

    /// Returns a lower bound on how long the oldest pending update or load has waited.
    pub(crate) fn oldest_wait(&self) -> Duration {
        let queue = self.queue();
        let waiting = [queue.in_hand_since, queue.loads_since, queue.updates_since];
        let oldest = waiting.into_iter().flatten().min();
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Queues a clock mark to be written for the next start of the store. A later mark replaces an earlier one.
    pub(crate) fn mark(&self, mark: Vec<u8>) {
        self.queue().mark = Some(mark);
        self.filled.notify_one();
    }

    /// Waits until the bytes that are not durable are at most half of the maximum backlog, or the engine has failed.
    pub(crate) async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            {
                let queue = self.queue();
                if queue.bytes <= self.backlog_bytes_max / 2 || queue.has_failed {
                    return;
                }
            }
            drained.await;
        }
    }

    /// Ends the writer's thread after all queued updates are durable.
    pub(crate) fn stop(&self) {
        self.queue().is_stopping = true;
        self.filled.notify_one();
    }

    /// Starts the writer's thread. The thread ends after [`Writer::stop`], or when the engine fails.
    pub(crate) fn start(
        self: Arc<Self>,
        engine: Box<dyn Engine>,
        told: Arc<dyn Durable>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<JoinHandle<()>> {
        let thread = std::thread::Builder::new().name("tenure-writer".to_owned());
        thread.spawn(move || {
            let run = AssertUnwindSafe(|| self.run(engine, &*told, &metrics));
            let error = match catch_unwind(run) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            let queue = self.queue.lock();
            queue.unwrap_or_else(PoisonError::into_inner).has_failed = true;
            self.drained.notify_waiters();
            told.on_failed(error);
        })
    }

    fn run(
        &self,
        mut engine: Box<dyn Engine>,
        told: &dyn Durable,
        metrics: &Metrics,
    ) -> Result<(), EngineError> {
        let mut durable = 0;
        while let Some((batch, bytes, loads)) = self.next() {
            load(&mut *engine, loads, told)?;
            self.leave_mark(&mut *engine)?;
            if batch.is_empty() {
                self.queue().in_hand_since = None;
                continue;
            }
            let began = Instant::now();
            if !self.commit(&mut *engine, &batch, told)? {
                tracing::error!(
                    "stopped while the disk is full: commits that were not acknowledged are not durable; free disk \
                    space before the next start"
                );
                return Ok(());
            }
            metrics.committed(batch.len(), began.elapsed());
            durable += batch.len() as u64;
            let mut queue = self.queue();
            queue.bytes -= bytes;
            queue.in_hand_since = None;
            drop(queue);
            told.on_durable(durable);
            self.drained.notify_waiters();
        }
        Ok(())
    }

    /// Writes the queued clock mark, if there is one. If the disk is full, the previous mark stays.
    fn leave_mark(&self, engine: &mut dyn Engine) -> Result<(), EngineError> {
        let mark = self.queue().mark.take();
        match mark.map(|mark| engine.mark(&mark)) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error @ EngineError::Full { .. })) => {
                tracing::warn!(%error, "the clock mark was not written because the disk is full: a restart continues \
                from the previous mark; free disk space");
                Ok(())
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// Commits a batch, and retries while the disk is full. Returns `false` if the store stops before there is room.
    fn commit(
        &self,
        engine: &mut dyn Engine,
        batch: &[Update],
        told: &dyn Durable,
    ) -> Result<bool, EngineError> {
        let mut was_full = false;
        loop {
            match engine.commit(batch) {
                Ok(()) => break,
                Err(error @ EngineError::Full { .. }) => {
                    if !was_full {
                        tracing::error!(%error, "new work is refused until there is room on the disk; free disk space");
                        told.on_full(true);
                    }
                    was_full = true;
                }
                Err(error) => return Err(error),
            }
            // Loads do not wait for room on the disk.
            let until = Instant::now() + RETRY;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                let queue = self.queue();
                let is_idle = |queue: &mut Queue| !queue.is_stopping && queue.loads.is_empty();
                let (mut queue, _) = self
                    .filled
                    .wait_timeout_while(queue, left, is_idle)
                    .expect("no code panics while it holds the writer's mutex");
                if queue.is_stopping {
                    return Ok(false);
                }
                let loads = std::mem::take(&mut queue.loads);
                queue.loads_since = None;
                drop(queue);
                load(engine, loads, told)?;
            }
        }
        if was_full {
            tracing::warn!("there is room on the disk again: new work is accepted");
            told.on_full(false);
        }
        Ok(true)
    }

    /// Waits for work. Returns the next batch, its size in bytes, and the sessions to load, or `None` when the thread
    /// is to end.
    fn next(&self) -> Option<(Vec<Update>, usize, Vec<SessionId>)> {
        let mut queue = self.queue();
        loop {
            let has_work = !queue.updates.is_empty() || !queue.loads.is_empty();
            if has_work || queue.mark.is_some() {
                break;
            }
            if queue.is_stopping {
                return None;
            }
            queue = self
                .filled
                .wait(queue)
                .expect("no code panics while it holds the writer's mutex");
        }
        let mut bytes = 0;
        let mut batch = Vec::with_capacity(queue.updates.len().min(BATCH_MAX));
        let since = [queue.loads_since.take(), queue.updates_since.take()];
        queue.in_hand_since = since.into_iter().flatten().min();
        while let Some(update) = queue.updates.front() {
            let size = size::of_update(update);
            if batch.len() == BATCH_MAX || (!batch.is_empty() && bytes + size > BATCH_BYTES_MAX) {
                break;
            }
            bytes += size;
            batch.extend(queue.updates.pop_front());
        }
        queue.updates_since = (!queue.updates.is_empty()).then(Instant::now);
        Some((batch, bytes, std::mem::take(&mut queue.loads)))
    }
}

fn load(
    engine: &mut dyn Engine,
    sessions: Vec<SessionId>,
    told: &dyn Durable,
) -> Result<(), EngineError> {
    for session in sessions {
        let record = engine.load(&session)?;
        told.on_loaded(session, record);
    }
    Ok(())
}
