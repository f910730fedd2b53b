//! The twelve races of the design, as the machines run them: the pictures of `docs/src/protocol/races.md`.
//!
//! Each race is a script of `support/scenes.rs` that leads into the race. The rules that the page names say what must
//! not happen; this test pins what does happen. `UPDATE_BOOK=1 cargo test -p tenure-protocol races` renews the
//! pictures.

use crate::support::book::assert_shows;
use crate::support::chart::chart;
use crate::support::scenes::scene;

fn shows(race: &str) {
    let scene = scene(race);
    let picture = chart(scene.setup(), ["p", "q"], scene.script);
    let text = format!("```text\n{picture}```\n");
    assert_shows("protocol/races.md", race, &text);
}

#[test]
fn the_holder_dies_after_the_recall() {
    shows("holder-dies");
}

#[test]
fn a_release_from_a_replaced_connection() {
    shows("replaced-connection");
}

#[test]
fn a_request_crosses_its_grant() {
    shows("request-crosses-grant");
}

#[test]
fn a_try_and_a_kept_grant() {
    shows("try-and-kept");
}

#[test]
fn a_recall_overtakes_its_grant() {
    shows("recall-overtakes-grant");
}

#[test]
fn an_orphaned_waiter() {
    shows("orphaned-waiter");
}

#[test]
fn an_unlock_by_a_stranger() {
    shows("unlock-by-stranger");
}

#[test]
fn freed_before_written() {
    shows("freed-before-written");
}

#[test]
fn a_read_bumps_the_token() {
    shows("read-bumps-token");
}

#[test]
fn used_after_a_wait_timed_out() {
    shows("used-after-timeout");
}

#[test]
fn written_back_to_life() {
    shows("written-back");
}

#[test]
fn the_lease_ends_unheard() {
    shows("lease-unheard");
}
