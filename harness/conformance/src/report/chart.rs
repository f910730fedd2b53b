//! The messages of a case as a picture: a column for each who took part, the target first.

use crate::trace::Traced;
use std::fmt::Write as _;

/// How wide a column is.
const WIDTH: usize = 26;
/// Longer pictures are cut.
const LINES_MAX: usize = 80;

/// Draws it.
pub(super) fn draw(target: &str, trace: &[Traced]) -> String {
    let mut lanes: Vec<&str> = Vec::new();
    for own in trace {
        if !lanes.contains(&own.who.as_str()) {
            lanes.push(&own.who);
        }
    }
    let mut out = format!("{:>9}  {target:<WIDTH$}", "ms");
    for lane in &lanes {
        write!(out, "{lane:<WIDTH$}").expect("a string takes all");
    }
    out.push('\n');
    for own in trace.iter().take(LINES_MAX) {
        let place = lanes.iter().position(|lane| *lane == own.who).unwrap_or(0);
        let between = WIDTH * (place + 1) - 1;
        let word: String = match own.way {
            '!' => own.says.chars().take(WIDTH).collect(),
            _ => word(&own.says).to_owned(),
        };
        let line = match own.way {
            '>' => format!("|<{}|", centred(&format!(" {word} "), between - 1, '-')),
            '<' => format!("|{}>|", centred(&format!(" {word} "), between - 1, '-')),
            _ => format!("|{}* {word}", " ".repeat(between)),
        };
        writeln!(out, "{:>9}  {line}", own.at_ms).expect("a string takes all");
    }
    if trace.len() > LINES_MAX {
        writeln!(out, "{:>9}  and {} more", "", trace.len() - LINES_MAX)
            .expect("a string takes all");
    }
    out
}

/// What kind of message it is.
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
