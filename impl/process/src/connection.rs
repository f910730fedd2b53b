//! One connection to the store: encodes and writes frames, and reads and decodes frames.

use crate::os;
use crate::place::Address;
use bytes::{Buf, BytesMut};
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tenure_protocol::Link;
use tenure_wire::{
    DecodeError, Decoder, EncodeError, FrameLimits, FromProcess, FromStore, Outgoing,
};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// The minimum buffer space for one read, in bytes.
const READ_BYTES: usize = 16 << 10;
/// The maximum number of slices in one vectored write.
const SLICES: usize = 64;
/// The time limit for writing the last bytes and closing the connection.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` if a move between two runtimes has failed.
    stream: Option<TcpStream>,
    /// The place of the runtime that the stream is registered to.
    address: Address,
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
            stream: Some(stream),
            address: Address::default(),
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

    /// Registers the stream to the runtime of another place.
    pub(crate) fn move_to(&mut self, address: Address, runtime: &Handle) -> io::Result<()> {
        if self.address == address {
            return Ok(());
        }
        let stream = self
            .stream
            .take()
            .ok_or(ErrorKind::NotConnected)?
            .into_std()?;
        let _entered = runtime.enter();
        self.stream = Some(TcpStream::from_std(stream)?);
        self.address = address;
        Ok(())
    }

    /// Returns whether there is input that nobody has read.
    pub(crate) fn has_input(&self) -> bool {
        self.stream.as_ref().is_some_and(os::has_input)
    }

    /// Encodes an item and appends it to the output buffer.
    pub(crate) fn push(&mut self, item: &FromProcess) -> Result<(), EncodeError> {
        self.outgoing.push(item, &self.limits)
    }

    /// Writes the output buffer as far as the OS accepts bytes without blocking.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let stream = self.stream.as_ref().ok_or(ErrorKind::NotConnected)?;
        while self.outgoing.has_remaining() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.outgoing.chunks_vectored(&mut slices);
            match stream.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.outgoing.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns `Ready` if bytes were read or written.
    pub(crate) fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        if self.outgoing.has_remaining() && stream.poll_write_ready(context)?.is_ready() {
            return Poll::Ready(self.flush());
        }
        self.input.reserve(READ_BYTES);
        // A read that does not fill the buffer is the last one: no further system call finds out that there is no more.
        match pin!(stream.read_buf(&mut self.input)).poll(context)? {
            Poll::Ready(0) => Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Decodes the next item of the input buffer. Returns `None` if the item is not complete yet.
    pub(crate) fn next(&mut self) -> Result<Option<FromStore>, DecodeError> {
        self.decoder.decode(&mut self.input)
    }

    /// Writes the remaining output, and then closes the connection. Reads until the store closes its side: closing with
    /// unread input would reset the connection, and the store could lose the last frames.
    pub(crate) async fn finish(mut self) {
        let farewell = async {
            let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
            stream.write_all_buf(&mut self.outgoing).await?;
            stream.shutdown().await?;
            while stream.read_buf(&mut self.input).await? > 0 {
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
        if let Some(stream) = &mut self.stream {
            let _ = Pin::new(stream).poll_shutdown(&mut context);
        }
    }
}
