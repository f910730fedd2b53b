//! `tenure verify`: runs all checks on this machine, and prints a verdict that fits on one screen.

use crate::check;
use crate::conform;
use crate::crash;
use crate::progress::thousands;
use crate::report;
use anyhow::Result;
use clap::Args;
use std::io::Write;
use std::time::Instant;
use tenure_checker::universe::{UNIVERSES, Universe};

/// The arguments of `tenure verify`.
#[derive(Args)]
pub(crate) struct Verify {
    /// Print one JSON object per line instead of text.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Result<bool> {
        let started = Instant::now();
        let mut out = std::io::stdout().lock();
        let (holds, states) = self.universes(&mut out)?;
        let kills = self.mutants(&mut out)?;
        let counts = self.counts(&mut out)?;
        let stops = self.stops(&mut out)?;
        let conforms = self.conforms(&mut out)?;
        let holds = holds && kills && counts && stops && conforms;
        let seconds = started.elapsed().as_secs_f64();
        if self.json {
            let verdict = serde_json::json!({ "holds": holds, "seconds": seconds });
            writeln!(out, "{verdict}")?;
        } else {
            write_verdict(&mut out, holds, states, seconds)?;
        }
        Ok(holds)
    }

    /// Explores the quick universes. Returns whether all hold, and the total number of states.
    fn universes(&self, out: &mut impl Write) -> Result<(bool, u64)> {
        if !self.json {
            writeln!(
                out,
                "The protocol, by exhaustive bounded model checking of the machines that run:"
            )?;
        }
        let (mut holds, mut states) = (true, 0);
        for universe in UNIVERSES.iter().filter(|universe| universe.is_quick) {
            let (outcome, peak) = check::explore(universe, check::cores(), false);
            holds &= outcome.holds();
            states += outcome.unique_states;
            if self.json {
                writeln!(out, "{}", report::outcome_json(&outcome, peak))?;
                continue;
            }
            let verdict = if outcome.holds() { "holds" } else { "FAILS" };
            writeln!(
                out,
                "  {verdict}  {:<9} {:>9} states  {}",
                universe.name,
                thousands(outcome.unique_states),
                universe.summary
            )?;
            if !outcome.holds() {
                writeln!(out, "         see `tenure check {}`", universe.name)?;
            }
        }
        Ok((holds, states))
    }

    /// Hunts every mutant. Returns whether all were killed.
    fn mutants(&self, out: &mut impl Write) -> Result<bool> {
        let mut missed = Vec::new();
        let kills = crate::hunt::each(None, check::cores(), |mutant, kill| {
            if kill.is_none() {
                missed.push(mutant.name());
            }
            if self.json {
                writeln!(out, "{}", report::kill_json(mutant, kill))?;
            }
            Ok(())
        })?;
        if !self.json {
            let (killed, all) = (kills.iter().flatten().count(), kills.len());
            writeln!(out, "Mutants: {killed} of {all} killed")?;
            for mutant in &missed {
                writeln!(
                    out,
                    "  SURVIVED  {mutant}, see `tenure check --mutant {mutant}`"
                )?;
            }
        }
        Ok(missed.is_empty())
    }

    /// Runs real processes against a real store, and kills both. Returns whether no write was lost and no process is
    /// stuck.
    fn counts(&self, out: &mut impl Write) -> Result<bool> {
        let scenario = crash::scenario()?;
        if !self.json {
            writeln!(
                out,
                "Crash test: {} OS processes of {} threads and {} tasks increment counters in {} sessions of one \
                 store:",
                scenario.processes, scenario.threads, scenario.tasks, scenario.sessions
            )?;
        }
        let (outcome, seconds) = crash::run(&scenario, None)?;
        if self.json {
            writeln!(out, "{}", report::crash_json(&outcome, seconds))?;
        } else {
            crash::write_outcome(out, &outcome, seconds)?;
        }
        Ok(outcome.holds())
    }

    /// Stops a holder past its lease. Returns whether the holder detected the loss and no other process was disturbed.
    fn stops(&self, out: &mut impl Write) -> Result<bool> {
        let found = crash::stop_a_holder()?;
        let holds = found.holds();
        if self.json {
            let found = serde_json::to_value(&found)?;
            let object = serde_json::json!({ "stopped": found, "holds": holds });
            writeln!(out, "{object}")?;
        } else if holds {
            writeln!(
                out,
                "  holds  a holder stopped past its lease: its guard is poisoned and its writes are refused; the \
                 new holder goes on"
            )?;
        } else {
            writeln!(
                out,
                "  FAILS  a holder stopped past its lease did not detect the loss as it must: {found:?}"
            )?;
        }
        Ok(holds)
    }

    /// Judges the store and the library of this repository with the conformance suite.
    fn conforms(&self, out: &mut impl Write) -> Result<bool> {
        if !self.json {
            writeln!(
                out,
                "Conformance suite, black-box, against this store and this library:"
            )?;
        }
        let mut conforms = true;
        for report in [conform::judge_store()?, conform::judge_process()?] {
            conforms &= report.conforms;
            if self.json {
                let object = serde_json::json!({
                    "conformance": report.side, "claim": report.claim, "holds": report.conforms,
                    "seconds": report.seconds,
                });
                writeln!(out, "{object}")?;
            } else {
                conform::write_report(out, &report)?;
            }
        }
        Ok(conforms)
    }
}

/// Prints the scope of the checks, the checks that were left out, and the verdict.
fn write_verdict(out: &mut impl Write, holds: bool, states: u64, seconds: f64) -> Result<()> {
    let names = |is_meant: fn(&Universe) -> bool| {
        let names = UNIVERSES.iter().filter(|universe| is_meant(universe));
        names
            .map(|universe| universe.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let slow = names(|universe| !universe.is_quick);
    let unjudged = names(|universe| universe.is_quick && !universe.judges_progress);
    let states = thousands(states);
    let verdict = if holds {
        "everything holds"
    } else {
        "SOMETHING DOES NOT HOLD"
    };
    write!(
        out,
        "
Checked: {states} unique states, each universe exhaustively. Safety in all of them, progress in
all but {unjudged}. Every mutant.
Not checked here: the larger universes, {slow} (`tenure check --all` checks them).
Trusted without a check: the items in the chapter on assumptions of the book.

VERDICT: {verdict} ({seconds:.0} s)
"
    )?;
    Ok(())
}
