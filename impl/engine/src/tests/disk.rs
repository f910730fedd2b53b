//! Tests with a full disk and a failing disk.

use super::{
    apply, assert_agrees, claimed, copy, files, open, put_bytes, scratch, segments, session, small,
};
use crate::embedded::fault;
use crate::{Embedded, Engine, EngineError, Level, Outcome, Settings, SyncAhead};
use std::fs;
use std::path::Path;
use std::process::Command;
use tenure_protocol::{Records, Update};

#[test]
fn a_full_disk_refuses_commits_and_the_same_engine_continues_when_there_is_room() {
    for settings in [small(), Settings::default()] {
        for room in (0..2000).step_by(37) {
            let scratch = scratch();
            let mut engine = claimed(scratch.path(), settings.clone());
            let mut records = Records::default();
            fault::set_room(Some(room));
            let mut refused = 0;
            for sequence in 1..30 {
                let batch = [put_bytes(sequence % 5, sequence as u64, 50)];
                match engine.commit(&batch) {
                    Ok(()) => apply(&mut records, &batch),
                    Err(error) => {
                        assert!(matches!(error, EngineError::Full { .. }), "{error}");
                        assert_eq!(error.outcome(), Outcome::Refused);
                        assert_agrees(&mut engine, &records);
                        refused += 1;
                        if refused == 3 {
                            fault::set_room(None);
                        }
                    }
                }
            }
            fault::set_room(None);
            engine.commit(&[]).expect("goes on");
            assert_agrees(&mut engine, &records);
            drop(engine);
            assert_agrees(&mut open(scratch.path(), settings.clone()), &records);
            assert!(
                files(scratch.path())
                    .iter()
                    .all(|path| path.extension().is_none_or(|end| end != "new"))
            );
        }
    }
}

#[test]
fn a_crash_after_a_full_disk_loses_nothing() {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), Settings::default());
    let mut records = Records::default();
    let batch = [put_bytes(1, 1, 300)];
    engine.commit(&batch).expect("commits");
    apply(&mut records, &batch);
    for room in 0..120 {
        fault::set_room(Some(room));
        engine.commit(&[put_bytes(2, 2, 100)]).expect_err("no room");
        fault::set_room(None);
        let copy = copy(scratch.path());
        assert_agrees(&mut open(copy.path(), Settings::default()), &records);
    }
}

#[test]
fn a_claim_on_a_full_disk_is_refused_and_can_be_retried() {
    let scratch = scratch();
    drop(claimed(scratch.path(), Settings::default()));
    for room in 0..56 {
        let mut engine = open(scratch.path(), Settings::default());
        fault::set_room(Some(room));
        let refused = engine.claim();
        fault::set_room(None);
        assert!(
            matches!(refused, Err(EngineError::Full { .. })),
            "{refused:?}"
        );
        let epoch = engine
            .claim()
            .expect("the test has removed the limit on the disk's room");
        drop(engine);
        assert!(
            open(scratch.path(), Settings::default())
                .claim()
                .expect("a claim")
                > epoch
        );
    }
}

#[test]
fn after_a_failed_sync_the_engine_does_nothing_until_it_is_reopened() {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), Settings::default());
    let mut records = Records::default();
    let first = [put_bytes(1, 1, 50)];
    engine.commit(&first).expect("commits");
    apply(&mut records, &first);
    let second = [put_bytes(2, 2, 50)];
    fault::fail_sync();
    let unknown = engine
        .commit(&second)
        .expect_err("the test has injected a failing sync");
    assert!(matches!(unknown, EngineError::Unknown { .. }));
    assert_eq!(unknown.outcome(), Outcome::Unknown);
    assert!(unknown.to_string().contains("reopen"));
    let broken = |result: Result<(), EngineError>| matches!(result, Err(EngineError::Broken));
    assert!(broken(engine.commit(&second)));
    assert!(broken(engine.commit(&[])));
    assert!(broken(engine.claim().map(drop)));
    assert!(broken(engine.load(&session(1)).map(drop)));
    assert!(broken(engine.page(None, 1).map(drop)));
    assert!(broken(engine.heads(None, 1).map(drop)));
    assert!(broken(engine.flush()));
    drop(engine);
    let mut engine = claimed(scratch.path(), Settings::default());
    // In this case the write reached the disk although the sync failed.
    apply(&mut records, &second);
    assert_agrees(&mut engine, &records);
}

#[test]
fn a_failed_sync_of_a_new_segment_or_of_a_claim_is_reported_as_unknown() {
    let scratch = scratch();
    let settings = Settings {
        segment_bytes: 1,
        ..Settings::default()
    };
    let mut engine = claimed(scratch.path(), settings.clone());
    engine.commit(&[put_bytes(1, 1, 50)]).expect("commits");
    fault::fail_sync();
    let unknown = engine.commit(&[put_bytes(2, 1, 50)]);
    assert!(matches!(unknown, Err(EngineError::Unknown { .. })));
    drop(engine);
    let mut engine = open(scratch.path(), settings.clone());
    fault::fail_sync();
    assert!(matches!(engine.claim(), Err(EngineError::Unknown { .. })));
    assert!(matches!(engine.claim(), Err(EngineError::Broken)));
    drop(engine);
    let mut engine = claimed(scratch.path(), settings);
    assert!(engine.load(&session(1)).expect("loads").is_some());
}

#[test]
fn a_batch_above_the_limit_is_refused() {
    let scratch = scratch();
    let settings = Settings {
        batch_bytes_max: 1000,
        ..Settings::default()
    };
    let mut engine = claimed(scratch.path(), settings);
    let refused = engine.commit(&[put_bytes(1, 1, 1000)]);
    assert!(matches!(refused, Err(EngineError::TooLarge { .. })));
    engine.commit(&[put_bytes(1, 1, 900)]).expect("commits");
}

/// A mount that is removed on drop.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// The same test on a real file system of limited size, if the test may mount one.
/// `a_full_disk_refuses_commits_and_the_same_engine_continues_when_there_is_room` runs everywhere.
#[test]
fn a_full_file_system_refuses_commits_and_the_same_engine_continues_when_there_is_room() {
    let scratch = scratch();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(scratch.path())
        .output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        println!("skipped: this environment cannot mount a file system");
        return;
    }
    let mounted = Mounted(scratch.path());
    let folder = mounted.0.join("store");
    let settings = Settings {
        segment_bytes: 32 << 10,
        ..Settings::default()
    };
    let mut engine = claimed(&folder, settings.clone());
    let mut records = Records::default();
    let mut commit = |engine: &mut Embedded, batch: &[Update]| {
        let committed = engine.commit(batch);
        if committed.is_ok() {
            apply(&mut records, batch);
        }
        assert_agrees(engine, &records);
        committed
    };
    let full = (1..200).find_map(|sequence| {
        commit(&mut engine, &[put_bytes(sequence, sequence as u64, 3000)]).err()
    });
    assert!(matches!(full, Some(EngineError::Full { .. })), "{full:?}");
    assert!(segments(&folder).len() > 3);
    commit(&mut engine, &[put_bytes(900, 1, 3000)]).expect_err("still full");
    let remounted = Command::new("mount")
        .args(["-o", "remount,size=4m"])
        .arg(mounted.0)
        .status();
    assert!(remounted.expect("mount runs").success());
    commit(&mut engine, &[put_bytes(900, 1, 3000)])
        .expect("the test has removed the file that filled the disk");
    drop(engine);
    assert_agrees(&mut open(&folder, settings), &records);
}

/// Commits until a sync ahead is due.
fn until_sync_is_due(engine: &mut Embedded) -> SyncAhead {
    for sequence in 1..100 {
        engine
            .commit(&[put_bytes(1, sequence, 50)])
            .expect("commits");
        if let Some(sync) = engine.sync_ahead() {
            return sync;
        }
    }
    panic!("no sync is due after 5 kB");
}

fn buffered() -> Settings {
    Settings {
        level: Level::Buffered,
        ..Settings::default()
    }
}

/// What a sync ahead has made durable is damaged if it does not decode. Without the sync, it would be a torn end.
#[test]
fn a_sync_ahead_makes_earlier_commits_durable_while_later_ones_go_on() {
    for is_noted in [false, true] {
        let scratch = scratch();
        let mut engine = claimed(scratch.path(), buffered());
        let sync = until_sync_is_due(&mut engine);
        assert!(
            engine.sync_ahead().is_none(),
            "the next one is due after more bytes"
        );
        engine.commit(&[put_bytes(2, 1, 10)]).expect("commits");
        let synced = sync.run();
        if is_noted {
            engine.synced_ahead(synced).expect("synced");
        }
        engine.commit(&[put_bytes(3, 1, 10)]).expect("commits");
        let copy = copy(scratch.path());
        let path = segments(copy.path()).pop().expect("a segment");
        let mut bytes = fs::read(&path).expect("the segment");
        bytes[200] ^= 1;
        fs::write(&path, bytes).expect("written");
        let opened = Embedded::open(copy.path(), buffered());
        assert_eq!(
            matches!(opened, Err(EngineError::Corrupt { .. })),
            is_noted,
            "{opened:?}"
        );
    }
}

#[test]
fn a_durable_engine_needs_no_sync_ahead() {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), Settings::default());
    for sequence in 1..100 {
        engine
            .commit(&[put_bytes(1, sequence, 50)])
            .expect("commits");
        assert!(engine.sync_ahead().is_none());
    }
}

#[test]
fn a_failed_sync_ahead_is_reported_as_unknown_and_breaks_the_engine() {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), buffered());
    let sync = until_sync_is_due(&mut engine);
    fault::fail_sync();
    let failed = engine.synced_ahead(sync.run());
    assert!(matches!(failed, Err(EngineError::Unknown { .. })));
    assert!(matches!(engine.commit(&[]), Err(EngineError::Broken)));
}

#[test]
fn a_sync_ahead_of_an_earlier_segment_changes_nothing() {
    let scratch = scratch();
    let settings = Settings {
        segment_bytes: 1_000,
        ..buffered()
    };
    let mut engine = claimed(scratch.path(), settings.clone());
    let mut records = Records::default();
    let sync = until_sync_is_due(&mut engine);
    let segments = engine.usage().segments;
    for sequence in 100.. {
        let batch = [put_bytes(1, sequence, 50)];
        engine.commit(&batch).expect("commits");
        apply(&mut records, &batch);
        if engine.usage().segments > segments {
            break;
        }
    }
    engine.synced_ahead(sync.run()).expect("synced");
    drop(engine);
    assert_agrees(&mut open(scratch.path(), settings), &records);
}
