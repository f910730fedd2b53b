//! Tests with torn ends and flipped bytes: acknowledged commits are recovered whole, or the folder is refused with file
//! and offset.

use super::{
    apply, change, claimed, content, copy, expected, head, put, put_bytes, scratch, segments,
    session, small,
};
use crate::{Embedded, Engine, EngineError, Level, Settings};
use std::fs::{self, OpenOptions};
use std::path::Path;
use tempfile::TempDir;
use tenure_protocol::{Record, Records, SessionId, Update};

type Content = Vec<(SessionId, Record)>;

fn batches() -> Vec<Vec<Update>> {
    vec![
        vec![put_bytes(1, 1, 30), put_bytes(2, 2, 10)],
        vec![put(1, 3, [change(1, Some(b"one"))])],
        vec![put(1, 4, [change(0, None)]), put_bytes(3, 5, 20)],
        vec![Update::Remove {
            session: session(2),
        }],
        vec![Update::Rename {
            from: session(3),
            to: session(4),
            head: head(6, true),
        }],
        vec![put(4, 7, []), put(1, 8, [change(2, Some(b"two"))])],
    ]
}

/// Returns a folder with these batches in order, and its contents after each batch.
fn folder(settings: &Settings) -> (TempDir, Vec<Content>) {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), settings.clone());
    let mut records = Records::default();
    let mut contents = vec![expected(&records)];
    for batch in batches() {
        engine.commit(&batch).expect("commits");
        apply(&mut records, &batch);
        contents.push(expected(&records));
    }
    (scratch, contents)
}

/// Returns settings with one segment for all batches.
fn one_segment() -> Settings {
    Settings::default()
}

/// Opens the folder, commits once more, which overwrites a torn batch, and opens it again.
fn goes_on(folder: &Path, settings: &Settings) -> Content {
    let mut engine = claimed(folder, settings.clone());
    let before = content(&mut engine, 3);
    engine.commit(&[put_bytes(9, 9, 5)]).expect("commits");
    drop(engine);
    let mut engine = claimed(folder, settings.clone());
    let mut after = content(&mut engine, 3);
    after.retain(|(id, _)| *id != session(9));
    assert_eq!(after, before);
    before
}

#[test]
fn a_torn_last_batch_is_ignored_wherever_it_is_torn() {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), one_segment());
    let mut records = Records::default();
    let mut batches = batches();
    let last = batches.pop().expect("some");
    for batch in batches {
        engine.commit(&batch).expect("commits");
        apply(&mut records, &batch);
    }
    let start = engine.usage().log_bytes;
    engine.commit(&last).expect("commits");
    let end = engine.usage().log_bytes;
    drop(engine);
    assert!(end > start + 40);
    for cut in start..end {
        for is_zeroed in [false, true] {
            let copy = copy(scratch.path());
            let file = OpenOptions::new()
                .write(true)
                .open(&segments(copy.path())[0])
                .expect("a segment");
            file.set_len(cut).expect("cut");
            if is_zeroed {
                file.set_len(end).expect("longer again");
            }
            assert_eq!(
                goes_on(copy.path(), &one_segment()),
                expected(&records),
                "cut at {cut}"
            );
        }
    }
}

/// Flips each byte in each file of a folder, one at a time. Returns the number of refused folders.
fn flip_all(settings: &Settings) -> usize {
    let (scratch, contents) = folder(settings);
    let (whole, shorter) = (
        contents.last().expect("some"),
        &contents[contents.len() - 2],
    );
    let mut refused = 0;
    for path in super::files(scratch.path()) {
        let name = path.file_name().expect("a name");
        let bytes = fs::read(&path).expect("readable");
        for at in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xFF] {
                let copy = copy(scratch.path());
                let mut bytes = bytes.clone();
                bytes[at] ^= mask;
                fs::write(copy.path().join(name), bytes).expect("written");
                match Embedded::open(copy.path(), settings.clone()) {
                    Ok(mut engine) => {
                        let found = content(&mut engine, 3);
                        assert!(found == *whole || found == *shorter, "{name:?} at {at}");
                        assert!(engine.claim().expect("a claim") > 1, "{name:?} at {at}");
                    }
                    Err(EngineError::Corrupt { file, offset, .. }) => {
                        assert!(offset <= at as u64, "{name:?} at {at}: {offset}");
                        assert_eq!(file.file_name(), Some(name));
                        refused += 1;
                    }
                    Err(EngineError::Foreign { .. } | EngineError::Newer { .. }) => {
                        assert_eq!(name, "format");
                    }
                    Err(error) => panic!("{name:?} at {at}: {error}"),
                }
            }
        }
    }
    refused
}

#[test]
fn a_flipped_byte_is_refused_unless_it_lies_in_the_last_batch() {
    assert!(flip_all(&one_segment()) > 500);
    assert!(flip_all(&small()) > 500);
}

/// If the batch behind the damage was written before the damaged one was known to be durable, the damaged batch was not
/// acknowledged as durable. The log then ends before it.
#[test]
fn buffered_batches_lost_in_a_power_failure_are_ignored() {
    let settings = Settings {
        level: Level::Buffered,
        ..one_segment()
    };
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), settings.clone());
    engine.commit(&[put_bytes(1, 1, 30)]).expect("commits");
    engine.flush().expect("flushes");
    let flushed = engine.usage().log_bytes;
    for number in 2..5 {
        engine.commit(&[put_bytes(number, 2, 30)]).expect("commits");
    }
    // Copy the folder to simulate a crash, because a drop would flush.
    let copy = copy(scratch.path());
    let path = &segments(copy.path())[0];
    let mut bytes = fs::read(path).expect("readable");
    bytes[usize::try_from(flushed).expect("small") + 30] ^= 1;
    fs::write(path, &bytes).expect("written");
    let sessions = goes_on(copy.path(), &settings);
    assert_eq!(sessions.len(), 1);

    // Flushed bytes are durable, so damage there is refused.
    bytes[usize::try_from(flushed).expect("small") - 10] ^= 1;
    fs::write(path, &bytes).expect("written");
    let mut names = segments(copy.path());
    for name in names.drain(1..) {
        fs::remove_file(name).expect("removed");
    }
    let refused = Embedded::open(copy.path(), settings);
    assert!(matches!(refused, Err(EngineError::Corrupt { .. })));
}

#[test]
fn a_record_damaged_while_the_store_runs_is_reported_and_not_returned() {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), one_segment());
    engine.commit(&[put_bytes(1, 1, 100)]).expect("commits");
    engine.commit(&[put_bytes(2, 2, 100)]).expect("commits");
    let path = &segments(scratch.path())[0];
    let mut bytes = fs::read(path).expect("readable");
    let at = bytes.iter().position(|byte| *byte == 1).expect("the value");
    let at = bytes[at..]
        .windows(50)
        .position(|window| window == [1; 50])
        .expect("the value")
        + at;
    bytes[at + 10] ^= 4;
    fs::write(path, bytes).expect("written");
    match engine.load(&session(1)) {
        Err(EngineError::Corrupt { file, offset, .. }) => {
            assert_eq!(&file, path);
            assert!(offset < at as u64);
        }
        other => panic!("{other:?}"),
    }
    assert!(engine.load(&session(2)).expect("another").is_some());
    engine
        .commit(&[put_bytes(3, 3, 100)])
        .expect("sessions other than the damaged one are still served");
}

#[test]
fn a_missing_segment_is_refused() {
    // Use one segment per batch.
    let settings = Settings {
        segment_bytes: 1,
        ..Settings::default()
    };
    let (scratch, _) = folder(&settings);
    let count = segments(scratch.path()).len();
    assert!(count > 2);
    // A missing last segment cannot be detected, because no other file refers to it.
    for at in 0..count - 1 {
        let copy = copy(scratch.path());
        let path = &segments(copy.path())[at];
        fs::remove_file(path).expect("removed");
        match Embedded::open(copy.path(), settings.clone()) {
            Err(EngineError::Corrupt { file, .. }) => assert_eq!(&file, path),
            other => panic!("{other:?}"),
        }
    }
    for path in segments(scratch.path()) {
        fs::remove_file(path).expect("removed");
    }
    let refused = Embedded::open(scratch.path(), settings.clone());
    assert!(matches!(refused, Err(EngineError::Corrupt { .. })));
}
