//! Tests that pin the bytes of format 1. A change of the bytes requires a higher [`FORMAT`](crate::FORMAT), and old
//! formats must remain readable.

use super::{change, head, put, session};
use crate::embedded::format::{Draft, Header, write_oldest, write_update, write_whole};
use crate::{Engine, Memory};
use std::fmt::Write;
use tenure_protocol::Update;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("memory");
        hex
    })
}

#[test]
fn a_header_and_a_batch_have_the_pinned_bytes() {
    let header = Header {
        number: 2,
        epoch: 3,
        salt: 0x0102_0304_0506_0708,
        oldest: 1,
        previous_bytes: 0x0900,
    };
    assert_eq!(hex(&header.encode()), HEADER);
    assert_eq!(Header::decode(&header.encode()), Some(header));
    let mut draft = Draft::default();
    draft.begin();
    draft.entry(|bytes| bytes.extend(b"abc"));
    draft.entry(|bytes| bytes.extend(b"d"));
    draft.seal(header.salt, 44, 40);
    assert_eq!(hex(draft.bytes()), BATCH);
}

#[test]
fn entries_have_the_pinned_bytes() {
    let mut engine = Memory::new();
    engine.claim().expect("a claim");
    engine
        .commit(&[put(1, 3, [change(2, Some(b"value")), change(1, None)])])
        .expect("commits");
    let record = engine.load(&session(1)).expect("loads").expect("there");
    let entry = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        hex(&bytes)
    };
    let update = |update: Update| entry(&|bytes| write_update(bytes, &update));
    let rename = Update::Rename {
        from: session(1),
        to: session(2),
        head: head(2, false),
    };
    assert_eq!(
        update(put(1, 3, [change(2, Some(b"value")), change(1, None)])),
        PUT
    );
    assert_eq!(
        update(Update::Remove {
            session: session(1)
        }),
        REMOVE
    );
    assert_eq!(update(rename), RENAME);
    assert_eq!(
        entry(&|bytes| write_whole(bytes, &session(1), &record)),
        WHOLE
    );
    assert_eq!(entry(&|bytes| write_oldest(bytes, 300)), "05ac02");
}

const HEADER: &str =
    "74656e757265000a0100000002000000030000000000000008070605040302010100000000090000e6503251";
const BATCH: &str =
    "b5746e72140000002c00000028000000840de0970300000056c6a0726162630100000066527cd364";
const PUT: &str = "010973657373696f6e2d31010301010102703103010301010100020b6174747269627574652d32010576616c7565\
                   0b6174747269627574652d3100";
const REMOVE: &str = "020973657373696f6e2d31";
const RENAME: &str = "030973657373696f6e2d310973657373696f6e2d3201020101000102";
const WHOLE: &str = "040973657373696f6e2d31010301010102703103010301010100020b6174747269627574652d32010576616c7565\
                     01030b6174747269627574652d31000103";
