//! The way to the store: no connection, one on its way, or one.

use crate::connection::Connection;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

type Opening = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// The way to the store.
pub(crate) enum Line {
    /// There is no connection, and a new one is tried then.
    Waiting(Instant),
    /// One is tried.
    Opening(Opening),
    /// There is one.
    Open(Box<Connection>),
    /// There will be none again.
    Closed,
}

/// What happened on the way.
pub(crate) enum Moved {
    /// It is time to try.
    Time,
    /// A try has ended.
    Opened(io::Result<TcpStream>),
    /// Bytes came or went, or the connection has ended.
    Bytes(io::Result<()>),
}

impl Line {
    /// Tries to connect, for as long as `limit`. The address is looked up each time: it may have moved.
    pub(crate) fn open(address: String, limit: Duration) -> Self {
        Self::Opening(Box::pin(async move {
            match timeout(limit, TcpStream::connect(address)).await {
                Ok(opened) => opened,
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer within {} ms", limit.as_millis()),
                )),
            }
        }))
    }

    /// Waits for what happens next. Dropping the future loses nothing.
    pub(crate) async fn progress(&mut self) -> Moved {
        match self {
            Self::Waiting(until) => {
                sleep_until(*until).await;
                Moved::Time
            }
            Self::Opening(opening) => Moved::Opened(opening.await),
            Self::Open(connection) => Moved::Bytes(connection.progress().await),
            Self::Closed => pending().await,
        }
    }
}

/// How long to wait before the next try.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    pause: Duration,
}

impl Backoff {
    pub(crate) fn new((first_ms, max_ms): (u64, u64)) -> Self {
        let first = Duration::from_millis(first_ms);
        Self {
            first,
            max: Duration::from_millis(max_ms),
            pause: first,
        }
    }

    /// The next pause, after a connection that `lived` so long: at most `most`, but never less than the first. Processes that lost the same store do not all come back at
    /// once: some part of each pause is random.
    pub(crate) fn next(&mut self, lived: Duration, most: Option<Duration>) -> Duration {
        if lived > self.max {
            self.pause = self.first;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(self.max);
        let pause = most.map_or(pause, |most| pause.min(most).max(self.first));
        pause / 2 + pause.mul_f64(fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_limit_and_begin_again_after_a_long_connection() {
        let mut backoff = Backoff::new((50, 400));
        for ms in [50, 100, 200, 400, 400] {
            let pause = backoff.next(Duration::ZERO, None);
            let full = Duration::from_millis(ms);
            assert!(full / 2 <= pause && pause <= full, "{pause:?} of {full:?}");
        }
        for (most, at_most) in [(100, 100), (1, 50)] {
            let pause = backoff.next(Duration::ZERO, Some(Duration::from_millis(most)));
            assert!(pause <= Duration::from_millis(at_most), "{pause:?}");
        }
        let pause = backoff.next(Duration::from_secs(1), None);
        assert!(pause <= Duration::from_millis(50), "{pause:?}");
    }
}
