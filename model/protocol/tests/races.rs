//! The twelve races of the design, as the machines run them: the pictures of `docs/src/protocol/races.md`.
//!
//! Each is a script that leads into the race. What must not happen then is said by the rules that the page names; here it is
//! pinned what does happen. `UPDATE_BOOK=1 cargo test -p tenure-protocol --test races` draws the pictures anew.

mod support;

use support::Setup;
use support::book::assert_shows;
use support::chart::chart;

fn shows_with(race: &str, setup: Setup, script: &str) {
    let picture = chart(setup, ["p", "q"], script);
    let text = format!("```text\n{picture}```\n");
    assert_shows("protocol/races.md", race, &text);
}

fn shows(race: &str, script: &str) {
    shows_with(race, Setup::default(), script);
}

#[test]
fn the_holder_dies_after_the_recall() {
    shows(
        "holder-dies",
        "p.1 lock s a
         settle
         q.1 lock s a
         settle
         p cut
         p send
         wait 9000
         q tick
         settle
         wait 1000
         store tick
         q get",
    );
}

#[test]
fn a_release_from_a_replaced_connection() {
    shows(
        "replaced-connection",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 unlock s a
         p release s
         p connect
         p send late
         p send
         p get
         q.1 lock s a
         q send
         p send
         settle",
    );
}

#[test]
fn a_request_crosses_its_grant() {
    shows(
        "request-crosses-grant",
        "p.1 lock s a
         p send
         wait 2000
         p tick
         p get
         p send
         p get
         p.1 unlock s a",
    );
}

#[test]
fn a_try_and_a_kept_grant() {
    shows(
        "try-and-kept",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 unlock s a
         q.1 try s a
         settle",
    );
}

#[test]
fn a_recall_overtakes_its_grant() {
    shows(
        "recall-overtakes-grant",
        "p.1 lock s a
         p send
         q.1 lock s a
         q send
         q get
         p get late
         p get
         p get
         p.2 lock s b
         p send
         p.1 unlock s a
         settle",
    );
}

#[test]
fn an_orphaned_waiter() {
    shows(
        "orphaned-waiter",
        "p.1 lock s a
         settle
         q.1 lock s a
         settle
         q cut
         q send
         p.2 lock s a
         p.1 unlock s a
         settle
         wait 9000
         p tick
         settle
         wait 1000
         store tick
         settle",
    );
}

#[test]
fn an_unlock_by_a_stranger() {
    shows(
        "unlock-by-stranger",
        "p.1 lock s a
         settle
         p.2 unlock s a
         p.2 write s a y
         p.2 lock s a
         p.1 unlock s a",
    );
}

#[test]
fn freed_before_written() {
    shows(
        "freed-before-written",
        "p.1 lock s a
         settle
         p.1 write s a x
         q.1 lock s a
         q send
         q get
         p get
         p send
         p.1 unlock s a
         settle",
    );
}

#[test]
fn a_read_bumps_the_token() {
    shows(
        "read-bumps-token",
        "p.1 lock s a
         p send
         wait 2000
         p tick
         p get
         p.1 write s a x
         p.1 commit s
         p send
         p send
         settle",
    );
}

#[test]
fn used_after_a_wait_timed_out() {
    shows(
        "used-after-timeout",
        "p.1 lock s a
         settle
         q.1 lock s a until 100
         settle
         p.1 unlock s a
         p send
         wait 100
         q tick
         q get
         q.1 write s a y
         q send
         settle",
    );
}

#[test]
fn written_back_to_life() {
    let mut setup = Setup::default();
    setup.store.recall_ms = 4_000;
    shows_with(
        "written-back",
        setup,
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 commit s
         settle
         p.1 write s a y
         q.1 lock s *
         settle
         wait 4000
         store tick
         q get
         q.1 destroy s
         q send
         q get
         p.1 unlock s a
         p send
         settle
         q.2 lock s a
         settle",
    );
}

#[test]
fn the_lease_ends_unheard() {
    shows(
        "lease-unheard",
        "p.1 lock s a
         settle
         q.1 lock s a
         settle
         wait 3000
         p tick
         p send lose
         q tick
         settle
         wait 6500
         p tick
         p.1 write s a x
         p.1 unlock s a
         wait 500
         store tick
         q get",
    );
}
