//! Every fault that can be switched on in the lock manager is caught by the case that is named for it.
//!
//! Each runs in an OS process of its own: a deadlock that loom finds often ends the process.

mod cases;

use cases::{CASES, explore};
use std::process::Command;
use tenure_locks::{Fault, make};

/// Who catches what.
const CAUGHT: &[(Fault, &str)] = &[
    (Fault::LostWakeup, "hand_over"),
    (Fault::WakerAfterLook, "hand_over"),
    (Fault::EntersRelaxed, "lock_and_unlock"),
    (Fault::LeavesRelaxed, "lock_and_unlock"),
    (Fault::LeavesBlindly, "hand_over"),
    (Fault::TakesBackOpen, "recall_against_a_new_thread"),
    (Fault::ForgetsUser, "lock_and_unlock"),
    (Fault::LeaksWaiter, "drop_against_wake_up"),
    (Fault::KeepsUnwantedGrant, "cancel_against_grant"),
    (Fault::PanicKeepsWrites, "panic_inside"),
    (Fault::HidesPoison, "revoke_while_inside"),
    (Fault::TwoEntries, "two_handles_at_once"),
];

const FAULT: &str = "TENURE_FAULT";
const CASE: &str = "TENURE_CASE";

#[test]
#[ignore = "run by every_fault_is_caught, in a process of its own"]
fn child() {
    let named = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (fault, case) = (named(FAULT), named(CASE));
    let made = Fault::ALL.iter().find(|own| format!("{own:?}") == fault);
    make(Some(*made.expect("a fault")));
    explore(CASES.iter().find(|own| own.name == case).expect("a case"));
}

#[test]
fn every_fault_is_caught() {
    let own = std::env::current_exe().expect("this test has a path");
    for fault in Fault::ALL {
        let mut caught = CAUGHT.iter();
        let (_, case) = caught
            .find(|(own, _)| own == fault)
            .unwrap_or_else(|| panic!("{fault:?} is caught by nothing"));
        let child = Command::new(&own)
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .envs([(FAULT, format!("{fault:?}")), (CASE, (*case).to_owned())])
            .output()
            .expect("a child can be started");
        assert!(!child.status.success(), "{case} does not catch {fault:?}");
        let said = String::from_utf8_lossy(&child.stderr);
        let why = said
            .lines()
            .find(|line| !line.is_empty())
            .unwrap_or_default();
        println!("{fault:?}: caught by {case}: {why}");
        assert!(
            !said.contains("is not set") && !said.contains("a fault"),
            "{said}"
        );
    }
}
