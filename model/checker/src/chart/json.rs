//! The JSON form of a chart for other tools, and its reader.
//!
//! The document is the [`Chart`] itself, with two members before it: `"format": "tenure-chart"` and `"version": 1`. A
//! reader must refuse an unknown version. Within a version, members may be added, so a reader must ignore unknown
//! members. An event carries its `kind` (`note`, `call`, `send`, `receive`, `lose`, `fault`). Lanes are indices. A
//! message keeps its number, so that a tool can pair sendings and arrivals.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Chart;

const FORMAT: &str = "tenure-chart";
const VERSION: u32 = 1;

/// Returns a chart as JSON, indented, with a line break at the end.
#[must_use]
pub fn json(chart: &Chart) -> String {
    let document = Document {
        format: FORMAT,
        version: VERSION,
        chart,
    };
    let mut out = serde_json::to_string_pretty(&document)
        .expect("a chart contains only strings, numbers and lists, which JSON can express");
    out.push('\n');
    out
}

/// Reads a chart from the output of [`json`].
///
/// # Errors
///
/// When the text is not JSON, not a chart, or a chart of another version.
pub fn from_json(text: &str) -> Result<Chart, JsonError> {
    let Head { format, version } = serde_json::from_str(text)?;
    if format != FORMAT {
        return Err(JsonError::Format(format));
    }
    if version != VERSION {
        return Err(JsonError::Version(version));
    }
    Ok(serde_json::from_str(text)?)
}

/// The reason for which a document is not a chart.
#[derive(Debug, Error)]
pub enum JsonError {
    /// The document is not JSON, or a member is missing or has a wrong type.
    #[error("not a chart: {0}")]
    Syntax(#[from] serde_json::Error),
    /// The document has another format.
    #[error("the format is {0:?}, not {FORMAT:?}")]
    Format(String),
    /// The document has a later version.
    #[error("version {0} of {FORMAT} is unknown here; this is version {VERSION}")]
    Version(u32),
}

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    #[serde(flatten)]
    chart: &'a Chart,
}

#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}
