//! Cases about bytes: frames that are refused or skipped, and the encoding that a process writes.
//!
//! A frame that must be refused is followed by a Revoked of a grant that a thread uses. If that Revoked takes effect,
//! the frame was not refused. A frame that must be accepted or skipped is followed by a recall, which must be answered.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::frames::encode;
use crate::process::context::CaseContext;
use crate::process::raw::{array, bytes, frame, frame_with, map, uint};
use crate::process::scene::{Grant, Locked, Scene, session};
use crate::process::scripted_store::{Heard, LEASE_MS};
use tenure_protocol::attributes::State;
use tenure_protocol::message::{Reason, Release};
use tenure_protocol::{Request, Token, Version};
use tenure_wire::{CRITICAL, Fault, FaultCode, FromStore, Header, MORE, VERSION, kind};

cases! { Process:
    "process/wire/header/major-version", Must ["wire.version"] version,
        "A frame of another major version is refused.";
    "process/wire/header/minor-version", Must ["wire.minor"] minor,
        "A frame of a later minor version is accepted.";
    "process/wire/header/too-large", Must ["wire.too-large"] too_large,
        "A frame whose length exceeds every limit is refused before its body arrives.";
    "process/wire/header/unknown-critical", Must ["wire.unknown-critical"] unknown_critical,
        "A critical frame of an unknown kind is refused.";
    "process/wire/header/unknown-skipped", Must ["wire.unknown-skipped"] unknown_skipped,
        "A frame of an unknown kind that is not critical is skipped, even between parts.";
    "process/wire/header/wrong-side", Must ["wire.wrong-side"] wrong_side,
        "A frame of a kind that only processes send is refused.";
    "process/wire/header/reserved", Must ["wire.reserved"] reserved,
        "Flags without a meaning, and a request number in a kind that has none, are ignored.";
    "process/wire/parts/more-unexpected", Must ["wire.more-unexpected"] more_unexpected,
        "A message with a further part is refused if its kind has no parts.";
    "process/wire/parts/missing", Must ["wire.part-missing"] part_missing,
        "A frame of another kind is refused where the next part is due.";
    "process/wire/parts/differ", Must ["wire.parts-differ"] parts_differ,
        "Parts with contradictory fields are refused.";
    "process/wire/parts/joined", Must ["wire.parts-joined"] parts_joined,
        "A Welcome in several parts has the lists of all parts.";
    "process/wire/parts/cut-off", Must ["wire.truncated"] parts_cut,
        "A message whose last part is missing has no effect.";
    "process/wire/body/truncated", Must ["wire.truncated"] truncated,
        "A frame that is cut off by the end of the connection has no effect.";
    "process/wire/fault/sent", Should ["wire.fault"] fault_sent,
        "A process that refuses a frame sends a Fault with the right code.";
    "process/wire/fault/last", Must ["wire.fault-last"] fault_last,
        "A process sends nothing after a Fault.";
    "process/wire/fault/unknown-code", Must ["wire.newer", "connect.again"] unknown_fault,
        "A Fault with an unknown code ends the connection and has no other effect.";
    "process/wire/writes/plainly", Must ["wire.writes-plainly", "wire.writes-critical", "wire.newer"] writes,
        "All kinds of frames are written in canonical form, marked critical, and with the choices of version 1.0.";
    "process/wire/order/one-session", Must ["wire.in-order"] in_order,
        "Messages about one session take effect in the order of their arrival.";
}

/// Returns a thread inside a session.
pub(super) async fn inside(ctx: &CaseContext) -> Play<(Scene, Grant, Locked)> {
    let mut t = ctx.scene().await?;
    let (grant, lock) = t.take_full(1, &session("s"), &["a"], &[("a", "1")]).await?;
    Ok((t, grant, lock))
}

/// Expects that each of these frames is refused.
pub(super) async fn refuses<const N: usize>(ctx: &CaseContext, all: [Vec<u8>; N]) -> Play {
    for bad in all {
        let (mut t, grant, lock) = inside(ctx).await?;
        refused(&mut t, &grant, bad).await?;
        t.come_back_by_itself(&grant).await?;
        t.stands(&lock).await?;
    }
    Ok(())
}

pub(super) async fn refused(t: &mut Scene, grant: &Grant, mut bad: Vec<u8>) -> Play<Option<Fault>> {
    bad.extend(encode(&FromStore::Message(grant.revoked()))?);
    t.peer
        .push(&bad, "what is to be refused, and a Revoked behind it")
        .await?;
    t.peer.thrown_out().await
}

/// Expects that each of these frames is accepted or skipped.
pub(super) async fn accepts<const N: usize>(ctx: &CaseContext, all: [Vec<u8>; N]) -> Play {
    let (mut t, grant, lock) = inside(ctx).await?;
    for good in all {
        t.peer.push(&good, "what is to be read or skipped").await?;
    }
    t.peer.say(grant.recall(Reason::Try)).await?;
    t.busy(&grant).await?;
    t.stands(&lock).await
}

// The parts of bodies, by their keys.

pub(super) fn stamp(sequence: u64) -> Vec<u8> {
    array(&[uint(1), uint(sequence)])
}

pub(super) fn alive(sent: u64) -> Vec<u8> {
    map(&[(14, uint(sent)), (15, uint(LEASE_MS))])
}

pub(super) fn recall_info() -> Vec<u8> {
    array(&[uint(2), uint(9_000)])
}

fn version_byte(version: u8) -> Vec<u8> {
    let header = Header {
        version,
        ..Header::new(kind::ALIVE, 0)
    };
    frame_with(header, &alive(0))
}

pub(super) fn granted(state: Vec<u8>) -> Vec<u8> {
    let body = map(&[(0, bytes("x")), (1, stamp(1)), (3, stamp(1)), (6, state)]);
    frame(kind::GRANTED, &body)
}

async fn version(ctx: CaseContext) -> Play {
    refuses(&ctx, [version_byte(0x20), version_byte(0x00)]).await
}

async fn minor(ctx: CaseContext) -> Play {
    accepts(
        &ctx,
        [version_byte(VERSION | 1), version_byte(VERSION | 15)],
    )
    .await
}

async fn too_large(ctx: CaseContext) -> Play {
    let header = Header {
        length: u32::MAX,
        ..Header::new(kind::ALIVE, 0)
    };
    refuses(&ctx, [header.to_bytes().to_vec()]).await
}

async fn unknown_critical(ctx: CaseContext) -> Play {
    refuses(&ctx, [frame(0x7e, &map(&[])), frame(0xee, &map(&[]))]).await
}

fn unknown_kind() -> Vec<u8> {
    let header = Header {
        flags: 0,
        ..Header::new(0x7e, 0)
    };
    frame_with(header, &map(&[(0, uint(1))]))
}

fn part(kind: u8, body: &[u8]) -> Vec<u8> {
    frame_with(
        Header {
            flags: CRITICAL | MORE,
            ..Header::new(kind, 0)
        },
        body,
    )
}

async fn unknown_skipped(ctx: CaseContext) -> Play {
    let between = [
        part(kind::ALIVE, &alive(0)),
        unknown_kind(),
        frame(kind::ALIVE, &alive(0)),
    ];
    accepts(&ctx, [unknown_kind(), between.concat()]).await
}

async fn wrong_side(ctx: CaseContext) -> Play {
    let keep_alive = frame(kind::KEEP_ALIVE, &map(&[(14, uint(0))]));
    refuses(&ctx, [keep_alive, frame(kind::GOODBYE, &map(&[]))]).await
}

async fn reserved(ctx: CaseContext) -> Play {
    let flags = !MORE;
    let header = Header {
        flags,
        ..Header::new(kind::ALIVE, 77)
    };
    accepts(&ctx, [frame_with(header, &alive(0))]).await
}

async fn more_unexpected(ctx: CaseContext) -> Play {
    let body = map(&[(0, bytes("x")), (1, stamp(1)), (10, recall_info())]);
    let (mut t, grant, lock) = inside(&ctx).await?;
    // Send nothing behind it: a process that waits for the next part has not refused it.
    t.peer
        .push(&part(kind::RECALL, &body), "a Recall with a further part")
        .await?;
    t.peer.thrown_out().await?;
    t.come_back_by_itself(&grant).await?;
    t.stands(&lock).await
}

async fn part_missing(ctx: CaseContext) -> Play {
    refuses(&ctx, [part(kind::ALIVE, &alive(0))]).await
}

async fn parts_differ(ctx: CaseContext) -> Play {
    let parts = [part(kind::ALIVE, &alive(0)), frame(kind::ALIVE, &alive(1))];
    refuses(&ctx, [parts.concat()]).await
}

async fn parts_joined(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let (of_r, in_r) = t.take(1, &session("r"), &["a"]).await?;
    let (of_s, in_s) = t.take(2, &session("s"), &["a"]).await?;
    t.reconnect().await?;
    let sent = t.opening.sent.0;
    let body = |grant: &Grant| {
        let (name, Token(token)) = (bytes(grant.session.as_bytes()), grant.token);
        let token = array(&[uint(token.epoch), uint(token.sequence)]);
        let holds = array(&[array(&[name, token])]);
        map(&[(14, uint(sent)), (15, uint(LEASE_MS)), (26, holds)])
    };
    let parts = [
        part(kind::WELCOME, &body(&of_r)),
        frame(kind::WELCOME, &body(&of_s)),
    ];
    t.peer
        .push(&parts.concat(), "a Welcome in two parts")
        .await?;
    t.is_quiet("nothing is unanswered").await?;
    t.stands(&in_r).await?;
    t.stands(&in_s).await
}

async fn parts_cut(ctx: CaseContext) -> Play {
    let (mut t, grant, lock) = inside(&ctx).await?;
    t.reconnect().await?;
    // Taken for a complete Welcome, this part would end the grant.
    let body = map(&[(14, uint(t.opening.sent.0)), (15, uint(LEASE_MS))]);
    t.peer
        .push(&part(kind::WELCOME, &body), "the first part of a Welcome")
        .await?;
    t.reconnect().await?;
    holds(t.opening.holds == [grant.hold()], "the grant", &t.opening)?;
    t.welcome(vec![grant.hold()], Vec::new()).await?;
    t.is_quiet("nothing is unanswered").await?;
    t.stands(&lock).await
}

async fn truncated(ctx: CaseContext) -> Play {
    let (mut t, grant, lock) = inside(&ctx).await?;
    let whole = encode(&FromStore::Message(grant.revoked()))?;
    for length in [1, 15, 16, whole.len() - 1] {
        t.peer.push(&whole[..length], "a part of a Revoked").await?;
        t.reconnect().await?;
        holds(t.opening.holds == [grant.hold()], "the grant", &t.opening)?;
        t.welcome(vec![grant.hold()], Vec::new()).await?;
    }
    t.is_quiet("nothing is unanswered").await?;
    t.stands(&lock).await
}

async fn fault_sent(ctx: CaseContext) -> Play {
    let all = [
        (version_byte(0x20), FaultCode::Version),
        (frame(0x7e, &map(&[])), FaultCode::Unknown),
        (frame(kind::GOODBYE, &map(&[])), FaultCode::Unexpected),
        (frame(kind::LEASE_ENDED, &[0x80]), FaultCode::Malformed),
    ];
    for (bad, code) in all {
        let (mut t, grant, _) = inside(&ctx).await?;
        let fault = refused(&mut t, &grant, bad).await?;
        let is_right = fault.as_ref().is_some_and(|fault| fault.code == code);
        holds(is_right, &format!("Fault {code:?}"), fault)?;
    }
    Ok(())
}

async fn fault_last(ctx: CaseContext) -> Play {
    let (mut t, grant, lock) = inside(&ctx).await?;
    t.write(&lock, "a", "2").await?;
    // A commit and a request are in flight.
    t.begin("commit", &lock).await?;
    t.ask(2, &session("other"), &["a"]).await?;
    refused(&mut t, &grant, version_byte(0x20)).await.map(drop)
}

async fn unknown_fault(ctx: CaseContext) -> Play {
    let (mut t, grant, lock) = inside(&ctx).await?;
    let fault = frame(kind::FAULT, &map(&[(30, uint(99)), (31, vec![0x61, 0x78])]));
    t.peer.push(&fault, "a Fault of code 99").await?;
    match t.peer.hear(0).await? {
        Heard::Closed | Heard::Fault(_) => {}
        other => return Err(t.peer.failed("the end of the connection", other)),
    }
    t.come_back_by_itself(&grant).await?;
    t.stands(&lock).await
}

async fn writes(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let mut oddities = Vec::new();
    let [r, s, to, far] = ["r", "s", "to", "far"].map(session);
    let (of_s, lock) = t.take(1, &s, &["a", "b"]).await?;
    t.write(&lock, "a", &"x".repeat(700)).await?;
    t.write(&lock, "b", "").await?;
    let id = t.begin("commit", &lock).await?;
    let commit = t.committed(&of_s).await?;
    let version: Version = t.version();
    t.peer.say(of_s.committed(commit.base, version)).await?;
    t.done(id).await?;
    let (of_r, all) = t.take(2, &r, &[]).await?;
    t.rename(&all, &to).await?;
    t.peer.next("Rename").await?;
    let next = Grant {
        session: to.clone(),
        token: Token(t.stamp()),
        ..of_r.clone()
    };
    t.peer.say(of_r.gone(Some(next.hold()))).await?;
    t.ask(1, &far, &["a"]).await?;
    let acquire = t.acquired(&far).await?;
    t.queue(&acquire).await?;
    t.peer.say(of_s.recall(Reason::Wait)).await?;
    t.busy(&of_s).await?;
    t.ask(3, &s, &["c"]).await?;
    t.settle().await?;
    oddities.append(&mut t.peer.oddities);
    t.come_back().await?;
    t.settle().await?;
    t.begin("destroy", &all).await?;
    t.settle().await?;
    let tries = t.try_for(4, &session("tried"), &["a"]).await?;
    t.acquired(&session("tried")).await?;
    t.cancel(tries).await?;
    t.unlock(&lock).await?;
    t.settle().await?;
    oddities.append(&mut t.peer.oddities);
    holds(
        oddities.is_empty(),
        "frames that are written plainly",
        oddities,
    )
}

async fn in_order(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &["a"]).await?;
    let acquire = t.acquired(&s).await?;
    let grant = t.grant_of(&acquire);
    let state = State::Full(crate::process::scene::delta([("a", Some("1"))]));
    let unasked = t.grant_for(&session("other"), Request(99));
    t.peer
        .say_all([
            grant.with(state, None),
            grant.recall(Reason::Wait),
            unasked.full([]),
            grant.revoked(),
        ])
        .await?;
    // The thread may have entered, then received a deadline, and then a loss. It must not be refused, nor enter under
    // an ended grant.
    let lock = t.locked(id).await?;
    let heard = t.settle().await?;
    t.lost(&lock, &["revoked", "lease-lost"]).await?;
    let is_release = |message: &tenure_protocol::ToStore| {
        matches!(message, tenure_protocol::ToStore::Release(Release { token, .. })
        if *token == grant.token)
    };
    holds(
        !heard.iter().any(is_release),
        "no Release of what was taken",
        heard,
    )
}
