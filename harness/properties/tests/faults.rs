//! Random histories can fail: every fault that can be seen in one thread's worth of steps is caught, by a short script.
//!
//! Each runs in an OS process of its own, since a fault is made in the whole process. Interleavings show the others: see
//! `harness/loom/tests/faults.rs`.

use crate::history::explore;
use std::process::Command;
use tenure_locks::{Fault, make};

/// How long the script may be: its setup, its lines, and what happens at the end of every history.
const LINES_MAX: usize = 12;

/// Enough for all of them, many times over.
const HISTORIES: u32 = 20_000;

/// What is caught; of all others, why not.
const CAUGHT: &[(Fault, Result<(), &str>)] = &[
    (Fault::LostWakeup, Ok(())),
    (Fault::WakerAfterLook, Err("nothing happens between")),
    (Fault::EntersRelaxed, Err("there is one OS thread")),
    (Fault::LeavesRelaxed, Err("there is one OS thread")),
    (Fault::LeavesBlindly, Ok(())),
    (Fault::TakesBackOpen, Ok(())),
    (Fault::ForgetsUser, Ok(())),
    (Fault::LeavesWithoutAdmitting, Ok(())),
    (Fault::OverlooksHandOver, Ok(())),
    (Fault::HandsOverBlindly, Err("nothing happens between")),
    (Fault::HandsOverRelaxed, Err("there is one OS thread")),
    (Fault::OverlooksLent, Ok(())),
    (Fault::LeaksWaiter, Ok(())),
    (Fault::KeepsUnwantedGrant, Ok(())),
    (Fault::PanicKeepsWrites, Err("nobody panics")),
    (Fault::HidesPoison, Ok(())),
    (Fault::TwoEntries, Err("nothing happens between")),
    (Fault::EntersLate, Err("nothing happens between")),
    (Fault::HandsOverUnowned, Err("nothing happens between")),
    (Fault::OutlivesLease, Ok(())),
    (Fault::ChangesBlindly, Err("nothing happens between")),
];

const FAULT: &str = "TENURE_FAULT";

#[test]
#[ignore = "run by faults_are_caught_by_short_scripts, in a process of its own"]
fn child() {
    let name = std::env::var(FAULT).expect("a fault");
    let fault = Fault::ALL.iter().find(|own| format!("{own:?}") == name);
    make(Some(*fault.expect("a known fault")));
    let failure = explore(HISTORIES, 1, false).expect_err("not caught");
    println!("{failure}");
    let lines = failure.script.len();
    assert!(lines <= LINES_MAX, "a script of {lines} lines is long");
    println!("{lines} lines"); // Said last, and only when all is well.
}

#[test]
fn faults_are_caught_by_short_scripts() {
    let own = std::env::current_exe().expect("this test has a path");
    for fault in Fault::ALL {
        let mut all = CAUGHT.iter();
        let (_, caught) = all
            .find(|(own, _)| own == fault)
            .unwrap_or_else(|| panic!("nobody says whether {fault:?} is caught"));
        if caught.is_err() {
            continue;
        }
        let child = Command::new(&own)
            .args(["--exact", "faults::child", "--ignored", "--nocapture"])
            .env(FAULT, format!("{fault:?}"))
            .output()
            .expect("a child can be started");
        let said = String::from_utf8_lossy(&child.stdout);
        println!("{fault:?}:{said}");
        let is_caught = child.status.success() && said.contains(" lines\n");
        assert!(
            is_caught,
            "{fault:?}: {}",
            String::from_utf8_lossy(&child.stderr)
        );
    }
}
