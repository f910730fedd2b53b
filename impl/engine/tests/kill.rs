//! Kills a store's process with kill -9 while it commits, again and again. Every batch that the process acknowledged is
//! recovered whole and in order, and the epoch rises.
//!
//! The killed process is this test binary, started again. It prints each acknowledged batch on its standard output.

use bytes::Bytes;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, thread};
use tenure_engine::{Embedded, Engine, Level, Settings};
use tenure_protocol::attributes::{Change, Head};
use tenure_protocol::{AttributeName, SessionId, Stamp, Update, Version};

const FOLDER: &str = "TENURE_ENGINE_KILL_FOLDER";
const LEVEL: &str = "TENURE_ENGINE_KILL_LEVEL";
const SESSIONS: u64 = 16;
const KILLS: u64 = 20;

fn settings(level: &str) -> Settings {
    Settings {
        level: if level == "buffered" {
            Level::Buffered
        } else {
            Level::Durable
        },
        segment_bytes: 64 << 10,
        deltas_max: 3,
        ..Settings::default()
    }
}

fn session(number: u64) -> SessionId {
    SessionId::new(format!("s{number}")).expect("a short name")
}

/// Returns the value that a batch writes: a long value that contains the batch's number.
fn value(batch: u64) -> Bytes {
    Bytes::from(batch.to_be_bytes().repeat(100))
}

/// Returns the updates of a batch. A batch writes two sessions, and the next batch begins with the second of them.
fn updates(batch: u64) -> [Update; 2] {
    [batch, batch + 1].map(|number| Update::Put {
        session: session(number % SESSIONS),
        head: Head {
            version: Version(Stamp {
                epoch: 1,
                sequence: batch,
            }),
            ..Head::default()
        },
        delta: [Change {
            name: AttributeName::from_static("batch"),
            value: Some(value(batch)),
        }]
        .into_iter()
        .collect(),
        is_whole: number % 2 == 0,
    })
}

/// Returns the last recovered batch, after checking that all earlier batches and no part of a later one are there.
fn last_batch(engine: &mut Embedded) -> u64 {
    let page = engine.page(None, 1000).expect("a page");
    let versions = page
        .iter()
        .map(|(_, record)| record.head.version.0.sequence);
    let last = versions.max().unwrap_or(0);
    for (id, record) in &page {
        let written = record.head.version.0.sequence;
        let name = AttributeName::from_static("batch");
        assert_eq!(record.value(&name), Some(&value(written)));
        let expected = (1..=last).rev().find(|batch| {
            updates(*batch)
                .iter()
                .any(|update| matches!(update, Update::Put { session, .. } if session == id))
        });
        assert_eq!(Some(written), expected, "{id}");
    }
    last
}

/// The program of the killed process, not a test.
#[test]
fn committing() {
    let (Ok(folder), Ok(level)) = (env::var(FOLDER), env::var(LEVEL)) else {
        return;
    };
    let mut engine = Embedded::open(Path::new(&folder), settings(&level)).expect("opens");
    let epoch = engine.claim().expect("a claim");
    let mut batch = last_batch(&mut engine);
    let mut out = std::io::stdout().lock();
    writeln!(out, "epoch {epoch}").expect("told");
    loop {
        batch += 1;
        engine.commit(&updates(batch)).expect("commits");
        writeln!(out, "batch {batch}").expect("told");
    }
}

fn kill_again_and_again(level: &str) {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("store");
    let (mut epoch, mut acknowledged) = (0, 0);
    for kill in 0..KILLS {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(["committing", "--exact", "--nocapture", "--test-threads=1"])
            .env(FOLDER, &folder)
            .env(LEVEL, level)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let reader = thread::spawn(move || {
            let (mut epoch, mut batch) = (None, None);
            for line in out.lines().map_while(Result::ok) {
                // The test runner's own output may precede the program's.
                let number = |key: &str| {
                    line.split_once(key)
                        .and_then(|(_, rest)| rest.parse::<u64>().ok())
                };
                epoch = number("epoch ").max(epoch);
                batch = number("batch ").max(batch);
            }
            (epoch, batch)
        });
        // Kill at another point each time, first while the process opens and claims.
        thread::sleep(Duration::from_millis(5 + kill * kill));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let (claimed, batch) = reader.join().expect("read");
        if let Some(claimed) = claimed {
            assert!(claimed > epoch);
            epoch = claimed;
        }
        acknowledged = batch.unwrap_or(acknowledged);
        let mut engine = Embedded::open(&folder, settings(level)).expect("opens");
        assert!(last_batch(&mut engine) >= acknowledged, "kill {kill}");
    }
    assert!(acknowledged > 100, "{acknowledged}");
    let mut engine = Embedded::open(&folder, settings(level)).expect("opens");
    assert!(engine.claim().expect("a claim") > epoch);
}

#[test]
fn kill_9_loses_no_batch_that_was_acknowledged_as_durable() {
    kill_again_and_again("durable");
}

#[test]
fn kill_9_loses_no_batch_that_was_acknowledged_as_buffered() {
    kill_again_and_again("buffered");
}
