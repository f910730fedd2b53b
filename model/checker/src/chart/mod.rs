//! Counterexamples as sequence charts.
//!
//! A counterexample is useful only if a person can read it. This module draws it as a chart: lanes from left to right
//! (threads, processes, the store), time from top to bottom. The module knows nothing about the protocol. The owner of
//! a trace fills in a [`Chart`], which is drawn in four ways:
//!
//! - [`text()`]: for a terminal or a test's failure; always fits the given width.
//! - [`svg()`]: for the book and the explorer; messages are diagonals, so crossing messages are seen to cross.
//! - [`mermaid()`]: for an issue or a pull request, where the host renders it.
//! - [`json()`]: for every other tool; [`from_json`] reads it back.
//!
//! All forms but JSON use `lines`, in which a message that arrives at once is one arrow. The caller deliberately cannot
//! choose colours or shapes, and the numbers of lanes and rows are not limited. A chart is data: a chart with errors
//! (an unknown lane, an arrival before its sending) is drawn as well as possible, and nothing here panics.

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

/// A sequence of events between lanes, with the reason for showing it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chart {
    /// The title, on one line.
    pub title: String,
    /// The lanes, from left to right.
    pub lanes: Vec<Lane>,
    /// The rows, from top to bottom.
    pub rows: Vec<Row>,
    /// The first row of the cycle of a lasso: the rows from this index to the end repeat for ever. An index at or
    /// beyond the number of rows says that after the last row nothing happens any more.
    pub cycle_from: Option<usize>,
    /// The violated property as text, in lines.
    pub verdict: Vec<String>,
    /// The changes of the last step, one line each: `p2 / s1: phase Wanted -> Held`.
    pub changes: Vec<String>,
}

/// A lane: a vertical line for a thread, a process or the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// The name. It is short, because it is the head of a narrow column: `t1`, `p1`, `store`.
    pub name: String,
}

/// One event, with its step of the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The number of the step, from 1. Rows of the same step are adjacent.
    pub step: usize,
    /// The event.
    pub event: Event,
}

/// An event on a row. Lanes are indices into [`Chart::lanes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// An event at one lane: `locks a`.
    Note {
        /// The lane.
        lane: usize,
        /// The text.
        text: String,
    },
    /// A call that arrives at once: a thread calls its process, or the reverse.
    Call {
        /// The caller.
        from: usize,
        /// The called lane.
        to: usize,
        /// The question or the answer.
        text: String,
    },
    /// A message leaves. It arrives or is lost on a later row with the same `message`, or stays on the way to the end.
    Send {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// The number of the message, different for each message sent.
        message: u64,
        /// The text of the message.
        text: String,
    },
    /// A message arrives. A second arrival of the same message is a duplicate.
    Receive {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// The number of the message.
        message: u64,
        /// The text of the message.
        text: String,
    },
    /// A message is lost on the way.
    Lose {
        /// The sender.
        from: usize,
        /// The receiver, which the message never reaches.
        to: usize,
        /// The number of the message.
        message: u64,
        /// The text of the message.
        text: String,
    },
    /// A crash, a broken connection, a restart or an expiry. The drawing emphasises it.
    Fault {
        /// The lane of the fault, or `None` if it concerns all lanes.
        lane: Option<usize>,
        /// The text.
        text: String,
    },
}

impl Chart {
    /// Creates a chart without rows.
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
