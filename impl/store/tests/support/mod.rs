//! Test support: a store in this OS process, and a scripted process over TCP.

pub(crate) mod gated;

use bytes::{Buf, Bytes, BytesMut};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tenure_engine::Engine;
use tenure_protocol::attributes::{Change, Value};
use tenure_protocol::message::{AcquireRequest, Commit, Granted, Release, WaitMode};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Link, ProcessId, Request, SessionId, Time, ToProcess,
    ToStore, Token, Version,
};
use tenure_store::{Config, Server, Stop, Stopper, StoreError};
use tenure_wire::{Decoder, Fault, FrameLimits, FromProcess, FromStore, Opening, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A time much longer than any step needs. A test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns settings for a test's store: ports chosen by the system, and times that are short but not tight.
pub(crate) fn config(folder: &Path) -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        admin: ([127, 0, 0, 1], 0).into(),
        data: folder.join("data"),
        stop_limit: Duration::from_secs(2),
        ..Config::default()
    }
}

/// A running store.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) server: tenure_store::Recovered,
    stopper: Stopper,
    task: JoinHandle<Result<(), StoreError>>,
}

impl Running {
    pub(crate) async fn start(config: Config) -> Self {
        Self::run(Server::start(config).await.expect("it starts"))
    }

    pub(crate) async fn with_engine(config: Config, engine: Box<dyn Engine>) -> Self {
        Self::run(
            Server::with_engine(config, engine)
                .await
                .expect("it starts"),
        )
    }

    pub(crate) fn run(server: Server) -> Self {
        Self {
            address: server.address().expect("bound"),
            admin: server.admin_address().expect("bound"),
            server: server.recovered(),
            stopper: server.stopper(),
            task: tokio::spawn(server.run()),
        }
    }

    pub(crate) async fn stop(self, how: Stop) -> Result<(), StoreError> {
        self.stopper.stop(how);
        timeout(PATIENCE, self.task)
            .await
            .expect("it stops")
            .expect("no panic")
    }

    /// Waits until the store has ended by itself.
    pub(crate) async fn ends(self) -> Result<(), StoreError> {
        timeout(PATIENCE, self.task)
            .await
            .expect("it ends")
            .expect("no panic")
    }

    /// Waits until the operator's view of a path meets the condition.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(u16, &str) -> bool) {
        let seen = async {
            loop {
                let (status, body) = self.ask("GET", path).await;
                if is_so(status, &body) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let seen = timeout(PATIENCE, seen).await;
        assert!(seen.is_ok(), "{path}: {:?}", self.ask("GET", path).await);
    }

    /// Waits until a session is only on disk.
    pub(crate) async fn leaves(&self, id: &SessionId) {
        let path = format!("/sessions/{}", tenure_store::show(id));
        self.until(&path, |status, _| status == 404).await;
    }

    /// Sends a request to the admin listener. Returns the status and the body.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        ask(self.admin, method, path).await
    }
}

/// Sends a request to the admin listener of any store. Returns the status and the body.
pub(crate) async fn ask(admin: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).await.expect("it listens");
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
    let status = head
        .split(' ')
        .nth(1)
        .expect("a status")
        .parse()
        .expect("a number");
    (status, body.to_owned())
}

/// A scripted process.
pub(crate) struct Player {
    pub(crate) name: ProcessId,
    pub(crate) link: Link,
    pub(crate) stream: TcpStream,
    bytes: BytesMut,
    decoder: Decoder<FromStore>,
}

/// The contents of a grant message.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) token: Token,
    pub(crate) version: Version,
    pub(crate) state: tenure_protocol::attributes::State,
}

impl Player {
    /// Connects without sending a message.
    pub(crate) async fn silent(
        address: SocketAddr,
        name: &str,
        incarnation: u64,
        number: u64,
    ) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        Self::over(stream, name, incarnation, number)
    }

    /// Returns a process on an open connection, without sending a message.
    pub(crate) fn over(stream: TcpStream, name: &str, incarnation: u64, number: u64) -> Self {
        Self {
            name: ProcessId::new(name.to_owned()).expect("a name"),
            link: Link {
                incarnation: Incarnation(incarnation),
                number,
            },
            stream,
            bytes: BytesMut::new(),
            decoder: Decoder::new(FrameLimits::default()),
        }
    }

    /// Connects, and waits for the Welcome.
    pub(crate) async fn connect(address: SocketAddr, name: &str) -> Self {
        let mut player = Self::silent(address, name, 1, 1).await;
        player.hello(vec![], vec![]).await;
        assert!(matches!(player.next().await, ToProcess::Welcome { .. }));
        player
    }

    /// Sends a keep-alive, and waits for its answer. Returns the messages that came before it.
    pub(crate) async fn lives(&mut self) -> Vec<ToProcess> {
        self.say(ToStore::KeepAlive { sent: Time(7) }).await;
        let mut before = Vec::new();
        loop {
            match self.next().await {
                ToProcess::Alive { .. } => return before,
                other => before.push(other),
            }
        }
    }

    /// Requests a free session, and releases it with a state, which is then on disk.
    pub(crate) async fn write(&mut self, id: &SessionId, request: u64, value: &str) {
        let grant = self.acquire(id, request).await;
        let delta = set("n", value.to_owned());
        self.release(id, grant.token, grant.version, delta).await;
    }

    pub(crate) async fn hello(
        &mut self,
        holds: Vec<tenure_protocol::message::GrantRef>,
        waits: Vec<AcquireRequest>,
    ) {
        let bytes = self.hello_bytes(holds, waits);
        self.stream.write_all(&bytes).await.expect("it reads");
    }

    pub(crate) fn hello_bytes(
        &self,
        holds: Vec<tenure_protocol::message::GrantRef>,
        waits: Vec<AcquireRequest>,
    ) -> Bytes {
        let opening = Opening {
            process: self.name.clone(),
            link: self.link,
            minor_max: 0,
            sent: Time(1),
            holds,
            waits,
        };
        encode(&FromProcess::Hello(opening))
    }

    pub(crate) async fn push(&mut self, item: &FromProcess) {
        let bytes = encode(item);
        self.stream.write_all(&bytes).await.expect("it reads");
    }

    pub(crate) async fn say(&mut self, message: ToStore) {
        self.push(&FromProcess::Message(message)).await;
    }

    /// Returns the next item, or `None` if the connection is closed.
    pub(crate) async fn item(&mut self) -> Option<FromStore> {
        loop {
            if let Some(item) = self.decoder.decode(&mut self.bytes).expect("frames") {
                return Some(item);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.bytes)).await;
            if read.expect("an answer").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn next(&mut self) -> ToProcess {
        match self.item().await {
            Some(FromStore::Message(message)) => message,
            other => panic!("expected a message, not {other:?}"),
        }
    }

    /// Returns the fault that the store sends before it closes the connection.
    pub(crate) async fn fault(&mut self) -> Fault {
        let fault = loop {
            match self.item().await {
                Some(FromStore::Fault(fault)) => break fault,
                Some(FromStore::Message(_)) => {}
                None => panic!("{}: closed without a fault", self.name),
            }
        };
        assert_eq!(
            self.item().await,
            None,
            "the connection must end after {fault}"
        );
        fault
    }

    pub(crate) async fn ask_for(&mut self, id: &SessionId, request: u64) {
        self.say(acquire(id, request)).await;
    }

    /// Sends a request, and waits for its grant.
    pub(crate) async fn acquire(&mut self, id: &SessionId, request: u64) -> Grant {
        self.ask_for(id, request).await;
        self.granted(id).await
    }

    pub(crate) async fn granted(&mut self, id: &SessionId) -> Grant {
        loop {
            match self.next().await {
                ToProcess::Granted(Granted {
                    session,
                    token,
                    version,
                    state,
                    ..
                }) if session == *id => {
                    return Grant {
                        token,
                        version,
                        state,
                    };
                }
                ToProcess::Queued { .. } | ToProcess::Recall { .. } => {}
                other => panic!("expected Granted, not {other:?}"),
            }
        }
    }

    pub(crate) async fn commit(
        &mut self,
        id: &SessionId,
        token: Token,
        base: Version,
        delta: Delta,
    ) -> Version {
        let session = id.clone();
        self.say(ToStore::Commit(Commit {
            session,
            token,
            base,
            delta,
        }))
        .await;
        match self.next().await {
            ToProcess::Committed { version, .. } => version,
            other => panic!("expected Committed, not {other:?}"),
        }
    }

    pub(crate) async fn release(
        &mut self,
        id: &SessionId,
        token: Token,
        base: Version,
        delta: Delta,
    ) {
        let session = id.clone();
        self.say(ToStore::Release(Release {
            session,
            token,
            base,
            delta,
            requeue: None,
            idle_ms: 0,
        }))
        .await;
        loop {
            match self.next().await {
                ToProcess::Released {
                    version: Some(_), ..
                } => return,
                ToProcess::Recall { .. } => {}
                other => panic!("expected Released, not {other:?}"),
            }
        }
    }
}

/// Returns the frames of an item.
pub(crate) fn encode(item: &FromProcess) -> Bytes {
    let mut out = Outgoing::new();
    out.push(item, &FrameLimits::default())
        .expect("within the limits");
    out.copy_to_bytes(out.remaining())
}

pub(crate) fn acquire(id: &SessionId, request: u64) -> ToStore {
    ToStore::Acquire(AcquireRequest {
        session: id.clone(),
        request: Request(request),
        known: None,
        wait_mode: WaitMode::Wait,
        ticket: None,
        existing: false,
    })
}

/// Returns a change of one attribute.
pub(crate) fn set(name: &'static str, value: impl Into<Value>) -> Delta {
    let change = Change {
        name: AttributeName::from_static(name),
        value: Some(value.into()),
    };
    [change].into_iter().collect()
}

pub(crate) fn id(name: &str) -> SessionId {
    SessionId::new(name.to_owned()).expect("an id")
}
