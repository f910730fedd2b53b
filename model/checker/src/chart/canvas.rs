//! The SVG writer, and an estimate of the width of a text in an SVG.
//!
//! The writer draws rectangles, arrows and lines of text. Each is one element, with numbers of one decimal and all
//! styles in one style sheet, so that a snapshot of a picture stays readable. No font is available when a picture is
//! made. [`px`] estimates from the widths of DejaVu Sans and Verdana, which are the widest in use.

use std::fmt::{Arguments, Write as _};

use super::Chart;
use super::lines::{clean, wrap};

/// The rules apply below the class of the whole picture, so that they stay inside a page that contains the picture.
const STYLE: &str = "\
.tenure-chart text{font-family:'DejaVu Sans',Verdana,Arial,sans-serif;font-size:12px;fill:#1f2328}\
.tenure-chart .rim{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}\
.tenure-chart .title{font-size:16px;font-weight:bold}\
.tenure-chart .bold{font-weight:bold}\
.tenure-chart .step{fill:#59636e;font-weight:bold}\
.tenure-chart .small{font-size:10.5px;fill:#6e7781}\
.tenure-chart .red{fill:#b42318}\
.tenure-chart .white{fill:#fff;font-weight:bold}\
.tenure-chart .cycle{fill:#6d28d9;font-weight:bold}\
.tenure-chart .life{stroke:#afb8c1;stroke-width:1.5}\
.tenure-chart .call{stroke:#57606a}\
.tenure-chart .message{stroke:#0b5cad}\
.tenure-chart .lost{stroke:#b42318}\
.tenure-chart .call,.tenure-chart .message,.tenure-chart .lost{fill:none;stroke-width:1.6}\
.tenure-chart .waits{stroke-dasharray:4 3}";

/// A picture in the making.
#[derive(Default)]
pub(super) struct Canvas {
    pub(super) out: String,
}

impl Canvas {
    pub(super) fn push(&mut self, element: Arguments<'_>) {
        writeln!(self.out, "{element}").expect("writing to a string cannot fail");
    }

    pub(super) fn open(&mut self, chart: &Chart, width: f64, height: f64) {
        let title = escape(&clean(&chart.title));
        self.push(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
             class=\"tenure-chart\">"
        ));
        self.push(format_args!(
            "<title>{title}</title>\n<style>{STYLE}</style>\n<defs>"
        ));
        for (name, color) in [
            ("call", "#57606a"),
            ("message", "#0b5cad"),
            ("cycle", "#6d28d9"),
        ] {
            self.push(format_args!(
                "<marker id=\"head-{name}\" viewBox=\"0 0 10 10\" refX=\"9.5\" refY=\"5\" markerWidth=\"9\" \
                 markerHeight=\"9\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
                 <path d=\"M0 1L10 5L0 9Z\" fill=\"{color}\"/></marker>"
            ));
        }
        self.push(format_args!("</defs>"));
        self.rect((0.0, 0.0, width, height), "fill=\"#ffffff\"");
    }

    /// Draws a rectangle: left, top, width, height.
    pub(super) fn rect(&mut self, (x, y, width, height): (f64, f64, f64, f64), look: &str) {
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {look}/>"
        ));
    }

    /// Draws a line from one point to another, or an arc if both points are on the same lane.
    pub(super) fn arrow(
        &mut self,
        (x1, y1): (f64, f64),
        (x2, y2): (f64, f64),
        class: &str,
        head: &str,
    ) {
        let marker = if head.is_empty() {
            String::new()
        } else {
            format!(" marker-end=\"url(#head-{head})\"")
        };
        if x1 == x2 {
            let (x, y1, y2) = (x1 + 34.0, y1.min(y2 - 10.0), y2 + 3.0);
            self.push(format_args!(
                "<path class=\"{class}\" d=\"M{x1:.1} {y1:.1}C{x:.1} {y1:.1} {x:.1} {y2:.1} {x2:.1} {y2:.1}\"{marker}/>"
            ));
        } else {
            self.push(format_args!(
                "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"{marker}/>"
            ));
        }
    }

    /// Draws pieces of text, one below the other.
    pub(super) fn text(
        &mut self,
        (x, y): (f64, f64),
        anchor: &str,
        class: &str,
        pieces: &[String],
        leading: f64,
    ) {
        let mut y = y;
        for piece in pieces {
            let piece = escape(piece);
            self.push(format_args!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{piece}</text>"
            ));
            y += leading;
        }
    }
}

pub(super) fn count(pieces: &[String]) -> f64 {
    pieces.len() as f64
}

pub(super) fn widest(pieces: &[String], size: f64) -> f64 {
    pieces
        .iter()
        .map(|piece| px(piece, size))
        .fold(0.0, f64::max)
}

/// Returns an upper estimate of the width of a text in DejaVu Sans or Verdana.
pub(super) fn px(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | '\'' | '|' => 0.29,
        ' ' | '\u{a0}' | '.' | ',' | ':' | ';' => 0.35,
        'f' | 't' | 'r' | '!' | '(' | ')' | '[' | ']' | '/' | '-' => 0.42,
        'c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' => 0.58,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 1.0,
        '#' | '+' | '=' | '<' | '>' | '~' => 0.84,
        'A'..='Z' => 0.74,
        c if c.is_ascii() => 0.64,
        '\u{a1}'..='\u{52f}' => 0.72,
        _ => 1.1,
    };
    text.chars().map(em).sum::<f64>() * size
}

pub(super) fn wrap_px(text: &str, size: f64, width: f64) -> Vec<String> {
    wrap(text, |piece| px(piece, size) <= width)
}

/// Wraps a text into as few pieces as `width` allows, of about equal width.
pub(super) fn wrap_even(text: &str, size: f64, width: f64) -> Vec<String> {
    let word = text
        .split(' ')
        .map(|word| px(word, size))
        .fold(0.0, f64::max);
    let mut best = wrap_px(text, size, width);
    for narrower in (4..10).rev().map(|tenths| width * f64::from(tenths) / 10.0) {
        let pieces = wrap_px(text, size, narrower);
        if pieces.len() > best.len() || word > narrower {
            break;
        }
        best = pieces;
    }
    best
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
