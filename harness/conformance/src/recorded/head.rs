//! The first line of a trace: of whom it is, and what has to be known of their settings.

use crate::case::Side;
use crate::report::Report;
use serde::Deserialize;
use tenure_protocol::{Limits, ProcessSettings};

/// The version of the format.
pub const VERSION: u64 = 1;

/// A player of the suite looks at a connection when its case wants to, which may be late.
const SEEN_LATE_MS: u64 = 5_000;

/// The first line.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Head {
    pub(super) trace: u64,
    /// What the trace is of.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// What is wrong in it, in a vector.
    #[serde(default)]
    pub(crate) breaks: Option<Breaks>,
    /// By how much what was seen may have happened before or after it was seen.
    #[serde(default = "default_slack_ms")]
    slack_ms: u64,
    #[serde(default)]
    pub(crate) threads: Threads,
    #[serde(default)]
    pub(crate) process: Settings,
    #[serde(default)]
    pub(crate) store: StoreSettings,
    /// How late something may have been seen, if later than that.
    #[serde(skip)]
    seen_late_ms: Option<u64>,
    /// Who alone is judged: the other side is played by somebody who does wrong on purpose.
    #[serde(skip)]
    pub(super) judged: Option<Side>,
}

/// What is wrong in a trace on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Breaks {
    /// The line of the first entry that is wrong.
    pub line: usize,
    /// The rule that it breaks.
    pub rule: String,
}

impl Head {
    pub(super) fn slack(&self) -> Slack {
        Slack {
            early_ms: self.slack_ms,
            late_ms: self.seen_late_ms.unwrap_or(self.slack_ms),
        }
    }

    /// Of a case of a report.
    pub(super) fn of_case(report: &Report, case: &str) -> Self {
        let is_process = report.side == Side::Process;
        Self {
            trace: VERSION,
            name: Some(case.to_owned()),
            breaks: None,
            slack_ms: default_slack_ms(),
            seen_late_ms: Some(SEEN_LATE_MS),
            threads: if is_process {
                Threads::Word("all".to_owned())
            } else {
                Threads::Nobody
            },
            process: Settings::default(),
            store: StoreSettings {
                time_to_live_ms: report.time_to_live_ms,
            },
            judged: Some(report.side),
        }
    }
}

/// By how much what somebody does may be seen earlier or later than it was done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slack {
    pub(super) early_ms: u64,
    pub(super) late_ms: u64,
}

fn default_slack_ms() -> u64 {
    1_000
}

/// Of which processes everything that their threads did is in the trace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum Threads {
    Named(Vec<String>),
    /// `"all"`.
    Word(String),
    #[default]
    Nobody,
}

impl Threads {
    pub(crate) fn has(&self, process: &str) -> bool {
        match self {
            Self::Named(all) => all.iter().any(|own| own == process),
            Self::Word(word) => word == "all",
            Self::Nobody => false,
        }
    }
}

/// Settings of the processes that the judge must know, by the names that adapters use.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    margin_ms: u64,
    recall_margin_ms: u64,
    attributes_max: usize,
    attribute_bytes_max: usize,
    session_bytes_max: usize,
    grants_max: usize,
    threads_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let own = ProcessSettings::default();
        Self {
            margin_ms: own.margin_ms,
            recall_margin_ms: own.recall_margin_ms,
            attributes_max: own.limits.attributes_max,
            attribute_bytes_max: own.limits.attribute_bytes_max,
            session_bytes_max: own.limits.session_bytes_max,
            grants_max: own.limits.grants_max,
            threads_max: own.limits.threads_max,
        }
    }
}

impl Settings {
    /// Of a machine that is to explain what such a process says.
    pub(super) fn machine(&self) -> ProcessSettings {
        let limits = Limits {
            attributes_max: self.attributes_max,
            attribute_bytes_max: self.attribute_bytes_max,
            session_bytes_max: self.session_bytes_max,
            grants_max: self.grants_max,
            threads_max: self.threads_max,
            ..Limits::default()
        };
        ProcessSettings {
            margin_ms: self.margin_ms,
            recall_margin_ms: self.recall_margin_ms,
            // It may say that it lives, and repeat itself, at any time.
            keep_alive_ms: 0,
            resend_ms: 0,
            limits,
            ..ProcessSettings::default()
        }
    }
}

/// Settings of the store that it does not tell.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StoreSettings {
    /// After how long a session that nobody uses ends.
    pub(crate) time_to_live_ms: Option<u64>,
}
