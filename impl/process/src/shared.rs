//! The state that the handles of a process and its driver share.

use crate::error::ConnectError;
use crate::place::Place;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tenure_locks::Locks;
use tenure_protocol::{Incarnation, ProcessId};
use tokio::sync::watch;

/// The name and incarnation of the process, and the address of its store.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: ProcessId,
    pub(crate) incarnation: Incarnation,
    pub(crate) address: String,
}

/// The state that the handles of a process and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) locks: Locks,
    pub(crate) shutdown_timeout: Duration,
    /// The orders of the handles to the driver.
    orders: Mutex<Orders>,
    /// The place where the driver runs.
    pub(crate) place: Arc<Place>,
    /// The state that the driver publishes.
    pub(crate) state: watch::Sender<State>,
    /// The number of log events that were dropped because the subscriber was too slow.
    pub(crate) events_dropped: Arc<AtomicU64>,
}

/// The orders of the handles to the driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Orders {
    /// Stop, and wait at most until this time.
    pub(crate) shutdown_by: Option<Instant>,
    /// The last handle was dropped.
    pub(crate) is_dropped: bool,
}

/// The state that the driver publishes.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// The number of times that a store has accepted this process.
    pub(crate) connections: u64,
    pub(crate) last_error: Option<Arc<str>>,
    /// The reason why the first connection failed finally.
    pub(crate) failure: Option<ConnectError>,
    /// The last shutdown deadline that passed while grants were left.
    pub(crate) late: Option<Instant>,
    /// The driver's thread has finished.
    pub(crate) has_ended: bool,
}

/// The phase of a process: whether it is connected, or why not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The process has no connection, or no answer on it yet, and goes on trying. It may use its grants until its lease
    /// ends.
    #[default]
    Connecting,
    /// A store has accepted the process.
    Connected,
    /// The process has stopped: it sent its goodbye, or it gave up.
    Stopped,
    /// This OS process is a child, by `fork`, of the process that connected. It cannot use the handles. See
    /// [`Error::Forked`](crate::Error::Forked).
    Forked,
    /// A newer incarnation of this process name took over. If this process should be the one that lives, start it again
    /// with a higher incarnation.
    Superseded,
}

impl Shared {
    pub(crate) fn new(
        identity: Identity,
        place: Arc<Place>,
        locks: Locks,
        shutdown_timeout: Duration,
    ) -> Self {
        Self {
            identity,
            locks,
            shutdown_timeout,
            orders: Mutex::default(),
            place,
            state: watch::Sender::new(State::default()),
            events_dropped: Arc::default(),
        }
    }

    /// Begins the shutdown, with the deadline `by`.
    pub(crate) fn shutdown(&self, by: Instant) {
        self.locks.shutdown();
        self.order(|orders| orders.shutdown_by = Some(by));
    }

    /// Gives an order to the driver.
    pub(crate) fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.place.order();
    }

    /// Returns the orders to the driver.
    pub(crate) fn orders(&self) -> Orders {
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of grants that are not given back yet. Without a connection, grants that wait for their
    /// release count too.
    pub(crate) fn held(&self, phase: Phase) -> usize {
        let releasing = match phase {
            Phase::Connected => 0,
            _ => self.locks.releasing(),
        };
        self.locks.held() + releasing
    }

    /// Returns the last state that the driver has published. In a child of a `fork`, returns the phase `Forked` and
    /// takes no mutex that a thread may have held at the fork.
    pub(crate) fn now(&self) -> State {
        if self.locks.is_forked() {
            return State {
                phase: Phase::Forked,
                ..State::default()
            };
        }
        self.state.borrow().clone()
    }

    /// Waits until the driver publishes a state for which `is_wanted` returns true. In a child of a `fork`, returns at
    /// once.
    pub(crate) async fn when(&self, is_wanted: impl FnMut(&State) -> bool) -> State {
        let mut told = pin!(self.when_told(is_wanted));
        poll_fn(|context| {
            if self.locks.is_forked() {
                return Poll::Ready(self.now());
            }
            told.as_mut().poll(context)
        })
        .await
    }

    async fn when_told(&self, mut is_wanted: impl FnMut(&State) -> bool) -> State {
        let mut states = self.state.subscribe();
        loop {
            // A clone, since `is_wanted` may read the state itself and must not find it locked.
            let state = states.borrow_and_update().clone();
            // `changed` fails only without a sender, and `self` holds the sender.
            if is_wanted(&state) || states.changed().await.is_err() {
                return state;
            }
        }
    }
}

/// Polls a future on this OS thread until it is ready, parking the thread in between. For futures that need no runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
