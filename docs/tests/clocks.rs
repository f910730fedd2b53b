//! The pages *Clocks and deadlines* and *What each operation costs* name tests: every test that they name exists.

mod files;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of tests in a page: words in backticks, of at least four parts, that are no settings.
fn named(page: &str) -> BTreeSet<&str> {
    let words = page.split('`').skip(1).step_by(2);
    let is_test = |word: &&str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let is_setting = word.ends_with("_ms") || word.ends_with("_max");
        word.chars().all(is_plain) && word.matches('_').count() >= 3 && !is_setting
    };
    words.filter(is_test).collect()
}

/// Adds the names of the functions in all sources below a folder.
fn functions(folder: &Path, into: &mut BTreeSet<String>) {
    for path in files::below(folder, "rs") {
        let text = fs::read_to_string(&path).expect("text");
        let after = text.split("fn ").skip(1);
        let names = after.filter_map(|rest| rest.split(['(', '<']).next());
        into.extend(names.map(str::to_owned));
    }
}

#[test]
fn every_test_that_the_pages_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut known = BTreeSet::new();
    for room in ["model", "impl", "harness", "benches"] {
        functions(&root.join(room), &mut known);
    }
    for (page, least) in [("clocks", 30), ("costs", 15)] {
        let text = fs::read_to_string(root.join(format!("docs/src/{page}.md"))).expect("a page");
        let named = named(&text);
        assert!(named.len() >= least, "{page}: {named:?}");
        let missing: Vec<_> = named
            .iter()
            .filter(|name| !known.contains(**name))
            .collect();
        assert!(missing.is_empty(), "{page}: no such test: {missing:?}");
    }
}

#[test]
fn settings_and_short_names_are_no_tests() {
    let page = "`time_to_live_ms`, `limits.outgoing_bytes_max`, `a_b_c_d`, `a_b_c`, `A_b_c_d`";
    assert_eq!(named(page).into_iter().collect::<Vec<_>>(), ["a_b_c_d"]);
}
