//! A script as the checker writes it.

use serde::Deserialize;
use std::collections::BTreeMap;
use tenure_protocol::Stamp;

/// A file of scripts.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) scripts: Vec<Script>,
}

/// See the [module](self).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    pub(super) id: String,
    pub(super) title: String,
    /// The kinds of what it doubts.
    pub(super) doubts: Vec<String>,
    pub(super) steps: Vec<Step>,
}

/// What is done; only what belongs to it is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    #[serde(rename = "do")]
    pub(super) what: String,
    pub(super) process: Option<String>,
    pub(super) link: Option<[u64; 2]>,
    pub(super) session: Option<String>,
    pub(super) request: Option<u64>,
    pub(super) patience: Option<String>,
    pub(super) ticket: Option<[u64; 2]>,
    pub(super) known: Option<[u64; 2]>,
    pub(super) token: Option<[u64; 2]>,
    pub(super) base: Option<[u64; 2]>,
    pub(super) set: Option<BTreeMap<String, Option<String>>>,
    pub(super) requeue: Option<u64>,
    pub(super) blocked_on: Option<Vec<String>>,
    pub(super) to: Option<String>,
    #[serde(default)]
    pub(super) holds: Vec<Self>,
    #[serde(default)]
    pub(super) waits: Vec<Self>,
}

impl Script {
    pub(super) fn restarts(&self) -> bool {
        self.steps.iter().any(|step| step.what == "restart")
    }
}

/// A number of the machine.
pub(super) fn stamp([epoch, sequence]: [u64; 2]) -> Stamp {
    Stamp { epoch, sequence }
}
