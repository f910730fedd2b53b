//! The attributes of a session that one request has locked together.

use tenure_protocol::attributes::Value;
use tenure_protocol::process::{Detached, Names};
use tenure_protocol::{AttributeName, Token};

/// Attributes that were locked together, with the token of the grant.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) token: Token,
    pub(crate) values: Values,
}

impl Granted {
    /// Returns these attributes of a detached session.
    #[inline(always)]
    pub(crate) fn of(detached: &Detached, names: &Names) -> Self {
        Self {
            token: detached.token(),
            values: Values::of(names, detached.attributes()),
        }
    }
}

/// The values of these attributes when they were locked.
#[derive(Debug)]
pub(crate) enum Values {
    /// The value of the one requested attribute.
    One(Option<Value>),
    /// The requested attributes that have a value.
    Many(Vec<(AttributeName, Value)>),
}

impl Values {
    /// Returns the values of the attributes in `names`.
    #[inline(always)]
    pub(crate) fn of<'a>(
        names: &Names,
        mut all: impl Iterator<Item = (&'a AttributeName, &'a Value)>,
    ) -> Self {
        if let Names::One(name) = names {
            let own = all.find(|(own, _)| *own == name);
            return Self::One(own.map(|(_, value)| value.clone()));
        }
        let own = all.filter(|(name, _)| has(names, name));
        Self::Many(
            own.map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }

    /// Returns the value of the one requested attribute.
    pub(crate) fn one(self) -> Option<Value> {
        match self {
            Self::One(value) => value,
            Self::Many(_) => {
                unreachable!("a request for one attribute is granted with `Values::One`")
            }
        }
    }

    /// Returns the values of several attributes.
    pub(crate) fn many(self) -> Vec<(AttributeName, Value)> {
        match self {
            Self::One(_) => {
                unreachable!("a request for several attributes is granted with `Values::Many`")
            }
            Self::Many(values) => values,
        }
    }
}

/// Returns whether an attribute is among `names`.
pub(crate) fn has(names: &Names, name: &AttributeName) -> bool {
    match names {
        Names::All => true,
        Names::One(own) => own == name,
        Names::Many(own) => own.contains(name),
    }
}

/// Returns whether two requests name a common attribute.
pub(crate) fn shares(one: &Names, two: &Names) -> bool {
    match (one, two) {
        (Names::All, _) | (_, Names::All) => true,
        (Names::One(own), other) | (other, Names::One(own)) => has(other, own),
        (Names::Many(own), other) => own.iter().any(|name| has(other, name)),
    }
}
