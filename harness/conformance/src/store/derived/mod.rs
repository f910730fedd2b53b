//! Cases that are derived: the shortest ways to every transition of the store's machine and to its races, as the model checker
//! exports them, judged by the [oracle](super::oracle).
//!
//! `transitions.json` and `sometimes.json` are written by `UPDATE_SCRIPTS=1 cargo test -p tenure-checker --test scripts`. Their
//! numbers are the machine's; what the target's are is learnt from its answers.

mod play;
mod rules;
mod script;

use crate::case::{Case, Level, Need, Run, Side};
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
    let needs: &[Need] = if script.restarts() {
        &[Need::Restart]
    } else {
        &[]
    };
    Case {
        id: &script.id,
        title: &script.title,
        side: Side::Store,
        // What the machine does is one way to obey the rules: who does otherwise should know why.
        level: Level::Should,
        // Once for each script, which lives as long as the program.
        rules: rules::of(&script.doubts).leak(),
        needs,
        since: "1.0",
        run: Run::Script(script),
    }
}

pub(crate) use play::play;
pub(crate) use script::Script as DerivedScript;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_cites_rules_of_the_book() {
        for case in all() {
            assert!(!case.rules.is_empty(), "{case:?} cites no rule");
            for rule in case.rules {
                assert!(crate::rules::find(rule).is_some(), "{case:?}: {rule}");
            }
        }
    }
}
