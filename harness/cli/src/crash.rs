//! `tenure crash`: real processes increment counters in shared sessions of a real store, and both are killed at random.
//! Afterwards, no acknowledged increment may be lost, none may be counted twice, and no process may be stuck.

use crate::progress::{Line, thousands};
use crate::report;
use anyhow::{Context, Result};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;
use tenure_workload::director::{Outcome, Scenario, play};
use tenure_workload::program::Program;
use tenure_workload::stopped::{self, Found};

/// The maximum number of findings in the text output.
const SHOWN_MAX: usize = 10;

/// The arguments of `tenure crash`.
#[derive(Args)]
pub(crate) struct Crash {
    /// Kill the store this many times with SIGKILL.
    #[arg(long, value_name = "N", default_value_t = 100)]
    store_kills: u64,
    /// Kill a process this many times with SIGKILL.
    #[arg(long, value_name = "N", default_value_t = 100)]
    process_kills: u64,
    /// Run this many processes at a time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    processes: u64,
    /// Run this many OS threads in each process.
    #[arg(long, value_name = "N", default_value_t = 4)]
    threads: u64,
    /// Run this many async tasks in each process.
    #[arg(long, value_name = "N", default_value_t = 4)]
    tasks: u64,
    /// Share this many sessions among all processes.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    sessions: u64,
    /// Wait for this many acknowledged increments between two kills.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    between: u64,
    /// Choose the victim of each kill with this seed. The timing of the OS stays random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Work in this folder, which must be empty or missing, and keep its data, journals and logs [default: a temporary
    /// folder, kept only after a failure].
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

impl Crash {
    pub(crate) fn run(self) -> Result<bool> {
        let scenario = Scenario {
            store_kills: self.store_kills,
            process_kills: self.process_kills,
            processes: self.processes,
            threads: self.threads,
            tasks: self.tasks,
            sessions: self.sessions,
            between: self.between,
            seed: self.seed,
            ..scenario()?
        };
        let (outcome, seconds) = run(&scenario, self.keep)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", report::crash_json(&outcome, seconds))?;
        } else {
            write_outcome(&mut out, &outcome, seconds)?;
        }
        Ok(outcome.holds())
    }
}

/// Returns a short scenario, in which this program itself runs as the store and as the processes.
pub(crate) fn scenario() -> Result<Scenario> {
    let own = own()?;
    Ok(Scenario {
        // Short, so that the lease of a killed process ends soon; long enough for a busy machine.
        store: Program::new(
            &own,
            &[
                "serve",
                "--lease-ms",
                "4000",
                "--recall-ms",
                "10000",
                "--turns",
                "0",
            ],
        ),
        worker: Program::new(&own, &["work"]),
        processes: 3,
        threads: 4,
        tasks: 4,
        sessions: 8,
        store_kills: 5,
        process_kills: 5,
        between: 200,
        seed: 1,
    })
}

/// Runs a scenario, in a folder that is removed if the scenario holds.
pub(crate) fn run(scenario: &Scenario, keep: Option<PathBuf>) -> Result<(Outcome, f64)> {
    let started = Instant::now();
    let scratch = tempfile::tempdir()?;
    let folder = keep.clone().unwrap_or_else(|| scratch.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let line = Line::new("kills");
    let outcome = play(scenario, &folder, |done, of| {
        line.say(format!("{done} of {of}"))
    });
    drop(line);
    if keep.is_none() && !matches!(&outcome, Ok(outcome) if outcome.holds()) {
        let kept = scratch.keep();
        eprintln!(
            "tenure: the scenario failed; its data, journals and logs are kept in {}",
            kept.display()
        );
    }
    Ok((outcome?, started.elapsed().as_secs_f64()))
}

/// Prints the outcome as text.
pub(crate) fn write_outcome(out: &mut impl Write, outcome: &Outcome, seconds: f64) -> Result<()> {
    let Outcome {
        verdict,
        store_kills,
        process_kills,
        leaked,
        differs_on_disk,
    } = outcome;
    let (verb, which) = if outcome.holds() {
        ("holds", "none lost and none counted twice")
    } else {
        ("FAILS", "with these findings")
    };
    writeln!(
        out,
        "  {verb}  {} increments acknowledged, {which}; {store_kills} kills of the store, {process_kills} of processes \
         ({seconds:.0} s)",
        thousands(verdict.acknowledged)
    )?;
    for finding in verdict.findings.iter().take(SHOWN_MAX) {
        writeln!(out, "         {finding}")?;
    }
    if verdict.findings.len() > SHOWN_MAX {
        writeln!(
            out,
            "         and {} more",
            verdict.findings.len() - SHOWN_MAX
        )?;
    }
    if *leaked > 0 {
        writeln!(
            out,
            "         {leaked} grants remain although every process has sent its goodbye"
        )?;
    }
    if *differs_on_disk {
        writeln!(
            out,
            "         the data on the disk differs from the last answers of the store"
        )?;
    }
    Ok(())
}

/// Stops a holder past its lease with SIGSTOP, continues it with SIGCONT, and returns its own report.
pub(crate) fn stop_a_holder() -> Result<Found> {
    let own = own()?;
    let folder = tempfile::tempdir()?;
    let store = Program::new(&own, &["serve", "--lease-ms", "1500"]);
    stopped::play(&store, &Program::new(&own, &["hold"]), folder.path())
}

pub(crate) fn own() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find the path of this program")
}

/// The arguments of `tenure hold`: the process that `tenure verify` stops.
#[derive(Args)]
pub(crate) struct Hold {
    /// The address of the store.
    address: String,
}

impl Hold {
    pub(crate) fn run(self) -> Result<bool> {
        stopped::hold(&self.address)?;
        Ok(true)
    }
}

/// The arguments of `tenure work`: one process of a scenario, which `tenure crash` starts.
#[derive(Args)]
pub(crate) struct Work {
    /// The orders of this process, as JSON.
    orders: String,
}

impl Work {
    pub(crate) fn run(self) -> Result<bool> {
        tenure_workload::director::obey(&self.orders)?;
        Ok(true)
    }
}
