//! Streams that a reader accepts although no writer of 1.0 writes them, because they are allowed or come from later
//! versions.

use super::diagnostic::of_stream;
use super::file::{Valid, hex, to_hex};
use super::invalid::{frame, stream};
use super::valid::{hold, opening, other_hold, stamp, written};
use crate::support::encode;
use serde::Serialize;
use tenure_protocol::message::Commit;
use tenure_protocol::{AttributeName, Delta, SessionId, Time, ToProcess, ToStore, Token, Version};
use tenure_wire::{CRITICAL, Fault, FaultCode, FrameLimits, FromProcess, FromStore, MORE, kind};

fn read<T: Serialize>(from: &str, name: &str, bytes: &[u8], items: &[T]) -> Valid {
    Valid {
        name: name.to_owned(),
        from: from.to_owned(),
        hex: to_hex(bytes),
        diagnostic: of_stream(bytes),
        canonical: false,
        items: items
            .iter()
            .map(|item| serde_json::to_value(item).expect("JSON"))
            .collect(),
    }
}

fn keep_alive(sent: u64) -> FromProcess {
    FromProcess::Message(ToStore::KeepAlive { sent: Time(sent) })
}

/// Returns streams that 1.0 allows but that no deterministic writer writes.
#[expect(clippy::too_many_lines, reason = "a table of frames")]
pub(crate) fn of_this_version() -> Vec<Valid> {
    let parts = |more, body: &str| frame(kind::HELLO, CRITICAL | more, 0, &hex(body));
    let first = "a6 0e 1903e8 16 46 73686f702d31 17 05 1818 02 1819 01 181a 81 82 49 73657373696f6e2d31 82 03 190102";
    let second = "a6 0e 1903e8 16 46 73686f702d31 17 05 1818 02 1819 01 181a 81 82 49 73657373696f6e2d32 82 03 19012c";
    let joined = opening(vec![hold(), other_hold()], vec![]);
    let mut unsorted = Delta::default();
    for name in ["a", "b", "c"] {
        unsorted.set(AttributeName::from_static(name), None);
    }
    let commit = FromProcess::Message(ToStore::Commit(Commit {
        session: SessionId::from_static("s"),
        token: Token(stamp(1, 1)),
        base: Version::NONE,
        delta: unsorted,
    }));
    let fault = FromProcess::Fault(Fault::new(FaultCode::ShuttingDown, "bye"));
    let fault_frame = encode(&fault, &FrameLimits::default());
    vec![
        read(
            "process",
            "a hello in two parts",
            &stream(&[&parts(MORE, first), &parts(0, second)]),
            &[joined],
        ),
        read(
            "process",
            "a fault instead of the second part",
            &stream(&[&parts(MORE, first), &fault_frame]),
            &[fault],
        ),
        read(
            "process",
            "keys in another order, and names in any",
            &frame(
                kind::COMMIT,
                CRITICAL,
                0,
                &hex(
                    "a4 05 83 82 41 62 f6 82 41 63 f6 82 41 61 f6 04 82 00 00 01 82 01 01 00 41 73",
                ),
            ),
            std::slice::from_ref(&commit),
        ),
        read(
            "process",
            "names in yet another order",
            &frame(
                kind::COMMIT,
                CRITICAL,
                0,
                &hex(
                    "a4 00 41 73 01 82 01 01 04 82 00 00 05 83 82 41 61 f6 82 41 62 f6 82 41 63 f6",
                ),
            ),
            &[commit],
        ),
        read(
            "process",
            "heads longer than they need be",
            &frame(
                kind::KEEP_ALIVE,
                CRITICAL,
                0,
                &hex("bb 0000000000000001 18 0e 1b 0000000000000007"),
            ),
            &[keep_alive(7)],
        ),
        read(
            "store",
            "null instead of nothing",
            &frame(
                kind::RELEASED,
                CRITICAL,
                0,
                &hex("a3 00 41 73 01 82 01 01 03 f6"),
            ),
            &[FromStore::Message(ToProcess::Released {
                session: SessionId::from_static("s"),
                token: Token(stamp(1, 1)),
                version: None,
                limit: None,
            })],
        ),
        read(
            "process",
            "a request in a kind that has none",
            &frame(kind::KEEP_ALIVE, CRITICAL, 99, &hex("a1 0e 07")),
            &[keep_alive(7)],
        ),
    ]
}

/// Returns streams that 1.1 might send and 1.0 accepts.
pub(crate) fn of_later_versions() -> Vec<Valid> {
    let skipped = |name, value: &str| {
        let body = [hex("a2 18 20"), hex(value), hex("0e 07")].concat();
        let bytes = frame(kind::KEEP_ALIVE, CRITICAL, 0, &body);
        read("process", name, &bytes, &[keep_alive(7)])
    };
    let mut minor = frame(kind::KEEP_ALIVE, CRITICAL, 0, &hex("a1 0e 07"));
    minor[4] = 0x1f;
    let alive = frame(kind::KEEP_ALIVE, CRITICAL, 0, &hex("a1 0e 07"));
    let unknown = frame(0x3f, 0, 1, b"not even CBOR");
    let flags = frame(kind::KEEP_ALIVE, 0xfffc | CRITICAL, 0, &hex("a1 0e 07"));
    let uncritical = frame(kind::KEEP_ALIVE, 0, 0, &hex("a1 0e 07"));
    vec![
        read("process", "minor version 15", &minor, &[keep_alive(7)]),
        read(
            "process",
            "flags without a meaning",
            &flags,
            &[keep_alive(7)],
        ),
        read(
            "process",
            "a known kind that is not critical",
            &uncritical,
            &[keep_alive(7)],
        ),
        read(
            "process",
            "an unknown kind between two known",
            &stream(&[&alive, &unknown, &alive]),
            &[keep_alive(7), keep_alive(7)],
        ),
        skipped("an unknown key", "18 64"),
        skipped(
            "an unknown key with a map in an array",
            "82 a1 63 616263 f5 fb 3ff0000000000000",
        ),
        skipped("an unknown key with a tag", "c1 1a 5f5e1000"),
        skipped(
            "an unknown key with indefinite lengths",
            "9f 5f 41 00 41 01 ff 7f 61 61 ff bf 01 02 ff ff",
        ),
        skipped(
            "an unknown key with simple values",
            "83 f7 f9 3c00 fa 3f800000",
        ),
        skipped(
            "an unknown key, nested 16 deep",
            &format!("{} 00", "81".repeat(15)),
        ),
        skipped("an unknown key with a null", "f6"),
        written(
            "store",
            "a fault of a code that is not known yet",
            &FromStore::Fault(Fault::new(FaultCode::Other(1_000), "")),
        ),
    ]
}
