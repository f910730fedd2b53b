//! A correct store: the protocol's machine behind a port. All updates count as durable at once.
//!
//! The store may lose connections at random, as networks do. All messages in both directions are traced.

use crate::end::{CaseEnd, Play};
use crate::frames::encode;
use crate::process::context::CaseContext;
use crate::trace::Trace;
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tenure_protocol::attributes::Records;
use tenure_protocol::config::{Settings, StoreSettings};
use tenure_protocol::message::Hello;
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{Link, ProcessId, StoreMachine, Time, ToStore};
use tenure_wire::{Decoder, FrameLimits, FromProcess, FromStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// A running correct store, which ends when it is dropped. See the [module](self).
#[derive(Debug)]
pub(crate) struct Behaved {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Behaved {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Behaved {
    /// Starts a store that loses the connection at one message in `cuts`, or never if `cuts` is 0.
    pub(crate) async fn start(ctx: &CaseContext, cuts: u32) -> Play<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(CaseEnd::fault)?;
        let address = listener.local_addr().map_err(CaseEnd::fault)?;
        let (heard, hears) = mpsc::unbounded_channel();
        let settings = Settings::new(StoreSettings::default());
        let own = Running {
            machine: StoreMachine::recover(settings, 1, &Records::default(), Time(0)),
            origin: Instant::now(),
            lines: BTreeMap::new(),
            heard,
            chance: ctx.chance(),
            cuts,
            trace: ctx.trace().clone(),
        };
        let task = tokio::spawn(own.run(listener, hears));
        Ok(Self { address, task })
    }
}

/// An item from a connection, with the connection's number.
type Heard = (u64, Option<FromProcess>);

struct Running {
    machine: StoreMachine,
    origin: Instant,
    lines: BTreeMap<u64, Line>,
    heard: mpsc::UnboundedSender<Heard>,
    chance: fastrand::Rng,
    cuts: u32,
    trace: Trace,
}

/// A connection.
struct Line {
    half: OwnedWriteHalf,
    reader: JoinHandle<()>,
    whose: Option<(ProcessId, Link)>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Running {
    async fn run(mut self, listener: TcpListener, mut hears: mpsc::UnboundedReceiver<Heard>) {
        let mut accepted = 0;
        loop {
            let due = self.machine.next_deadline();
            let left = due.map_or(60_000, |due| due.since(self.now()));
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    accepted += 1;
                    self.accept(accepted, stream);
                }
                Some((number, item)) = hears.recv() => self.on_heard(number, item).await,
                () = sleep(Duration::from_millis(left)) => self.on_time().await,
            }
        }
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn accept(&mut self, number: u64, stream: TcpStream) {
        // If this fails, the connection is only slower.
        let _ = stream.set_nodelay(true);
        let (read, half) = stream.into_split();
        let reader = tokio::spawn(read_all(number, read, self.heard.clone()));
        let whose = None;
        self.lines.insert(
            number,
            Line {
                half,
                reader,
                whose,
            },
        );
    }

    async fn on_time(&mut self) {
        let now = self.now();
        let due: Vec<_> = self
            .machine
            .timers()
            .filter(|(due, _)| *due <= now)
            .collect();
        for (_, timer) in due {
            self.step(Input::Timer(timer)).await;
        }
    }

    async fn on_heard(&mut self, number: u64, item: Option<FromProcess>) {
        let Some(line) = self.lines.get_mut(&number) else {
            return; // The connection was cut.
        };
        let message = match item {
            Some(FromProcess::Hello(opening)) => {
                line.whose = Some((opening.process, opening.link));
                ToStore::Hello(Hello {
                    minor: opening.minor_max,
                    incarnation: opening.link.incarnation,
                    sent: opening.sent,
                    holds: opening.holds,
                    waits: opening.waits,
                })
            }
            Some(FromProcess::Message(message)) => message,
            Some(FromProcess::Fault(_)) | None => return self.end(number).await,
        };
        let Some((process, link)) = line.whose.clone() else {
            return self.end(number).await;
        };
        self.trace
            .note(process_of(&process), '<', &[], format!("{message:?}"));
        self.step(Input::Message {
            process,
            link,
            message,
        })
        .await;
        if self.cuts > 0 && self.chance.u32(..self.cuts) == 0 {
            self.trace
                .did("store", format!("loses connection {number}"));
            self.end(number).await;
        }
    }

    /// Ends a connection.
    async fn end(&mut self, number: u64) {
        if let Some((process, link)) = self
            .lines
            .remove(&number)
            .and_then(|line| line.whose.clone())
        {
            self.step(Input::Disconnected { process, link }).await;
        }
    }

    async fn step(&mut self, input: Input) {
        let (mut out, now) = (Vec::new(), self.now());
        self.machine.step(now, input, &mut out);
        for output in out {
            match output {
                Output::Persist(_) => {}
                Output::Send {
                    process,
                    link,
                    message,
                } => self.send(&(process, link), message).await,
                Output::Disconnect { process, link } => {
                    let whose = Some((process, link));
                    self.lines.retain(|_, line| line.whose != whose);
                }
            }
        }
    }

    async fn send(&mut self, whose: &(ProcessId, Link), message: tenure_protocol::ToProcess) {
        self.trace
            .note(process_of(&whose.0), '>', &[], format!("{message:?}"));
        let line = self
            .lines
            .values_mut()
            .find(|line| line.whose.as_ref() == Some(whose));
        if let (Some(line), Ok(bytes)) = (line, encode(&FromStore::Message(message))) {
            // The task that reads from the connection notices if it is lost.
            let _ = line.half.write_all(&bytes).await;
        }
    }
}

fn process_of(process: &ProcessId) -> &str {
    std::str::from_utf8(process.as_bytes()).unwrap_or("?")
}

async fn read_all(number: u64, mut half: OwnedReadHalf, heard: mpsc::UnboundedSender<Heard>) {
    let mut decoder = Decoder::new(FrameLimits::default());
    let mut bytes = BytesMut::new();
    loop {
        loop {
            match decoder.decode(&mut bytes) {
                Ok(Some(item)) => drop(heard.send((number, Some(item)))),
                Ok(None) => break,
                Err(_) => return drop(heard.send((number, None))),
            }
        }
        if !matches!(half.read_buf(&mut bytes).await, Ok(1..)) {
            return drop(heard.send((number, None)));
        }
    }
}
