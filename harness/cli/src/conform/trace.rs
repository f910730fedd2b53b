//! `tenure conform trace`: judges recorded messages of a store and its processes.

use crate::UNJUDGED;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tenure_conformance::recorded::{BYTES_MAX, Judgement, check};
use tenure_conformance::rules;

/// The arguments of `tenure conform trace`.
#[derive(Args)]
pub(crate) struct Trace {
    /// Judge these traces, or reports of `tenure conform store` in JSON.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Trace {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut all = Vec::new();
        for file in &self.files {
            let text = read(file)?;
            // A panic of the judge is a bug of the suite, whatever the trace contains.
            let Ok(judged) = std::panic::catch_unwind(|| check(&text)) else {
                eprintln!(
                    "tenure: the judge has failed on {}, which is a bug of the suite; please report it with the file",
                    file.display()
                );
                return Ok(ExitCode::from(3));
            };
            let judged = judged.map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?;
            if !judged.iter().any(is_judged) {
                bail!(
                    "cannot judge {}: it records too little of any store or process",
                    file.display()
                );
            }
            all.push((file, judged));
        }
        let mut out = std::io::stdout().lock();
        let told = if self.json {
            json(&mut out, &all)
        } else {
            text(&mut out, &all)
        };
        super::shown(told)?;
        let mut judged = all.iter().flat_map(|(_, judged)| judged);
        let is_whole = judged.clone().all(is_judged);
        Ok(match judged.all(|own| own.finding.is_none()) {
            false => ExitCode::from(1),
            true if is_whole => ExitCode::SUCCESS,
            true => ExitCode::from(UNJUDGED),
        })
    }
}

/// Reads the text of a trace or a report.
pub(super) fn read(file: &Path) -> Result<String> {
    let cannot = || format!("cannot read {}", file.display());
    let max = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX);
    let opened = std::fs::File::open(file).with_context(cannot)?;
    let mut text = String::new();
    // One byte more than allowed, so that a file that is too long is detected.
    let mut opened = opened.take(max.saturating_add(1));
    opened.read_to_string(&mut text).with_context(cannot)?;
    if text.len() > BYTES_MAX {
        bail!(
            "cannot read {}: the file has more than {BYTES_MAX} bytes",
            file.display()
        );
    }
    Ok(text)
}

type Judged<'a> = (&'a PathBuf, Vec<Judgement>);

fn json(out: &mut impl Write, all: &[Judged<'_>]) -> Result<()> {
    let traces = all.iter().flat_map(|(file, judged)| {
        judged.iter().map(move |own| {
            let mut object = serde_json::json!(own);
            object["file"] = file.display().to_string().into();
            object["judged"] = is_judged(own).into();
            object["conforms"] = (is_judged(own) && own.finding.is_none()).into();
            object
        })
    });
    let traces: Vec<_> = traces.collect();
    Ok(writeln!(
        out,
        "{}",
        serde_json::json!({"schema": 1, "traces": traces})
    )?)
}

fn text(out: &mut impl Write, all: &[Judged<'_>]) -> Result<()> {
    for (file, judged) in all {
        let file = file.display();
        for own in judged {
            let name = match &own.name {
                Some(name) if judged.len() > 1 => format!("{file}, {name}"),
                _ => file.to_string(),
            };
            if !is_judged(own) && own.finding.is_none() {
                let entries = own.entries;
                writeln!(
                    out,
                    "{name}: NOT JUDGED ({entries} entries; they record too little of any store or process)"
                )?;
                continue;
            }
            let Some(finding) = &own.finding else {
                writeln!(
                    out,
                    "{name}: conforms ({} entries; {})",
                    own.entries,
                    of(own)
                )?;
                continue;
            };
            let rule = rules::find(finding.rule).map_or("", |rule| &rule.text);
            writeln!(out, "{name}:{}: does not conform", finding.line)?;
            writeln!(out, "         seen: {}", finding.seen)?;
            writeln!(out, "         allowed: {}", finding.allowed)?;
            writeln!(out, "         r[{}]: {rule}", finding.rule)?;
        }
    }
    Ok(())
}

/// Returns whether the trace records enough to judge a store or a process.
fn is_judged(own: &Judgement) -> bool {
    own.store || !own.processes.is_empty()
}

/// Returns the names of the judged parts.
fn of(own: &Judgement) -> String {
    let mut who = Vec::new();
    if own.store {
        who.push("the store".to_owned());
    }
    if !own.processes.is_empty() {
        who.push(format!("the threads of {}", own.processes.join(", ")));
    }
    who.join(" and ")
}
