//! `tenure check`: explores universes exhaustively, and hunts mutants.

use crate::progress::{Line, thousands};
use crate::{UNJUDGED, exit_code, hunt, memory, names, report};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use tenure_checker::check::{Outcome, Settings, Verdict, check};
use tenure_checker::hunt::{Kill, hunt as hunt_everywhere, hunt_in};
use tenure_checker::scripts;
use tenure_checker::universe::{UNIVERSES, Universe};
use tenure_protocol::ProtocolMutant;

/// The arguments of `tenure check`.
#[derive(Args)]
pub(crate) struct Check {
    /// Check these universes [default: all quick universes].
    universes: Vec<String>,
    /// Check all universes, including the slow ones.
    #[arg(long, conflicts_with = "universes")]
    all: bool,
    /// List all universes, properties and mutants, without a check.
    #[arg(long)]
    list: bool,
    /// Plant this mutant in the machines, and show the counterexample that kills it.
    #[arg(
        long,
        alias = "defect",
        value_name = "NAME",
        conflicts_with = "mutants"
    )]
    mutant: Option<String>,
    /// Plant each mutant in turn. The run fails if a mutant survives.
    #[arg(long, alias = "defects")]
    mutants: bool,
    /// Hunt every mutant in each of the named universes [default: all quick universes], and print one JSON object per
    /// mutant. The book's table of mutants is made from this output. Takes about half an hour.
    #[arg(long, conflicts_with_all = ["mutant", "mutants", "symmetry"])]
    matrix: bool,
    /// Explore only one of several states that differ only by an exchange of identical processes. Progress properties
    /// are not judged then, and the exit code is 4 if nothing fails. Has no effect in a universe without identical
    /// processes.
    #[arg(long, conflicts_with_all = ["mutant", "mutants"])]
    symmetry: bool,
    /// Write the counterexample to this file: a picture (.svg, .mmd), or the input of `tenure replay` (.json).
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Print the scripts of the conformance suite as JSON: the shortest path to each transition of the store's machine,
    /// or to each `sometimes` property.
    #[arg(
        long,
        value_enum,
        value_name = "WHICH",
        conflicts_with_all = ["universes", "all", "list", "mutant", "mutants", "matrix", "symmetry", "chart"]
    )]
    scripts: Option<Which>,
    /// Print one JSON object per line instead of text.
    #[arg(long)]
    json: bool,
    /// Explore with this many threads [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

/// The targets of the printed scripts.
#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Transitions,
    Sometimes,
}

impl Check {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if let Some(which) = self.scripts {
            let export = match which {
                Which::Transitions => scripts::transitions(),
                Which::Sometimes => scripts::sometimes(),
            };
            std::io::stdout().write_all(export.to_json().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(path) = &self.chart {
            let ending = path.extension().and_then(|ending| ending.to_str());
            if !matches!(ending, Some("svg" | "mmd" | "json")) {
                bail!(
                    "cannot write a chart to '{}': the name must end in .svg, .mmd or .json",
                    path.display()
                );
            }
            report::assert_writable(path)?;
        }
        if self.list {
            return list(self.json).map(|()| ExitCode::SUCCESS);
        }
        let universes = self.selection()?;
        if self.matrix {
            return hunt::matrix(&universes, self.threads()).map(|()| ExitCode::SUCCESS);
        }
        if self.mutants {
            let only = (!self.universes.is_empty()).then_some(&universes[..]);
            return hunt::all(only, self.threads(), self.json).map(exit_code);
        }
        if let Some(name) = &self.mutant {
            let holds = self.hunt_one(names::mutant(name)?, &universes);
            return holds.map(exit_code);
        }
        let verdict = self.check_universes(&universes)?;
        Ok(match verdict {
            Verdict::Holds => ExitCode::SUCCESS,
            Verdict::Unjudged => ExitCode::from(UNJUDGED),
            Verdict::Fails => ExitCode::from(1),
        })
    }

    fn threads(&self) -> usize {
        self.threads.map_or_else(cores, usize::from)
    }

    fn selection(&self) -> Result<Vec<&'static Universe>> {
        if self.universes.is_empty() {
            return Ok(UNIVERSES
                .iter()
                .filter(|universe| self.all || universe.is_quick)
                .collect());
        }
        self.universes
            .iter()
            .map(|name| names::universe(name))
            .collect()
    }

    /// Checks the universes, and returns the worst verdict.
    fn check_universes(&self, universes: &[&'static Universe]) -> Result<Verdict> {
        let started = Instant::now();
        let mut verdict = Verdict::Holds;
        let mut unjudged = BTreeSet::new();
        let mut states = 0;
        for universe in universes {
            let (outcome, peak) = explore(universe, self.threads(), self.symmetry);
            verdict = verdict.max(outcome.verdict());
            unjudged.extend(outcome.unjudged().map(|own| own.name));
            states += outcome.unique_states;
            self.show(&outcome, peak)?;
        }
        if !self.json {
            let mut out = std::io::stdout().lock();
            let said = match verdict {
                Verdict::Holds => "everything holds".to_owned(),
                Verdict::Unjudged => {
                    let unjudged: Vec<_> = unjudged.into_iter().collect();
                    format!("nothing fails, but NOT JUDGED: {}", unjudged.join(", "))
                }
                Verdict::Fails => "SOMETHING DOES NOT HOLD".to_owned(),
            };
            let (count, all) = (universes.len(), UNIVERSES.len());
            let (states, seconds) = (thousands(states), started.elapsed().as_secs_f64());
            writeln!(
                out,
                "{count} of {all} universes, {states} unique states, {seconds:.1} s: {said}"
            )?;
            let safety = universes.iter().filter(|own| !own.judges_progress);
            let safety: Vec<_> = safety.map(|own| own.name).collect();
            if !safety.is_empty() {
                writeln!(
                    out,
                    "of these, judged for safety only: {}",
                    safety.join(", ")
                )?;
            }
        }
        Ok(verdict)
    }

    fn show(&self, outcome: &Outcome, peak: Option<u64>) -> Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", report::outcome_json(outcome, peak))?;
        } else {
            report::write_outcome(&mut out, outcome, peak)?;
            if let Some(example) = outcome.counterexamples.first() {
                report::write_counterexample(&mut out, example)?;
            }
            writeln!(out)?;
        }
        if let (Some(path), Some(example)) = (&self.chart, outcome.counterexamples.first()) {
            report::save_counterexample(path, example)?;
        }
        Ok(())
    }

    /// Hunts one mutant, in the named universes or in all. Returns `false` if the mutant is killed: exit code 1 then
    /// means that a property fails, as expected.
    fn hunt_one(&self, mutant: ProtocolMutant, universes: &[&'static Universe]) -> Result<bool> {
        let line = Line::new(mutant.name());
        let show = |live: &_| line.show(live);
        let settings = Settings {
            threads: self.threads(),
            on_progress: Some(&show),
            ..Settings::default()
        };
        let kill = if self.universes.is_empty() {
            hunt_everywhere(mutant, &settings)
        } else {
            universes
                .iter()
                .find_map(|universe| hunt_in(mutant, universe, &settings))
        };
        drop(line);
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", report::kill_json(mutant, kill.as_ref()))?;
        } else {
            writeln!(
                out,
                "{mutant} (rule {}): {}",
                mutant.rule(),
                mutant.summary()
            )?;
            match &kill {
                None => writeln!(out, "SURVIVED")?,
                Some(kill) => write_kill(&mut out, kill)?,
            }
        }
        if let (Some(path), Some(example)) = (
            &self.chart,
            kill.as_ref().and_then(|kill| kill.counterexample.as_ref()),
        ) {
            report::save_counterexample(path, example)?;
        }
        Ok(kill.is_none())
    }
}

fn write_kill(out: &mut impl Write, kill: &Kill) -> Result<()> {
    let (universe, property) = (kill.universe.name, kill.property);
    match &kill.counterexample {
        Some(example) => {
            writeln!(
                out,
                "killed in '{universe}' by '{property}' in {} steps",
                kill.steps
            )?;
            report::write_counterexample(out, example)
        }
        None => {
            writeln!(
                out,
                "killed in '{universe}': no state satisfies '{property}'"
            )?;
            Ok(())
        }
    }
}

/// Explores one universe, and shows live progress.
pub(crate) fn explore(
    universe: &'static Universe,
    threads: usize,
    by_symmetry: bool,
) -> (Outcome, Option<u64>) {
    memory::forget_peak();
    let line = Line::new(universe.name);
    let show = |live: &_| line.show(live);
    let settings = Settings {
        threads,
        by_symmetry,
        on_progress: Some(&show),
        ..Settings::default()
    };
    let outcome = check(universe, &settings);
    (outcome, memory::peak())
}

/// Returns the number of cores.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn list(is_json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for universe in UNIVERSES {
        if is_json {
            let line = serde_json::json!({
                "universe": universe.name,
                "summary": universe.summary,
                "bounds": universe.bounds,
                "faults": universe.faults,
                "without": universe.without,
                "unique_states": universe.unique_states,
                "quick": universe.is_quick,
            });
            writeln!(out, "{line}")?;
        } else {
            let quick = if universe.is_quick { "quick" } else { "" };
            let states = thousands(universe.unique_states);
            writeln!(
                out,
                "{:<9} {states:>11} states  {quick:<5}  {}",
                universe.name, universe.summary
            )?;
            writeln!(out, "{:37}{}", "", universe.bounds)?;
            writeln!(
                out,
                "{:37}faults: {}; not combined with: {}",
                "", universe.faults, universe.without
            )?;
        }
    }
    for mutant in ProtocolMutant::ALL {
        if is_json {
            let line = serde_json::json!({
                "mutant": mutant.name(), "rule": mutant.rule(), "summary": mutant.summary(),
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(
                out,
                "mutant {:<30} rule {:<2}  {}",
                mutant.name(),
                mutant.rule(),
                mutant.summary()
            )?;
        }
    }
    Ok(())
}
