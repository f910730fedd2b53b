//! Generators of arbitrary items. They are boxed, because nested generator types take seconds to compile.

use bytes::{Buf, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tenure_protocol::attributes::{Change, State};
use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Granted, Limited, Reason, RecallInfo, Refusal, Release,
    Revocation, WaitMode,
};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Link, ProcessId, Request, SessionId, Stamp, StoreLimits,
    Ticket, Time, ToProcess, ToStore, Token, Version,
};
use tenure_wire::{
    DecodeError, Decoder, Fault, FaultCode, FrameLimits, FromProcess, FromStore, Item, Opening,
    Outgoing,
};

fn name() -> BoxedStrategy<Bytes> {
    prop_oneof![
        8 => vec(any::<u8>(), 1..=24),
        1 => vec(any::<u8>(), 120..=128),
    ]
    .prop_map(Bytes::from)
    .boxed()
}

fn session() -> BoxedStrategy<SessionId> {
    name()
        .prop_map(|bytes| SessionId::new(bytes).expect("1..=128 bytes"))
        .boxed()
}

/// Generates numbers at the edges of every length of a head.
fn number() -> BoxedStrategy<u64> {
    prop_oneof![
        Just(0),
        23_u64..=24,
        255_u64..=256,
        65_535_u64..=65_536,
        Just(u64::from(u32::MAX)),
        Just(u64::from(u32::MAX) + 1),
        Just(u64::MAX),
        any::<u64>(),
    ]
    .boxed()
}

prop_compose! {
    fn stamp()(epoch in number(), sequence in number()) -> Stamp { Stamp { epoch, sequence } }
}

fn token() -> BoxedStrategy<Token> {
    stamp().prop_map(Token).boxed()
}

fn version() -> BoxedStrategy<Version> {
    stamp().prop_map(Version).boxed()
}

fn ticket() -> BoxedStrategy<Ticket> {
    stamp().prop_map(Ticket).boxed()
}

fn request() -> BoxedStrategy<Request> {
    number().prop_map(Request).boxed()
}

fn time() -> BoxedStrategy<Time> {
    number().prop_map(Time).boxed()
}

prop_compose! {
    fn hold()(session in session(), token in token()) -> GrantRef { GrantRef { session, token } }
}

prop_compose! {
    fn recall_info()(
        reason in prop::sample::select(vec![Reason::Expiry, Reason::Try, Reason::Wait, Reason::Operator]),
        deadline_ms in number(),
    ) -> RecallInfo {
        RecallInfo { reason, deadline_ms }
    }
}

prop_compose! {
    fn acquire_request()(
        session in session(),
        request in request(),
        known in option::of(version()),
        wait_mode in prop::sample::select(vec![WaitMode::Try, WaitMode::Wait]),
        ticket in option::of(ticket()),
    ) -> AcquireRequest {
        AcquireRequest { session, request, known, wait_mode, ticket, existing: false }
    }
}

/// Generates values on both sides of the length from which they are shared.
fn value() -> BoxedStrategy<Bytes> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        1 => (500_usize..530, any::<u8>()).prop_map(|(length, byte)| Bytes::from(vec![byte; length])),
        1 => (1_000_usize..5_000, any::<u8>()).prop_map(|(length, byte)| Bytes::from(vec![byte; length])),
    ].boxed()
}

fn delta() -> BoxedStrategy<Delta> {
    vec((name(), option::of(value())), 0..8)
        .prop_map(|changes| {
            let change = |(name, value)| Change {
                name: AttributeName::new(name).expect("1..=128 bytes"),
                value,
            };
            changes.into_iter().map(change).collect()
        })
        .boxed()
}

fn state() -> BoxedStrategy<State> {
    prop_oneof![
        Just(State::Unchanged),
        delta().prop_map(State::Delta),
        delta().prop_map(State::Full),
    ]
    .boxed()
}

fn limited() -> BoxedStrategy<Limited> {
    prop::sample::select(vec![
        Limited::Processes,
        Limited::Grants,
        Limited::Waiters,
        Limited::Attributes,
        Limited::AttributeBytes,
        Limited::SessionBytes,
        Limited::Threads,
        Limited::Storage,
    ])
    .boxed()
}

fn refusal() -> BoxedStrategy<Refusal> {
    prop_oneof![
        prop::sample::select(vec![
            Refusal::WouldBlock,
            Refusal::Cancelled,
            Refusal::Deadline,
            Refusal::Gone,
            Refusal::AlreadyLocked,
            Refusal::NotHeld,
            Refusal::IdTaken,
            Refusal::ShuttingDown,
            Refusal::Absent,
            Refusal::Unsupported,
        ]),
        vec(session(), 0..5).prop_map(|cycle| Refusal::Deadlock { cycle }),
        limited().prop_map(Refusal::Limit),
    ]
    .boxed()
}

fn fault() -> BoxedStrategy<Fault> {
    let code = prop_oneof![
        (0..FaultCode::ALL.len()).prop_map(|at| FaultCode::ALL[at]),
        (1_000_u64..).prop_map(FaultCode::Other),
    ];
    (code, ".{0,200}")
        .prop_map(|(code, text)| Fault::new(code, &text))
        .boxed()
}

prop_compose! {
    /// Generates an opening whose lists have up to `count` elements.
    pub(crate) fn opening(count: usize)(
        process in name(),
        incarnation in number(),
        number in number(),
        minor_max in any::<u8>(),
        sent in time(),
        holds in vec(hold(), 0..=count),
        waits in vec(acquire_request(), 0..=count),
    ) -> Opening {
        Opening {
            process: ProcessId::new(process).expect("1..=128 bytes"),
            link: Link { incarnation: Incarnation(incarnation), number },
            minor_max,
            sent,
            holds,
            waits,
        }
    }
}

fn to_store() -> BoxedStrategy<ToStore> {
    prop_oneof![
        time().prop_map(|sent| ToStore::KeepAlive { sent }),
        (acquire_request(), any::<bool>()).prop_map(|(acquire, existing)| ToStore::Acquire(
            AcquireRequest {
                existing,
                ..acquire
            }
        )),
        (session(), request()).prop_map(|(session, request)| ToStore::Cancel { session, request }),
        (session(), token(), version(), delta()).prop_map(|(session, token, base, delta)| {
            ToStore::Commit(Commit {
                session,
                token,
                base,
                delta,
            })
        }),
        (
            session(),
            token(),
            version(),
            delta(),
            option::of(request()),
            number()
        )
            .prop_map(
                |(session, token, base, delta, requeue, idle_ms)| ToStore::Release(Release {
                    session,
                    token,
                    base,
                    delta,
                    requeue,
                    idle_ms,
                })
            ),
        (session(), token(), any::<u32>(), vec(session(), 0..5)).prop_map(
            |(session, token, inside, blocked_on)| ToStore::Busy {
                session,
                token,
                inside,
                blocked_on
            }
        ),
        (session(), token()).prop_map(|(session, token)| ToStore::Destroy { session, token }),
        (session(), token(), session()).prop_map(|(session, token, to)| ToStore::Rename {
            session,
            token,
            to
        }),
        Just(ToStore::Goodbye),
    ]
    .boxed()
}

prop_compose! {
    fn store_limits()(
        grants_max in number(),
        waiters_max in number(),
        attributes_max in number(),
        attribute_bytes_max in number(),
        session_bytes_max in number(),
    ) -> StoreLimits {
        StoreLimits { grants_max, waiters_max, attributes_max, attribute_bytes_max, session_bytes_max }
    }
}

/// Generates a welcome whose lists have up to `count` elements.
pub(crate) fn welcome(count: usize) -> BoxedStrategy<ToProcess> {
    let gone = (hold(), option::of(hold()));
    (
        0..16_u8,
        time(),
        number(),
        vec(hold(), 0..=count),
        vec(gone, 0..=count),
        option::of(store_limits()),
    )
        .prop_map(
            |(minor, sent, lease_ms, holds, gone, limits)| ToProcess::Welcome {
                minor,
                sent,
                lease_ms,
                holds,
                gone,
                limits,
            },
        )
        .boxed()
}

/// Generates an answer to a keep-alive with up to `count` recalls.
pub(crate) fn alive(count: usize) -> BoxedStrategy<ToProcess> {
    (time(), number(), vec((hold(), recall_info()), 0..=count))
        .prop_map(|(sent, lease_ms, recalls)| ToProcess::Alive {
            sent,
            lease_ms,
            recalls,
        })
        .boxed()
}

fn grants() -> BoxedStrategy<ToProcess> {
    prop_oneof![
        (
            session(),
            request(),
            token(),
            version(),
            state(),
            option::of(recall_info()),
            any::<bool>()
        )
            .prop_map(
                |(session, request, token, version, state, recall, give_back)| ToProcess::Granted(
                    Granted {
                        session,
                        request,
                        token,
                        version,
                        state,
                        recall,
                        give_back,
                    }
                )
            ),
        (session(), request(), ticket()).prop_map(|(session, request, ticket)| ToProcess::Queued {
            session,
            request,
            ticket,
        }),
    ]
    .boxed()
}

fn to_process() -> BoxedStrategy<ToProcess> {
    prop_oneof![
        welcome(4),
        alive(4),
        grants(),
        (hold(), recall_info()).prop_map(|(hold, info)| ToProcess::Recall { hold, info }),
        (session(), token(), version(), version()).prop_map(|(session, token, base, version)| {
            ToProcess::Committed {
                session,
                token,
                base,
                version,
            }
        }),
        (
            session(),
            token(),
            option::of(version()),
            option::of(limited())
        )
            .prop_map(|(session, token, version, limit)| {
                ToProcess::Released {
                    session,
                    token,
                    version,
                    limit,
                }
            }),
        (session(), token(), any::<bool>(), option::of(limited())).prop_map(
            |(session, token, fenced, limit)| ToProcess::Revoked {
                session,
                token,
                why: if fenced {
                    Revocation::Fenced
                } else {
                    Revocation::RecallDeadline
                },
                limit,
            }
        ),
        (session(), request(), refusal()).prop_map(|(session, request, why)| ToProcess::Refused {
            session,
            request,
            why
        }),
        (session(), token(), refusal()).prop_map(|(session, token, why)| ToProcess::NotRenamed {
            session,
            token,
            why
        }),
        (session(), token(), option::of(hold())).prop_map(|(session, token, renamed)| {
            ToProcess::Gone {
                session,
                token,
                renamed,
            }
        }),
        Just(ToProcess::LeaseEnded),
        Just(ToProcess::Superseded),
        Just(ToProcess::Full),
    ]
    .boxed()
}

/// Generates any item that a process may send.
pub(crate) fn from_process() -> BoxedStrategy<FromProcess> {
    prop_oneof![
        9 => to_store().prop_map(FromProcess::Message),
        1 => opening(4).prop_map(FromProcess::Hello),
        1 => fault().prop_map(FromProcess::Fault),
    ]
    .boxed()
}

/// Generates any item that the store may send.
pub(crate) fn from_store() -> BoxedStrategy<FromStore> {
    prop_oneof![
        14 => to_process().prop_map(FromStore::Message),
        1 => fault().prop_map(FromStore::Fault),
    ]
    .boxed()
}

/// Returns the frames of `item`.
pub(crate) fn encode<T: Item>(item: &T, limits: &FrameLimits) -> Bytes {
    let mut out = Outgoing::new();
    out.push(item, limits).expect("within the limits");
    out.copy_to_bytes(out.len())
}

/// Returns all items in `bytes`, and the error in the rest.
pub(crate) fn decode<T: Item>(bytes: &[u8], limits: &FrameLimits) -> (Vec<T>, Option<DecodeError>) {
    let mut decoder = Decoder::new(limits.clone());
    let mut stream = BytesMut::from(bytes);
    let mut items = Vec::new();
    loop {
        match decoder.decode(&mut stream) {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, None),
            Err(error) => return (items, Some(error)),
        }
    }
}
