//! The ways to stop a store, and the handle that requests one.

use tokio::sync::watch;

/// The way in which a store is to stop, from the slowest to the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The store keeps running.
    Run,
    /// The store stops without a recall. Grants stay with their holders, whom the next start knows. All pending updates
    /// become durable.
    Keep,
    /// The store recalls all grants and waits up to [`Config::stop_limit`](crate::Config::stop_limit) for their
    /// release. All pending updates become durable.
    Drain,
    /// The store stops at once. All pending updates become durable, and nothing is waited for.
    Fast,
}

/// A handle that stops a running store.
#[derive(Clone, Debug)]
pub struct Stopper(pub(crate) watch::Sender<Stop>);

impl Stopper {
    /// Returns the requested way to stop.
    pub(crate) fn how(&self) -> Stop {
        *self.0.borrow()
    }

    /// Requests the given way to stop. A later request takes effect only if it is faster than the earlier one.
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
