//! Tests of the fence: every claim raises the epoch, and an earlier claimant can commit nothing.

use super::{apply, assert_agrees, claimed, open, put_bytes, scratch, segments, small};
use crate::embedded::folder::tests::IS_LOCK_IGNORED;
use crate::{Embedded, Engine, EngineError, Health, Memory, Outcome, Settings};
use std::fs;
use tenure_protocol::Records;

fn is_fenced(result: Result<(), EngineError>, claimed: u64, current: u64) -> bool {
    matches!(result, Err(EngineError::Fenced { claimed: c, current: n }) if (c, n) == (claimed, current))
}

#[test]
fn every_claim_raises_the_epoch() {
    let scratch = scratch();
    for epoch in (1..20).step_by(2) {
        let mut engine = open(scratch.path(), Settings::default());
        assert_eq!(engine.claim().expect("a claim"), epoch);
        assert_eq!(engine.claim().expect("another"), epoch + 1);
    }
    // The epoch also rises if the claim file is damaged or missing, because the segments contain it.
    fs::write(scratch.path().join("claim"), "x").expect("written");
    assert_eq!(open(scratch.path(), small()).claim().expect("a claim"), 21);
    fs::remove_file(scratch.path().join("claim")).expect("removed");
    assert_eq!(open(scratch.path(), small()).claim().expect("a claim"), 22);
}

#[test]
fn a_commit_without_a_claim_is_refused() {
    let scratch = scratch();
    let mut engine = open(scratch.path(), Settings::default());
    let refused = engine.commit(&[put_bytes(1, 1, 1)]);
    assert!(matches!(refused, Err(EngineError::Unclaimed)));
    let refused = Memory::new().commit(&[]);
    assert!(matches!(refused, Err(EngineError::Unclaimed)));
}

/// The fence works even where locks do not work or the lock file is deleted.
#[test]
fn an_earlier_claimant_is_fenced() {
    IS_LOCK_IGNORED.set(true);
    for settings in [small(), Settings::default()] {
        let scratch = scratch();
        let mut records = Records::default();
        let mut old = claimed(scratch.path(), settings.clone());
        let batch = [put_bytes(1, 1, 50)];
        old.commit(&batch).expect("commits");
        apply(&mut records, &batch);
        let mut new = claimed(scratch.path(), settings.clone());
        assert!(is_fenced(old.commit(&[]), 1, 2));
        assert!(is_fenced(old.commit(&[put_bytes(1, 2, 50)]), 1, 2));
        assert!(is_fenced(old.claim().map(drop), 1, 2));
        let batch = [put_bytes(2, 3, 50)];
        new.commit(&batch).expect("commits");
        apply(&mut records, &batch);
        drop(old);
        drop(new);
        assert_agrees(&mut open(scratch.path(), settings), &records);
    }
    IS_LOCK_IGNORED.set(false);
}

/// The earlier claimant was paused after it had checked its claim, and continues to write after another claimant has
/// taken over.
#[test]
fn writes_of_an_earlier_claimant_are_void() {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), Settings::default());
    engine.commit(&[put_bytes(1, 1, 50)]).expect("commits");
    let path = segments(scratch.path()).remove(0);
    let before = fs::read(&path).expect("readable");
    engine.commit(&[put_bytes(2, 2, 50)]).expect("commits");
    let after = fs::read(&path).expect("readable");
    drop(engine);
    fs::write(&path, before).expect("written");
    let mut engine = claimed(scratch.path(), Settings::default());
    fs::write(&path, after).expect("written");
    engine.commit(&[put_bytes(3, 3, 50)]).expect("commits");
    drop(engine);
    let mut engine = open(scratch.path(), Settings::default());
    let found = engine.heads(None, 9).expect("heads");
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|(id, _)| *id != super::session(2)));
}

#[test]
fn a_claimant_whose_lock_file_was_deleted_is_fenced() {
    let scratch = scratch();
    let mut old = claimed(scratch.path(), Settings::default());
    fs::remove_file(scratch.path().join("claim")).expect("removed");
    assert!(is_fenced(old.commit(&[put_bytes(1, 1, 1)]), 1, 0));
    assert_eq!(
        claimed(scratch.path(), small()).claim().expect("a claim"),
        3
    );
}

#[test]
fn a_second_store_on_the_same_folder_is_refused() {
    let scratch = scratch();
    let engine = open(scratch.path(), Settings::default());
    let second = Embedded::open(scratch.path(), Settings::default()).expect_err("locked");
    assert!(matches!(&second, EngineError::Locked { folder } if folder == scratch.path()));
    assert!(
        second
            .to_string()
            .contains(&*scratch.path().to_string_lossy())
    );
    drop(engine);
    open(scratch.path(), Settings::default());
}

#[test]
fn the_memory_engine_fences_and_fails_as_set() {
    let mut old = Memory::new();
    assert_eq!(old.claim().expect("a claim"), 1);
    let mut new = old.clone();
    assert!(matches!(new.commit(&[]), Err(EngineError::Unclaimed)));
    assert_eq!(new.claim().expect("a claim"), 2);
    assert!(is_fenced(old.commit(&[]), 1, 2));
    for (health, has_it) in [(Health::Failing, true), (Health::Losing, false)] {
        new.set_health(health);
        let number = usize::from(has_it);
        let unknown = new.commit(&[put_bytes(number, 1, 1)]).expect_err("fails");
        assert_eq!(unknown.outcome(), Outcome::Unknown);
        assert!(matches!(new.commit(&[]), Err(EngineError::Broken)));
        new = new.clone();
        new.claim().expect("reopened");
        let loaded = new.load(&super::session(number)).expect("loads");
        assert_eq!(loaded.is_some(), has_it);
    }
    assert_eq!(new.commits(), 1);
}
