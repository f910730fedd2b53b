//! Connections of the admin listener, bounded in number, time and size: they must take no open file and no memory from
//! processes, however many a peer opens and however slowly it sends.

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// The limits of one admin listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Open connections. One more closes the oldest, so that half requests keep no operator out.
    pub(super) connections_max: usize,
    /// How long the head of a request may take.
    pub(super) head: Duration,
    /// How long a connection may take from its beginning to its end.
    pub(super) whole: Duration,
    /// Bytes of a request's head.
    pub(super) head_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 64,
            head: Duration::from_secs(5),
            whole: Duration::from_secs(30),
            head_bytes_max: 16 << 10,
        }
    }
}

/// The peer of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Peer {
    /// Returns whether the peer is a program of this machine.
    pub(super) fn is_local(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

/// Serves requests until it is dropped, with all its connections.
pub(super) async fn serve(listener: TcpListener, router: Router, bounds: Bounds) {
    let mut tasks = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, most likely: others have to go first.
                tracing::error!(%error, "cannot accept a connection to the admin listener");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        open.retain(|task| !task.is_finished());
        if open.len() >= bounds.connections_max
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let router = router.clone().layer(Extension(Peer(from)));
        open.push_back(tasks.spawn(converse(stream, router, bounds)));
    }
}

/// One request, and its answer.
async fn converse(stream: TcpStream, router: Router, bounds: Bounds) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_header_size(bounds.head_bytes_max)
        // So that a connection has one request, and `whole` bounds it.
        .keep_alive(false);
    let service = TowerToHyperService::new(router);
    let served = http.serve_connection(TokioIo::new(stream), service);
    match timeout(bounds.whole, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection was closed"),
        Err(_) => tracing::debug!("an admin connection took too long and was closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LONG: Duration = Duration::from_secs(60);

    async fn start(bounds: Bounds) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let long = "x".repeat(32 << 20);
        let router = Router::new()
            .route("/short", get(async || "ok"))
            .route("/long", get(async move || long.clone()));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, router, bounds));
        (address, server)
    }

    async fn say(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        // A listener that has had enough may close before it has read all.
        let _ = stream.write_all(text.as_bytes()).await;
        stream
    }

    /// Everything up to the end of a connection; an end by a reset counts.
    async fn until_closed(stream: &mut TcpStream) -> String {
        let mut read = Vec::new();
        let end = stream.read_to_end(&mut read);
        let _ = timeout(LONG, end).await.expect("it is closed");
        String::from_utf8_lossy(&read).into_owned()
    }

    #[tokio::test]
    async fn half_a_request_is_cut_and_so_is_a_reader_that_stops() {
        let bounds = Bounds {
            head: Duration::from_millis(50),
            whole: Duration::from_millis(200),
            ..Bounds::default()
        };
        let (address, _server) = start(bounds).await;
        let mut half = say(address, "GET /short HT").await;
        assert_eq!(until_closed(&mut half).await, "");
        let mut silent = say(address, "").await;
        assert_eq!(until_closed(&mut silent).await, "");
        // A connection that is not reused ends with its answer.
        let request = "GET /short HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut whole = say(address, request).await;
        assert!(until_closed(&mut whole).await.ends_with("ok"));
        // The answer is larger than any buffer on the way: it is cut while nobody reads.
        let mut slow = say(address, "GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut again = say(address, "GET /short HT").await;
        until_closed(&mut again).await;
        sleep(bounds.whole).await;
        assert!(until_closed(&mut slow).await.len() < 32 << 20);
    }

    #[tokio::test]
    async fn one_connection_too_many_closes_the_oldest() {
        let bounds = Bounds {
            connections_max: 3,
            head: LONG,
            whole: LONG,
            ..Bounds::default()
        };
        let (address, _server) = start(bounds).await;
        let mut halves = Vec::new();
        for _ in 0..20 {
            halves.push(say(address, "GET /short HT").await);
        }
        let request = "GET /short HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut whole = say(address, request).await;
        assert!(until_closed(&mut whole).await.ends_with("ok"));
        // 21 connections of which three may stay.
        for half in &mut halves[..18] {
            assert_eq!(until_closed(half).await, "");
        }
        for half in &mut halves[18..] {
            half.write_all(b"TP/1.1\r\nhost: x\r\n\r\n")
                .await
                .expect("it is open");
            assert!(until_closed(half).await.ends_with("ok"));
        }
    }

    #[tokio::test]
    async fn a_head_beyond_the_limit_is_refused() {
        let (address, _server) = start(Bounds::default()).await;
        let long = "x".repeat(1 << 20);
        let request = format!("GET /short HTTP/1.1\r\nhost: x\r\nlong: {long}\r\n\r\n");
        let mut stream = say(address, &request).await;
        let answer = until_closed(&mut stream).await;
        assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
    }
}
