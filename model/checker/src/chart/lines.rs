//! From rows to lines: what the pictures have in common.
//!
//! A sending whose arrival is the very next row is one line, one arrow. Any other message has two lines with other
//! lines between them; it gets a tag, a letter that stands at both. Here tags are given out, arrivals find their
//! sendings, and step numbers become labels, so that the three drawings agree.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chart, Event, Row};

/// One line of a picture.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    /// The steps it belongs to: two where a sending and its arrival became one line.
    pub(super) steps: (usize, usize),
    /// The step number as it stands at the left edge; empty where the line above has the same.
    pub(super) label: String,
    /// Whether it is one of those that repeat for ever.
    pub(super) repeats: bool,
    /// What is drawn.
    pub(super) mark: Mark<'a>,
}

/// What is drawn on a line.
#[derive(Clone, Debug)]
pub(super) enum Mark<'a> {
    Note { lane: usize, text: &'a str },
    Fault { lane: Option<usize>, text: &'a str },
    Arrow(Arrow<'a>),
}

/// An arrow, or one end of it.
#[derive(Clone, Debug)]
pub(super) struct Arrow<'a> {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) text: &'a str,
    pub(super) stage: Stage,
    /// The letter at both ends. None: this one line is the whole arrow.
    pub(super) tag: Option<String>,
    /// The line where it left, if that is another one.
    pub(super) sent: Option<usize>,
}

/// Which moment of an arrow a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A call: no moments, it is there at once.
    Call,
    /// It leaves, and its end is on a later line.
    Leaves,
    /// It leaves, and no line shows its end.
    Stays,
    /// It arrives.
    Arrives,
    /// It arrived before, and does once more.
    ArrivesAgain,
    /// It is lost.
    Lost,
}

impl Arrow<'_> {
    /// The label with what the reader must know of the other end. To be wrapped.
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

/// The lines of a chart, from top to bottom.
pub(super) fn lines(chart: &Chart) -> Vec<Line<'_>> {
    let mut builder = Builder::new(chart);
    let mut row = 0;
    while let Some(Row { step, .. }) = chart.rows.get(row) {
        // The sending on the row above is passed over, so its end finds none and is the whole arrow.
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

/// The steps that repeat, first and last, if any do.
pub(super) fn repeated_steps(lines: &[Line<'_>]) -> Option<(usize, usize)> {
    let first = lines.iter().find(|line| line.repeats)?;
    let last = lines.last()?;
    Some((first.steps.0, last.steps.1))
}

/// What a lasso says at its end, or nothing if the chart is none.
pub(super) fn cycle_words(chart: &Chart, lines: &[Line<'_>]) -> Option<String> {
    chart.cycle_from?;
    Some(match repeated_steps(lines) {
        None => "from here on nothing happens, for ever".to_owned(),
        Some((first, last)) if first == last => format!("step {first} repeats for ever"),
        Some((first, last)) => format!("steps {first} to {last} repeat for ever"),
    })
}

/// The name of a lane, on one line.
pub(super) fn lane_name(chart: &Chart, lane: usize) -> String {
    chart
        .lanes
        .get(lane)
        .map_or_else(|| "?".to_owned(), |lane| clean(&lane.name))
}

/// Text on one line: no line breaks, no control characters, nothing invisible or that turns the direction of writing.
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

/// A space where [`wrap`] does not break. Cleaned text has none.
pub(super) const NO_BREAK: &str = "\u{a0}";

/// Breaks text between words into pieces that `fits` accepts; a word that does not fit is cut. Never empty.
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
    /// How many rows speak of a message.
    rows_of: BTreeMap<u64, usize>,
    /// The last row where a message arrives or is lost.
    last_end: BTreeMap<u64, usize>,
    /// The line where a message left, and its tag.
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

    /// Whether this row and the next are the one sending and the one end of a message.
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

    /// The tag of a message that leaves on the line about to be added: a, b, ... z, aa, ab, ...
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
