//! The first line of a trace: the origin of the trace, and the settings that the judge needs.

use crate::case::Side;
use crate::report::Report;
use serde::Deserialize;
use tenure_protocol::{Limits, ProcessSettings};

/// The version of the trace format.
pub const VERSION: u64 = 1;

/// The longest delay with which a player of the suite reads from a connection, in milliseconds.
const SEEN_LATE_MS: u64 = 5_000;

/// The first line of a trace.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Head {
    pub(super) trace: u64,
    /// The name of the traced run.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// The deliberate error, if the trace is a test vector with one.
    #[serde(default)]
    pub(crate) breaks: Option<Breaks>,
    /// The time by which an event may differ from the time of its observation, in milliseconds.
    #[serde(default = "default_slack_ms")]
    slack_ms: u64,
    #[serde(default)]
    pub(crate) threads: Threads,
    #[serde(default)]
    pub(crate) process: Settings,
    #[serde(default)]
    pub(crate) store: StoreSettings,
    /// The longest delay of an observation in milliseconds, if longer than `slack_ms`.
    #[serde(skip)]
    seen_late_ms: Option<u64>,
    /// The only side to judge, if the other side deliberately misbehaves.
    #[serde(skip)]
    pub(super) judged: Option<Side>,
}

/// The deliberate error in a test vector.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Breaks {
    /// The line of the first wrong entry.
    pub line: usize,
    /// The rule that the entry violates.
    pub rule: String,
}

impl Head {
    pub(super) fn slack(&self) -> Slack {
        Slack {
            early_ms: self.slack_ms,
            late_ms: self.seen_late_ms.unwrap_or(self.slack_ms),
        }
    }

    /// Returns the head for a case of a report.
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

/// The time by which an action may be observed earlier or later than it happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slack {
    pub(super) early_ms: u64,
    pub(super) late_ms: u64,
}

fn default_slack_ms() -> u64 {
    1_000
}

/// The processes of which the trace contains all actions of threads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum Threads {
    Named(Vec<String>),
    /// The word `"all"`.
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

/// The settings of processes that the judge needs, with the names that adapters use.
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
    /// Returns the settings of a machine that explains the messages of such a process.
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
            // The process may send keep-alives and repeat messages at any time.
            keep_alive_ms: 0,
            resend_ms: 0,
            limits,
            ..ProcessSettings::default()
        }
    }
}

/// The settings of the store that its messages do not state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StoreSettings {
    /// The time after which an unused session ends, in milliseconds.
    pub(crate) time_to_live_ms: Option<u64>,
}
