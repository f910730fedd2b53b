//! The grant of a scripted process, with the client state, which is kept up to date as a process does.

use std::collections::BTreeMap;
use tenure_protocol::attributes::{Change, State, Value};
use tenure_protocol::message::{GrantRef, RecallInfo};
use tenure_protocol::{AttributeName, Delta, Request, SessionId, Token, Version};

/// A grant and its client state. See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) session: SessionId,
    pub(crate) request: Request,
    pub(crate) token: Token,
    pub(crate) version: Version,
    /// The state as received.
    pub(crate) state: State,
    /// The session's attributes, if the process had the base version of the state.
    pub(crate) attributes: BTreeMap<AttributeName, Value>,
    pub(crate) recall: Option<RecallInfo>,
    pub(crate) give_back: bool,
}

impl Grant {
    pub(crate) fn hold(&self) -> GrantRef {
        GrantRef {
            session: self.session.clone(),
            token: self.token,
        }
    }

    /// Returns the value of an attribute as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let mut all = self.attributes.iter();
        let (_, value) = all.find(|(own, _)| own.as_bytes() == name.as_bytes())?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// Returns the session's attributes after `state` was applied to `base`.
pub(crate) fn applied(
    base: &BTreeMap<AttributeName, Value>,
    state: &State,
) -> BTreeMap<AttributeName, Value> {
    let (mut attributes, delta) = match state {
        State::Unchanged => return base.clone(),
        State::Delta(delta) => (base.clone(), delta),
        State::Full(delta) => (BTreeMap::new(), delta),
    };
    apply(&mut attributes, delta);
    attributes
}

pub(crate) fn apply(attributes: &mut BTreeMap<AttributeName, Value>, delta: &Delta) {
    for change in delta.changes() {
        match &change.value {
            Some(value) => drop(attributes.insert(change.name.clone(), value.clone())),
            None => drop(attributes.remove(&change.name)),
        }
    }
}

/// Returns a delta with these changes. `None` removes an attribute.
pub(crate) fn set<'a>(changes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Delta {
    let changes = changes.into_iter().map(|(name, value)| Change {
        name: AttributeName::new(name.to_owned()).expect("short names"),
        value: value.map(|value| Value::from(value.to_owned())),
    });
    changes.collect()
}
