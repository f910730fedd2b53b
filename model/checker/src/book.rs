//! The tables of the book, made from the tables that the checker uses.

use crate::property::{self, PROGRESS};
use crate::universe::{UNIVERSES, Universe, find};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use tenure_protocol::{ProtocolMutant, Sound, mutant::Level};

/// The universes that kill a mutant: a row of `tenure check --matrix`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The name of the mutant.
    pub mutant: String,
    /// The universes that kill the mutant, in the order of the table.
    pub killed: Vec<Cell>,
}

/// A universe that kills a mutant, and the violated property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The name of the universe.
    pub universe: String,
    /// The property that does not hold.
    pub property: String,
    /// The number of steps of a shortest counterexample; 0 when a race is never reached.
    pub steps: usize,
}

/// The reason for each universe that alone kills no mutant, or in which no mutant is hunted.
const STAYS: &[(&str, &str)] = &[
    (
        "calm",
        "it is the plain case with all features and no fault, and the place to begin reading",
    ),
    (
        "tcp",
        "it cuts the connections of both processes while a commit is under way, in a system small enough to read",
    ),
    (
        "crash",
        "it is the smallest universe in which a process crashes and returns as a new incarnation",
    ),
    (
        "absent",
        "it cuts connections and revokes at once: only here a waiter without a connection meets the deadline of \
          its recall",
    ),
    (
        "revisit",
        "it cuts the connections of a process that asks only for an existing session: only here such a request \
          receives its place again",
    ),
    (
        "late",
        "here a recall ends with one of two threads inside while a cut loses a commit, and the other threads' \
          writes must survive",
    ),
    (
        "rush",
        "it is `crowd` and `calm` at once, at a size that is too large for the hunt of mutants",
    ),
    (
        "storm",
        "it is `wild` with commits and deltas, at a size that is too large for the hunt of mutants",
    ),
    (
        "ordeal",
        "it is `tcp` and `crash` at once, at a size that is too large for the hunt of mutants",
    ),
];

/// Returns a number with separated thousands.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns the table of universes.
#[must_use]
pub fn universes() -> String {
    let mut out = String::from(
        "| universe | what it is for | bounds | faults | not combined with | unique states | quick |\n\
        |---|---|---|---|---|--:|---|\n",
    );
    for universe in UNIVERSES {
        let quick = if universe.is_quick { "yes" } else { "" };
        let Universe {
            name,
            summary,
            bounds,
            faults,
            without,
            ..
        } = universe;
        let states = thousands(universe.unique_states);
        let _ = writeln!(
            out,
            "| `{name}` | {summary} | {bounds} | {faults} | {without} | {states} | {quick} |"
        );
    }
    let total: u64 = UNIVERSES
        .iter()
        .map(|universe| universe.unique_states)
        .sum();
    let _ = writeln!(out, "\n{} unique states in all.", thousands(total));
    out
}

/// Returns the table of properties.
#[must_use]
pub fn properties() -> String {
    let mut out = String::from("| property | rule | kind | what it says |\n|---|--:|---|---|\n");
    for checked in property::all::<Sound>() {
        let (name, rule, kind, text) = (
            checked.name,
            checked.rule,
            checked.kind.name(),
            checked.text,
        );
        let _ = writeln!(out, "| {name} | {rule} | {kind} | {text} |");
    }
    for (name, rule, _, text) in PROGRESS {
        let _ = writeln!(out, "| {name} | {rule} | progress | {text} |");
    }
    out
}

/// Returns the table of mutants, and the list of what each universe contributes.
#[must_use]
pub fn mutants(rows: &[Row]) -> String {
    let mut out = String::from(
        "| mutant | machine | rule | wrong action | killed by: universe (property, steps) |\n|---|---|--:|---|---|\n",
    );
    for mutant in ProtocolMutant::ALL {
        let machine = match mutant.level() {
            Level::Store => "store",
            Level::Process => "process",
        };
        let _ = writeln!(
            out,
            "| `{}` | {machine} | {} | {} | {} |",
            mutant.name(),
            mutant.rule(),
            mutant.summary(),
            killers(rows, *mutant)
        );
    }
    out.push_str("\nWhat each universe contributes:\n\n");
    for universe in UNIVERSES {
        let _ = writeln!(out, "- `{}` {}.", universe.name, worth(rows, universe));
    }
    out
}

fn killers(rows: &[Row], mutant: ProtocolMutant) -> String {
    let row = rows.iter().find(|row| row.mutant == mutant.name());
    let cells = row.into_iter().flat_map(|row| &row.killed);
    let texts: Vec<String> = cells
        .map(|cell| match cell.steps {
            0 => format!("`{}` ({}, never reached)", cell.universe, cell.property),
            steps => format!("`{}` ({}, {steps})", cell.universe, cell.property),
        })
        .collect();
    texts.join(", ")
}

/// Returns the mutants that only this universe kills, or the reason for which the universe stays.
fn worth(rows: &[Row], universe: &Universe) -> String {
    let alone: Vec<String> = rows
        .iter()
        .filter(|row| row.killed.len() == 1 && row.killed[0].universe == universe.name)
        .map(|row| format!("`{}`", row.mutant))
        .collect();
    if !alone.is_empty() {
        return format!("alone kills {}", alone.join(", "));
    }
    let reason = STAYS.iter().find(|(name, _)| *name == universe.name);
    reason.map_or_else(
        || String::from("kills no mutant alone, and book.rs gives no reason why it stays"),
        |(_, reason)| format!("stays: {reason}"),
    )
}

/// Returns the errors of a matrix: mutants that are missing, unknown or killed by no universe, and universes that are
/// unknown or have no reason to stay.
#[must_use]
pub fn faults(rows: &[Row]) -> Vec<String> {
    let mut faults = Vec::new();
    for mutant in ProtocolMutant::ALL {
        match rows.iter().find(|row| row.mutant == mutant.name()) {
            None => faults.push(format!("{} is not in the matrix", mutant.name())),
            Some(row) if row.killed.is_empty() => {
                faults.push(format!("no universe kills {}", mutant.name()));
            }
            Some(_) => {}
        }
    }
    for row in rows {
        if !ProtocolMutant::ALL
            .iter()
            .any(|mutant| mutant.name() == row.mutant)
        {
            faults.push(format!("there is no mutant {}", row.mutant));
        }
        for cell in &row.killed {
            if find(&cell.universe).is_none() {
                faults.push(format!("there is no universe {}", cell.universe));
            }
        }
    }
    for universe in UNIVERSES {
        if worth(rows, universe).ends_with("why it stays") {
            faults.push(format!(
                "book.rs gives no reason why {} stays",
                universe.name
            ));
        }
    }
    faults
}
