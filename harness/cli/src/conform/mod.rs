//! `tenure conform`: judges any implementation of a store or a process library.

mod compare;
mod explain;
mod reference;
mod trace;

use crate::progress::Line;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tenure_conformance::report::{Outcome, Verdict, to_html};
use tenure_conformance::store::{Hook, Hooks, Limits, Target};
use tenure_conformance::{
    Case, KnownFailing, Plan, Progress, Report, Selection, Subject, process, rules, run, store,
};

/// The subcommands of `tenure conform`.
#[derive(Subcommand)]
pub(crate) enum Conform {
    /// Judge a store, with scripted processes that behave well or badly.
    Store(Store),
    /// Judge a process library, with a scripted store and an adapter that drives the library.
    Process(Library),
    /// Judge recorded messages of a store and its processes.
    Trace(trace::Trace),
    /// Compare several implementations by their reports.
    Compare(compare::Compare),
    /// List the cases.
    List(List),
    /// Explain a case or a rule.
    Explain(Explain),
}

/// The options to select cases and to report results.
#[derive(Args)]
struct Manner {
    /// Play only these cases and rules, with `*` and `?` as wildcards; `grant` selects all names below it [default:
    /// all].
    select: Vec<String>,
    /// Expect the cases in this file to fail: an id and a reason per line. They are played. If one passes, the run
    /// fails.
    #[arg(long, value_name = "FILE")]
    known_failing: Option<PathBuf>,
    /// Play this many cases at a time.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Play each case this many times.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Make all random choices from this seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write a report to this file, in the format of its extension: .json, .xml (JUnit), .tap, .md or .html. Can be
    /// given several times.
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    /// Print the JSON report instead of text.
    #[arg(long)]
    json: bool,
}

/// The arguments of `tenure conform store`.
#[derive(Args)]
pub(crate) struct Store {
    /// Judge the store that listens at this address.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "reference")]
    target: Option<String>,
    /// Start the reference store with short timeouts and all hooks, and judge that store.
    #[arg(
        long,
        conflicts_with_all = ["target", "expires_ms", "hook_restart", "hook_pause", "hook_resume", "hook_recall"]
    )]
    reference: bool,
    /// Allow this delay, in milliseconds, for an event that must follow at once.
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    slack_ms: u64,
    /// Wait at most this long, in milliseconds, for a lease or a deadline of the store. Cases that need longer are
    /// skipped.
    #[arg(long, value_name = "MS", default_value_t = 15_000)]
    wait_max_ms: u64,
    /// Expect unused sessions to end after this time, in milliseconds. Without it, the cases about that are skipped.
    #[arg(long, value_name = "MS")]
    expires_ms: Option<u64>,
    /// Expect these limits of the store, as in `grants_max=16,waiters_max=4`. Cases about other limits are skipped.
    #[arg(long, value_name = "KEY=N,...", default_value_t)]
    limits: Limits,
    /// Kill the store and start it again on the same data with this shell command.
    #[arg(long, value_name = "CMD")]
    hook_restart: Option<String>,
    /// Stop the store's OS process, as SIGSTOP does, with this shell command.
    #[arg(long, value_name = "CMD")]
    hook_pause: Option<String>,
    /// Continue the stopped store with this shell command.
    #[arg(long, value_name = "CMD")]
    hook_resume: Option<String>,
    /// Recall the session whose id is in $SESSION with this shell command, as the operator of the store does.
    #[arg(long, value_name = "CMD")]
    hook_recall: Option<String>,
    #[command(flatten)]
    manner: Manner,
}

/// The arguments of `tenure conform process`.
#[derive(Args)]
pub(crate) struct Library {
    /// Allow this delay, in milliseconds, for an event that must follow at once.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    slack_ms: u64,
    #[command(flatten)]
    manner: Manner,
    /// Start the adapter with this command, given after `--`. It runs once for each case.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The arguments of `tenure conform list`.
#[derive(Args)]
pub(crate) struct List {
    /// List only these cases and rules, as in `tenure conform store`.
    select: Vec<String>,
    /// Print one JSON object per line instead of text.
    #[arg(long)]
    json: bool,
}

/// The arguments of `tenure conform explain`.
#[derive(Args)]
pub(crate) struct Explain {
    /// Explain the case of this id, such as `grant/free/at-once`, or the rule of this id, such as `grant.free`.
    what: String,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Conform {
    /// Returns the exit code: 0 conforms, 1 does not conform, 2 wrong usage or an unreachable target, 3 a bug of the
    /// suite.
    pub(crate) fn run(self) -> ExitCode {
        let result = match self {
            Self::Store(store) => store.run(),
            Self::Process(library) => library.run(),
            Self::Trace(trace) => trace.run(),
            Self::Compare(compare) => compare.run(),
            Self::List(list) => shown(list.run()),
            Self::Explain(explain) => shown(explain.run()),
        };
        result.unwrap_or_else(|error| {
            eprintln!("tenure: {error:#}");
            ExitCode::from(2)
        })
    }
}

/// Maps the result of a command that only prints: a reader that closes the pipe early is no error.
fn shown(result: Result<()>) -> Result<ExitCode> {
    match result {
        Err(error) if !crate::is_closed_pipe(&error) => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Returns all cases of stores and of process libraries.
fn all() -> Vec<Case> {
    [store::all(), process::all()].concat()
}

impl Manner {
    fn plan(&self, cases: &[Case]) -> Result<Plan> {
        let known_failing = match &self.known_failing {
            None => KnownFailing::default(),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                KnownFailing::parse(&text, cases)
                    .map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?
            }
        };
        for file in &self.report {
            format_of(file)?;
        }
        let selection = Selection::new(self.select.iter().map(String::as_str));
        if !cases.iter().any(|case| selection.has(case)) {
            bail!(
                "no case matches {}; `tenure conform list` lists all cases",
                self.select.join(" ")
            );
        }
        Ok(Plan {
            selection,
            known_failing,
            jobs: self.jobs.into(),
            repeat: self.repeat,
            seed: self.seed,
        })
    }

    /// Writes the reports and returns the exit code.
    fn tell(&self, report: &Report) -> Result<ExitCode> {
        for file in &self.report {
            let text = format_of(file)?(report);
            std::fs::write(file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", report.to_json())?;
        } else {
            write_report(&mut out, report)?;
        }
        Ok(match report {
            report if report.is_faulty() => ExitCode::from(3),
            report if report.conforms => ExitCode::SUCCESS,
            _ => ExitCode::from(1),
        })
    }
}

type Format = fn(&Report) -> String;

/// Returns the report format for the extension of the file.
fn format_of(file: &Path) -> Result<Format> {
    Ok(match file.extension().and_then(|end| end.to_str()) {
        Some("json") => Report::to_json,
        Some("xml") => Report::to_junit,
        Some("tap") => Report::to_tap,
        Some("md") => Report::to_markdown,
        Some("html") => |report| to_html(std::slice::from_ref(report)),
        _ => bail!(
            "cannot write a report to {}: the name must end in .json, .xml, .tap, .md or .html",
            file.display()
        ),
    })
}

impl Store {
    fn run(self) -> Result<ExitCode> {
        let cases = store::all();
        let plan = self.manner.plan(&cases)?;
        let Some(address) = self.target else {
            let reference = reference::Store::start()?;
            let mut target = reference.target()?;
            (target.slack_ms, target.wait_max_ms) = (self.slack_ms, self.wait_max_ms);
            let report = play(&cases, &Subject::Store(Arc::new(target)), &plan)?;
            return self.manner.tell(&report);
        };
        let subject = Subject::Store(Arc::new(Target {
            address,
            slack_ms: self.slack_ms,
            wait_max_ms: self.wait_max_ms,
            expires_ms: self.expires_ms,
            limits: self.limits,
            hooks: Hooks {
                restart: self.hook_restart.map(Hook::Shell),
                pause: self.hook_pause.map(Hook::Shell),
                resume: self.hook_resume.map(Hook::Shell),
                recall: self.hook_recall.map(Hook::Shell),
            },
        }));
        let report = play(&cases, &subject, &plan)?;
        self.manner.tell(&report)
    }
}

impl Library {
    fn run(self) -> Result<ExitCode> {
        let cases = process::all();
        let plan = self.manner.plan(&cases)?;
        let subject = Subject::Process(Arc::new(process::Target {
            command: self.command,
            slack_ms: self.slack_ms,
        }));
        let report = play(&cases, &subject, &plan)?;
        self.manner.tell(&report)
    }
}

/// Plays the cases, and shows progress on a terminal.
pub(crate) fn play(cases: &[Case], subject: &Subject, plan: &Plan) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let progress = Shown(Line::new("conform"));
    let report = runtime.block_on(run(cases, subject, plan, &progress));
    report.map_err(anyhow::Error::msg)
}

struct Shown(Line);

impl Progress for Shown {
    fn ended(&self, outcome: &Outcome, done: usize, all: usize) {
        self.0.say(format!("{done}/{all}  {}", outcome.id));
    }
}

/// Prints the skipped cases, the failed cases with all details, and the verdict.
pub(crate) fn write_report(out: &mut impl Write, report: &Report) -> Result<()> {
    write_skipped(out, report)?;
    for case in &report.cases {
        match case.verdict {
            Verdict::Pass | Verdict::Skip => continue,
            verdict => {
                writeln!(out, "  {}   {}  {}", verdict.word(), case.id, case.title)?;
                let lines = [
                    ("expected", &case.expected),
                    ("seen", &case.seen),
                    ("why", &case.why),
                ];
                for (what, text) in lines {
                    if let Some(text) = text {
                        writeln!(out, "         {what}: {text}")?;
                    }
                }
                for rule in &case.rules {
                    writeln!(out, "         r[{}]: {}", rule.id, rule.text)?;
                }
            }
        }
    }
    write_verdict(out, report)
}

/// Prints one line for each reason for which cases were skipped. The reports of `--report` name the reason at each
/// case.
fn write_skipped(out: &mut impl Write, report: &Report) -> Result<()> {
    const NAMED: usize = 2;
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let skipped = report.cases.iter();
    for case in skipped.filter(|case| case.verdict == Verdict::Skip) {
        let why = case.why.as_deref().unwrap_or_default();
        reasons.entry(why).or_default().push(&case.id);
    }
    for (why, cases) in reasons {
        let named = cases[..cases.len().min(NAMED)].join(", ");
        let more = match cases.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        writeln!(out, "  skip   {why}: {named}{more}")?;
    }
    Ok(())
}

/// Prints the verdict and the claim of a run in one line.
pub(crate) fn write_verdict(out: &mut impl Write, report: &Report) -> Result<()> {
    let Report {
        target,
        claim,
        seconds,
        seed,
        ..
    } = report;
    let verdict = report.verdict();
    writeln!(
        out,
        "{target}: {verdict}. {claim} ({seconds:.1} s, --seed {seed})"
    )?;
    Ok(())
}

/// Judges the reference store by all cases, for `tenure verify`.
pub(crate) fn judge_store() -> Result<Report> {
    let store = reference::Store::start()?;
    let target = store.target()?;
    play(
        &store::all(),
        &Subject::Store(Arc::new(target)),
        &Plan::default(),
    )
}

/// Judges the reference library by all cases, through its adapter.
pub(crate) fn judge_process() -> Result<Report> {
    let own = crate::crash::own()?.to_string_lossy().into_owned();
    let target = process::Target {
        command: vec![own, "adapter".to_owned()],
        slack_ms: 5_000,
    };
    let subject = Subject::Process(Arc::new(target));
    play(&process::all(), &subject, &Plan::default())
}

impl List {
    fn run(self) -> Result<()> {
        let selection = Selection::new(self.select.iter().map(String::as_str));
        let mut out = std::io::stdout().lock();
        for case in all().iter().filter(|case| selection.has(case)) {
            if self.json {
                writeln!(out, "{}", case_json(case))?;
            } else {
                writeln!(
                    out,
                    "{:<6} {:<44} {}",
                    case.level.word(),
                    case.id,
                    case.title
                )?;
            }
        }
        Ok(())
    }
}

fn case_json(case: &Case) -> serde_json::Value {
    serde_json::json!({
        "id": case.id,
        "title": case.title,
        "side": case.side,
        "level": case.level,
        "rules": case.rules,
        "needs": case.needs,
        "since": case.since,
    })
}

impl Explain {
    fn run(self) -> Result<()> {
        let cases = all();
        let mut out = std::io::stdout().lock();
        if let Some(case) = cases.iter().find(|case| case.id == self.what) {
            if self.json {
                return Ok(writeln!(out, "{}", case_json(case))?);
            }
            writeln!(out, "{}  {}\n{}", case.id, case.level.word(), case.title)?;
            for need in case.needs {
                writeln!(out, "needs {}", need.option())?;
            }
            for rule in case.rules.iter().filter_map(|id| rules::find(id)) {
                writeln!(
                    out,
                    "\nr[{}]  {} · {}\n{}",
                    rule.id, rule.who, rule.kind, rule.text
                )?;
            }
            return Ok(());
        }
        let id = self.what.trim_start_matches("r[").trim_end_matches(']');
        let Some(rule) = rules::find(id) else {
            bail!(
                "there is no case and no rule `{}`; `tenure conform list` lists all cases",
                self.what
            );
        };
        let cases = cases.iter().filter(|case| case.rules.contains(&rule.id));
        let cases: Vec<&Case> = cases.collect();
        if self.json {
            writeln!(out, "{}", explain::to_json(rule, &cases))?;
        } else {
            explain::write(&mut out, rule, &cases)?;
        }
        Ok(())
    }
}
