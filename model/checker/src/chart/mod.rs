//! Counterexamples as sequence charts.
//!
//! A counterexample is only as good as the picture a person makes of it. This module draws that picture: lanes from
//! left to right (threads, processes, the store), time from top to bottom. It knows nothing about the protocol; whoever
//! has a trace fills in a [`Chart`], and the same chart is drawn four ways:
//!
//! - [`text`]: for a terminal or a test's failure; always fits the width it is given.
//! - [`svg`]: for the book and the explorer; messages are real diagonals, so what crosses is seen to cross.
//! - [`mermaid`]: for an issue or a pull request, where the host renders it.
//! - [`json`]: for every other tool; [`from_json`] reads it back.
//!
//! All but JSON see a chart through `lines`, where a message that arrives at once has become one arrow. Absent on
//! purpose: colours or shapes chosen by the caller, and any limit on the number of lanes or rows. A chart is data, so
//! a nonsensical one (a lane that does not exist, an arrival before its sending) is drawn as well as it can be, and
//! nothing here panics.

use serde::{Deserialize, Serialize};

mod canvas;
mod json;
mod lines;
mod mermaid;
mod svg;
mod text;

pub use json::{JsonError, from_json, json};
pub use mermaid::mermaid;
pub use svg::svg;
pub use text::text;

/// A sequence of events between lanes, and why it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chart {
    /// One line that says what this is.
    pub title: String,
    /// From left to right.
    pub lanes: Vec<Lane>,
    /// From top to bottom.
    pub rows: Vec<Row>,
    /// A lasso: the rows from this index to the end repeat for ever. The number of rows itself (or more) means that
    /// after the last row nothing happens any more.
    pub cycle_from: Option<usize>,
    /// What is wrong: the violated property in words.
    pub verdict: Vec<String>,
    /// What the last step changed, one line each: `p2 / s1: phase Wanted -> Held`.
    pub changes: Vec<String>,
}

/// A vertical line: somebody things happen to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Short, since it is the head of a narrow column: `t1`, `p1`, `store`.
    pub name: String,
}

/// One event, and the step of the trace it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The number of the step, from 1. Rows of the same step stand next to each other.
    pub step: usize,
    /// What happens.
    pub event: Event,
}

/// What can happen on a row. Lanes are indices into [`Chart::lanes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// Something happens at one lane: `locks a`.
    Note {
        /// Where.
        lane: usize,
        /// What.
        text: String,
    },
    /// One lane calls another and is heard at once: a thread and its process.
    Call {
        /// The caller.
        from: usize,
        /// The called.
        to: usize,
        /// What is asked or answered.
        text: String,
    },
    /// A message leaves. It arrives, or is lost, at a later row with the same `message`, or is on the way to the end.
    Send {
        /// The sender.
        from: usize,
        /// The addressee.
        to: usize,
        /// One number for each message sent.
        message: u64,
        /// What the message says.
        text: String,
    },
    /// A message arrives. The same one twice is a duplicate.
    Receive {
        /// The sender.
        from: usize,
        /// Where it arrives.
        to: usize,
        /// The number it was sent with.
        message: u64,
        /// What the message says.
        text: String,
    },
    /// A message is lost on the way.
    Lose {
        /// The sender.
        from: usize,
        /// Where it never arrives.
        to: usize,
        /// The number it was sent with.
        message: u64,
        /// What the message said.
        text: String,
    },
    /// A crash, a broken connection, a restart, an expiry. Stands out.
    Fault {
        /// Whose fault, or `None` if it concerns everybody.
        lane: Option<usize>,
        /// What.
        text: String,
    },
}

impl Chart {
    /// A chart without rows.
    #[must_use]
    pub fn new(title: impl Into<String>, lanes: impl IntoIterator<Item: Into<String>>) -> Self {
        Self {
            title: title.into(),
            lanes: lanes
                .into_iter()
                .map(|name| Lane { name: name.into() })
                .collect(),
            ..Self::default()
        }
    }

    /// Adds a row at the bottom.
    pub fn push(&mut self, step: usize, event: Event) {
        self.rows.push(Row { step, event });
    }
}
