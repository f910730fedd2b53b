//! What went over the wire while a case was played: kept for its report, whatever its verdict.

use crate::hex::hex;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Of longer frames the report shows so many bytes.
const SHOWN_BYTES_MAX: usize = 256;
/// Of longer cases the report shows so many frames.
const SHOWN_MAX: usize = 400;

/// What is noted when a player cuts its connection, and when the store was killed: who reads a trace has to know.
pub(crate) const CUTS: &str = "cuts the connection";
pub(crate) const RESTARTS: &str = "is killed, and started again";
/// When it was stopped for a while, and, with the session behind it, when its operator recalls that.
pub(crate) const PAUSES: &str = "is paused";
pub(crate) const RECALLS: &str = "its operator recalls ";

/// Something that was sent, came, or happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// When, in milliseconds since the case began.
    pub at_ms: u64,
    /// On whose connection, as `p1` or `p1#2` for its second.
    pub who: String,
    /// `>`: to the target; `<`: from it; `!`: what the suite did.
    pub way: char,
    /// The frame as it was on the wire, in hexadecimal digits; of a long one the beginning, and `…`.
    pub hex: String,
    /// What it says.
    pub says: String,
}

/// The trace of a case, shared by those who play it.
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
    /// Notes a frame.
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

    /// Notes what the suite did beside sending.
    pub(crate) fn did(&self, who: &str, what: impl Into<String>) {
        self.note(who, '!', &[], what.into());
    }

    /// Forgets everything: what follows is the shorter way to the same.
    pub(crate) fn clear(&self) {
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.clear();
    }

    /// All of it.
    #[must_use]
    pub fn all(&self) -> Vec<Traced> {
        let all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}

/// The beginning of a frame.
fn beginning(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let rest = if shown.len() < bytes.len() { "…" } else { "" };
    hex(shown) + rest
}
