//! The report as Markdown: the claim, the failed cases, and all cases.

use super::Report;
use std::fmt::Write as _;

pub(super) fn write(report: &Report) -> String {
    let mut out = String::new();
    put(&mut out, report).expect("writing to a String never fails");
    out
}

/// Escapes text of the target for a table, so that it neither ends a cell nor acts as markup.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '|' | '<' | '>' | '`' | '*' | '_' | '[' | ']' | '\\' => out.extend(['\\', char]),
            '\n' | '\r' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

fn put(out: &mut String, report: &Report) -> std::fmt::Result {
    let verdict = report.verdict();
    writeln!(
        out,
        "# {}: {verdict}\n\n{}\n",
        cell(&report.target),
        cell(&report.claim)
    )?;
    writeln!(
        out,
        "tenure conform {} · protocol {} · seed {} · {:.1} s\n",
        report.suite, report.protocol, report.seed, report.seconds
    )?;
    let bad: Vec<_> = report
        .cases
        .iter()
        .filter(|case| case.verdict.is_bad())
        .collect();
    if !bad.is_empty() {
        writeln!(out, "## What does not hold\n")?;
    }
    for case in bad {
        writeln!(
            out,
            "### `{}`: {}\n\n{}\n",
            case.id,
            case.verdict.word(),
            cell(&case.title)
        )?;
        for (what, text) in [
            ("expected", &case.expected),
            ("seen", &case.seen),
            ("why", &case.why),
        ] {
            if let Some(text) = text {
                writeln!(out, "- {what}: {}", cell(text))?;
            }
        }
        for rule in &case.rules {
            writeln!(out, "- `r[{}]` {}", rule.id, cell(&rule.text))?;
        }
        out.push('\n');
    }
    writeln!(
        out,
        "## Cases\n\n| case | level | verdict | requires |\n|---|---|---|---|"
    )?;
    for case in &report.cases {
        let verdict = case.why.as_ref().map_or_else(
            || case.verdict.word().to_owned(),
            |why| format!("{}: {}", case.verdict.word(), cell(why)),
        );
        writeln!(
            out,
            "| `{}` | {} | {verdict} | {} |",
            case.id,
            case.level.word(),
            cell(&case.title)
        )?;
    }
    Ok(())
}
