//! One connection to the store: bytes in, bytes out, frames between.

use bytes::{Buf, BytesMut};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;
use tenure_protocol::Link;
use tenure_wire::{
    DecodeError, Decoder, EncodeError, FrameLimits, FromProcess, FromStore, Outgoing,
};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The least room that a read gets, in bytes.
const READ_BYTES: usize = 16 << 10;
/// How many pieces are written at once.
const SLICES: usize = 64;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// That of its hello; `None` before.
    pub(crate) link: Option<Link>,
    pub(crate) opened: Instant,
    limits: FrameLimits,
    decoder: Decoder<FromStore>,
    input: BytesMut,
    outgoing: Outgoing,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, limits: FrameLimits) -> Self {
        // A message is written whole, and somebody waits for it. Without it all goes on, slower.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            link: None,
            opened: Instant::now(),
            decoder: Decoder::new(limits.clone()),
            limits,
            input: BytesMut::new(),
            outgoing: Outgoing::new(),
        }
    }

    /// Reads and writes frames within these limits from now on.
    pub(crate) fn set_limits(&mut self, limits: FrameLimits) {
        self.decoder.set_limits(limits.clone());
        self.limits = limits;
    }

    /// Appends to what is to be written.
    pub(crate) fn push(&mut self, item: &FromProcess) -> Result<(), EncodeError> {
        self.outgoing.push(item, &self.limits)
    }

    /// Writes what the OS takes without waiting.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.outgoing.has_remaining() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.outgoing.chunks_vectored(&mut slices);
            match self.stream.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.outgoing.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until bytes come or go. Dropping the future loses nothing.
    pub(crate) async fn progress(&mut self) -> io::Result<()> {
        let interest = if self.outgoing.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        let ready = self.stream.ready(interest).await?;
        if ready.is_writable() {
            self.flush()?;
        }
        if ready.is_readable() {
            self.input.reserve(READ_BYTES);
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The next item of what has come.
    pub(crate) fn next(&mut self) -> Result<Option<FromStore>, DecodeError> {
        self.decoder.decode(&mut self.input)
    }

    /// Writes the rest, and closes so that the store reads all of it: closing with bytes unread would reset the connection.
    pub(crate) async fn finish(mut self) {
        let farewell = async {
            self.stream.write_all_buf(&mut self.outgoing).await?;
            self.stream.shutdown().await?;
            while self.stream.read_buf(&mut self.input).await? > 0 {
                self.input.clear();
            }
            io::Result::Ok(())
        };
        // Whether it worked makes no difference any more.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Not left to the closing of the descriptor: a child of a `fork` has a copy of it, and the connection would stay open.
        let mut context = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.stream).poll_shutdown(&mut context);
    }
}
