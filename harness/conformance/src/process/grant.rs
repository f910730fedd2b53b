//! Grants of a scripted store, and the messages of the process about them.

use crate::hex::unhex;
use crate::process::adapter::name;
use serde_json::{Map, Value};
use tenure_protocol::attributes::{Change, State};
use tenure_protocol::message::{GrantRef, Granted, Reason, RecallInfo, Revocation};
use tenure_protocol::{AttributeName, Delta, Request, SessionId, ToProcess, Token, Version};

/// The time that a recall of a scripted store leaves, unless a case sets another one.
const RECALL_MS: u64 = 120_000;

/// A grant of the scripted store.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) session: SessionId,
    pub(crate) request: Request,
    pub(crate) token: Token,
    pub(crate) version: Version,
}

impl Grant {
    pub(crate) fn hold(&self) -> GrantRef {
        GrantRef {
            session: self.session.clone(),
            token: self.token,
        }
    }

    /// Returns the grant as a message with this state.
    pub(crate) fn with(&self, state: State, recall: Option<RecallInfo>) -> ToProcess {
        ToProcess::Granted(Granted {
            session: self.session.clone(),
            request: self.request,
            token: self.token,
            version: self.version,
            state,
            recall,
            give_back: false,
        })
    }

    /// Returns the grant as a message with all attributes.
    pub(crate) fn full<'a>(
        &self,
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> ToProcess {
        let all = attributes
            .into_iter()
            .map(|(name, value)| (name, Some(value)));
        self.with(State::Full(delta(all)), None)
    }

    pub(crate) fn recall(&self, reason: Reason) -> ToProcess {
        self.recall_in(reason, RECALL_MS)
    }

    pub(crate) fn recall_in(&self, reason: Reason, deadline_ms: u64) -> ToProcess {
        ToProcess::Recall {
            hold: self.hold(),
            info: RecallInfo {
                reason,
                deadline_ms,
            },
        }
    }

    pub(crate) fn released(&self, version: Option<Version>) -> ToProcess {
        ToProcess::Released {
            session: self.session.clone(),
            token: self.token,
            version,
            limit: None,
        }
    }

    pub(crate) fn revoked(&self) -> ToProcess {
        ToProcess::Revoked {
            session: self.session.clone(),
            token: self.token,
            why: Revocation::RecallDeadline,
            limit: None,
        }
    }

    pub(crate) fn gone(&self, renamed: Option<GrantRef>) -> ToProcess {
        ToProcess::Gone {
            session: self.session.clone(),
            token: self.token,
            renamed,
        }
    }

    pub(crate) fn committed(&self, base: Version, version: Version) -> ToProcess {
        ToProcess::Committed {
            session: self.session.clone(),
            token: self.token,
            base,
            version,
        }
    }
}

/// A lock of a thread: its number at the adapter, and the data of its answer.
#[derive(Clone, Debug)]
pub(crate) struct Locked {
    pub(crate) id: u64,
    pub(crate) token: Token,
    pub(crate) values: Map<String, Value>,
}

impl Locked {
    /// Returns the value of an attribute as text.
    pub(crate) fn text(&self, attribute: &str) -> Option<String> {
        text(self.values.get(name(attribute).as_str()?))
    }
}

pub(crate) fn text(value: Option<&Value>) -> Option<String> {
    let bytes = unhex(value?.as_str()?)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns a delta with these changes. `None` removes an attribute.
pub(crate) fn delta<'a>(changes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Delta {
    let changes = changes.into_iter().map(|(name, value)| Change {
        name: AttributeName::new(name.to_owned()).expect("short names"),
        value: value.map(|value| value.to_owned().into()),
    });
    changes.collect()
}

pub(crate) fn session(name: &str) -> SessionId {
    SessionId::new(name.to_owned()).expect("short names")
}
