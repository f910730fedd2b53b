//! Cases about bodies: maps, keys and values.

use super::wire::{accepts, alive, granted, recall_info, refused, refuses, stamp};
use crate::case::cases;
use crate::end::{Play, holds};
use crate::process::context::CaseContext;
use crate::process::raw::{array, bytes, frame, frame_with, map, uint};
use crate::process::scene::session;
use crate::process::scripted_store::LEASE_MS;
use serde_json::json;
use tenure_wire::{Header, kind};

cases! { Process:
    "process/wire/body/short-or-long", Must ["wire.ill-formed"] short_body,
        "A body that ends within a value, or has bytes behind its map, is refused.";
    "process/wire/body/not-a-map", Must ["wire.ill-formed"] not_a_map,
        "A body that is not a map of definite length is refused.";
    "process/wire/body/ill-formed", Must ["wire.ill-formed"] ill_formed,
        "A body that is not well-formed is refused, even if the ill-formed value would be skipped.";
    "process/wire/body/too-many", Must ["wire.too-many"] too_many,
        "A delta with more changes than a session may have is refused.";
    "process/wire/key/duplicate", Must ["wire.duplicate-key"] duplicate_key,
        "A body with a known or unknown key twice is refused.";
    "process/wire/key/range", Must ["wire.key-range"] key_range,
        "A body with a key outside 0 to 63 is refused.";
    "process/wire/key/missing", Must ["wire.missing-key"] missing_key,
        "A body without a required key is refused.";
    "process/wire/key/unknown", Must ["wire.unknown-key"] unknown_key,
        "An unknown key is skipped together with its value, up to 16 levels of nesting.";
    "process/wire/key/nested-too-deep", Must ["wire.nested-too-deep"] too_deep,
        "An unknown key whose value is nested 17 levels deep is refused.";
    "process/wire/value/wrong-type", Must ["wire.wrong-type"] wrong_type,
        "A value of the wrong type, length or range is refused.";
    "process/wire/value/unknown-choice", Must ["wire.unknown-choice"] unknown_choice,
        "A message with an unknown reason, refusal, revocation, limit or state is refused.";
    "process/wire/value/name-length", Must ["wire.name-length"] name_length,
        "A name of 0 or 129 bytes is refused.";
    "process/wire/value/name-twice", Must ["wire.name-twice"] name_twice,
        "A delta that names an attribute twice is refused.";
    "process/wire/value/lenient", Must ["wire.lenient"] lenient,
        "A body with keys in any order, long heads, null for absent values or unsorted changes is accepted.";
}

/// Returns a body with this value of an unknown key.
fn with_unknown(value: &[u8]) -> Vec<u8> {
    frame(
        kind::ALIVE,
        &map(&[(14, uint(0)), (15, uint(LEASE_MS)), (40, value.to_vec())]),
    )
}

/// Returns a recall with these additional fields, of a session that the process does not hold.
fn recall_with(name: Vec<u8>, token: Vec<u8>, info: Vec<u8>) -> Vec<u8> {
    frame(kind::RECALL, &map(&[(0, name), (1, token), (10, info)]))
}

async fn short_body(ctx: CaseContext) -> Play {
    let body = alive(1_000);
    let short = frame(kind::ALIVE, &body[..body.len() - 1]);
    let long = frame(kind::ALIVE, &[&body[..], &[0]].concat());
    refuses(&ctx, [short, long]).await
}

async fn not_a_map(ctx: CaseContext) -> Play {
    let all = [&[0x80][..], &[0xf6], &[], &[0xbf, 0xff]];
    refuses(&ctx, all.map(|body| frame(kind::LEASE_ENDED, body))).await
}

async fn ill_formed(ctx: CaseContext) -> Play {
    let all = [
        &[0x1c][..],
        &[0xff],
        &[0xf8, 0x14],
        &[0x5f, 0x61, 0x61, 0xff],
    ];
    refuses(&ctx, all.map(with_unknown)).await
}

async fn too_many(ctx: CaseContext) -> Play {
    let mut t = ctx
        .scene_with(json!({"attributes_max": 8}), LEASE_MS)
        .await?;
    let max = t.setting("attributes_max", 1_024)?;
    let (grant, lock) = t.take(1, &session("s"), &["a"]).await?;
    // A reader may apply the default limits even if its own are smaller.
    let changes: Vec<_> = (0..4 * max.max(1_024) + 1)
        .map(|number| array(&[bytes(format!("n{number}")), bytes("1")]))
        .collect();
    refused(&mut t, &grant, granted(array(&[uint(2), array(&changes)]))).await?;
    t.come_back_by_itself(&grant).await?;
    t.stands(&lock).await
}

async fn duplicate_key(ctx: CaseContext) -> Play {
    let known = map(&[(14, uint(0)), (14, uint(0)), (15, uint(LEASE_MS))]);
    let unknown = map(&[
        (14, uint(0)),
        (15, uint(LEASE_MS)),
        (40, uint(0)),
        (40, uint(0)),
    ]);
    refuses(&ctx, [known, unknown].map(|body| frame(kind::ALIVE, &body))).await
}

async fn key_range(ctx: CaseContext) -> Play {
    let large = map(&[(14, uint(0)), (15, uint(LEASE_MS)), (64, uint(0))]);
    let negative = [&[0xa3], &alive(0)[1..], &[0x20, 0x00]].concat();
    let text = [&[0xa3], &alive(0)[1..], &[0x61, 0x61, 0x00]].concat();
    refuses(
        &ctx,
        [large, negative, text].map(|body| frame(kind::ALIVE, &body)),
    )
    .await
}

async fn missing_key(ctx: CaseContext) -> Play {
    let no_lease = frame(kind::ALIVE, &map(&[(14, uint(0))]));
    let no_token = frame(kind::RECALL, &map(&[(0, bytes("x")), (10, recall_info())]));
    refuses(&ctx, [no_lease, no_token]).await
}

async fn unknown_key(ctx: CaseContext) -> Play {
    let deep = [&[0x81; 15][..], &[0x80]].concat();
    let text = [0x63, 0x61, 0x62, 0x63];
    let indefinite = [0x9f, 0x01, 0xbf, 0x01, 0x02, 0xff, 0xff];
    let tagged = [0xc1, 0xfb, 0, 0, 0, 0, 0, 0, 0, 0];
    accepts(
        &ctx,
        [&deep[..], &text, &indefinite, &tagged].map(with_unknown),
    )
    .await
}

async fn too_deep(ctx: CaseContext) -> Play {
    let deep = [&[0x81; 17][..], &[0x00]].concat();
    refuses(&ctx, [with_unknown(&deep)]).await
}

async fn wrong_type(ctx: CaseContext) -> Play {
    let name = || bytes("x");
    let text = recall_with(vec![0x61, 0x78], stamp(1), recall_info());
    let three = recall_with(name(), array(&[uint(1), uint(1), uint(1)]), recall_info());
    let number = recall_with(name(), uint(1), recall_info());
    let negative = frame(kind::ALIVE, &map(&[(14, vec![0x20]), (15, uint(LEASE_MS))]));
    refuses(&ctx, [text, three, number, negative]).await
}

async fn unknown_choice(ctx: CaseContext) -> Play {
    let reason = recall_with(bytes("x"), stamp(1), array(&[uint(9), uint(0)]));
    let revocation = map(&[(0, bytes("x")), (1, stamp(1)), (20, uint(9))]);
    let refusal = map(&[(0, bytes("x")), (19, array(&[uint(20)]))]);
    let limit = map(&[(0, bytes("x")), (19, array(&[uint(4), uint(60)]))]);
    let all = [
        reason,
        frame(kind::REVOKED, &revocation),
        frame(kind::REFUSED, &refusal),
        frame(kind::REFUSED, &limit),
        granted(array(&[uint(3)])),
    ];
    refuses(&ctx, all).await
}

async fn name_length(ctx: CaseContext) -> Play {
    let long = recall_with(bytes([b'x'; 129]), stamp(1), recall_info());
    refuses(
        &ctx,
        [recall_with(bytes(""), stamp(1), recall_info()), long],
    )
    .await
}

async fn name_twice(ctx: CaseContext) -> Play {
    let change = || array(&[bytes("a"), bytes("1")]);
    let all = [1, 2].map(|state| granted(array(&[uint(state), array(&[change(), change()])])));
    refuses(&ctx, all).await
}

async fn lenient(ctx: CaseContext) -> Play {
    let mut t = ctx.scene().await?;
    let s = session("s");
    let id = t.ask(1, &s, &[]).await?;
    let acquire = t.acquired(&s).await?;
    let change = |name: &str, value| array(&[bytes(name), bytes(value)]);
    let removed = array(&[bytes("c"), vec![0xf6]]);
    let changes = array(&[change("b", "2"), removed, change("a", "1")]);
    let long_stamp = [
        &[0x98, 0x02][..],
        &[0x1b, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0x19, 0, 5],
    ]
    .concat();
    let fields: &[(&[u8], Vec<u8>)] = &[
        (&[0x0b], vec![0xf4]),
        (&[0x18, 0x06], array(&[uint(2), changes])),
        (&[0x0a], vec![0xf6]),
        (&[0x19, 0x00, 0x03], stamp(5)),
        (&[0x01], long_stamp),
        (&[0x00], [&[0x59, 0x00, 0x01][..], b"s"].concat()),
    ];
    let mut body = vec![0xb8, 0x06];
    for (key, value) in fields {
        body.extend_from_slice(key);
        body.extend_from_slice(value);
    }
    let granted = frame_with(Header::new(kind::GRANTED, acquire.request.0), &body);
    t.peer
        .push(&granted, "Granted, in an unusual but valid encoding")
        .await?;
    let lock = t.locked(id).await?;
    let has = ["a", "b", "c"].map(|name| lock.text(name).unwrap_or_default());
    holds(has == ["1", "2", ""], "a=1, b=2", has)?;
    t.is_quiet("it is a grant like others").await
}
