//! Tests of backups: a copy of a store, running or stopped, works as a store.

use super::{apply, assert_agrees, claimed, open, put_bytes, scratch, small};
use crate::{BACKUP_EPOCHS, Engine, EngineError, Settings, backup};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use tenure_protocol::Records;

#[test]
fn a_copy_of_a_stopped_store_has_the_same_records() {
    let scratch = scratch();
    let (folder, target) = (scratch.path().join("store"), scratch.path().join("copy"));
    let mut records = Records::default();
    let mut engine = claimed(&folder, small());
    for sequence in 1..50 {
        let batch = [put_bytes(sequence % 7, sequence as u64, 40)];
        engine.commit(&batch).expect("commits");
        apply(&mut records, &batch);
    }
    drop(engine);
    let copied = backup(&folder, &target).expect("copied");
    assert!(copied.segments > 1);
    let mut engine = open(&target, small());
    assert_agrees(&mut engine, &records);
    assert_eq!(engine.claim().expect("a claim"), 2 + BACKUP_EPOCHS);
    assert!(matches!(
        backup(&folder, &target),
        Err(EngineError::Foreign { .. })
    ));
    assert!(matches!(
        backup(&scratch.path().join("copy2"), &folder),
        Err(EngineError::Io { .. })
    ));
}

#[test]
fn a_backup_of_a_damaged_store_fails() {
    let scratch = scratch();
    let (folder, target) = (scratch.path().join("store"), scratch.path().join("copy"));
    let mut engine = claimed(&folder, Settings::default());
    engine.commit(&[put_bytes(1, 1, 40)]).expect("commits");
    engine.commit(&[put_bytes(2, 2, 40)]).expect("commits");
    drop(engine);
    let path = super::segments(&folder).remove(0);
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[80] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    assert!(matches!(
        backup(&folder, &target),
        Err(EngineError::Corrupt { .. })
    ));
    // The unfinished copy is not a store's data folder.
    let begun = crate::Embedded::open(&target, Settings::default());
    assert!(begun.is_ok_and(|engine| engine.usage().sessions == 0));
}

/// Sessions 0, 1, 2, ... receive the same sequence number one after the other. A consistent copy has no gap in the
/// sequence, and contains at least the commits acknowledged before it began.
#[test]
fn a_copy_of_a_running_store_is_consistent() {
    const SESSIONS: u64 = 8;
    let scratch = scratch();
    let folder = scratch.path().join("store");
    let settings = Settings {
        segment_bytes: 8 << 10,
        ..Settings::default()
    };
    let mut engine = claimed(&folder, settings.clone());
    let (acknowledged, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sequence = 0;
            while !is_over.load(Ordering::SeqCst) {
                sequence += 1;
                let number = usize::try_from(sequence % SESSIONS).expect("small");
                engine
                    .commit(&[put_bytes(number, sequence, 300)])
                    .expect("commits");
                acknowledged.store(sequence, Ordering::SeqCst);
            }
        });
        for number in 0..20 {
            while acknowledged.load(Ordering::SeqCst) < (number + 1) * 40 {
                thread::yield_now();
            }
            let before = acknowledged.load(Ordering::SeqCst);
            let target = scratch.path().join(format!("copy-{number}"));
            backup(&folder, &target).expect("copied");
            let mut copy = open(&target, settings.clone());
            let mut sequences: Vec<u64> = copy
                .heads(None, 100)
                .expect("heads")
                .iter()
                .map(|(_, head)| head.version.0.sequence)
                .collect();
            sequences.sort_unstable();
            let last = *sequences.last().expect("some");
            assert!(last >= before, "{last} {before}");
            let expected: Vec<u64> = (last + 1 - SESSIONS..=last).collect();
            assert_eq!(sequences, expected);
        }
        is_over.store(true, Ordering::SeqCst);
    });
}
