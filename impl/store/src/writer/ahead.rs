//! The sync that runs beside commits, see [`Engine::sync_ahead`](tenure_engine::Engine::sync_ahead).

use std::future::pending;
use std::thread;
use tenure_engine::{SyncAhead, SyncedAhead};
use tokio::sync::oneshot;

/// At most one sync.
#[derive(Debug, Default)]
pub(super) enum Syncing {
    #[default]
    Idle,
    Runs(oneshot::Receiver<SyncedAhead>),
    Ended(SyncedAhead),
}

impl Syncing {
    /// Starts the sync on a thread of its own: the writer's thread must stay free for loads, and a stop must not wait
    /// for a stalled disk. Without a thread there is no sync, and the one at the end of the segment takes longer.
    pub(super) fn start(&mut self, sync: SyncAhead) {
        let (done, receiver) = oneshot::channel();
        let thread = thread::Builder::new().name("tenure-sync".to_owned());
        let started = thread.spawn(move || {
            // Without a receiver, the store has stopped.
            let _ = done.send(sync.run());
        });
        if started.is_ok() {
            *self = Self::Runs(receiver);
        }
    }

    /// Returns whether there is no sync.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// Waits for the end of the running sync. Waits for ever if none is running. Dropping the future loses nothing.
    pub(super) async fn ended(&mut self) {
        let Self::Runs(receiver) = self else {
            return pending().await;
        };
        *self = match receiver.await {
            Ok(synced) => Self::Ended(synced),
            // The thread has panicked, so the sync counts as not done. A later one covers its bytes.
            Err(_) => Self::Idle,
        };
    }

    /// Takes the result of the sync that has ended.
    pub(super) fn take_ended(&mut self) -> Option<SyncedAhead> {
        match std::mem::take(self) {
            Self::Ended(synced) => Some(synced),
            other => {
                *self = other;
                None
            }
        }
    }
}
