//! The files of the repository, for the tests that read all of a kind.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the files below a folder whose names end in the extension, in order.
pub(crate) fn below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let has_extension = |path: &PathBuf| path.extension().is_some_and(|end| end == extension);
    all(folder).into_iter().filter(has_extension).collect()
}

/// Returns the files below a folder, in order. Build folders and links are left out.
pub(crate) fn all(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("an entry of a folder can be read").path();
            if path.is_symlink() || path.ends_with("target") || path.ends_with(".git") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
