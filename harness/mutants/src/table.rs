//! The results of all mutants, read from `killed.jsonl` and `survivors.txt`, and formatted as the table of the book.

use crate::mutant::Mutant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The checks that kill a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    /// The name of the mutant.
    pub mutant: String,
    /// Some of the suite's cases that fail, the fastest first.
    pub cases: Vec<String>,
    /// Whether a random history also kills the mutant, judged by the machine.
    pub by_history: bool,
    /// The finding when only the trace of a case is judged.
    pub trace: Option<Traced>,
}

/// A trace that reveals a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// The case of the trace.
    pub case: String,
    /// The rule that the judge finds violated.
    pub rule: String,
}

/// Returns the checks of the suite that kill each mutant, by the mutant's name.
///
/// # Panics
/// If `killed.jsonl` is not in the format that its test writes.
#[must_use]
pub fn killed() -> BTreeMap<String, Killed> {
    let lines = include_str!("../killed.jsonl").lines();
    let all = lines.map(|line| {
        serde_json::from_str::<Killed>(line).expect(
            "the test that writes killed.jsonl writes \
    one JSON object per line",
        )
    });
    all.map(|killed| (killed.mutant.clone(), killed)).collect()
}

/// Returns the reasons why a black box cannot see certain mutants, by the mutant's name.
///
/// # Panics
/// If a line of `survivors.txt` has no reason.
#[must_use]
pub fn survivors() -> BTreeMap<String, String> {
    let lines = include_str!("../survivors.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| {
        line.split_once(' ')
            .expect("every line of survivors.txt has a mutant and a reason")
    });
    parts
        .map(|(name, why)| (name.to_owned(), why.trim().to_owned()))
        .collect()
}

/// A kill by loom in the lock manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loom {
    /// The name of the mutant, which is one of the process machine or of the lock manager.
    pub mutant: String,
    /// The scene that fails.
    pub case: String,
    /// The description of the seeded bug, for a mutant of the lock manager.
    pub summary: Option<String>,
}

/// Returns the kills by loom, in the order of their file.
///
/// # Panics
/// If `harness/loom/killed.jsonl` is not in the format that its test writes.
#[must_use]
pub fn loom() -> Vec<Loom> {
    let lines = include_str!("../../loom/killed.jsonl").lines();
    lines
        .map(|line| {
            serde_json::from_str(line).expect(
                "the test that writes killed.jsonl writes one JSON object per \
        line",
            )
        })
        .collect()
}

/// Returns the table of the book.
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
            (None, Some(why)) => (format!("invisible from outside: {why}"), ""),
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
        .expect("writing to a String never fails");
    }
    for (fault, summary) in loom
        .iter()
        .filter_map(|own| Some((own, own.summary.as_ref()?)))
    {
        let Loom { mutant, case, .. } = fault;
        writeln!(out, "| `{mutant}` | {summary} | - | - | - | - | `{case}` |")
            .expect("writing to a String never fails");
    }
    out
}
