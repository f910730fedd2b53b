//! The report as one self-contained page: implementations × rules, and for each case its requirement, its sequence
//! chart and its frames, in hex and decoded. `maud` escapes all text from the target.

use super::{Outcome, Report, Verdict, by_rule, chart};
use crate::trace::Traced;
use maud::{DOCTYPE, Markup, html};
use std::fmt::Write as _;

/// The most characters that the page shows of a message. The JSON report has the whole message.
const SAID_MAX: usize = 1_000;

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; } \
td, th { border: 1px solid #8886; padding: .2rem .5rem; text-align: left; vertical-align: top; }
pre, code { font: 12.5px/1.35 ui-monospace, monospace; } pre { overflow-x: auto; background: #8881; padding: .6rem; }
.pass { background: #2a72; } .fail, .fault, .unexpected-pass { background: #d332; } \
.skip, .known-failing { background: #cc52; }
details { margin: .3rem 0; } summary { cursor: pointer; }
";

pub(super) fn write(reports: &[Report]) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "tenure conform" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "Conformance" }
                @for report in reports { (summary(report)) }
                h2 { "Implementations × rules" }
                (matrix(reports))
                @for report in reports { (cases(report)) }
            }
        }
    }
    .into_string()
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::KnownFailing => "known-failing",
        Verdict::UnexpectedPass => "unexpected-pass",
        Verdict::Skip => "skip",
        Verdict::Fault => "fault",
    }
}

fn summary(report: &Report) -> Markup {
    let verdict = report.verdict();
    html! {
        p {
            b { (report.target) " " (verdict) } ": " (report.claim) br;
            small { "suite " (report.suite) ", protocol " (report.protocol) ", seed " (report.seed) ", "
                (format!("{:.1}", report.seconds)) " s" }
        }
    }
}

fn matrix(reports: &[Report]) -> Markup {
    let rules = by_rule(reports);
    html! {
        table {
            tr { th { "rule" } @for report in reports { th { (report.target) } } }
            @for (rule, row) in &rules {
                tr {
                    td { code { (rule) } }
                    @for verdict in row {
                        @match verdict {
                            Some(verdict) => { td class=(class(*verdict)) { (verdict.word()) } }
                            None => { td {} }
                        }
                    }
                }
            }
        }
    }
}

fn cases(report: &Report) -> Markup {
    html! {
        h2 { (report.target) }
        @for case in &report.cases {
            details class=(class(case.verdict)) {
                summary {
                    code { (case.id) } " " (case.level.word()) " " b { (case.verdict.word()) } " " (case.title)
                }
                (behind(&report.target, case))
            }
        }
    }
}

fn behind(target: &str, case: &Outcome) -> Markup {
    html! {
        @for (what, text) in [("expected", &case.expected), ("seen", &case.seen), ("why", &case.why)] {
            @if let Some(text) = text { p { b { (what) ": " } (text) } }
        }
        @for rule in &case.rules { p { code { "r[" (rule.id) "]" } " " (rule.text) } }
        @if !case.trace.is_empty() {
            pre { (chart::draw(target, &case.trace)) }
            details {
                summary { "frames" }
                pre { (frames(&case.trace)) }
            }
        }
    }
}

/// Formats the frames, decoded and in hex, as plain lines. A table of tens of thousands of cells would be slow in a
/// browser.
fn frames(trace: &[Traced]) -> String {
    let mut out = String::new();
    for line in chart::lines(trace) {
        match line {
            chart::Line::Entry(own) => {
                let Traced {
                    at_ms,
                    who,
                    way,
                    hex,
                    ..
                } = own;
                let rest = own.says.char_indices().nth(SAID_MAX);
                let says = rest.map_or(own.says.as_str(), |(end, _)| &own.says[..end]);
                let more = if rest.is_some() { "…" } else { "" };
                let hex = if hex.is_empty() {
                    String::new()
                } else {
                    format!("\n             {hex}")
                };
                writeln!(out, "{at_ms:>6} {who:<5} {way} {says}{more}{hex}")
            }
            chart::Line::Pings(count) => {
                writeln!(out, "{:>6} keep-alives and answers: {count}", "")
            }
        }
        .expect("writing to a String never fails");
    }
    out
}
