//! The result as a picture: one bar for each ratio, on a logarithmic scale around 1.

use crate::document::{Document, Outcome, Row, Side};
use crate::statistics::Summary;
use crate::table::number;
use std::fmt::Write;

const LINE: usize = 22;
const LABEL: f64 = 380.0;
const BARS: f64 = 360.0;
const WIDTH: f64 = 860.0;

/// One line of the picture.
struct Bar<'a> {
    label: String,
    /// How many times better the first contestant is. `None`: the text alone is shown.
    better: Option<f64>,
    text: String,
    is_disturbed: bool,
    row: &'a Row,
}

/// Returns the ratios of a document as an SVG picture. Bars to the right: Tenure is better; to the left: the peer is.
#[must_use]
pub fn svg(document: &Document) -> String {
    let rows = document.rows.iter();
    let bars: Vec<Bar<'_>> = rows
        .flat_map(|row| row.sides.iter().skip(1).map(move |side| bar(row, side)))
        .collect();
    let furthest = bars.iter().filter_map(|bar| bar.better);
    let furthest = furthest.map(|better| better.ln().abs());
    let scale = furthest.fold(2.0_f64.ln(), f64::max);
    let height = (bars.len() + 4) * LINE;
    let mut text = String::new();
    let _ = writeln!(
        text,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"
  font-family="sans-serif" font-size="13">
<title>Tenure beside its peers</title>
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="8" y="{}" font-weight="bold">{}: how many times better Tenure is</text>
<text x="8" y="{}" fill="#666666">{}</text>"##,
        LINE - 5,
        escape(&document.command),
        2 * LINE - 8,
        escape(&format!(
            "{}, {} cores, {}, load {}; pale: disturbed",
            document.machine.cpu,
            document.machine.cores,
            document.machine.kernel,
            document.machine.load
        )),
    );
    for (index, bar) in bars.iter().enumerate() {
        draw(&mut text, bar, (index + 2) * LINE, scale);
    }
    let middle = LABEL + BARS / 2.0;
    let bottom = (bars.len() + 2) * LINE;
    let _ = writeln!(
        text,
        r##"<line x1="{middle}" y1="{}" x2="{middle}" y2="{}" stroke="#333333"/>
<text x="{middle}" y="{}" text-anchor="middle" fill="#666666">peer better | 1 | Tenure better</text>
</svg>"##,
        2 * LINE,
        bottom,
        bottom + LINE - 5,
    );
    text
}

fn bar<'a>(row: &'a Row, side: &Side) -> Bar<'a> {
    let better = |ratio: &Summary| {
        let median = ratio.median;
        let better = if row.less_is_better {
            1.0 / median
        } else {
            median
        };
        (better > 0.0 && better.is_finite()).then_some(better)
    };
    let (better, text, is_disturbed) = match &side.outcome {
        Outcome::Measured {
            ratio: Some(ratio),
            disturbed,
            ..
        } => match better(ratio) {
            Some(times) => (Some(times), format!("{}x", number(times)), *disturbed),
            None => (None, "no ratio".to_owned(), true),
        },
        Outcome::Measured { .. } => (None, "no ratio".to_owned(), true),
        Outcome::Failed { .. } => (None, "failed".to_owned(), true),
    };
    Bar {
        label: format!("{} {}, {}", row.name, row.place, side.name),
        better,
        text,
        is_disturbed,
        row,
    }
}

fn draw(text: &mut String, bar: &Bar<'_>, top: usize, scale: f64) {
    let middle = LABEL + BARS / 2.0;
    let length = bar.better.map_or(0.0, |better| better.ln() / scale) * BARS / 2.0;
    let colour = if length < 0.0 { "#c2410c" } else { "#15803d" };
    let opacity = if bar.is_disturbed { 0.4 } else { 1.0 };
    let base = top + LINE - 7;
    let _ = writeln!(
        text,
        r##"<g><title>{}</title><text x="{}" y="{base}" text-anchor="end">{}</text>"##,
        escape(&bar.row.what),
        LABEL - 12.0,
        escape(&bar.label),
    );
    let _ = writeln!(
        text,
        r##"<rect x="{:.1}" y="{}" width="{:.1}" height="{}" fill="{colour}" fill-opacity="{opacity}"/>
<text x="{}" y="{base}">{}</text></g>"##,
        middle + length.min(0.0),
        top + 3,
        length.abs(),
        LINE - 6,
        LABEL + BARS + 10.0,
        escape(&bar.text),
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::made_up;

    #[test]
    fn a_picture_has_a_bar_for_each_peer_and_escapes_its_texts() {
        let mut document = made_up();
        document.rows[0].what = "a <b> & \"c\"".to_owned();
        let picture = svg(&document);
        assert_eq!(picture.matches("<g>").count(), 2);
        assert!(picture.contains("a &lt;b&gt; &amp; &quot;c&quot;"));
        assert!(picture.contains("acquire cross, Redis no"));
        // Tenure takes twice as long: half as good, and pale because the peer's runs were disturbed.
        assert!(picture.contains(">0.50x</text>"));
        assert!(picture.contains(r##"fill="#c2410c" fill-opacity="0.4""##));
        assert!(picture.contains(">failed</text>"));
        assert!(picture.ends_with("</svg>\n"));
    }

    #[test]
    fn of_more_is_better_the_ratio_itself_is_the_gain() {
        let mut document = made_up();
        document.rows[0].less_is_better = false;
        assert!(svg(&document).contains(">2.00x</text>"));
    }

    #[test]
    fn a_picture_without_peers_is_still_a_picture() {
        let mut document = made_up();
        document.rows.clear();
        let picture = svg(&document);
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }
}
