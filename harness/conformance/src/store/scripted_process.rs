//! A scripted process over TCP: sends the messages of a case and receives those of the store.
//!
//! While the process waits it keeps its lease alive. It accepts messages that a store may send at any time. Any other
//! unexpected message fails the case.

use crate::end::{CaseEnd, Play};
use crate::frames::{Frames, encode};
use crate::store::heartbeat::Heartbeat;
use crate::store::{CaseContext, Target};
use crate::trace::{CUTS, Trace};
use std::sync::Arc;
use std::time::Duration;
use tenure_protocol::message::{AcquireRequest, GrantRef};
use tenure_protocol::{Incarnation, Link, ProcessId, StoreLimits, Time, ToProcess, ToStore};
use tenure_wire::{Fault, FromProcess, FromStore, Opening};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// The least send time of automatic keep-alives. Keep-alives of a case have lower ones.
const OWN: u64 = 1 << 40;

/// The result of waiting for a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Message(ToProcess),
    Fault(Fault),
    /// The store has closed the connection.
    Closed,
    /// The store has sent bytes that are not an allowed frame.
    Garbage(String),
    /// Nothing arrived within the allowed time.
    Nothing,
}

/// A scripted process and its connection. See the [module](self).
#[derive(Debug)]
pub(crate) struct ScriptedProcess {
    target: Arc<Target>,
    trace: Trace,
    /// The name of the connection in the trace.
    who: String,
    pub(crate) process: ProcessId,
    pub(crate) link: Link,
    pub(crate) stream: TcpStream,
    frames: Frames<FromStore>,
    /// The lease time of the last Welcome in milliseconds; 0 before it.
    pub(crate) lease_ms: u64,
    /// The store's minor version in the last Welcome; 0 before it.
    pub(crate) store_minor: u8,
    /// The minor version that the hello states.
    pub(crate) minor_max: u8,
    /// Whether keep-alives are sent automatically.
    pub(crate) keeps_alive: bool,
    /// The send time in the next automatic keep-alive.
    own_sent: u64,
    /// The time at which that keep-alive is due, whatever arrives before.
    pulse: Instant,
    heartbeat: Heartbeat,
    pub(super) last_request: u64,
}

impl ScriptedProcess {
    pub(crate) async fn connect(
        ctx: &CaseContext,
        name: &str,
        incarnation: u64,
        number: u64,
    ) -> Play<Self> {
        let stream = ctx.target().connect().await?;
        let link = Link {
            incarnation: Incarnation(incarnation),
            number,
        };
        let times = ctx.note(name, link);
        Ok(Self {
            target: Arc::clone(ctx.target()),
            trace: ctx.trace().clone(),
            who: shown(name, link, times),
            process: ctx.name(name),
            link,
            stream,
            frames: Frames::new(),
            lease_ms: 0,
            store_minor: 0,
            minor_max: tenure_wire::MINOR,
            keeps_alive: true,
            own_sent: OWN,
            pulse: Instant::now(),
            heartbeat: Heartbeat::new(ctx.starved().clone()),
            last_request: 0,
        })
    }

    /// Returns a new connection of the same process that has not sent a hello. The old connection stays as it is.
    pub(crate) async fn again(&self, ctx: &CaseContext) -> Play<Self> {
        self.another(ctx, self.link.incarnation.0, self.link.number + 1)
            .await
    }

    /// Returns the process after a restart, before its hello.
    pub(crate) async fn reborn(&self, ctx: &CaseContext) -> Play<Self> {
        self.another(ctx, self.link.incarnation.0 + 1, 1).await
    }

    /// Returns another connection of the same process.
    pub(crate) async fn another(
        &self,
        ctx: &CaseContext,
        incarnation: u64,
        number: u64,
    ) -> Play<Self> {
        let name = self.who.split(['#', '.', '\'']).next().unwrap_or_default();
        let mut own = Self::connect(ctx, name, incarnation, number).await?;
        own.last_request = self.last_request;
        Ok(own)
    }

    // ---- saying -----------------------------------------------------------------------------------------------------

    /// Sends raw bytes. If the store no longer reads, this is not an error, because only the store's messages count.
    pub(crate) async fn push(&mut self, bytes: &[u8], says: &str) -> Play {
        self.trace.note(&self.who, '>', bytes, says.to_owned());
        let until = Instant::now() + self.target.slack();
        match timeout_at(until, self.stream.write_all(bytes)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(CaseEnd::told("the store reads", "it does not")),
        }
    }

    pub(crate) async fn say(&mut self, message: ToStore) -> Play {
        let says = format!("{message:?}");
        self.heartbeat.says(&message, Instant::now());
        let bytes = encode(&FromProcess::Message(message))?;
        self.push(&bytes, &says).await
    }

    /// Sends a hello, and waits for the Welcome.
    pub(crate) async fn enter(&mut self) -> Play {
        self.enter_with(Vec::new(), Vec::new()).await.map(drop)
    }

    /// Sends a hello with these grants and requests, and waits for the Welcome. Returns the grants that the store
    /// knows.
    pub(crate) async fn enter_with(
        &mut self,
        holds: Vec<GrantRef>,
        waits: Vec<AcquireRequest>,
    ) -> Play<Welcome> {
        self.hello(holds, waits).await?;
        self.welcome().await
    }

    pub(crate) async fn hello(&mut self, holds: Vec<GrantRef>, waits: Vec<AcquireRequest>) -> Play {
        let opening = self.opening(holds, waits);
        let says = format!("{opening:?}").replacen("Opening", "Hello", 1);
        let bytes = encode(&FromProcess::Hello(opening))?;
        self.push(&bytes, &says).await
    }

    pub(crate) fn opening(&self, holds: Vec<GrantRef>, waits: Vec<AcquireRequest>) -> Opening {
        Opening {
            process: self.process.clone(),
            link: self.link,
            minor_max: self.minor_max,
            sent: Time(1),
            holds,
            waits,
        }
    }

    pub(crate) async fn welcome(&mut self) -> Play<Welcome> {
        let welcome = self
            .expect("a Welcome first", |message| match message {
                ToProcess::Welcome {
                    minor,
                    sent,
                    lease_ms,
                    holds,
                    gone,
                    limits,
                } => Some(Welcome {
                    minor: *minor,
                    sent: *sent,
                    lease_ms: *lease_ms,
                    holds: holds.clone(),
                    gone: gone.clone(),
                    limits: *limits,
                }),
                _ => None,
            })
            .await?;
        self.lease_ms = welcome.lease_ms;
        self.store_minor = welcome.minor;
        self.rests();
        Ok(welcome)
    }

    pub(crate) fn slack(&self) -> Duration {
        self.target.slack()
    }

    /// Cuts the connection, as a failing network does.
    pub(crate) fn cut(self) {
        self.trace.did(&self.who, CUTS);
        // Unread bytes make the system send a reset, which resembles a failing network.
        drop(self.stream);
    }

    // ---- hearing ----------------------------------------------------------------------------------------------------

    /// Returns the next message, if it arrives within `after_ms` plus the slack.
    pub(crate) async fn hear(&mut self, after_ms: u64) -> Play<Heard> {
        let until = self.until(after_ms);
        self.hear_others(until).await
    }

    /// Returns the end of the slack after `after_ms`.
    pub(crate) fn until(&self, after_ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(after_ms) + self.target.slack()
    }

    async fn hear_others(&mut self, until: Instant) -> Play<Heard> {
        loop {
            let heard = self.hear_until(until).await?;
            match &heard {
                // This answers an automatic keep-alive.
                Heard::Message(ToProcess::Alive { sent, .. }) if sent.0 >= OWN => {}
                _ => return Ok(heard),
            }
        }
    }

    pub(crate) async fn hear_until(&mut self, until: Instant) -> Play<Heard> {
        loop {
            if let Some(heard) = self.take() {
                return Ok(heard);
            }
            let is_kept = self.lease_ms > 0 && self.keeps_alive;
            let wakes = if is_kept {
                until.min(self.pulse)
            } else {
                until
            };
            match timeout_at(wakes, self.stream.read_buf(&mut self.frames.raw)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return Ok(Heard::Closed),
                Err(_) if Instant::now() >= until => return Ok(Heard::Nothing),
                Err(_) => self.beat().await.map(drop)?,
            }
        }
    }

    /// Sends an automatic keep-alive.
    async fn beat(&mut self) -> Play<Time> {
        let sent = Time(self.own_sent);
        self.own_sent += 1;
        self.say(ToStore::KeepAlive { sent }).await?;
        self.rests();
        Ok(sent)
    }

    /// Records that the lease has been renewed.
    fn rests(&mut self) {
        self.pulse = Instant::now() + Duration::from_millis((self.lease_ms / 3).max(50));
    }

    /// Decodes the next item of the received bytes.
    fn take(&mut self) -> Option<Heard> {
        loop {
            let (frame, item) = self.frames.next()?;
            let (says, heard) = match item {
                Ok(Some(FromStore::Message(message))) => {
                    self.heartbeat.hears(&message, Instant::now());
                    (format!("{message:?}"), Some(Heard::Message(message)))
                }
                Ok(Some(FromStore::Fault(fault))) => {
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
    pub(crate) async fn next(&mut self, expected: &str) -> Play<ToProcess> {
        self.next_after(expected, 0).await
    }

    /// Returns the next message, which must arrive within `after_ms` plus the slack.
    pub(crate) async fn next_after(&mut self, expected: &str, after_ms: u64) -> Play<ToProcess> {
        match self.hear(after_ms).await? {
            Heard::Message(message) => Ok(message),
            other => Err(self.failed(expected, other)),
        }
    }

    /// Returns a failure of an expectation of this process.
    pub(crate) fn failed(&self, expected: &str, seen: impl std::fmt::Debug) -> CaseEnd {
        CaseEnd::told(
            format!("{} hears {expected}", self.who),
            format!("{seen:?}"),
        )
    }

    /// Waits for a message that `is_it` accepts. Messages that a store may send at any time are skipped.
    pub(crate) async fn expect<T>(
        &mut self,
        expected: &str,
        is_it: impl FnMut(&ToProcess) -> Option<T>,
    ) -> Play<T> {
        self.expect_after(expected, 0, is_it).await
    }

    /// As [`ScriptedProcess::expect`], with `after_ms` more time.
    pub(crate) async fn expect_after<T>(
        &mut self,
        expected: &str,
        after_ms: u64,
        mut is_it: impl FnMut(&ToProcess) -> Option<T>,
    ) -> Play<T> {
        // One deadline for all messages, because a store might repeat its recalls for ever.
        let until = self.until(after_ms);
        loop {
            let message = match self.hear_others(until).await? {
                Heard::Message(message) => message,
                other => return Err(self.failed(expected, other)),
            };
            if let Some(found) = is_it(&message) {
                return Ok(found);
            }
            // Endlessly repeated recalls must not extend the wait.
            if !may_always_come(&message) || Instant::now() > until {
                return Err(self.failed(expected, message));
            }
        }
    }

    /// Sends a keep-alive and waits for its answer. The store answers a connection in order, so all earlier messages
    /// have arrived then.
    pub(crate) async fn settle(&mut self) -> Play<Vec<ToProcess>> {
        let sent = self.beat().await?;
        let until = Instant::now() + self.target.slack();
        let mut before = Vec::new();
        loop {
            match self.hear_until(until).await? {
                Heard::Message(ToProcess::Alive { sent: own, .. }) if own == sent => {
                    return Ok(before);
                }
                Heard::Message(ToProcess::Alive { sent: own, .. }) if own.0 >= OWN => {}
                Heard::Message(message) => before.push(message),
                other => return Err(self.failed("an Alive", other)),
            }
        }
    }

    /// Fails if any message about a session arrives until the connection has settled.
    pub(crate) async fn is_quiet(&mut self, why: &str) -> Play {
        let heard = self.settle().await?;
        match heard.iter().find(|message| !may_always_come(message)) {
            None => Ok(()),
            Some(message) => Err(self.failed(&format!("nothing: {why}"), message)),
        }
    }

    /// Waits until the store has closed the connection, and returns its fault. Earlier messages are dropped.
    pub(crate) async fn thrown_out(&mut self, why: &str) -> Play<Option<Fault>> {
        let mut fault = None;
        loop {
            match self.hear(0).await? {
                Heard::Message(_) if fault.is_none() => {}
                Heard::Fault(own) if fault.is_none() => fault = Some(own),
                Heard::Closed => return Ok(fault),
                other => {
                    return Err(self.failed(&format!("the end of the connection: {why}"), other));
                }
            }
        }
    }
}

/// The contents of a `Welcome`.
#[derive(Clone, Debug)]
pub(crate) struct Welcome {
    pub(crate) minor: u8,
    pub(crate) sent: Time,
    pub(crate) lease_ms: u64,
    pub(crate) holds: Vec<GrantRef>,
    pub(crate) gone: Vec<(GrantRef, Option<GrantRef>)>,
    pub(crate) limits: Option<StoreLimits>,
}

/// Returns whether a process must accept the message at any time: a queue place, or a recall, which may be repeated.
fn may_always_come(message: &ToProcess) -> bool {
    matches!(
        message,
        ToProcess::Queued { .. } | ToProcess::Recall { .. } | ToProcess::Alive { .. }
    )
}

/// Returns the name of a connection in a trace: `p`, `p#2` for its second connection, `p.2` for its second incarnation.
/// A repeated number adds a prime: `p#2'`.
fn shown(name: &str, link: Link, times: usize) -> String {
    let mut shown = name.to_owned();
    if link.incarnation.0 > 1 {
        shown += &format!(".{}", link.incarnation.0);
    }
    if link.number > 1 {
        shown += &format!("#{}", link.number);
    }
    shown + &"'".repeat(times - 1)
}
