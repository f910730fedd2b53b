//! Who catches what: read from `caught.jsonl` and `unseen.txt`, and shown as the table of the book.

use crate::mistake::Mistake;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What catches a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caught {
    /// The mistake's name.
    pub mistake: String,
    /// Cases of the suite that fail, those that are quick first; a part of them.
    pub cases: Vec<String>,
    /// Whether a random history shows it, too, judged by the machine.
    pub by_history: bool,
    /// What is found when only the recording of a case is judged.
    pub trace: Option<Traced>,
}

/// A recording that shows a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// The case that was recorded.
    pub case: String,
    /// The rule that is found to be broken.
    pub rule: String,
}

/// What the suite catches, by the mistake's name.
///
/// # Panics
/// When `caught.jsonl` was not written by its test.
#[must_use]
pub fn caught() -> BTreeMap<String, Caught> {
    let lines = include_str!("../caught.jsonl").lines();
    let all = lines.map(|line| serde_json::from_str::<Caught>(line).expect("a line of JSON"));
    all.map(|caught| (caught.mistake.clone(), caught)).collect()
}

/// Why a black box cannot see a mistake, by its name.
///
/// # Panics
/// When a line of `unseen.txt` has no reason.
#[must_use]
pub fn unseen() -> BTreeMap<String, String> {
    let lines = include_str!("../unseen.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| line.split_once(' ').expect("a mistake and a reason"));
    parts
        .map(|(name, why)| (name.to_owned(), why.trim().to_owned()))
        .collect()
}

/// What loom catches in the lock manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loom {
    /// The mistake's name: one of the process machine, or a fault of the lock manager.
    pub mistake: String,
    /// The scene that fails.
    pub case: String,
    /// Of a fault: what is done wrong.
    pub summary: Option<String>,
}

/// What loom catches, in the order in which it was written.
///
/// # Panics
/// When `harness/loom/caught.jsonl` was not written by its test.
#[must_use]
pub fn loom() -> Vec<Loom> {
    let lines = include_str!("../../loom/caught.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// The table of the book.
#[must_use]
pub fn table() -> String {
    let (caught, unseen, loom) = (caught(), unseen(), loom());
    let mut out = String::from(
        "| mistake | what is done wrong | model | suite | history | trace | loom |\n|---|---|---|---|---|---|---|\n",
    );
    for mistake in Mistake::all() {
        let name = mistake.name();
        let (summary, model) = match mistake {
            Mistake::Defect(defect) => (defect.summary(), "caught"),
            Mistake::Slip(slip) => (slip.summary(), "-"),
            Mistake::None => continue,
        };
        let (suite, history) = match (caught.get(name), unseen.get(name)) {
            (Some(own), _) => {
                let first = own.cases.first().map_or("", String::as_str);
                let others = own.cases.len().saturating_sub(1);
                let others = if others > 0 {
                    format!(" and {others} more")
                } else {
                    String::new()
                };
                let history = if own.by_history { "caught" } else { "" };
                (format!("`{first}`{others}"), history)
            }
            (None, Some(why)) => (format!("not to be seen: {why}"), ""),
            (None, None) => ("NOT CAUGHT".to_owned(), ""),
        };
        let trace = caught.get(name).and_then(|own| own.trace.as_ref());
        let trace = trace.map_or_else(String::new, |own| format!("`{}`", own.rule));
        let scene = loom.iter().find(|own| own.mistake == name);
        let scene = scene.map_or_else(String::new, |own| format!("`{}`", own.case));
        writeln!(
            out,
            "| `{name}` | {summary} | {model} | {suite} | {history} | {trace} | {scene} |"
        )
        .expect("a string takes all");
    }
    for (fault, summary) in loom
        .iter()
        .filter_map(|own| Some((own, own.summary.as_ref()?)))
    {
        let Loom { mistake, case, .. } = fault;
        writeln!(
            out,
            "| `{mistake}` | {summary} | - | - | - | - | `{case}` |"
        )
        .expect("a string takes all");
    }
    out
}
