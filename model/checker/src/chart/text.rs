//! A chart for a terminal.
//!
//! The number of the step stands at the left. Then come the lanes, which contain only shapes, and then two columns of
//! text: the lanes of the event, and its text. The text has columns of its own because a counterexample is read
//! downwards. Labels on arrows would either be cut or spread the lanes too far. An arrow is drawn on the line where it
//! arrives: `─` if it left just before, `┄` with its tag if it left earlier, on the line with the same tag at the same
//! place. If the width is too small for any lanes, only the text remains.
//!
//! Every drawn character is one column wide. A character of a label with another or an ambiguous width becomes `?`.

use std::iter;

use super::lines::{Arrow, Line, Mark, Stage, clean, cycle_words, lane_name, lines, wrap};
use super::{Chart, Event, Lane};

/// Returns a chart with at most `width` columns, and never fewer than 24. `color` adds ANSI bold, red and dim.
#[must_use]
pub fn text(chart: &Chart, width: usize, color: bool) -> String {
    let chart = &single_width_chart(chart);
    let lines = lines(chart);
    let layout = Layout::new(chart, &lines, width.max(WIDTH_MIN));
    let mut page = Page {
        color,
        out: String::new(),
    };
    let title = clean(&chart.title);
    if !title.is_empty() {
        wrap_columns(&title, layout.width)
            .iter()
            .for_each(|piece| page.line(&[(Style::Bold, piece)]));
        page.line(&[]);
    }
    layout.head(chart, &mut page);
    layout.body(chart, &lines, &mut page);
    if lines.len() > LINES_WITHOUT_FOOT {
        layout.head(chart, &mut page);
    }
    let words = layout.width.saturating_sub(2);
    page.list("Verdict", Style::Red, &chart.verdict, words);
    page.list("The last step changed", Style::Plain, &chart.changes, words);
    page.out
}

const WIDTH_MIN: usize = 24;
/// The number of lines above which the names of the lanes are repeated below.
const LINES_WITHOUT_FOOT: usize = 30;
/// The least distance from one lane to the next.
const PITCH_MIN: usize = 5;
const PITCH_MAX: usize = 9;
/// The preferred width of the text, and the least width beside lanes.
const WORDS_GOOD: usize = 46;
const WORDS_MIN: usize = 30;
const STEP_MAX: usize = 11;
const NAME_MAX: usize = 8;

/// The positions of the columns.
struct Layout {
    width: usize,
    /// The column of the bracket of a cycle.
    bracket: usize,
    step: usize,
    /// The distance from one lane to the next; 0 when no lanes are drawn.
    pitch: usize,
    lanes: usize,
    /// The width of the column with the lanes of the event; 0 when they stand before the text.
    who: usize,
    what: usize,
}

impl Layout {
    fn new(chart: &Chart, lines: &[Line<'_>], width: usize) -> Self {
        let bracket = if chart.cycle_from.is_some() { 2 } else { 0 };
        let step = lines
            .iter()
            .map(|line| columns(&line.label))
            .max()
            .unwrap_or(0)
            .clamp(2, STEP_MAX);
        let lanes = chart.lanes.len();
        let free = width.saturating_sub(bracket + step + 2);
        let longest = chart
            .lanes
            .iter()
            .map(|lane| columns(&lane.name))
            .max()
            .unwrap_or(0);
        let narrow = (longest + 1).clamp(PITCH_MIN, PITCH_MAX);
        let leaves =
            |pitch: usize, words: usize| lanes > 0 && lanes.saturating_mul(pitch) + words <= free;
        let pitch = (narrow..=PITCH_MAX)
            .rev()
            .find(|pitch| leaves(*pitch, WORDS_GOOD))
            .or_else(|| {
                (PITCH_MIN..=narrow)
                    .rev()
                    .find(|pitch| leaves(*pitch, WORDS_MIN))
            })
            .unwrap_or(0);
        let words = free - if pitch == 0 { 0 } else { lanes * pitch + 1 };
        let who = lines
            .iter()
            .map(|line| columns(&who(chart, &line.mark)))
            .max()
            .unwrap_or(0);
        let who = if who + 2 + WORDS_MIN / 2 <= words {
            who
        } else {
            0
        };
        let what = words - if who == 0 { 0 } else { who + 2 };
        Self {
            width,
            bracket,
            step,
            pitch,
            lanes,
            who,
            what,
        }
    }

    /// Draws the names of the lanes, each over its line.
    fn head(&self, chart: &Chart, page: &mut Page) {
        if self.pitch == 0 {
            return;
        }
        let names: Vec<_> = chart
            .lanes
            .iter()
            .map(|lane| wrap_columns(&lane.name, self.pitch - 1))
            .collect();
        let height = names.iter().map(Vec::len).max().unwrap_or(0);
        for row in 0..height {
            let mut text = " ".repeat(self.bracket + self.step + 2);
            for name in &names {
                // Each name stands over its lane's line.
                let piece = (row + name.len())
                    .checked_sub(height)
                    .and_then(|piece| name.get(piece));
                text.push_str(&format!(
                    "{:^1$}",
                    piece.map_or("", String::as_str),
                    self.pitch - 1
                ));
                text.push(' ');
            }
            page.line(&[(Style::Bold, &text)]);
        }
    }

    fn body(&self, chart: &Chart, lines: &[Line<'_>], page: &mut Page) {
        for (index, line) in lines.iter().enumerate() {
            let starts = line.repeats
                && !index
                    .checked_sub(1)
                    .is_some_and(|above| lines[above].repeats);
            self.line(chart, line, starts, page);
        }
        if lines.is_empty() {
            page.line(&[(Style::Plain, "(nothing happens)")]);
        }
        if let Some(words) = cycle_words(chart, lines) {
            for (index, piece) in wrap_columns(&words, self.width - 4).iter().enumerate() {
                page.line(&[
                    (Style::Bold, if index == 0 { "└─► " } else { "    " }),
                    (Style::Bold, piece),
                ]);
            }
        }
    }

    fn line(&self, chart: &Chart, line: &Line<'_>, starts: bool, page: &mut Page) {
        let style = match &line.mark {
            Mark::Fault { .. } => Style::Red,
            Mark::Arrow(Arrow {
                stage: Stage::Lost, ..
            }) => Style::Red,
            Mark::Arrow(Arrow {
                stage: Stage::Leaves | Stage::Stays,
                ..
            }) => Style::Dim,
            Mark::Arrow(_) | Mark::Note { .. } => Style::Plain,
        };
        let (who, what) = (who(chart, &line.mark), what(&line.mark));
        let (column, words) = match (self.who, who.is_empty()) {
            (0, true) => (String::new(), what),
            (0, false) => (String::new(), format!("{who}: {what}")),
            (width, _) => (format!("{who:<width$}  "), what),
        };
        let label: String = line.label.chars().take(STEP_MAX).collect();
        for (index, words) in wrap_columns(&words, self.what).into_iter().enumerate() {
            let first = index == 0;
            let bracket = match (line.repeats, starts && first) {
                _ if self.bracket == 0 => "",
                (true, true) => "┌ ",
                (true, false) => "┆ ",
                (false, _) => "  ",
            };
            let step = format!("{:>1$}  ", if first { &label } else { "" }, self.step);
            let cells = if first {
                self.picture(&line.mark)
            } else {
                self.lifelines()
            };
            let mut rest: String = cells.into_iter().collect();
            if !rest.is_empty() {
                rest.push(' ');
            }
            rest.push_str(&if first {
                column.clone()
            } else {
                " ".repeat(columns(&column))
            });
            rest.push_str(&words);
            page.line(&[(Style::Bold, bracket), (Style::Bold, &step), (style, &rest)]);
        }
    }

    /// Returns the column of a lane, counted from the first column of the lanes.
    fn column(&self, lane: usize) -> usize {
        lane.min(self.lanes.saturating_sub(1)) * self.pitch + (self.pitch - 1) / 2
    }

    fn lifelines(&self) -> Vec<char> {
        let mut cells = vec![' '; self.lanes * self.pitch];
        if self.pitch > 0 {
            (0..self.lanes).for_each(|lane| cells[self.column(lane)] = '│');
        }
        cells
    }

    fn picture(&self, mark: &Mark<'_>) -> Vec<char> {
        let mut cells = self.lifelines();
        if cells.is_empty() {
            return cells;
        }
        match mark {
            Mark::Note { lane, .. } => cells[self.column(*lane)] = '●',
            Mark::Fault {
                lane: Some(lane), ..
            } => {
                let x = self.column(*lane);
                cells[x - 1..=x + 1].copy_from_slice(&['▐', '█', '▌']);
            }
            Mark::Fault { lane: None, .. } => {
                let (first, last) = (self.column(0) - 1, self.column(self.lanes) + 1);
                for cell in &mut cells[first..=last] {
                    *cell = if *cell == '│' { '┿' } else { '━' };
                }
            }
            Mark::Arrow(arrow) => self.arrow(arrow, &mut cells),
        }
        cells
    }

    fn arrow(&self, arrow: &Arrow<'_>, cells: &mut [char]) {
        let (from, to) = (self.column(arrow.from), self.column(arrow.to));
        if from == to {
            cells[from] = '↻';
            return;
        }
        let rightwards = from < to;
        // Returns the n-th cell on the way.
        let cell = |n: usize| if rightwards { from + n } else { from - n };
        let length = from.abs_diff(to);
        let tag: Vec<char> = arrow.tag.iter().flat_map(|tag| tag.chars()).collect();
        let end = match arrow.stage {
            Stage::Leaves | Stage::Stays => tag.len() + 2,
            Stage::Lost => length - 2,
            Stage::Call | Stage::Arrives | Stage::ArrivesAgain => length - 1,
        };
        let dashed = arrow.sent.is_some();
        cells[from] = if rightwards { '├' } else { '┤' };
        for n in 1..end {
            let crossed = cells[cell(n)] == '│';
            cells[cell(n)] = match (crossed, dashed) {
                (true, _) => '┼',
                (false, true) => '┄',
                (false, false) => '─',
            };
        }
        match arrow.stage {
            Stage::Leaves | Stage::Stays => {}
            Stage::Lost => cells[cell(end)] = '✗',
            Stage::Call | Stage::Arrives | Stage::ArrivesAgain => {
                cells[cell(end)] = if rightwards { '►' } else { '◄' };
            }
        }
        // The tag stands at the same place at both ends, beside the sender.
        let first = if rightwards {
            from + 2
        } else {
            (from - 1).saturating_sub(tag.len())
        };
        for (n, letter) in tag.into_iter().enumerate().take(length - 3) {
            cells[first + n] = letter;
        }
    }
}

/// Returns the names of the lanes that a mark concerns.
fn who(chart: &Chart, mark: &Mark<'_>) -> String {
    let name = |lane: usize| {
        let name = lane_name(chart, lane);
        if columns(&name) <= NAME_MAX {
            return name;
        }
        name.chars()
            .take(NAME_MAX - 1)
            .chain(iter::once('…'))
            .collect()
    };
    match mark {
        Mark::Note { lane, .. }
        | Mark::Fault {
            lane: Some(lane), ..
        } => name(*lane),
        Mark::Fault { lane: None, .. } => String::new(),
        Mark::Arrow(arrow) => format!("{} → {}", name(arrow.from), name(arrow.to)),
    }
}

/// Returns the text of a mark.
fn what(mark: &Mark<'_>) -> String {
    match mark {
        Mark::Note { text, .. } => clean(text),
        Mark::Fault { text, .. } => format!("!! {}", clean(text)),
        Mark::Arrow(arrow) => arrow.caption(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Bold,
    Red,
    Dim,
}

struct Page {
    color: bool,
    out: String,
}

impl Page {
    fn line(&mut self, pieces: &[(Style, &str)]) {
        let end = pieces
            .iter()
            .rposition(|(_, text)| !text.trim_end().is_empty())
            .map_or(0, |last| last + 1);
        for (index, (style, text)) in pieces[..end].iter().enumerate() {
            let text = if index + 1 == end {
                text.trim_end()
            } else {
                text
            };
            let code = match style {
                _ if !self.color || text.trim().is_empty() => "",
                Style::Plain => "",
                Style::Bold => "\u{1b}[1m",
                Style::Red => "\u{1b}[1;31m",
                Style::Dim => "\u{1b}[2m",
            };
            self.out.push_str(code);
            self.out.push_str(text);
            if !code.is_empty() {
                self.out.push_str("\u{1b}[0m");
            }
        }
        self.out.push('\n');
    }

    fn list(&mut self, head: &str, style: Style, entries: &[String], width: usize) {
        if entries.is_empty() {
            return;
        }
        self.line(&[]);
        self.line(&[(
            if style == Style::Plain {
                Style::Bold
            } else {
                style
            },
            head,
        )]);
        for entry in entries {
            for (index, piece) in wrap_columns(&clean(entry), width - 2).iter().enumerate() {
                let indent = if index == 0 { "  " } else { "    " };
                self.line(&[(Style::Plain, indent), (style, piece)]);
            }
        }
    }
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

fn wrap_columns(text: &str, width: usize) -> Vec<String> {
    wrap(text, |piece| columns(piece) <= width)
}

/// Returns the same chart, in which every character takes one column.
fn single_width_chart(chart: &Chart) -> Chart {
    let mut chart = chart.clone();
    let words = chart
        .verdict
        .iter_mut()
        .chain(&mut chart.changes)
        .chain(iter::once(&mut chart.title));
    words.for_each(single_width);
    chart
        .lanes
        .iter_mut()
        .for_each(|Lane { name }| single_width(name));
    for row in &mut chart.rows {
        match &mut row.event {
            Event::Note { text, .. }
            | Event::Call { text, .. }
            | Event::Send { text, .. }
            | Event::Receive { text, .. }
            | Event::Lose { text, .. }
            | Event::Fault { text, .. } => single_width(text),
        }
    }
    chart
}

/// Replaces characters that may take two columns of a terminal, or none.
fn single_width(text: &mut String) {
    let known = |c: char| {
        matches!(c,
            ' '..='~' | '\u{a1}'..='\u{2ff}' | '\u{370}'..='\u{482}' | '\u{48a}'..='\u{52f}'
            | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{2070}'..='\u{20bf}' | '\u{2100}'..='\u{22ff}'
            | '\u{2500}'..='\u{25fc}' | '\u{2701}'..='\u{2704}' | '\u{2713}' | '\u{2717}')
    };
    *text = clean(text)
        .chars()
        .map(|c| if known(c) { c } else { '?' })
        .collect();
}
