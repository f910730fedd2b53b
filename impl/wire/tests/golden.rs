//! Golden vectors: `tests/vectors/valid.json` and `invalid.json`, for this implementation and for others.
//!
//! The vectors change only with the protocol. After a deliberate change, `UPDATE_VECTORS=1 cargo test -p tenure-wire
//! golden` rewrites them; review the difference before committing it.
//!
//! `tests/vectors/frozen/` holds the valid vectors of each minor version as they were when it was frozen. They are
//! never rewritten. Every later version reads the same items from them, with later fields absent.

pub(crate) mod diagnostic;
pub(crate) mod file;
mod invalid;
mod lenient;
mod valid;

use crate::support::{decode, encode};
use bytes::{Buf, BytesMut};
use file::{File, Invalid, Valid, hex};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use tenure_wire::{
    Decoder, FaultCode, FrameLimits, FromProcess, FromStore, HEADER_BYTES, Header, Item, kind,
};

/// Returns the small limits of the vectors' reader, so that the vectors about limits are short.
fn limits() -> FrameLimits {
    FrameLimits {
        frame_bytes_max: 2_048,
        changes_max: 8,
        items_max: 8,
    }
}

fn pinned<V: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, vectors: Vec<V>) {
    let path = file::path(name);
    let expected = File {
        limits: limits().into(),
        vectors,
    };
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(&path, expected.text()).expect("the file can be written");
    }
    let found: File<V> = file::read(name);
    for (found, expected) in found.vectors.iter().zip(&expected.vectors) {
        assert_eq!(found, expected);
    }
    assert!(
        found == expected,
        "{name} differs from the vectors; run UPDATE_VECTORS=1 cargo test -p tenure-wire golden"
    );
}

#[test]
fn the_vector_files_are_up_to_date() {
    pinned("valid.json", valid::all());
    pinned("invalid.json", invalid::all());
}

/// The frozen minor versions, oldest first.
const FROZEN: &[&str] = &["1.0"];

fn accepts<T: Item + PartialEq + Debug + DeserializeOwned>(vector: &Valid) {
    let name = &vector.name;
    let bytes = hex(&vector.hex);
    let items: Vec<T> = vector
        .items
        .iter()
        .map(|item| serde_json::from_value(item.clone()).expect("an item"))
        .collect();
    assert_eq!(decode(&bytes, &limits()), (items, None), "{name}");
}

fn writes<T: Item + DeserializeOwned>(vector: &Valid) {
    let wide = FrameLimits::default();
    let mut bytes = Vec::new();
    for item in &vector.items {
        let item: T = serde_json::from_value(item.clone()).expect("an item");
        bytes.extend_from_slice(&encode(&item, &wide));
    }
    assert_eq!(
        bytes == hex(&vector.hex),
        vector.canonical,
        "{}",
        vector.name
    );
}

/// Sets the minor version of every complete frame to 0.
fn without_minor(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = bytes[at..].first_chunk::<HEADER_BYTES>() {
        let header = Header::read(header);
        bytes[at + 4] &= 0xf0;
        at += HEADER_BYTES + header.length as usize;
    }
}

/// Checks that the current writer gives the bytes of a canonical frozen vector, except for the minor version in each
/// header.
fn still_writes<T: Item + DeserializeOwned>(vector: &Valid) {
    let mut written = Vec::new();
    for item in &vector.items {
        let item: T = serde_json::from_value(item.clone()).expect("an item");
        written.extend_from_slice(&encode(&item, &FrameLimits::default()));
    }
    let mut frozen = hex(&vector.hex);
    without_minor(&mut written);
    without_minor(&mut frozen);
    assert!(!vector.canonical || written == frozen, "{}", vector.name);
}

#[test]
fn frozen_vectors_of_every_earlier_version_are_still_read_and_written() {
    for version in FROZEN {
        let file: File<Valid> = file::read(&format!("frozen/{version}.json"));
        assert_eq!(file.limits, limits().into(), "{version}");
        let mut kinds = BTreeSet::new();
        for vector in &file.vectors {
            kinds.extend(hex(&vector.hex).get(5).copied());
            if vector.from == "process" {
                accepts::<FromProcess>(vector);
                still_writes::<FromProcess>(vector);
            } else {
                accepts::<FromStore>(vector);
                still_writes::<FromStore>(vector);
            }
        }
        assert!(kinds.len() >= 25, "{version} freezes kinds {kinds:x?} only");
    }
}

/// Examples of RFC 8949, appendix A.
#[test]
fn diagnostic_notation_follows_the_standard() {
    for (bytes, text) in [
        ("1818", "24"),
        ("1817", "23_0"),
        ("3903e7", "-1000"),
        ("f93c00", "1.0_1"),
        ("fa47c35000", "100000.0_2"),
        ("f7", "undefined"),
        ("f8ff", "simple(255)"),
        ("c11a514b67b0", "1(1363896240)"),
        ("4401020304", "h'01020304'"),
        ("62225c", r#""\"\\""#),
        ("8301820203820405", "[1, [2, 3], [4, 5]]"),
        ("a201020304", "{1: 2, 3: 4}"),
        ("5f42010243030405ff", "(_ h'0102', h'030405')"),
        ("9f018202039f0405ffff", "[_ 1, [2, 3], [_ 4, 5]]"),
        ("bf61610161629f0203ffff", r#"{_ "a": 1, "b": [_ 2, 3]}"#),
    ] {
        assert_eq!(diagnostic::of_body(&hex(bytes)).as_deref(), Some(text));
    }
    for bytes in ["", "18", "1c", "820203ff", "8201", "5f6100ff"] {
        assert_eq!(diagnostic::of_body(&hex(bytes)), None, "{bytes}");
    }
}

#[test]
fn every_valid_vector_is_read_and_every_canonical_one_is_written() {
    for vector in &file::read::<Valid>("valid.json").vectors {
        if vector.from == "process" {
            accepts::<FromProcess>(vector);
            writes::<FromProcess>(vector);
        } else {
            accepts::<FromStore>(vector);
            writes::<FromStore>(vector);
        }
    }
}

#[test]
fn every_kind_has_a_canonical_valid_vector() {
    let mut seen = BTreeSet::new();
    for vector in &file::read::<Valid>("valid.json").vectors {
        if vector.canonical {
            let mut bytes = &hex(&vector.hex)[..];
            while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
                let header = Header::read(header);
                bytes.advance(HEADER_BYTES + header.length as usize);
                seen.insert(header.kind);
            }
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), kind::ALL);
}

fn refuses<T: Item + PartialEq + Debug>(vector: &Invalid) {
    let name = &vector.name;
    let bytes = hex(&vector.hex);
    let (items, error) = decode::<T>(&bytes, &limits());
    assert!(items.is_empty(), "{name}");
    let Some(code) = vector.code else {
        assert_eq!(error, None, "{name}");
        let decoder = Decoder::<T>::new(limits());
        assert!(!decoder.may_end(&BytesMut::from(&bytes[..])), "{name}");
        return;
    };
    let error = error.unwrap_or_else(|| panic!("{name} was accepted"));
    assert_eq!(
        (error.code(), Some(error.offset)),
        (code, vector.offset),
        "{name}: {error}"
    );
}

#[test]
fn every_invalid_vector_is_refused_with_its_code_and_offset() {
    let vectors = file::read::<Invalid>("invalid.json").vectors;
    for vector in &vectors {
        if vector.from == "process" {
            refuses::<FromProcess>(vector);
        } else {
            refuses::<FromStore>(vector);
        }
    }
    let codes: BTreeSet<u64> = vectors
        .iter()
        .filter_map(|vector| vector.code.map(FaultCode::number))
        .collect();
    // The other codes are for connections, not for bytes.
    assert_eq!(codes, (0..5).collect());
}
