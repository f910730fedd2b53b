//! `tenure check`: universes explored whole, mutants hunted.

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
    /// The universes to check; without any, the quick ones.
    universes: Vec<String>,
    /// Check all universes.
    #[arg(long, conflicts_with = "universes")]
    all: bool,
    /// List universes, properties and mutants, and check nothing.
    #[arg(long)]
    list: bool,
    /// Plant this mutant, and show how it is killed
    #[arg(
        long,
        alias = "defect",
        value_name = "NAME",
        conflicts_with = "mutants"
    )]
    mutant: Option<String>,
    /// Plant every mutant, one after the other: each must be killed
    #[arg(long, alias = "defects")]
    mutants: bool,
    /// Hunt every mutant in each of these universes, the quick ones unless named, and print who kills what: a JSON
    /// object a line, from which the book makes its table. Takes half an hour.
    #[arg(long, conflicts_with_all = ["mutant", "mutants", "symmetry"])]
    matrix: bool,
    /// Explore one of the states that differ only in which of several like processes is which. Progress is not judged
    /// then, and the exit code is 4 when nothing fails. Changes nothing where no processes are alike.
    #[arg(long, conflicts_with_all = ["mutant", "mutants"])]
    symmetry: bool,
    /// Write the counterexample to a file: a picture (.svg, .mmd), or what `tenure replay` reads (.json).
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Print, in JSON, the shortest way to each transition of the store's machine, or to each `sometimes` property: what the
    /// conformance suite plays.
    #[arg(long, value_enum, value_name = "WHICH", conflicts_with_all = ["universes", "all", "list", "mutant", "mutants", "matrix", "symmetry", "chart"])]
    scripts: Option<Which>,
    /// One JSON object a line, for machines.
    #[arg(long)]
    json: bool,
    /// Threads that explore; as many as there are cores unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

/// What scripts lead to.
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
                bail!("'{}': a chart ends in .svg, .mmd or .json", path.display());
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

    /// Returns the worst verdict.
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
                writeln!(out, "of these, for safety alone: {}", safety.join(", "))?;
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

    /// One mutant: in the named universes, or wherever it shows. Exit 1 says that something does not hold, as it should.
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
                "killed in '{universe}': of all its states, none shows '{property}'"
            )?;
            Ok(())
        }
    }
}

/// Explores one universe, with live progress.
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

/// As many threads as there are cores.
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
            let line = serde_json::json!({ "mutant": mutant.name(), "rule": mutant.rule(), "summary": mutant.summary() });
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
