//! The reasons why a case ends early.

use std::fmt;

/// The result of playing a case or a part of one.
pub type Play<T = ()> = Result<T, CaseEnd>;

/// The reason why a case was not played to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseEnd {
    /// The target did not do the required thing.
    Failed {
        /// The required behaviour.
        expected: String,
        /// The observed behaviour.
        seen: String,
    },
    /// The target did not do the required thing, but leases have ended because the store accepted keep-alives too
    /// slowly. The target may be correct.
    Starved {
        /// The required behaviour.
        expected: String,
        /// The observed behaviour.
        seen: String,
    },
    /// The case could not be played, for this reason.
    Skipped(String),
    /// The target cannot be reached.
    Unreachable(String),
    /// The suite itself has a bug.
    Fault(String),
}

impl CaseEnd {
    /// Returns a failure that shows the observed value.
    pub(crate) fn failed(expected: impl Into<String>, seen: impl fmt::Debug) -> Self {
        Self::Failed {
            expected: expected.into(),
            seen: format!("{seen:?}"),
        }
    }

    /// Returns a failure that describes the observation in words.
    pub(crate) fn told(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::Failed {
            expected: expected.into(),
            seen: seen.into(),
        }
    }

    /// Returns an error that reports a bug of the suite.
    pub(crate) fn fault(what: impl fmt::Display) -> Self {
        Self::Fault(what.to_string())
    }
}

/// Fails with the observed value unless the condition is true.
pub(crate) fn holds(is_so: bool, expected: &str, seen: impl fmt::Debug) -> Play {
    if is_so {
        Ok(())
    } else {
        Err(CaseEnd::failed(expected, seen))
    }
}
