//! Support for engine tests: histories of updates, and [`Records`] as the expected result.

mod backup;
mod damage;
mod disk;
mod fence;
mod folder;
mod format;
mod golden;
mod histories;
mod upkeep;

use crate::{Embedded, Engine, Settings};
use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tenure_protocol::attributes::{Change, Head, Holder};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, ProcessId, Record, Records, SessionId, Stamp, Time, Token,
    Update, Version,
};

/// Returns settings with segments and chains so short that a small history needs compaction.
fn small() -> Settings {
    Settings {
        segment_bytes: 400,
        deltas_max: 2,
        log_percent_max: 110,
        ..Settings::default()
    }
}

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

fn open(folder: &Path, settings: Settings) -> Embedded {
    Embedded::open(folder, settings).expect("a good folder")
}

/// Returns a claimed engine.
fn claimed(folder: &Path, settings: Settings) -> Embedded {
    let mut engine = open(folder, settings);
    engine.claim().expect("a claim");
    engine
}

fn session(number: usize) -> SessionId {
    SessionId::new(format!("session-{number}")).expect("a short name")
}

fn stamp(sequence: u64) -> Stamp {
    Stamp { epoch: 1, sequence }
}

fn head(sequence: u64, is_held: bool) -> Head {
    Head {
        version: Version(stamp(sequence)),
        floor: Version(stamp(sequence / 2)),
        holder: is_held.then(|| Holder {
            process: ProcessId::from_static("p1"),
            incarnation: Incarnation(sequence),
            token: Token(stamp(sequence)),
            renamed: sequence.is_multiple_of(3).then(|| Token(stamp(1))),
        }),
        expires: sequence.is_multiple_of(2).then_some(Time(sequence)),
    }
}

fn change(name: usize, value: Option<&[u8]>) -> Change {
    Change {
        name: AttributeName::new(format!("attribute-{name}")).expect("a short name"),
        value: value.map(Bytes::copy_from_slice),
    }
}

fn put(number: usize, sequence: u64, changes: impl IntoIterator<Item = Change>) -> Update {
    Update::Put {
        session: session(number),
        head: head(sequence, sequence % 2 == 1),
        delta: changes.into_iter().collect::<Delta>(),
        is_whole: false,
    }
}

/// Returns a put of one attribute of `bytes` bytes.
fn put_bytes(number: usize, sequence: u64, bytes: usize) -> Update {
    let value = vec![u8::try_from(sequence % 251).expect("small"); bytes];
    put(number, sequence, [change(0, Some(&value))])
}

fn apply(records: &mut Records, batch: &[Update]) {
    for update in batch {
        records.apply(update);
    }
}

/// Returns all records of an engine page by page, after checking that pages, heads and single records agree.
fn content(engine: &mut impl Engine, sessions_max: usize) -> Vec<(SessionId, Record)> {
    let mut all: Vec<(SessionId, Record)> = Vec::new();
    loop {
        let after = all.last().map(|(session, _)| session.clone());
        let page = engine.page(after.as_ref(), sessions_max).expect("a page");
        let heads = engine.heads(after.as_ref(), sessions_max).expect("heads");
        assert!(page.len() <= sessions_max);
        assert_eq!(page.len(), heads.len());
        for ((session, record), (other, head)) in page.iter().zip(&heads) {
            assert_eq!((session, &record.head), (other, head));
            let loaded = engine.load(session).expect("loads");
            assert_eq!(loaded.as_ref(), Some(record));
        }
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn expected(records: &Records) -> Vec<(SessionId, Record)> {
    let all = records.iter();
    all.map(|(session, record)| (session.clone(), record.clone()))
        .collect()
}

#[track_caller]
fn assert_agrees(engine: &mut impl Engine, records: &Records) {
    assert_eq!(content(engine, 3), expected(records));
}

/// Returns the segments of a folder, oldest first.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = files(folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort();
    paths
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// Copies a folder byte for byte.
fn copy(folder: &Path) -> TempDir {
    let copy = scratch();
    for path in files(folder) {
        let name = path.file_name().expect("a name");
        fs::copy(&path, copy.path().join(name)).expect("copied");
    }
    copy
}
