//! `tenure replay`: replays a saved counterexample through the protocol machines.

use crate::report;
use anyhow::{Context, Result};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use tenure_checker::replay;

/// The arguments of `tenure replay`.
#[derive(Args)]
pub(crate) struct Replay {
    /// Replay this counterexample, which `tenure check --chart FILE.json` has written.
    file: PathBuf,
    /// Also write the counterexample to this file as a picture (.svg, .mmd).
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

impl Replay {
    pub(crate) fn run(self) -> Result<bool> {
        let shown = self.file.display();
        let file =
            std::fs::File::open(&self.file).with_context(|| format!("cannot read '{shown}'"))?;
        let example = replay::load_from(file)
            .with_context(|| format!("cannot load the counterexample '{shown}'"))?;
        replay::replay(&example).with_context(|| format!("cannot replay '{shown}'"))?;
        let mut out = std::io::stdout().lock();
        report::write_counterexample(&mut out, &example)?;
        writeln!(
            out,
            "replayed {} steps of '{}': it ends in the saved state",
            example.steps(),
            example.universe
        )?;
        if let Some(path) = &self.chart {
            report::save_counterexample(path, &example)?;
        }
        Ok(true)
    }
}
