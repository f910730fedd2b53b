//! The frames that were exchanged during a case. The report contains them whatever the verdict.

use crate::hex::hex;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The most bytes of a frame that the report shows.
const SHOWN_BYTES_MAX: usize = 256;
/// The most frames of a case that the report shows.
const SHOWN_MAX: usize = 400;

/// Trace notes for a connection cut and for a restart of the store, which a reader of the trace must know.
pub(crate) const CUTS: &str = "cuts the connection";
pub(crate) const RESTARTS: &str = "is killed, and started again";
/// Trace notes for a pause of the store, and for an operator's recall of the session named behind the text.
pub(crate) const PAUSES: &str = "is paused";
pub(crate) const RECALLS: &str = "its operator recalls ";

/// An entry of a trace: a frame that was sent or received, or an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// The time in milliseconds since the case began.
    pub at_ms: u64,
    /// The connection, such as `p1`, or `p1#2` for the second connection of `p1`.
    pub who: String,
    /// The direction: `>` to the target, `<` from the target, `!` an action of the suite.
    pub way: char,
    /// The frame in hexadecimal digits. A long frame is cut and ends with `…`.
    pub hex: String,
    /// The decoded frame, or the event.
    pub says: String,
}

/// The trace of a case, shared by all participants of the case.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    all: Mutex<Vec<Traced>>,
}

impl Default for Trace {
    fn default() -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            all: Mutex::default(),
        }))
    }
}

impl Trace {
    /// Records a frame.
    pub(crate) fn note(&self, who: &str, way: char, bytes: &[u8], says: String) {
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < SHOWN_MAX {
            all.push(Traced {
                at_ms: u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX),
                who: who.to_owned(),
                way,
                hex: beginning(bytes),
                says,
            });
        }
    }

    /// Records an action of the suite other than sending.
    pub(crate) fn did(&self, who: &str, what: impl Into<String>) {
        self.note(who, '!', &[], what.into());
    }

    /// Clears the trace, before a shorter play with the same failure.
    pub(crate) fn clear(&self) {
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.clear();
    }

    /// Returns all entries.
    #[must_use]
    pub fn all(&self) -> Vec<Traced> {
        let all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}

/// Returns the beginning of a frame in hexadecimal digits.
fn beginning(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let rest = if shown.len() < bytes.len() { "…" } else { "" };
    hex(shown) + rest
}
