//! The lines of a chart, made from its rows: the part that all pictures have in common.
//!
//! If a message arrives on the row directly after its sending, both rows become one line with one arrow. Any other
//! message has two lines with other lines between them, and gets a tag: a letter that stands at both lines. This module
//! gives out the tags, pairs arrivals with sendings, and turns step numbers into labels, so that the three drawings
//! agree.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chart, Event, Row};

/// One line of a picture.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    /// The first and last step of the line. They differ when a sending and its arrival became one line.
    pub(super) steps: (usize, usize),
    /// The step number at the left edge; empty when the line above has the same number.
    pub(super) label: String,
    /// Whether the line is one of those that repeat for ever.
    pub(super) repeats: bool,
    /// The content of the line.
    pub(super) mark: Mark<'a>,
}

/// The content of a line.
#[derive(Clone, Debug)]
pub(super) enum Mark<'a> {
    Note { lane: usize, text: &'a str },
    Fault { lane: Option<usize>, text: &'a str },
    Arrow(Arrow<'a>),
}

/// An arrow, or one end of an arrow.
#[derive(Clone, Debug)]
pub(super) struct Arrow<'a> {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) text: &'a str,
    pub(super) stage: Stage,
    /// The letter at both ends. `None` when this one line is the whole arrow.
    pub(super) tag: Option<String>,
    /// The line on which the arrow left, if that is another line.
    pub(super) sent: Option<usize>,
}

/// The moment of an arrow that a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A call, which has no moments: it happens at once.
    Call,
    /// The message leaves, and its end is on a later line.
    Leaves,
    /// The message leaves, and no line shows its end.
    Stays,
    /// The message arrives.
    Arrives,
    /// The message arrives again.
    ArrivesAgain,
    /// The message is lost.
    Lost,
}

impl Arrow<'_> {
    /// Returns the label, with a note about the other end of the arrow. The caller wraps it.
    pub(super) fn caption(&self) -> String {
        let text = clean(self.text);
        let moment = match (self.stage, &self.tag) {
            (Stage::Lost, None) => "(lost)".to_owned(),
            (_, None) | (Stage::Call, _) => return text,
            (Stage::Leaves, Some(tag)) => format!("({tag}{NO_BREAK}leaves)"),
            (Stage::Stays, Some(tag)) => format!("({tag}{NO_BREAK}leaves, still on the way)"),
            (Stage::Arrives, Some(tag)) => format!("({tag}{NO_BREAK}arrives)"),
            (Stage::ArrivesAgain, Some(tag)) => format!("({tag}{NO_BREAK}arrives again)"),
            (Stage::Lost, Some(tag)) => format!("({tag}{NO_BREAK}is lost)"),
        };
        format!("{text} {moment}").trim_start().to_owned()
    }
}

/// Returns the lines of a chart, from top to bottom.
pub(super) fn lines(chart: &Chart) -> Vec<Line<'_>> {
    let mut builder = Builder::new(chart);
    let mut row = 0;
    while let Some(Row { step, .. }) = chart.rows.get(row) {
        // The sending on the row above was skipped, so the arrival finds no sending and becomes the whole arrow.
        let shown = if builder.arrives_at_once(row) {
            row + 1
        } else {
            row
        };
        let mark = builder.mark(shown, &chart.rows[shown].event);
        builder.push(row, (*step, chart.rows[shown].step), mark);
        row = shown + 1;
    }
    builder.lines
}

/// Returns the first and the last step that repeat, if any do.
pub(super) fn repeated_steps(lines: &[Line<'_>]) -> Option<(usize, usize)> {
    let first = lines.iter().find(|line| line.repeats)?;
    let last = lines.last()?;
    Some((first.steps.0, last.steps.1))
}

/// Returns the text at the end of a lasso, or `None` if the chart is no lasso.
pub(super) fn cycle_words(chart: &Chart, lines: &[Line<'_>]) -> Option<String> {
    chart.cycle_from?;
    Some(match repeated_steps(lines) {
        None => "from here on nothing happens, for ever".to_owned(),
        Some((first, last)) if first == last => format!("step {first} repeats for ever"),
        Some((first, last)) => format!("steps {first} to {last} repeat for ever"),
    })
}

/// Returns the name of a lane, on one line.
pub(super) fn lane_name(chart: &Chart, lane: usize) -> String {
    chart
        .lanes
        .get(lane)
        .map_or_else(|| "?".to_owned(), |lane| clean(&lane.name))
}

/// Returns a text on one line, without line breaks, control characters, invisible characters, and characters that
/// change the direction of writing.
pub(super) fn clean(text: &str) -> String {
    let visible: String = text
        .chars()
        .filter(|c| !is_invisible(*c))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{fffe}'
            | '\u{ffff}'
    )
}

/// A space at which [`wrap`] does not break. A cleaned text has none.
pub(super) const NO_BREAK: &str = "\u{a0}";

/// Breaks a text between words into pieces that `fits` accepts. A word that does not fit is cut. The result is never
/// empty.
pub(super) fn wrap(text: &str, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let longer = if piece.is_empty() {
            word.to_owned()
        } else {
            format!("{piece} {word}")
        };
        if fits(&longer) {
            piece = longer;
            continue;
        }
        if !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
        }
        for c in word.chars() {
            piece.push(c);
            if !fits(&piece) && piece.chars().nth(1).is_some() {
                piece.pop();
                pieces.push(std::mem::replace(&mut piece, c.to_string()));
            }
        }
    }
    if !piece.is_empty() || pieces.is_empty() {
        pieces.push(piece);
    }
    pieces
        .into_iter()
        .map(|piece| piece.replace(NO_BREAK, " "))
        .collect()
}

struct Builder<'a> {
    chart: &'a Chart,
    lines: Vec<Line<'a>>,
    /// The number of rows for each message.
    rows_of: BTreeMap<u64, usize>,
    /// The last row on which each message arrives or is lost.
    last_end: BTreeMap<u64, usize>,
    /// The line on which each message left, and its tag.
    sent: BTreeMap<u64, (usize, String)>,
    arrived: BTreeSet<u64>,
}

impl<'a> Builder<'a> {
    fn new(chart: &'a Chart) -> Self {
        let mut rows_of = BTreeMap::new();
        let mut last_end = BTreeMap::new();
        for (row, Row { event, .. }) in chart.rows.iter().enumerate() {
            match event {
                Event::Send { message, .. } => *rows_of.entry(*message).or_default() += 1,
                Event::Receive { message, .. } | Event::Lose { message, .. } => {
                    *rows_of.entry(*message).or_default() += 1;
                    last_end.insert(*message, row);
                }
                Event::Note { .. } | Event::Call { .. } | Event::Fault { .. } => {}
            }
        }
        Self {
            chart,
            lines: Vec::new(),
            rows_of,
            last_end,
            sent: BTreeMap::new(),
            arrived: BTreeSet::new(),
        }
    }

    /// Returns whether this row and the next one are the only sending and the only end of a message.
    fn arrives_at_once(&self, row: usize) -> bool {
        let (Some(here), Some(next)) = (self.chart.rows.get(row), self.chart.rows.get(row + 1))
        else {
            return false;
        };
        let Event::Send {
            from, to, message, ..
        } = &here.event
        else {
            return false;
        };
        let same = match &next.event {
            Event::Receive {
                from: f,
                to: t,
                message: m,
                ..
            }
            | Event::Lose {
                from: f,
                to: t,
                message: m,
                ..
            } => (f, t, m) == (from, to, message),
            _ => false,
        };
        same && self.rows_of.get(message) == Some(&2) && self.chart.cycle_from != Some(row + 1)
    }

    fn mark(&mut self, row: usize, event: &'a Event) -> Mark<'a> {
        match event {
            Event::Note { lane, text } => Mark::Note { lane: *lane, text },
            Event::Fault { lane, text } => Mark::Fault { lane: *lane, text },
            Event::Call { from, to, text } => Mark::Arrow(Arrow {
                from: *from,
                to: *to,
                text,
                stage: Stage::Call,
                tag: None,
                sent: None,
            }),
            Event::Send {
                from,
                to,
                message,
                text,
            } => {
                let ends = self.last_end.get(message).is_some_and(|end| *end > row);
                let tag = self.tag(*message);
                let stage = if ends { Stage::Leaves } else { Stage::Stays };
                Mark::Arrow(Arrow {
                    from: *from,
                    to: *to,
                    text,
                    stage,
                    tag: Some(tag),
                    sent: None,
                })
            }
            Event::Receive {
                from,
                to,
                message,
                text,
            } => {
                let stage = if self.arrived.insert(*message) {
                    Stage::Arrives
                } else {
                    Stage::ArrivesAgain
                };
                self.end(*from, *to, *message, text, stage)
            }
            Event::Lose {
                from,
                to,
                message,
                text,
            } => self.end(*from, *to, *message, text, Stage::Lost),
        }
    }

    fn end(&self, from: usize, to: usize, message: u64, text: &'a str, stage: Stage) -> Mark<'a> {
        let (sent, tag) = self.sent.get(&message).cloned().unzip();
        Mark::Arrow(Arrow {
            from,
            to,
            text,
            stage,
            tag,
            sent,
        })
    }

    /// Returns the tag of a message that leaves on the line to be added: a, b, ... z, aa, ab, ...
    fn tag(&mut self, message: u64) -> String {
        let line = self.lines.len();
        let mut number = self.sent.len();
        let fresh = || {
            let mut letters = Vec::new();
            loop {
                letters.push(char::from(
                    b'a' + u8::try_from(number % 26).unwrap_or_default(),
                ));
                if number < 26 {
                    return letters.iter().rev().collect();
                }
                number = number / 26 - 1;
            }
        };
        let tag = self
            .sent
            .get(&message)
            .map_or_else(fresh, |(_, tag)| tag.clone());
        self.sent.insert(message, (line, tag.clone()));
        tag
    }

    fn push(&mut self, row: usize, steps: (usize, usize), mark: Mark<'a>) {
        let repeats = self.chart.cycle_from.is_some_and(|from| from <= row);
        let above = self.lines.last().map(|line| line.steps.1);
        let (first, last) = steps;
        let label = if above == Some(last) {
            String::new()
        } else if first == last || above == Some(first) {
            last.to_string()
        } else {
            format!("{first}-{last}")
        };
        self.lines.push(Line {
            steps,
            label,
            repeats,
            mark,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(message: u64) -> Event {
        Event::Send {
            from: 0,
            to: 1,
            message,
            text: "m".into(),
        }
    }

    fn receive(message: u64) -> Event {
        Event::Receive {
            from: 0,
            to: 1,
            message,
            text: "m".into(),
        }
    }

    #[test]
    fn next_row_is_one_line_and_any_later_row_is_tagged() {
        let mut chart = Chart::new("", ["x", "y"]);
        for (step, event) in [
            (1, send(1)),
            (2, receive(1)),
            (3, send(2)),
            (4, send(3)),
            (5, receive(2)),
        ] {
            chart.push(step, event);
        }
        let captions: Vec<_> = lines(&chart)
            .iter()
            .map(|line| match &line.mark {
                Mark::Arrow(arrow) => (line.label.clone(), arrow.caption().replace(NO_BREAK, " ")),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("1-2", "m"),
            ("3", "m (a leaves)"),
            ("4", "m (b leaves, still on the way)"),
            ("5", "m (a arrives)"),
        ];
        assert_eq!(
            captions,
            expected.map(|(label, caption)| (label.to_owned(), caption.to_owned()))
        );
    }

    #[test]
    fn an_arrow_does_not_leap_into_the_cycle() {
        let mut chart = Chart::new("", ["x", "y"]);
        chart.push(1, send(1));
        chart.push(2, receive(1));
        chart.cycle_from = Some(1);
        assert_eq!(
            lines(&chart)
                .iter()
                .map(|line| line.repeats)
                .collect::<Vec<_>>(),
            [false, true]
        );
    }

    #[test]
    fn tags_go_on_after_z() {
        let mut chart = Chart::new("", ["x", "y"]);
        (0..28).for_each(|message| chart.push(1, send(message)));
        let lines = lines(&chart);
        let Mark::Arrow(arrow) = &lines[27].mark else {
            panic!("{lines:?}")
        };
        assert_eq!(arrow.tag.as_deref(), Some("ab"));
    }

    #[test]
    fn words_longer_than_the_line_are_cut() {
        assert_eq!(
            wrap("ab cdefgh i", |piece| piece.len() <= 3),
            ["ab", "cde", "fgh", "i"]
        );
        assert_eq!(wrap("", |_| false), [""]);
        assert_eq!(wrap("ab", |_| false), ["a", "b"]);
    }
}
