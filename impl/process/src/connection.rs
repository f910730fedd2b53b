//! One connection to the store: encodes and writes frames, and reads and decodes frames.

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

/// The minimum buffer space for one read, in bytes.
const READ_BYTES: usize = 16 << 10;
/// The maximum number of slices in one vectored write.
const SLICES: usize = 64;
/// The time limit for writing the last bytes and closing the connection.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// The link number of the hello that was sent on this connection. `None` before the hello.
    pub(crate) link: Option<Link>,
    pub(crate) opened: Instant,
    limits: FrameLimits,
    decoder: Decoder<FromStore>,
    input: BytesMut,
    outgoing: Outgoing,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, limits: FrameLimits) -> Self {
        // Each frame is written whole, and a thread waits for its answer. If this fails, the connection is only
        // slower.
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

    /// Sets the limits for the frames that this connection reads and writes from now on.
    pub(crate) fn set_limits(&mut self, limits: FrameLimits) {
        self.decoder.set_limits(limits.clone());
        self.limits = limits;
    }

    /// Encodes an item and appends it to the output buffer.
    pub(crate) fn push(&mut self, item: &FromProcess) -> Result<(), EncodeError> {
        self.outgoing.push(item, &self.limits)
    }

    /// Writes the output buffer as far as the OS accepts bytes without blocking.
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

    /// Waits until bytes were read or written. Dropping the future loses no bytes.
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

    /// Decodes the next item of the input buffer. Returns `None` if the item is not complete yet.
    pub(crate) fn next(&mut self) -> Result<Option<FromStore>, DecodeError> {
        self.decoder.decode(&mut self.input)
    }

    /// Writes the remaining output, and then closes the connection. Reads until the store closes its side: closing with
    /// unread input would reset the connection, and the store could lose the last frames.
    pub(crate) async fn finish(mut self) {
        let farewell = async {
            self.stream.write_all_buf(&mut self.outgoing).await?;
            self.stream.shutdown().await?;
            while self.stream.read_buf(&mut self.input).await? > 0 {
                self.input.clear();
            }
            io::Result::Ok(())
        };
        // The connection is given up in any case, so an error here changes nothing.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A shutdown, not only a close: a child of a `fork` has a copy of the descriptor, which would keep the
        // connection open.
        let mut context = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.stream).poll_shutdown(&mut context);
    }
}
