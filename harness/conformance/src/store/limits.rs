//! The limits of a store. The protocol does not announce all of them, so the caller of the suite may state them.

use crate::end::{CaseEnd, Play};
use crate::store::CaseContext;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The limits that cases check, with the names used in the book.
const NAMES: &[&str] = &[
    "processes_max",
    "grants_max",
    "waiters_max",
    "attributes_max",
    "attribute_bytes_max",
    "session_bytes_max",
    "connections_max",
    "frame_bytes_max",
    "changes_max",
    "items_max",
];

/// The known limits of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(BTreeMap<&'static str, u64>);

impl Limits {
    /// Returns whether no limit is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Limits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let told = text.split(',').filter(|part| !part.trim().is_empty());
        let limit = |part: &str| {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` does not have the form KEY=N"))?;
            let name = NAMES
                .iter()
                .find(|own| **own == name.trim())
                .ok_or_else(|| {
                    format!(
                        "there is no limit `{name}`; choose one of {}",
                        NAMES.join(", ")
                    )
                })?;
            let value = value.trim().parse();
            let value = value.map_err(|error| format!("{part}: {error}"))?;
            Ok((*name, value))
        };
        told.map(limit).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

impl CaseContext {
    /// Returns a limit of the store. Skips the case if the limit is unknown, or larger than `most`.
    pub(crate) fn limit(&self, name: &str, most: u64) -> Play<usize> {
        let skipped = |why: String| Err(CaseEnd::Skipped(why));
        match self.target().limits.0.get(name) {
            None => skipped(format!("--limits does not state {name}")),
            Some(limit) if *limit > most => skipped(format!(
                "{name}={limit} is above {most}, the most that this case tries"
            )),
            Some(limit) => usize::try_from(*limit).map_err(CaseEnd::fault),
        }
    }
}
