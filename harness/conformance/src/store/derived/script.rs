//! The scripts in the format of the checker's export.

use crate::case::Need;
use serde::Deserialize;
use std::collections::BTreeMap;
use tenure_protocol::Stamp;

/// A file of scripts.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) scripts: Vec<Script>,
}

/// A script. See the [module](self).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    pub(super) id: String,
    pub(super) title: String,
    /// The actions and properties that the script checks.
    pub(super) doubts: Vec<String>,
    /// The universe of the model in which the property is reached.
    #[serde(default)]
    pub(super) universe: Option<String>,
    /// The transitions for which the script exists.
    #[serde(default)]
    pub(super) takes: Vec<Taken>,
    pub(super) steps: Vec<Step>,
}

/// A transition: the session's state, the action, and the machine's answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Taken {
    /// The number of the step, from 1.
    pub(super) step: usize,
    pub(super) session: String,
    pub(super) input: String,
    pub(super) answer: String,
}

/// The action of a step. Only the fields of that action are present.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    #[serde(rename = "do")]
    pub(super) what: String,
    pub(super) process: Option<String>,
    pub(super) link: Option<[u64; 2]>,
    pub(super) session: Option<String>,
    pub(super) request: Option<u64>,
    pub(super) wait_mode: Option<String>,
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
    /// Returns the requirements of the script beside an address.
    pub(super) fn needs(&self) -> &'static [Need] {
        let has = |what| self.steps.iter().any(|step| step.what == what);
        match (has("restart"), has("expires")) {
            (false, false) => &[],
            (true, false) => &[Need::Restart],
            (false, true) => &[Need::Expiry],
            (true, true) => &[Need::Restart, Need::Expiry],
        }
    }

    /// Returns a description of a step and of its purpose.
    pub(super) fn told(&self, place: usize, what: &str) -> String {
        let mut told = format!("{place}. {what}");
        for own in self.takes.iter().filter(|own| own.step == place) {
            let Taken { session, input, .. } = own;
            let answer = match own.answer.as_str() {
                "" => "nothing",
                answer => answer,
            };
            told += &format!("; session {session}; {input}: the machine answers {answer}");
        }
        told
    }

    /// Returns the property that the script shows.
    pub(super) fn property(&self) -> Option<&str> {
        let first = self.doubts.first().map(String::as_str);
        first.filter(|_| self.universe.is_some())
    }
}

/// Returns a number of the machine.
pub(super) fn stamp([epoch, sequence]: [u64; 2]) -> Stamp {
    Stamp { epoch, sequence }
}
