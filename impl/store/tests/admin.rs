//! Tests of the admin listener with an operator, a scraper and a web page.

use crate::support::{PATIENCE, Player, Running, config, id};
use tenure_protocol::id::ShortId;
use tenure_protocol::{Delta, ToProcess};
use tenure_store::{SessionStatus, Stop};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Sends a request with these header lines. Returns the status.
async fn ask(store: &Running, request: &str, headers: &str) -> u16 {
    let mut stream = TcpStream::connect(store.admin).await.expect("it listens");
    let text = format!("{request} HTTP/1.1\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    let status = answer.split(' ').nth(1).expect("a status");
    status.parse().expect("a number")
}

#[tokio::test]
async fn unfinished_requests_lock_out_neither_operators_nor_processes() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(config(folder.path())).await;
    let mut halves = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(store.admin).await.expect("it listens");
        stream.write_all(b"GET /livez HT").await.expect("it reads");
        halves.push(stream);
    }
    assert_eq!(store.ask("GET", "/livez").await.0, 200);
    Player::connect(store.address, "p").await;
    // The oldest connections were closed at once, and the others are closed when their head is overdue.
    for half in &mut halves {
        let mut read = Vec::new();
        let end = timeout(PATIENCE, half.read_to_end(&mut read)).await;
        let _ = end.expect("the listener closes the connection in time");
        assert_eq!(read, b"");
    }
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_web_page_can_neither_recall_nor_read_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.admin_hosts = Some("store.example".to_owned());
    let store = Running::start(config).await;
    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    p.acquire(&s, 1).await;
    let own = format!("{}", store.admin);
    let foreign = [
        ("host: evil.example\r\n".to_owned(), 421),
        (
            format!("host: evil.example\r\norigin: http://{own}\r\n"),
            421,
        ),
        (
            format!("host: {own}\r\norigin: http://evil.example\r\n"),
            403,
        ),
        (format!("host: {own}\r\norigin: null\r\n"), 403),
        (
            "origin: http://evil.example\r\nhost: store.example\r\n".to_owned(),
            403,
        ),
    ];
    for (headers, status) in &foreign {
        for request in [
            "POST /sessions/s/recall",
            "POST /drain",
            "GET /sessions",
            "GET /sessions/s",
            "GET /status",
        ] {
            assert_eq!(
                ask(&store, request, headers).await,
                *status,
                "{request}: {headers}"
            );
        }
        // A scraper may use any host name.
        for request in ["GET /livez", "GET /readyz", "GET /metrics"] {
            assert_eq!(
                ask(&store, request, headers).await,
                200,
                "{request}: {headers}"
            );
        }
    }
    let (_, metrics) = store.ask("GET", "/metrics").await;
    assert!(!metrics.contains("kind=\"recall\""), "{metrics}");
    let same = format!("host: {own}\r\norigin: http://{own}\r\n");
    assert_eq!(ask(&store, "POST /sessions/s/recall", &same).await, 202);
    assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    let name = "host: store.example:7421\r\n";
    assert_eq!(ask(&store, "GET /sessions", name).await, 200);
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn sessions_are_named_by_short_ids_unless_loopback_requests_whole_ids() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Running::start(config(folder.path())).await;
    let secret = id("secret-of-a-client");
    let short = ShortId(&secret).to_string();
    let mut p = Player::connect(store.address, "p").await;
    let grant = p.acquire(&secret, 1).await;
    let escaped = short.replace('#', "%23");
    for path in [
        "/sessions".to_owned(),
        "/sessions?waiting=false&reveal=false".to_owned(),
        "/sessions/secret-of-a-client".to_owned(),
        format!("/sessions/{escaped}"),
    ] {
        let (status, body) = store.ask("GET", &path).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert!(body.contains(&short), "{path}: {body}");
        assert!(!body.contains("secret"), "{path}: {body}");
    }
    for path in ["/metrics", "/status"] {
        assert!(!store.ask("GET", path).await.1.contains("secret"), "{path}");
    }
    let (_, body) = store
        .ask("GET", &format!("/sessions/{escaped}?reveal=true"))
        .await;
    let shown: SessionStatus = serde_json::from_str(&body).expect("JSON");
    assert_eq!(shown.session, "secret-of-a-client");
    let (status, _) = store
        .ask("POST", &format!("/sessions/{escaped}/recall"))
        .await;
    assert_eq!(status, 202);
    assert!(matches!(p.next().await, ToProcess::Recall { .. }));
    p.release(&secret, grant.token, grant.version, Delta::default())
        .await;
    assert_eq!(store.ask("GET", "/sessions/%2300000000").await.0, 404);
    store.stop(Stop::Fast).await.expect("no failure");
}
