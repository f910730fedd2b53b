//! Tests that any item becomes frames and then the same item, however the stream is cut.

use crate::support::{alive, decode, encode, from_process, from_store, opening, welcome};
use bytes::{Buf, BytesMut};
use proptest::prelude::*;
use std::io::IoSlice;
use tenure_protocol::ToStore;
use tenure_protocol::message::{Commit, Hello};
use tenure_wire::{
    Decoder, EncodeError, FrameLimits, FromProcess, FromStore, HEADER_BYTES, Header, Item,
    Outgoing, kind,
};

fn limits() -> FrameLimits {
    FrameLimits::default()
}

/// Returns limits under which a few grants already need several frames.
fn narrow() -> FrameLimits {
    FrameLimits {
        frame_bytes_max: 1_024,
        ..limits()
    }
}

/// Returns the headers of the frames in `bytes`.
fn headers(mut bytes: &[u8]) -> Vec<Header> {
    let mut headers = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let header = Header::read(header);
        bytes.advance(HEADER_BYTES + header.length as usize);
        headers.push(header);
    }
    headers
}

fn survives<T: Item + PartialEq + std::fmt::Debug>(item: T, limits: &FrameLimits) {
    let bytes = encode(&item, limits);
    let (last, before) = headers(&bytes)
        .split_last()
        .map(|(l, b)| (*l, b.to_vec()))
        .expect("a frame");
    assert!(!last.more() && before.iter().all(Header::more));
    for header in before.iter().chain([&last]) {
        assert!(header.length as usize <= limits.frame_bytes_max);
        assert_eq!(header.kind, last.kind);
    }
    assert_eq!(decode(&bytes, limits), (vec![item], None));
}

/// Generates any CBOR value, up to some levels of nesting.
fn cbor() -> impl Strategy<Value = ciborium::Value> {
    use ciborium::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| Value::Integer(number.into())),
        any::<f64>().prop_map(Value::Float),
        any::<f32>().prop_map(|number| Value::Float(number.into())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        ".{0,40}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(10, 60, 6, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec(pair, 0..6).prop_map(Value::Map),
            (any::<u64>(), inner).prop_map(|(tag, inner)| Value::Tag(tag, Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn an_item_of_a_process_survives_a_round_trip(item in from_process()) {
        survives(item, &limits());
    }

    #[test]
    fn an_item_of_the_store_survives_a_round_trip(item in from_store()) {
        survives(item, &limits());
    }

    #[test]
    fn long_lists_survive_a_round_trip_in_several_frames(
        opening in opening(40), welcome in welcome(40), alive in alive(40)
    ) {
        survives(FromProcess::Hello(opening), &narrow());
        survives(FromStore::Message(welcome), &narrow());
        survives(FromStore::Message(alive), &narrow());
    }

    #[test]
    fn a_stream_may_arrive_in_arbitrary_pieces(
        items in prop::collection::vec(from_store(), 1..6), pieces in prop::collection::vec(1_usize..300, 1..20)
    ) {
        let mut out = Outgoing::new();
        for item in &items {
            out.push(item, &limits()).expect("within the limits");
        }
        let mut bytes = out.copy_to_bytes(out.len());
        let mut decoder = Decoder::<FromStore>::new(limits());
        let mut stream = BytesMut::new();
        let mut found = Vec::new();
        for piece in pieces.iter().cycle() {
            while let Some(item) = decoder.decode(&mut stream).expect("well-formed") {
                found.push(item);
            }
            if bytes.is_empty() {
                break;
            }
            stream.extend_from_slice(&bytes.split_to((*piece).min(bytes.len())));
        }
        prop_assert_eq!(found, items);
        prop_assert!(decoder.may_end(&stream));
    }

    #[test]
    fn vectored_writes_give_the_same_bytes(
        items in prop::collection::vec(from_process(), 1..6), at_once in 1_usize..8, short in 1_usize..2_000
    ) {
        let mut out = Outgoing::new();
        let mut expected = Vec::new();
        for item in &items {
            out.push(item, &limits()).expect("within the limits");
            expected.extend_from_slice(&encode(item, &limits()));
        }
        prop_assert_eq!(out.len(), expected.len());
        let mut written = Vec::new();
        while out.has_remaining() {
            let mut slices = vec![IoSlice::new(&[]); at_once];
            let count = out.chunks_vectored(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            // A socket accepts an arbitrary number of bytes.
            let taken = all.len().min(short);
            written.extend_from_slice(&all[..taken]);
            out.advance(taken);
        }
        prop_assert_eq!(written, expected);
    }

    #[test]
    fn items_survive_a_round_trip_through_json(item in from_process(), answer in from_store()) {
        let json = serde_json::to_string(&item).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<FromProcess>(&json).expect("an item"), item);
        let json = serde_json::to_string(&answer).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<FromStore>(&json).expect("an item"), answer);
    }

    /// The unknown value is written by another implementation of CBOR.
    #[test]
    fn unknown_keys_of_a_later_version_are_skipped(value in cbor(), behind in any::<bool>()) {
        let mut fields = vec![(14.into(), 7.into()), (63.into(), value)];
        if !behind {
            fields.reverse();
        }
        let mut body = Vec::new();
        ciborium::into_writer(&ciborium::Value::Map(fields), &mut body).expect("CBOR");
        let header = Header {
            length: u32::try_from(body.len()).expect("short"),
            ..Header::new(kind::KEEP_ALIVE, 0)
        };
        let bytes = [&header.to_bytes()[..], &body].concat();
        let sent = tenure_protocol::Time(7);
        let expected = FromProcess::Message(ToStore::KeepAlive { sent });
        prop_assert_eq!(decode(&bytes, &limits()), (vec![expected], None));
    }

    #[test]
    fn an_opening_contains_the_hello_of_a_process(opening in opening(3)) {
        let (process, link, hello) = opening.clone().into_parts();
        let FromProcess::Hello(again) = FromProcess::new(&process, link, hello) else {
            panic!("an opening");
        };
        prop_assert_eq!(again, opening);
    }
}

#[test]
fn a_message_above_the_limit_is_refused_and_appends_nothing() {
    let mut out = Outgoing::new();
    let small = FromProcess::Message(ToStore::Goodbye);
    out.push(&small, &narrow()).expect("it fits");
    let before = out.len();

    let session = tenure_protocol::SessionId::from_static("s");
    let mut delta = tenure_protocol::Delta::default();
    for name in ["a", "b", "c"] {
        delta.set(
            tenure_protocol::AttributeName::from_static(name),
            Some(vec![1; 600].into()),
        );
    }
    let large = FromProcess::Message(ToStore::Commit(Commit {
        session,
        token: tenure_protocol::Token::default(),
        base: tenure_protocol::Version::NONE,
        delta,
    }));
    let error = out.push(&large, &narrow()).expect_err("too large");
    assert!(matches!(error, EncodeError::TooLarge { max: 1_024, .. }));
    let bare = FromProcess::Message(ToStore::Hello(Hello {
        minor: tenure_protocol::MINOR,
        incarnation: tenure_protocol::Incarnation(1),
        sent: tenure_protocol::Time::ZERO,
        holds: vec![],
        waits: vec![],
    }));
    assert_eq!(out.push(&bare, &limits()), Err(EncodeError::Unopened));
    assert_eq!(out.len(), before);

    out.push(&small, &narrow()).expect("it fits");
    let bytes = out.copy_to_bytes(out.len());
    assert_eq!(
        decode(&bytes, &limits()),
        (vec![small.clone(), small], None)
    );
    assert!(
        headers(&bytes)
            .iter()
            .all(|header| header.kind == kind::GOODBYE)
    );
}
