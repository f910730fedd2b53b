//! A session's attributes, their changes, and the durable record of a session.
//!
//! Values are opaque bytes, shared and never copied. A [`Delta`] contains only attributes that really changed (rule 7).
//! The record keeps, for each attribute, the version that last changed it. A process with an older copy therefore
//! receives only the difference. Removed attributes are kept as well, up to a limit; a process whose copy is older than
//! that receives the whole state.

use crate::id::{AttributeName, Incarnation, ProcessId, SessionId, Time, Token, Version};
use crate::renumber::Numbers;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The value of an attribute: opaque bytes.
pub type Value = Bytes;

/// A change of one attribute: its new value, or `None` for its removal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The attribute.
    pub name: AttributeName,
    /// The new value; `None` when the attribute is removed.
    pub value: Option<Value>,
}

/// A set of changes of a session's attributes: at most one change for each attribute, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Delta {
    changes: Vec<Change>,
}

impl Delta {
    /// Returns whether the delta has no changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the changes, sorted by name.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Adds a change. A later change of the same attribute replaces the earlier one.
    pub fn set(&mut self, name: AttributeName, value: Option<Value>) {
        match self
            .changes
            .binary_search_by(|change| change.name.cmp(&name))
        {
            Ok(place) => self.changes[place].value = value,
            Err(place) => self.changes.insert(place, Change { name, value }),
        }
    }
}

impl FromIterator<Change> for Delta {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        let mut delta = Self::default();
        for change in changes {
            delta.set(change.name, change.value);
        }
        delta
    }
}

/// One attribute of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attribute {
    /// The name of the attribute.
    pub name: AttributeName,
    /// The value; `None` when the attribute was removed and the record still lists the removal.
    pub value: Option<Value>,
    /// The version that last changed the attribute.
    pub modified: Version,
}

/// The holder of a session's grant, as the record stores it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub process: ProcessId,
    /// The incarnation of the process.
    pub incarnation: Incarnation,
    /// The fencing token of the grant.
    pub token: Token,
    /// The token of the grant under the session's former id, kept because the holder may not know of the rename yet.
    pub renamed: Option<Token>,
}

/// The number of removed attributes that a record keeps. After older removals, a process with an older copy loads the
/// whole state.
pub const REMOVED_MAX: usize = 16;

/// The part of a record beside the attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// The version of the attributes; [`Version::NONE`] while the session does not exist.
    pub version: Version,
    /// The lowest version from which a delta leads to the present state. A process with an older version receives the
    /// full state. The floor is the session's first version. It rises when the record drops old removals and when the
    /// session receives a new id.
    pub floor: Version,
    /// The holder of the grant.
    pub holder: Option<Holder>,
    /// The time at which an unused session ends, on the store's clock; `None` when it has no time to live. Rule 16.
    pub expires: Option<Time>,
}

/// The durable record of one session: primary state, version, and the grant. No grant leaves the store before the
/// record that names it is durable. Rule 8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The version, the holder and the expiry.
    pub head: Head,
    attributes: Vec<Attribute>,
}

/// The error for attributes that form no record: unsorted, duplicate, or with too many removals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARecord;

impl fmt::Display for NotARecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the attributes of a record are not sorted by name, not distinct, or too many are removed",
        )
    }
}

impl core::error::Error for NotARecord {}

impl Record {
    /// Creates a record from stored parts. `attributes` are those that [`Record::attributes`] once returned.
    ///
    /// # Errors
    /// [`NotARecord`] when the attributes are not sorted by name, when a name occurs twice, or when more than
    /// [`REMOVED_MAX`] of them are removed.
    pub fn from_parts(head: Head, attributes: Vec<Attribute>) -> Result<Self, NotARecord> {
        let is_sorted = attributes.windows(2).all(|two| two[0].name < two[1].name);
        let is_removed = |attribute: &&Attribute| attribute.value.is_none();
        if is_sorted && attributes.iter().filter(is_removed).count() <= REMOVED_MAX {
            Ok(Self { head, attributes })
        } else {
            Err(NotARecord)
        }
    }

    /// Returns the attributes, sorted by name, with the removed ones.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Returns whether the session exists: it has been written to since it was created or last destroyed.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.head.version != Version::NONE
    }

    /// Returns the value of an attribute.
    #[must_use]
    pub fn value(&self, name: &AttributeName) -> Option<&Value> {
        let place = self
            .attributes
            .binary_search_by(|attribute| attribute.name.cmp(name))
            .ok()?;
        self.attributes[place].value.as_ref()
    }

    /// Returns the total length of names and values in bytes, and the number of attributes, as they would be after
    /// `delta`.
    #[must_use]
    pub fn size_with(&self, delta: &Delta) -> (usize, usize) {
        let kept = self.attributes.iter().filter(|attribute| {
            attribute.value.is_some()
                && delta
                    .changes
                    .binary_search_by(|change| change.name.cmp(&attribute.name))
                    .is_err()
        });
        let kept = kept.map(|attribute| (&attribute.name, &attribute.value));
        let changed = delta
            .changes
            .iter()
            .map(|change| (&change.name, &change.value));
        let mut bytes = 0;
        let mut count = 0;
        for (name, value) in kept.chain(changed) {
            if let Some(value) = value {
                bytes += name.as_bytes().len() + value.len();
                count += 1;
            }
        }
        (bytes, count)
    }

    /// Returns whether `delta`, which was the last to be applied, contains every attribute of this record.
    #[must_use]
    pub fn is_made_by(&self, delta: &Delta) -> bool {
        let is_new = |attribute: &Attribute| attribute.modified == self.head.version;
        !delta.is_empty()
            && delta.changes.len() == self.attributes.len()
            && self.attributes.iter().all(is_new)
    }

    /// Applies `delta` and sets the record's version to `version`. Keeps at most [`REMOVED_MAX`] removed attributes.
    pub fn apply(&mut self, delta: &Delta, version: Version) {
        if !self.exists() {
            self.head.floor = version;
        }
        self.head.version = version;
        for Change { name, value } in &delta.changes {
            let attribute = Attribute {
                name: name.clone(),
                value: value.clone(),
                modified: version,
            };
            match self
                .attributes
                .binary_search_by(|attribute| attribute.name.cmp(name))
            {
                Ok(place) => self.attributes[place] = attribute,
                Err(place) => self.attributes.insert(place, attribute),
            }
        }
        self.forget_old_removals();
    }

    fn forget_old_removals(&mut self) {
        let is_removed = |attribute: &Attribute| attribute.value.is_none();
        let mut removed = self
            .attributes
            .iter()
            .filter(|attribute| is_removed(attribute))
            .count();
        while removed > REMOVED_MAX {
            let places = self
                .attributes
                .iter()
                .enumerate()
                .filter(|(_, attribute)| is_removed(attribute));
            let (place, oldest) = places
                .min_by_key(|(_, attribute)| attribute.modified)
                .expect("the loop runs only while more than REMOVED_MAX attributes are removed");
            self.head.floor = self.head.floor.max(oldest.modified);
            self.attributes.remove(place);
            removed -= 1;
        }
    }

    /// Returns the smallest state that brings a process with version `known` up to date. Rule 7.
    #[must_use]
    pub fn state_since(&self, known: Option<Version>) -> State {
        match known {
            // r[grant.smallest-state]
            Some(known) if known == self.head.version => State::Unchanged,
            // r[grant.smallest-state] r[grant.full]
            Some(known) if self.exists() && known >= self.head.floor => State::Delta(
                self.attributes
                    .iter()
                    .filter(|attribute| attribute.modified > known)
                    .map(Attribute::change)
                    .collect(),
            ),
            // r[grant.full]
            _ => State::Full(
                self.attributes
                    .iter()
                    .filter(|attribute| attribute.value.is_some())
                    .map(Attribute::change)
                    .collect(),
            ),
        }
    }

    pub(crate) fn visit(&mut self, numbers: &mut impl Numbers) {
        self.head.visit(numbers);
        for attribute in &mut self.attributes {
            numbers.stamp(&mut attribute.modified.0);
        }
    }
}

impl Attribute {
    fn change(&self) -> Change {
        Change {
            name: self.name.clone(),
            value: self.value.clone(),
        }
    }
}

/// The state that travels with a grant. Rule 7.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// The process's copy is current.
    Unchanged,
    /// The changes since the version of the process's copy.
    Delta(Delta),
    /// All attributes. The process discards its copy.
    Full(Delta),
}

impl Head {
    pub(crate) fn visit(&mut self, numbers: &mut impl Numbers) {
        numbers.stamp(&mut self.version.0);
        numbers.stamp(&mut self.floor.0);
        if let Some(holder) = &mut self.holder {
            numbers.stamp(&mut holder.token.0);
            if let Some(renamed) = &mut holder.renamed {
                numbers.stamp(&mut renamed.0);
            }
            numbers.incarnation(&holder.process, &mut holder.incarnation);
        }
        if let Some(expires) = &mut self.expires {
            numbers.time(expires);
        }
    }
}

/// One atomic change of the durable records. An engine applies each update whole or not at all, in the order of output.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Update {
    /// A new head for a session's record, and changes of its attributes.
    Put {
        /// The session. Its record is created when there is none.
        session: SessionId,
        /// The head after the change.
        head: Head,
        /// The changes of the attributes, at the version of the head.
        delta: Delta,
        /// Whether `delta` contains every attribute of the record, so that an engine may forget all earlier changes.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        is_whole: bool,
    },
    /// The removal of a session's record.
    Remove {
        /// The session.
        session: SessionId,
    },
    /// The move of the record of `from` to the id `to`, with a new head.
    Rename {
        /// The former id, which has no record afterwards.
        from: SessionId,
        /// The new id, which had no record before.
        to: SessionId,
        /// The head after the change.
        head: Head,
    },
}

impl Update {
    /// Returns the sessions whose records the update changes.
    #[must_use]
    pub fn sessions(&self) -> [Option<&SessionId>; 2] {
        match self {
            Self::Put { session, .. } | Self::Remove { session } => [Some(session), None],
            Self::Rename { from, to, .. } => [Some(from), Some(to)],
        }
    }

    /// Shows every number in the update to `numbers`.
    pub fn visit(&mut self, numbers: &mut impl Numbers) {
        match self {
            Self::Put { head, .. } | Self::Rename { head, .. } => head.visit(numbers),
            Self::Remove { .. } => {}
        }
    }
}

/// Records in memory: the content of an engine, as a plain value. This is the checker's durable state, and the
/// reference against which engines are tested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Records {
    records: BTreeMap<SessionId, Box<Record>>,
}

impl Records {
    /// Applies one update.
    pub fn apply(&mut self, update: &Update) {
        match update {
            Update::Put {
                session,
                head,
                delta,
                ..
            } => {
                let record = self.records.entry(session.clone()).or_default();
                if !delta.is_empty() {
                    record.apply(delta, head.version);
                }
                record.head = head.clone();
            }
            Update::Remove { session } => {
                self.records.remove(session);
            }
            Update::Rename { from, to, head } => {
                if let Some(mut record) = self.records.remove(from) {
                    record.head = head.clone();
                    self.records.insert(to.clone(), record);
                }
            }
        }
    }

    /// Returns the record of a session.
    #[must_use]
    pub fn get(&self, session: &SessionId) -> Option<&Record> {
        self.records.get(session).map(|record| &**record)
    }

    /// Returns all records, in the order of their session's hash.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionId, &Record)> {
        self.records
            .iter()
            .map(|(session, record)| (session, &**record))
    }

    /// Shows every number in the records to `numbers`.
    pub fn visit(&mut self, numbers: &mut impl Numbers) {
        for record in self.records.values_mut() {
            record.visit(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &'static str, value: Option<&'static [u8]>) -> Attribute {
        Attribute {
            name: AttributeName::from_static(name),
            value: value.map(Bytes::from_static),
            modified: Version::NONE,
        }
    }

    #[test]
    fn the_parts_of_a_record_restore_the_record() {
        let mut record = Record::default();
        for name in ["b", "a", "c"] {
            let changes = [Change {
                name: AttributeName::from_static(name),
                value: (name != "c").then(|| Bytes::from_static(b"1")),
            }];
            record.apply(&changes.into_iter().collect(), Version::NONE);
        }
        let parts = (record.head.clone(), record.attributes().to_vec());
        assert_eq!(Record::from_parts(parts.0, parts.1), Ok(record));
    }

    #[test]
    fn parts_that_break_the_rules_of_a_record_are_refused() {
        let mut attributes = [attribute("a", Some(b"1")), attribute("b", None)];
        attributes.sort_by(|one, other| other.name.cmp(&one.name));
        let twice = [attribute("a", None), attribute("a", None)];
        for parts in [attributes, twice] {
            assert_eq!(
                Record::from_parts(Head::default(), parts.to_vec()),
                Err(NotARecord)
            );
        }
        let names = "abcdefghijklmnopq";
        let mut removed: Vec<Attribute> = (0..names.len())
            .map(|at| attribute(&names[at..=at], None))
            .collect();
        removed.sort_by(|one, other| one.name.cmp(&other.name));
        assert_eq!(
            Record::from_parts(Head::default(), removed.clone()),
            Err(NotARecord)
        );
        removed.pop();
        assert!(Record::from_parts(Head::default(), removed).is_ok());
    }
}
