//! The two vector files: their contents and their layout.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use tenure_wire::{FaultCode, FrameLimits};

/// As [`FrameLimits`].
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub frame_bytes_max: usize,
    pub changes_max: usize,
    pub items_max: usize,
}

impl From<FrameLimits> for Limits {
    fn from(limits: FrameLimits) -> Self {
        Self {
            frame_bytes_max: limits.frame_bytes_max,
            changes_max: limits.changes_max,
            items_max: limits.items_max,
        }
    }
}

/// A file's vectors, and the limits of their reader.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct File<V> {
    pub limits: Limits,
    pub vectors: Vec<V>,
}

/// A stream that a reader accepts.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Valid {
    pub name: String,
    /// The sender: `process` or `store`.
    pub from: String,
    pub hex: String,
    /// The body of each frame in diagnostic notation, or `null` if it is incomplete or not well-formed.
    pub diagnostic: Vec<Option<String>>,
    /// Whether a writer that follows the book writes exactly these bytes.
    pub canonical: bool,
    /// The decoded items, as serde represents them.
    pub items: Vec<Value>,
}

/// A stream that a reader refuses.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Invalid {
    pub name: String,
    /// The sender: `process` or `store`.
    pub from: String,
    pub hex: String,
    /// As in [`Valid`].
    pub diagnostic: Vec<Option<String>>,
    /// The code of the fault, or `None` if the stream is valid so far but incomplete.
    pub code: Option<FaultCode>,
    /// The position of the error, in bytes from the start of the wrong frame.
    pub offset: Option<usize>,
    /// Whether the schema also refuses the body.
    pub schema_refuses: bool,
}

impl<V: Serialize> File<V> {
    /// Writes one line per vector, and separate lines for its bytes and its items.
    pub(crate) fn text(&self) -> String {
        let json = |value: &dyn Fn() -> serde_json::Result<String>| value().expect("JSON");
        let mut text = String::new();
        let limits = json(&|| serde_json::to_string(&self.limits));
        writeln!(text, "{{\"limits\":{limits},\n\"vectors\":[").expect("a string");
        for (at, vector) in self.vectors.iter().enumerate() {
            let line = json(&|| serde_json::to_string(vector));
            let line = line.replacen(",\"hex\":", ",\n \"hex\":", 1);
            let line = line.replacen(",\"diagnostic\":", ",\n \"diagnostic\":", 1);
            let line = line.replacen(",\"canonical\":", ",\n \"canonical\":", 1);
            let line = line.replacen(",\"code\":", ",\n \"code\":", 1);
            let comma = if at + 1 < self.vectors.len() { "," } else { "" };
            writeln!(text, "{line}{comma}").expect("a string");
        }
        text + "]}\n"
    }
}

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

pub(crate) fn read<V: DeserializeOwned>(name: &str) -> File<V> {
    let text = fs::read_to_string(path(name)).expect("a file of vectors");
    serde_json::from_str(&text).expect("vectors")
}

/// Decodes hexadecimal digits, ignoring white space.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a digit")).expect("below 16"))
        .collect();
    assert!(digits.len().is_multiple_of(2), "whole bytes: {text}");
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
