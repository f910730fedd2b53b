//! Any bytes as the log of a data folder. Recovery returns an error, or an engine that still keeps what it
//! acknowledges.
//!
//! From `impl/engine`: `cargo +nightly fuzz run recover`. `fuzz/seed` makes a corpus of the golden data folder first.
//! The bytes are split into segments where the corpus has its separator, so that a mutation can cut, repeat and reorder
//! whole segments.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::Path;
use tenure_engine::{Embedded, Engine, Settings};
use tenure_protocol::SessionId;

/// The bytes between two segments of an input, as `fuzz/seed` writes them.
const SEPARATOR: &[u8] = b"--tenure-segment--";

/// More segments say nothing that these do not.
const SEGMENTS_MAX: usize = 8;

/// Writes the segments of `bytes` into a folder.
fn write(folder: &Path, mut bytes: &[u8]) {
    for number in 1..=SEGMENTS_MAX {
        let end = bytes
            .windows(SEPARATOR.len())
            .position(|window| window == SEPARATOR);
        let (segment, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        fs::write(folder.join(format!("{number:010}.log")), segment).expect("a file of the temporary folder");
        let Some(rest) = rest.get(SEPARATOR.len()..) else {
            return;
        };
        bytes = rest;
    }
}

/// Reads all records, page by page.
fn sessions(engine: &mut Embedded) -> Option<Vec<SessionId>> {
    let mut all = Vec::new();
    loop {
        let page = engine.page(all.last(), 64).ok()?;
        if page.is_empty() {
            return Some(all);
        }
        all.extend(page.into_iter().map(|(session, _)| session));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The format and the claim of a folder that a store has used.
    let mut engine = Embedded::open(folder.path(), Settings::default()).expect("an empty folder");
    let first = engine.claim().expect("an empty folder can be claimed");
    drop(engine);
    write(folder.path(), bytes);
    let Ok(mut engine) = Embedded::open(folder.path(), Settings::default()) else {
        return; // A clear error: nothing was changed.
    };
    let before = sessions(&mut engine);
    let Ok(epoch) = engine.claim() else {
        return;
    };
    assert!(epoch > first, "epochs rise");
    engine.commit(&[]).expect("a claimed engine commits");
    drop(engine);
    let mut again = Embedded::open(folder.path(), Settings::default()).expect("what was open once opens again");
    assert_eq!(sessions(&mut again), before, "a claim changes no record");
});
