//! `tenure replay`: a saved counterexample, run through the machines again.

use crate::report;
use anyhow::{Context, Result};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use tenure_checker::replay;

/// The arguments of `tenure replay`.
#[derive(Args)]
pub(crate) struct Replay {
    /// What `tenure check --chart FILE.json` has written.
    file: PathBuf,
    /// Write it as a picture as well (.svg, .mmd).
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

impl Replay {
    pub(crate) fn run(self) -> Result<bool> {
        let shown = self.file.display();
        let file =
            std::fs::File::open(&self.file).with_context(|| format!("cannot read '{shown}'"))?;
        let example = replay::load_from(file).with_context(|| format!("'{shown}'"))?;
        replay::replay(&example).with_context(|| format!("'{shown}'"))?;
        let mut out = std::io::stdout().lock();
        report::write_counterexample(&mut out, &example)?;
        writeln!(
            out,
            "replayed {} steps of '{}': it ends where it did",
            example.steps(),
            example.universe
        )?;
        if let Some(path) = &self.chart {
            report::save_counterexample(path, &example)?;
        }
        Ok(true)
    }
}
