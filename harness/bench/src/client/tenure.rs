//! Tenure by its library.

use super::{Client, Recipe, Seen, Target, value};
use anyhow::Result;
use std::time::Duration;
use tenure::{OwnedGuard, Process, Session};
use tokio::runtime::Handle;

const NAME: &str = "data";

/// A process of the library. It keeps no copy of a released session, so each grant carries the 2 KiB.
#[derive(Clone)]
pub(crate) struct Tenure {
    process: Process,
    recipe: Recipe,
}

fn id(session: u64) -> String {
    format!("s-{session:032x}")
}

impl Client for Tenure {
    type Held = (OwnedGuard, Session);

    async fn connect(target: &Target) -> Result<Self> {
        let builder = Process::builder(&target.address);
        let builder = builder
            .keep_copies(false)
            .cached_max(1 << 20)
            .runtime(Handle::current());
        let millisecond = Duration::from_millis(1);
        let builder = builder.backoff(millisecond, millisecond);
        let process = builder.connect_timeout(Duration::from_secs(60)).connect();
        Ok(Self {
            process: process.await?,
            recipe: target.recipe,
        })
    }

    fn share(&self) -> Option<Self> {
        Some(self.clone())
    }

    async fn create(&self, sessions: &[u64]) -> Result<()> {
        for &number in sessions {
            let session = self.process.session(id(number))?;
            let mut guard = session.lock(NAME).await?;
            guard.set(value(0))?;
            drop(guard);
            session.release();
        }
        Ok(())
    }

    async fn acquire(&self, session: u64) -> Result<(Self::Held, Seen)> {
        let session = self.process.session(id(session))?;
        let guard = session.lock_owned(NAME).await?;
        let seen = Seen::of(guard.bytes())?;
        Ok(((guard, session), seen))
    }

    async fn release(&self, _: u64, held: Self::Held, value: Vec<u8>) -> Result<()> {
        let (mut guard, session) = held;
        guard.set(value)?;
        if self.recipe == Recipe::TenureCommits {
            guard.commit().await?;
        }
        drop(guard);
        if self.recipe != Recipe::TenureKeeps {
            session.release();
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(self.process.shutdown().await?)
    }
}
