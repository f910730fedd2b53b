//! Hand-made frames, and the frames of the wire format's vectors.

use crate::end::{CaseEnd, Play};
use crate::hex;
use crate::store::{Grant, ScriptedProcess};
use serde::Deserialize;
use tenure_protocol::SessionId;
use tenure_protocol::id::Stamp;
use tenure_protocol::message::GrantRef;
use tenure_wire::{CRITICAL, Header, VERSION, kind};

/// The vectors that a reader must refuse.
const INVALID: &str = include_str!("../../../book/invalid.json");
/// The vectors that a reader must accept.
const VALID: &str = include_str!("../../../book/valid.json");

/// The vectors that assume the small limits of their file.
const OF_LIMITS: [&str; 2] = [
    "a length beyond the limit by 1",
    "more changes than the limit",
];

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
pub(super) struct Vector {
    pub(super) name: String,
    from: String,
    hex: String,
    /// The fault with which a refused vector is answered.
    #[serde(default)]
    code: Option<String>,
}

impl Vector {
    pub(super) fn bytes(&self) -> Play<Vec<u8>> {
        unhex(&self.hex)
    }
}

/// Decodes hexadecimal digits.
pub(super) fn unhex(digits: &str) -> Play<Vec<u8>> {
    hex::unhex(digits).ok_or_else(|| CaseEnd::fault(format!("{digits} are no bytes")))
}

fn vectors(file: &str) -> Play<impl Iterator<Item = Vector>> {
    let file: File = serde_json::from_str(file).map_err(CaseEnd::fault)?;
    Ok(file.vectors.into_iter().filter(|own| own.from == "process"))
}

/// Returns the bytes of the vector with that name.
pub(super) fn vector(name: &str) -> Play<Vec<u8>> {
    let mut all = vectors(INVALID)?.chain(vectors(VALID)?);
    let found = all.find(|vector| vector.name == name);
    found
        .ok_or_else(|| CaseEnd::fault(format!("no vector `{name}`")))?
        .bytes()
}

/// Returns all vectors that are answered with that fault.
pub(super) fn faulty(code: &str) -> Play<Vec<Vector>> {
    let is_it = |vector: &Vector| {
        vector.code.as_deref() == Some(code) && !OF_LIMITS.contains(&&*vector.name)
    };
    Ok(vectors(INVALID)?.filter(is_it).collect())
}

// ---- frames ---------------------------------------------------------------------------------------------------------

/// Returns a frame of version 1.0.
pub(super) fn frame(kind: u8, flags: u16, request: u64, body: &[u8]) -> Vec<u8> {
    let header = Header {
        length: u32::try_from(body.len()).expect("short bodies"),
        version: VERSION,
        kind,
        flags,
        request,
    };
    [&header.to_bytes()[..], body].concat()
}

/// Returns a frame as a careful writer writes it.
pub(super) fn plain(kind: u8, body: &[u8]) -> Vec<u8> {
    frame(kind, CRITICAL, 0, body)
}

/// Returns the fields of a release that sets the attribute `a`.
pub(super) fn release_fields(grant: &Grant, value: &str) -> Vec<(u64, Vec<u8>)> {
    let change = array(&[bytes(b"a"), bytes(value.as_bytes())]);
    vec![
        (0, bytes(grant.session.as_bytes())),
        (1, stamp(grant.token.0)),
        (4, stamp(grant.version.0)),
        (5, array(&[change])),
        (13, uint(0)),
    ]
}

/// Returns a valid release that sets the attribute `a`, so that its effect would be visible.
pub(super) fn release(grant: &Grant, value: &str) -> Vec<u8> {
    plain(kind::RELEASE, &map(&release_fields(grant, value)))
}

/// Returns the fields of a hello without lists.
pub(super) fn hello_fields(player: &ScriptedProcess) -> Vec<(u64, Vec<u8>)> {
    vec![
        (14, uint(1)),
        (22, bytes(player.process.as_bytes())),
        (23, uint(player.link.incarnation.0)),
        (24, uint(player.link.number)),
        (25, uint(0)),
    ]
}

/// Returns a hello, or a part of one, with further fields.
pub(super) fn hello(player: &ScriptedProcess, flags: u16, lists: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let fields = [&hello_fields(player), lists].concat();
    frame(kind::HELLO, CRITICAL | flags, 0, &map(&fields))
}

// ---- CBOR -----------------------------------------------------------------------------------------------------------

/// Returns the shortest head for a number.
pub(super) fn head(major: u8, number: u64) -> Vec<u8> {
    let big = number.to_be_bytes();
    let (info, width) = match number {
        0..=23 => (big[7], 0),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    [&[major << 5 | info], &big[8 - width..]].concat()
}

pub(super) fn uint(number: u64) -> Vec<u8> {
    head(0, number)
}

pub(super) fn bytes(value: &[u8]) -> Vec<u8> {
    [&head(2, value.len() as u64), value].concat()
}

pub(super) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len() as u64), items.concat()].concat()
}

/// Returns a map with its keys in the given order.
pub(super) fn map(fields: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let fields = fields
        .iter()
        .map(|(key, value)| [uint(*key), value.clone()].concat());
    let fields: Vec<_> = fields.collect();
    [head(5, fields.len() as u64), fields.concat()].concat()
}

pub(super) fn stamp(stamp: Stamp) -> Vec<u8> {
    array(&[uint(stamp.epoch), uint(stamp.sequence)])
}

pub(super) fn hold(hold: &GrantRef) -> Vec<u8> {
    array(&[bytes(hold.session.as_bytes()), stamp(hold.token.0)])
}

/// Returns a waiting request as in the `waits` of a hello.
pub(super) fn acquire_request(session: &SessionId, request: u64) -> Vec<u8> {
    let session = bytes(session.as_bytes());
    map(&[(0, session), (2, uint(request)), (8, uint(1))])
}
