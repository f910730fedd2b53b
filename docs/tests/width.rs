//! No line of a source file, a manifest or a shell script is longer than [`WIDTH`] characters, so that two files fit
//! beside each other. `cargo fmt` does not break comments, strings and the bodies of macros.

mod files;

use std::fs;
use std::path::{Path, PathBuf};

const WIDTH: usize = 120;

/// Returns whether a file is a shell script: its first line names a shell.
fn is_script(path: &Path) -> bool {
    let bytes = fs::read(path).expect("a file of the workspace can be read");
    let first = bytes.split(|byte| *byte == b'\n').next();
    let first = String::from_utf8_lossy(first.unwrap_or_default());
    first.starts_with("#!") && first.trim_end().ends_with("sh")
}

/// Returns the numbers of the lines that are too long, each with its length.
fn too_long(text: &str) -> Vec<(usize, usize)> {
    let lengths = text.lines().map(|line| line.chars().count());
    let numbered = lengths.enumerate().map(|(at, length)| (at + 1, length));
    numbered.filter(|(_, length)| *length > WIDTH).collect()
}

#[test]
fn no_line_is_too_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().expect("docs/ lies in the workspace");
    let sources = files::below(&root, "rs");
    let manifests = files::below(&root, "toml");
    let scripts: Vec<PathBuf> = files::all(&root)
        .into_iter()
        .filter(|path| is_script(path))
        .collect();
    let counts = [sources.len(), manifests.len(), scripts.len()];
    assert!(
        counts[0] > 300 && counts[1] > 15 && counts[2] > 4,
        "the workspace has more sources, manifests and scripts than {counts:?}"
    );
    let mut found = Vec::new();
    for path in sources.iter().chain(&manifests).chain(&scripts) {
        let text = fs::read_to_string(path).expect("a text file of the workspace");
        let shown = path.strip_prefix(&root).unwrap_or(path).display();
        for (line, length) in too_long(&text) {
            found.push(format!("{shown}:{line}: {length} characters"));
        }
    }
    assert!(
        found.is_empty(),
        "break each of these lines, which are longer than {WIDTH} characters:\n{}",
        found.join("\n")
    );
}

#[test]
fn characters_are_counted_and_not_bytes() {
    let text = ["é".repeat(WIDTH), "é".repeat(WIDTH + 1)].join("\n");
    assert_eq!(too_long(&text), [(2, WIDTH + 1)]);
}
