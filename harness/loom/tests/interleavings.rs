//! Explores every interleaving of two or three threads that use the lock manager, up to a stated number of preemptions.
//!
//! loom silently ends with success when it runs out of permutations, time or branches. So these tests set no bound but
//! the number of preemptions. Each test counts the interleavings that it has explored, and fails if there are fewer
//! than known to exist. So a test that was cut short, or that lost its threads, does not pass.
//!
//! `mutants.rs` runs the same scenes with each mutant, and checks which scene kills which mutant.

mod cases;

use cases::{CASES, explore};

macro_rules! tests {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                let case = CASES.iter().find(|case| case.name == stringify!($name)).expect("a case");
                explore(case);
            }
        )+

        #[test]
        fn every_case_is_a_test() {
            let tests = [$(stringify!($name)),+];
            let cases: Vec<&str> = CASES.iter().map(|case| case.name).collect();
            assert_eq!(cases, tests);
        }
    };
}

tests! {
    lock_and_unlock
    lock_and_unlock_three
    handoff
    several_attributes
    recall_while_inside
    recall_against_a_new_thread
    handoff_against_recall
    handoff_against_deadline
    handoff_against_revoke
    handoff_against_look
    limit_against_a_new_thread
    handoff_against_cycle
    cancel_against_grant
    drop_against_wake_up
    revoke_while_inside
    revoke_against_a_new_thread
    lease_against_a_cached_lock
    two_handles_at_once
    panic_inside
    sweep_against_a_lock_by_id
    sweep_against_a_handoff_by_id
    sweep_after_a_handoff_by_id
    recall_against_a_lock_by_id
    retire_against_a_lock_by_id
}
