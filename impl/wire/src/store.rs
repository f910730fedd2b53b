//! The encoding of items that the store sends.

use crate::cbor::{Reader, Writer};
use crate::error::{DecodeError, EncodeError, Problem};
use crate::field::{Put, read_fields, write_fields};
use crate::frame::{self, Frame, Item, Way};
use crate::header::{Header, kind};
use crate::item::{Fault, FromStore};
use crate::limits::FrameLimits;
use crate::outgoing::Outgoing;
use crate::parts::{self, Room};
use tenure_protocol::message::{GrantRef, Granted, RecallInfo};
use tenure_protocol::{Request, StoreLimits, Time, ToProcess};

impl Item for FromStore {
    fn way(kind: u8) -> Way {
        match kind {
            kind::FAULT | kind::WELCOME..=kind::FULL => Way::Known,
            kind::HELLO..=kind::GOODBYE => Way::Back,
            _ => Way::Unknown,
        }
    }

    fn encode(&self, limits: &FrameLimits, out: &mut Outgoing) -> Result<(), EncodeError> {
        match self {
            Self::Message(ToProcess::Welcome {
                minor,
                sent,
                lease_ms,
                holds,
                gone,
                limits: said,
            }) => {
                let header = Header::new(kind::WELCOME, 0).of_minor(*minor);
                encode_welcome(header, (*sent, *lease_ms, *said), holds, gone, limits, out)
            }
            Self::Message(ToProcess::Alive {
                sent,
                lease_ms,
                recalls,
            }) => encode_alive((*sent, *lease_ms), recalls, limits, out),
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
            let minor = frame.header.minor();
            Ok(match kind {
                kind::FAULT => Self::Fault(Fault::read(reader)?),
                kind::WELCOME | kind::ALIVE | kind::GRANTED | kind::QUEUED | kind::REFUSED => {
                    Self::Message(read_answer(kind, (minor, Request(request)), reader)?)
                }
                _ => Self::Message(read_news(kind, reader)?),
            })
        })
    }

    fn join(&mut self, part: Self) -> Result<(), Problem> {
        let same = match (self, part) {
            (
                Self::Message(ToProcess::Welcome {
                    minor: _,
                    sent,
                    lease_ms,
                    holds,
                    gone,
                    limits,
                }),
                Self::Message(ToProcess::Welcome {
                    minor: _,
                    sent: part_sent,
                    lease_ms: part_lease_ms,
                    holds: mut part_holds,
                    gone: mut part_gone,
                    limits: part_limits,
                }),
            ) => {
                parts::append(holds, &mut part_holds);
                parts::append(gone, &mut part_gone);
                (*sent, *lease_ms, *limits) == (part_sent, part_lease_ms, part_limits)
            }
            (
                Self::Message(ToProcess::Alive {
                    sent,
                    lease_ms,
                    recalls,
                }),
                Self::Message(ToProcess::Alive {
                    sent: part_sent,
                    lease_ms: part_lease_ms,
                    recalls: mut part_recalls,
                }),
            ) => {
                parts::append(recalls, &mut part_recalls);
                (*sent, *lease_ms) == (part_sent, part_lease_ms)
            }
            _ => false,
        };
        // r[wire.parts-differ]
        same.then_some(()).ok_or(Problem::PartsDiffer)
    }
}

fn encode_welcome(
    header: Header,
    (sent, lease_ms, store_limits): (Time, u64, Option<StoreLimits>),
    mut holds: &[GrantRef],
    mut gone: &[(GrantRef, Option<GrantRef>)],
    limits: &FrameLimits,
    out: &mut Outgoing,
) -> Result<(), EncodeError> {
    parts::encode(header, limits, out, |room: &mut Room| {
        let holds = room.take(&mut holds);
        let gone = room.take(&mut gone);
        move |writer: &mut Writer<'_>| write_fields!(writer; sent, lease_ms, holds, gone, store_limits)
    })
}

fn encode_alive(
    (sent, lease_ms): (Time, u64),
    mut recalls: &[(GrantRef, RecallInfo)],
    limits: &FrameLimits,
    out: &mut Outgoing,
) -> Result<(), EncodeError> {
    let header = Header::new(kind::ALIVE, 0);
    parts::encode(header, limits, out, |room: &mut Room| {
        let recalls = room.take(&mut recalls);
        move |writer: &mut Writer<'_>| write_fields!(writer; sent, lease_ms, recalls)
    })
}

fn header(message: &ToProcess) -> Header {
    let (kind, request) = match message {
        ToProcess::Welcome { .. } => (kind::WELCOME, None),
        ToProcess::Alive { .. } => (kind::ALIVE, None),
        ToProcess::Granted(Granted { request, .. }) => (kind::GRANTED, Some(request)),
        ToProcess::Queued { request, .. } => (kind::QUEUED, Some(request)),
        ToProcess::Recall { .. } => (kind::RECALL, None),
        ToProcess::Committed { .. } => (kind::COMMITTED, None),
        ToProcess::Released { .. } => (kind::RELEASED, None),
        ToProcess::Revoked { .. } => (kind::REVOKED, None),
        ToProcess::Refused { request, .. } => (kind::REFUSED, Some(request)),
        ToProcess::NotRenamed { .. } => (kind::NOT_RENAMED, None),
        ToProcess::Gone { .. } => (kind::GONE, None),
        ToProcess::LeaseEnded => (kind::LEASE_ENDED, None),
        ToProcess::Superseded => (kind::SUPERSEDED, None),
        ToProcess::Full => (kind::FULL, None),
    };
    Header::new(kind, request.map_or(0, |request| request.0))
}

fn write(message: &ToProcess, writer: &mut Writer<'_>) {
    match message {
        // These are encoded in parts.
        ToProcess::Welcome { .. } | ToProcess::Alive { .. } => {}
        ToProcess::Granted(Granted {
            session,
            request: _,
            token,
            version,
            state,
            recall,
            give_back,
        }) => write_fields!(writer; session, token, version, state, recall, give_back),
        ToProcess::Queued {
            session,
            request: _,
            ticket,
        } => write_fields!(writer; session, ticket),
        ToProcess::Recall {
            hold: GrantRef { session, token },
            info: recall,
        } => write_fields!(writer; session, token, recall),
        ToProcess::Committed {
            session,
            token,
            base,
            version,
        } => write_fields!(writer; session, token, version, base),
        ToProcess::Released {
            session,
            token,
            version,
            limit,
        } => write_fields!(writer; session, token, version, limit),
        ToProcess::Revoked {
            session,
            token,
            why: revocation,
            limit,
        } => write_fields!(writer; session, token, revocation, limit),
        ToProcess::Refused {
            session,
            request: _,
            why: refusal,
        } => write_fields!(writer; session, refusal),
        ToProcess::NotRenamed {
            session,
            token,
            why: refusal,
        } => write_fields!(writer; session, token, refusal),
        ToProcess::Gone {
            session,
            token,
            renamed,
        } => write_fields!(writer; session, token, renamed),
        ToProcess::LeaseEnded | ToProcess::Superseded | ToProcess::Full => writer.map(0),
    }
}

/// Decodes the response to a keep-alive, a hello or a request.
fn read_answer(
    kind: u8,
    (minor, request): (u8, Request),
    reader: &mut Reader<'_>,
) -> Result<ToProcess, DecodeError> {
    Ok(match kind {
        kind::WELCOME => {
            read_fields!(reader; sent, lease_ms, holds, gone, store_limits);
            ToProcess::Welcome {
                minor,
                sent,
                lease_ms,
                holds,
                gone,
                limits: store_limits,
            }
        }
        kind::ALIVE => {
            read_fields!(reader; sent, lease_ms, recalls);
            ToProcess::Alive {
                sent,
                lease_ms,
                recalls,
            }
        }
        kind::GRANTED => {
            read_fields!(reader; session, token, version, state, recall, give_back);
            ToProcess::Granted(Granted {
                session,
                request,
                token,
                version,
                state,
                recall,
                give_back,
            })
        }
        kind::QUEUED => {
            read_fields!(reader; session, ticket);
            ToProcess::Queued {
                session,
                request,
                ticket,
            }
        }
        kind::REFUSED => {
            read_fields!(reader; session, refusal);
            ToProcess::Refused {
                session,
                request,
                why: refusal,
            }
        }
        other => return Err(frame::unexpected(other)),
    })
}

/// Decodes a message about a grant, or about the process as a whole.
fn read_news(kind: u8, reader: &mut Reader<'_>) -> Result<ToProcess, DecodeError> {
    Ok(match kind {
        kind::RECALL => {
            read_fields!(reader; session, token, recall);
            ToProcess::Recall {
                hold: GrantRef { session, token },
                info: recall,
            }
        }
        kind::COMMITTED => {
            read_fields!(reader; session, token, version, base);
            ToProcess::Committed {
                session,
                token,
                base,
                version,
            }
        }
        kind::RELEASED => {
            read_fields!(reader; session, token, version, limit);
            ToProcess::Released {
                session,
                token,
                version,
                limit,
            }
        }
        kind::REVOKED => {
            read_fields!(reader; session, token, revocation, limit);
            ToProcess::Revoked {
                session,
                token,
                why: revocation,
                limit,
            }
        }
        kind::NOT_RENAMED => {
            read_fields!(reader; session, token, refusal);
            ToProcess::NotRenamed {
                session,
                token,
                why: refusal,
            }
        }
        kind::GONE => {
            read_fields!(reader; session, token, renamed);
            ToProcess::Gone {
                session,
                token,
                renamed,
            }
        }
        kind::LEASE_ENDED | kind::SUPERSEDED | kind::FULL => {
            read_fields!(reader;);
            match kind {
                kind::LEASE_ENDED => ToProcess::LeaseEnded,
                kind::SUPERSEDED => ToProcess::Superseded,
                _ => ToProcess::Full,
            }
        }
        other => return Err(frame::unexpected(other)),
    })
}
