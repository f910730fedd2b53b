//! The writer: makes queued updates durable by group commit, and loads sessions that have left memory.
//!
//! Two parties use the engine in turns. The *loop* is the task [`Writer::commit_at_once`]: it commits what the tasks of
//! the store that are ready together have queued, where the engine only copies bytes to the operating system
//! ([`Engine::commits_at_once`]). An update then needs no other thread. The writer's *thread* does everything that may
//! wait for the disk: commits with a disk sync, loads, clock marks, and retries on a full disk. While it writes one
//! batch the next one gathers, so that one disk sync serves many updates.
//!
//! A party that takes a batch out of the queue holds the engine's mutex, and keeps it until the batch is reported. So
//! batches are committed and reported in the order of the queue.
//!
//! If the disk is full, the thread retries the batch until there is room or the store stops. Sessions can still be
//! loaded meanwhile. Any other engine error ends the store: memory may then be ahead of the disk, and only the next
//! claim of the engine shows which updates are durable.

mod ahead;

use crate::metrics::Metrics;
use crate::size;
use ahead::Syncing;
use std::collections::VecDeque;
use std::fmt;
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

/// The queue of updates and loads, and the engine. See the [module](self).
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Mutex<Queue>,
    engine: Mutex<Hand>,
    /// Notified when the thread has work.
    filled: Condvar,
    /// Notified when the loop may have a batch to commit.
    ready: Notify,
    /// Notified when the backlog has shrunk.
    drained: Notify,
    backlog_bytes_max: usize,
}

/// The engine, and what its user at the moment must know.
struct Hand {
    /// `None` once the thread has ended: the data folder is free then.
    engine: Option<Box<dyn Engine>>,
    /// The number of the last durable update.
    durable: u64,
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hand = f.debug_struct("Hand");
        hand.field("durable", &self.durable).finish_non_exhaustive()
    }
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
    /// Whether the loop commits. Otherwise the thread commits everything.
    has_loop: bool,
    is_stopping: bool,
    has_failed: bool,
}

/// A batch that was taken out of the queue.
struct Batch {
    updates: Vec<Update>,
    bytes: usize,
}

impl Writer {
    pub(crate) fn new(engine: Box<dyn Engine>, backlog_bytes_max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            engine: Mutex::new(Hand {
                engine: Some(engine),
                durable: 0,
            }),
            filled: Condvar::new(),
            ready: Notify::new(),
            drained: Notify::new(),
            backlog_bytes_max,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue
            .lock()
            .expect("no code panics while it holds the writer's mutex")
    }

    /// Gives the engine to `read` before the thread is started.
    pub(crate) fn with_engine<R>(&self, read: impl FnOnce(&mut dyn Engine) -> R) -> R {
        let mut hand = self
            .engine
            .lock()
            .expect("no thread uses the engine before the start");
        let engine = hand.engine.as_mut();
        read(
            &mut **engine
                .expect("the thread, which drops the engine at its end, is not started yet"),
        )
    }

    /// Queues an update to be made durable after all earlier ones. Returns its sequence number.
    pub(crate) fn write(&self, update: Update) -> u64 {
        let mut queue = self.queue();
        queue.bytes += size::of_update(&update);
        queue.updates.push_back(update);
        queue.updates_since.get_or_insert_with(Instant::now);
        queue.last += 1;
        let last = queue.last;
        let has_loop = queue.has_loop;
        drop(queue);
        if has_loop {
            self.ready.notify_one();
        } else {
            self.filled.notify_one();
        }
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
        told: Arc<dyn Durable>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<JoinHandle<()>> {
        let thread = std::thread::Builder::new().name("tenure-writer".to_owned());
        thread.spawn(move || {
            let run = AssertUnwindSafe(|| self.run(&*told, &metrics));
            let ended = catch_unwind(run);
            let hand = self.engine.lock();
            let mut hand = hand.unwrap_or_else(PoisonError::into_inner);
            drop(hand.engine.take());
            drop(hand);
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.fail(Some(error), &*told),
                Err(_) => self.fail(None, &*told),
            }
        })
    }

    /// Commits updates as the loop, until the engine fails. Runs as a task of the runtime on which the store's other
    /// tasks run: such a task is polled behind those that are ready already, so that one commit serves their updates.
    pub(crate) async fn commit_at_once(&self, told: &dyn Durable, metrics: &Metrics) {
        self.queue().has_loop = true;
        let mut syncing = Syncing::default();
        loop {
            let committed = tokio::select! {
                biased;
                () = self.ready.notified() => self.try_commit_at_once(told, metrics),
                () = syncing.ended() => Ok(true),
            };
            match committed.and_then(|is_done| self.sync_ahead(&mut syncing).map(|()| is_done)) {
                Ok(true) => {}
                Ok(false) => self.filled.notify_one(),
                Err(error) => return self.fail(Some(error), told),
            }
        }
    }

    /// Notes how a sync ahead has ended, and starts the next one that is due. While the thread has the engine, which
    /// may take long on a slow disk, this waits for the next turn of the loop.
    fn sync_ahead(&self, syncing: &mut Syncing) -> Result<(), EngineError> {
        let Ok(mut hand) = self.engine.try_lock() else {
            return Ok(());
        };
        let Some(engine) = hand.engine.as_mut() else {
            return Ok(());
        };
        if let Some(synced) = syncing.take_ended() {
            engine.synced_ahead(synced)?;
        }
        if syncing.is_idle()
            && let Some(sync) = engine.sync_ahead()
        {
            syncing.start(sync);
        }
        Ok(())
    }

    /// Commits one batch if that does not wait for the disk. Returns `false` if the thread has to do it.
    fn try_commit_at_once(
        &self,
        told: &dyn Durable,
        metrics: &Metrics,
    ) -> Result<bool, EngineError> {
        if self.queue().updates.is_empty() {
            return Ok(true);
        }
        // While the thread has the engine, it also takes whatever is queued meanwhile.
        let Ok(mut hand) = self.engine.try_lock() else {
            return Ok(false);
        };
        let engine = hand.engine.as_mut();
        let Some(engine) = engine.filter(|engine| engine.commits_at_once()) else {
            return Ok(false);
        };
        let batch = self.queue().take();
        if batch.updates.is_empty() {
            return Ok(true);
        }
        let began = Instant::now();
        match engine.commit(&batch.updates) {
            Ok(()) => {
                self.report(&mut hand, &batch, began, told, metrics);
                if !self.queue().updates.is_empty() {
                    self.ready.notify_one();
                }
                Ok(true)
            }
            Err(EngineError::Full { .. }) => {
                self.queue().give_back(batch);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Reports that a batch is durable.
    fn report(
        &self,
        hand: &mut Hand,
        batch: &Batch,
        began: Instant,
        told: &dyn Durable,
        metrics: &Metrics,
    ) {
        metrics.committed(batch.updates.len(), began.elapsed());
        hand.durable += batch.updates.len() as u64;
        let mut queue = self.queue();
        queue.bytes -= batch.bytes;
        queue.in_hand_since = None;
        drop(queue);
        told.on_durable(hand.durable);
        self.drained.notify_waiters();
    }

    fn fail(&self, error: Option<EngineError>, told: &dyn Durable) {
        let queue = self.queue.lock();
        queue.unwrap_or_else(PoisonError::into_inner).has_failed = true;
        self.filled.notify_one();
        self.drained.notify_waiters();
        told.on_failed(error);
    }

    fn run(&self, told: &dyn Durable, metrics: &Metrics) -> Result<(), EngineError> {
        while self.has_work() {
            let mut hand = self
                .engine
                .lock()
                .expect("a panic while the engine is in use ends the store");
            let (batch, loads) = self.queue().take_all();
            let Some(engine) = hand.engine.as_mut() else {
                return Ok(());
            };
            load(&mut **engine, loads, told)?;
            self.leave_mark(&mut **engine)?;
            if batch.updates.is_empty() {
                self.queue().in_hand_since = None;
                continue;
            }
            let began = Instant::now();
            if !self.commit(&mut **engine, &batch.updates, told)? {
                tracing::error!(
                    "stopped while the disk is full: commits that were not acknowledged are not durable; free disk \
                    space before the next start"
                );
                return Ok(());
            }
            self.report(&mut hand, &batch, began, told, metrics);
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

    /// Waits until the thread has work. Returns `false` when the thread is to end.
    fn has_work(&self) -> bool {
        let mut queue = self.queue();
        loop {
            if queue.has_failed {
                return false;
            }
            if !queue.updates.is_empty() || !queue.loads.is_empty() || queue.mark.is_some() {
                return true;
            }
            if queue.is_stopping {
                return false;
            }
            queue = self
                .filled
                .wait(queue)
                .expect("no code panics while it holds the writer's mutex");
        }
    }
}

impl Queue {
    /// Takes the next batch out, which may be empty, and all loads.
    fn take_all(&mut self) -> (Batch, Vec<SessionId>) {
        let loads_since = self.loads_since.take();
        let batch = self.take();
        let since = [loads_since, self.in_hand_since];
        self.in_hand_since = since.into_iter().flatten().min();
        (batch, std::mem::take(&mut self.loads))
    }

    /// Takes the next batch out, which may be empty.
    fn take(&mut self) -> Batch {
        let mut batch = Batch {
            updates: Vec::with_capacity(self.updates.len().min(BATCH_MAX)),
            bytes: 0,
        };
        self.in_hand_since = self.updates_since.take();
        while let Some(update) = self.updates.front() {
            let size = size::of_update(update);
            let count = batch.updates.len();
            if count == BATCH_MAX || (count > 0 && batch.bytes + size > BATCH_BYTES_MAX) {
                break;
            }
            batch.bytes += size;
            batch.updates.extend(self.updates.pop_front());
        }
        self.updates_since = (!self.updates.is_empty()).then(Instant::now);
        batch
    }

    /// Puts a batch that was not committed back to the front.
    fn give_back(&mut self, batch: Batch) {
        for update in batch.updates.into_iter().rev() {
            self.updates.push_front(update);
        }
        self.updates_since = self.in_hand_since.take();
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

#[cfg(test)]
mod tests;
