//! No test is forgotten: where the tests of a crate are one program, `tests/main.rs` names every file beside it.
//!
//! Cargo finds the files of `tests/` by itself, but makes a program of each, and each compiles the machines again.

use std::fs;
use std::path::{Path, PathBuf};

/// The files in `folder` that the text of its `main.rs` does not name as modules.
fn forgotten(main: &str, files: &[String]) -> Vec<String> {
    let is_named = |file: &str| {
        let module = file.strip_suffix(".rs").unwrap_or(file);
        main.lines().any(|line| line == format!("mod {module};"))
    };
    let others = files
        .iter()
        .filter(|file| file.ends_with(".rs") && *file != "main.rs");
    others.filter(|file| !is_named(file)).cloned().collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("an entry").file_name();
        name.into_string().expect("UTF-8")
    };
    entries.map(name).collect()
}

/// The folders of tests that are one program.
fn programs() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rooms = ["model", "impl", "harness"].map(|room| root.join(room));
    let crates = rooms
        .iter()
        .flat_map(|room| names(room).into_iter().map(|name| room.join(name)));
    crates
        .map(|own| own.join("tests"))
        .filter(|tests| tests.join("main.rs").is_file())
        .collect()
}

#[test]
fn every_file_of_tests_is_run() {
    let programs = programs();
    assert!(programs.len() >= 6, "too few were looked at: {programs:?}");
    for tests in programs {
        let main = fs::read_to_string(tests.join("main.rs")).expect("read");
        let forgotten = forgotten(&main, &names(&tests));
        assert!(
            forgotten.is_empty(),
            "{tests:?}: main.rs does not name {forgotten:?}, so nobody runs them"
        );
    }
}

#[test]
fn a_forgotten_file_is_found() {
    let files = ["main.rs", "races.rs", "traces.rs", "support"].map(str::to_owned);
    let main = "//! Tests.\n\nmod races;\nmod support;\n// mod traces;\n";
    assert_eq!(forgotten(main, &files), ["traces.rs"]);
}
