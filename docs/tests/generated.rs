//! The tables of the book are those that the checker works by.
//!
//! `UPDATE_BOOK=1 cargo test -p tenure-docs --test generated` writes them anew. The matrix comes from
//! `cargo run --release -- check --matrix > docs/src/matrix.jsonl`.

use std::fs;
use std::path::{Path, PathBuf};
use tenure_checker::book::{self, Row};

const END: &str = "<!-- /generated -->";

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name)
}

fn matrix() -> Vec<Row> {
    let text = fs::read_to_string(page("matrix.jsonl")).expect("docs/src/matrix.jsonl");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of `tenure check --matrix`"))
        .collect()
}

/// The page with `table` in its region; `None` when it has no such region.
fn with_table(text: &str, region: &str, table: &str) -> Option<String> {
    let begin = format!("<!-- generated: {region} -->\n");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}{table}{END}{after}"))
}

fn assert_shows(name: &str, region: &str, table: &str) {
    let path = page(name);
    let text = fs::read_to_string(&path).expect("the page");
    let expected = with_table(&text, region, table).expect("a generated region");
    if std::env::var_os("UPDATE_BOOK").is_some() {
        fs::write(&path, expected).expect("the page can be written");
        return;
    }
    assert!(
        text == expected,
        "docs/src/{name} does not show the {region} of the checker; \
        UPDATE_BOOK=1 cargo test -p tenure-docs --test generated"
    );
}

#[test]
fn the_book_shows_the_universes() {
    assert_shows("universes.md", "universes", &book::universes());
}

#[test]
fn the_book_shows_the_properties() {
    assert_shows("properties.md", "properties", &book::properties());
}

#[test]
fn the_book_shows_the_mutants() {
    assert_shows("mutants.md", "mutants", &book::mutants(&matrix()));
}

#[test]
fn the_book_shows_what_the_suite_kills() {
    assert_shows(
        "conform/mutants.md",
        "killed",
        &tenure_mutants::table::table(),
    );
}

#[test]
fn every_mutant_is_killed_and_every_universe_has_its_reason() {
    assert_eq!(book::faults(&matrix()), Vec::<String>::new());
}

#[test]
fn an_old_table_is_found() {
    let text = "a\n<!-- generated: x -->\nold\n<!-- /generated -->\nb\n";
    let new = with_table(text, "x", "new\n").expect("a region");
    assert_eq!(new, text.replace("old", "new"));
    assert_eq!(with_table(text, "y", "new\n"), None);
}
