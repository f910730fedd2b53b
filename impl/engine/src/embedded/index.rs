//! The in-memory index: the position of each session's record in the log.
//!
//! A record is a chain of entries: a first entry, which replaces all older ones, followed by deltas. The newest head is
//! in memory. Segments are deleted from the oldest on, so a chain needs no segment older than that of its first entry.

use super::entry::{self, Step};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use tenure_protocol::SessionId;
use tenure_protocol::attributes::Head;

/// The position of an entry's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the segment.
    pub(crate) segment: u32,
    /// The position of the payload in the segment, in bytes.
    pub(crate) offset: u32,
    /// The length of the payload, in bytes.
    pub(crate) bytes: u32,
}

/// The index entry of a session.
#[derive(Debug)]
pub(crate) struct Entry {
    head: Box<[u8]>,
    /// The positions of the record's entries; never empty.
    chain: SmallVec<[Place; 2]>,
}

impl Entry {
    fn new(head: Box<[u8]>, first: Place) -> Self {
        let chain = SmallVec::from_iter([first]);
        Self { head, chain }
    }

    pub(crate) fn chain(&self) -> &[Place] {
        &self.chain
    }

    pub(crate) fn head(&self) -> Option<Head> {
        entry::head(&self.head)
    }

    fn bytes(&self) -> u64 {
        let parts = self.chain.iter().map(|place| u64::from(place.bytes));
        parts.sum::<u64>() + self.head.len() as u64
    }
}

/// The index of all sessions, with the compaction work that the log needs.
#[derive(Debug, Default)]
pub(crate) struct Index {
    sessions: BTreeMap<SessionId, Entry>,
    /// For each segment, the sessions whose chain began in it when it was written. Some of their chains begin in a
    /// later segment by now.
    rooted: BTreeMap<u32, Vec<SessionId>>,
    /// The sessions whose chain is too long.
    pub(crate) long: BTreeSet<SessionId>,
    /// The length of all chains, in bytes.
    live_bytes: u64,
    /// The number of the oldest segment that is needed.
    pub(crate) oldest: u32,
    deltas_max: usize,
}

impl Index {
    pub(crate) fn new(deltas_max: usize) -> Self {
        Self {
            deltas_max,
            ..Self::default()
        }
    }

    pub(crate) fn get(&self, session: &SessionId) -> Option<&Entry> {
        self.sessions.get(session)
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Returns the length of all live entries, in bytes.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub(crate) fn after(
        &self,
        after: Option<&SessionId>,
    ) -> impl Iterator<Item = (&SessionId, &Entry)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.sessions
            .range::<SessionId, _>((from, Bound::Unbounded))
    }

    /// Applies the change of an entry at `place`.
    pub(crate) fn apply(&mut self, step: Step, place: Place) {
        match step {
            Step::Put {
                session,
                head,
                is_head_only,
            } => self.put(session, head, is_head_only, place),
            Step::Remove { session } => {
                self.take(&session);
            }
            Step::Rename { from, to, head } => self.rename(&from, to, head),
            Step::Whole { session, head } => self.replace(session, head, place),
            Step::Oldest(oldest) => {
                self.oldest = oldest;
                self.rooted = self.rooted.split_off(&oldest);
            }
        }
    }

    fn put(&mut self, session: SessionId, head: Box<[u8]>, is_head_only: bool, place: Place) {
        // Update in place, because this is the most frequent operation.
        let Some(entry) = self.sessions.get_mut(&session) else {
            // During recovery, this may be a delta whose first entry was deleted with its segment. A later entry then
            // rewrites, removes or replaces the session, because otherwise the segment would still exist.
            self.root(&session, place.segment);
            self.insert(session, Entry::new(head, place));
            return;
        };
        self.live_bytes -= entry.bytes();
        entry.head = head;
        if !is_head_only {
            entry.chain.push(place);
        }
        self.live_bytes += entry.bytes();
        if !is_head_only && is_long(entry, self.deltas_max) {
            self.long.insert(session);
        }
    }

    /// Begins a new chain.
    fn replace(&mut self, session: SessionId, head: Box<[u8]>, place: Place) {
        // Update in place, as in `put`.
        let Some(entry) = self.sessions.get_mut(&session) else {
            self.root(&session, place.segment);
            self.insert(session, Entry::new(head, place));
            return;
        };
        let former = std::mem::replace(entry, Entry::new(head, place));
        self.live_bytes = self.live_bytes - former.bytes() + entry.bytes();
        if former.chain[0].segment != place.segment {
            self.root(&session, place.segment);
        }
        self.long.remove(&session);
    }

    fn rename(&mut self, from: &SessionId, to: SessionId, head: Box<[u8]>) {
        let Some(mut entry) = self.take(from) else {
            return;
        };
        entry.head = head;
        self.take(&to);
        self.root(&to, entry.chain[0].segment);
        self.insert(to, entry);
    }

    fn root(&mut self, session: &SessionId, segment: u32) {
        self.rooted
            .entry(segment)
            .or_default()
            .push(session.clone());
    }

    fn take(&mut self, session: &SessionId) -> Option<Entry> {
        let entry = self.sessions.remove(session)?;
        self.live_bytes -= entry.bytes();
        self.long.remove(session);
        Some(entry)
    }

    fn insert(&mut self, session: SessionId, entry: Entry) {
        self.live_bytes += entry.bytes();
        if is_long(&entry, self.deltas_max) {
            self.long.insert(session.clone());
        }
        self.sessions.insert(session, entry);
    }

    /// Returns the sessions that still need `segment`. A session may appear twice.
    pub(crate) fn rooted_in(&mut self, segment: u32) -> impl Iterator<Item = &SessionId> {
        let sessions = &self.sessions;
        let needs = move |session: &SessionId| {
            let entry = sessions.get(session);
            entry.is_some_and(|entry| entry.chain[0].segment == segment)
        };
        let rooted = self.rooted.entry(segment).or_default();
        // Remove from the end, where the sessions are that the last commit has moved. Each session is thereby examined
        // once.
        while rooted.last().is_some_and(|session| !needs(session)) {
            rooted.pop();
        }
        rooted.iter().rev().filter(move |session| needs(session))
    }
}

fn is_long(entry: &Entry, deltas_max: usize) -> bool {
    let first = u64::from(entry.chain[0].bytes).max(4096);
    entry.chain.len() > deltas_max + 1 || entry.bytes() > first * 3
}
