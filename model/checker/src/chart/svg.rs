//! A chart as a picture: one self-contained SVG.
//!
//! A message is a diagonal from the line where it leaves to the line where it arrives, so crossing messages are seen to
//! cross. Its label stands beside the sender. If the message arrives far below, a small grey label repeats the text.
//! Calls are grey and messages blue. A lost message is red and ends in a cross, and a message still on the way ends in
//! a ring. A fault is a red bar. The steps of a cycle stand in a frame with an arrow back to its top.
//!
//! Labels cannot cover each other: every line of the chart is a [`Band`] as high as its own label, and the distance
//! between lanes is the width of the labels between them. Arrows may pass behind a label, which has a white rim. There
//! is no font in the file, so widths are upper estimates.

use super::Chart;
use super::canvas::{Canvas, count, px, widest, wrap_even, wrap_px};
use super::lines::{Arrow, Line, Mark, NO_BREAK, Stage, clean, cycle_words, lane_name, lines};

/// Returns a chart as SVG.
#[must_use]
pub fn svg(chart: &Chart) -> String {
    let lines = lines(chart);
    let plan = Plan::new(chart, &lines);
    let mut out = Canvas::default();
    let height = plan.below(chart, None);
    out.open(chart, plan.width, height);
    plan.stripes(&mut out);
    plan.frame(chart, &mut out);
    plan.lanes(&mut out);
    for index in 0..lines.len() {
        plan.shape(index, &mut out);
    }
    for index in 0..lines.len() {
        plan.words(index, &mut out);
    }
    plan.title(&mut out);
    plan.below(chart, Some(&mut out));
    out.out.push_str("</svg>\n");
    out.out
}

const MARGIN: f64 = 16.0;
const WIDTH_MIN: f64 = 460.0;
/// The greatest width of a label.
const LABEL_MAX: f64 = 170.0;
const GAP_MIN: f64 = 70.0;
/// The heights of a line of a label, and of a line of a small label.
const LEADING: f64 = 15.0;
const SMALL_LEADING: f64 = 13.0;
/// The number of lines above which the names of the lanes are repeated below.
const LINES_WITHOUT_FOOT: usize = 30;
/// The number of lines between sending and arrival from which the arrival has a label of its own.
const FAR: usize = 3;

/// The positions of all parts of the picture.
struct Plan<'a> {
    lines: &'a [Line<'a>],
    title: Vec<String>,
    names: Vec<Vec<String>>,
    /// The middle of each lane. There is always at least one lane.
    x: Vec<f64>,
    bands: Vec<Band>,
    /// The right edge of the step numbers.
    steps: f64,
    width: f64,
    /// The top of the names, and the bottom of the last band.
    head: f64,
    bottom: f64,
}

/// The vertical space of one line of the chart.
struct Band {
    label: Vec<String>,
    top: f64,
    /// The height at which arrows begin and end, or the middle of a box.
    y: f64,
    bottom: f64,
}

impl<'a> Plan<'a> {
    fn new(chart: &Chart, lines: &'a [Line<'a>]) -> Self {
        let names: Vec<_> = (0..chart.lanes.len().max(1))
            .map(|lane| wrap_px(&lane_name(chart, lane), 12.0, LABEL_MAX * 0.7))
            .collect();
        let labels: Vec<_> = lines.iter().map(label).collect();
        let bracket = if chart.cycle_from.is_some() {
            26.0
        } else {
            0.0
        };
        let numbers = lines
            .iter()
            .map(|line| px(&line.label, 12.0))
            .fold(16.0, f64::max);
        let steps = MARGIN + bracket + numbers;
        let gaps = gaps(&names, lines, &labels);
        let mut x = vec![steps + gaps[0]];
        for gap in &gaps[1..names.len()] {
            x.push(x[x.len() - 1] + gap);
        }
        let width = (x[x.len() - 1] + gaps[names.len()] + MARGIN)
            .max(WIDTH_MIN)
            .ceil();
        let title = clean(&chart.title);
        let title = if title.is_empty() {
            Vec::new()
        } else {
            wrap_px(&title, 17.5, width - 2.0 * MARGIN)
        };
        let head = MARGIN + 22.0 * count(&title);
        let top = head + head_height(&names) + 8.0;
        let mut bands: Vec<Band> = Vec::new();
        for (index, (line, label)) in lines.iter().zip(labels).enumerate() {
            let top = bands.last().map_or(top, |above| above.bottom);
            bands.push(Band::new(line, index, label, top));
        }
        let bottom = bands.last().map_or(top + 12.0, |last| last.bottom);
        Self {
            lines,
            title,
            names,
            x,
            bands,
            steps,
            width,
            head,
            bottom,
        }
    }

    fn lane(&self, lane: usize) -> f64 {
        self.x[lane.min(self.x.len() - 1)]
    }

    fn right(&self) -> f64 {
        self.width - MARGIN
    }

    /// Draws a grey ground behind every other step.
    fn stripes(&self, out: &mut Canvas) {
        let mut odd = true;
        for (line, band) in self.lines.iter().zip(&self.bands) {
            odd ^= !line.label.is_empty();
            if odd {
                out.rect(
                    (
                        MARGIN / 2.0,
                        band.top,
                        self.width - MARGIN,
                        band.bottom - band.top,
                    ),
                    "fill=\"#f4f6f8\"",
                );
            }
        }
    }

    /// Draws the frame of a cycle, the arrow from its bottom to its top, and its text.
    fn frame(&self, chart: &Chart, out: &mut Canvas) {
        let Some(words) = cycle_words(chart, self.lines) else {
            return;
        };
        out.text(
            (MARGIN + 24.0, self.bottom + 17.0),
            "start",
            "cycle",
            &[format!("↺ {words}")],
            0.0,
        );
        let first = self.lines.iter().position(|line| line.repeats);
        let Some(first) = first.and_then(|first| self.bands.get(first)) else {
            return;
        };
        let (left, top) = (MARGIN + 20.0, first.top + 1.0);
        let height = self.bottom - top;
        out.rect(
            (left, top, self.right() - left + 4.0, height),
            "rx=\"6\" fill=\"#6d28d9\" fill-opacity=\"0.04\" stroke=\"#6d28d9\" stroke-dasharray=\"6 4\"",
        );
        let (low, high) = (self.bottom - 8.0, top + 8.0);
        out.push(format_args!(
            "<path d=\"M{left:.1} {low:.1}H{0:.1}V{high:.1}H{1:.1}\" fill=\"none\" stroke=\"#6d28d9\" \
             stroke-width=\"1.8\" marker-end=\"url(#head-cycle)\"/>",
            left - 12.0,
            left - 1.0,
        ));
    }

    /// Draws the lifelines and the names of the lanes.
    fn lanes(&self, out: &mut Canvas) {
        let height = head_height(&self.names);
        let foot = self.foot();
        for (x, name) in self.x.iter().zip(&self.names) {
            let (top, bottom) = (self.head + height, foot.unwrap_or(self.bottom + 6.0));
            out.push(format_args!(
                "<line class=\"life\" x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>"
            ));
            let wide = widest(name, 13.0) + 20.0;
            for top in [Some(self.head), foot].into_iter().flatten() {
                out.rect(
                    (x - wide / 2.0, top, wide, height),
                    "rx=\"5\" fill=\"#e7eef6\" stroke=\"#7d93ab\"",
                );
                let first = top + height / 2.0 + 4.5 - LEADING * (count(name) - 1.0) / 2.0;
                out.text((*x, first), "middle", "bold", name, LEADING);
            }
        }
    }

    /// Returns the top of the names below the lanes, if they are repeated there.
    fn foot(&self) -> Option<f64> {
        (self.lines.len() > LINES_WITHOUT_FOOT).then_some(self.bottom + 26.0)
    }

    /// Draws the shape of a line. Arrows lie below all labels.
    fn shape(&self, index: usize, out: &mut Canvas) {
        let band = &self.bands[index];
        let Mark::Arrow(arrow) = &self.lines[index].mark else {
            return;
        };
        let (from, to) = (self.lane(arrow.from), self.lane(arrow.to));
        let y = match arrow.sent.and_then(|sent| self.bands.get(sent)) {
            Some(sent) => (sent.y, band.y),
            None if arrow.stage == Stage::Call => (band.y, band.y),
            None => (band.y - 3.0, band.y + 5.0),
        };
        match arrow.stage {
            Stage::Leaves => {}
            Stage::Stays => {
                let on_the_way = self.towards(arrow);
                out.arrow(
                    (from, band.y),
                    (on_the_way, band.y + 9.0),
                    "message waits",
                    "",
                );
                let ring = format_args!(
                    "<circle cx=\"{on_the_way:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"#fff\" stroke=\"#0b5cad\" \
                     stroke-width=\"1.6\"/>",
                    band.y + 9.0
                );
                out.push(ring);
            }
            Stage::Lost => {
                let x = self.loss(arrow);
                out.arrow((from, y.0), (x, y.1), "lost", "");
                let (left, right, top, bottom) = (x - 5.0, x + 5.0, y.1 - 5.0, y.1 + 5.0);
                out.push(format_args!(
                    "<path class=\"lost\" style=\"stroke-width:2.4\" \
                     d=\"M{left:.1} {top:.1}L{right:.1} {bottom:.1}M{left:.1} {bottom:.1}L{right:.1} {top:.1}\"/>"
                ));
            }
            Stage::Call => out.arrow((from, y.0), (to, y.1), "call", "call"),
            Stage::Arrives => out.arrow((from, y.0), (to, y.1), "message", "message"),
            Stage::ArrivesAgain => out.arrow((from, y.0), (to, y.1), "message waits", "message"),
        }
    }

    /// Returns the end of a message that is still on the way: half way to the next lane.
    fn towards(&self, arrow: &Arrow<'_>) -> f64 {
        let (from, to) = (self.lane(arrow.from), self.lane(arrow.to));
        if from < to {
            from + GAP_MIN / 2.0
        } else if from > to {
            from - GAP_MIN / 2.0
        } else {
            from + 24.0
        }
    }

    /// Returns the position of the cross of a lost message.
    fn loss(&self, arrow: &Arrow<'_>) -> f64 {
        let (from, to) = (self.lane(arrow.from), self.lane(arrow.to));
        if from == to {
            from + 24.0
        } else {
            to - (to - from).signum() * GAP_MIN * 0.35
        }
    }

    /// Draws the step number, boxes and labels, which lie above all arrows.
    fn words(&self, index: usize, out: &mut Canvas) {
        let (line, band) = (&self.lines[index], &self.bands[index]);
        let first = band.y + 4.5 - LEADING * (count(&band.label) - 1.0) / 2.0;
        if !line.label.is_empty() {
            out.text(
                (self.steps, band.top + LEADING),
                "end",
                "step",
                std::slice::from_ref(&line.label),
                0.0,
            );
        }
        let high = band.bottom - band.top - 6.0;
        let wide = widest(&band.label, 12.0) + 16.0;
        match &line.mark {
            Mark::Note { lane, .. } => {
                let x = self.lane(*lane);
                let area = (x - wide / 2.0, band.top + 3.0, wide, high);
                out.rect(area, "rx=\"4\" fill=\"#fff8d6\" stroke=\"#c9a227\"");
                out.text((x, first), "middle", "", &band.label, LEADING);
            }
            Mark::Fault {
                lane: Some(lane), ..
            } => {
                let x = self.lane(*lane);
                let wide = widest(&band.label, 13.2) + 20.0;
                out.rect(
                    (x - wide / 2.0, band.top + 3.0, wide, high),
                    "rx=\"3\" fill=\"#b42318\"",
                );
                out.text((x, first), "middle", "white", &band.label, LEADING);
            }
            Mark::Fault { lane: None, .. } => {
                let (left, right) = (self.steps + 12.0, self.right());
                out.rect(
                    (left, band.top + 3.0, right - left, high),
                    "rx=\"3\" fill=\"#b42318\"",
                );
                out.text(
                    ((left + right) / 2.0, first),
                    "middle",
                    "white",
                    &band.label,
                    LEADING,
                );
            }
            Mark::Arrow(arrow) => self.arrow_words(arrow, band, out),
        }
    }

    fn arrow_words(&self, arrow: &Arrow<'_>, band: &Band, out: &mut Canvas) {
        let (from, to) = (self.lane(arrow.from), self.lane(arrow.to));
        let below = band.y + 14.0;
        if arrow.sent.is_none() {
            let above = band.y - 7.0 - LEADING * (count(&band.label) - 1.0);
            let class = if arrow.stage == Stage::Lost {
                "rim red"
            } else {
                "rim"
            };
            let (x, anchor) = if to < from {
                (from - 8.0, "end")
            } else if to > from {
                (from + 8.0, "start")
            } else {
                (from + 30.0, "start")
            };
            out.text((x, above), anchor, class, &band.label, LEADING);
        } else if arrow.stage == Stage::Lost {
            let (x, anchor) = if to < from {
                (self.loss(arrow) - 5.0, "start")
            } else {
                (self.loss(arrow) + 5.0, "end")
            };
            out.text(
                (x, below + 2.0),
                anchor,
                "rim small red",
                &band.label,
                SMALL_LEADING,
            );
        } else {
            let (x, anchor) = if to < from {
                (to + 12.0, "start")
            } else {
                (to - 12.0, "end")
            };
            let (x, anchor) = if to == from {
                (to + 12.0, "start")
            } else {
                (x, anchor)
            };
            out.text((x, below), anchor, "rim small", &band.label, SMALL_LEADING);
        }
    }

    fn title(&self, out: &mut Canvas) {
        out.text((MARGIN, MARGIN + 12.0), "start", "title", &self.title, 22.0);
    }

    /// Draws the verdict and the changes below the lanes. Returns the height of the whole picture.
    fn below(&self, chart: &Chart, mut out: Option<&mut Canvas>) -> f64 {
        let mut y = self
            .foot()
            .map_or(self.bottom + 8.0, |foot| foot + head_height(&self.names));
        if chart.cycle_from.is_some() && self.foot().is_none() {
            y += 18.0;
        }
        for (head, class, entries) in [
            ("Verdict", "red", &chart.verdict),
            ("The last step changed", "", &chart.changes),
        ] {
            if entries.is_empty() {
                continue;
            }
            y += 26.0;
            if let Some(out) = out.as_deref_mut() {
                out.text(
                    (MARGIN, y),
                    "start",
                    &format!("bold {class}"),
                    &[head.to_owned()],
                    0.0,
                );
            }
            for entry in entries {
                let pieces = wrap_px(&clean(entry), 12.0, self.width - 2.0 * MARGIN - 12.0);
                if let Some(out) = out.as_deref_mut() {
                    out.text((MARGIN + 12.0, y + 18.0), "start", class, &pieces, 16.0);
                }
                y += 2.0 + 16.0 * count(&pieces);
            }
        }
        y + MARGIN
    }
}

impl Band {
    fn new(line: &Line<'_>, index: usize, label: Vec<String>, top: f64) -> Self {
        let (y, bottom) = match &line.mark {
            Mark::Note { .. } | Mark::Fault { .. } => {
                let high = LEADING * count(&label) + 12.0;
                (top + high / 2.0, top + high)
            }
            Mark::Arrow(Arrow {
                sent: Some(sent),
                stage,
                ..
            }) => {
                let far = *stage == Stage::Lost || index - sent >= FAR;
                let below = if far {
                    SMALL_LEADING * count(&label) + 4.0
                } else {
                    6.0
                };
                return Self {
                    label: if far { label } else { Vec::new() },
                    top,
                    y: top + 9.0,
                    bottom: top + 13.0 + below,
                };
            }
            Mark::Arrow(_) => {
                let y = top + 8.0 + LEADING * count(&label);
                (y, y + 10.0)
            }
        };
        Self {
            label,
            top,
            y,
            bottom,
        }
    }
}

/// Returns the label beside a line, in pieces that are not too wide.
fn label(line: &Line<'_>) -> Vec<String> {
    match &line.mark {
        Mark::Note { text, .. }
        | Mark::Fault {
            lane: Some(_),
            text,
        } => wrap_even(&clean(text), 12.0, LABEL_MAX),
        Mark::Fault { lane: None, text } => wrap_even(&clean(text), 13.2, 2.0 * LABEL_MAX),
        Mark::Arrow(Arrow {
            stage, sent, text, ..
        }) => {
            let ending = match stage {
                Stage::Stays => "(still on the way)",
                Stage::ArrivesAgain => "(again)",
                Stage::Lost => "(lost)",
                Stage::Call | Stage::Leaves | Stage::Arrives => "",
            };
            let size = if sent.is_some() { 10.5 } else { 12.0 };
            wrap_even(
                &format!("{} {}", clean(text), ending.replace(' ', NO_BREAK)),
                size,
                LABEL_MAX,
            )
        }
    }
}

/// Returns the distances of the lanes: the space left of the first, between each two, and right of the last.
fn gaps(names: &[Vec<String>], lines: &[Line<'_>], labels: &[Vec<String>]) -> Vec<f64> {
    let last = names.len() - 1;
    let mut gaps = vec![GAP_MIN; names.len() + 1];
    gaps[0] = 24.0;
    gaps[last + 1] = 24.0;
    let mut around = |lane: usize, wide: f64| {
        for gap in [lane.min(last), lane.min(last) + 1] {
            gaps[gap] = gaps[gap].max(wide / 2.0 + 14.0);
        }
    };
    for (lane, name) in names.iter().enumerate() {
        around(lane, widest(name, 13.0) + 20.0);
    }
    for (line, label) in lines.iter().zip(labels) {
        match &line.mark {
            Mark::Note { lane, .. } => around(*lane, widest(label, 12.0) + 16.0),
            Mark::Fault {
                lane: Some(lane), ..
            } => around(*lane, widest(label, 13.2) + 20.0),
            Mark::Fault { lane: None, .. } | Mark::Arrow(_) => {}
        }
    }
    for (line, label) in lines.iter().zip(labels) {
        let Mark::Arrow(arrow) = &line.mark else {
            continue;
        };
        let size = if arrow.sent.is_some() { 10.5 } else { 12.0 };
        let (low, high) = (
            arrow.from.min(arrow.to).min(last),
            arrow.from.max(arrow.to).min(last),
        );
        let wide = widest(label, size) + 26.0;
        if low == high {
            gaps[low + 1] = gaps[low + 1].max(wide + 20.0);
        }
        // The label of a loss stands around its cross, which is nearer to the end.
        let wide = if arrow.sent.is_some() && arrow.stage == Stage::Lost {
            wide + 20.0
        } else {
            wide
        };
        for gap in &mut gaps[low + 1..=high] {
            *gap = gap.max(wide / (high - low) as f64);
        }
    }
    gaps
}

fn head_height(names: &[Vec<String>]) -> f64 {
    names.iter().map(|name| count(name)).fold(1.0, f64::max) * LEADING + 11.0
}
