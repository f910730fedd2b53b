//! A session's attributes, what changed in them, and the durable record around them.
//!
//! Values are opaque bytes and shared, never copied. A [`Delta`] names only attributes that really changed (rule 7). The
//! record remembers at which version each attribute last changed, so that a process that still has an older copy gets
//! the difference; removed attributes are remembered too, up to a limit, below which the whole state travels.

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
    /// Which attribute.
    pub name: AttributeName,
    /// Its value from now on; `None` when it is removed.
    pub value: Option<Value>,
}

/// Changes of a session's attributes, at most one for each, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Delta {
    changes: Vec<Change>,
}

impl Delta {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes, sorted by name.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Adds a change; a later one of the same attribute replaces the earlier.
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
    /// Its name.
    pub name: AttributeName,
    /// Its value; `None` when it was removed and that is still remembered.
    pub value: Option<Value>,
    /// The version that last changed it.
    pub modified: Version,
}

/// Who has a session's grant, as the record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub process: ProcessId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The fencing token of the grant.
    pub token: Token,
    /// The token that it had under the session's former id: the holder may not have heard of the rename.
    pub renamed: Option<Token>,
}

/// How many removed attributes a record remembers; older removals make processes with an older copy load the whole state.
pub const REMOVED_MAX: usize = 16;

/// What a record says beside the attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// The version of the attributes; [`Version::NONE`] while the session does not exist.
    pub version: Version,
    /// What a process has from before this version cannot be brought up to date by a delta: the session's first version,
    /// or a later one when removed attributes were forgotten or the session got its id.
    pub floor: Version,
    /// Who has the grant.
    pub holder: Option<Holder>,
    /// When an unused session ends, on the store's clock; `None` when it has no time to live. Rule 16.
    pub expires: Option<Time>,
}

/// The durable record of one session: primary state, version, and the grant. Rule 8: no grant leaves the store before the
/// record that names it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Version, holder, expiry.
    pub head: Head,
    attributes: Vec<Attribute>,
}

/// The attributes of a record are not sorted by name, or one comes twice, or too many removed ones are remembered.
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
    /// The record of these parts, as an engine kept them: `attributes` as [`Record::attributes`] once gave them.
    ///
    /// # Errors
    /// [`NotARecord`] when they are not sorted by name, when one comes twice, or when more than [`REMOVED_MAX`] removed ones
    /// are among them.
    pub fn from_parts(head: Head, attributes: Vec<Attribute>) -> Result<Self, NotARecord> {
        let is_sorted = attributes.windows(2).all(|two| two[0].name < two[1].name);
        let is_removed = |attribute: &&Attribute| attribute.value.is_none();
        if is_sorted && attributes.iter().filter(is_removed).count() <= REMOVED_MAX {
            Ok(Self { head, attributes })
        } else {
            Err(NotARecord)
        }
    }

    /// The attributes, removed ones included, sorted by name.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Whether the session exists: it has been written to since it was created or destroyed.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.head.version != Version::NONE
    }

    /// The value of an attribute.
    #[must_use]
    pub fn value(&self, name: &AttributeName) -> Option<&Value> {
        let place = self
            .attributes
            .binary_search_by(|attribute| attribute.name.cmp(name))
            .ok()?;
        self.attributes[place].value.as_ref()
    }

    /// Sum of the lengths of names and values, in bytes, after `delta` would be applied, and the number of attributes.
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

    /// Applies `delta`; the result has `version`. At most [`REMOVED_MAX`] removed attributes stay remembered.
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
                .expect("one is removed");
            self.head.floor = self.head.floor.max(oldest.modified);
            self.attributes.remove(place);
            removed -= 1;
        }
    }

    /// What a process that knows `known` needs to have this record's state. Rule 7.
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
    /// What the process has is current.
    Unchanged,
    /// What changed since the version that the process has.
    Delta(Delta),
    /// All attributes; what the process has is worth nothing.
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

/// One atomic change of what is durable. An engine applies it whole or not at all, and in the order of output.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Update {
    /// The session's record has this head from now on, and its attributes changed by this delta.
    Put {
        /// Which session; its record is created when there is none.
        session: SessionId,
        /// The head after the change.
        head: Head,
        /// What changed in the attributes, at the version of the head.
        delta: Delta,
    },
    /// The session has no record any more.
    Remove {
        /// Which session.
        session: SessionId,
    },
    /// The record of `from` is that of `to` from now on, with this head.
    Rename {
        /// Which session; it has no record afterwards.
        from: SessionId,
        /// Its new id; it had no record.
        to: SessionId,
        /// The head after the change.
        head: Head,
    },
}

impl Update {
    /// The sessions whose records it changes.
    #[must_use]
    pub fn sessions(&self) -> [Option<&SessionId>; 2] {
        match self {
            Self::Put { session, .. } | Self::Remove { session } => [Some(session), None],
            Self::Rename { from, to, .. } => [Some(from), Some(to)],
        }
    }

    /// Shows every number in the update.
    pub fn visit(&mut self, numbers: &mut impl Numbers) {
        match self {
            Self::Put { head, .. } | Self::Rename { head, .. } => head.visit(numbers),
            Self::Remove { .. } => {}
        }
    }
}

/// Records in memory: what an engine keeps, as a plain value. The checker's durable state, and the reference that engines
/// are tested against.
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

    /// The record of a session.
    #[must_use]
    pub fn get(&self, session: &SessionId) -> Option<&Record> {
        self.records.get(session).map(|record| &**record)
    }

    /// All records, in the order of their session's hash.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionId, &Record)> {
        self.records
            .iter()
            .map(|(session, record)| (session, &**record))
    }

    /// Shows every number in the records.
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
    fn a_record_comes_back_from_its_parts() {
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
    fn other_parts_are_no_record() {
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
