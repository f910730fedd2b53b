//! The messages of a case as a sequence chart: one column per participant, the target first. The suite sends many
//! keep-alives to wait until the target has read earlier messages, and only the first of them are shown.

use crate::trace::Traced;
use std::fmt::Write as _;

/// The width of a column in characters.
const WIDTH: usize = 26;
/// The most lines of a chart. Longer charts are cut.
const LINES_MAX: usize = 80;

/// The number of keep-alives and answers to show per case. The others are only counted.
const PINGS_MAX: usize = 4;

/// A line of the chart.
pub(super) enum Line<'a> {
    Entry(&'a Traced),
    /// The number of keep-alives and answers to them.
    Pings(usize),
}

/// Returns the lines to show of a trace.
pub(super) fn lines(trace: &[Traced]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut pings = 0;
    for own in trace {
        pings += usize::from(is_ping(own));
        match lines.last_mut() {
            _ if !is_ping(own) || pings <= PINGS_MAX => lines.push(Line::Entry(own)),
            Some(Line::Pings(count)) => *count += 1,
            _ => lines.push(Line::Pings(1)),
        }
    }
    lines
}

/// Returns whether a frame is a keep-alive, or an answer to one without recalls.
fn is_ping(own: &Traced) -> bool {
    match word(&own.says) {
        "KeepAlive" => true,
        "Alive" => own.says.contains("recalls: []"),
        _ => false,
    }
}

/// Draws the chart.
pub(super) fn draw(target: &str, trace: &[Traced]) -> String {
    let mut lanes: Vec<&str> = Vec::new();
    for own in trace {
        if !lanes.contains(&own.who.as_str()) {
            lanes.push(&own.who);
        }
    }
    let mut out = format!("{:>9}  {target:<WIDTH$}", "ms");
    for lane in &lanes {
        write!(out, "{lane:<WIDTH$}").expect("writing to a String never fails");
    }
    out.push('\n');
    let shown = lines(trace);
    for line in shown.iter().take(LINES_MAX) {
        match line {
            Line::Entry(own) => {
                let place = lanes.iter().position(|lane| *lane == own.who).unwrap_or(0);
                let line = drawn(own, WIDTH * (place + 1) - 1);
                writeln!(out, "{:>9}  {line}", own.at_ms)
            }
            Line::Pings(count) => writeln!(out, "{:>9}  | keep-alives and answers: {count}", ""),
        }
        .expect("writing to a String never fails");
    }
    if shown.len() > LINES_MAX {
        writeln!(out, "{:>9}  and {} more", "", shown.len() - LINES_MAX)
            .expect("writing to a String never fails");
    }
    out
}

/// Draws one message between the target and the participant that is `between` columns away.
fn drawn(own: &Traced, between: usize) -> String {
    let word: String = match own.way {
        '!' => own.says.chars().take(WIDTH).collect(),
        _ => word(&own.says).to_owned(),
    };
    match own.way {
        '>' => format!("|<{}|", centred(&format!(" {word} "), between - 1, '-')),
        '<' => format!("|{}>|", centred(&format!(" {word} "), between - 1, '-')),
        _ => format!("|{}* {word}", " ".repeat(between)),
    }
}

/// Returns the kind of a message.
fn word(says: &str) -> &str {
    let end = says.find(|char: char| !char.is_alphanumeric());
    &says[..end.unwrap_or(says.len())]
}

fn centred(text: &str, width: usize, fill: char) -> String {
    let left = width.saturating_sub(text.chars().count());
    let mut out: String = std::iter::repeat_n(fill, left / 2).collect();
    out.push_str(text);
    out.extend(std::iter::repeat_n(fill, left - left / 2));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(says: &str) -> Traced {
        Traced {
            at_ms: 1,
            who: "p1".to_owned(),
            way: '>',
            hex: String::new(),
            says: says.to_owned(),
        }
    }

    #[test]
    fn many_keep_alives_become_one_line_and_all_other_messages_are_shown() {
        let mut trace = vec![traced("Hello {}")];
        trace.extend(vec![traced("KeepAlive {}"); 6]);
        trace.push(traced("Alive { recalls: [(a, b)] }"));
        trace.extend(vec![traced("Alive { recalls: [] }"); 3]);
        let drawn = draw("target", &trace);
        let ends: Vec<&str> = drawn
            .lines()
            .map(|line| line[11..].trim_matches(['|', '<', '-', ' ']))
            .collect();
        let pings = ["KeepAlive"; 4];
        let mut expected = vec!["target                    p1", "Hello"];
        expected.extend(pings);
        expected.extend([
            "keep-alives and answers: 2",
            "Alive",
            "keep-alives and answers: 3",
        ]);
        assert_eq!(ends, expected);
    }
}
