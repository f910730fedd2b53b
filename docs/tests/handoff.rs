//! The picture of a handoff, `docs/src/handoff.svg`: drawn by the checker from the machines that run.
//!
//! `UPDATE_BOOK=1 cargo test -p tenure-docs --test handoff` draws the picture anew.

use std::fs;
use std::path::Path;
use tenure_checker::chart::{self, Event};
use tenure_checker::check::Counterexample;
use tenure_checker::render;
use tenure_checker::system::Action;

/// Takes the machines through one handoff and returns the chart of it.
fn handoff() -> chart::Chart {
    let thread = |process, thread| Action::Thread { process, thread };
    let to_store = |process| Action::ToStore {
        process,
        place: 0,
        stays: false,
    };
    let to_process = |process| Action::ToProcess {
        process,
        place: 0,
        stays: false,
    };
    let steps = Counterexample {
        // Two threads of p1 and one thread of p2 use attribute `a`.
        universe: "goodbye",
        mutant: None,
        property: "exclusive",
        is_violation: false,
        stem: vec![
            thread(1, 0),  // p2.t1 locks `a`: its process asks for the session.
            to_store(1),   // The store grants the session to p2.
            to_process(1), // p2.t1 has the lock.
            thread(0, 0),  // p1.t1 locks `a`: its process asks for the session.
            to_store(0),   // The store queues p1 and recalls the grant of p2.
            to_process(0), // p1 has its place in the queue.
            to_process(1), // The gate of p2 closes.
            to_store(1),   // The store learns that a thread is inside.
            thread(1, 0),  // p2.t1 writes and unlocks: the session goes back with the change.
            to_store(1),   // The store grants the session to p1.
            to_process(1), // p2 knows that its change is durable.
            to_process(0), // p1.t1 has the lock, and sees the change.
            thread(0, 0),  // p1.t1 writes and unlocks: the grant stays cached.
            thread(0, 1),  // p1.t2 locks `a`: no message.
        ],
        cycle: Vec::new(),
        waiting: None,
    };
    let mut chart = render::chart_of(&steps).expect("every step is possible in this universe");
    chart.title = "A handoff, and then a cached grant".to_owned();
    chart.verdict.clear();
    chart.changes.clear();
    chart
}

#[test]
fn the_picture_of_a_handoff_is_what_the_machines_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/handoff.svg");
    let picture = chart::svg(&handoff());
    if std::env::var_os("UPDATE_BOOK").is_some() {
        fs::write(&path, picture).expect("the picture can be written");
        return;
    }
    assert!(
        fs::read_to_string(&path).is_ok_and(|text| text == picture),
        "docs/src/handoff.svg is not what the checker draws; UPDATE_BOOK=1 cargo test -p tenure-docs --test handoff"
    );
}

/// The README says that p1 gets the change of p2 with its grant, and that the second lock of p1 sends no message.
#[test]
fn a_handoff_shows_what_the_readme_says() {
    let chart = handoff();
    let name = |lane: usize| chart.lanes[lane].name.as_str();
    let in_step = |step: usize| -> Vec<String> {
        let rows = chart.rows.iter().filter(|row| row.step == step);
        rows.filter_map(|row| match &row.event {
            Event::Call { from, to, text } | Event::Send { from, to, text, .. } => {
                Some(format!("{} {} {text}", name(*from), name(*to)))
            }
            _ => None,
        })
        .collect()
    };
    let grant = in_step(10);
    let is_change = |text: &String| text.starts_with("store p1 Granted") && text.contains("a=1");
    assert!(grant.iter().any(is_change), "{grant:?}");
    let again = in_step(14);
    assert_eq!(again.len(), 2, "{again:?}");
    assert!(
        again.iter().all(|text| !text.contains("store")),
        "{again:?}"
    );
}
