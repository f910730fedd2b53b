//! The engine's own thread: it makes what has gathered durable, one batch after the other, and reads sessions back that have
//! left memory. While one batch is being written the next gathers, so that one wait for the disk serves all.
//!
//! A full disk refuses a batch; it is tried again until there is room, or the store stops; sessions are still read. Any other failure ends the store:
//! what is in memory may then be more than what is durable, and only the engine's next claim can tell.

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

/// How long after a refusal a full disk is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// Updates in one batch at most: a batch is one wait for the disk, and holds up what comes behind it.
const BATCH_MAX: usize = 4_096;

/// Bytes in one batch at most, well below what an engine takes.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Who is told what the engine did.
pub(crate) trait Durable: Send + Sync + 'static {
    /// Everything up to this update is durable.
    fn on_durable(&self, sequence: u64);
    /// A session that was asked for.
    fn on_loaded(&self, session: SessionId, record: Option<Record>);
    /// Whether the disk is full, from now on.
    fn on_full(&self, is_full: bool);
    /// The engine can do nothing more; none: its thread panicked.
    fn on_failed(&self, error: Option<EngineError>);
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// The backlog has become smaller.
    drained: Notify,
    backlog_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    updates: VecDeque<Update>,
    /// Since when updates are in the queue, or since the last batch left it, if that was later.
    updates_since: Option<Instant>,
    /// Bytes of the updates that are not durable, those that are being written among them.
    bytes: usize,
    loads: Vec<SessionId>,
    /// A mark that is to be left.
    mark: Option<Vec<u8>>,
    /// Since when the oldest load waits.
    loads_since: Option<Instant>,
    /// Since when the oldest update or load waits of those that the engine has in hand.
    in_hand_since: Option<Instant>,
    /// Updates that were ever put in.
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
        self.queue.lock().expect("no panic while it is locked")
    }

    /// Has an update made durable, behind all before it. Answers its number.
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

    /// Has a session read.
    pub(crate) fn load(&self, session: SessionId) {
        let mut queue = self.queue();
        queue.loads.push(session);
        queue.loads_since.get_or_insert_with(Instant::now);
        drop(queue);
        self.filled.notify_one();
    }

    /// Returns how long the oldest update that is not durable, or the oldest session that is to be read, has waited at least.
    pub(crate) fn oldest_wait(&self) -> Duration {
        let queue = self.queue();
        let waiting = [queue.in_hand_since, queue.loads_since, queue.updates_since];
        let oldest = waiting.into_iter().flatten().min();
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Has a mark left for the next start of the store. A later one takes its place.
    pub(crate) fn mark(&self, mark: Vec<u8>) {
        self.queue().mark = Some(mark);
        self.filled.notify_one();
    }

    /// Waits until less than half of what may wait for the disk does.
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

    /// Ends when everything is durable that was put in.
    pub(crate) fn stop(&self) {
        self.queue().is_stopping = true;
        self.filled.notify_one();
    }

    /// Starts the thread. It ends after [`Writer::stop`], or with the engine's failure.
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
                    "stopped with a full disk: what was not acknowledged is not durable"
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

    /// Leaves the mark that is to be left. Without room on the disk the last one stays.
    fn leave_mark(&self, engine: &mut dyn Engine) -> Result<(), EngineError> {
        let mark = self.queue().mark.take();
        match mark.map(|mark| engine.mark(&mark)) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error @ EngineError::Full { .. })) => {
                tracing::warn!(%error, "the clock's mark was not left");
                Ok(())
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// Commits a batch, waiting for room on the disk if it must. `false`: the store stops before there is any.
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
                        tracing::error!(%error, "new work is refused until there is room");
                        told.on_full(true);
                    }
                    was_full = true;
                }
                Err(error) => return Err(error),
            }
            // What is to be read does not wait for room.
            let until = Instant::now() + RETRY;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                let queue = self.queue();
                let is_idle = |queue: &mut Queue| !queue.is_stopping && queue.loads.is_empty();
                let (mut queue, _) = self
                    .filled
                    .wait_timeout_while(queue, left, is_idle)
                    .expect("no panic while it is locked");
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
            tracing::warn!("there is room on the disk again");
            told.on_full(false);
        }
        Ok(true)
    }

    /// The next batch, its bytes, and what is to be read; `None` when the thread is to end.
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
                .expect("no panic while it is locked");
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
