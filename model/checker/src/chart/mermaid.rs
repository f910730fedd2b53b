//! A chart as a Mermaid sequence diagram, for places that render Mermaid: an issue, a pull request, a wiki.
//!
//! Mermaid has no messages under way: an arrow leaves and arrives on the same line. A message that arrives later is
//! therefore a note where it leaves, with its tag, and an arrow with the same tag where it arrives. Faults stand on a
//! red ground, the cycle of a lasso in `loop for ever`, and the verdict in a note over all lanes.
//!
//! Mermaid has no quoting, but it has entities. Every character with a meaning for its lexer or its HTML becomes an
//! entity. Words that are keywords (`end`, `loop`) are harmless, because no text begins a line.

use std::fmt::Write as _;

use super::Chart;
use super::lines::{Arrow, Line, Mark, Stage, clean, cycle_words, lane_name, lines};

/// Returns a chart as a Mermaid `sequenceDiagram`.
#[must_use]
pub fn mermaid(chart: &Chart) -> String {
    let lines = lines(chart);
    let mut out = String::from("sequenceDiagram\n");
    let title = escape(&chart.title);
    if !title.is_empty() {
        push(&mut out, 1, format_args!("title {title}"));
    }
    for lane in 0..chart.lanes.len() {
        push(
            &mut out,
            1,
            format_args!("participant L{lane} as {}", escape(&lane_name(chart, lane))),
        );
    }
    if chart.lanes.is_empty() {
        push(&mut out, 1, format_args!("participant L0 as ?"));
    }
    let mut depth = 1;
    for line in &lines {
        if line.repeats && depth == 1 {
            push(&mut out, 1, format_args!("loop for ever"));
            depth = 2;
        }
        push_line(&mut out, depth, chart, line);
    }
    if depth == 2 {
        push(&mut out, 1, format_args!("end"));
    }
    let all = over(chart, None);
    if depth == 1
        && let Some(words) = cycle_words(chart, &lines)
    {
        push(
            &mut out,
            1,
            format_args!("Note over {all}: {}", escape(&words)),
        );
    }
    for (head, entries) in [
        ("Verdict", &chart.verdict),
        ("The last step changed", &chart.changes),
    ] {
        if !entries.is_empty() {
            let text = entries
                .iter()
                .map(|entry| escape(entry))
                .collect::<Vec<_>>()
                .join("<br/>");
            push(
                &mut out,
                1,
                format_args!("Note over {all}: {head}<br/>{text}"),
            );
        }
    }
    out
}

fn push(out: &mut String, depth: usize, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{}{line}", "    ".repeat(depth)).expect("writing to a string cannot fail");
}

fn push_line(out: &mut String, depth: usize, chart: &Chart, line: &Line<'_>) {
    let step = if line.label.is_empty() {
        String::new()
    } else {
        format!("{}. ", line.label)
    };
    match &line.mark {
        Mark::Note { lane, text } => {
            push(
                out,
                depth,
                format_args!(
                    "Note over {}: {step}{}",
                    over(chart, Some(*lane)),
                    escape(text)
                ),
            );
        }
        Mark::Fault { lane, text } => {
            push(out, depth, format_args!("rect rgb(255, 205, 205)"));
            push(
                out,
                depth + 1,
                format_args!("Note over {}: {step}{}", over(chart, *lane), escape(text)),
            );
            push(out, depth, format_args!("end"));
        }
        Mark::Arrow(arrow) => push_arrow(out, depth, chart, &step, arrow),
    }
}

fn push_arrow(out: &mut String, depth: usize, chart: &Chart, step: &str, arrow: &Arrow<'_>) {
    let (from, to) = (over(chart, Some(arrow.from)), over(chart, Some(arrow.to)));
    let text = escape(&arrow.caption());
    let shape = match arrow.stage {
        Stage::Leaves | Stage::Stays => {
            let side = if arrow.from < arrow.to {
                "right"
            } else {
                "left"
            };
            push(
                out,
                depth,
                format_args!("Note {side} of {from}: {step}{text}"),
            );
            return;
        }
        Stage::Call => "->>",
        Stage::Arrives | Stage::ArrivesAgain => "-)",
        Stage::Lost => "-x",
    };
    push(out, depth, format_args!("{from}{shape}{to}: {step}{text}"));
}

/// Returns the participant of a lane, or the range from the first to the last one.
fn over(chart: &Chart, lane: Option<usize>) -> String {
    let last = chart.lanes.len().saturating_sub(1);
    match lane {
        Some(lane) => format!("L{}", lane.min(last)),
        None if last == 0 => "L0".to_owned(),
        None => format!("L0,L{last}"),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in clean(text).chars() {
        match c {
            '#' | ';' | ':' | '%' | '<' | '>' | '&' | '"' | '\\' | '`' | '$' | '{' | '}' | '*'
            | '_' => {
                write!(out, "#{};", u32::from(c)).expect("writing to a string cannot fail");
            }
            c => out.push(c),
        }
    }
    out
}
