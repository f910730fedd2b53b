//! The valid vectors that a writer of 1.0 writes: one or more for each kind.

use super::diagnostic::of_stream;
use super::file::{Valid, to_hex};
use super::lenient;
use crate::support::encode;
use serde::Serialize;
use tenure_protocol::attributes::{Change, State};
use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Granted, Limited, Reason, RecallInfo, Refusal, Release,
    Revocation, WaitMode,
};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Limits, Link, ProcessId, Request, SessionId, Stamp, Ticket,
    Time, ToProcess, ToStore, Token, Version,
};
use tenure_wire::{Fault, FaultCode, FrameLimits, FromProcess, FromStore, Item, Opening};

pub(crate) fn stamp(epoch: u64, sequence: u64) -> Stamp {
    Stamp { epoch, sequence }
}

const SESSION: SessionId = SessionId::from_static("session-1");
const OTHER: SessionId = SessionId::from_static("session-2");
const SENT: Time = Time(1_000);

fn token() -> Token {
    Token(stamp(3, 258))
}

pub(crate) fn hold() -> GrantRef {
    GrantRef {
        session: SESSION,
        token: token(),
    }
}

pub(crate) fn other_hold() -> GrantRef {
    GrantRef {
        session: OTHER,
        token: Token(stamp(3, 300)),
    }
}

fn acquire_request() -> AcquireRequest {
    AcquireRequest {
        session: SESSION,
        request: Request(70_000),
        known: Some(Version(stamp(2, 17))),
        wait_mode: WaitMode::Wait,
        ticket: Some(Ticket(stamp(3, 259))),
        existing: false,
    }
}

fn recall_info() -> RecallInfo {
    RecallInfo {
        reason: Reason::Wait,
        deadline_ms: 30_000,
    }
}

fn delta() -> Delta {
    let change = |name, value: Option<&'static [u8]>| Change {
        name: AttributeName::from_static(name),
        value: value.map(Into::into),
    };
    [
        change("cart", Some(b"3 apples")),
        change("user", Some(b"")),
        change("lang", None),
    ]
    .into_iter()
    .collect()
}

/// A value that a writer may share instead of copying.
fn large() -> Delta {
    let mut delta = Delta::default();
    delta.set(
        AttributeName::from_static("photo"),
        Some(vec![0x5a; 600].into()),
    );
    delta
}

pub(crate) fn written<T: Item + Serialize>(from: &str, name: &str, item: &T) -> Valid {
    let bytes = encode(item, &FrameLimits::default());
    Valid {
        name: name.to_owned(),
        from: from.to_owned(),
        hex: to_hex(&bytes),
        diagnostic: of_stream(&bytes),
        canonical: true,
        items: vec![serde_json::to_value(item).expect("JSON")],
    }
}

pub(crate) fn all() -> Vec<Valid> {
    let mut vectors = Vec::new();
    for (name, item) in from_process() {
        vectors.push(written("process", name, &item));
    }
    for (name, item) in from_store() {
        vectors.push(written("store", name, &item));
    }
    vectors.extend(lenient::of_this_version());
    vectors.extend(lenient::of_later_versions());
    vectors
}

pub(crate) fn opening(holds: Vec<GrantRef>, waits: Vec<AcquireRequest>) -> FromProcess {
    FromProcess::Hello(Opening {
        process: ProcessId::from_static("shop-1"),
        link: Link {
            incarnation: Incarnation(5),
            number: 2,
        },
        minor_max: tenure_wire::MINOR,
        sent: SENT,
        holds,
        waits,
    })
}

fn from_process() -> Vec<(&'static str, FromProcess)> {
    let fault = Fault::new(FaultCode::Unexpected, "no such request");
    let mut items = vec![
        ("hello", opening(vec![hold()], vec![acquire_request()])),
        ("hello of a new process", opening(vec![], vec![])),
        ("a fault of a process", FromProcess::Fault(fault)),
    ];
    let first = AcquireRequest {
        request: Request(0),
        known: None,
        wait_mode: WaitMode::Try,
        ticket: None,
        ..acquire_request()
    };
    let cancel = ToStore::Cancel {
        session: SESSION,
        request: Request(u64::MAX),
    };
    let mut messages = vec![
        ("keep-alive", ToStore::KeepAlive { sent: SENT }),
        ("acquire", ToStore::Acquire(acquire_request())),
        ("acquire, a first try", ToStore::Acquire(first)),
        (
            "acquire, only if it exists",
            ToStore::Acquire(AcquireRequest {
                existing: true,
                ..acquire_request()
            }),
        ),
        ("cancel", cancel),
    ];
    messages.extend(with_a_grant());
    messages.push(("goodbye", ToStore::Goodbye));
    let item = |(name, message)| (name, FromProcess::Message(message));
    items.extend(messages.into_iter().map(item));
    items
}

fn with_a_grant() -> Vec<(&'static str, ToStore)> {
    let (session, token, base) = (SESSION, token(), Version(stamp(2, 17)));
    let release = |delta, requeue, idle_ms| {
        ToStore::Release(Release {
            session: SESSION,
            token,
            base,
            delta,
            requeue,
            idle_ms,
        })
    };
    let commit = |delta| {
        ToStore::Commit(Commit {
            session: SESSION,
            token,
            base,
            delta,
        })
    };
    let busy = |inside, blocked_on| ToStore::Busy {
        session: SESSION,
        token,
        inside,
        blocked_on,
    };
    let rename = ToStore::Rename {
        session,
        token,
        to: OTHER,
    };
    let destroy = ToStore::Destroy {
        session: SESSION,
        token,
    };
    vec![
        ("commit", commit(delta())),
        ("commit of nothing", commit(Delta::default())),
        ("commit of a large value", commit(large())),
        ("release", release(delta(), None, 0)),
        (
            "release and wait again",
            release(Delta::default(), Some(Request(0)), 4_294_967_296),
        ),
        ("busy", busy(2, vec![OTHER])),
        ("busy, and blocked by nobody", busy(u32::MAX, vec![])),
        ("destroy", destroy),
        ("rename", rename),
    ]
}

fn from_store() -> Vec<(&'static str, FromStore)> {
    let mut items: Vec<_> = about_processes();
    items.extend(grants());
    items.extend(about_sessions());
    let refusals = [
        ("refused, would block", Refusal::WouldBlock),
        ("refused, cancelled", Refusal::Cancelled),
        ("refused, deadline", Refusal::Deadline),
        (
            "refused, deadlock",
            Refusal::Deadlock {
                cycle: vec![SESSION, OTHER],
            },
        ),
        ("refused, limit", Refusal::Limit(Limited::Threads)),
        ("refused, storage", Refusal::Limit(Limited::Storage)),
        ("refused, gone", Refusal::Gone),
        ("refused, already locked", Refusal::AlreadyLocked),
        ("refused, not held", Refusal::NotHeld),
        ("refused, shutting down", Refusal::ShuttingDown),
        ("refused, absent", Refusal::Absent),
        ("refused, unsupported", Refusal::Unsupported),
    ];
    items.extend(refusals.map(|(name, why)| {
        let refused = ToProcess::Refused {
            session: SESSION,
            request: Request(70_000),
            why,
        };
        (name, refused)
    }));
    let mut items: Vec<_> = items
        .into_iter()
        .map(|(name, message)| (name, FromStore::Message(message)))
        .collect();
    items.push((
        "a fault of the store",
        FromStore::Fault(Fault::new(FaultCode::Busy, "1024 connections are open")),
    ));
    items
}

fn about_processes() -> Vec<(&'static str, ToProcess)> {
    let lease_ms = 10_000;
    let welcome = |holds, gone| ToProcess::Welcome {
        minor: tenure_protocol::MINOR,
        sent: SENT,
        lease_ms,
        holds,
        gone,
        limits: None,
    };
    let alive = |recalls| ToProcess::Alive {
        sent: SENT,
        lease_ms,
        recalls,
    };
    vec![
        (
            "welcome",
            welcome(
                vec![hold()],
                vec![(other_hold(), None), (hold(), Some(other_hold()))],
            ),
        ),
        ("welcome of a new process", welcome(vec![], vec![])),
        (
            "welcome, and the limits of the store",
            ToProcess::Welcome {
                minor: tenure_protocol::MINOR,
                sent: SENT,
                lease_ms,
                holds: vec![hold()],
                gone: vec![],
                limits: Some(Limits::default().said()),
            },
        ),
        ("alive", alive(vec![])),
        ("alive, and recalled", alive(vec![(hold(), recall_info())])),
        ("lease ended", ToProcess::LeaseEnded),
        ("superseded", ToProcess::Superseded),
        ("full", ToProcess::Full),
    ]
}

fn grants() -> Vec<(&'static str, ToProcess)> {
    let granted = |state, recall, give_back| {
        ToProcess::Granted(Granted {
            session: SESSION,
            request: Request(70_000),
            token: token(),
            version: Version(stamp(3, 400)),
            state,
            recall,
            give_back,
        })
    };
    vec![
        ("granted, unchanged", granted(State::Unchanged, None, false)),
        (
            "granted, a delta",
            granted(State::Delta(delta()), Some(recall_info()), true),
        ),
        ("granted, all", granted(State::Full(delta()), None, true)),
        (
            "granted, a large value",
            granted(State::Full(large()), None, false),
        ),
        (
            "granted, nothing",
            granted(State::Full(Delta::default()), None, false),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of frames")]
fn about_sessions() -> Vec<(&'static str, ToProcess)> {
    let (token, version) = (token(), Version(stamp(3, 400)));
    let released = |version| ToProcess::Released {
        session: SESSION,
        token,
        version,
        limit: None,
    };
    let revoked = |why| ToProcess::Revoked {
        session: SESSION,
        token,
        why,
        limit: None,
    };
    let gone = |renamed| ToProcess::Gone {
        session: SESSION,
        token,
        renamed,
    };
    let queued = ToProcess::Queued {
        session: SESSION,
        request: Request(70_000),
        ticket: Ticket(stamp(3, 259)),
    };
    let committed = ToProcess::Committed {
        session: SESSION,
        token,
        base: Version(stamp(2, 17)),
        version,
    };
    let not_renamed = ToProcess::NotRenamed {
        session: SESSION,
        token,
        why: Refusal::IdTaken,
    };
    let recall = ToProcess::Recall {
        hold: hold(),
        info: recall_info(),
    };
    vec![
        (
            "released without its changes, over a limit",
            ToProcess::Released {
                session: SESSION,
                token,
                version: None,
                limit: Some(Limited::SessionBytes),
            },
        ),
        (
            "revoked, its commit over a limit",
            ToProcess::Revoked {
                session: SESSION,
                token,
                why: Revocation::Fenced,
                limit: Some(Limited::AttributeBytes),
            },
        ),
        ("queued", queued),
        ("recall", recall),
        ("committed", committed),
        ("released", released(Some(version))),
        ("released before", released(None)),
        (
            "revoked, recall deadline",
            revoked(Revocation::RecallDeadline),
        ),
        ("revoked, fenced", revoked(Revocation::Fenced)),
        ("not renamed", not_renamed),
        ("gone", gone(None)),
        ("gone to another id", gone(Some(other_hold()))),
    ]
}
