//! A script as the checker writes it.

use crate::case::Need;
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
    /// In which universe of the model the property is reached.
    #[serde(default)]
    pub(super) universe: Option<String>,
    /// The transitions that it is there for.
    #[serde(default)]
    pub(super) takes: Vec<Taken>,
    pub(super) steps: Vec<Step>,
}

/// A transition: how a session stands, what is done, what the machine answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Taken {
    /// In which step, from 1.
    pub(super) step: usize,
    pub(super) session: String,
    pub(super) input: String,
    pub(super) answer: String,
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
    /// What has to be given beside an address.
    pub(super) fn needs(&self) -> &'static [Need] {
        let has = |what| self.steps.iter().any(|step| step.what == what);
        match (has("restart"), has("expires")) {
            (false, false) => &[],
            (true, false) => &[Need::Restart],
            (false, true) => &[Need::Expiry],
            (true, true) => &[Need::Restart, Need::Expiry],
        }
    }

    /// What a step does, and what it is there for.
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

    /// The property that it shows.
    pub(super) fn property(&self) -> Option<&str> {
        let first = self.doubts.first().map(String::as_str);
        first.filter(|_| self.universe.is_some())
    }
}

/// A number of the machine.
pub(super) fn stamp([epoch, sequence]: [u64; 2]) -> Stamp {
    Stamp { epoch, sequence }
}
