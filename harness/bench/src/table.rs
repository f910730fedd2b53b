//! The result as text.

use crate::document::{Document, Outcome, Row, Side};
use std::fmt::Write;

/// The escape codes of a terminal, or nothing.
struct Colours {
    bold: &'static str,
    faint: &'static str,
    good: &'static str,
    bad: &'static str,
    end: &'static str,
}

impl Colours {
    fn new(are_wanted: bool) -> Self {
        let only = |code| if are_wanted { code } else { "" };
        Self {
            bold: only("\x1b[1m"),
            faint: only("\x1b[2m"),
            good: only("\x1b[32m"),
            bad: only("\x1b[31m"),
            end: only("\x1b[0m"),
        }
    }
}

/// Returns the document as a table, for a terminal if `colours`.
#[must_use]
pub fn render(document: &Document, colours: bool) -> String {
    let colours = Colours::new(colours);
    let mut text = String::new();
    head(&mut text, document);
    let width = document.rows.iter().flat_map(|row| &row.sides);
    let width = width.map(|side| side.name.chars().count()).max();
    for row in &document.rows {
        one_row(&mut text, row, width.unwrap_or(0), &colours);
    }
    foot(&mut text, document, &colours);
    text
}

fn head(text: &mut String, document: &Document) {
    let machine = &document.machine;
    let cores = match machine.cores {
        1 => "1 core".to_owned(),
        cores => format!("{cores} cores"),
    };
    let quick = if document.quick { ", --quick" } else { "" };
    let _ = writeln!(
        text,
        "{}{quick}: medians of {} interleaved runs [spread]\n{}, {cores}, {}, load {}",
        document.command, document.pairs, machine.cpu, machine.kernel, machine.load
    );
}

fn one_row(text: &mut String, row: &Row, width: usize, colours: &Colours) {
    let Colours {
        bold, faint, end, ..
    } = colours;
    let better = if row.less_is_better { "less" } else { "more" };
    let _ = writeln!(
        text,
        "\n{bold}{} {}{end}  {faint}{}; {better} is better{end}",
        row.name, row.place, row.what
    );
    for side in &row.sides {
        let _ = writeln!(
            text,
            "  {:width$}  {}",
            side.name,
            result(row, side, colours)
        );
    }
}

/// Returns the figures of one contestant, or its error.
fn result(row: &Row, side: &Side, colours: &Colours) -> String {
    let Colours { good, bad, end, .. } = colours;
    match &side.outcome {
        Outcome::Measured {
            samples,
            disturbed,
            ratio,
        } => {
            let mut text = format!(
                "{:>10} {:<9} [{:>3.0} %]",
                number(samples.median),
                row.unit,
                samples.spread * 100.0
            );
            if let Some(ratio) = ratio {
                let is_good = (ratio.median <= 1.0) == row.less_is_better;
                let colour = if is_good { good } else { bad };
                let first = row.sides.first().map_or("", |side| side.name.as_str());
                let factor = number(ratio.median);
                let _ = write!(text, "  {first} = {colour}{factor}x{end} of this");
            }
            if *disturbed {
                let _ = write!(text, "  {bad}disturbed{end}");
            }
            text
        }
        Outcome::Failed { error } => format!("{bad}failed{end}: {}", one_line(error)),
    }
}

fn foot(text: &mut String, document: &Document, colours: &Colours) {
    let Colours { bold, end, .. } = colours;
    if !document.missing.is_empty() {
        let _ = writeln!(text, "\n{bold}Not measured{end}");
    }
    for missing in &document.missing {
        let _ = writeln!(text, "  {}: {}", missing.name, one_line(&missing.why));
    }
    if !document.guarantees.is_empty() {
        let _ = writeln!(text, "\n{bold}Guarantees{end}");
    }
    for guarantee in &document.guarantees {
        let _ = writeln!(
            text,
            "  {bold}{}{end} ({})\n    durability: {}\n    fencing:    {}\n    order:      {}\n    exclusion:  {}",
            guarantee.name,
            guarantee.version,
            guarantee.durability,
            guarantee.fencing,
            guarantee.order,
            guarantee.exclusion
        );
    }
    let mut recipes: Vec<_> = document.rows.iter().flat_map(|row| &row.sides).collect();
    recipes.retain(|side| !side.recipe.is_empty());
    recipes.sort_by_key(|side| (&side.name, &side.recipe));
    recipes.dedup_by_key(|side| (&side.name, &side.recipe));
    if !recipes.is_empty() {
        let _ = writeln!(text, "\n{bold}Recipes{end}");
    }
    for side in recipes {
        let _ = writeln!(text, "  {}: {} <{}>", side.name, side.recipe, side.source);
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a number with about three digits that count, and commas between thousands.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1_000.0 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            let is_start = index == 0 || (index == 1 && value < 0.0);
            if !is_start && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::document::{Guarantee, Machine, Missing};
    use crate::statistics::Summary;

    fn side(name: &str, samples: &[f64], ratio: Option<&[f64]>) -> Side {
        let summary = |samples: &[f64]| Summary::of(samples).expect("samples");
        Side {
            name: name.to_owned(),
            recipe: format!("the commands of {name}"),
            source: "https://example.org/recipe".to_owned(),
            outcome: Outcome::Measured {
                samples: summary(samples),
                disturbed: summary(samples).is_disturbed(),
                ratio: ratio.map(summary),
            },
        }
    }

    /// Returns a document with a good row, a disturbed contestant, a failed one and a missing one.
    pub(crate) fn made_up() -> Document {
        let failed = Side {
            name: "Redis always".to_owned(),
            recipe: String::new(),
            source: String::new(),
            outcome: Outcome::Failed {
                error: "redis-server ended with 1:\n  Address <in use> & more".to_owned(),
            },
        };
        let row = Row {
            name: "acquire".to_owned(),
            what: "lock and read 2 KiB, p50".to_owned(),
            place: "cross".to_owned(),
            unit: "us".to_owned(),
            less_is_better: true,
            sides: vec![
                side("Tenure", &[80.0, 88.0, 84.0], None),
                side("Redis no", &[40.0, 22.0, 42.0], Some(&[2.0, 4.0, 2.0])),
                failed,
            ],
        };
        Document {
            command: "tenure bench peers".to_owned(),
            quick: true,
            pairs: 3,
            machine: Machine {
                cpu: "Made up".to_owned(),
                cores: 2,
                kernel: "linux 6.1".to_owned(),
                load: "0.10 0.20 0.30".to_owned(),
            },
            rows: vec![row],
            guarantees: vec![Guarantee {
                name: "Redis".to_owned(),
                version: "7.0.15".to_owned(),
                durability: "none".to_owned(),
                fencing: "none".to_owned(),
                order: "none".to_owned(),
                exclusion: "none".to_owned(),
            }],
            missing: vec![Missing {
                name: "PostgreSQL".to_owned(),
                why: "no `initdb` on PATH; apt-get install postgresql".to_owned(),
            }],
        }
    }

    #[test]
    fn a_table_shows_ratios_disturbances_failures_and_missing_peers() {
        let text = render(&made_up(), false);
        assert!(!text.contains('\x1b'), "{text}");
        let line = |part: &str| {
            let found = text.lines().find(|line| line.contains(part));
            found.unwrap_or_else(|| panic!("{part} in {text}"))
        };
        assert!(line("  Tenure  ").contains("84.0 us        [ 10 %]"));
        assert!(!line("  Tenure  ").contains("disturbed"));
        let disturbed = line("  Redis no  ");
        assert!(disturbed.contains("[ 50 %]  Tenure = 2.00x of this  disturbed"));
        let failed = line("  Redis always");
        assert!(failed.contains("failed: redis-server ended with 1: Address <in use> & more"));
        assert!(line("PostgreSQL").contains("apt-get install postgresql"));
        assert!(line("the commands of Redis no").contains("<https://example.org/recipe>"));
        assert!(text.contains("medians of 3 interleaved runs"));
    }

    #[test]
    fn colours_are_for_terminals() {
        assert!(render(&made_up(), true).contains("\x1b[31mdisturbed\x1b[0m"));
    }

    #[test]
    fn the_json_tells_every_sample_and_every_error() {
        let json = serde_json::to_value(made_up()).expect("a document is valid JSON");
        let sides = &json["rows"][0]["sides"];
        assert_eq!(
            sides[0]["outcome"]["measured"]["samples"]["samples"][1],
            88.0
        );
        assert_eq!(sides[1]["outcome"]["measured"]["disturbed"], true);
        assert_eq!(sides[1]["outcome"]["measured"]["ratio"]["median"], 2.0);
        let error = sides[2]["outcome"]["failed"]["error"].as_str();
        assert!(error.is_some_and(|error| error.contains("in use")));
        assert_eq!(json["missing"][0]["name"], "PostgreSQL");
        assert_eq!(json["machine"]["cores"], 2);
    }

    #[test]
    fn numbers_show_three_digits_that_count() {
        let shown = [
            0.0,
            0.567,
            9.994,
            12.34,
            567.8,
            1_234.5,
            65_500.0,
            -1_234_567.0,
        ];
        let shown = shown.map(number);
        let expected = [
            "0.00",
            "0.57",
            "9.99",
            "12.3",
            "568",
            "1,234",
            "65,500",
            "-1,234,567",
        ];
        assert_eq!(shown, expected);
    }
}
