//! What the handles of a process and its driver share.

use crate::error::ConnectError;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tenure_locks::Locks;
use tenure_protocol::{Incarnation, ProcessId};
use tokio::sync::watch;

/// Who the process is, and where its store.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: ProcessId,
    pub(crate) incarnation: Incarnation,
    pub(crate) address: String,
}

/// What the handles of a process and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) locks: Locks,
    pub(crate) shutdown_timeout: Duration,
    /// What the handles want of the driver.
    pub(crate) orders: watch::Sender<Orders>,
    /// What the driver tells.
    pub(crate) state: watch::Sender<State>,
    /// How many log events were dropped, since the subscriber was too slow.
    pub(crate) events_dropped: Arc<AtomicU64>,
}

/// What the handles want of the driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Orders {
    /// Stop, and wait until then at most.
    pub(crate) shutdown_by: Option<Instant>,
    /// There is no handle any more.
    pub(crate) is_dropped: bool,
}

/// What the driver tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// How often a store has welcomed it.
    pub(crate) connections: u64,
    pub(crate) last_error: Option<Arc<str>>,
    /// Why the first connection failed for good.
    pub(crate) failure: Option<ConnectError>,
    /// Everything was not given back by then.
    pub(crate) late: Option<Instant>,
    /// The driver's thread has done all that it will do.
    pub(crate) has_ended: bool,
}

/// What a process is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// It has no connection, or no answer on it yet, and tries. What it holds it goes on using until its lease ends.
    #[default]
    Connecting,
    /// A store has welcomed it.
    Connected,
    /// It has stopped: it said goodbye, or gave up.
    Stopped,
    /// This OS process is a child, by `fork`, of the one that connected, and has no part in it. See [`Error::Forked`](crate::Error::Forked).
    Forked,
    /// A newer incarnation of it took over. Start again with a higher one, if this is the one that should live.
    Superseded,
}

impl Shared {
    /// Stops by `by`.
    pub(crate) fn shutdown(&self, by: Instant) {
        self.locks.shutdown();
        self.orders
            .send_modify(|orders| orders.shutdown_by = Some(by));
    }

    /// Returns how many grants the process has, less those that are given back. Without a connection nothing is given back.
    pub(crate) fn held(&self, phase: Phase) -> usize {
        let releasing = match phase {
            Phase::Connected => 0,
            _ => self.locks.releasing(),
        };
        self.locks.held() + releasing
    }

    /// Returns the last state that the driver has set. In a child of a `fork` the phase is `Forked`, and no lock is taken that a
    /// thread may have held at the fork.
    pub(crate) fn now(&self) -> State {
        if self.locks.is_forked() {
            return State {
                phase: Phase::Forked,
                ..State::default()
            };
        }
        self.state.borrow().clone()
    }

    /// Waits until the driver tells what `is_wanted`. In a child of a `fork` that is not waited for.
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
            // Cloned: whoever is asked may ask for the state itself.
            let state = states.borrow_and_update().clone();
            // It fails when there is no sender, which stands in `self`.
            if is_wanted(&state) || states.changed().await.is_err() {
                return state;
            }
        }
    }
}

/// Runs a future that needs no runtime on this OS thread.
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
