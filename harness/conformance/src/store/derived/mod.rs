//! Cases that are derived: the shortest ways to every transition of the store's machine and to its races, as the model checker
//! exports them, judged by the [oracle](super::oracle).
//!
//! `transitions.json` and `sometimes.json` are written by `UPDATE_SCRIPTS=1 cargo test -p tenure-checker scripts`. Their
//! numbers are the machine's; what the target's are is learnt from its answers.

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
    let files =
        files.map(|text| serde_json::from_str::<File>(text).expect("as the checker wrote it"));
    files.into_iter().flat_map(|file| file.scripts).collect()
});

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| SCRIPTS.iter().map(case).collect());

pub(super) fn all() -> &'static [Case] {
    &CASES
}

fn case(script: &'static Script) -> Case {
    // Once for each script, which lives as long as the program.
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

/// It demands what all of its rules do.
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
