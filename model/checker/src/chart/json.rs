//! A chart for other tools, and back.
//!
//! The document is the [`Chart`] itself with two members before it: `"format": "tenure-chart"` and `"version": 1`.
//! A reader must refuse a version it does not know; within a version members may be added, so it must ignore the ones
//! it does not know. An event carries its `kind` (`note`, `call`, `send`, `receive`, `lose`, `fault`); lanes are
//! indices, and a message keeps its number, so that a tool may pair sendings and arrivals as it likes.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Chart;

const FORMAT: &str = "tenure-chart";
const VERSION: u32 = 1;

/// Writes a chart as JSON, indented, with a line break at the end.
#[must_use]
pub fn json(chart: &Chart) -> String {
    let document = Document {
        format: FORMAT,
        version: VERSION,
        chart,
    };
    let mut out = serde_json::to_string_pretty(&document)
        .expect("a chart has only strings, numbers and lists");
    out.push('\n');
    out
}

/// Reads what [`json`] wrote.
///
/// # Errors
///
/// If it is not JSON, not a chart, or a chart of another version.
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

/// Why a document is not a chart.
#[derive(Debug, Error)]
pub enum JsonError {
    /// Not JSON, or a member is missing or of the wrong kind.
    #[error("not a chart: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A document of another format.
    #[error("the format is {0:?}, not {FORMAT:?}")]
    Format(String),
    /// A later version.
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
