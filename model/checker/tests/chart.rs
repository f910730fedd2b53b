//! Sequence charts: three that a person has reviewed, and random ones.
//!
//! The snapshots pin the pictures; a person reviews each change. The properties hold for every chart, however odd: text
//! fits its width, SVG is well-formed XML, Mermaid's blocks are closed, and JSON is read back unchanged.

use proptest::prelude::*;
use tenure_checker::chart::{Chart, Event, JsonError, from_json, json, mermaid, svg, text};

const T1: usize = 0;
const P1: usize = 1;
const STORE: usize = 2;
const P2: usize = 3;
const T3: usize = 4;

fn note(lane: usize, text: &str) -> Event {
    Event::Note {
        lane,
        text: text.into(),
    }
}

fn call(from: usize, to: usize, text: &str) -> Event {
    Event::Call {
        from,
        to,
        text: text.into(),
    }
}

fn send(from: usize, to: usize, message: u64, text: &str) -> Event {
    Event::Send {
        from,
        to,
        message,
        text: text.into(),
    }
}

fn receive(from: usize, to: usize, message: u64, text: &str) -> Event {
    Event::Receive {
        from,
        to,
        message,
        text: text.into(),
    }
}

fn lose(from: usize, to: usize, message: u64, text: &str) -> Event {
    Event::Lose {
        from,
        to,
        message,
        text: text.into(),
    }
}

fn fault(lane: Option<usize>, text: &str) -> Event {
    Event::Fault {
        lane,
        text: text.into(),
    }
}

fn five_lanes(title: &str, rows: impl IntoIterator<Item = (usize, Event)>) -> Chart {
    let mut chart = Chart::new(title, ["t1", "p1", "store", "p2", "t3"]);
    rows.into_iter()
        .for_each(|(step, event)| chart.push(step, event));
    chart
}

/// A thread holds, a thread of another process asks, and the grant goes from one process to the other.
fn handoff() -> Chart {
    let mut chart = five_lanes(
        "handoff: t1 holds, t3 asks",
        [
            (1, call(T1, P1, "lock a")),
            (1, note(T1, "holds a")),
            (2, call(T3, P2, "lock a")),
            (2, send(P2, STORE, 1, "Acquire s1, waits")),
            (3, receive(P2, STORE, 1, "Acquire s1, waits")),
            (3, send(STORE, P2, 2, "Queued s1, ticket 1")),
            (3, send(STORE, P1, 3, "Recall s1")),
            (4, receive(STORE, P1, 3, "Recall s1")),
            (4, note(P1, "closes the gate")),
            (5, receive(STORE, P2, 2, "Queued s1, ticket 1")),
            (6, call(T1, P1, "unlock a")),
            (6, send(P1, STORE, 4, "Release s1 #1, changed: a")),
            (7, receive(P1, STORE, 4, "Release s1 #1, changed: a")),
            (7, note(STORE, "writes version 2, holder p2, token #2")),
            (7, send(STORE, P2, 5, "Granted s1 #2, version 2")),
            (8, receive(STORE, P2, 5, "Granted s1 #2, version 2")),
            (8, call(P2, T3, "granted a")),
            (8, note(T3, "holds a")),
        ],
    );
    chart.changes.push("p2 / s1: phase Wanted -> Held".into());
    chart
        .changes
        .push("p2 / s1 / a: queue [t3] -> holder t3".into());
    chart
}

/// A chart with a loss, a crash, a duplicate, and messages that cross.
fn crossing() -> Chart {
    let mut chart = five_lanes(
        "mutant: a release is believed whatever its token",
        [
            (1, call(T1, P1, "lock a")),
            (1, send(P1, STORE, 1, "Acquire s1")),
            (2, receive(P1, STORE, 1, "Acquire s1")),
            (2, send(STORE, P1, 2, "Granted s1 #1")),
            (3, call(T3, P2, "lock a")),
            (3, send(P2, STORE, 3, "Acquire s1")),
            (4, receive(P2, STORE, 3, "Acquire s1")),
            (4, send(STORE, P1, 4, "Recall s1")),
            (5, call(T1, P1, "cancel: waited too long")),
            (5, send(P1, STORE, 5, "Cancel s1")),
            (6, receive(STORE, P1, 2, "Granted s1 #1")),
            (6, send(P1, STORE, 6, "Release s1 #1, nothing changed")),
            (7, lose(STORE, P1, 4, "Recall s1")),
            (8, receive(P1, STORE, 6, "Release s1 #1, nothing changed")),
            (8, send(STORE, P2, 7, "Granted s1 #2")),
            (9, fault(Some(P1), "crashes")),
            (10, receive(STORE, P2, 7, "Granted s1 #2")),
            (10, call(P2, T3, "granted a")),
            (10, note(T3, "holds a under #2")),
            (11, receive(P1, STORE, 5, "Cancel s1")),
            (12, fault(None, "every connection breaks")),
            (13, send(STORE, P1, 8, "Revoked s1 #1")),
            (13, lose(STORE, P1, 8, "Revoked s1 #1")),
            (14, receive(P1, STORE, 6, "Release s1 #1, nothing changed")),
            (14, note(STORE, "takes #2 for released: s1 is free")),
            (15, send(P2, STORE, 9, "KeepAlive")),
            (
                16,
                note(STORE, "grants s1 to p1, incarnation 2, while t3 is inside"),
            ),
        ],
    );
    chart.verdict.push(
        "exclusive (rule 1): at most one current grant per session; s1 has #2 at p2 and #3 at p1"
            .into(),
    );
    chart
        .changes
        .push("store / s1: holder none -> p1 (incarnation 2)".into());
    chart
}

/// A progress violation: the recall was lost and is never repeated.
fn lasso() -> Chart {
    let mut chart = five_lanes(
        "mutant: a recall is never repeated",
        [
            (1, call(T3, P2, "lock a")),
            (1, send(P2, STORE, 1, "Acquire s1")),
            (2, receive(P2, STORE, 1, "Acquire s1")),
            (2, send(STORE, P1, 2, "Recall s1")),
            (3, lose(STORE, P1, 2, "Recall s1")),
            (4, call(T1, P1, "lock a")),
            (4, note(T1, "holds a")),
            (5, call(T1, P1, "unlock a")),
            (6, send(P1, STORE, 3, "KeepAlive")),
            (7, receive(P1, STORE, 3, "KeepAlive")),
            (7, send(STORE, P1, 4, "Alive")),
            (8, receive(STORE, P1, 4, "Alive")),
        ],
    );
    chart.cycle_from = Some(5);
    chart
        .verdict
        .push("granted in the end (progress): t3 waits for a for ever".into());
    chart
}

#[test]
fn charts_as_text() {
    insta::assert_snapshot!("handoff_text", text(&handoff(), 100, false));
    insta::assert_snapshot!("crossing_text", text(&crossing(), 100, false));
    insta::assert_snapshot!("lasso_text", text(&lasso(), 100, false));
}

#[test]
fn charts_as_svg() {
    insta::assert_snapshot!("handoff_svg", svg(&handoff()));
    insta::assert_snapshot!("crossing_svg", svg(&crossing()));
    insta::assert_snapshot!("lasso_svg", svg(&lasso()));
}

#[test]
fn charts_as_mermaid() {
    insta::assert_snapshot!("handoff_mermaid", mermaid(&handoff()));
    insta::assert_snapshot!("crossing_mermaid", mermaid(&crossing()));
    insta::assert_snapshot!("lasso_mermaid", mermaid(&lasso()));
}

#[test]
fn chart_as_json() {
    insta::assert_snapshot!("lasso_json", json(&lasso()));
}

#[test]
fn narrow_text_keeps_the_words() {
    insta::assert_snapshot!("lasso_narrow_text", text(&lasso(), 40, false));
}

#[test]
fn nine_lanes_fit_a_terminal() {
    let names = ["t1", "t2", "p1", "store", "p2", "t3", "t4", "p3", "t5"];
    let mut chart = Chart::new("nine lanes", names);
    chart.push(1, call(0, 2, "lock a"));
    chart.push(1, send(2, 3, 1, "Acquire s1, waits until 40"));
    chart.push(2, call(8, 7, "lock b"));
    chart.push(2, send(7, 3, 2, "Acquire s1, waits until 45"));
    chart.push(3, receive(2, 3, 1, "Acquire s1, waits until 40"));
    chart.push(4, receive(7, 3, 2, "Acquire s1, waits until 45"));
    chart.push(4, send(3, 7, 3, "Queued s1, ticket 2"));
    chart.push(4, send(3, 4, 4, "Recall s1, reason wanted, until 30"));
    chart.push(5, receive(3, 7, 3, "Queued s1, ticket 2"));
    chart.push(6, fault(Some(4), "lease ends"));
    insta::assert_snapshot!("nine_lanes_text", text(&chart, 100, false));
}

#[test]
fn a_chart_may_be_empty_or_stop_for_ever() {
    let mut chart = Chart::new("", Vec::<String>::new());
    assert_eq!(text(&chart, 100, false), "(nothing happens)\n");
    assert!(roxmltree::Document::parse(&svg(&chart)).is_ok());
    chart = lasso();
    chart.cycle_from = Some(chart.rows.len());
    assert!(text(&chart, 100, false).contains("└─► from here on nothing happens, for ever\n"));
    assert!(svg(&chart).contains("from here on nothing happens, for ever"));
    assert!(mermaid(&chart).contains("from here on nothing happens, for ever"));
}

#[test]
fn color_changes_no_character() {
    for chart in [handoff(), crossing(), lasso()] {
        let colored = text(&chart, 100, true);
        assert!(colored.contains("\u{1b}[1m"));
        assert_eq!(without_color(&colored), text(&chart, 100, false));
    }
}

#[test]
fn json_of_another_kind_is_refused() {
    let document = json(&lasso());
    let other = from_json(&document.replace("tenure-chart", "sheet-music"));
    assert!(matches!(other, Err(JsonError::Format(format)) if format == "sheet-music"));
    let later = from_json(&document.replace("\"version\": 1", "\"version\": 2"));
    assert!(matches!(later, Err(JsonError::Version(2))));
    assert!(matches!(from_json("[]"), Err(JsonError::Syntax(_))));
}

/// Writes the pictures for a review: `cargo test -p tenure-checker chart -- --ignored`.
#[test]
#[ignore = "writes files; run by hand to look at the pictures"]
fn write_pictures() {
    for (name, chart) in [
        ("handoff", handoff()),
        ("crossing", crossing()),
        ("lasso", lasso()),
    ] {
        let path = std::env::temp_dir().join(format!("chart-{name}.svg"));
        std::fs::write(&path, svg(&chart)).unwrap();
        println!("{}", path.display());
    }
}

/// Returns whether a character is neither a control character nor in a block of wide, combining or right-to-left
/// characters. (The characters that the text drawing accepts were compared once with `unicode-width`, over all of
/// Unicode: every one has width 1.)
fn takes_one_column(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}'
        | '\u{591}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{231a}'..='\u{231b}'
        | '\u{23e9}'..='\u{23f3}' | '\u{25fd}'..='\u{2700}' | '\u{2705}'..='\u{2712}' | '\u{2753}'..)
}

fn without_color(text: &str) -> String {
    let mut out = String::new();
    let mut pieces = text.split('\u{1b}');
    out.push_str(pieces.next().unwrap_or(""));
    for piece in pieces {
        out.push_str(piece.split_once('m').map_or("", |(_, rest)| rest));
    }
    out
}

/// Words of every kind: plain, long, wide, combining, right to left, invisible, and words with a meaning in some
/// format.
fn words() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "",
        "end",
        "loop",
        "; end",
        "#35;",
        "a:b",
        "wrap: x",
        "<b>&amp;",
        "]]>",
        "\"'",
        "%%{init}%%",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\u{1b}[31m",
        "漢字",
        "e\u{301}",
        "\u{200d}",
        "🔒",
        "\u{202e}",
        "שלום",
        "\u{feff}",
        "\u{ffff}",
        "▶",
        "⌚",
    ]);
    prop_oneof![
        3 => "[a-z]{1,8}( [a-z0-9#,]{1,9}){0,3}",
        1 => "[a-zA-Z ]{0,120}",
        1 => "\\PC{0,30}",
        1 => prop::collection::vec(prop_oneof![odd.prop_map(str::to_owned), any::<String>()], 0..4)
            .prop_map(|words| words.concat()),
    ]
}

fn event(lanes: usize) -> impl Strategy<Value = Event> {
    // One lane more than the chart has: a chart is data and may be wrong.
    (0..7, 0..=lanes, 0..=lanes, 0..20_u64, words()).prop_map(|(kind, from, to, message, text)| {
        match kind {
            0 => Event::Note { lane: from, text },
            1 => Event::Call { from, to, text },
            2 | 3 => Event::Send {
                from,
                to,
                message,
                text,
            },
            4 => Event::Receive {
                from,
                to,
                message,
                text,
            },
            5 => Event::Lose {
                from,
                to,
                message,
                text,
            },
            _ => Event::Fault {
                lane: (from != to).then_some(from),
                text,
            },
        }
    })
}

fn charts() -> impl Strategy<Value = Chart> {
    let rows = |lanes| prop::collection::vec((0..3_usize, event(lanes)), 0..60);
    let names = prop::collection::vec(prop_oneof![3 => "[a-z]{1,5}[0-9]?", 1 => words()], 1..=9);
    let lists = || prop::collection::vec(words(), 0..3);
    names
        .prop_flat_map(move |names| {
            let count = names.len();
            (
                words(),
                Just(names),
                rows(count),
                prop::option::of(0..70_usize),
                lists(),
                lists(),
            )
        })
        .prop_map(|(title, names, rows, cycle_from, verdict, changes)| {
            let mut chart = Chart {
                cycle_from,
                verdict,
                changes,
                ..Chart::new(title, names)
            };
            let mut step = 1;
            for (more, event) in rows {
                step += more;
                chart.push(step, event);
            }
            chart
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn text_fits_its_width(chart in charts(), width in prop_oneof![Just(100_usize), 24..140_usize]) {
        let plain = text(&chart, width, false);
        for line in plain.lines() {
            prop_assert!(line.chars().all(takes_one_column), "{line:?}");
            prop_assert!(line.chars().count() <= width, "wider than {width}: {line:?}");
        }
        prop_assert_eq!(without_color(&text(&chart, width, true)), plain);
    }

    #[test]
    fn svg_is_well_formed(chart in charts()) {
        let picture = svg(&chart);
        let document = match roxmltree::Document::parse(&picture) {
            Ok(document) => document,
            Err(error) => return Err(TestCaseError::fail(format!("{error}\n{picture}"))),
        };
        let number = |name| document.root_element().attribute(name).and_then(|text| text.parse::<f64>().ok());
        prop_assert!(number("width").is_some_and(f64::is_normal));
        prop_assert!(number("height").is_some_and(f64::is_normal));
        for bad in ["NaN", "inf"] {
            let numbers = document.descendants().flat_map(|node| node.attributes());
            prop_assert!(numbers.clone().all(|number| !number.value().contains(bad)), "{}", picture);
        }
    }

    #[test]
    fn mermaid_closes_its_blocks(chart in charts()) {
        let diagram = mermaid(&chart);
        let mut open = 0_i32;
        for line in diagram.lines().skip(1) {
            let line = line.trim_start();
            match line.split(' ').next() {
                Some("loop" | "rect") => open += 1,
                Some("end") => open -= 1,
                Some("title" | "participant" | "Note") => {}
                Some(arrow) => prop_assert!(arrow.starts_with('L') && arrow.ends_with(':'), "{line:?}"),
                None => {}
            }
            prop_assert!(open >= 0, "{}", diagram);
            // The remaining characters of this kind stand in an entity, or the drawing has written them.
            let text = line.split_once(": ").map_or("", |(_, text)| text);
            prop_assert!(!text.contains([':', '"', '%', '\u{1b}', '\u{202e}']), "{text:?}");
            prop_assert_eq!(text.matches('#').count(), text.matches(';').count(), "{:?}", text);
        }
        prop_assert_eq!(open, 0, "{}", diagram);
    }

    #[test]
    fn json_comes_back(chart in charts()) {
        prop_assert_eq!(from_json(&json(&chart)).unwrap(), chart);
    }
}
