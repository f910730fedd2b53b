//! Who kills what: read from `killed.jsonl` and `survivors.txt`, and shown as the table of the book.

use crate::mutant::Mutant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What kills a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    /// The mutant's name.
    pub mutant: String,
    /// Cases of the suite that fail, those that are quick first; a part of them.
    pub cases: Vec<String>,
    /// Whether a random history shows it, too, judged by the machine.
    pub by_history: bool,
    /// What is found when only the recording of a case is judged.
    pub trace: Option<Traced>,
}

/// A recording that shows a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// The case that was recorded.
    pub case: String,
    /// The rule that is found to be broken.
    pub rule: String,
}

/// What the suite kills, by the mutant's name.
///
/// # Panics
/// When `killed.jsonl` was not written by its test.
#[must_use]
pub fn killed() -> BTreeMap<String, Killed> {
    let lines = include_str!("../killed.jsonl").lines();
    let all = lines.map(|line| serde_json::from_str::<Killed>(line).expect("a line of JSON"));
    all.map(|killed| (killed.mutant.clone(), killed)).collect()
}

/// Why a black box cannot see a mutant, by its name.
///
/// # Panics
/// When a line of `survivors.txt` has no reason.
#[must_use]
pub fn survivors() -> BTreeMap<String, String> {
    let lines = include_str!("../survivors.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| line.split_once(' ').expect("a mutant and a reason"));
    parts
        .map(|(name, why)| (name.to_owned(), why.trim().to_owned()))
        .collect()
}

/// What loom kills in the lock manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loom {
    /// The mutant's name: one of the process machine, or a fault of the lock manager.
    pub mutant: String,
    /// The scene that fails.
    pub case: String,
    /// Of a fault: what is done wrong.
    pub summary: Option<String>,
}

/// What loom kills, in the order in which it was written.
///
/// # Panics
/// When `harness/loom/killed.jsonl` was not written by its test.
#[must_use]
pub fn loom() -> Vec<Loom> {
    let lines = include_str!("../../loom/killed.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// The table of the book.
#[must_use]
pub fn table() -> String {
    let (killed, survivors, loom) = (killed(), survivors(), loom());
    let mut out = String::from(
        "| mutant | what is done wrong | model | suite | history | trace | loom |\n|---|---|---|---|---|---|---|\n",
    );
    for mutant in Mutant::all() {
        let name = mutant.name();
        let (summary, model) = match mutant {
            Mutant::Protocol(mutant) => (mutant.summary(), "killed"),
            Mutant::Driver(driver) => (driver.summary(), "-"),
            Mutant::None => continue,
        };
        let (suite, history) = match (killed.get(name), survivors.get(name)) {
            (Some(own), _) => {
                let first = own.cases.first().map_or("", String::as_str);
                let others = own.cases.len().saturating_sub(1);
                let others = if others > 0 {
                    format!(" and {others} more")
                } else {
                    String::new()
                };
                let history = if own.by_history { "killed" } else { "" };
                (format!("`{first}`{others}"), history)
            }
            (None, Some(why)) => (format!("not to be seen: {why}"), ""),
            (None, None) => ("SURVIVED".to_owned(), ""),
        };
        let trace = killed.get(name).and_then(|own| own.trace.as_ref());
        let trace = trace.map_or_else(String::new, |own| format!("`{}`", own.rule));
        let scene = loom.iter().find(|own| own.mutant == name);
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
        let Loom { mutant, case, .. } = fault;
        writeln!(out, "| `{mutant}` | {summary} | - | - | - | - | `{case}` |")
            .expect("a string takes all");
    }
    out
}
