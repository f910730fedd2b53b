//! The tables of the book, from the same tables that the checker works by.

use crate::property::{self, PROGRESS};
use crate::universe::{UNIVERSES, Universe, find};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use tenure_protocol::{ProtocolMutant, Sound, mutant::Level};

/// Which universes kill a mutant: a line of `tenure check --matrix`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The mutant's name.
    pub mutant: String,
    /// In the order of the universes.
    pub killed: Vec<Cell>,
}

/// How a universe kills a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The universe's name.
    pub universe: String,
    /// The property that does not hold.
    pub property: String,
    /// The steps of a shortest counterexample; 0 where a race is never reached.
    pub steps: usize,
}

/// Why a universe stays that is the only one to kill nothing, or in which no mutant is hunted.
const STAYS: &[(&str, &str)] = &[
    (
        "calm",
        "it is the plain case with everything in it: what holds here without a fault is where to begin reading",
    ),
    (
        "tcp",
        "it cuts the connections of both processes with a commit under way, in a world small enough to read",
    ),
    (
        "crash",
        "it is where a process dies and comes back as a new incarnation, at the smallest size",
    ),
    (
        "absent",
        "it cuts connections and revokes at once: only here does a waiter without a connection meet the deadline of its recall",
    ),
    (
        "revisit",
        "it cuts the connections of a process that asks only for an existing session: only here such a request gets its place anew",
    ),
    (
        "late",
        "it is where a recall ends with one of two threads inside while a commit is cut off: what the others wrote must survive",
    ),
    (
        "rush",
        "it is `crowd` and `calm` at once, at a size that no mutant is hunted in",
    ),
    (
        "storm",
        "it is `wild` with commits and differences, at a size that no mutant is hunted in",
    ),
    (
        "ordeal",
        "it is `tcp` and `crash` at once, at a size that no mutant is hunted in",
    ),
];

/// A number with its thousands apart.
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

/// The table of universes.
#[must_use]
pub fn universes() -> String {
    let mut out = String::from(
        "| universe | what it is for | bounds | faults | not combined with | unique states | quick |\n|---|---|---|---|---|--:|---|\n",
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

/// The table of properties.
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

/// The table of mutants, and what each universe is good for.
#[must_use]
pub fn mutants(rows: &[Row]) -> String {
    let mut out = String::from(
        "| mutant | machine | rule | what is done wrong | killed by: universe (property, steps) |\n|---|---|--:|---|---|\n",
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
    out.push_str("\nWhat each universe is good for:\n\n");
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

/// The mutants that only this universe kills, or why it stays.
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
        || String::from("kills nothing that no other does, and nobody has said why it stays"),
        |(_, reason)| format!("stays: {reason}"),
    )
}

/// What is wrong with a matrix: a mutant that is missing, unknown or killed by none, or a universe that is unknown or has
/// no reason to be there.
#[must_use]
pub fn faults(rows: &[Row]) -> Vec<String> {
    let mut faults = Vec::new();
    for mutant in ProtocolMutant::ALL {
        match rows.iter().find(|row| row.mutant == mutant.name()) {
            None => faults.push(format!("{} is not in the matrix", mutant.name())),
            Some(row) if row.killed.is_empty() => {
                faults.push(format!("{} is killed by none", mutant.name()));
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
            faults.push(format!("nobody has said why {} stays", universe.name));
        }
    }
    faults
}
