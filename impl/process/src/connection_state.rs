//! The state of the connection to the store: waiting for the next attempt, connecting, open, or closed.

use crate::connection::Connection;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};

/// The minimum time for one attempt to connect, even if the lease ends sooner.
const TRY_MIN: Duration = Duration::from_millis(50);

type Opening = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// The state of the connection to the store.
pub(crate) enum ConnectionState {
    /// There is no connection. The next attempt starts after this pause.
    Waiting(Pin<Box<Sleep>>),
    /// An attempt to connect is under way.
    Opening(Opening),
    /// The connection is open.
    Open(Box<Connection>),
    /// The connection is closed for ever.
    Closed,
}

/// An event of the connection.
pub(crate) enum ConnectionEvent {
    /// The pause is over: it is time for an attempt.
    Time,
    /// An attempt to connect has ended.
    Opened(io::Result<TcpStream>),
    /// Bytes were read or written, or the connection has failed.
    Bytes(io::Result<()>),
}

impl ConnectionState {
    /// Starts a pause before the next attempt.
    pub(crate) fn wait(pause: Duration) -> Self {
        Self::Waiting(Box::pin(sleep(pause)))
    }

    /// Starts an attempt to connect. The attempt lasts at most `limit`, and at most half of the time `left` of the
    /// lease: the other half is for the next attempt. Each attempt resolves the address anew, since the address may
    /// have changed.
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

    /// Returns the next event.
    pub(crate) fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<ConnectionEvent> {
        match self {
            Self::Waiting(pause) => pause.as_mut().poll(context).map(|()| ConnectionEvent::Time),
            Self::Opening(opening) => opening.as_mut().poll(context).map(ConnectionEvent::Opened),
            Self::Open(connection) => connection
                .poll_progress(context)
                .map(ConnectionEvent::Bytes),
            Self::Closed => Poll::Pending,
        }
    }
}

/// Tries each address until one accepts. Each address gets an equal share of the remaining time, so that an address
/// without an answer leaves time for the next ones.
async fn dial(found: Vec<SocketAddr>, until: Instant, limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        "the host name has no address; check the name and DNS",
    );
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

/// The factor of the last pause that a connection must outlast, so that the next pause is the first one again.
const STEADY: u32 = 10;

/// The pauses between attempts to connect.
///
/// A store may accept each connection and close it soon. Such a store costs both sides as much as one that refuses
/// connections: the process sends a hello with all its grants each time. So an accepted connection alone is no success.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    /// The next pause.
    pause: Duration,
    /// The pause before the current or last connection.
    last: Duration,
    /// The number of connections in a row that ended soon.
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

    /// Returns the next pause: at most `most`, but not less than the first pause. `lived` is the duration of the last
    /// connection, or `None` if the attempt failed. A part of each pause is random, so that processes that lost the
    /// same store do not all reconnect at the same time.
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

    /// Returns the number of connections in a row that ended soon after they began.
    pub(crate) fn cuts(&self) -> u32 {
        self.cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    /// Returns a loopback address that never answers an attempt to connect: its accept queue is full.
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
            assert!(queued.len() < 100, "the accept queue does not fill up");
        }
        (listener, address, queued)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next_address() {
        let (_listener, hangs, _queued) = hanging().await;
        let good = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let good = good.expect("a port");
        let found = vec![hangs, good.local_addr().expect("an address")];
        let limit = Duration::from_secs(1);
        let opened = dial(found, Instant::now() + limit, limit).await;
        assert!(opened.is_ok(), "{opened:?}");
    }

    #[tokio::test]
    async fn an_attempt_to_connect_ends_while_half_of_the_lease_is_left() {
        let (_listener, hangs, _queued) = hanging().await;
        let left = Some(Duration::from_millis(400));
        let hour = Duration::from_secs(3_600);
        let mut line = ConnectionState::open(hangs.to_string(), hour, left);
        let ConnectionEvent::Opened(Err(error)) =
            poll_fn(|context| line.poll_progress(context)).await
        else {
            panic!("the listener accepts no connection");
        };
        assert_eq!(error.to_string(), "no answer within 200 ms");
    }

    /// Asserts that `pause` is between a half of `full_ms` and all of it.
    #[track_caller]
    fn is_part_of(pause: Duration, full_ms: u64) {
        let full = Duration::from_millis(full_ms);
        assert!(full / 2 <= pause && pause <= full, "{pause:?} of {full:?}");
    }

    #[test]
    fn pauses_double_up_to_the_maximum_and_restart_after_a_long_connection() {
        let mut backoff = Backoff::new((50, 400));
        for ms in [50, 100, 200, 400, 400] {
            is_part_of(backoff.next(None, None), ms);
        }
        for (most, at_most) in [(100, 100), (1, 50)] {
            let pause = backoff.next(None, Some(Duration::from_millis(most)));
            assert!(pause <= Duration::from_millis(at_most), "{pause:?}");
        }
        is_part_of(backoff.next(Some(Duration::from_secs(5)), None), 50);
        assert_eq!(backoff.cuts(), 0, "no connection has ended soon");
    }

    #[test]
    fn pauses_grow_while_a_store_ends_each_connection_soon() {
        let mut backoff = Backoff::new((50, 400));
        // Each connection lasts longer than the longest pause, but less than ten times the pause before it.
        let lived = [0, 400, 400, 1_900, 3_900, 3_900];
        for (lived, ms) in lived.into_iter().zip([50, 100, 200, 400, 400, 400]) {
            is_part_of(backoff.next(Some(Duration::from_millis(lived)), None), ms);
        }
        assert_eq!(backoff.cuts(), 6);
        is_part_of(backoff.next(Some(Duration::from_millis(4_100)), None), 50);
        assert_eq!(
            backoff.cuts(),
            0,
            "a connection beyond ten pauses resets the count"
        );
    }
}
