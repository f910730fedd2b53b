//! Tenure by frames written here: no thread of the library and no process machine, only the store's own cost.

use super::{Client, Seen, Target, value};
use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use std::sync::atomic::{AtomicU64, Ordering};
use tenure_protocol::attributes::State;
use tenure_protocol::message::{AcquireRequest, Release, WaitMode};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Link, ProcessId, Request, SessionId, Time, ToProcess,
    ToStore, Token, Version,
};
use tenure_wire::{Decoder, FrameLimits, FromProcess, FromStore, Opening, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// A connection that has said hello.
pub(crate) struct Frames(Mutex<Connection>);

struct Connection {
    stream: TcpStream,
    decoder: Decoder<FromStore>,
    bytes: BytesMut,
    out: Outgoing,
    limits: FrameLimits,
    requests: u64,
}

/// The token and the version of a grant.
pub(crate) type Grant = (Token, Version);

fn id(session: u64) -> Result<SessionId> {
    Ok(SessionId::new(format!("s-{session:032x}"))?)
}

fn change(value: Vec<u8>) -> Result<Delta> {
    let mut delta = Delta::default();
    delta.set(AttributeName::new("data")?, Some(Bytes::from(value)));
    Ok(delta)
}

impl Connection {
    async fn open(address: &str) -> Result<Self> {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let limits = FrameLimits::default();
        let mut own = Self {
            stream,
            decoder: Decoder::new(limits.clone()),
            bytes: BytesMut::new(),
            out: Outgoing::new(),
            limits,
            requests: 0,
        };
        let hello = Opening {
            process: ProcessId::new(format!("bench-{}-{number}", std::process::id()))?,
            link: Link {
                incarnation: Incarnation(1),
                number: 1,
            },
            minor_max: 0,
            sent: Time(1),
            holds: Vec::new(),
            waits: Vec::new(),
        };
        own.send(&FromProcess::Hello(hello)).await?;
        match own.next().await? {
            ToProcess::Welcome { .. } => Ok(own),
            other => bail!("the store answers a hello with {other:?}"),
        }
    }

    async fn say(&mut self, message: ToStore) -> Result<()> {
        self.send(&FromProcess::Message(message)).await
    }

    async fn send(&mut self, item: &FromProcess) -> Result<()> {
        self.out.push(item, &self.limits)?;
        while self.out.has_remaining() {
            self.stream.write_buf(&mut self.out).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<ToProcess> {
        loop {
            match self.decoder.decode(&mut self.bytes)? {
                Some(FromStore::Message(message)) => return Ok(message),
                Some(FromStore::Fault(fault)) => bail!("the store ends the connection: {fault}"),
                None => {
                    self.bytes.reserve(16 << 10);
                    let read = self.stream.read_buf(&mut self.bytes).await?;
                    ensure!(read > 0, "the store has closed the connection");
                }
            }
        }
    }

    /// Requests a session. The state is `None` if the session does not exist.
    async fn acquire(&mut self, session: u64) -> Result<(Grant, Option<Bytes>)> {
        self.requests += 1;
        let request = AcquireRequest {
            session: id(session)?,
            request: Request(self.requests),
            known: None,
            wait_mode: WaitMode::Wait,
            ticket: None,
            existing: false,
        };
        self.say(ToStore::Acquire(request)).await?;
        loop {
            match self.next().await? {
                ToProcess::Granted(granted) => {
                    let value = only_value(&granted.state);
                    return Ok(((granted.token, granted.version), value));
                }
                ToProcess::Queued { .. }
                | ToProcess::Released { .. }
                | ToProcess::Recall { .. } => {}
                other => bail!("the store answers a request with {other:?}"),
            }
        }
    }

    async fn release(&mut self, session: u64, grant: Grant, value: Vec<u8>) -> Result<()> {
        let (token, base) = grant;
        let release = Release {
            session: id(session)?,
            token,
            base,
            delta: change(value)?,
            requeue: None,
            idle_ms: 0,
        };
        self.say(ToStore::Release(release)).await?;
        loop {
            match self.next().await? {
                ToProcess::Released { .. } => return Ok(()),
                ToProcess::Recall { .. } => {}
                other => bail!("the store answers a release with {other:?}"),
            }
        }
    }
}

fn only_value(state: &State) -> Option<Bytes> {
    match state {
        State::Full(delta) | State::Delta(delta) => delta
            .changes()
            .iter()
            .find_map(|change| change.value.clone()),
        State::Unchanged => None,
    }
}

impl Client for Frames {
    type Held = Grant;

    async fn connect(target: &Target) -> Result<Self> {
        Ok(Self(Mutex::new(Connection::open(&target.address).await?)))
    }

    fn share(&self) -> Option<Self> {
        None
    }

    async fn create(&self, sessions: &[u64]) -> Result<()> {
        let mut connection = self.0.lock().await;
        for &session in sessions {
            let (grant, _) = connection.acquire(session).await?;
            connection.release(session, grant, value(0)).await?;
        }
        Ok(())
    }

    async fn acquire(&self, session: u64) -> Result<(Grant, Seen)> {
        let (grant, value) = self.0.lock().await.acquire(session).await?;
        Ok((grant, Seen::of(value.as_deref())?))
    }

    async fn release(&self, session: u64, grant: Grant, value: Vec<u8>) -> Result<()> {
        self.0.lock().await.release(session, grant, value).await
    }

    async fn close(self) -> Result<()> {
        self.0.into_inner().say(ToStore::Goodbye).await
    }
}
