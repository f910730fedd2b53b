//! The admin listener's connections, bounded in number, time and size. However many connections a peer opens and
//! however slowly it sends, it cannot take open files or memory from processes.

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

/// The limits of the admin listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The most open connections. One more closes the oldest, so that unfinished requests cannot lock out an operator.
    pub(super) connections_max: usize,
    /// The time in which the head of a request must arrive.
    pub(super) head: Duration,
    /// The time in which a connection must end.
    pub(super) whole: Duration,
    /// The most bytes of a request's head.
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

/// The address of a connection's peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Peer {
    /// Returns whether the peer connects from this machine.
    pub(super) fn is_local(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

/// Serves requests until the returned future is dropped, which also closes all connections.
pub(super) async fn serve(listener: TcpListener, router: Router, bounds: Bounds) {
    let mut tasks = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The most likely cause is a lack of open files, which passes when other connections close.
                tracing::error!(%error, "cannot accept a connection to the admin listener: trying again in 100 ms; if \
                the limit on open files is reached, raise it");
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

/// Serves one request on a connection.
async fn converse(stream: TcpStream, router: Router, bounds: Bounds) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_header_size(bounds.head_bytes_max)
        // One request per connection, so that `whole` bounds the connection.
        .keep_alive(false);
    let service = TowerToHyperService::new(router);
    let served = http.serve_connection(TokioIo::new(stream), service);
    match timeout(bounds.whole, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection ended with an error"),
        Err(_) => tracing::debug!("an admin connection exceeded its time limit and was closed"),
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
        // The listener may close the connection before it has read the whole request.
        let _ = stream.write_all(text.as_bytes()).await;
        stream
    }

    /// Reads all bytes up to the end of a connection. A connection reset counts as the end.
    async fn until_closed(stream: &mut TcpStream) -> String {
        let mut read = Vec::new();
        let end = stream.read_to_end(&mut read);
        let _ = timeout(LONG, end)
            .await
            .expect("the listener closes the connection within its time limit");
        String::from_utf8_lossy(&read).into_owned()
    }

    #[tokio::test]
    async fn an_unfinished_request_and_a_stalled_reader_are_cut_off() {
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
        // The listener closes the connection after one response.
        let request = "GET /short HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut whole = say(address, request).await;
        assert!(until_closed(&mut whole).await.ends_with("ok"));
        // The response is larger than all buffers on the way, so the connection is cut off while the client does not
        // read.
        let mut slow = say(address, "GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut again = say(address, "GET /short HT").await;
        until_closed(&mut again).await;
        sleep(bounds.whole).await;
        assert!(until_closed(&mut slow).await.len() < 32 << 20);
    }

    #[tokio::test]
    async fn a_connection_above_the_maximum_closes_the_oldest_one() {
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
        // Of 21 connections, the last three stay open.
        for half in &mut halves[..18] {
            assert_eq!(until_closed(half).await, "");
        }
        for half in &mut halves[18..] {
            half.write_all(b"TP/1.1\r\nhost: x\r\n\r\n")
                .await
                .expect("the listener keeps the newest connections open");
            assert!(until_closed(half).await.ends_with("ok"));
        }
    }

    #[tokio::test]
    async fn a_request_head_above_the_limit_is_refused() {
        let (address, _server) = start(Bounds::default()).await;
        let long = "x".repeat(1 << 20);
        let request = format!("GET /short HTTP/1.1\r\nhost: x\r\nlong: {long}\r\n\r\n");
        let mut stream = say(address, &request).await;
        let answer = until_closed(&mut stream).await;
        assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
    }
}
