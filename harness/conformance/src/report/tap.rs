//! The report in the Test Anything Protocol, version 14.

use super::{Outcome, Report, Verdict};
use std::fmt::Write as _;

pub(super) fn write(report: &Report) -> String {
    let mut out = format!(
        "TAP version 14\n1..{}\n# {}: {}\n",
        report.cases.len(),
        report.target,
        report.claim
    );
    for (number, case) in (1..).zip(&report.cases) {
        line(&mut out, number, case).expect("writing to a String never fails");
    }
    out
}

fn line(out: &mut String, number: usize, case: &Outcome) -> std::fmt::Result {
    let is_ok = matches!(
        case.verdict,
        Verdict::Pass | Verdict::Skip | Verdict::UnexpectedPass
    );
    let word = if is_ok { "ok" } else { "not ok" };
    write!(out, "{word} {number} - {} ({})", case.id, case.level.word())?;
    let why = case.why.as_deref().unwrap_or_default().replace('#', "\\#");
    match case.verdict {
        Verdict::Skip => write!(out, " # SKIP {why}")?,
        Verdict::KnownFailing | Verdict::UnexpectedPass => write!(out, " # TODO {why}")?,
        _ => {}
    }
    out.push('\n');
    if let (Some(expected), Some(seen)) = (&case.expected, &case.seen) {
        // JSON strings are valid YAML.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        write!(
            out,
            "  ---\n  requires: {}\n  expected: {}\n  seen: {}\n  ...\n",
            quoted(&case.title),
            quoted(expected),
            quoted(seen)
        )?;
    }
    Ok(())
}
