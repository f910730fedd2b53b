//! Tests with random histories: after any commits and reopenings, an engine has the same contents as [`Records`].

use super::{apply, assert_agrees, change, head, open, scratch, session, small};
use crate::{Embedded, Engine, Health, Level, Memory, Settings};
use proptest::prelude::*;
use std::path::Path;
use tenure_protocol::{Delta, Records, Update};

#[derive(Clone, Debug)]
enum Act {
    Commit(Vec<Update>),
    Reopen,
    Claim,
    Flush,
}

fn update() -> impl Strategy<Value = Update> {
    let value = proptest::option::weighted(0.6, proptest::collection::vec(any::<u8>(), 0..60));
    let changes = proptest::collection::vec((0..24_usize, value), 0..12);
    let number = 0..6_usize;
    let sequence = 1..1000_u64;
    prop_oneof![
        8 => (number.clone(), sequence.clone(), any::<bool>(), changes).prop_map(
            |(number, sequence, is_held, changes)| Update::Put {
                session: session(number),
                head: head(sequence, is_held),
                delta: changes
                    .into_iter()
                    .map(|(name, value)| change(name, value.as_deref()))
                    .collect(),
                is_whole: false,
            }
        ),
        4 => (number.clone(), sequence.clone()).prop_map(|(number, sequence)| Update::Put {
            session: session(number),
            head: head(sequence, true),
            delta: Delta::default(),
            is_whole: false,
        }),
        1 => number.clone().prop_map(|number| Update::Remove { session: session(number) }),
        2 => (number.clone(), number, sequence).prop_map(|(from, to, sequence)| Update::Rename {
            from: session(from),
            to: session(to),
            head: head(sequence, true),
        }),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => proptest::collection::vec(update(), 0..5).prop_map(Act::Commit),
        2 => Just(Act::Reopen),
        1 => Just(Act::Claim),
        1 => Just(Act::Flush),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (60..2000_u64, 0..4_usize, 110..300_u64, any::<bool>()).prop_map(
        |(segment_bytes, deltas_max, log_percent_max, is_buffered)| Settings {
            level: if is_buffered {
                Level::Buffered
            } else {
                Level::Durable
            },
            segment_bytes,
            deltas_max,
            log_percent_max,
            ..small()
        },
    )
}

/// Marks each put that contains every attribute of its record, as the store's machine does.
fn marked(before: &Records, mut batch: Vec<Update>) -> Vec<Update> {
    let mut records = before.clone();
    for update in &mut batch {
        records.apply(update);
        if let Update::Put {
            session,
            delta,
            is_whole,
            ..
        } = update
        {
            let record = records.get(session).expect("a put makes a record");
            let names = record.attributes().iter().map(|attribute| &attribute.name);
            let changed = delta.changes().iter().map(|change| &change.name);
            *is_whole = !delta.is_empty() && names.eq(changed);
        }
    }
    batch
}

fn play(folder: &Path, settings: &Settings, acts: Vec<Act>) {
    let mut records = Records::default();
    let mut engine = open(folder, settings.clone());
    let mut epoch = engine.claim().expect("a claim");
    for act in acts {
        match act {
            Act::Commit(batch) => {
                let batch = marked(&records, batch);
                engine.commit(&batch).expect("commits");
                apply(&mut records, &batch);
            }
            Act::Reopen => {
                drop(engine);
                engine = Embedded::open(folder, settings.clone()).expect("opens");
                assert_agrees(&mut engine, &records);
                let next = engine.claim().expect("a claim");
                assert!(next > epoch);
                epoch = next;
            }
            Act::Claim => {
                let next = engine.claim().expect("a claim");
                assert!(next > epoch);
                epoch = next;
            }
            Act::Flush => engine.flush().expect("flushes"),
        }
        assert_agrees(&mut engine, &records);
        assert_eq!(engine.usage().damage, None);
    }
    let usage = engine.usage();
    drop(engine);
    let mut engine = open(folder, settings.clone());
    assert_agrees(&mut engine, &records);
    let again = engine.usage();
    assert_eq!(
        (again.sessions, again.segments, again.log_bytes),
        (usage.sessions, usage.segments, usage.log_bytes)
    );
}

proptest! {
    #[test]
    fn the_embedded_engine_has_the_same_contents_as_records(
        settings in settings(),
        acts in proptest::collection::vec(act(), 0..40),
    ) {
        play(scratch().path(), &settings, acts);
    }

    #[test]
    fn the_memory_engine_has_the_same_contents_as_records(
        batches in proptest::collection::vec(proptest::collection::vec(update(), 0..5), 0..20),
    ) {
        let mut records = Records::default();
        let mut engine = Memory::new();
        engine.claim().expect("a claim");
        for batch in batches {
            engine.set_health(Health::Full);
            if !batch.is_empty() {
                engine.commit(&batch).expect_err("no room");
            }
            engine.set_health(Health::Well);
            engine.commit(&batch).expect("commits");
            apply(&mut records, &batch);
            assert_agrees(&mut engine, &records);
        }
        prop_assert_eq!(engine.records(), records);
    }
}
