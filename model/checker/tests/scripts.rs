//! The scripts that the conformance suite plays: the files contain the checker's present export, and each script keeps
//! its claim.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p tenure-checker scripts` renews the files.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tenure_checker::property::{self, Kind};
use tenure_checker::scripts::{self, Export, Script, Transition, Unproved, prove};
use tenure_protocol::Sound;

fn path(name: &str) -> String {
    let home = env!("CARGO_MANIFEST_DIR");
    format!("{home}/../../harness/conformance/src/store/derived/{name}.json")
}

/// Returns the checked-in export, as its player reads it.
fn checked_in(name: &str, now: fn() -> Export) -> Export {
    static WRITING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut written = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = path(name);
    if std::env::var_os("UPDATE_SCRIPTS").is_some() && written.insert(path.clone()) {
        std::fs::write(&path, now().to_json()).expect("the file is written");
    }
    let text = std::fs::read_to_string(&path).expect("it is there");
    serde_json::from_str(&text).expect("an export")
}

fn transitions() -> Export {
    checked_in("transitions", scripts::transitions)
}

fn sometimes() -> Export {
    checked_in("sometimes", scripts::sometimes)
}

fn fails(script: &Script, what: &str) -> Unproved {
    prove(script).expect_err(&format!("{}, {what}", script.id))
}

#[test]
fn the_files_contain_the_present_export_of_the_checker() {
    let all = [
        ("transitions", transitions(), scripts::transitions()),
        ("sometimes", sometimes(), scripts::sometimes()),
    ];
    for (name, file, now) in all {
        assert!(
            file == now,
            "{} is not what the checker exports; UPDATE_SCRIPTS=1 cargo test -p tenure-checker scripts",
            path(name)
        );
    }
}

#[test]
fn every_transition_is_taken_by_the_script_that_says_so() {
    let export = transitions();
    let mut taken: BTreeSet<&Transition> = BTreeSet::new();
    for script in &export.scripts {
        prove(script).unwrap_or_else(|why| panic!("{}: {why}", script.id));
        taken.extend(script.takes.iter().map(|own| &own.transition));
    }
    assert_eq!(taken.len(), export.covered);
}

#[test]
fn an_edited_script_no_longer_takes_its_transitions() {
    let export = transitions();
    for script in &export.scripts {
        let last = script.takes.iter().map(|own| own.step).max().expect("some");

        let mut shorter = script.clone();
        shorter.steps.truncate(last - 1);
        assert_eq!(fails(&shorter, "cut short"), Unproved::Impossible(last));

        let mut other = script.clone();
        other.takes[0].transition.answer += " and more";
        fails(&other, "with another answer");

        let mut other = script.clone();
        other.steps.remove(0);
        fails(&other, "without its beginning");
    }
}

#[test]
fn every_property_shows_in_a_run_of_the_model_in_which_the_store_sees_its_script() {
    let export = sometimes();
    for script in &export.scripts {
        prove(script).unwrap_or_else(|why| panic!("{}: {why}", script.id));
    }
    // Each property has a script, or a reason for having none.
    let shown = export.scripts.iter().flat_map(|script| &script.doubts);
    let left_out = export.left_out.values().flatten();
    let told: BTreeSet<&str> = shown.chain(left_out).map(String::as_str).collect();
    let all = property::all::<Sound>().into_iter();
    let sometimes = all.filter(|own| own.kind == Kind::Sometimes);
    assert_eq!(told, sometimes.map(|own| own.name).collect());
}

#[test]
fn a_truncated_script_no_longer_shows_its_property() {
    for script in sometimes().scripts {
        let mut shorter = script.clone();
        shorter.steps.pop();
        assert_eq!(fails(&shorter, "cut short"), Unproved::NotShown);

        let mut other = script.clone();
        other.steps.swap(0, 1);
        assert_eq!(fails(&other, "in another order"), Unproved::NotShown);
    }
}

/// The proof separates properties: apart from those that every script with a grant shows, no property shows in all
/// scripts.
#[test]
fn a_property_does_not_show_in_the_script_of_another() {
    let export = sometimes();
    for own in &export.scripts {
        let property = &own.doubts[0];
        let is_everywhere = ["granted at once", "whole state sent"].contains(&property.as_str());
        let others = export.scripts.iter().filter(|other| other.id != own.id);
        let verdicts: Vec<_> = others
            .map(|other| {
                let mut renamed = other.clone();
                renamed.doubts.clone_from(&own.doubts);
                prove(&renamed)
            })
            .filter(|verdict| !matches!(verdict, Err(Unproved::Unknown(_))))
            .collect();
        let is_told_apart = verdicts.contains(&Err(Unproved::NotShown)) || verdicts.is_empty();
        assert!(is_everywhere || is_told_apart, "{property}");
    }
}
