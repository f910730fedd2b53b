//! The prose of this project: forms of speech that strangers could not follow are not used any more.
//!
//! The forms are tell-tales of a sentence whose subject is no noun: "whoever", a sentence that begins with "Who" or
//! "Answers", and "is told". The test looks for them in the comments and strings of every Rust file, and in every page.

mod files;

use std::fs;
use std::path::{Path, PathBuf};

/// Parts of paths whose text is not prose: frozen vectors, and the samples of this test.
const NOT_PROSE: [&str; 2] = ["tests/vectors/", "tests/prose.rs"];

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("docs/ lies in the workspace")
}

/// Returns the comments and string literals of a line of Rust, or the whole line of a page.
fn prose<'t>(path: &Path, line: &'t str) -> Option<&'t str> {
    if path.extension().is_some_and(|end| end == "md") {
        return Some(line);
    }
    let begin = line.find("//").into_iter().chain(line.find('"')).min()?;
    Some(&line[begin..])
}

/// Counts the tell-tale forms in a line.
fn tell_tales(text: &str) -> usize {
    let lower = text.to_lowercase();
    let begins = |word: &str| {
        text.match_indices(word)
            .filter(|(at, _)| {
                let before = text[..*at].trim_end_matches(['/', '!', '*', '"', '-', '|', '>', ' ']);
                before.is_empty() || before.ends_with(['.', ':', '?'])
            })
            .count()
    };
    lower.matches("whoever").count()
        + lower.matches("is told").count()
        + begins("Who ")
        + begins("Answers ")
}

#[test]
fn no_sentence_has_a_subject_that_is_no_noun() {
    let is_prose = |path: &PathBuf| {
        let path = path.to_string_lossy();
        !NOT_PROSE.iter().any(|part| path.contains(part))
    };
    let files = ["rs", "md"].map(|end| files::below(&root(), end));
    let files: Vec<PathBuf> = files.into_iter().flatten().filter(is_prose).collect();
    assert!(
        files.len() > 300,
        "the workspace has more files than {}",
        files.len()
    );
    let mut found = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("a text file of the workspace");
        for (number, line) in text.lines().enumerate() {
            let count = prose(&path, line).map_or(0, tell_tales);
            found.extend(std::iter::repeat_n(
                format!("{}:{}: {}", path.display(), number + 1, line.trim()),
                count,
            ));
        }
    }
    assert!(
        found.is_empty(),
        "give each of these sentences a noun as its subject:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_forms_are_seen_where_a_sentence_begins() {
    assert_eq!(
        tell_tales("/// Who waits is told so, by whoever leaves."),
        3
    );
    assert_eq!(tell_tales("/// Answers a request. Who asks?"), 2);
    assert_eq!(
        tell_tales("/// The store answers; nobody knows Who or What."),
        0
    );
}
