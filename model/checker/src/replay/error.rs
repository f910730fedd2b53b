//! The errors of a replay, and the limits that they name.

use serde::Serialize;
use thiserror::Error;

/// The longest file that is read, in bytes.
pub const BYTES_MAX: usize = 16 << 20;
/// The most steps that are replayed.
pub const STEPS_MAX: usize = 10_000;

pub(super) const FORMAT: &str = "tenure-counterexample";
pub(super) const VERSION: u64 = 1;

/// The reason for which a file is no valid counterexample.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The file is longer than [`BYTES_MAX`].
    #[error("the file is longer than {} MiB, the longest that is read", BYTES_MAX >> 20)]
    TooLarge,
    /// The file is not UTF-8.
    #[error("the file is not text: byte {0} is not UTF-8")]
    NotText(usize),
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The file ends too early.
    #[error("the file ends too early, at line {line}, column {column}: the rest was cut off")]
    Truncated {
        /// The line of the end, from 1.
        line: usize,
        /// The column of the end, from 1.
        column: usize,
    },
    /// The file is not JSON.
    #[error("the file is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// The file has no member `format`.
    #[error("the file is JSON, but not a saved counterexample: it has no \"format\": \"{FORMAT}\"")]
    NoFormat,
    /// The file has another format.
    #[error("the format of the file is {0}, not \"{FORMAT}\"")]
    OtherFormat(String),
    /// The file has another version of the format.
    #[error("the file has version {0} of {FORMAT}; this program reads version {VERSION}")]
    OtherVersion(u64),
    /// A member is missing or has a wrong value.
    #[error("the file is not a {FORMAT} of version {VERSION}: {0}")]
    Malformed(#[source] serde_json::Error),
    /// There is no such universe, mutant or property.
    #[error(
        "there is no {what} {name}{}",
        .nearest.map_or_else(String::new, |nearest| format!("; did you mean \"{nearest}\"?"))
    )]
    Unknown {
        /// The kind of the unknown name.
        what: &'static str,
        /// The name, quoted.
        name: String,
        /// A similar known name, if there is one.
        nearest: Option<&'static str>,
    },
    /// The counterexample has more than [`STEPS_MAX`] steps.
    #[error("the counterexample has {0} steps; at most {STEPS_MAX} are replayed")]
    TooManySteps(usize),
    /// The model does not allow a step.
    #[error("step {step}, {action}, is not possible there in the universe \"{universe}\"")]
    Impossible {
        /// The number of the step, from 1.
        step: usize,
        /// The action, as the file has it.
        action: String,
        /// The universe.
        universe: &'static str,
    },
    /// The property holds after all steps.
    #[error("all {steps} steps are possible, but \"{property}\" is not violated after them")]
    Holds {
        /// The property.
        property: &'static str,
        /// The number of steps taken.
        steps: usize,
    },
    /// The `sometimes` is not shown after all steps.
    #[error("all {steps} steps are possible, but \"{property}\" is not shown after them")]
    NotShown {
        /// The property.
        property: &'static str,
        /// The number of steps taken.
        steps: usize,
    },
    /// The cycle does not close, or no thread or recall waits for ever in it.
    #[error("the steps are possible, but \"{property}\" is not violated: {reason}")]
    NoLasso {
        /// The property.
        property: &'static str,
        /// The reason.
        reason: String,
    },
    /// The steps lead to a violation, but not to the saved state.
    #[error(
        "the steps lead to state {reached:016x} and not to {saved}: the machines have changed since the file was saved"
    )]
    OtherState {
        /// The fingerprint in the file, quoted.
        saved: String,
        /// The fingerprint of the reached state.
        reached: u64,
    },
}

const NAME_CHARS_MAX: usize = 60;

pub(super) fn unknown(
    what: &'static str,
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> ReplayError {
    let is_short = name.chars().count() <= NAME_CHARS_MAX;
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    let nearest = known
        .filter(|_| is_short)
        .map(|known| (distance(&known), known))
        .min();
    let nearest = nearest
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .map(|(_, known)| known);
    ReplayError::Unknown {
        what,
        name: quoted(name),
        nearest,
    }
}

/// Returns a text of a file as errors show it: quoted, without control characters, and shortened.
pub(super) fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(NAME_CHARS_MAX).collect();
    let rest = if chars.next().is_some() { "..." } else { "" };
    format!("\"{}{rest}\"", start.escape_debug())
}

/// Returns a value as the file has it.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .expect("every saved member is a string, a number or a list, which JSON can express")
}
