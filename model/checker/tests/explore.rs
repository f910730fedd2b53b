//! The explorer against Stateright's own checker, and the explorer's further promises.
//!
//! Stateright counts as the explorer does, except for two things, each pinned below: it expands duplicate initial
//! states as often as they are listed, and it ends as soon as every property has a discovery.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use stateright::{Checker, Expectation, Model, Property};
use tenure_checker::explore::{Exploration, ExploreError, FairModel, Live, Options, explore};
use tenure_checker::graph::Class;

/// A model from parts: the functions of a small universe.
#[derive(Clone)]
struct Toy {
    initial: Vec<u32>,
    actions: u8,
    next: fn(u32, u8) -> Option<u32>,
    boundary: u32,
    last: fn(u32) -> bool,
    properties: fn() -> Vec<Property<Self>>,
}

impl Model for Toy {
    type State = u32;
    type Action = u8;

    fn init_states(&self) -> Vec<u32> {
        self.initial.clone()
    }

    fn actions(&self, state: &u32, actions: &mut Vec<u8>) {
        if !(self.last)(*state) {
            actions.extend(0..self.actions);
        }
    }

    fn next_state(&self, state: &u32, action: u8) -> Option<u32> {
        (self.next)(*state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }

    fn within_boundary(&self, state: &u32) -> bool {
        *state < self.boundary
    }
}

impl FairModel for Toy {
    fn class(&self, state: &u32, action: &u8) -> Class {
        match (state + u32::from(*action)) % 4 {
            0 => Class::Free,
            1 => Class::Fault,
            _ => Class::Fair(*action),
        }
    }

    fn obligations(&self, state: &u32) -> u64 {
        u64::from(*state) * 3
    }
}

fn toy(next: fn(u32, u8) -> Option<u32>, actions: u8) -> Toy {
    Toy {
        initial: vec![0],
        actions,
        next,
        boundary: u32::MAX,
        last: |_| false,
        properties: || vec![Property::always("true", |_, _| true)],
    }
}

/// Die Hard: jugs of 3 and 5 litres; state = big * 4 + small.
fn jugs() -> Toy {
    let next = |state: u32, action: u8| {
        let (big, small) = (state / 4, state % 4);
        let (big, small) = match action {
            0 => (5, small),
            1 => (big, 3),
            2 => (0, small),
            3 => (big, 0),
            4 => (big + small.min(5 - big), small - small.min(5 - big)),
            _ => (big - big.min(3 - small), small + big.min(3 - small)),
        };
        Some(big * 4 + small)
    };
    Toy {
        properties: || {
            vec![
                Property::always("never four litres", |_, state| state / 4 != 4),
                Property::sometimes("both full", |_, state| *state == 23),
                Property::sometimes("big overflows", |_, state| state / 4 > 5),
            ]
        },
        ..toy(next, 6)
    }
}

/// A torus of 40 by 30.
fn torus() -> Toy {
    let next = |state: u32, action: u8| {
        let (x, y) = (state / 30, state % 30);
        let (x, y) = match action {
            0 => ((x + 1) % 40, y),
            1 => ((x + 39) % 40, y),
            2 => (x, (y + 1) % 30),
            _ => (x, (y + 29) % 30),
        };
        Some(x * 30 + y)
    };
    toy(next, 4)
}

/// Double, add one, halve if even; bounded, and with dead ends.
fn ladder() -> Toy {
    let next = |state: u32, action: u8| match action {
        0 => Some(state * 2),
        1 => Some(state + 1),
        _ => state.is_multiple_of(2).then_some(state / 2),
    };
    Toy {
        initial: vec![3, 5000, 8],
        boundary: 1000,
        last: |state| state % 7 == 6,
        ..toy(next, 3)
    }
}

/// Peterson's mutual exclusion, or a variant that does not read the other's flag: state = turn, then 2 bits of pc for
/// each.
fn peterson(broken: bool) -> Toy {
    fn step(state: u32, action: u8, broken: bool) -> Option<u32> {
        let me = u32::from(action);
        let pc = |who: u32| state >> (2 * who) & 3;
        let turn = state >> 4;
        let at = |pc: u32, turn: u32| state & !(3 << (2 * me)) & 15 | pc << (2 * me) | turn << 4;
        match pc(me) {
            0 => Some(at(1, turn)),
            1 => Some(at(2, 1 - me)),
            2 => (broken || pc(1 - me) == 0 || turn == me).then(|| at(3, turn)),
            _ => Some(at(0, turn)),
        }
    }
    Toy {
        properties: || {
            vec![
                Property::always("exclusion", |_, state| state & 15 != 15),
                Property::sometimes("first enters", |_, state| state & 3 == 3),
                Property::sometimes("second enters", |_, state| state & 12 == 12),
                Property::always("turn is a bit", |_, state| *state < 32),
            ]
        },
        ..toy(
            if broken {
                |s, a| step(s, a, true)
            } else {
                |s, a| step(s, a, false)
            },
            2,
        )
    }
}

/// A random graph of 60,000 states, wide enough for many chunks a level.
fn scatter() -> Toy {
    let next = |state: u32, action: u8| {
        let mixed = (u64::from(state) << 3 | u64::from(action)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32;
        (mixed % 11 != 0).then_some((mixed % 60_000) as u32)
    };
    Toy {
        initial: vec![9, 1, 9, 4],
        properties: || {
            vec![
                Property::always("true", |_, _| true),
                Property::sometimes("seven", |_, state| *state % 20_000 == 7),
                Property::always("not 31", |_, state| *state % 15_000 != 31),
                Property::always("not 77", |_, state| *state % 15_000 != 77),
                Property::sometimes("impossible", |_, state| *state > 60_000),
            ]
        },
        ..toy(next, 5)
    }
}

fn with_edges(model: &impl FairModel, threads: usize) -> Exploration {
    explore(
        model,
        &Options {
            threads,
            edges: true,
            ..Options::default()
        },
    )
    .expect("explorable")
}

fn assert_agrees(name: &str, model: Toy) {
    let stateright = model.clone().checker().spawn_bfs().join();
    let ours = with_edges(&model, 2);
    assert!(ours.complete);
    assert_eq!(
        ours.unique_states,
        stateright.unique_state_count() as u64,
        "{name}: unique states"
    );
    assert_eq!(
        ours.states,
        stateright.state_count() as u64,
        "{name}: states"
    );
    assert_eq!(ours.depth, stateright.max_depth(), "{name}: depth");
    for verdict in &ours.verdicts {
        let discovered = stateright.discovery(verdict.name).is_some();
        assert_eq!(
            verdict.witness.is_some(),
            discovered,
            "{name}: {}",
            verdict.name
        );
    }
}

#[test]
fn agrees_with_stateright() {
    assert_agrees("jugs", jugs());
    assert_agrees("torus", torus());
    assert_agrees("ladder", ladder());
    assert_agrees("peterson", peterson(false));
    assert_agrees("broken peterson", peterson(true));
    assert_agrees(
        "scatter",
        Toy {
            initial: vec![9, 1, 4],
            ..scatter()
        },
    );
}

#[test]
fn counts_are_exact() {
    let jugs = with_edges(&jugs(), 1);
    assert_eq!((jugs.unique_states, jugs.states), (16, 16 * 6 + 1));
    let torus = with_edges(&torus(), 1);
    assert_eq!(
        (torus.unique_states, torus.states, torus.depth),
        (1200, 4801, 36)
    );
    assert!(torus.holds());
}

#[test]
fn a_duplicate_initial_state_counts_and_is_expanded_once() {
    let twice = Toy {
        initial: vec![0, 0],
        ..torus()
    };
    let ours = with_edges(&twice, 1);
    assert_eq!((ours.unique_states, ours.states), (1200, 4802));
    // Stateright expands the state twice, hence four more.
    let stateright = twice.checker().spawn_bfs().join();
    assert_eq!(
        (stateright.unique_state_count(), stateright.state_count()),
        (1200, 4806)
    );
}

#[test]
fn the_search_continues_after_every_property_is_decided() {
    let decided = Toy {
        properties: || vec![Property::sometimes("start", |_, state| *state == 0)],
        ..torus()
    };
    assert_eq!(with_edges(&decided, 1).unique_states, 1200);
    assert_eq!(decided.checker().spawn_bfs().join().unique_state_count(), 1);
}

#[test]
fn the_counterexample_is_the_shortest() {
    let model = jugs();
    let ours = with_edges(&model, 2);
    let verdict = ours.verdict("never four litres").expect("a verdict");
    let path = ours.path(&model, verdict.witness.expect("Die Hard is solvable"));
    let actions: Vec<u8> = path.steps.iter().map(|step| step.action).collect();
    assert_eq!(actions, [0, 5, 3, 5, 0, 5], "the known solution: six steps");
    assert_eq!(path.last() / 4, 4);
    // Stateright continues for the undecided property, and keeps the last violation.
    let stateright = model.checker().spawn_bfs().join();
    let kept = stateright
        .discovery("never four litres")
        .expect("a discovery")
        .into_actions();
    assert!(kept.len() > 6, "{kept:?}");
}

#[test]
fn a_broken_mutex_is_violated_in_the_fewest_steps() {
    let model = peterson(true);
    let ours = with_edges(&model, 1);
    let verdict = ours.verdict("exclusion").expect("a verdict");
    assert!(!verdict.holds() && !ours.holds());
    assert_eq!(
        ours.path(&model, verdict.witness.expect("broken"))
            .steps
            .len(),
        6
    );
    assert!(with_edges(&peterson(false), 1).holds());
}

#[test]
fn the_number_of_threads_changes_no_result() {
    let variants = [
        Options::default(),
        Options {
            edges: true,
            ..Options::default()
        },
        Options {
            stop_at_violation: true,
            ..Options::default()
        },
        Options {
            states_max: Some(20_011),
            ..Options::default()
        },
        Options {
            states_max: Some(20_011),
            edges: true,
            stop_at_violation: true,
            ..Options::default()
        },
    ];
    for options in variants {
        let run =
            |threads| explore(&scatter(), &Options { threads, ..options }).expect("explorable");
        let one = run(1);
        assert!(one.unique_states > 1000);
        for many in [run(2), run(3), run(0)] {
            assert_eq!(
                (one.states, one.unique_states, one.depth),
                (many.states, many.unique_states, many.depth)
            );
            assert_eq!(
                (one.complete, &one.verdicts),
                (many.complete, &many.verdicts)
            );
            assert!(one.graph == many.graph, "the graphs differ");
            for state in (0..one.unique_states as u32).step_by(997) {
                assert_eq!(one.path(&scatter(), state), many.path(&scatter(), state));
            }
        }
    }
}

#[test]
fn every_path_replays_and_every_row_matches() {
    for model in [
        jugs(),
        ladder(),
        peterson(false),
        Toy {
            boundary: 3000,
            ..scatter()
        },
    ] {
        let ours = with_edges(&model, 3);
        let graph = ours.graph.as_ref().expect("complete");
        assert_eq!(graph.len() as u64, ours.unique_states);
        let mut shallower = 0;
        for id in 0..ours.unique_states as u32 {
            let path = ours.path(&model, id);
            assert!(
                path.steps.len() >= shallower,
                "states are numbered by depth"
            );
            shallower = path.steps.len();
            assert_eq!(ours.id(path.last()), Some(id));
            assert_eq!(graph.pending(id), model.obligations(path.last()));
            let successors = ours.successors(&model, path.last());
            let row: Vec<_> = successors
                .iter()
                .map(|next| (next.id.expect("complete"), next.class))
                .collect();
            assert_eq!(graph.edges(id).collect::<Vec<_>>(), row);
        }
    }
}

#[test]
fn a_truncated_run_never_holds() {
    for states_max in [0, 1, 2, 17, 1199] {
        let options = Options {
            states_max: Some(states_max),
            edges: true,
            ..Options::default()
        };
        let ours = explore(&torus(), &options).expect("explorable");
        assert_eq!(ours.unique_states, states_max);
        assert!(!ours.complete && !ours.holds() && ours.graph.is_none());
        assert!(!ours.verdicts[0].holds(), "{states_max}");
    }
    let ours = explore(
        &torus(),
        &Options {
            states_max: Some(1200),
            ..Options::default()
        },
    )
    .expect("explorable");
    assert!(ours.complete && ours.holds(), "just enough");
}

#[test]
fn a_truncated_run_keeps_its_counterexample() {
    let options = Options {
        states_max: Some(15),
        ..Options::default()
    };
    let ours = explore(&jugs(), &options).expect("explorable");
    assert!(!ours.complete);
    let witness = ours
        .verdict("never four litres")
        .expect("a verdict")
        .witness
        .expect("found already");
    assert_eq!(ours.path(&jugs(), witness).steps.len(), 6);
    assert!(
        ours.verdicts
            .iter()
            .all(|verdict| verdict.expectation != Expectation::Always || verdict.evaluated == 15)
    );
}

#[test]
fn a_property_that_was_never_evaluated_fails() {
    let ours = explore(
        &torus(),
        &Options {
            states_max: Some(0),
            ..Options::default()
        },
    )
    .expect("explorable");
    assert_eq!(
        (ours.verdicts[0].evaluated, ours.verdicts[0].witness),
        (0, None)
    );
    assert!(!ours.verdicts[0].holds());
}

#[test]
fn evaluations_are_counted() {
    let ours = with_edges(&scatter(), 2);
    for verdict in &ours.verdicts {
        match (
            verdict.expectation == Expectation::Sometimes,
            verdict.witness,
        ) {
            (true, Some(witness)) => assert_eq!(verdict.evaluated, u64::from(witness) + 1),
            _ => assert_eq!(verdict.evaluated, ours.unique_states),
        }
    }
    let holds: Vec<bool> = ours
        .verdicts
        .iter()
        .map(|verdict| verdict.holds())
        .collect();
    assert_eq!(holds, [true, true, false, false, false]);
}

#[test]
fn a_model_that_cannot_be_judged_is_refused() {
    let refusal = |model: Toy| explore(&model, &Options::default()).expect_err("refused");
    let without = Toy {
        properties: Vec::new,
        ..torus()
    };
    assert_eq!(refusal(without), ExploreError::NoProperties);
    let eventually = Toy {
        properties: || vec![Property::eventually("done", |_, _| true)],
        ..torus()
    };
    assert_eq!(
        refusal(eventually),
        ExploreError::Eventually { name: "done" }
    );
    let nowhere = Toy {
        boundary: 0,
        ..torus()
    };
    assert_eq!(refusal(nowhere), ExploreError::NoInitialState);
    let twins = || {
        vec![
            Property::always("twin", |_, _| true),
            Property::sometimes("twin", |_, _| true),
        ]
    };
    assert_eq!(
        refusal(Toy {
            properties: twins,
            ..torus()
        }),
        ExploreError::TwoProperties { name: "twin" }
    );
}

#[test]
fn stopping_ends_with_the_level_of_the_violation() {
    let model = Toy {
        properties: || {
            vec![
                Property::always("not east", |_, state| *state != 5 * 30),
                Property::always("not south", |_, state| *state != 5),
                Property::always("not far", |_, state| *state != 6),
            ]
        },
        ..torus()
    };
    let ours = explore(
        &model,
        &Options {
            stop_at_violation: true,
            edges: true,
            ..Options::default()
        },
    )
    .expect("explorable");
    assert!(!ours.complete && ours.graph.is_none());
    assert_eq!(ours.depth, 6, "distance 5, and the level of the start");
    let found: Vec<bool> = ours
        .verdicts
        .iter()
        .map(|verdict| verdict.witness.is_some())
        .collect();
    assert_eq!(
        found,
        [true, true, false],
        "both of that level, none of the next"
    );
    assert!(ours.verdicts.iter().all(|verdict| !verdict.holds()));
    // Without a violation, the option has no effect.
    let ours = explore(
        &torus(),
        &Options {
            stop_at_violation: true,
            ..Options::default()
        },
    )
    .expect("explorable");
    assert!(ours.holds());
}

/// The numbers from 0 on, with 10 as a final state.
struct Decreed;

impl Model for Decreed {
    type State = u32;
    type Action = u32;

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, _: &u32, actions: &mut Vec<u32>) {
        actions.push(1);
    }

    fn next_state(&self, state: &u32, action: u32) -> Option<u32> {
        Some(state + action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("small", |_, state| *state <= 10)]
    }
}

impl FairModel for Decreed {
    fn class(&self, _: &u32, _: &u32) -> Class {
        Class::Free
    }

    fn obligations(&self, _: &u32) -> u64 {
        0
    }

    fn is_final(&self, state: &u32) -> bool {
        *state == 10
    }
}

#[test]
fn a_final_state_is_judged_and_not_expanded() {
    let ours = with_edges(&Decreed, 1);
    assert!(ours.holds());
    assert_eq!((ours.unique_states, ours.verdicts[0].evaluated), (11, 11));
    assert_eq!(ours.graph.as_ref().expect("complete").edges(10).len(), 0);
    assert!(ours.successors(&Decreed, &10).is_empty());
}

/// A model that steps by two once a flag is set.
struct Fickle(AtomicBool);

impl Model for Fickle {
    type State = u32;
    type Action = ();

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, state: &u32, actions: &mut Vec<()>) {
        actions.extend((*state < 100).then_some(()));
    }

    fn next_state(&self, state: &u32, (): ()) -> Option<u32> {
        Some(state + 1 + u32::from(self.0.load(Ordering::Relaxed)))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("true", |_, _| true)]
    }
}

impl FairModel for Fickle {
    fn class(&self, _: &u32, (): &()) -> Class {
        Class::Free
    }

    fn obligations(&self, _: &u32) -> u64 {
        0
    }
}

#[test]
#[should_panic = "not deterministic"]
fn a_model_that_is_not_deterministic_is_detected() {
    let model = Fickle(AtomicBool::new(false));
    let ours = with_edges(&model, 1);
    assert_eq!(ours.path(&model, 5).steps.len(), 5);
    model.0.store(true, Ordering::Relaxed);
    let _ = ours.path(&model, 5);
}

#[test]
#[should_panic = "the model's own words"]
fn a_panic_in_the_model_reaches_the_caller() {
    let next = |state: u32, action: u8| {
        assert!(state < 30_000, "the model's own words");
        (scatter().next)(state, action)
    };
    let _ = with_edges(&Toy { next, ..scatter() }, 2);
}

#[test]
fn progress_is_reported() {
    let seen: Mutex<Vec<Live>> = Mutex::new(Vec::new());
    let on_progress = |live: &Live| seen.lock().expect("unpoisoned").push(*live);
    let options = Options {
        on_progress: Some(&on_progress),
        ..Options::default()
    };
    let ours = explore(&torus(), &options).expect("explorable");
    let seen = seen.into_inner().expect("unpoisoned");
    let last = seen.last().expect("one at the end");
    assert_eq!(
        (last.states, last.unique_states, last.depth, last.queue),
        (4801, 1200, 36, 0)
    );
    assert!(last.rate > 0.0 && ours.peak_bytes > 0);
}

#[test]
fn the_probability_of_a_missed_state_is_reported() {
    let ours = with_edges(&torus(), 1);
    let expected = 1200.0 * 1200.0 / 36_893_488_147_419_103_232.0;
    assert!((ours.missed_state_probability() / expected - 1.0).abs() < 1e-9);
}
