//! The invalid vectors, each with one deliberate error.

use super::diagnostic::of_stream;
use super::file::{Invalid, hex, to_hex};
use tenure_wire::{CRITICAL, FaultCode, HEADER_BYTES, Header, MORE, kind};

/// Returns a frame with this body.
pub(crate) fn frame(kind: u8, flags: u16, request: u64, body: &[u8]) -> Vec<u8> {
    let header = Header {
        length: u32::try_from(body.len()).expect("a short body"),
        flags,
        ..Header::new(kind, request)
    };
    [&header.to_bytes()[..], body].concat()
}

pub(crate) fn stream(frames: &[&[u8]]) -> Vec<u8> {
    frames.concat()
}

/// Returns the side that sends frames of a kind.
fn sender(kind: u8) -> &'static str {
    if kind < kind::WELCOME {
        "process"
    } else {
        "store"
    }
}

fn wrong(from: &str, name: &str, bytes: &[u8], code: FaultCode, offset: usize) -> Invalid {
    Invalid {
        name: name.to_owned(),
        from: from.to_owned(),
        hex: to_hex(bytes),
        diagnostic: of_stream(bytes),
        code: Some(code),
        offset: Some(offset),
        schema_refuses: false,
    }
}

/// Returns a vector with a malformed body of `kind` that the schema also refuses. `at` is the position of the error in
/// the body.
fn body(kind: u8, name: &str, text: &str, at: usize) -> Invalid {
    Invalid {
        schema_refuses: true,
        ..beyond_schema(kind, name, text, at)
    }
}

/// Returns the same for an error that no schema can express, or that the validator does not detect.
fn beyond_schema(kind: u8, name: &str, text: &str, at: usize) -> Invalid {
    let bytes = frame(kind, CRITICAL, 0, &hex(text));
    let offset = HEADER_BYTES + at;
    wrong(sender(kind), name, &bytes, FaultCode::Malformed, offset)
}

pub(crate) fn all() -> Vec<Invalid> {
    let mut vectors = headers();
    vectors.extend(incomplete());
    vectors.extend(parts());
    vectors.extend(too_large());
    vectors.extend(maps());
    vectors.extend(values());
    vectors.extend(lists_and_text());
    vectors.extend(choices());
    vectors.extend(ill_formed());
    vectors
}

const KEEP_ALIVE: &str = "a1 0e 07";

fn headers() -> Vec<Invalid> {
    let with = |name, change: &dyn Fn(&mut Vec<u8>), code, offset| {
        let mut bytes = frame(kind::KEEP_ALIVE, CRITICAL, 0, &hex(KEEP_ALIVE));
        change(&mut bytes);
        wrong("process", name, &bytes, code, offset)
    };
    vec![
        with("major version 2", &|b| b[4] = 0x20, FaultCode::Version, 4),
        with("major version 0", &|b| b[4] = 0x01, FaultCode::Version, 4),
        with(
            "an unknown critical kind",
            &|b| b[5] = 0x3f,
            FaultCode::Unknown,
            5,
        ),
        wrong(
            "process",
            "a kind of the store",
            &frame(kind::FULL, CRITICAL, 0, &[0xa0]),
            FaultCode::Unexpected,
            5,
        ),
        with(
            "more, of a kind that never goes on",
            &|b| b[7] |= 2,
            FaultCode::Malformed,
            6,
        ),
        with(
            "a length beyond the limit by 1",
            &|b| b[2..4].copy_from_slice(&[8, 1]),
            FaultCode::TooLarge,
            0,
        ),
        with(
            "the greatest length",
            &|b| b[..4].fill(0xff),
            FaultCode::TooLarge,
            0,
        ),
        wrong(
            "process",
            "a request of another protocol",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            FaultCode::Version,
            4,
        ),
        wrong(
            "store",
            "a kind of a process",
            &frame(kind::GOODBYE, CRITICAL, 0, &[0xa0]),
            FaultCode::Unexpected,
            5,
        ),
    ]
}

/// Vectors that are valid so far, but after which the stream must not end.
fn incomplete() -> Vec<Invalid> {
    let whole = frame(kind::KEEP_ALIVE, CRITICAL, 0, &hex(KEEP_ALIVE));
    [
        ("one byte", 1),
        ("half a header", 8),
        ("a header alone", 16),
        ("half a body", 18),
    ]
    .map(|(name, length)| Invalid {
        name: name.to_owned(),
        from: "process".to_owned(),
        hex: to_hex(&whole[..length]),
        diagnostic: of_stream(&whole[..length]),
        code: None,
        offset: None,
        schema_refuses: false,
    })
    .into()
}

fn parts() -> Vec<Invalid> {
    let part = |more, sent: &str| {
        let body = format!("a2 0e {sent} 0f 01");
        frame(kind::ALIVE, CRITICAL | more, 0, &hex(&body))
    };
    let granted = frame(kind::FULL, CRITICAL, 0, &[0xa0]);
    vec![
        wrong(
            "store",
            "another kind where a part is due",
            &stream(&[&part(MORE, "07"), &granted]),
            FaultCode::Unexpected,
            5,
        ),
        wrong(
            "store",
            "parts that contradict each other",
            &stream(&[&part(MORE, "07"), &part(0, "08")]),
            FaultCode::Malformed,
            16,
        ),
    ]
}

fn too_large() -> Vec<Invalid> {
    let holds = |more, count: usize| {
        let list = "82 41 73 82 01 01".repeat(count);
        let body = format!("a3 0e 07 0f 01 18 1a {:02x} {list}", 0x80 + count);
        frame(kind::WELCOME, CRITICAL | more, 0, &hex(&body))
    };
    let changes: String = (0..9).map(|at| format!("82 41 {at:02x} f6")).collect();
    let commit = format!("a4 00 41 73 01 82 01 01 04 82 00 00 05 89 {changes}");
    vec![
        wrong(
            "store",
            "more items than the limit",
            &holds(0, 9),
            FaultCode::TooLarge,
            23,
        ),
        wrong(
            "store",
            "more items than the limit, in two parts",
            &stream(&[&holds(MORE, 5), &holds(0, 4)]),
            FaultCode::TooLarge,
            23,
        ),
        wrong(
            "process",
            "more changes than the limit",
            &frame(kind::COMMIT, CRITICAL, 0, &hex(&commit)),
            FaultCode::TooLarge,
            29,
        ),
    ]
}

fn maps() -> Vec<Invalid> {
    use kind::{ALIVE, CANCEL, DESTROY, GOODBYE, KEEP_ALIVE, RECALL};
    vec![
        body(GOODBYE, "no body", "", 0),
        body(GOODBYE, "a body that is an array", "80", 0),
        body(GOODBYE, "a body that is null", "f6", 0),
        body(GOODBYE, "a byte behind the body", "a0 00", 1),
        body(
            KEEP_ALIVE,
            "a map that is cut off before its value",
            "a1 0e",
            2,
        ),
        body(KEEP_ALIVE, "a number that is cut off", "a1 0e 19 01", 4),
        body(CANCEL, "a name that is cut off", "a1 00 42 73", 4),
        body(ALIVE, "a map that promises more", "a3 0e 07 0f 01", 5),
        body(KEEP_ALIVE, "a key twice", "a2 0e 07 0e 07", 3),
        body(
            KEEP_ALIVE,
            "an unknown key twice",
            "a3 18 3f 00 18 3f 00 0e 07",
            4,
        ),
        body(KEEP_ALIVE, "key 64", "a2 0e 07 18 40 00", 3),
        body(KEEP_ALIVE, "a negative key", "a2 0e 07 20 00", 3),
        body(KEEP_ALIVE, "a text for a key", "a2 0e 07 61 61 00", 3),
        body(KEEP_ALIVE, "a key that is missing", "a0", 0),
        body(DESTROY, "a second key that is missing", "a1 00 41 73", 0),
        body(
            RECALL,
            "a recall without its reason",
            "a2 00 41 73 01 82 01 01",
            0,
        ),
        body(
            KEEP_ALIVE,
            "a map that promises 2^64-1 keys",
            "bb ffffffffffffffff 0e 07",
            11,
        ),
        beyond_schema(KEEP_ALIVE, "a map of indefinite length", "bf 0e 07 ff", 0),
    ]
}

fn values() -> Vec<Invalid> {
    use kind::{BUSY, CANCEL, DESTROY, GRANTED, HELLO, KEEP_ALIVE, RELEASED};
    let long = format!("a1 00 58 81 {}", "73".repeat(129));
    let hello = |minor: &str| format!("a5 0e 07 16 41 70 17 01 18 18 01 18 19 {minor}");
    let busy = |inside: &str| format!("a3 00 41 73 01 82 01 01 10 {inside}");
    let granted = |flag: &str| format!("a5 00 41 73 01 82 01 01 03 82 01 01 06 81 00 0b {flag}");
    vec![
        body(CANCEL, "an empty name", "a1 00 40", 2),
        body(CANCEL, "a name of 129 bytes", &long, 2),
        body(CANCEL, "a name that is text", "a1 00 61 73", 2),
        body(CANCEL, "a name that is null", "a1 00 f6", 2),
        body(CANCEL, "a name with a tag", "a1 00 c0 41 73", 2),
        beyond_schema(CANCEL, "a name in chunks", "a1 00 5f 41 73 ff", 2),
        body(
            CANCEL,
            "a name that promises 2^63 bytes",
            "a1 00 5b 8000000000000000 73",
            12,
        ),
        body(DESTROY, "a token of one number", "a2 00 41 73 01 81 01", 5),
        body(
            DESTROY,
            "a token of three numbers",
            "a2 00 41 73 01 83 01 01 01",
            5,
        ),
        body(DESTROY, "a token that is a number", "a2 00 41 73 01 01", 5),
        beyond_schema(
            DESTROY,
            "a token of indefinite length",
            "a2 00 41 73 01 9f 01 01 ff",
            5,
        ),
        body(KEEP_ALIVE, "a negative number", "a1 0e 26", 2),
        body(KEEP_ALIVE, "a number with a point", "a1 0e f9 3c00", 2),
        beyond_schema(KEEP_ALIVE, "a number as a bignum", "a1 0e c2 41 07", 2),
        body(BUSY, "2^32 threads inside", &busy("1b 0000000100000000"), 9),
        body(HELLO, "minor version 256", &hello("19 0100"), 13),
        body(GRANTED, "1 instead of true", &granted("01"), 16),
        beyond_schema(
            RELEASED,
            "undefined instead of a version",
            "a3 00 41 73 01 82 01 01 03 f7",
            9,
        ),
    ]
}

fn lists_and_text() -> Vec<Invalid> {
    use kind::{COMMIT, FAULT, WELCOME};
    let delta = |delta: &str| format!("a4 00 41 73 01 82 01 01 04 82 00 00 05 {delta}");
    let fault = |text: &str| format!("a2 18 1e 00 18 1f {text}");
    vec![
        beyond_schema(
            COMMIT,
            "an attribute twice",
            &delta("82 82 41 61 f6 82 41 61 f6"),
            19,
        ),
        body(
            COMMIT,
            "a value that is text",
            &delta("81 82 41 61 61 62"),
            17,
        ),
        body(COMMIT, "a change of three", &delta("81 83 41 61 f6 f6"), 14),
        body(
            COMMIT,
            "an attribute without a name",
            &delta("81 82 40 41 61"),
            15,
        ),
        body(
            COMMIT,
            "a list that promises 8 and has 1",
            &delta("88 82 41 61 f6"),
            13,
        ),
        Invalid {
            code: Some(FaultCode::TooLarge),
            ..body(
                WELCOME,
                "a list that promises 2^64-1",
                "a3 0e 07 0f 01 18 1a 9b ffffffffffffffff",
                7,
            )
        },
        body(
            WELCOME,
            "a grant without a token",
            "a3 0e 07 0f 01 18 1a 81 81 44 73737373",
            8,
        ),
        body(FAULT, "text that is not UTF-8", &fault("62 c3 28"), 6),
        body(FAULT, "text that is bytes", &fault("41 61"), 6),
        body(
            FAULT,
            "text of 257 bytes",
            &fault(&format!("79 0101 {}", "61".repeat(257))),
            6,
        ),
    ]
}

fn choices() -> Vec<Invalid> {
    use kind::{ACQUIRE, GRANTED, RECALL, REFUSED, REVOKED};
    let refused = |refusal: &str| format!("a2 00 41 73 13 {refusal}");
    let granted = |state: &str| format!("a4 00 41 73 01 82 01 01 03 82 01 01 06 {state}");
    vec![
        body(ACQUIRE, "patience 2", "a2 00 41 73 08 02", 5),
        body(
            RECALL,
            "reason 4",
            "a3 00 41 73 01 82 01 01 0a 82 04 01",
            10,
        ),
        body(REVOKED, "revocation 2", "a3 00 41 73 01 82 01 01 14 02", 9),
        body(REFUSED, "refusal 12", &refused("81 0c"), 6),
        body(REFUSED, "a refusal of nothing", &refused("80"), 5),
        body(
            REFUSED,
            "a refusal that says too much",
            &refused("82 00 00"),
            5,
        ),
        body(
            REFUSED,
            "a deadlock without its cycle",
            &refused("81 03"),
            7,
        ),
        body(REFUSED, "limit 8", &refused("82 04 08"), 7),
        body(GRANTED, "state 3", &granted("82 03 80"), 14),
        body(
            GRANTED,
            "state unchanged, with changes",
            &granted("82 00 80"),
            13,
        ),
        body(GRANTED, "a delta without changes", &granted("81 01"), 15),
    ]
}

/// A skipped value behind an unknown key must still be well-formed.
fn ill_formed() -> Vec<Invalid> {
    let text = |value: &str| format!("a2 0e 07 18 20 {value}");
    let unknown = |name, value: &str, at: usize| body(kind::KEEP_ALIVE, name, &text(value), 5 + at);
    let beyond =
        |name, value: &str, at: usize| beyond_schema(kind::KEEP_ALIVE, name, &text(value), 5 + at);
    vec![
        beyond("nested 17 deep", &format!("{} 00", "81".repeat(16)), 16),
        beyond("tags 17 deep", &format!("{} 00", "c1".repeat(16)), 16),
        unknown("nested without an end", &"9f".repeat(1_000), 16),
        unknown("a head that is reserved", "1c", 0),
        unknown("an indefinite number", "1f", 0),
        unknown("an indefinite tag", "df 00", 0),
        unknown("a break outside", "ff", 0),
        beyond("a simple value in too many bytes", "f8 14", 0),
        unknown("a chunk of another type", "5f 61 61 ff", 1),
        beyond("a chunk in chunks", "5f 5f 41 00 ff ff", 1),
        unknown("half a pair of an indefinite map", "bf 01 ff", 2),
        unknown(
            "an array that promises 2^64-1",
            "9b ffffffffffffffff 00 00",
            11,
        ),
        unknown(
            "a string that promises 2^64-1",
            "7b ffffffffffffffff 61",
            10,
        ),
    ]
}
