//! Regions of the book's pages that the machines write themselves.
//!
//! `UPDATE_BOOK=1 cargo test -p tenure-protocol` renews them. A number that a machine drew has no meaning for a reader.
//! These pages therefore replace each number by a letter that stands for its role.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const END: &str = "<!-- /generated -->";

/// The lock for tests that write regions of the same page in parallel.
static PAGES: Mutex<()> = Mutex::new(());

/// Compares the region of a page below `docs/src` with `text`, or writes it.
pub(crate) fn assert_shows(page: &str, region: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src");
    let path = path.join(page);
    // A failed test may have poisoned the lock; the pages are still intact.
    let _one_at_a_time = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let found = fs::read_to_string(&path).expect("the page");
    let begin = format!("<!-- generated: {region} -->\n");
    let (before, rest) = found
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{page} has no region {region}"));
    let (_, after) = rest.split_once(END).expect("the region has an end");
    let expected = format!("{before}{begin}{text}{END}{after}");
    if std::env::var_os("UPDATE_BOOK").is_some() {
        fs::write(&path, expected).expect("the page can be written");
        return;
    }
    assert!(
        found == expected,
        "docs/src/{page} does not show what the machines do ({region}); UPDATE_BOOK=1 cargo test -p tenure-protocol"
    );
}

/// Replaces every stamp (`t1.2`, `v1.2`, `k1.2`) by the result of `letter` for its kind and its number.
pub(crate) fn with_letters(text: &str, letter: impl Fn(char, &str) -> String) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let mut words = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let kind = word.chars().next().filter(|c| "tvk".contains(*c));
        match kind {
            Some(kind) if is_stamp(&word[1..]) => words += &letter(kind, &word[1..]),
            _ => words += word,
        }
        let next = behind.find(is_part).unwrap_or(behind.len());
        words += &behind[..next];
        rest = &behind[next..];
    }
    words
}

fn is_stamp(word: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    word.split_once('.')
        .is_some_and(|(epoch, sequence)| is_number(epoch) && is_number(sequence))
}

/// Removes the times, which depend on settings only.
pub(crate) fn without_times(text: &str) -> String {
    let mut text = text.replace(" i1", "");
    for (before, after) in [
        (" within ", " ms"),
        (", revoke at ", ""),
        (", late at ", ""),
        (", expires ", ""),
        (" expires ", ""),
        (" lease ", ""),
        (" idle ", ""),
        (" of ", ""),
        (" until ", ""),
    ] {
        let mut from = 0;
        while let Some(at) = text[from..].find(before) {
            let (start, number) = (from + at, from + at + before.len());
            let behind = &text[number..];
            let digits = behind.find(|c: char| !c.is_ascii_digit());
            let digits = digits.unwrap_or(behind.len());
            if digits == 0 {
                from = number;
                continue;
            }
            let end = number + digits;
            let end = end + text[end..].strip_prefix(after).map_or(0, |_| after.len());
            text.replace_range(start..end, "");
            from = start;
        }
    }
    text
}

/// Returns the inputs with their results. Inputs with equal results share a row, and inputs without a result form the
/// last row.
pub(crate) fn grouped(rows: Vec<(String, Option<(String, String)>)>) -> String {
    let mut groups: Vec<(Vec<String>, (String, String))> = Vec::new();
    let mut ignored = Vec::new();
    for (input, outcome) in rows {
        let Some(outcome) = outcome else {
            ignored.push(input);
            continue;
        };
        match groups.iter_mut().find(|(_, own)| *own == outcome) {
            Some((inputs, _)) => inputs.push(input),
            None => groups.push((vec![input], outcome)),
        }
    }
    let mut text = "| input | outputs, in order | then |\n|---|---|---|\n".to_owned();
    for (inputs, (after, outputs)) in groups {
        text += &format!("| {} | {outputs} | {after} |\n", inputs.join("; "));
    }
    if !ignored.is_empty() {
        text += &format!("| *{}* | nothing | the same |\n", ignored.join("; "));
    }
    text
}
