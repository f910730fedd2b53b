//! Random histories can fail: every mutant that can be seen in one thread's worth of steps is killed, by a short script.
//!
//! Each runs in an OS process of its own, since a mutant is planted in the whole process. Interleavings show the others: see
//! `harness/loom/tests/mutants.rs`.

use crate::history::explore;
use std::process::Command;
use tenure_locks::{LockMutant, plant};

/// How long the script may be: its setup, its lines, and what happens at the end of every history.
const LINES_MAX: usize = 12;

/// Enough for all of them, many times over.
const HISTORIES: u32 = 20_000;

/// What is killed; of all others, why not.
const KILLED: &[(LockMutant, Result<(), &str>)] = &[
    (LockMutant::LostWakeup, Ok(())),
    (LockMutant::WakerAfterLook, Err("nothing happens between")),
    (LockMutant::EntersRelaxed, Err("there is one OS thread")),
    (LockMutant::LeavesRelaxed, Err("there is one OS thread")),
    (LockMutant::LeavesBlindly, Ok(())),
    (LockMutant::ReattachesOpen, Ok(())),
    (LockMutant::ForgetsUser, Ok(())),
    (LockMutant::LeavesWithoutAdmitting, Ok(())),
    (LockMutant::OverlooksHandoff, Ok(())),
    (LockMutant::HandsOffBlindly, Err("nothing happens between")),
    (LockMutant::HandsOffRelaxed, Err("there is one OS thread")),
    (LockMutant::OverlooksDetached, Ok(())),
    (LockMutant::LeaksWaiter, Ok(())),
    (LockMutant::KeepsUnwantedGrant, Ok(())),
    (LockMutant::PanicKeepsWrites, Err("nobody panics")),
    (LockMutant::HidesPoison, Ok(())),
    (LockMutant::TwoEntries, Err("nothing happens between")),
    (LockMutant::EntersLate, Err("nothing happens between")),
    (LockMutant::HandsOffUnowned, Err("nothing happens between")),
    (LockMutant::OutlivesLease, Ok(())),
    (LockMutant::ChangesBlindly, Err("nothing happens between")),
];

const MUTANT: &str = "TENURE_MUTANT";

#[test]
#[ignore = "run by each_visible_mutant_is_killed_by_a_short_script, in a process of its own"]
fn child() {
    let name = std::env::var(MUTANT).expect("the name of a mutant");
    let mutant = LockMutant::ALL
        .iter()
        .find(|own| format!("{own:?}") == name);
    plant(Some(*mutant.expect("a known mutant")));
    let failure = explore(HISTORIES, 1, false).expect_err("not killed");
    println!("{failure}");
    let lines = failure.script.len();
    assert!(lines <= LINES_MAX, "a script of {lines} lines is long");
    println!("{lines} lines"); // Said last, and only when all is well.
}

#[test]
fn each_visible_mutant_is_killed_by_a_short_script() {
    let own = std::env::current_exe().expect("this test has a path");
    for mutant in LockMutant::ALL {
        let mut all = KILLED.iter();
        let (_, killed) = all
            .find(|(own, _)| own == mutant)
            .unwrap_or_else(|| panic!("nobody says whether {mutant:?} is killed"));
        if killed.is_err() {
            continue;
        }
        let child = Command::new(&own)
            .args(["--exact", "mutants::child", "--ignored", "--nocapture"])
            .env(MUTANT, format!("{mutant:?}"))
            .output()
            .expect("a child can be started");
        let said = String::from_utf8_lossy(&child.stdout);
        println!("{mutant:?}:{said}");
        let is_killed = child.status.success() && said.contains(" lines\n");
        assert!(
            is_killed,
            "{mutant:?}: {}",
            String::from_utf8_lossy(&child.stderr)
        );
    }
}
