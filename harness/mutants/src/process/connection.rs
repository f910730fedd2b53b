//! The connection of the process to the store.

use bytes::BytesMut;
use std::io;
use tenure_protocol::Link;
use tenure_wire::{Decoder, Fault, FrameLimits, FromProcess, FromStore, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) enum Connection {
    None,
    Open(Box<Open>),
}

pub(super) struct Open {
    stream: TcpStream,
    input: BytesMut,
    decoder: Decoder<FromStore>,
    /// The link number of this connection.
    link: Option<Link>,
}

impl Connection {
    pub(super) async fn open(address: &str, limits: FrameLimits) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Open(Box::new(Open {
            stream,
            input: BytesMut::new(),
            decoder: Decoder::new(limits),
            link: None,
        })))
    }

    /// Sets the link number of this connection.
    pub(super) fn is_for(&mut self, link: Link) {
        if let Self::Open(open) = self {
            open.link = Some(link);
        }
    }

    /// Returns whether a message for that link may be sent on this connection.
    pub(super) fn may_say(&self, link: Link) -> bool {
        matches!(self, Self::Open(open) if open.link == Some(link))
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Returns the next item, or `None` if the connection has ended. The future may be dropped and the call repeated.
    pub(super) async fn hear(&mut self) -> Option<FromStore> {
        let Self::Open(open) = self else { return None };
        loop {
            match open.decoder.decode(&mut open.input) {
                Ok(Some(item)) => return Some(item),
                Err(error) => {
                    let fault = FromProcess::Fault(Fault::from(&error));
                    let _ = open.say(&fault).await; // The connection is closed in any case.
                    return None;
                }
                Ok(None) => {}
            }
            if open.stream.read_buf(&mut open.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Sends an item. If the peer no longer reads, `hear` reports the end.
    pub(super) async fn say(&mut self, item: &FromProcess) {
        if let Self::Open(open) = self {
            let _ = open.say(item).await;
        }
    }
}

impl Open {
    async fn say(&mut self, item: &FromProcess) -> io::Result<()> {
        let mut out = Outgoing::new();
        let limits = FrameLimits::default();
        out.push(item, &limits).map_err(io::Error::other)?;
        self.stream.write_all_buf(&mut out).await
    }
}
