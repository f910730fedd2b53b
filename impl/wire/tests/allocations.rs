//! Tests of the memory costs of frames, which do not depend on the machine.

use crate::support::encode;
use allocation_counter::measure;
use bytes::{Buf, Bytes, BytesMut};
use tenure_protocol::attributes::State;
use tenure_protocol::message::Granted;
use tenure_protocol::{
    AttributeName, Delta, Request, SessionId, Stamp, ToProcess, ToStore, Token, Version,
};
use tenure_wire::{Decoder, FrameLimits, FromProcess, FromStore, Outgoing};

const VALUE_BYTES: usize = 2_048;

fn granted(value_bytes: usize) -> FromStore {
    let mut delta = Delta::default();
    for name in ["cart", "user", "seen", "lang"] {
        let value = Bytes::from(vec![7; value_bytes]);
        delta.set(AttributeName::from_static(name), Some(value));
    }
    let stamp = Stamp {
        epoch: 1,
        sequence: 2,
    };
    FromStore::Message(ToProcess::Granted(Granted {
        session: SessionId::from_static("a session's id of 32 characters."),
        request: Request(1),
        token: Token(stamp),
        version: Version(stamp),
        state: State::Full(delta),
        recall: None,
        give_back: false,
    }))
}

/// Returns the values in `item`.
fn values(item: &FromStore) -> Vec<&Bytes> {
    let FromStore::Message(ToProcess::Granted(Granted {
        state: State::Full(delta),
        ..
    })) = item
    else {
        panic!("a grant");
    };
    let changes = delta.changes().iter();
    changes.filter_map(|change| change.value.as_ref()).collect()
}

#[test]
fn writing_small_messages_repeatedly_allocates_nothing() {
    let limits = FrameLimits::default();
    let item = FromProcess::Message(ToStore::Destroy {
        session: SessionId::from_static("s"),
        token: Token::default(),
    });
    let mut out = Outgoing::new();
    let mut count = 0;
    for _ in 0..4 {
        count = measure(|| {
            for _ in 0..100 {
                out.push(&item, &limits).expect("it fits");
            }
            out.advance(out.len());
        })
        .count_total;
    }
    assert_eq!(count, 0);
}

#[test]
fn large_values_are_written_without_a_copy() {
    let limits = FrameLimits::default();
    let item = granted(VALUE_BYTES);
    let mut out = Outgoing::new();
    let mut info = measure(|| {});
    for _ in 0..4 {
        info = measure(|| {
            out.push(&item, &limits).expect("it fits");
            let mut left: Vec<*const u8> =
                values(&item).iter().map(|value| value.as_ptr()).collect();
            while out.has_remaining() {
                let chunk = out.chunk();
                left.retain(|&value| value != chunk.as_ptr());
                out.advance(chunk.len());
            }
            assert!(left.is_empty(), "a value was copied");
        });
    }
    // The list of pointers above, and the block with the rest of the frame.
    assert!(info.count_total <= 4, "{info:?}");
    assert!(info.bytes_max < VALUE_BYTES as u64, "{info:?}");
}

#[test]
fn values_of_a_large_frame_are_slices_of_the_stream() {
    let limits = FrameLimits::default();
    let bytes = encode(&granted(4 * VALUE_BYTES), &limits);
    let mut stream = BytesMut::from(&bytes[..]);
    let block = stream.as_ptr_range();
    let mut decoder = Decoder::<FromStore>::new(limits);
    let mut found = None;
    let info = measure(|| found = decoder.decode(&mut stream).expect("well-formed"));
    let found = found.expect("a whole frame");
    assert_eq!(values(&found).len(), 4);
    for value in values(&found) {
        let value = value.as_ptr_range();
        assert!(
            block.start <= value.start && value.end <= block.end,
            "copied"
        );
    }
    // The list of changes, and the header of the shared block.
    assert!(info.count_total <= 2, "{info:?}");
    assert!(info.bytes_total < 512, "{info:?}");
}

#[test]
fn values_of_a_frame_of_some_kib_keep_only_that_frame_in_memory() {
    let limits = FrameLimits::default();
    let bytes = encode(&granted(VALUE_BYTES), &limits);
    let mut decoder = Decoder::<FromStore>::new(limits);
    let mut stream = BytesMut::with_capacity(64 << 10);
    let block = stream.as_ptr();
    for _ in 0..100 {
        stream.extend_from_slice(&bytes);
        let mut found = None;
        let info = measure(|| found = decoder.decode(&mut stream).expect("well-formed"));
        // The body, the header that its slices share, and the list of changes.
        assert!(info.count_total <= 3, "{info:?}");
        assert!(info.bytes_current < bytes.len() as i64 + 512, "{info:?}");
        drop(found);
        // No value keeps the block of the stream, so the next read uses it again.
        stream.reserve(60 << 10);
        assert_eq!(stream.as_ptr(), block);
    }
}

#[test]
fn a_name_in_a_small_frame_keeps_only_that_frame_in_memory() {
    let limits = FrameLimits::default();
    let item = FromProcess::Message(ToStore::Destroy {
        session: SessionId::from_static("s"),
        token: Token::default(),
    });
    let bytes = encode(&item, &limits);
    let mut decoder = Decoder::<FromProcess>::new(limits);
    let mut kept = None;
    let info = measure(|| {
        let mut stream = BytesMut::with_capacity(64 << 10);
        stream.extend_from_slice(&bytes);
        kept = decoder.decode(&mut stream).expect("well-formed");
    });
    assert_eq!(kept, Some(item));
    assert!(info.bytes_current < 256, "{info:?}");
}
