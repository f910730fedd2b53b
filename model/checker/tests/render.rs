//! Charts of real counterexamples: their content and their readability.

use std::collections::BTreeMap;

use tenure_checker::chart::{self, Chart, Event};
use tenure_checker::check::{self, Counterexample, Settings};
use tenure_checker::system::Model;
use tenure_checker::{render, universe};
use tenure_protocol::{ProtocolMutant, Sound};

/// Returns the counterexamples that a hunt for a mutant finds in a universe.
fn hunt(universe: &str, mutant: ProtocolMutant) -> Vec<Counterexample> {
    let universe = universe::find(universe).expect("a universe");
    let settings = Settings {
        threads: 1,
        is_hunt: true,
        ..Settings::default()
    };
    let found = check::check_mutant(universe, mutant, &settings).counterexamples;
    assert!(
        !found.is_empty(),
        "{mutant} is not killed in {}",
        universe.name
    );
    found
}

/// Renders the first counterexample.
fn told(universe: &str, mutant: ProtocolMutant) -> Chart {
    render::chart_of(&hunt(universe, mutant)[0]).expect("it can be rendered")
}

fn text(chart: &Chart) -> String {
    chart::text(chart, 100, false)
}

const SMALL: [(&str, ProtocolMutant); 12] = [
    ("crowd", ProtocolMutant::LifoAtStore),
    ("crowd", ProtocolMutant::ForgetsRecall),
    ("tcp", ProtocolMutant::FreesOnDisconnect),
    ("crash", ProtocolMutant::KeepsRecallOfDead),
    ("crash", ProtocolMutant::KeepsOldIncarnation),
    ("restart", ProtocolMutant::GrantsBeforeDurable),
    ("restart", ProtocolMutant::ForgetsHolderOnRestart),
    ("crossing", ProtocolMutant::OverlooksDeadlock),
    ("crossing", ProtocolMutant::ReleasesWhileInside),
    ("lease", ProtocolMutant::QueuesTwice),
    ("lease", ProtocolMutant::AppliesLateWrites),
    ("threads", ProtocolMutant::Barges),
];

#[test]
fn charts_are_whole() {
    for (universe, mutant) in SMALL {
        for example in hunt(universe, mutant) {
            let chart = render::chart_of(&example).expect("it can be rendered");
            let context = format!("{universe}, {mutant}:\n{}", text(&chart));
            // Every step is visible, in order.
            let mut steps: Vec<usize> = chart.rows.iter().map(|row| row.step).collect();
            assert!(steps.is_sorted(), "{context}");
            steps.dedup();
            assert_eq!(
                steps,
                (1..=example.steps()).collect::<Vec<_>>(),
                "{context}"
            );
            // Every lane has an event, and the store has a lane.
            assert!(
                chart.lanes.iter().any(|lane| lane.name == "store"),
                "{context}"
            );
            for lane in 0..chart.lanes.len() {
                let is_used = chart.rows.iter().any(|row| touches(&row.event, lane));
                assert!(is_used || chart.lanes[lane].name == "store", "{context}");
            }
            assert_eq!(
                chart.cycle_from.is_some(),
                example.waiting.is_some(),
                "{context}"
            );
            assert!(chart.verdict[0].contains(example.property), "{context}");
            assert!(
                chart
                    .verdict
                    .iter()
                    .any(|line| line.contains(mutant.summary())),
                "{context}"
            );
            assert!(!chart.changes.is_empty(), "{context}");
            assert!(
                text(&chart).lines().all(|line| line.chars().count() <= 100),
                "{context}"
            );
        }
    }
}

fn touches(event: &Event, own: usize) -> bool {
    match event {
        Event::Note { lane, .. } => *lane == own,
        Event::Fault { lane, .. } => *lane == Some(own),
        Event::Call { from, to, .. }
        | Event::Send { from, to, .. }
        | Event::Receive { from, to, .. }
        | Event::Lose { from, to, .. } => *from == own || *to == own,
    }
}

/// A message is sent once before it arrives or is lost, and has the same text at both ends.
#[test]
fn messages_have_both_ends() {
    for (universe, mutant) in SMALL {
        let chart = told(universe, mutant);
        let mut sent = BTreeMap::new();
        for row in &chart.rows {
            match &row.event {
                Event::Send {
                    from,
                    to,
                    message,
                    text,
                } => {
                    assert!(
                        sent.insert(*message, (*from, *to, text.clone())).is_none(),
                        "two are numbered {message}"
                    );
                }
                Event::Receive {
                    from,
                    to,
                    message,
                    text,
                }
                | Event::Lose {
                    from,
                    to,
                    message,
                    text,
                } => {
                    assert_eq!(
                        sent.get(message),
                        Some(&(*from, *to, text.clone())),
                        "{universe}, {mutant}"
                    );
                }
                Event::Note { .. } | Event::Call { .. } | Event::Fault { .. } => {}
            }
        }
    }
}

/// A grant keeps one token from its beginning to its end, whatever number the canonical states give it.
#[test]
fn tokens_stay() {
    let chart = told("lease", ProtocolMutant::AppliesLateWrites);
    let granted = chart.rows.iter().find_map(|row| match &row.event {
        Event::Receive { text, .. } => text
            .strip_prefix("Granted #")?
            .split(' ')
            .next()
            .map(str::to_owned),
        _ => None,
    });
    let token = granted.expect("a grant arrives");
    let last = chart.rows.iter().rev().find_map(|row| match &row.event {
        Event::Send { text, .. } => text
            .strip_prefix("Release #")?
            .split(' ')
            .next()
            .map(str::to_owned),
        _ => None,
    });
    assert_eq!(last, Some(token), "{}", text(&chart));
}

/// A cut connection shows the lost messages, and the store sees the cut later.
#[test]
fn a_cut_is_a_fault() {
    let chart = told("tcp", ProtocolMutant::FreesOnDisconnect);
    let is_cut = |event: &Event| matches!(event, Event::Fault { text, .. } if text == "its connection is cut");
    let cut = chart
        .rows
        .iter()
        .position(|row| is_cut(&row.event))
        .expect("a cut");
    let is_seen = |event: &Event| match event {
        Event::Note { text, .. } => text.starts_with("sees that the connection"),
        _ => false,
    };
    assert!(
        chart.rows[cut..].iter().any(|row| is_seen(&row.event)),
        "{}",
        text(&chart)
    );
}

/// A counterexample that cannot be rendered is an error.
#[test]
fn an_impossible_step_is_an_error() {
    let mut example = hunt("tcp", ProtocolMutant::FreesOnDisconnect).swap_remove(0);
    example.stem.swap(0, 2);
    let error = render::chart_of(&example).expect_err("the steps are in the wrong order");
    assert!(error.to_string().starts_with("step 1, "), "{error}");
}

/// The text that Stateright's Explorer shows.
#[test]
fn a_state_is_shown_fact_by_fact() {
    use stateright::Model as _;
    let model = Model::new(universe::find("lease").expect("a universe"), Sound);
    let mut state = model.init_states().swap_remove(0);
    for _ in 0..9 {
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        state = model.next_state(&state, actions[0]).expect("a successor");
    }
    insta::assert_snapshot!(format!("{state:#?}"));
}

#[test]
fn a_step_is_shown_by_its_differences() {
    use stateright::Model as _;
    use tenure_checker::system::Action;
    let model = Model::new(universe::find("crowd").expect("a universe"), Sound);
    let before = model.init_states().swap_remove(0);
    let after = model.raw_successor(
        &before,
        Action::Thread {
            process: 1,
            thread: 0,
        },
    );
    let lines = render::differences(&before, &after);
    assert_eq!(
        lines,
        [
            "p2 / s1: none -> Wanted r1",
            "p2 / s1: queue none -> t1 a",
            "p2.t1: idle -> waits for a of s1",
            "wire of p2: to the store none -> Acquire"
        ]
    );
    assert_eq!(
        model.format_step(
            &before,
            Action::Thread {
                process: 1,
                thread: 0
            }
        ),
        Some(lines.join("\n"))
    );
}

#[test]
fn frees_on_disconnect() {
    insta::assert_snapshot!(text(&told("tcp", ProtocolMutant::FreesOnDisconnect)));
}

#[test]
fn overlooks_deadlock() {
    insta::assert_snapshot!(text(&told("crossing", ProtocolMutant::OverlooksDeadlock)));
}
