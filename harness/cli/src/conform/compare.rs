//! `tenure conform compare`: compares several implementations, by the reports of their runs.

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tenure_conformance::Report;
use tenure_conformance::report::{Verdict, by_rule, to_html};

/// The arguments of `tenure conform compare`.
#[derive(Args)]
pub(crate) struct Compare {
    /// Compare these reports of `tenure conform store` or `tenure conform process`, in JSON.
    #[arg(required = true, value_name = "REPORT")]
    files: Vec<PathBuf>,
    /// Write an HTML page to this file, with a table of implementations and rules, and the messages of each case. The
    /// name must end in .html.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut reports = Vec::new();
        for file in &self.files {
            let text = super::trace::read(file)?;
            let report: Report = serde_json::from_str(&text).with_context(|| {
                format!(
                    "cannot compare {}: it is no report of `tenure conform` in JSON; --report FILE.json writes one",
                    file.display()
                )
            })?;
            reports.push(report);
        }
        if let Some(file) = &self.report {
            if file.extension().is_none_or(|end| end != "html") {
                bail!(
                    "cannot write the page to {}: the name must end in .html",
                    file.display()
                );
            }
            std::fs::write(file, to_html(&reports))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let mut out = std::io::stdout().lock();
        let told = if self.json {
            writeln!(out, "{:#}", to_json(&reports))
        } else {
            write_text(&mut out, &reports)
        };
        super::shown(told.map_err(Into::into))?;
        let conforms = reports.iter().all(|report| report.conforms);
        Ok(ExitCode::from(u8::from(!conforms)))
    }
}

fn word(verdict: Option<Verdict>) -> &'static str {
    verdict.map_or("-", Verdict::word)
}

/// Prints one line for each run, and then the rules in which the runs differ.
fn write_text(out: &mut impl Write, reports: &[Report]) -> std::io::Result<()> {
    for (at, report) in reports.iter().enumerate() {
        let Report { target, claim, .. } = report;
        let verdict = report.verdict();
        writeln!(out, "{}  {target}: {verdict}. {claim}", at + 1)?;
    }
    let rules = by_rule(reports);
    let differ = rules
        .iter()
        .filter(|(_, row)| row.iter().any(|own| *own != row[0]));
    for (rule, row) in differ {
        write!(out, "  {rule:<30}")?;
        let words = row.iter().enumerate();
        let words = words.map(|(at, verdict)| format!("  {} {:<13}", at + 1, word(*verdict)));
        writeln!(out, "{}", words.collect::<String>().trim_end())?;
    }
    Ok(())
}

fn to_json(reports: &[Report]) -> serde_json::Value {
    let runs = reports.iter().map(|report| {
        json!({"target": report.target, "side": report.side, "claim": report.claim, "conforms": report.conforms})
    });
    let runs: Vec<_> = runs.collect();
    json!({"runs": runs, "rules": by_rule(reports)})
}
