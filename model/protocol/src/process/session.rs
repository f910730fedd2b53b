//! One session inside a process: its phase, the client state, and the claims of the threads.

use super::Poison;
use super::index::{Derived, Noted};
use super::state::{LockedState, Slot, ThreadClaim};
use crate::attributes::{Delta, Value};
use crate::id::{
    AttributeName, ProcessId, Request, SessionId, ThreadId, Ticket, Time, Token, Version,
};
use crate::lock::Lock;
use crate::message::{GrantRef, RecallInfo, WaitMode};
use crate::renumber::Numbers;
use alloc::vec::Vec;

/// What the process has, or has asked for, at the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing.
    #[default]
    Absent,
    /// A request that has not ended.
    Wanted {
        /// Its number.
        request: Request,
        /// Its place in the store's queue, when it has one.
        ticket: Option<Ticket>,
        /// Whether it waits for other processes' threads.
        wait_mode: WaitMode,
        /// Whether it wants the session only if that exists, as all threads did for which it was said. Rule 16.
        existing: bool,
    },
    /// A request that is cancelled and has not ended.
    Cancelling {
        /// Its number.
        request: Request,
    },
    /// A grant.
    Held(Grant),
    /// A grant that was given back, without an answer yet.
    Releasing {
        /// Its token.
        token: Token,
        /// The version that the changes are made to.
        base: Version,
        /// The changes, to be sent again if need be.
        delta: Delta,
        /// The new request that went with it.
        requeue: Option<Request>,
        /// How long the session had been unused, in milliseconds.
        idle_ms: u64,
    },
}

/// A grant that the process has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Its fencing token.
    pub token: Token,
    /// The recall, and by when the process gives the grant up by itself. Rule 11.
    pub recall: Option<(RecallInfo, Time)>,
    /// Whether the gate is closed: no new thread enters under this grant. Rule 12.
    pub is_closed: bool,
    /// Whether it is to be given back when it is idle. Rule 2.
    pub give_back: bool,
    /// A thread that ends or renames the session, without an answer yet. Until it comes no thread enters, also when
    /// this one has left, and the grant is not given back.
    pub ending: Option<(ThreadId, Ending)>,
}

impl Grant {
    /// Whether a thread that is not inside may enter under this grant. Rules 12 and 16.
    pub(crate) fn lets_in(&self) -> bool {
        // r[gate.closed] r[destroy.nobody-enters]
        !self.is_closed && self.ending.is_none()
    }
}

/// What a thread does to the whole session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It ends it.
    Destroy,
    /// It gives it a new id.
    Rename(SessionId),
}

impl Ending {
    /// Whether `Gone` answers it.
    pub(crate) fn is_done_by(&self, renamed: Option<&GrantRef>) -> bool {
        match (self, renamed) {
            (Self::Destroy, None) => true,
            (Self::Rename(to), Some(renamed)) => renamed.session == *to,
            _ => false,
        }
    }
}

/// A commit without an answer yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outgoing {
    /// The version that the changes are made to.
    pub base: Version,
    /// The changes.
    pub delta: Delta,
    /// The threads that wait for the answer.
    pub threads: Vec<ThreadId>,
}

/// A grant that came unasked and is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Returning {
    pub(crate) token: Token,
    /// Whether the store has taken it back.
    pub(crate) is_answered: bool,
}

/// One session inside a process: what the top of this file describes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session {
    pub(crate) phase: Phase,
    /// The version of the client state; `None` when there is none. Without a grant it is a base for deltas (rule 7).
    pub(crate) version: Option<Version>,
    pub(crate) state: LockedState,
    /// Threads that were inside when their grant was lost, until they leave.
    pub(crate) poisoned: Vec<(ThreadId, Poison)>,
    pub(crate) commit: Option<Outgoing>,
    /// Threads whose commit waits for the one that is out.
    pub(crate) next_commit: Vec<ThreadId>,
    /// A recall that came before its grant. Rule 14.
    pub(crate) early_recall: Option<(Token, RecallInfo)>,
    /// A grant that came unasked and is given back. It may still be under way a second time, so it is remembered until a
    /// newer one comes.
    pub(crate) returning: Option<Returning>,
    /// Whether a thread has begun to wait for the session only if it exists, since nobody waited. Rule 16.
    pub(crate) awaits_existing: bool,
    /// Whether a recall has come that `Busy` has to answer; settled within the step.
    pub(crate) owes_busy: bool,
    /// When a thread last left. Rule 16.
    pub(crate) used: Time,
    /// When something was last sent to the store that waits for an answer.
    pub(crate) sent: Time,
    /// What the process's index knows of it.
    pub(crate) noted: Derived<Noted>,
}

impl Session {
    /// A session of which the process has the grant, and no more than that.
    pub(crate) fn kept(token: Token, version: Version, state: LockedState) -> Self {
        let grant = Grant {
            token,
            recall: None,
            is_closed: false,
            give_back: false,
            ending: None,
        };
        Self {
            phase: Phase::Held(grant),
            version: Some(version),
            state,
            ..Self::default()
        }
    }

    /// What the process has, or has asked for, at the store.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The version of the client state; `None` when there is none.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The attributes of the client state, sorted by name.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.state.slots
    }

    /// The threads that hold and wait for attributes.
    #[must_use]
    pub fn lock(&self) -> &Lock<ThreadClaim> {
        &self.state.lock
    }

    /// Threads that were inside when their grant was lost, until they leave.
    #[must_use]
    pub fn poisoned(&self) -> &[(ThreadId, Poison)] {
        &self.poisoned
    }

    /// How `thread`, which has not left since, lost the grant.
    #[must_use]
    pub fn poison_of(&self, thread: ThreadId) -> Option<Poison> {
        let mut poisoned = self.poisoned.iter();
        let (_, why) = poisoned.find(|(poisoned, _)| *poisoned == thread)?;
        Some(*why)
    }

    /// The commit without an answer.
    #[must_use]
    pub fn commit(&self) -> Option<&Outgoing> {
        self.commit.as_ref()
    }

    /// How many commits of `thread` are to be answered.
    #[must_use]
    pub fn commits_of(&self, thread: ThreadId) -> usize {
        let out = self.commit.iter().flat_map(|commit| &commit.threads);
        let all = out.chain(&self.next_commit);
        all.filter(|own| **own == thread).count()
    }

    /// A recall that came before its grant.
    #[must_use]
    pub fn early_recall(&self) -> Option<(Token, RecallInfo)> {
        self.early_recall
    }

    /// A grant that came unasked and is given back, without an answer yet.
    #[must_use]
    pub fn returning(&self) -> Option<Token> {
        self.returning
            .filter(|returning| !returning.is_answered)
            .map(|returning| returning.token)
    }

    /// The grant, while the process has it.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        match &self.phase {
            Phase::Held(grant) => Some(grant),
            _ => None,
        }
    }

    /// What `thread`, which has locked it, or anybody else sees in an attribute.
    #[must_use]
    pub fn value(&self, thread: ThreadId, name: &AttributeName) -> Option<&Value> {
        self.state.value(thread, name)
    }

    /// What the thread inside has written to the attribute at `slot` and not unlocked.
    #[must_use]
    pub fn written(&self, slot: u32) -> Option<&Option<Value>> {
        self.state.written(slot)
    }

    /// Whether `thread` holds any attribute.
    #[must_use]
    pub fn is_inside(&self, thread: ThreadId) -> bool {
        self.state.is_inside(thread)
    }

    /// How many threads hold attributes.
    #[must_use]
    pub fn inside(&self) -> u32 {
        let holders = self.state.lock.holders();
        let first = |(at, claim): &(usize, &ThreadClaim)| {
            !holders[..*at]
                .iter()
                .any(|earlier| earlier.thread == claim.thread)
        };
        u32::try_from(holders.iter().enumerate().filter(first).count()).unwrap_or(u32::MAX)
    }

    /// Returns whether the session exists, as the process that has the grant knows: at the store, or by a change that a thread
    /// has unlocked since.
    pub(crate) fn exists(&self) -> bool {
        self.version.is_some_and(|version| version != Version::NONE)
            || self.commit.is_some()
            || self.state.is_dirty()
    }

    /// The client state is worth nothing any more.
    pub(crate) fn drop_base(&mut self) {
        self.version = None;
        self.state.clear();
    }

    /// When a thread last left, or the grant came.
    #[must_use]
    pub fn used(&self) -> Time {
        self.used
    }

    /// Whether nothing is left of it but a copy of the client state, as a base for what comes with the next grant. A thread that
    /// has lost the grant has to find that when it leaves.
    #[must_use]
    pub fn is_forgettable(&self) -> bool {
        self.is_settled() && self.poisoned.is_empty()
    }

    /// Whether there is nothing to remember.
    pub(crate) fn is_blank(&self) -> bool {
        self.phase == Phase::Absent
            && self.version.is_none()
            && self.state.lock.is_free()
            && self.poisoned.is_empty()
            && self.returning.is_none()
    }

    pub(crate) fn visit(&mut self, process: &ProcessId, numbers: &mut impl Numbers) {
        match &mut self.phase {
            Phase::Absent => {}
            Phase::Wanted {
                request, ticket, ..
            } => {
                numbers.request(process, request);
                if let Some(ticket) = ticket {
                    numbers.stamp(&mut ticket.0);
                }
            }
            Phase::Cancelling { request } => numbers.request(process, request),
            Phase::Held(grant) => {
                numbers.stamp(&mut grant.token.0);
                if let Some((_, late)) = &mut grant.recall {
                    numbers.process_time(process, late);
                }
            }
            Phase::Releasing {
                token,
                base,
                requeue,
                ..
            } => {
                numbers.stamp(&mut token.0);
                numbers.stamp(&mut base.0);
                if let Some(request) = requeue {
                    numbers.request(process, request);
                }
            }
        }
        if let Some(version) = &mut self.version {
            numbers.stamp(&mut version.0);
        }
        self.state
            .lock
            .update(|claim| numbers.process_time(process, &mut claim.until));
        if let Some(commit) = &mut self.commit {
            numbers.stamp(&mut commit.base.0);
        }
        if let Some((token, _)) = &mut self.early_recall {
            numbers.stamp(&mut token.0);
        }
        if let Some(returning) = &mut self.returning {
            numbers.stamp(&mut returning.token.0);
        }
        numbers.process_mark(process, &mut self.used);
        numbers.process_mark(process, &mut self.sent);
    }
}
