//! The way to the store: no connection, one on its way, or one.

use crate::connection::Connection;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// The least time that a try to connect gets, however soon the lease ends.
const TRY_MIN: Duration = Duration::from_millis(50);

type Opening = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// The way to the store.
pub(crate) enum ConnectionState {
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
pub(crate) enum ConnectionEvent {
    /// It is time to try.
    Time,
    /// A try has ended.
    Opened(io::Result<TcpStream>),
    /// Bytes came or went, or the connection has ended.
    Bytes(io::Result<()>),
}

impl ConnectionState {
    /// Tries to connect, for as long as `limit`, and at most half of what is `left` of the lease: the other half is for the
    /// next try. The address is looked up each time, since it may have moved.
    pub(crate) fn open(address: String, limit: Duration, left: Option<Duration>) -> Self {
        let limit = left.map_or(limit, |left| limit.min((left / 2).max(TRY_MIN)));
        Self::Opening(Box::pin(async move {
            let until = Instant::now() + limit;
            let found = match timeout_at(until, lookup_host(address)).await {
                Ok(found) => found?.collect(),
                Err(_) => return Err(no_answer(limit)),
            };
            dial(found, until, limit).await
        }))
    }

    /// Waits for what happens next. Dropping the future loses nothing.
    pub(crate) async fn progress(&mut self) -> ConnectionEvent {
        match self {
            Self::Waiting(until) => {
                sleep_until(*until).await;
                ConnectionEvent::Time
            }
            Self::Opening(opening) => ConnectionEvent::Opened(opening.await),
            Self::Open(connection) => ConnectionEvent::Bytes(connection.progress().await),
            Self::Closed => pending().await,
        }
    }
}

/// Tries each address until one accepts. An address without an answer takes an equal share of the time that is left, so that
/// it leaves time for those behind it.
async fn dial(found: Vec<SocketAddr>, until: Instant, limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
    for (left, address) in (1..=count).rev().zip(found) {
        let share = until.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = no_answer(limit),
        }
    }
    Err(last)
}

fn no_answer(limit: Duration) -> io::Error {
    let why = format!("no answer within {} ms", limit.as_millis());
    io::Error::new(io::ErrorKind::TimedOut, why)
}

/// How many times the last pause a connection has to last, so that the next pause is the first one again.
const STEADY: u32 = 10;

/// How long to wait before the next try.
///
/// A store that accepts connections and ends each of them soon costs both sides as much as one that refuses them: a hello with
/// everything that the process has. So a connection that was accepted is no success by itself.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    /// The next pause.
    pause: Duration,
    /// The pause before the connection that there is, or was last.
    last: Duration,
    /// How many connections in a row ended soon.
    cuts: u32,
}

impl Backoff {
    pub(crate) fn new((first_ms, max_ms): (u64, u64)) -> Self {
        let first = Duration::from_millis(first_ms);
        Self {
            first,
            max: Duration::from_millis(max_ms),
            pause: first,
            last: Duration::ZERO,
            cuts: 0,
        }
    }

    /// Returns the next pause: at most `most`, but never less than the first. `lived` is how long the connection lasted; `None`
    /// if it did not come about. Processes that lost the same store do not all come back at once: a part of each pause is random.
    pub(crate) fn next(&mut self, lived: Option<Duration>, most: Option<Duration>) -> Duration {
        if lived > Some(self.max.max(self.last * STEADY)) {
            self.pause = self.first;
            self.cuts = 0;
        } else if lived.is_some() {
            self.cuts = self.cuts.saturating_add(1);
        }
        // r[connect.backs-off]
        let pause = self.pause;
        self.pause = (pause * 2).min(self.max);
        let pause = most.map_or(pause, |most| pause.min(most).max(self.first));
        self.last = pause;
        pause / 2 + pause.mul_f64(fastrand::f64() / 2.0)
    }

    /// Returns how many connections in a row ended soon after they had begun.
    pub(crate) fn cuts(&self) -> u32 {
        self.cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port on loopback where connecting gets no answer: its queue is full, and nobody accepts.
    async fn hanging() -> (tokio::net::TcpListener, SocketAddr, Vec<TcpStream>) {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(any).expect("a port");
        let listener = socket.listen(1).expect("it listens");
        let address = listener.local_addr().expect("an address");
        let mut queued = Vec::new();
        let connect = || timeout(Duration::from_millis(200), TcpStream::connect(address));
        while let Ok(stream) = connect().await {
            queued.push(stream.expect("a connection"));
            assert!(queued.len() < 100, "its queue does not fill");
        }
        (listener, address, queued)
    }

    #[tokio::test]
    async fn an_address_without_an_answer_leaves_time_for_the_next() {
        let (_listener, hangs, _queued) = hanging().await;
        let good = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let good = good.expect("a port");
        let found = vec![hangs, good.local_addr().expect("an address")];
        let limit = Duration::from_secs(1);
        let opened = dial(found, Instant::now() + limit, limit).await;
        assert!(opened.is_ok(), "{opened:?}");
    }

    #[tokio::test]
    async fn a_try_ends_while_half_of_the_lease_is_left() {
        let (_listener, hangs, _queued) = hanging().await;
        let left = Some(Duration::from_millis(400));
        let hour = Duration::from_secs(3_600);
        let mut line = ConnectionState::open(hangs.to_string(), hour, left);
        let ConnectionEvent::Opened(Err(error)) = line.progress().await else {
            panic!("nobody accepts");
        };
        assert_eq!(error.to_string(), "no answer within 200 ms");
    }

    /// Whether `pause` is a random part of `full`, between a half and all.
    #[track_caller]
    fn is_part_of(pause: Duration, full_ms: u64) {
        let full = Duration::from_millis(full_ms);
        assert!(full / 2 <= pause && pause <= full, "{pause:?} of {full:?}");
    }

    #[test]
    fn pauses_grow_up_to_the_limit_and_begin_again_after_a_long_connection() {
        let mut backoff = Backoff::new((50, 400));
        for ms in [50, 100, 200, 400, 400] {
            is_part_of(backoff.next(None, None), ms);
        }
        for (most, at_most) in [(100, 100), (1, 50)] {
            let pause = backoff.next(None, Some(Duration::from_millis(most)));
            assert!(pause <= Duration::from_millis(at_most), "{pause:?}");
        }
        is_part_of(backoff.next(Some(Duration::from_secs(5)), None), 50);
        assert_eq!(backoff.cuts(), 0, "none of them ended soon");
    }

    #[test]
    fn a_store_that_ends_each_connection_soon_is_left_alone_for_longer_and_longer() {
        let mut backoff = Backoff::new((50, 400));
        // Each lasts longer than the longest pause, and still less than ten times the pause before it.
        let lived = [0, 400, 400, 1_900, 3_900, 3_900];
        for (lived, ms) in lived.into_iter().zip([50, 100, 200, 400, 400, 400]) {
            is_part_of(backoff.next(Some(Duration::from_millis(lived)), None), ms);
        }
        assert_eq!(backoff.cuts(), 6);
        is_part_of(backoff.next(Some(Duration::from_millis(4_100)), None), 50);
        assert_eq!(backoff.cuts(), 0, "that one was steady");
    }
}
