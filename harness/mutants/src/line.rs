//! A connection of the store: decodes and encodes frames, and contains the mutants of that layer.

use crate::core::Core;
use crate::mutant::DriverMutant;
use bytes::{Buf, BytesMut};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tenure_protocol::{Link, ProcessId};
use tenure_wire::{
    Decoder, Fault, FaultCode, FrameLimits, FromProcess, FromStore, HEADER_BYTES, MORE, Outgoing,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// The time in which a new connection must send its hello.
const HELLO: Duration = Duration::from_millis(1_500);

/// A command to the store's connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Control {
    pub(crate) is_paused: bool,
    /// The current life of the store. Connections of an earlier life are cut.
    pub(crate) life: u64,
}

/// The process and link of a connection, once its hello has arrived.
type Who = Option<(ProcessId, Link)>;

pub(crate) async fn serve(
    core: Arc<Core>,
    control: watch::Receiver<Control>,
    stream: TcpStream,
    limits: FrameLimits,
) {
    let mut who = None;
    let life = core.life();
    // Close the connection however the conversation ends.
    let _ = talk(&core, control, stream, limits, (&mut who, life)).await;
    if let Some((process, link)) = who {
        core.closed(life, &process, link);
    }
}

async fn talk(
    core: &Core,
    mut control: watch::Receiver<Control>,
    mut stream: TcpStream,
    limits: FrameLimits,
    (who, life): (&mut Who, u64),
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (line, mut lines) = mpsc::unbounded_channel();
    let mut decoder = Decoder::new(limits.clone());
    let mut input = BytesMut::new();
    let mut outgoing = Outgoing::new();
    let silent = Instant::now() + HELLO;
    loop {
        let Control {
            is_paused,
            life: now,
        } = *control.borrow_and_update();
        if now != life {
            return Ok(());
        }
        tokio::select! {
            changed = control.changed() => changed.map_err(io::Error::other)?,
            () = sleep_until(silent), if who.is_none() => {
                let fault = Fault::new(FaultCode::Silent, "no hello");
                outgoing.push(&FromStore::Fault(fault), &limits).map_err(io::Error::other)?;
                stream.write_all_buf(&mut outgoing).await?;
                return stream.shutdown().await;
            }
            item = lines.recv(), if !is_paused => {
                let Some(Some(item)) = item else {
                    return stream.shutdown().await;
                };
                outgoing.push::<FromStore>(&item, &limits).map_err(io::Error::other)?;
                stream.write_all_buf(&mut outgoing).await?;
            }
            read = stream.read_buf(&mut input), if !is_paused => {
                if read? == 0 {
                    if !decoder.may_end(&input) {
                        let fault = Fault::new(FaultCode::Malformed, "the connection ended within a frame");
                        outgoing.push(&FromStore::Fault(fault), &limits).map_err(io::Error::other)?;
                        stream.write_all_buf(&mut outgoing).await?;
                    }
                    return Ok(());
                }
                if core.mutant.is(DriverMutant::IgnoresMore) {
                    ignore_more(&mut input);
                }
                if let Some(error) = decode(core, &mut decoder, &mut input, (who, &line, life)) {
                    if core.mutant.is(DriverMutant::GoesOnAfterGarbage) {
                        input.clear();
                        decoder = Decoder::new(limits.clone());
                        continue;
                    }
                    if !core.mutant.is(DriverMutant::ClosesWithoutFault) {
                        outgoing.push(&FromStore::Fault(error), &limits).map_err(io::Error::other)?;
                        stream.write_all_buf(&mut outgoing).await?;
                    }
                    return stream.shutdown().await;
                }
                if core.mutant.is(DriverMutant::LosesSplitFrames) {
                    input.clear();
                }
            }
        }
    }
}

/// Processes the complete items, and returns the fault for an error.
fn decode(
    core: &Core,
    decoder: &mut Decoder<FromProcess>,
    input: &mut BytesMut,
    (who, line, life): (&mut Who, &crate::core::Line, u64),
) -> Option<Fault> {
    loop {
        match decoder.decode(input) {
            Ok(None) => return None,
            Err(error) => return Some(Fault::from(&error)),
            Ok(Some(item)) => match (item, who.clone()) {
                (FromProcess::Hello(opening), None) => {
                    let (process, link, message) = opening.into_parts();
                    if !core.open(&process, link, line) {
                        return Some(Fault::new(FaultCode::Unexpected, "said before"));
                    }
                    *who = Some((process.clone(), link));
                    core.hear(life, &process, link, message);
                }
                (FromProcess::Message(message), Some((process, link))) => {
                    core.hear(life, &process, link, message);
                }
                (FromProcess::Fault(_), _) => drop(line.send(None)),
                _ => {
                    return Some(Fault::new(
                        FaultCode::Unexpected,
                        "this message is not allowed here",
                    ));
                }
            },
        }
    }
}

/// Removes the flag MORE from the complete frames.
fn ignore_more(input: &mut BytesMut) {
    let mut at = 0;
    while input.len() >= at + HEADER_BYTES {
        let mut head = &input[at..];
        let length = head.get_u32() as usize;
        head.advance(2);
        let flags = head.get_u16() & !MORE;
        input[at + 6..at + 8].copy_from_slice(&flags.to_be_bytes());
        at += HEADER_BYTES + length;
    }
}
