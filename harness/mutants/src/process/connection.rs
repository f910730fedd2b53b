//! The connection to the store.

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
    /// Which of the process's connections this is.
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

    /// It is that one from now on.
    pub(super) fn is_for(&mut self, link: Link) {
        if let Self::Open(open) = self {
            open.link = Some(link);
        }
    }

    /// Whether something for that connection may be said here.
    pub(super) fn may_say(&self, link: Link) -> bool {
        matches!(self, Self::Open(open) if open.link == Some(link))
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// The next item; `None` when the connection has ended. May be dropped and asked again.
    pub(super) async fn hear(&mut self) -> Option<FromStore> {
        let Self::Open(open) = self else { return None };
        loop {
            match open.decoder.decode(&mut open.input) {
                Ok(Some(item)) => return Some(item),
                Err(error) => {
                    let fault = FromProcess::Fault(Fault::from(&error));
                    let _ = open.say(&fault).await; // It is closed in any case.
                    return None;
                }
                Ok(None) => {}
            }
            if open.stream.read_buf(&mut open.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Sends it; who does not read it has gone, which is heard.
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
