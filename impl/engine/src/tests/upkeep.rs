//! Tests of compaction: the log stays short, and deleting segments loses no record.

use super::{
    apply, assert_agrees, change, claimed, copy, head, open, put, put_bytes, scratch, segments,
    session, small,
};
use crate::{Embedded, Engine, Level, Settings};
use std::fs;
use tenure_protocol::{Records, Update};

fn tight() -> Settings {
    Settings {
        segment_bytes: 4 << 10,
        ..Settings::default()
    }
}

#[test]
fn the_log_stays_short_under_repeated_commits() {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), tight());
    let mut records = Records::default();
    for sequence in 1..3000_usize {
        let number = if sequence % 10 == 0 {
            sequence % 50
        } else {
            60 + sequence % 7
        };
        let batch = [put(
            number,
            sequence as u64,
            [change(sequence % 3, Some(&[7; 100]))],
        )];
        engine.commit(&batch).expect("commits");
        apply(&mut records, &batch);
        let usage = engine.usage();
        assert!(
            usage.log_bytes <= usage.live_bytes * 3 + 4 * (4 << 10),
            "{usage:?}"
        );
    }
    assert_agrees(&mut engine, &records);
    let usage = engine.usage();
    let bytes: u64 = segments(scratch.path())
        .iter()
        .map(|path| fs::metadata(path).expect("a file").len())
        .sum();
    // The last segment's file is longer than its contents.
    assert!(
        (usage.log_bytes..=usage.log_bytes + 300).contains(&bytes),
        "{bytes} {usage:?}"
    );
    drop(engine);
    let mut engine = open(scratch.path(), tight());
    assert_agrees(&mut engine, &records);
    assert_eq!(engine.usage(), usage);
}

#[test]
fn repeated_claims_do_not_accumulate_segments() {
    let scratch = scratch();
    for sequence in 1..200_u64 {
        let mut engine = claimed(scratch.path(), Settings::default());
        engine
            .commit(&[put_bytes(1, sequence, 10)])
            .expect("commits");
        assert!(engine.usage().segments < 70);
    }
    assert!(segments(scratch.path()).len() < 70);
}

/// Such a put needs no earlier entry, so nothing is read back, and the next commit has nothing to compact.
#[test]
fn a_put_of_every_attribute_begins_a_new_chain() {
    let scratch = scratch();
    let settings = Settings {
        level: Level::Buffered,
        ..Settings::default()
    };
    let mut engine = claimed(scratch.path(), settings.clone());
    let mut records = Records::default();
    for sequence in 1..100 {
        let mut update = put_bytes(1, sequence, 2000);
        if let Update::Put { is_whole, .. } = &mut update {
            *is_whole = true;
        }
        let batch = [update, put(1, sequence + 1, [])];
        engine.commit(&batch).expect("commits");
        apply(&mut records, &batch);
        assert!(engine.commits_at_once());
        assert!(engine.usage().live_bytes < 2_100);
    }
    assert_agrees(&mut engine, &records);
    let usage = engine.usage();
    drop(engine);
    let mut engine = open(scratch.path(), settings);
    assert_agrees(&mut engine, &records);
    assert_eq!(engine.usage(), usage);
}

#[test]
fn a_chain_of_deltas_stays_short() {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), Settings::default());
    engine.commit(&[put_bytes(1, 1, 2000)]).expect("commits");
    for sequence in 2..100 {
        let delta = [change(1, Some(&[1; 10]))];
        engine.commit(&[put(1, sequence, delta)]).expect("commits");
        assert!(engine.usage().live_bytes < 2100 + 18 * 60);
    }
}

/// A segment whose deletion was lost in a crash, or that reappears, changes nothing.
#[test]
fn a_crash_before_a_segment_is_deleted_changes_nothing() {
    let scratch = scratch();
    let mut records = Records::default();
    let mut kept = Vec::new();
    let mut engine = claimed(scratch.path(), small());
    for sequence in 1..60_usize {
        let batch = match sequence % 6 {
            5 => vec![Update::Remove {
                session: session(sequence % 4),
            }],
            4 => vec![Update::Rename {
                from: session(sequence % 4),
                to: session((sequence + 1) % 4),
                head: head(sequence as u64, true),
            }],
            _ => vec![put_bytes(sequence % 4, sequence as u64, 60)],
        };
        for path in segments(scratch.path()) {
            let bytes = fs::read(&path).expect("readable");
            kept.retain(|(known, _)| *known != path);
            kept.push((path, bytes));
        }
        engine.commit(&batch).expect("commits");
        apply(&mut records, &batch);
    }
    drop(engine);
    let first = segments(scratch.path()).remove(0);
    let gone: Vec<_> = kept.iter().filter(|(path, _)| *path < first).collect();
    assert!(gone.len() > 5);
    // Restore the deleted segments, beginning with the newest.
    for (at, _) in gone.iter().enumerate() {
        let copy = copy(scratch.path());
        for (path, bytes) in &gone[at..] {
            let name = path.file_name().expect("a name");
            fs::write(copy.path().join(name), bytes).expect("written");
        }
        let mut engine = open(copy.path(), small());
        assert_agrees(&mut engine, &records);
        engine.claim().expect("a claim");
        assert_agrees(&mut engine, &records);
        assert_eq!(segments(copy.path())[0].file_name(), first.file_name());
    }
}

#[test]
fn an_unreadable_record_stops_compaction_but_not_commits() {
    let scratch = scratch();
    let mut engine = claimed(scratch.path(), tight());
    engine.commit(&[put_bytes(1, 7, 500)]).expect("commits");
    let path = segments(scratch.path()).remove(0);
    let mut bytes = fs::read(&path).expect("readable");
    let last = usize::try_from(engine.usage().log_bytes).expect("small") - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).expect("written");
    for sequence in 1..100 {
        engine
            .commit(&[put_bytes(2, sequence, 500)])
            .expect("commits");
    }
    let damage = engine.usage().damage.expect("damage");
    assert!(
        damage.contains("0000000001.log: corrupt at byte"),
        "{damage}"
    );
    assert!(path.exists());
}

#[test]
fn only_a_buffered_commit_without_sync_and_compaction_is_made_at_once() {
    let scratch = scratch();
    let durable = claimed(&scratch.path().join("durable"), Settings::default());
    assert!(!durable.commits_at_once());
    let settings = Settings {
        level: Level::Buffered,
        segment_bytes: 2 << 10,
        deltas_max: 2,
        ..Settings::default()
    };
    let mut engine = claimed(&scratch.path().join("buffered"), settings);
    let mut sequence = 0;
    let mut commit = |engine: &mut Embedded, number| {
        sequence += 1;
        let batch = [put(number, sequence, [change(0, Some(&[7; 100]))])];
        engine.commit(&batch).expect("commits");
    };
    // The third delta makes the chain too long. The commit after that writes the record whole.
    for at_once in [true, true, true, true, false, true] {
        assert_eq!(engine.commits_at_once(), at_once);
        commit(&mut engine, 1);
    }
    // Different sessions fill the segment without compaction. The next commit begins a segment.
    let segments_before = segments(&scratch.path().join("buffered")).len();
    for number in 10.. {
        if !engine.commits_at_once() {
            commit(&mut engine, number);
            break;
        }
        commit(&mut engine, number);
    }
    let segments_after = segments(&scratch.path().join("buffered")).len();
    assert_eq!(segments_after, segments_before + 1);
}
