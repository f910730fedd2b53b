//! A scripted store: listens, sends the messages of a case on each connection, and receives those of the process.
//!
//! Keep-alives are answered automatically unless the case disables that. Repeated messages are reported once, because a
//! process may repeat an unanswered message at any time.

use crate::end::{CaseEnd, Play};
use crate::frames::{Frames, encode};
use crate::process::adapter::Adapter;
use crate::process::raw;
use crate::trace::{CUTS, Trace};
use std::net::SocketAddr;
use std::time::Duration;
use tenure_protocol::{StoreLimits, Time, ToProcess, ToStore};
use tenure_wire::{Fault, FromProcess, FromStore, Opening};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

/// The lease time of a scripted store, unless a case sets another one. No case takes that long.
pub(crate) const LEASE_MS: u64 = 120_000;

/// The result of waiting for a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Hello(Opening),
    Message(ToStore),
    Fault(Fault),
    /// The process has closed the connection.
    Closed,
    /// The process has sent bytes that are not an allowed frame.
    Garbage(String),
    /// Nothing arrived within the allowed time.
    Nothing,
}

/// The listener of a scripted store.
#[derive(Debug)]
pub(crate) struct Listener {
    inner: TcpListener,
    pub(crate) address: SocketAddr,
    trace: Trace,
    slack: Duration,
    accepted: u32,
}

impl Listener {
    /// Listens at a free port. `slack` is the time that the process has for each of its actions.
    pub(crate) async fn bind(trace: Trace, slack: Duration) -> Play<Self> {
        let inner = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(CaseEnd::fault)?;
        Ok(Self {
            address: inner.local_addr().map_err(CaseEnd::fault)?,
            inner,
            trace,
            slack,
            accepted: 0,
        })
    }

    /// Waits for the next connection.
    pub(crate) async fn accept(&mut self) -> Play<ScriptedStore> {
        let slack = self.slack;
        match self.accept_within(slack).await? {
            Some(peer) => Ok(peer),
            None => Err(CaseEnd::told(
                "the process connects",
                "the process does not connect",
            )),
        }
    }

    /// Waits for the first connection, unless the adapter reports a failure first.
    pub(crate) async fn accept_from(
        &mut self,
        adapter: &mut Adapter,
        connecting: u64,
    ) -> Play<ScriptedStore> {
        const OFTEN: Duration = Duration::from_millis(100);
        let until = Instant::now() + self.slack;
        while Instant::now() < until {
            if let Some(peer) = self.accept_within(OFTEN).await? {
                return Ok(peer);
            }
            if adapter.has_answered(connecting)? {
                let answer = adapter.answer(connecting).await?;
                return Err(CaseEnd::failed("the process connects", answer));
            }
        }
        Err(CaseEnd::told(
            "the process connects",
            "the process does not connect",
        ))
    }

    /// Returns the next connection, if one arrives within the limit.
    pub(crate) async fn accept_within(&mut self, limit: Duration) -> Play<Option<ScriptedStore>> {
        let Ok(accepted) = timeout(limit, self.inner.accept()).await else {
            return Ok(None);
        };
        let (stream, _) = accepted.map_err(CaseEnd::fault)?;
        stream.set_nodelay(true).map_err(CaseEnd::fault)?;
        self.accepted += 1;
        let who = format!("store#{}", self.accepted);
        self.trace.did(&who, "accepts a connection");
        Ok(Some(ScriptedStore {
            stream,
            who,
            trace: self.trace.clone(),
            slack: self.slack,
            frames: Frames::new(),
            lease_ms: LEASE_MS,
            minor: tenure_wire::MINOR,
            limits: None,
            keeps_alive: true,
            sent: Vec::new(),
            said: Vec::new(),
            oddities: Vec::new(),
        }))
    }
}

/// The store's end of a connection.
#[derive(Debug)]
pub(crate) struct ScriptedStore {
    stream: TcpStream,
    who: String,
    trace: Trace,
    slack: Duration,
    frames: Frames<FromProcess>,
    pub(crate) lease_ms: u64,
    /// The minor version in each `Welcome`.
    pub(crate) minor: u8,
    /// The limits in each `Welcome`.
    pub(crate) limits: Option<StoreLimits>,
    /// Whether keep-alives are answered automatically.
    pub(crate) keeps_alive: bool,
    /// The send times in the hello and the keep-alives of the process.
    pub(crate) sent: Vec<Time>,
    /// The received messages, to detect repetitions.
    said: Vec<ToStore>,
    /// Descriptions of frames that were not in canonical form.
    pub(crate) oddities: Vec<String>,
}

impl ScriptedStore {
    /// Sends raw bytes. If the process no longer reads, this is not an error, because only the process's actions count.
    pub(crate) async fn push(&mut self, bytes: &[u8], says: &str) -> Play {
        self.trace.note(&self.who, '>', bytes, says.to_owned());
        let until = Instant::now() + self.slack;
        match timeout_at(until, self.stream.write_all(bytes)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(CaseEnd::told(
                "the process reads",
                "the process does not read",
            )),
        }
    }

    pub(crate) async fn say(&mut self, message: ToProcess) -> Play {
        self.say_all([message]).await
    }

    /// Sends several messages in one piece, so that they arrive together.
    pub(crate) async fn say_all(&mut self, messages: impl IntoIterator<Item = ToProcess>) -> Play {
        let (mut all, mut says) = (Vec::new(), Vec::new());
        for message in messages {
            says.push(format!("{message:?}"));
            all.extend(encode(&FromStore::Message(message))?);
        }
        self.push(&all, &says.join("; ")).await
    }

    /// Closes the sending direction: to the process the connection has ended.
    pub(crate) async fn close(&mut self) {
        self.trace.did(&self.who, CUTS);
        // The connection may have ended already.
        let _ = self.stream.shutdown().await;
    }

    /// Returns the next message, if it arrives within `after_ms` plus the slack.
    pub(crate) async fn hear(&mut self, after_ms: u64) -> Play<Heard> {
        let limit = Duration::from_millis(after_ms) + self.slack;
        self.hear_within(limit).await
    }

    pub(crate) async fn hear_within(&mut self, limit: Duration) -> Play<Heard> {
        let until = Instant::now() + limit;
        loop {
            match self.hear_until(until).await? {
                Heard::Message(ToStore::KeepAlive { sent }) => {
                    self.sent.push(sent);
                    if self.keeps_alive {
                        self.alive(sent).await?;
                    }
                }
                Heard::Message(message) if may_be_repeated(&message) => {
                    if !self.said.contains(&message) {
                        self.said.push(message.clone());
                        return Ok(Heard::Message(message));
                    }
                }
                other => {
                    if let Heard::Hello(opening) = &other {
                        self.sent.push(opening.sent);
                    }
                    return Ok(other);
                }
            }
        }
    }

    /// Sends the answer to a keep-alive.
    pub(crate) async fn alive(&mut self, sent: Time) -> Play {
        let lease_ms = self.lease_ms;
        self.say(ToProcess::Alive {
            sent,
            lease_ms,
            recalls: Vec::new(),
        })
        .await
    }

    async fn hear_until(&mut self, until: Instant) -> Play<Heard> {
        loop {
            if let Some(heard) = self.take() {
                return Ok(heard);
            }
            match timeout_at(until, self.stream.read_buf(&mut self.frames.raw)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return Ok(Heard::Closed),
                Err(_) => return Ok(Heard::Nothing),
            }
        }
    }

    /// Decodes the next item of the received bytes.
    fn take(&mut self) -> Option<Heard> {
        loop {
            let (frame, item) = self.frames.next()?;
            self.oddities.extend(raw::oddity(&frame));
            let (says, heard) = match item {
                Ok(Some(FromProcess::Hello(opening))) => {
                    let says = format!("{opening:?}").replacen("Opening", "Hello", 1);
                    (says, Some(Heard::Hello(opening)))
                }
                Ok(Some(FromProcess::Message(message))) => {
                    (format!("{message:?}"), Some(Heard::Message(message)))
                }
                Ok(Some(FromProcess::Fault(fault))) => {
                    (format!("Fault: {fault}"), Some(Heard::Fault(fault)))
                }
                Ok(None) => ("part of a message, or skipped".to_owned(), None),
                Err(error) => (
                    format!("Garbage: {error}"),
                    Some(Heard::Garbage(error.to_string())),
                ),
            };
            self.trace.note(&self.who, '<', &frame, says);
            if heard.is_some() {
                return heard;
            }
        }
    }

    /// Returns the next message.
    pub(crate) async fn next(&mut self, expected: &str) -> Play<ToStore> {
        self.next_after(expected, 0).await
    }

    pub(crate) async fn next_after(&mut self, expected: &str, after_ms: u64) -> Play<ToStore> {
        match self.hear(after_ms).await? {
            Heard::Message(message) => Ok(message),
            other => Err(self.failed(expected, other)),
        }
    }

    /// Forgets the received messages, so that a repetition is reported again.
    pub(crate) fn forget(&mut self) {
        self.said.clear();
    }

    /// Returns a failure of an expectation of this store.
    pub(crate) fn failed(&self, expected: &str, seen: impl std::fmt::Debug) -> CaseEnd {
        CaseEnd::told(
            format!("{} hears {expected}", self.who),
            format!("{seen:?}"),
        )
    }

    /// Returns the hello of the process, which must be the first message.
    pub(crate) async fn hello(&mut self) -> Play<Opening> {
        match self.hear(0).await? {
            Heard::Hello(opening) => Ok(opening),
            other => Err(self.failed("Hello first", other)),
        }
    }

    /// Waits until the process has closed the connection, and returns its fault. No message may follow the fault.
    pub(crate) async fn thrown_out(&mut self) -> Play<Option<Fault>> {
        let mut fault = None;
        loop {
            match self.hear(0).await? {
                Heard::Message(_) if fault.is_none() => {}
                Heard::Fault(own) if fault.is_none() => fault = Some(own),
                Heard::Closed => return Ok(fault),
                other => return Err(self.failed("the end of the connection", other)),
            }
        }
    }
}

fn may_be_repeated(message: &ToStore) -> bool {
    !matches!(
        message,
        ToStore::Busy { .. } | ToStore::Goodbye | ToStore::Hello(_)
    )
}
