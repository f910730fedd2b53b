//! The server side of one connection: decodes bytes to messages and encodes messages to bytes. Its only protocol rule
//! is that a process sends a hello first.

use crate::config::Config;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::shard::Shard;
use bytes::{Buf, BytesMut};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tenure_protocol::{Link, ProcessId, Promised};
use tenure_wire::{Decoder, Fault, FaultCode, FrameLimits, FromProcess, Opening, Outgoing};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;

/// The time that a peer has to read why its connection is closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// The most bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// The state that all connections share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) shard: Arc<Shard>,
    /// The lease and recall times that an earlier start promised.
    pub(crate) promised: Promised,
    pub(crate) config: Arc<Config>,
    pub(crate) limits: FrameLimits,
    pub(crate) metrics: Arc<Metrics>,
    /// True when all connections are to be closed.
    pub(crate) closing: watch::Sender<bool>,
}

/// The reason why a connection ended.
#[derive(Debug)]
enum End {
    /// The peer closed the connection, with or without a fault.
    Closed,
    /// The peer violated the protocol or a limit.
    Fault(Fault),
    Io(io::Error),
    /// The store has closed the outbox. Its last message gives the reason, if there is one.
    Shut(Option<Fault>),
    /// The store is stopping.
    Stops,
}

/// Reads bytes from the socket and decodes them.
struct Incoming {
    stream: OwnedReadHalf,
    bytes: BytesMut,
    decoder: Decoder<FromProcess>,
}

impl Incoming {
    /// Returns the next item that was already read, or `None` if more bytes are needed.
    fn decoded(&mut self) -> Option<Result<FromProcess, End>> {
        let decoded = self.decoder.decode(&mut self.bytes);
        decoded
            .map_err(|error| End::Fault(Fault::from(&error)))
            .transpose()
    }

    /// Waits for bytes. An idle connection has no memory for them: they arrive in the block of this OS thread.
    async fn read(&mut self) -> io::Result<usize> {
        thread_local! {
            static BLOCK: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
        }
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
        poll_fn(|context| {
            BLOCK.with_borrow_mut(|block| {
                let mut block = ReadBuf::new(block);
                ready!(Pin::new(&mut self.stream).poll_read(context, &mut block))?;
                self.bytes.extend_from_slice(block.filled());
                Poll::Ready(Ok(block.filled().len()))
            })
        })
        .await
    }

    async fn next(&mut self) -> Result<FromProcess, End> {
        loop {
            if let Some(item) = self.decoded() {
                return item;
            }
            match self.read().await {
                // r[wire.truncated]
                Ok(0) if self.decoder.may_end(&self.bytes) => return Err(End::Closed),
                Ok(0) => {
                    let text =
                        "the connection was closed in the middle of a frame, which is incomplete";
                    return Err(End::Fault(Fault::new(FaultCode::Malformed, text)));
                }
                Ok(_) => {}
                Err(error) => return Err(End::Io(error)),
            }
        }
    }
}

impl Service {
    /// Returns the wait of the oldest commit if it exceeds the setting `stall_ms`.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        let waited = self.shard.writer.oldest_wait();
        (waited > self.config.stall).then_some(waited)
    }

    /// Serves one connection until it ends.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, from: SocketAddr) {
        // Disable Nagle's algorithm, which would delay small messages until earlier ones are acknowledged.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let outbox = Arc::new(Outbox::new(self.config.limits.outgoing_bytes_max));
        let writes = tokio::spawn(write_all(writer, Arc::clone(&outbox), self.limits.clone()));
        let incoming = Incoming {
            stream: reader,
            bytes: BytesMut::new(),
            decoder: Decoder::new(self.limits.clone()),
        };
        let mut who = None;
        // This task also ends when writing fails or the outbox is closed.
        let mut writes = writes;
        let mut closing = self.closing.subscribe();
        let end = tokio::select! {
            biased; // Prefer the reason for closing to the end of the write task.
            fault = outbox.closed() => End::Shut(fault),
            _ = closing.wait_for(|closing| *closing) => End::Stops,
            _ = &mut writes => End::Closed,
            end = self.read(incoming, &outbox, &mut who) => end,
        };
        if let Some((process, link)) = &who {
            self.shard.disconnect(process, *link);
        }
        let fault = match &end {
            End::Fault(fault) | End::Shut(Some(fault)) => Some(fault),
            _ => None,
        };
        if let Some(fault) = fault {
            self.metrics.fault(fault.code);
            tracing::warn!(%from, %fault, "connection closed");
        }
        match end {
            End::Closed | End::Shut(_) => outbox.close(None),
            // r[wire.fault]
            End::Fault(fault) => outbox.close(Some(fault)),
            End::Stops => {
                let text = "the store is stopping; connect again after its restart";
                outbox.close(Some(Fault::new(FaultCode::ShuttingDown, text)));
            }
            End::Io(error) => {
                tracing::debug!(%from, %error, "connection lost");
                outbox.close(None);
            }
        }
        if !writes.is_finished() && timeout(FAREWELL, &mut writes).await.is_err() {
            writes.abort();
        }
    }

    /// Sends a fault to a peer that cannot be served, and closes its connection.
    pub(crate) async fn turn_away(self: Arc<Self>, stream: TcpStream, fault: Fault) {
        self.metrics.fault(fault.code);
        let (_, writer) = stream.into_split();
        let outbox = Arc::new(Outbox::new(usize::MAX));
        outbox.close(Some(fault));
        let _ = timeout(FAREWELL, write_all(writer, outbox, self.limits.clone())).await;
    }

    async fn read(
        &self,
        mut incoming: Incoming,
        outbox: &Arc<Outbox>,
        who: &mut Option<(ProcessId, Link)>,
    ) -> End {
        let hello = self.config.hello;
        let (process, link) = match timeout(hello, incoming.next()).await {
            Ok(Ok(FromProcess::Hello(opening))) => match self.open(opening, outbox) {
                Ok(who) => who,
                Err(fault) => return End::Fault(fault),
            },
            Ok(Ok(FromProcess::Fault(fault))) => return said(&fault),
            // r[connect.refuses-misplaced]
            Ok(Ok(FromProcess::Message(_))) => {
                return End::Fault(Fault::new(
                    FaultCode::Unexpected,
                    "the first message was not a hello; send a hello first",
                ));
            }
            Ok(Err(end)) => return end,
            // r[connect.silent-before-hello]
            Err(_) => {
                let text = format!(
                    "no hello was received within {} ms (hello_ms)",
                    self.config.hello.as_millis()
                );
                return End::Fault(Fault::new(FaultCode::Silent, &text));
            }
        };
        *who = Some((process.clone(), link));
        // A live process sends a keep-alive several times per lease.
        let silence = self.config.lease.saturating_mul(3);
        loop {
            self.shard.writer.room().await;
            self.shard.caught_up(&process).await;
            // r[limit.slow]
            if !outbox.has_room() && timeout(silence, outbox.room()).await.is_err() {
                let text = format!(
                    "the process did not read its messages for {} ms, three leases",
                    silence.as_millis()
                );
                return End::Fault(Fault::new(FaultCode::Slow, &text));
            }
            // A timer is set only to wait for bytes, not for each message of a read.
            let item = match incoming.decoded() {
                Some(item) => Ok(item),
                None => timeout(silence, incoming.next()).await,
            };
            match item {
                Ok(Ok(FromProcess::Message(message))) => {
                    self.shard.message(&process, link, message)
                }
                // r[connect.refuses-misplaced]
                Ok(Ok(FromProcess::Hello(_))) => {
                    return End::Fault(Fault::new(
                        FaultCode::Unexpected,
                        "a second hello was received on this connection; open a new connection to send a hello",
                    ));
                }
                Ok(Ok(FromProcess::Fault(fault))) => return said(&fault),
                Ok(Err(end)) => return end,
                // r[limit.silent]
                Err(_) => {
                    let text = format!(
                        "nothing was received from the process for {} ms, three leases",
                        silence.as_millis()
                    );
                    return End::Fault(Fault::new(FaultCode::Silent, &text));
                }
            }
        }
    }

    fn open(&self, opening: Opening, outbox: &Arc<Outbox>) -> Result<(ProcessId, Link), Fault> {
        let (process, link, hello) = opening.into_parts();
        self.shard.connect(&process, link, outbox)?;
        self.shard.message(&process, link, hello);
        Ok((process, link))
    }
}

fn said(fault: &Fault) -> End {
    tracing::warn!(%fault, "a process closed its connection with a fault");
    End::Closed
}

/// Writes the messages of the outbox until it is closed or writing fails.
async fn write_all(mut writer: OwnedWriteHalf, outbox: Arc<Outbox>, limits: FrameLimits) {
    let mut messages = VecDeque::new();
    let mut outgoing = Outgoing::new();
    while outbox.take(&mut messages).await {
        for message in messages.drain(..) {
            if let Err(error) = outgoing.push(&message, &limits) {
                tracing::error!(%error, "a message could not be encoded: the connection is closed");
                outbox.close(None);
                // Later messages must not be sent without this one.
                let _ = flush(&mut writer, &mut outgoing).await;
                return;
            }
            // Write in pieces, so that many large states are not in memory twice.
            if outgoing.len() > 1 << 20 && flush(&mut writer, &mut outgoing).await.is_err() {
                return outbox.close(None);
            }
        }
        if flush(&mut writer, &mut outgoing).await.is_err() {
            return outbox.close(None);
        }
    }
    let _ = writer.shutdown().await;
}

async fn flush(writer: &mut OwnedWriteHalf, outgoing: &mut Outgoing) -> io::Result<()> {
    while outgoing.has_remaining() {
        writer.write_buf(outgoing).await?;
    }
    Ok(())
}
