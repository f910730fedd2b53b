//! Tests with bytes of hostile peers: decoding never panics, and allocates no more memory than the received bytes
//! allow.

use crate::golden::file::{self, Invalid, Valid, hex};
use crate::support::{decode, encode, from_process, from_store};
use allocation_counter::measure;
use bytes::BytesMut;
use proptest::prelude::*;
use tenure_wire::{
    CRITICAL, Decoder, FrameLimits, FromProcess, FromStore, HEADER_BYTES, Header, kind,
};

fn limits() -> FrameLimits {
    FrameLimits {
        frame_bytes_max: 64 << 10,
        changes_max: 64,
        items_max: 4_096,
    }
}

/// Returns the most memory that decoding may allocate for a stream, beside the stream.
///
/// The room for a list is allocated by a length that the rest of the body can hold. In memory, an element is at most 24
/// times as large as its shortest encoding. Changes have a separate limit, and their list grows by doubling.
fn bound(bytes: usize) -> u64 {
    let lists = 24 * bytes;
    let changes = 64 * 72 * 3;
    (bytes + lists.min(4_096 * 120) + changes + 1_024) as u64
}

/// Decodes a stream in both directions. Returns the peak of allocated memory.
fn read(bytes: &[u8]) -> u64 {
    // Allocate the streams before, because their size is the reader's choice.
    let mut streams = [BytesMut::from(bytes), BytesMut::from(bytes)];
    let held = measure(|| {
        let mut of_process = Decoder::<FromProcess>::new(limits());
        while let Ok(Some(_)) = of_process.decode(&mut streams[0]) {}
    })
    .bytes_max;
    held.max(
        measure(|| {
            let mut of_store = Decoder::<FromStore>::new(limits());
            while let Ok(Some(_)) = of_store.decode(&mut streams[1]) {}
        })
        .bytes_max,
    )
}

fn assert_harmless(bytes: &[u8]) -> Result<(), TestCaseError> {
    let held = read(bytes);
    // While a frame is incomplete, space for the next read is reserved.
    let read_ahead = bytes.len().max(4 << 10) as u64;
    prop_assert!(
        held <= bound(bytes.len()) + 2 * read_ahead,
        "{held} bytes for {}",
        bytes.len()
    );
    Ok(())
}

/// Returns a frame whose header is valid.
fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let header = Header {
        length: u32::try_from(body.len()).expect("short"),
        flags: CRITICAL,
        ..Header::new(kind, 1)
    };
    [&header.to_bytes()[..], body].concat()
}

fn any_kind() -> impl Strategy<Value = u8> {
    prop::sample::select(kind::ALL)
}

/// Generates bytes that are mostly heads of CBOR.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let head = prop_oneof![
        4 => 0_u8..32,
        2 => prop::sample::select(vec![
            0x40, 0x41, 0x58, 0x5b, 0x5f, 0x60, 0x80, 0x81, 0x82, 0x9b, 0x9f, 0xa1, 0xbb, 0xbf,
        ]),
        1 => any::<u8>(),
    ];
    prop::collection::vec(head, 0..200)
}

/// Changes a few bytes, and cuts some off.
fn mutate(
    mut bytes: Vec<u8>,
    changes: &[(prop::sample::Index, u8)],
    cut: Option<prop::sample::Index>,
) -> Vec<u8> {
    for (place, byte) in changes {
        let place = place.index(bytes.len());
        bytes[place] = *byte;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
        // Adjust the length, because the decoder would otherwise wait for more.
        if let Some(body) = bytes.len().checked_sub(HEADER_BYTES) {
            let length = u32::try_from(body).expect("short");
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        assert_harmless(&bytes)?;
    }

    #[test]
    fn an_arbitrary_body_does_no_harm(kind in any_kind(), body in prop::collection::vec(any::<u8>(), 0..300)) {
        assert_harmless(&framed(kind, &body))?;
    }

    #[test]
    fn arbitrary_heads_do_no_harm(kind in any_kind(), body in heads()) {
        assert_harmless(&framed(kind, &body))?;
    }

    #[test]
    fn mutated_frames_do_no_harm(
        of_process in from_process(),
        of_store in from_store(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        for bytes in [encode(&of_process, &limits()), encode(&of_store, &limits())] {
            assert_harmless(&mutate(bytes.to_vec(), &changes, cut))?;
        }
    }

    /// A decoded item can be encoded, and decodes to the same item.
    #[test]
    fn an_item_decoded_from_a_mutated_frame_survives_a_round_trip(
        of_store in from_store(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let bytes = mutate(encode(&of_store, &limits()).to_vec(), &changes, None);
        for item in decode::<FromStore>(&bytes, &limits()).0 {
            prop_assert_eq!(decode(&encode(&item, &limits()), &limits()), (vec![item], None));
        }
    }
}

/// Changes each byte of each golden vector, one at a time, in a few ways.
#[test]
fn each_golden_vector_with_any_byte_changed_does_no_harm() {
    let valid = file::read::<Valid>("valid.json").vectors;
    let invalid = file::read::<Invalid>("invalid.json").vectors;
    let streams = valid.iter().map(|vector| &vector.hex);
    for stream in streams.chain(invalid.iter().map(|vector| &vector.hex)) {
        let mut bytes = hex(stream);
        for place in 0..bytes.len() {
            let before = bytes[place];
            for byte in [
                0,
                0xff,
                0x1b,
                0x5b,
                0x9b,
                0xbb,
                0xbf,
                before ^ 1,
                before ^ 0x20,
                before ^ 0x80,
            ] {
                bytes[place] = byte;
                assert_harmless(&bytes).expect("harmless");
            }
            bytes[place] = before;
        }
        for length in 0..bytes.len() {
            assert_harmless(&bytes[..length]).expect("harmless");
        }
    }
}

/// A header may state any length up to the limits. Memory is allocated only by the received bytes.
#[test]
fn a_stated_length_alone_allocates_no_memory() {
    let limits = FrameLimits::default();
    let header = Header {
        length: u32::try_from(limits.frame_bytes_max).expect("32 bits"),
        ..Header::new(kind::COMMIT, 0)
    };
    let mut stream = BytesMut::from(&header.to_bytes()[..]);
    let mut decoder = Decoder::<FromProcess>::new(limits);
    let held = measure(|| assert_eq!(decoder.decode(&mut stream), Ok(None))).bytes_max;
    assert!(held <= 16 << 10, "{held} bytes");
}

fn list(kind: u8, start: &[u8], count: u32, element: &[u8]) -> Vec<u8> {
    let mut body = start.to_vec();
    body.push(0x9a);
    body.extend_from_slice(&count.to_be_bytes());
    body.extend_from_slice(&element.repeat(count as usize));
    framed(kind, &body)
}

/// Lists with as many of the smallest elements as fit are the worst case of the bound.
#[test]
fn lists_of_the_smallest_elements_stay_within_the_bound() {
    let hold = [0x82, 0x41, 0x73, 0x82, 0x01, 0x01];
    let welcome = list(
        kind::WELCOME,
        &[0xa3, 0x0e, 0x07, 0x0f, 0x01, 0x18, 0x1a],
        4_096,
        &hold,
    );
    assert_eq!(decode::<FromStore>(&welcome, &limits()).1, None);
    let busy = [
        0xa4, 0x00, 0x41, 0x73, 0x01, 0x82, 0x01, 0x01, 0x10, 0x01, 0x11,
    ];
    let busy = list(kind::BUSY, &busy, 4_096, &[0x41, 0x73]);
    assert_eq!(decode::<FromProcess>(&busy, &limits()).1, None);
    for bytes in [&welcome, &busy] {
        let held = read(bytes);
        assert!(
            held <= bound(bytes.len()),
            "{held} bytes for {}",
            bytes.len()
        );
    }
    // The items are limited in number, not only in bytes.
    let many = list(
        kind::WELCOME,
        &[0xa3, 0x0e, 0x07, 0x0f, 0x01, 0x18, 0x1a],
        4_097,
        &hold,
    );
    assert!(decode::<FromStore>(&many, &limits()).1.is_some());
}

/// A list may state a length up to the limit without any element.
#[test]
fn a_list_that_states_a_great_length_allocates_no_memory() {
    let wide = FrameLimits {
        changes_max: 1 << 20,
        items_max: 1 << 20,
        ..limits()
    };
    let mut bodies = vec![
        (kind::HELLO, hex("a1 18 1a 9a 00100000")),
        (kind::HELLO, hex("a1 18 1b 9a 00100000")),
        (kind::BUSY, hex("a1 11 9a 00100000")),
        (kind::COMMIT, hex("a1 05 9a 00100000")),
    ];
    let of_process = bodies.len();
    bodies.extend([
        (kind::WELCOME, hex("a1 18 1a 9a 00100000")),
        (kind::WELCOME, hex("a1 18 1c 9a 00100000")),
        (kind::ALIVE, hex("a1 18 1d 9a 00100000")),
        (kind::GRANTED, hex("a1 06 82 02 9a 00100000")),
        (kind::REFUSED, hex("a1 13 82 03 9a 00100000")),
    ]);
    for (at, (kind, body)) in bodies.iter().enumerate() {
        // Zeros of another list follow: no byte may be assumed before it is there.
        for rest in [0, 16] {
            let bytes = framed(*kind, &[&body[..], &vec![0; rest]].concat());
            let mut stream = BytesMut::from(&bytes[..]);
            let held = measure(|| {
                let refused = if at < of_process {
                    Decoder::<FromProcess>::new(wide.clone())
                        .decode(&mut stream)
                        .is_err()
                } else {
                    Decoder::<FromStore>::new(wide.clone())
                        .decode(&mut stream)
                        .is_err()
                };
                assert!(refused);
            })
            .bytes_max;
            assert!(
                held <= 24 * bytes.len() as u64,
                "{held} bytes for kind {kind:#04x}"
            );
        }
    }
}

/// After an error nothing more is read, because the beginnings of later frames are unknown.
#[test]
fn after_an_error_every_call_returns_the_same_error() {
    let mut bytes = framed(kind::GOODBYE, &[0xa1]);
    bytes.extend_from_slice(&framed(kind::GOODBYE, &[0xa0]));
    let mut stream = BytesMut::from(&bytes[..]);
    let mut decoder = Decoder::<FromProcess>::new(limits());
    let error = decoder.decode(&mut stream).expect_err("cut off");
    assert_eq!(decoder.decode(&mut stream), Err(error));
}
