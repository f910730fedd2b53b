//! `tenure verify`: everything that there is, checked on this machine, and a verdict that fits a screen.

use crate::check;
use crate::progress::thousands;
use anyhow::Result;
use clap::Args;
use std::io::Write;
use std::time::Instant;
use tenure_checker::universe::UNIVERSES;

/// The arguments of `tenure verify`.
#[derive(Args)]
pub(crate) struct Verify {
    /// One JSON object a line, for machines.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Result<bool> {
        let started = Instant::now();
        let threads = check::cores();
        let mut out = std::io::stdout().lock();
        let mut is_sound = true;
        let mut states = 0;
        let quick = || UNIVERSES.iter().filter(|universe| universe.is_quick);
        if !self.json {
            writeln!(
                out,
                "The protocol, exhaustive bounded model checking of the machines that run:"
            )?;
        }
        for universe in quick() {
            let (outcome, peak) = check::explore(universe, threads, false);
            is_sound &= outcome.holds();
            states += outcome.unique_states;
            if self.json {
                writeln!(out, "{}", crate::report::outcome_json(&outcome, peak))?;
                continue;
            }
            let verdict = if outcome.holds() { "holds" } else { "FAILS" };
            let unique = thousands(outcome.unique_states);
            let properties = outcome.judgements.len();
            writeln!(
                out,
                "  {verdict}  {:<9} {unique:>9} states, {properties} properties  {}",
                universe.name, universe.summary
            )?;
        }
        let mut missed = Vec::new();
        let catches = crate::hunt::each(None, threads, |defect, catch| {
            if catch.is_none() {
                missed.push(defect.name());
            }
            if self.json {
                writeln!(out, "{}", crate::report::catch_json(defect, catch))?;
            }
            Ok(())
        })?;
        let caught = catches.iter().flatten().count();
        is_sound &= caught == catches.len();
        if self.json {
            let verdict = serde_json::json!({ "holds": is_sound, "seconds": started.elapsed().as_secs_f64() });
            writeln!(out, "{verdict}")?;
            return Ok(is_sound);
        }
        writeln!(
            out,
            "Mistakes made on purpose: {caught} of {} caught {}",
            catches.len(),
            missed.join(", ")
        )?;
        self.write_verdict(&mut out, is_sound, states, started.elapsed().as_secs_f64())?;
        Ok(is_sound)
    }

    /// What was checked, what was not, and the verdict.
    fn write_verdict(
        &self,
        out: &mut impl Write,
        is_sound: bool,
        states: u64,
        seconds: f64,
    ) -> Result<()> {
        let slow: Vec<&str> = UNIVERSES
            .iter()
            .filter(|universe| !universe.is_quick)
            .map(|universe| universe.name)
            .collect();
        writeln!(out)?;
        writeln!(
            out,
            "Checked: {} unique states whole, safety and progress; every seeded defect.",
            thousands(states)
        )?;
        if !slow.is_empty() {
            writeln!(
                out,
                "Not checked here: the larger universes {} (`tenure check --all`).",
                slow.join(", ")
            )?;
        }
        writeln!(
            out,
            "Not yet there: reordered and repeated messages 6 mistakes that nothing catches yet, the store, the library, the suite."
        )?;
        writeln!(
            out,
            "Trusted: what the book's chapter on assumptions names."
        )?;
        writeln!(out)?;
        let verdict = if is_sound {
            "VERDICT: everything holds"
        } else {
            "VERDICT: SOMETHING DOES NOT HOLD"
        };
        writeln!(out, "{verdict} ({seconds:.0} s)")?;
        Ok(())
    }
}
