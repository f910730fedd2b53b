//! The universes themselves: this test explores the small ones exhaustively; `tenure check --all` explores all.

use stateright::Checker;
use stateright::Model as _;
use std::collections::BTreeSet;
use tenure_checker::check::{Outcome, Settings, check};
use tenure_checker::explore::{Options, explore};
use tenure_checker::property::{self, Kind};
use tenure_checker::system::Model;
use tenure_checker::universe::{UNIVERSES, Universe, find};
use tenure_protocol::mutant::Level;
use tenure_protocol::{ProtocolMutant, Seeded, Sound};

/// Returns the universes that a test can afford, with the machines' invariants asserted at each step.
fn small() -> impl Iterator<Item = &'static Universe> {
    UNIVERSES
        .iter()
        .filter(|universe| universe.unique_states < 100_000)
}

#[test]
fn small_universes_hold_and_have_their_pinned_number_of_states() {
    assert!(small().count() >= 5);
    for universe in small() {
        let outcome = check(universe, &Settings::default());
        assert!(outcome.holds(), "{}: {outcome:?}", universe.name);
        assert_eq!(
            outcome.unique_states, universe.unique_states,
            "{}",
            universe.name
        );
    }
}

/// The explorer and Stateright's checker use the same trait. They must find the same states and reach the same
/// verdicts.
#[test]
fn stateright_finds_the_same_states() {
    for universe in small() {
        let ours = check(universe, &Settings::default());
        let theirs = Model::new(universe, Sound).checker().spawn_bfs().join();
        let counts = (theirs.unique_state_count(), theirs.state_count());
        assert_eq!(
            (ours.unique_states as usize, ours.states as usize),
            counts,
            "{}: unique states and states",
            universe.name
        );
        assert_eq!(ours.depth, theirs.max_depth(), "{}: depth", universe.name);
        theirs.assert_properties();
    }
}

#[test]
fn every_universe_has_a_unique_name_and_says_which_faults_it_leaves_out() {
    for (index, universe) in UNIVERSES.iter().enumerate() {
        let is_again = UNIVERSES[..index]
            .iter()
            .any(|other| other.name == universe.name);
        assert!(!is_again, "two universes are called {}", universe.name);
        for text in [
            universe.summary,
            universe.bounds,
            universe.faults,
            universe.without,
        ] {
            assert!(!text.is_empty(), "{} leaves a column out", universe.name);
        }
    }
}

/// Without reachability properties, a model in which nothing happens would pass.
#[test]
fn every_rule_with_an_always_has_a_sometimes() {
    let all = property::all::<Sound>();
    let of = |kind| {
        let own = all.iter().filter(move |checked| checked.kind == kind);
        own.map(|checked| checked.rule).collect::<BTreeSet<u8>>()
    };
    let alone = &of(Kind::Always) - &of(Kind::Sometimes);
    assert!(
        alone.is_empty(),
        "nothing shows that these are reached: {alone:?}"
    );
}

/// A verdict for each safety property.
fn verdicts(outcome: &Outcome) -> Vec<(&'static str, bool)> {
    let safety = outcome
        .judgements
        .iter()
        .filter(|judgement| judgement.kind != Kind::Progress);
    safety
        .map(|judgement| (judgement.name, judgement.holds && judgement.is_judged))
        .collect()
}

/// Returns the verdicts on a universe with and without symmetry reduction, each with the number of states.
fn both(name: &str) -> [(Vec<(&'static str, bool)>, u64); 2] {
    let universe = find(name).expect("a universe");
    [true, false].map(|by_symmetry| {
        let settings = Settings {
            threads: 2,
            by_symmetry,
            ..Settings::default()
        };
        let outcome = check(universe, &settings);
        assert_eq!(outcome.is_reduced, by_symmetry, "{name} has like processes");
        (verdicts(&outcome), outcome.unique_states)
    })
}

#[test]
fn symmetry_changes_no_verdict() {
    for (name, most) in [("limits", 2), ("crowd", 6)] {
        let [(reduced, few), (whole, many)] = both(name);
        assert_eq!(reduced, whole, "{name}");
        assert!(few < many && many <= few * most, "{name}: {few} of {many}");
    }
}

#[test]
fn symmetry_hides_no_mutant() {
    let mut killed = 0;
    let of_store = ProtocolMutant::ALL
        .iter()
        .filter(|mutant| mutant.level() == Level::Store);
    for mutant in of_store {
        let universe = find("limits").expect("a universe");
        let model = Model::new(universe, Seeded(*mutant));
        let reduced = model.clone().reduced().expect("p2 and p3 are alike");
        let [whole, reduced] = [&model, &reduced].map(|model| {
            let options = Options {
                threads: 2,
                edges: false,
                ..Options::default()
            };
            let exploration = explore(model, &options).expect("it can be explored");
            let verdicts = exploration.verdicts.iter();
            verdicts
                .map(|verdict| (verdict.name, verdict.holds()))
                .collect::<Vec<_>>()
        });
        assert_eq!(reduced, whole, "{}", mutant.name());
        killed += usize::from(whole.iter().any(|(_, holds)| !holds));
    }
    assert!(killed >= 5, "the comparison needs violations: {killed}");
}

#[test]
fn a_universe_without_like_processes_is_not_reduced() {
    for name in ["calm", "crossing", "restart", "drift", "wild"] {
        let universe = find(name).expect("a universe");
        assert!(Model::new(universe, Sound).reduced().is_none(), "{name}");
    }
}
