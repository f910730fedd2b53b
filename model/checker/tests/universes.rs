//! The universes themselves: small ones are explored here whole, all of them by `tenure check --all`.

use stateright::Checker;
use stateright::Model as _;
use tenure_checker::check::{Settings, check};
use tenure_checker::system::Model;
use tenure_checker::universe::{UNIVERSES, Universe};
use tenure_protocol::Sound;

/// Those that a test can afford, with the invariants of the machines asserted at each step.
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

/// Our explorer and Stateright's go over the same trait. They must find the same states and judge them alike.
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
fn names_are_unique_and_every_universe_tells_what_it_leaves_out() {
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
