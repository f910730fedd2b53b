//! The driver's log: a bounded queue of events, and a thread that passes the events to the application's subscriber.
//!
//! A subscriber is code of the application. It may write to a full pipe or a hung disk, or wait for a lock. The
//! driver's thread keeps the lease alive, so that thread must not call a subscriber. Instead, the driver queues each
//! event and never blocks. If the queue is full, the event is dropped and counted. The thread `tenure-log` emits the
//! queued events and logs the number of dropped events.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tracing::level_filters::LevelFilter;
use tracing::{Level, warn};

/// The maximum number of queued events.
const QUEUED_MAX: usize = 1_024;

/// A closure that emits one event.
type Emit = Box<dyn FnOnce() + Send>;

/// The sender of the event queue. See the [module](self).
#[derive(Debug)]
pub(crate) struct Log {
    queue: SyncSender<Emit>,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Starts the thread `tenure-log`. The thread ends when this value is dropped and the queue is empty. The counter
    /// `dropped` counts the dropped events.
    pub(crate) fn start(dropped: Arc<AtomicU64>) -> io::Result<Self> {
        let (queue, queued) = sync_channel(QUEUED_MAX);
        let counted = Arc::clone(&dropped);
        std::thread::Builder::new()
            .name("tenure-log".to_owned())
            .spawn(move || emit_all(&queued, &counted))?;
        Ok(Self { queue, dropped })
    }

    /// Returns whether any subscriber wants events of this level. Reads one number and calls no subscriber.
    pub(crate) fn is_on(level: Level) -> bool {
        level <= LevelFilter::current()
    }

    /// Queues an event, or drops and counts it if the queue is full. Never blocks.
    pub(crate) fn say(&self, level: Level, emit: impl FnOnce() + Send + 'static) {
        // The thread ends only after this value is dropped, so a failed send means that the queue is full.
        if Self::is_on(level) && self.queue.try_send(Box::new(emit)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Emits events until the queue is closed and empty.
fn emit_all(queued: &Receiver<Emit>, dropped: &AtomicU64) {
    let mut said = 0;
    while let Ok(emit) = queued.recv() {
        // If a subscriber panics, only this event is lost. The panic hook has already reported the panic.
        if catch_unwind(AssertUnwindSafe(emit)).is_err() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
        // Events are dropped only while others are queued, so checking the count after each event misses no
        // drop.
        let total = dropped.load(Ordering::Relaxed);
        if total > said {
            let now = total - said;
            said = total;
            let says = || {
                warn!(
                    dropped = now,
                    total,
                    queued_max = QUEUED_MAX,
                    "log events were dropped: the subscriber is too slow, blocks, or panics"
                );
            };
            let _ = catch_unwind(AssertUnwindSafe(says));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex, MutexGuard, mpsc};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber, info};

    /// A subscriber that records the numeric fields of each event.
    struct Keeps(Arc<Mutex<Vec<(String, u64)>>>);

    struct Numbers<'v>(&'v mut Vec<(String, u64)>);

    impl Visit for Numbers<'_> {
        fn record_u64(&mut self, field: &Field, value: u64) {
            self.0.push((field.name().to_owned(), value));
        }
        fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
    }

    impl Subscriber for Keeps {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut Numbers(&mut self.0.lock().expect("no panic")));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn numbers(kept: &Mutex<Vec<(String, u64)>>) -> MutexGuard<'_, Vec<(String, u64)>> {
        kept.lock().expect("no panic")
    }

    /// Emits the queued events on this thread, and returns their numeric fields.
    fn emitted(queued: &Receiver<Emit>, dropped: &AtomicU64) -> Vec<(String, u64)> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let subscriber = Keeps(Arc::clone(&kept));
        tracing::subscriber::with_default(subscriber, || emit_all(queued, dropped));
        std::mem::take(&mut *numbers(&kept))
    }

    #[test]
    fn a_full_queue_drops_events_and_logs_their_number() {
        let (queue, queued) = sync_channel(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let log = Log {
            queue,
            dropped: Arc::clone(&dropped),
        };
        // A level is enabled only while a subscriber exists.
        let subscriber = tracing::Dispatch::new(Keeps(Arc::default()));
        for number in 1..=5_u64 {
            log.say(Level::INFO, move || info!(number));
        }
        drop(subscriber);
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        drop(log);
        let emitted = emitted(&queued, &dropped);
        let of = |name: &str| -> Vec<u64> {
            let named = emitted.iter().filter(|(own, _)| own == name);
            named.map(|(_, value)| *value).collect()
        };
        assert_eq!(of("number"), [1, 2]);
        assert_eq!((of("dropped"), of("total")), (vec![3], vec![3]));
    }

    #[test]
    fn a_subscriber_that_panics_loses_only_that_event() {
        let (queue, queued) = sync_channel(4);
        let dropped = AtomicU64::new(0);
        let panics: Emit = Box::new(|| panic!("the subscriber panics on purpose"));
        queue.try_send(panics).expect("there is room");
        let says: Emit = Box::new(|| info!(number = 7_u64));
        queue.try_send(says).expect("there is room");
        drop(queue);
        let emitted = emitted(&queued, &dropped);
        assert!(emitted.contains(&("number".to_owned(), 7)), "{emitted:?}");
        assert!(emitted.contains(&("dropped".to_owned(), 1)), "{emitted:?}");
    }

    #[test]
    fn a_blocked_subscriber_does_not_block_the_caller() {
        let dropped = Arc::new(AtomicU64::new(0));
        let log = Log::start(Arc::clone(&dropped)).expect("a thread");
        let subscriber = tracing::Dispatch::new(Keeps(Arc::default()));
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let blocks = Arc::clone(&gate);
        let (blocked, is_blocked) = mpsc::channel();
        log.say(Level::INFO, move || {
            let _ = blocked.send(());
            let (is_open, opened) = &*blocks;
            let is_open = is_open.lock().expect("no panic");
            drop(opened.wait_while(is_open, |is_open| !*is_open));
        });
        is_blocked.recv().expect("the thread runs");
        for _ in 0..QUEUED_MAX + 3 {
            log.say(Level::INFO, || {});
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        *gate.0.lock().expect("no panic") = true;
        gate.1.notify_all();
        drop(subscriber);
    }
}
