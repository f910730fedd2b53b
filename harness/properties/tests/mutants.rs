//! Checks that random histories can fail: every mutant that shows in a sequential history is killed by a short script.
//!
//! Each mutant runs in its own OS process, since a mutant is planted in the whole process. The other mutants show only
//! in interleavings: see `harness/loom/tests/mutants.rs`.

use crate::history::explore;
use std::process::Command;
use tenure_locks::{LockMutant, plant};

/// The maximum length of a script: its setup, its lines, and the end that every history has.
const LINES_MAX: usize = 12;

/// The number of histories for each mutant, several times as many as needed.
const HISTORIES: u32 = 20_000;

/// The mutants that are killed, and for all others the reason why they are not.
const KILLED: &[(LockMutant, Result<(), &str>)] = &[
    (LockMutant::LostWakeup, Ok(())),
    (
        LockMutant::WakerAfterLook,
        Err("no other operation can happen in between"),
    ),
    (
        LockMutant::EntersRelaxed,
        Err("the history runs on one OS thread"),
    ),
    (
        LockMutant::LeavesRelaxed,
        Err("the history runs on one OS thread"),
    ),
    (LockMutant::LeavesBlindly, Ok(())),
    (LockMutant::ReattachesOpen, Ok(())),
    (LockMutant::ForgetsUser, Ok(())),
    (LockMutant::LeavesWithoutAdmitting, Ok(())),
    (LockMutant::OverlooksHandoff, Ok(())),
    (
        LockMutant::HandsOffBlindly,
        Err("no other operation can happen in between"),
    ),
    (
        LockMutant::HandsOffRelaxed,
        Err("the history runs on one OS thread"),
    ),
    (LockMutant::OverlooksDetached, Ok(())),
    (LockMutant::LeaksWaiter, Ok(())),
    (LockMutant::KeepsUnwantedGrant, Ok(())),
    (LockMutant::PanicKeepsWrites, Err("nobody panics")),
    (LockMutant::HidesPoison, Ok(())),
    (
        LockMutant::TwoEntries,
        Err("no other operation can happen in between"),
    ),
    (
        LockMutant::EntersLate,
        Err("no other operation can happen in between"),
    ),
    (
        LockMutant::HandsOffUnowned,
        Err("no other operation can happen in between"),
    ),
    (LockMutant::OutlivesLease, Ok(())),
    (
        LockMutant::ChangesBlindly,
        Err("no other operation can happen in between"),
    ),
];

const MUTANT: &str = "TENURE_MUTANT";

#[test]
#[ignore = "run by each_visible_mutant_is_killed_by_a_short_script, in a process of its own"]
fn child() {
    let name =
        std::env::var(MUTANT).expect("the parent test sets this variable to the name of a mutant");
    let mutant = LockMutant::ALL
        .iter()
        .find(|own| format!("{own:?}") == name);
    plant(Some(
        *mutant.expect("the parent test passes the name of a known mutant"),
    ));
    let failure = explore(HISTORIES, 1, false).expect_err("not killed");
    println!("{failure}");
    let lines = failure.script.len();
    assert!(
        lines <= LINES_MAX,
        "the script has {lines} lines, more than LINES_MAX"
    );
    println!("{lines} lines"); // Printed last, and only after a success.
}

#[test]
fn each_visible_mutant_is_killed_by_a_short_script() {
    let own = std::env::current_exe().expect("this test has a path");
    for mutant in LockMutant::ALL {
        let mut all = KILLED.iter();
        let (_, killed) = all
            .find(|(own, _)| own == mutant)
            .unwrap_or_else(|| panic!("the list does not contain {mutant:?}"));
        if killed.is_err() {
            continue;
        }
        let child = Command::new(&own)
            .args(["--exact", "mutants::child", "--ignored", "--nocapture"])
            .env(MUTANT, format!("{mutant:?}"))
            .output()
            .expect("the OS starts the child");
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
