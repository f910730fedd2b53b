//! `tenure crash`: real processes count in common sessions on a real store, and both are killed; nothing acknowledged may be
//! lost, nothing may happen twice, nobody may be stuck.

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

/// How many findings a person is shown.
const SHOWN_MAX: usize = 10;

/// The arguments of `tenure crash`.
#[derive(Args)]
pub(crate) struct Crash {
    /// How often the store is killed with SIGKILL.
    #[arg(long, default_value_t = 100)]
    store_kills: u64,
    /// How often a process is killed with SIGKILL.
    #[arg(long, default_value_t = 100)]
    process_kills: u64,
    /// How many processes.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    processes: u64,
    /// OS threads in each process.
    #[arg(long, default_value_t = 4)]
    threads: u64,
    /// Tasks in each process.
    #[arg(long, default_value_t = 4)]
    tasks: u64,
    /// Sessions that all share.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    sessions: u64,
    /// Increments that are to be acknowledged between two kills.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    between: u64,
    /// What decides who is killed when; the system decides the rest.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Works in this folder, which must be empty or missing, and keeps it: data, journals and logs.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// One JSON object, for machines.
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

/// A short scenario that plays this very program as the store and the processes.
pub(crate) fn scenario() -> Result<Scenario> {
    let own = own()?;
    Ok(Scenario {
        // A lease that a killed process has left ends soon; wide enough for a machine that is busy.
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

/// Plays a scenario, in a folder that is removed if all is well.
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
        eprintln!("tenure: what happened is kept in {}", kept.display());
    }
    Ok((outcome?, started.elapsed().as_secs_f64()))
}

/// For people.
pub(crate) fn write_outcome(out: &mut impl Write, outcome: &Outcome, seconds: f64) -> Result<()> {
    let Outcome {
        verdict,
        store_kills,
        process_kills,
        leaked,
        differs_on_disk,
    } = outcome;
    let (verb, which) = if outcome.holds() {
        ("holds", "all there, none twice")
    } else {
        ("FAILS", "and this is wrong")
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
            "         {leaked} grants stand although everybody has said goodbye"
        )?;
    }
    if *differs_on_disk {
        writeln!(
            out,
            "         what is on the disk is not what the store said last"
        )?;
    }
    Ok(())
}

/// Stops a holder past its lease with SIGSTOP, lets it go on with SIGCONT, and hears what it found.
pub(crate) fn stop_a_holder() -> Result<Found> {
    let own = own()?;
    let folder = tempfile::tempdir()?;
    let store = Program::new(&own, &["serve", "--lease-ms", "1500"]);
    stopped::play(&store, &Program::new(&own, &["hold"]), folder.path())
}

pub(crate) fn own() -> Result<PathBuf> {
    std::env::current_exe().context("where this program is, cannot be told")
}

/// The arguments of `tenure hold`: the process that `tenure verify` stops.
#[derive(Args)]
pub(crate) struct Hold {
    /// Where the store is.
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
    /// What to do, as JSON.
    orders: String,
}

impl Work {
    pub(crate) fn run(self) -> Result<bool> {
        tenure_workload::director::obey(&self.orders)?;
        Ok(true)
    }
}
