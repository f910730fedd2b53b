//! What each engine makes of a flipped byte in what a killed store has left, and of a disk that is full for a while.

use super::{handoff, open, whole};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use tenure_engine::Engine;
use tenure_protocol::{Record, SessionId};

const SESSIONS: usize = 40;
const FLIPS: usize = 200;

pub(crate) fn report(name: &str, root: &Path) {
    flips(name, root);
    full(name, root);
}

fn everything(engine: &mut dyn Engine) -> Option<Vec<(SessionId, Record)>> {
    let mut all: Vec<(SessionId, Record)> = Vec::new();
    loop {
        let after = all.last().map(|(session, _)| session.clone());
        let page = engine.page(after.as_ref(), 100).ok()?;
        if page.is_empty() {
            return Some(all);
        }
        all.extend(page);
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("a folder")
        .filter_map(Result::ok)
    {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let mut found = Vec::new();
    files(from, &mut found);
    for path in found {
        let target = to.join(path.strip_prefix(from).expect("inside"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        write(&target, &fs::read(path).expect("readable"));
    }
}

/// Leaves room that was set aside, and not used, to the file system: a copy costs what is in it.
fn write(path: &Path, bytes: &[u8]) {
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let written = File::create(path).and_then(|mut file| {
        file.write_all(&bytes[..used])?;
        file.set_len(bytes.len() as u64)
    });
    written.expect("written");
}

/// Flips one bit in the largest file's used part, anywhere but in its last tenth, and says what comes of it.
fn flips(name: &str, root: &Path) {
    let (folder, damaged) = (root.join("flips"), root.join("damaged"));
    let mut engine = open(name, &folder).expect("opens");
    engine.claim().expect("a claim");
    for at in 0..SESSIONS {
        engine.commit(&[whole(at)]).expect("commits");
    }
    for at in 0..SESSIONS {
        engine.commit(&handoff(at, 2)).expect("commits");
    }
    let expected = everything(&mut *engine).expect("readable");
    // A copy of a running engine's files, all of which are synced: what kill -9 leaves.
    copy(&folder, &root.join("left"));
    drop(engine);
    let mut found = Vec::new();
    files(&root.join("left"), &mut found);
    found.sort_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len()));
    let largest = found.pop().expect("a file");
    let bytes = fs::read(&largest).expect("readable");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("some") * 9 / 10;
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for flip in 0..FLIPS {
        copy(&root.join("left"), &damaged);
        let target = damaged.join(largest.strip_prefix(root.join("left")).expect("inside"));
        let mut bytes = bytes.clone();
        bytes[used * flip / FLIPS] ^= 1 << (flip % 8);
        write(&target, &bytes);
        let opened = catch_unwind(AssertUnwindSafe(|| {
            open(name, &damaged).map(|mut engine| everything(&mut *engine))
        }));
        let outcome = match opened {
            Err(_) => "panicked",
            Ok(Err(_)) => "refused at the start",
            Ok(Ok(None)) => "refused when read",
            Ok(Ok(Some(all))) if all == expected => "nothing changed",
            Ok(Ok(Some(all))) if all.iter().all(|one| expected.contains(one)) => {
                "LOST acknowledged sessions, said nothing"
            }
            Ok(Ok(Some(_))) => "gave OLD or WRONG records, said nothing",
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{name:>9} {FLIPS} flips: {outcomes:?}");
}

/// Fills a small disk, makes it larger, and goes on with the same engine.
fn full(name: &str, root: &Path) {
    let mount = |options: &str, folder: &Path| {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder)
            .status();
        mounted.is_ok_and(|mounted| mounted.success())
    };
    let folder = root.join("full");
    fs::create_dir_all(&folder).expect("made");
    // fjall sets 64 MiB aside for its journal.
    if !mount("size=80m", &folder) {
        println!("{name:>9} full disk: skipped, nothing can be mounted here");
        return;
    }
    let store = folder.join("store");
    let mut engine = open(name, &store).expect("opens");
    engine.claim().expect("a claim");
    let mut acknowledged = 0;
    let refusal = loop {
        match engine.commit(&[whole(acknowledged)]) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    println!("{name:>9} full disk, after {acknowledged} sessions: {refusal}");
    let remounted = Command::new("mount")
        .args(["-o", "remount,size=400m"])
        .arg(&folder)
        .status();
    assert!(remounted.is_ok_and(|remounted| remounted.success()));
    match engine.commit(&[whole(acknowledged)]) {
        Ok(()) => println!("{name:>9} with room again, the same engine: commits"),
        Err(error) => println!("{name:>9} with room again, the same engine: {error}"),
    }
    drop(engine);
    match open(name, &store).map(|mut engine| everything(&mut *engine).map(|all| all.len())) {
        Ok(count) => println!(
            "{name:>9} reopened: {count:?} of {acknowledged} acknowledged sessions, perhaps one more"
        ),
        Err(error) => println!("{name:>9} reopened: {error}"),
    }
    let _ = Command::new("umount").arg(&folder).status();
}
