//! Outcomes of checks, as text for people and as JSON for machines.

use crate::progress::thousands;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use tenure_checker::check::{Counterexample, Outcome, Verdict};
use tenure_checker::hunt::Kill;
use tenure_checker::{chart, render};
use tenure_protocol::ProtocolMutant;

/// The width of a counterexample in columns.
const COLUMNS: usize = 100;

/// Returns whether to print colours: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn is_colored() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Returns the outcome of one universe as a JSON object.
pub(crate) fn outcome_json(outcome: &Outcome, peak: Option<u64>) -> Value {
    let properties = outcome.judgements.iter().map(|judgement| {
        json!({
            "name": judgement.name,
            "rule": judgement.rule,
            "kind": judgement.kind.name(),
            "holds": judgement.holds && judgement.is_judged,
        })
    });
    json!({
        "universe": outcome.universe.name,
        "states": outcome.states,
        "unique_states": outcome.unique_states,
        "depth": outcome.depth,
        "seconds": outcome.seconds,
        "progress_seconds": outcome.progress.map(|(seconds, _)| seconds),
        "peak_bytes": peak,
        "missed_state_probability": outcome.missed,
        "complete": outcome.is_complete,
        "pinned": outcome.is_pinned,
        "reduced": outcome.is_reduced,
        "properties": properties.collect::<Vec<Value>>(),
        "judges_progress": outcome.universe.judges_progress,
        "unjudged": outcome.unjudged().map(|own| own.name).collect::<Vec<_>>(),
        "verdict": outcome.verdict().name(),
        "holds": outcome.holds(),
    })
}

/// Returns the result of the hunt for one mutant as a JSON object.
pub(crate) fn kill_json(mutant: ProtocolMutant, kill: Option<&Kill>) -> Value {
    json!({
        "mutant": mutant.name(),
        "killed": kill.is_some(),
        "universe": kill.map(|kill| kill.universe.name),
        "property": kill.map(|kill| kill.property),
        "steps": kill.map(|kill| kill.steps),
    })
}

/// Prints the outcome of one universe in full.
pub(crate) fn write_outcome(
    out: &mut impl Write,
    outcome: &Outcome,
    peak: Option<u64>,
) -> std::io::Result<()> {
    let verdict = match outcome.verdict() {
        Verdict::Holds => "holds",
        Verdict::Unjudged => "NOT JUDGED WHOLE",
        Verdict::Fails => "DOES NOT HOLD",
    };
    writeln!(
        out,
        "{}: {verdict}. {}",
        outcome.universe.name, outcome.universe.summary
    )?;
    writeln!(
        out,
        "  {}; faults: {}",
        outcome.universe.bounds, outcome.universe.faults
    )?;
    write!(
        out,
        "  states {}, unique {}, depth {}, {:.1} s ({}/s)",
        thousands(outcome.states),
        thousands(outcome.unique_states),
        outcome.depth,
        outcome.seconds,
        thousands((outcome.unique_states as f64 / outcome.seconds.max(1e-9)) as u64),
    )?;
    if let Some(peak) = peak {
        write!(out, ", peak memory {} MiB", thousands(peak >> 20))?;
    }
    writeln!(out, ", chance of a missed state {:.0e}", outcome.missed)?;
    if outcome.is_reduced {
        writeln!(
            out,
            "  with symmetry reduction: progress is not judged, and the number of states is not compared with the \
             pinned one"
        )?;
    }
    if let Some((seconds, bytes)) = outcome.progress {
        writeln!(
            out,
            "  progress pass: {seconds:.2} s, {} MiB",
            thousands((bytes as u64) >> 20)
        )?;
    }
    if !outcome.is_complete {
        writeln!(
            out,
            "  CUT SHORT: not every state was explored, so no property is judged to hold"
        )?;
    }
    if outcome.is_pinned == Some(false) {
        let pinned = thousands(outcome.universe.unique_states);
        writeln!(
            out,
            "  UNEXPECTED NUMBER of unique states, {pinned} are pinned: the machines or the universe have changed"
        )?;
    }
    for judgement in &outcome.judgements {
        let mark = match (judgement.is_judged, judgement.holds) {
            (false, _) => "NOT JUDGED",
            (true, true) => "holds",
            (true, false) => "FAILS",
        };
        writeln!(
            out,
            "  {mark:<10} {:<9} rule {:<2}  {}",
            judgement.kind.name(),
            judgement.rule,
            judgement.name
        )?;
    }
    Ok(())
}

/// Prints a counterexample as a chart in plain text.
pub(crate) fn write_counterexample(
    out: &mut impl Write,
    example: &Counterexample,
) -> anyhow::Result<()> {
    let chart = render::chart_of(example)?;
    writeln!(out)?;
    writeln!(out, "{}", chart::text(&chart, COLUMNS, is_colored()))?;
    Ok(())
}

/// Checks that a file can be written, before minutes of work depend on it. Leaves the file unchanged.
pub(crate) fn assert_writable(path: &std::path::Path) -> anyhow::Result<()> {
    let is_new = !path.exists();
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| anyhow::anyhow!("cannot write '{}': {error}", path.display()))?;
    if is_new {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Writes a counterexample to a file: as a picture or as the input of `tenure replay`, by the extension of the file.
pub(crate) fn save_counterexample(
    path: &std::path::Path,
    example: &Counterexample,
) -> anyhow::Result<()> {
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    let text = match ending {
        "svg" => chart::svg(&render::chart_of(example)?),
        "mmd" => chart::mermaid(&render::chart_of(example)?),
        "json" => tenure_checker::replay::save(example),
        _ => anyhow::bail!(
            "cannot write a chart to '{}': the name must end in .svg, .mmd or .json",
            path.display()
        ),
    };
    std::fs::write(path, text)
        .map_err(|error| anyhow::anyhow!("cannot write '{}': {error}", path.display()))
}

/// Returns the outcome of a `tenure crash` scenario as a JSON object.
pub(crate) fn crash_json(outcome: &tenure_workload::director::Outcome, seconds: f64) -> Value {
    let verdict = &outcome.verdict;
    let findings: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
    json!({
        "holds": outcome.holds(),
        "acknowledged": verdict.acknowledged,
        "found": verdict.found,
        "store_kills": outcome.store_kills,
        "process_kills": outcome.process_kills,
        "leaked": outcome.leaked,
        "differs_on_disk": outcome.differs_on_disk,
        "findings": findings,
        "seconds": seconds,
    })
}
