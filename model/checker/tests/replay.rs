//! Saved counterexamples: a written file is read back and replayed, and any other file is refused.

use std::sync::OnceLock;

use proptest::prelude::*;
use stateright::Expectation;
use tenure_checker::check::{self, Counterexample, Settings};
use tenure_checker::explore::{Options, Verdict, explore};
use tenure_checker::property::Kind;
use tenure_checker::replay::{self, BYTES_MAX, ReplayError, STEPS_MAX, load, load_from, save};
use tenure_checker::system::{Action, Model};
use tenure_checker::{chart, render, universe};
use tenure_protocol::{ProtocolMutant, Sound};

fn check(universe: &str, mutant: ProtocolMutant, is_hunt: bool) -> Vec<Counterexample> {
    let universe = universe::find(universe).expect("a universe");
    check::check_mutant(
        universe,
        mutant,
        &Settings {
            threads: 1,
            is_hunt,
            ..Settings::default()
        },
    )
    .counterexamples
}

/// Returns a violation, a run that gets stuck, and a run that repeats a cycle for ever.
fn examples() -> &'static [Counterexample; 3] {
    static EXAMPLES: OnceLock<[Counterexample; 3]> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        let safety = check("tcp", ProtocolMutant::FreesOnDisconnect, true).swap_remove(0);
        let mut stuck = check("crowd", ProtocolMutant::ForgetsRecall, false);
        stuck.retain(|example| example.waiting.is_some() && example.cycle.is_empty());
        let mut lassos = check("threads", ProtocolMutant::GrantWithoutUse, true);
        lassos.retain(|example| !example.cycle.is_empty());
        [safety, stuck.swap_remove(0), lassos.swap_remove(0)]
    })
}

fn error(text: &str) -> ReplayError {
    load(text).expect_err("it is no counterexample")
}

#[test]
fn what_is_saved_is_read_back() {
    for example in examples() {
        let text = save(example);
        assert_eq!(load(&text).expect("it was just saved"), *example);
        assert_eq!(
            load_from(text.as_bytes()).expect("it was just saved"),
            *example
        );
        let replayed = replay::replay(example).expect("it was just found");
        assert_eq!(
            (replayed.steps, replayed.cycle),
            (example.steps(), example.cycle.len())
        );
        assert_eq!(replayed.universe.name, example.universe);
        assert_eq!(replayed.kind == Kind::Progress, example.waiting.is_some());
        assert!(text.contains(&format!(
            "\"fingerprint\": \"{:016x}\"",
            replayed.fingerprint
        )));
    }
}

/// A race that must be reached is shown by steps too, and these steps are saved in the same way.
#[test]
fn the_steps_of_a_shown_race_are_read_back() {
    let universe = universe::find("crowd").expect("a universe");
    let model = Model::new(universe, Sound);
    let options = Options {
        states_max: Some(3_000),
        ..Options::default()
    };
    let found = explore(&model, &options).expect("there is something to check");
    let is_shown = |verdict: &&Verdict| {
        verdict.expectation == Expectation::Sometimes && verdict.witness.is_some()
    };
    let shown = found
        .verdicts
        .iter()
        .find(is_shown)
        .expect("a race is reached");
    let path = found.path(&model, shown.witness.expect("it is shown"));
    let mut example = Counterexample {
        universe: universe.name,
        mutant: None,
        property: shown.name,
        is_violation: false,
        stem: path.steps.iter().map(|step| step.action).collect(),
        cycle: Vec::new(),
        waiting: None,
    };
    assert_eq!(load(&save(&example)).expect("it was just saved"), example);
    let chart = render::chart_of(&example).expect("it can be rendered");
    assert!(
        chart.title.contains("reached") && chart.verdict[0].starts_with("reached"),
        "{chart:?}"
    );
    example.stem.clear();
    assert!(matches!(
        replay::replay(&example),
        Err(ReplayError::NotShown { steps: 0, .. })
    ));
}

#[test]
fn the_chart_in_a_file_is_a_chart() {
    let document: serde_json::Value = serde_json::from_str(&save(&examples()[2])).expect("JSON");
    let chart = chart::from_json(&document["chart"].to_string()).expect("a chart");
    assert!(chart.cycle_from.is_some());
}

/// The reader ignores unknown members, and needs no chart.
#[test]
fn unknown_members_are_ignored() {
    let mut document: serde_json::Value =
        serde_json::from_str(&save(&examples()[0])).expect("JSON");
    document["chart"] = "no chart".into();
    document["found by"] = "chance".into();
    assert_eq!(
        load(&document.to_string()).expect("it is all there"),
        examples()[0]
    );
}

#[test]
fn a_truncated_file_says_where_it_ends() {
    let text = save(&examples()[1]);
    let text = text.trim_end();
    assert!(text.is_ascii());
    for end in (0..text.len()).step_by(50) {
        match error(&text[..end]) {
            ReplayError::Empty => assert_eq!(end, 0),
            ReplayError::Truncated { line, .. } => {
                assert_eq!(line, text[..end].matches('\n').count() + 1, "cut at {end}");
            }
            other => panic!("cut at {end}: {other}"),
        }
    }
}

#[test]
fn each_error_names_the_fault_of_the_file() {
    let saved = save(&examples()[0]);
    for (text, expected) in [
        ("", "the file is empty"),
        (
            "{\"format\": ",
            "the file ends too early, at line 1, column 11: the rest was cut off",
        ),
        (
            "hello",
            "the file is not JSON: expected value at line 1 column 1",
        ),
        (
            "[1, 2]",
            "the file is JSON, but not a saved counterexample: it has no \"format\": \"tenure-counterexample\"",
        ),
        (
            "{}",
            "the file is JSON, but not a saved counterexample: it has no \"format\": \"tenure-counterexample\"",
        ),
        (
            "{\"format\": \"tenure-chart\"}",
            "the format of the file is \"tenure-chart\", not \"tenure-counterexample\"",
        ),
    ] {
        assert_eq!(error(text).to_string(), expected);
    }
    for (from, to, expected) in [
        (
            "\"version\": 1",
            "\"version\": 2",
            "the file has version 2 of tenure-counterexample; this program reads version 1",
        ),
        (
            "\"tcp\"",
            "\"tcpp\"",
            "there is no universe \"tcpp\"; did you mean \"tcp\"?",
        ),
        (
            "\"tcp\"",
            "\"a world of my own\"",
            "there is no universe \"a world of my own\"",
        ),
        (
            "\"frees-on-disconnect\"",
            "\"free-on-disconect\"",
            "there is no mutant \"free-on-disconect\"; did you mean \"frees-on-disconnect\"?",
        ),
        (
            "\"exclusive\"",
            "\"exclusiv\"",
            "there is no property \"exclusiv\"; did you mean \"exclusive\"?",
        ),
    ] {
        assert!(saved.contains(from), "{saved}");
        assert_eq!(error(&saved.replacen(from, to, 1)).to_string(), expected);
    }
    let missing = error(&saved.replacen("\"stem\"", "\"steps\"", 1)).to_string();
    assert!(missing.contains("missing field `stem`"), "{missing}");
    let strange = error(&saved.replacen("\"Thread\"", "\"Fibre\"", 1)).to_string();
    assert!(strange.contains("unknown variant `Fibre`"), "{strange}");
    assert!(matches!(
        load_from(&b"\xff\xfe"[..]),
        Err(ReplayError::NotText(0))
    ));
}

/// Long names and control characters of a file do not reach a terminal.
#[test]
fn errors_quote_carefully() {
    let name = format!("\\u001b[31m{}", "x".repeat(10_000));
    let text = save(&examples()[0]).replacen("\"tcp\"", &format!("\"{name}\""), 1);
    let said = error(&text).to_string();
    assert!(said.len() < 200 && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn steps_must_be_possible() {
    let [safety, ..] = examples();
    let with = |stem: Vec<Action>| {
        replay::replay(&Counterexample {
            stem,
            ..safety.clone()
        })
        .expect_err("it is none")
    };
    let mut stem = safety.stem.clone();
    stem.insert(1, Action::Start { process: 255 });
    match with(stem) {
        ReplayError::Impossible {
            step,
            action,
            universe,
        } => {
            assert_eq!(
                (step, action.as_str(), universe),
                (2, "{\"Start\":{\"process\":255}}", "tcp")
            );
        }
        other => panic!("{other}"),
    }
    let mut stem = safety.stem.clone();
    stem.pop();
    assert!(matches!(
        with(stem),
        ReplayError::Holds {
            property: "exclusive",
            ..
        }
    ));
    assert!(matches!(
        with(vec![Action::Restart; STEPS_MAX + 1]),
        ReplayError::TooManySteps(_)
    ));
}

/// The machines without the mutant do not take the steps.
#[test]
fn a_counterexample_without_its_mutant_is_refused() {
    let sound = Counterexample {
        mutant: None,
        ..examples()[0].clone()
    };
    let error = replay::replay(&sound).expect_err("the machines are sound");
    assert!(
        matches!(
            error,
            ReplayError::Holds { .. } | ReplayError::Impossible { .. }
        ),
        "{error}"
    );
}

#[test]
fn a_cycle_must_close_and_be_fair() {
    let [_, stuck, lasso] = examples();
    let reason = |example: Counterexample| match replay::replay(&example).expect_err("it is none") {
        ReplayError::NoLasso { reason, .. } => reason,
        other => panic!("{other}"),
    };
    let mut open = lasso.clone();
    open.cycle.pop();
    assert_eq!(
        reason(open),
        "the cycle does not lead back to where it begins"
    );
    let mut early = stuck.clone();
    early.stem.pop();
    assert!(reason(early).starts_with("the cycle is not fair: the run cannot rest"));
    let waiting_for_ever = |waiting: Option<&str>| Counterexample {
        waiting: waiting.map(str::to_owned),
        ..lasso.clone()
    };
    assert_eq!(
        reason(waiting_for_ever(None)),
        "the file does not name the waiting thread or recall"
    );
    assert_eq!(
        reason(waiting_for_ever(Some("Godot"))),
        "there is no \"Godot\" that could wait"
    );
    let idle = reason(waiting_for_ever(Some("thread t3 of process p2")));
    assert!(
        idle.ends_with("thread t3 of process p2 waits no longer"),
        "{idle}"
    );
}

#[test]
fn another_last_state_is_detected() {
    let text = save(&examples()[0]);
    let fingerprint = replay::replay(&examples()[0])
        .expect("it was just found")
        .fingerprint;
    let changed = text.replacen(&format!("{fingerprint:016x}"), "0123456789abcdef", 1);
    assert!(
        matches!(error(&changed), ReplayError::OtherState { reached, .. } if reached == fingerprint)
    );
}

#[test]
fn a_huge_file_is_not_read() {
    let endless = std::io::repeat(b' ');
    assert!(matches!(load_from(endless), Err(ReplayError::TooLarge)));
    assert!(matches!(
        load(&" ".repeat(BYTES_MAX + 1)),
        Err(ReplayError::TooLarge)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn garbage_is_no_counterexample(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        prop_assert!(load(&text).is_err());
        prop_assert!(load_from(&bytes[..]).is_err());
    }

    /// However a file is damaged, the result is the same counterexample or an error.
    #[test]
    fn a_damaged_file_is_the_same_counterexample_or_an_error(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        which in 0_usize..2,
    ) {
        let example = &examples()[which];
        let mut bytes = save(example).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(loaded) = load_from(&bytes[..]) {
            prop_assert_eq!((loaded.property, loaded.steps()), (example.property, example.steps()));
        }
    }

    /// Any list of actions is taken or is an error.
    #[test]
    fn any_list_of_actions_is_refused_without_a_panic(
        numbers in prop::collection::vec(any::<[u8; 3]>(), 0..6),
        kind in 0_usize..6,
    ) {
        let action = |[process, thread, place]: [u8; 3]| match kind {
            0 => Action::Thread { process: process % 4, thread },
            1 => Action::ToStore { process, place, stays: place % 2 == 0 },
            2 => Action::Cut { process, arrive: place },
            3 => Action::GiveBack { process, session: thread },
            4 => Action::Crash { process: process % 3, arrive: place % 2 },
            _ => Action::Tick { clocks: [process, thread, place] },
        };
        let stem = numbers.into_iter().map(action).collect();
        let example = Counterexample { stem, ..examples()[0].clone() };
        prop_assert!(replay::replay(&example).is_err());
        prop_assert!(load(&save(&example)).is_err());
    }
}
