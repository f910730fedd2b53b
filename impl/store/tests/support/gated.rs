//! An engine whose calls wait until the test lets them continue.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;
use tenure_engine::{Engine, EngineError, Memory};
use tenure_protocol::attributes::Head;
use tenure_protocol::{Record, SessionId, Update};
use tokio::sync::watch;
use tokio::time::timeout;

/// The calls that wait.
#[derive(Clone, Copy, Debug, Default)]
struct Shut {
    commits: bool,
    loads: bool,
    /// Whether the next load panics.
    panics: bool,
}

#[derive(Debug, Default)]
struct Shared {
    shut: Mutex<Shut>,
    opened: Condvar,
    /// The number of commits and loads that have begun.
    begun: watch::Sender<(u64, u64)>,
}

/// A [`Memory`] engine behind a gate.
#[derive(Debug)]
pub(crate) struct Gated {
    inner: Memory,
    shared: Arc<Shared>,
}

/// The gate, which opens for good when it is dropped.
#[derive(Debug)]
pub(crate) struct Gate(Arc<Shared>);

impl Gated {
    pub(crate) fn new(inner: &Memory) -> (Box<Self>, Gate) {
        let shared = Arc::new(Shared::default());
        let inner = inner.clone();
        let gate = Gate(Arc::clone(&shared));
        (Box::new(Self { inner, shared }), gate)
    }

    fn wait(&self, is_shut: impl Fn(&Shut) -> bool) {
        let shut = self.shared.shut();
        let opened = self.shared.opened.wait_while(shut, |shut| is_shut(shut));
        drop(opened.expect("no code panics while it holds the gate's mutex"));
    }
}

impl Shared {
    fn shut(&self) -> MutexGuard<'_, Shut> {
        self.shut
            .lock()
            .expect("no code panics while it holds the gate's mutex")
    }
}

impl Gate {
    pub(crate) fn shut_commits(&self) {
        self.0.shut().commits = true;
    }

    pub(crate) fn shut_loads(&self) {
        self.0.shut().loads = true;
    }

    pub(crate) fn panic_next_load(&self) {
        self.0.shut().panics = true;
    }

    pub(crate) fn open(&self) {
        *self.0.shut() = Shut::default();
        self.0.opened.notify_all();
    }

    /// Returns the number of commits and loads that have begun.
    pub(crate) fn begun(&self) -> (u64, u64) {
        *self.0.begun.borrow()
    }

    /// Waits until this many commits and loads have begun.
    pub(crate) async fn until(&self, commits: u64, loads: u64) {
        let mut begun = self.0.begun.subscribe();
        let reached = begun.wait_for(|begun| begun.0 >= commits && begun.1 >= loads);
        let reached = timeout(Duration::from_secs(30), reached).await;
        drop(
            reached
                .expect("the engine is called within PATIENCE")
                .expect("the gate owns the sender"),
        );
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Engine for Gated {
    fn claim(&mut self) -> Result<u64, EngineError> {
        self.inner.claim()
    }

    fn load(&mut self, session: &SessionId) -> Result<Option<Record>, EngineError> {
        self.shared.begun.send_modify(|begun| begun.1 += 1);
        self.wait(|shut| shut.loads);
        let panics = self.shared.shut().panics;
        assert!(!panics, "a panic that the test has injected");
        self.inner.load(session)
    }

    fn page(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Record)>, EngineError> {
        self.inner.page(after, sessions_max)
    }

    fn heads(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Head)>, EngineError> {
        self.inner.heads(after, sessions_max)
    }

    fn commit(&mut self, batch: &[Update]) -> Result<(), EngineError> {
        self.shared.begun.send_modify(|begun| begun.0 += 1);
        self.wait(|shut| shut.commits);
        self.inner.commit(batch)
    }
}
