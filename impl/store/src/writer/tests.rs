//! Tests of the division of work between the loop and the thread.

use super::{Durable, Writer};
use crate::metrics::Metrics;
use bytes::Bytes;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};
use tenure_engine::{Embedded, Engine, EngineError, Health, Level, Memory, Settings};
use tenure_protocol::attributes::{Change, Head};
use tenure_protocol::{AttributeName, Record, SessionId, Update};
use tokio::sync::mpsc;

/// An engine that records which thread commits, and how many updates.
struct Watched {
    memory: Memory,
    commits_at_once: Arc<AtomicBool>,
    commits: Arc<Mutex<Vec<(ThreadId, usize)>>>,
}

impl Engine for Watched {
    fn claim(&mut self) -> Result<u64, EngineError> {
        self.memory.claim()
    }

    fn load(&mut self, session: &SessionId) -> Result<Option<Record>, EngineError> {
        self.memory.load(session)
    }

    fn page(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Record)>, EngineError> {
        self.memory.page(after, sessions_max)
    }

    fn commits_at_once(&self) -> bool {
        self.commits_at_once.load(Ordering::Relaxed)
    }

    fn commit(&mut self, batch: &[Update]) -> Result<(), EngineError> {
        self.memory.commit(batch)?;
        let mut commits = self.commits.lock().expect("no test panics here");
        commits.push((thread::current().id(), batch.len()));
        Ok(())
    }
}

/// A result of the writer.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Durable(u64),
    Loaded(SessionId),
    Full(bool),
    Failed,
}

struct Results(mpsc::UnboundedSender<Told>);

impl Results {
    fn tell(&self, told: Told) {
        // The receiver may have gone: a test ends before the writer does.
        let _ = self.0.send(told);
    }
}

impl Durable for Results {
    fn on_durable(&self, sequence: u64) {
        self.tell(Told::Durable(sequence));
    }

    fn on_loaded(&self, session: SessionId, _: Option<Record>) {
        self.tell(Told::Loaded(session));
    }

    fn on_full(&self, is_full: bool) {
        self.tell(Told::Full(is_full));
    }

    fn on_failed(&self, _: Option<EngineError>) {
        self.tell(Told::Failed);
    }
}

/// A writer over a watched engine.
struct Setup {
    writer: Arc<Writer>,
    results: Arc<Results>,
    told: mpsc::UnboundedReceiver<Told>,
    memory: Memory,
    commits_at_once: Arc<AtomicBool>,
    commits: Arc<Mutex<Vec<(ThreadId, usize)>>>,
    metrics: Arc<Metrics>,
}

impl Setup {
    fn new(commits_at_once: bool) -> Self {
        let memory = Memory::new();
        let commits_at_once = Arc::new(AtomicBool::new(commits_at_once));
        let commits = Arc::default();
        let mut engine = Watched {
            memory: memory.clone(),
            commits_at_once: Arc::clone(&commits_at_once),
            commits: Arc::clone(&commits),
        };
        engine.claim().expect("an engine that no other store uses");
        let mut setup = Self::over(Box::new(engine));
        setup.memory = memory;
        setup.commits_at_once = commits_at_once;
        setup.commits = commits;
        setup
    }

    /// Returns a writer over an engine that nobody watches.
    fn over(engine: Box<dyn Engine>) -> Self {
        let (results, told) = mpsc::unbounded_channel();
        Self {
            writer: Arc::new(Writer::new(engine, 8 << 20)),
            results: Arc::new(Results(results)),
            told,
            memory: Memory::new(),
            commits_at_once: Arc::default(),
            commits: Arc::default(),
            metrics: Arc::new(Metrics::new()),
        }
    }

    /// Starts the thread and the loop. Returns the thread.
    async fn start(&self) -> JoinHandle<()> {
        let told = Arc::clone(&self.results);
        let writer = Arc::clone(&self.writer);
        let thread = writer.start(told, Arc::clone(&self.metrics));
        let (writer, told) = (Arc::clone(&self.writer), Arc::clone(&self.results));
        let metrics = Arc::clone(&self.metrics);
        tokio::spawn(async move { writer.commit_at_once(&*told, &metrics).await });
        tokio::task::yield_now().await; // The loop begins to wait.
        thread.expect("a thread can be started")
    }

    fn write(&self, sessions: &[&'static str]) {
        for id in sessions {
            self.put(id, None);
        }
    }

    fn put(&self, id: &'static str, value: Option<Bytes>) {
        let name = AttributeName::from_static("data");
        let change = value.map(|value| Change {
            name,
            value: Some(value),
        });
        self.writer.write(Update::Put {
            session: SessionId::from_static(id),
            head: Head::default(),
            delta: change.into_iter().collect(),
            is_whole: false,
        });
    }

    async fn told(&mut self) -> Told {
        let told = self.told.recv().await;
        told.expect("the setup keeps a sender")
    }

    fn commits(&self) -> Vec<(ThreadId, usize)> {
        self.commits.lock().expect("no test panics here").clone()
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.writer.stop();
    }
}

#[tokio::test]
async fn the_loop_commits_what_is_ready_together_if_the_commit_does_not_wait() {
    let mut setup = Setup::new(true);
    setup.start().await;
    setup.write(&["a", "b", "c"]);
    assert_eq!(setup.told().await, Told::Durable(3));
    assert_eq!(setup.commits(), [(thread::current().id(), 3)]);
}

#[tokio::test]
async fn the_thread_makes_a_commit_that_may_wait_and_the_loop_goes_on_behind_it() {
    let mut setup = Setup::new(false);
    setup.start().await;
    setup.write(&["a"]);
    assert_eq!(setup.told().await, Told::Durable(1));
    assert_ne!(setup.commits()[0].0, thread::current().id());
    setup.commits_at_once.store(true, Ordering::Relaxed);
    setup.write(&["b"]);
    assert_eq!(setup.told().await, Told::Durable(2));
    assert_eq!(setup.commits().len(), 2);
}

#[tokio::test]
async fn a_batch_that_finds_the_disk_full_goes_to_the_thread_in_its_order() {
    let mut setup = Setup::new(true);
    setup.memory.set_health(Health::Full);
    setup.write(&["a"]);
    let session = SessionId::from_static("a");
    setup.writer.write(Update::Remove { session });
    let committed = setup
        .writer
        .try_commit_at_once(&*setup.results, &setup.metrics);
    assert!(!committed.expect("a full disk is no failure"));
    setup.start().await;
    assert_eq!(setup.told().await, Told::Full(true));
    setup.memory.set_health(Health::Well);
    assert_eq!(setup.told().await, Told::Full(false));
    assert_eq!(setup.told().await, Told::Durable(2));
    // In another order, the removal would have found nothing to remove.
    assert_eq!(setup.memory.records().iter().count(), 0);
}

#[tokio::test]
async fn an_engine_that_fails_in_the_loop_ends_the_thread_too() {
    let mut setup = Setup::new(true);
    let thread = setup.start().await;
    setup.memory.set_health(Health::Losing);
    setup.write(&["a"]);
    assert_eq!(setup.told().await, Told::Failed);
    let ended = tokio::task::spawn_blocking(|| thread.join()).await;
    ended.expect("no panic").expect("no panic");
    assert_eq!(setup.commits(), []);
}

#[tokio::test]
async fn a_load_that_waits_for_the_thread_counts_while_the_loop_commits() {
    let mut setup = Setup::new(true);
    let session = SessionId::from_static("a");
    setup.writer.load(session.clone());
    setup.write(&["b"]);
    let committed = setup
        .writer
        .try_commit_at_once(&*setup.results, &setup.metrics);
    assert!(committed.expect("a good engine"));
    assert_eq!(setup.told().await, Told::Durable(1));
    assert!(setup.writer.queue().loads_since.is_some());
    setup.start().await;
    assert_eq!(setup.told().await, Told::Loaded(session));
}

/// A later batch in the log says up to where the segment is durable. Up to there, damage is no torn end.
#[tokio::test]
async fn buffered_commits_become_durable_in_parts_while_the_loop_goes_on() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("data");
    let settings = Settings {
        level: Level::Buffered,
        ..Settings::default()
    };
    let mut engine = Embedded::open(&folder, settings.clone()).expect("a new folder");
    engine.claim().expect("a folder that no other store uses");
    let mut setup = Setup::over(Box::new(engine));
    setup.start().await;
    let value = Bytes::from(vec![7; 1 << 20]);
    for sequence in 1..=6 {
        setup.put("a", Some(value.clone()));
        assert_eq!(setup.told().await, Told::Durable(sequence));
    }
    let by = Instant::now() + Duration::from_secs(60);
    for sequence in 7.. {
        setup.put("b", None);
        assert_eq!(setup.told().await, Told::Durable(sequence));
        if opens_with_damage(&folder, &settings).is_err() {
            break;
        }
        assert!(
            Instant::now() < by,
            "no part of the segment becomes durable"
        );
    }
}

/// Opens a copy of the folder in which a byte of the first commit differs.
fn opens_with_damage(folder: &Path, settings: &Settings) -> Result<Embedded, EngineError> {
    let scratch = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(folder).expect("the folder") {
        let entry = entry.expect("an entry");
        let mut bytes = fs::read(entry.path()).expect("a file");
        if let Some(byte) = bytes.get_mut(1_000) {
            *byte ^= 1;
        }
        fs::write(scratch.path().join(entry.file_name()), bytes).expect("a copy");
    }
    Embedded::open(scratch.path(), settings.clone())
}
