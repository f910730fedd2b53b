//! How a case ends before its end.

use std::fmt;

/// What playing a case comes to.
pub type Play<T = ()> = Result<T, CaseEnd>;

/// Why a case was not played to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseEnd {
    /// The target did not do what is required.
    Failed {
        /// What had to come.
        expected: String,
        /// What came.
        seen: String,
    },
    /// The same, when leases have ended meanwhile because the store was too slow to take what keeps them alive: it may be right.
    Starved {
        /// What had to come.
        expected: String,
        /// What came.
        seen: String,
    },
    /// It could not be played, for this reason.
    Skipped(String),
    /// The target cannot be reached at all.
    Unreachable(String),
    /// The suite itself is wrong.
    Fault(String),
}

impl CaseEnd {
    /// A failure.
    pub(crate) fn failed(expected: impl Into<String>, seen: impl fmt::Debug) -> Self {
        Self::Failed {
            expected: expected.into(),
            seen: format!("{seen:?}"),
        }
    }

    /// A failure that is told in words.
    pub(crate) fn told(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::Failed {
            expected: expected.into(),
            seen: seen.into(),
        }
    }

    /// A fault of the suite.
    pub(crate) fn fault(what: impl fmt::Display) -> Self {
        Self::Fault(what.to_string())
    }
}

/// Fails unless it is so.
pub(crate) fn holds(is_so: bool, expected: &str, seen: impl fmt::Debug) -> Play {
    if is_so {
        Ok(())
    } else {
        Err(CaseEnd::failed(expected, seen))
    }
}
