//! Derived cases: the shortest ways to each transition of the store's machine and to its races. The model checker
//! exports them, and the [oracle](super::oracle) judges them.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p tenure-checker scripts` writes `transitions.json` and `sometimes.json`. The files
//! contain the machine's numbers. The target's numbers are learnt from its answers.

mod message;
mod play;
mod rules;
mod script;
mod shows;

use crate::case::{Case, Level, Run, Side};
use script::{File, Script};
use std::sync::LazyLock;

const TRANSITIONS: &str = include_str!("transitions.json");
const SOMETIMES: &str = include_str!("sometimes.json");

/// The scripts, which live as long as their cases.
static SCRIPTS: LazyLock<Vec<Script>> = LazyLock::new(|| {
    let files = [SOMETIMES, TRANSITIONS];
    let files = files.map(|text| {
        serde_json::from_str::<File>(text).expect(
            "the scripts are in the format in which the \
        checker exports them",
        )
    });
    files.into_iter().flat_map(|file| file.scripts).collect()
});

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| SCRIPTS.iter().map(case).collect());

pub(super) fn all() -> &'static [Case] {
    &CASES
}

fn case(script: &'static Script) -> Case {
    // The leak happens once per script, which lives as long as the program.
    let rules = rules::of(&script.doubts).leak();
    Case {
        id: &script.id,
        title: &script.title,
        side: Side::Store,
        level: level(rules),
        rules,
        needs: script.needs(),
        since: "1.0",
        run: Run::Script(script),
    }
}

/// Returns the level that all of its rules have.
fn level(rules: &[&str]) -> Level {
    let mut levels = rules
        .iter()
        .filter_map(|id| Some(crate::rules::find(id)?.level));
    if levels.all(|level| level == Level::Must) {
        Level::Must
    } else {
        Level::Should
    }
}

pub(crate) use play::play;
pub(crate) use script::Script as DerivedScript;

#[cfg(test)]
mod tests;
