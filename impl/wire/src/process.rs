//! The encoding of items that a process sends.

use crate::cbor::{Reader, Writer};
use crate::error::{DecodeError, EncodeError, Problem};
use crate::field::{Put, read_fields, write_fields};
use crate::frame::{self, Frame, Item, Way};
use crate::header::{Header, kind};
use crate::item::{Fault, FromProcess, Opening};
use crate::limits::FrameLimits;
use crate::outgoing::Outgoing;
use crate::parts::{self, Room};
use tenure_protocol::message::{AcquireRequest, Commit, Release};
use tenure_protocol::{Incarnation, Link, Request, ToStore};

impl Item for FromProcess {
    fn way(kind: u8) -> Way {
        match kind {
            kind::FAULT | kind::HELLO..=kind::GOODBYE => Way::Known,
            kind::WELCOME..=kind::FULL => Way::Back,
            _ => Way::Unknown,
        }
    }

    fn encode(&self, limits: &FrameLimits, out: &mut Outgoing) -> Result<(), EncodeError> {
        match self {
            Self::Hello(opening) => encode_opening(opening, limits, out),
            Self::Message(ToStore::Hello(_)) => Err(EncodeError::Unopened),
            Self::Message(message) => {
                let header = header(message);
                out.frame(header, limits, |writer| write(message, writer))
            }
            Self::Fault(fault) => frame::encode_fault(fault, limits, out),
        }
    }

    fn decode(
        frame: &Frame,
        limits: &FrameLimits,
        items_left: &mut usize,
    ) -> Result<Self, DecodeError> {
        frame.read(limits, items_left, |reader| {
            let Header { kind, request, .. } = frame.header;
            Ok(match kind {
                kind::FAULT => Self::Fault(Fault::read(reader)?),
                kind::HELLO => Self::Hello(read_opening(reader)?),
                _ => Self::Message(read(kind, Request(request), reader)?),
            })
        })
    }

    fn join(&mut self, part: Self) -> Result<(), Problem> {
        match (self, part) {
            (Self::Hello(whole), Self::Hello(mut part)) => {
                parts::append(&mut whole.holds, &mut part.holds);
                parts::append(&mut whole.waits, &mut part.waits);
                let same = whole.process == part.process
                    && whole.link == part.link
                    && whole.minor_max == part.minor_max
                    && whole.sent == part.sent;
                // r[wire.parts-differ]
                same.then_some(()).ok_or(Problem::PartsDiffer)
            }
            _ => Err(Problem::PartsDiffer),
        }
    }
}

fn encode_opening(
    opening: &Opening,
    limits: &FrameLimits,
    out: &mut Outgoing,
) -> Result<(), EncodeError> {
    let Opening {
        process,
        link: Link {
            incarnation,
            number,
        },
        minor_max,
        sent,
        holds,
        waits,
    } = opening;
    let (mut holds, mut waits) = (&holds[..], &waits[..]);
    parts::encode(
        Header::new(kind::HELLO, 0),
        limits,
        out,
        |room: &mut Room| {
            let holds = room.take(&mut holds);
            let waits = room.take(&mut waits);
            move |writer: &mut Writer<'_>| {
                write_fields!(writer; sent, process, incarnation, number, minor_max, holds, waits);
            }
        },
    )
}

fn read_opening(reader: &mut Reader<'_>) -> Result<Opening, DecodeError> {
    read_fields!(reader; sent, process, incarnation, number, minor_max, holds, waits);
    let incarnation: Incarnation = incarnation;
    Ok(Opening {
        process,
        link: Link {
            incarnation,
            number,
        },
        minor_max,
        sent,
        holds,
        waits,
    })
}

fn header(message: &ToStore) -> Header {
    let (kind, request) = match message {
        ToStore::Hello(_) => (kind::HELLO, None),
        ToStore::KeepAlive { .. } => (kind::KEEP_ALIVE, None),
        ToStore::Acquire(acquire) => (kind::ACQUIRE, Some(acquire.request)),
        ToStore::Cancel { request, .. } => (kind::CANCEL, Some(*request)),
        ToStore::Commit(_) => (kind::COMMIT, None),
        ToStore::Release(Release { requeue, .. }) => (kind::RELEASE, *requeue),
        ToStore::Busy { .. } => (kind::BUSY, None),
        ToStore::Destroy { .. } => (kind::DESTROY, None),
        ToStore::Rename { .. } => (kind::RENAME, None),
        ToStore::Goodbye => (kind::GOODBYE, None),
    };
    Header::new(kind, request.map_or(0, |request| request.0))
}

fn write(message: &ToStore, writer: &mut Writer<'_>) {
    match message {
        // A hello is encoded in parts, as an opening.
        ToStore::Hello(_) => {}
        ToStore::KeepAlive { sent } => write_fields!(writer; sent),
        ToStore::Acquire(AcquireRequest {
            session,
            request: _,
            known,
            wait_mode,
            ticket,
            existing,
        }) => write_fields!(writer; session, known, wait_mode, ticket, existing),
        ToStore::Cancel {
            session,
            request: _,
        } => write_fields!(writer; session),
        ToStore::Commit(Commit {
            session,
            token,
            base,
            delta,
        }) => write_fields!(writer; session, token, base, delta),
        ToStore::Release(Release {
            session,
            token,
            base,
            delta,
            requeue,
            idle_ms,
        }) => {
            let requeue = &requeue.is_some();
            write_fields!(writer; session, token, base, delta, requeue, idle_ms);
        }
        ToStore::Busy {
            session,
            token,
            inside,
            blocked_on,
        } => write_fields!(writer; session, token, inside, blocked_on),
        ToStore::Destroy { session, token } => write_fields!(writer; session, token),
        ToStore::Rename { session, token, to } => write_fields!(writer; session, token, to),
        ToStore::Goodbye => writer.map(0),
    }
}

fn read(kind: u8, request: Request, reader: &mut Reader<'_>) -> Result<ToStore, DecodeError> {
    Ok(match kind {
        kind::KEEP_ALIVE => {
            read_fields!(reader; sent);
            ToStore::KeepAlive { sent }
        }
        kind::ACQUIRE => {
            read_fields!(reader; session, known, wait_mode, ticket, existing);
            ToStore::Acquire(AcquireRequest {
                session,
                request,
                known,
                wait_mode,
                ticket,
                existing,
            })
        }
        kind::CANCEL => {
            read_fields!(reader; session);
            ToStore::Cancel { session, request }
        }
        kind::COMMIT => {
            read_fields!(reader; session, token, base, delta);
            ToStore::Commit(Commit {
                session,
                token,
                base,
                delta,
            })
        }
        kind::RELEASE => {
            read_fields!(reader; session, token, base, delta, requeue, idle_ms);
            let requeue: bool = requeue;
            ToStore::Release(Release {
                session,
                token,
                base,
                delta,
                requeue: requeue.then_some(request),
                idle_ms,
            })
        }
        kind::BUSY => {
            read_fields!(reader; session, token, inside, blocked_on);
            ToStore::Busy {
                session,
                token,
                inside,
                blocked_on,
            }
        }
        kind::DESTROY => {
            read_fields!(reader; session, token);
            ToStore::Destroy { session, token }
        }
        kind::RENAME => {
            read_fields!(reader; session, token, to);
            ToStore::Rename { session, token, to }
        }
        kind::GOODBYE => {
            read_fields!(reader;);
            ToStore::Goodbye
        }
        other => return Err(frame::unexpected(other)),
    })
}
