//! A step of a script, in words that a reader of the JSON understands.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tenure_protocol::message::{AcquireRequest, Commit, GrantRef, Hello, Release, WaitMode};
use tenure_protocol::store::{Input, Timer};
use tenure_protocol::{Delta, Link, ProcessId, Stamp, ToStore};

/// A word of the format.
pub type Word = Cow<'static, str>;

/// A step. Only the members that belong to its act are present.
#[allow(missing_docs)] // The fields have the names of the messages' fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    #[serde(rename = "do")]
    pub what: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<[u64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_mode: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<[u64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<[u64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<[u64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<[u64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<BTreeMap<String, Option<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeue: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_on: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Self>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Self>,
}

fn pair(stamp: Stamp) -> [u64; 2] {
    [stamp.epoch, stamp.sequence]
}

fn set(delta: &Delta) -> Option<BTreeMap<String, Option<String>>> {
    let text = |value: &bytes::Bytes| String::from_utf8_lossy(value).into_owned();
    let changes = delta.changes().iter();
    Some(
        changes
            .map(|change| (change.name.to_string(), change.value.as_ref().map(text)))
            .collect(),
    )
}

impl Step {
    /// Returns the step that kills the store and starts it again.
    pub(super) fn restart() -> Self {
        Self {
            what: "restart".into(),
            ..Self::default()
        }
    }

    /// Returns the step that makes a process silent. It keeps its connection.
    pub(super) fn silence(process: &ProcessId) -> Self {
        Self {
            what: "silence".into(),
            process: Some(process.to_string()),
            ..Self::default()
        }
    }

    /// Returns the step in which all processes let half of a lease or a recall pass, so that the first timer ends well
    /// before the next.
    pub(super) fn rest() -> Self {
        Self {
            what: "rest".into(),
            ..Self::default()
        }
    }

    /// Returns the step of an input of the store.
    pub(super) fn of(input: &Input) -> Self {
        match input {
            Input::Message {
                process,
                link,
                message,
            } => Self::said(message).by(process, *link),
            Input::Disconnected { process, link } => Self {
                what: "cut".into(),
                ..Self::default()
            }
            .by(process, *link),
            Input::Timer(timer) => Self::timer(timer),
            Input::Admission(_) => Self {
                what: "admission".into(),
                ..Self::default()
            },
            Input::Recall(session) => Self {
                what: "operator".into(),
                session: Some(session.to_string()),
                ..Self::default()
            },
        }
    }

    fn by(mut self, process: &ProcessId, link: Link) -> Self {
        self.process = Some(process.to_string());
        self.link = Some([link.incarnation.0, link.number]);
        self
    }

    fn timer(timer: &Timer) -> Self {
        let (what, session, process) = match timer {
            Timer::Lease(process) => ("lease ends", None, Some(process)),
            Timer::Remind(session) => ("reminds", Some(session), None),
            Timer::Revoke(session) => ("revokes", Some(session), None),
            Timer::Wait(session, process) => ("wait ends", Some(session), Some(process)),
            Timer::Expire(session) => ("expires", Some(session), None),
        };
        Self {
            what: what.into(),
            session: session.map(ToString::to_string),
            process: process.map(ToString::to_string),
            ..Self::default()
        }
    }

    fn acquire_request(what: &'static str, acquire: &AcquireRequest) -> Self {
        Self {
            what: what.into(),
            session: Some(acquire.session.to_string()),
            request: Some(acquire.request.0),
            wait_mode: Some(match acquire.wait_mode {
                WaitMode::Try => "try".into(),
                WaitMode::Wait => "wait".into(),
            }),
            ticket: acquire.ticket.map(|ticket| pair(ticket.0)),
            known: acquire.known.map(|known| pair(known.0)),
            ..Self::default()
        }
    }

    fn hold(hold: &GrantRef) -> Self {
        Self {
            what: "hold".into(),
            session: Some(hold.session.to_string()),
            token: Some(pair(hold.token.0)),
            ..Self::default()
        }
    }

    fn said(message: &ToStore) -> Self {
        let mut step = Self::default();
        let (session, token) = match message {
            ToStore::Hello(Hello { holds, waits, .. }) => {
                step.what = "connect".into();
                step.holds = holds.iter().map(Self::hold).collect();
                step.waits = waits
                    .iter()
                    .map(|acquire| Self::acquire_request("wait", acquire))
                    .collect();
                return step;
            }
            ToStore::KeepAlive { .. } => {
                step.what = "keep alive".into();
                return step;
            }
            ToStore::Goodbye => {
                step.what = "goodbye".into();
                return step;
            }
            ToStore::Acquire(acquire) => return Self::acquire_request("acquire", acquire),
            ToStore::Cancel { session, request } => {
                (step.what, step.request) = ("cancel".into(), Some(request.0));
                (session, None)
            }
            ToStore::Commit(Commit {
                session,
                token,
                base,
                delta,
            }) => {
                (step.what, step.base, step.set) =
                    ("commit".into(), Some(pair(base.0)), set(delta));
                (session, Some(token))
            }
            ToStore::Release(Release {
                session,
                token,
                base,
                delta,
                requeue,
                ..
            }) => {
                (step.what, step.base, step.set) =
                    ("release".into(), Some(pair(base.0)), set(delta));
                step.requeue = requeue.map(|request| request.0);
                (session, Some(token))
            }
            ToStore::Busy {
                session,
                token,
                blocked_on,
                ..
            } => {
                step.what = "busy".into();
                step.blocked_on = Some(blocked_on.iter().map(ToString::to_string).collect());
                (session, Some(token))
            }
            ToStore::Destroy { session, token } => {
                step.what = "destroy".into();
                (session, Some(token))
            }
            ToStore::Rename { session, token, to } => {
                (step.what, step.to) = ("rename".into(), Some(to.to_string()));
                (session, Some(token))
            }
        };
        step.session = Some(session.to_string());
        step.token = token.map(|token| pair(token.0));
        step
    }
}
