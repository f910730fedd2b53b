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

/// The phase of a session at the store: no grant, a request, or a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No grant and no request.
    #[default]
    Absent,
    /// A request that has not ended.
    Wanted {
        /// The number of the request.
        request: Request,
        /// The place in the store's queue, if the store has given one.
        ticket: Option<Ticket>,
        /// Whether the request waits for threads of other processes, or only tries.
        wait_mode: WaitMode,
        /// Whether the request is only for a session that exists, because all threads wanted that when it was sent.
        /// Rule 16.
        existing: bool,
    },
    /// A cancelled request that has not ended.
    Cancelling {
        /// The number of the request.
        request: Request,
    },
    /// A grant.
    Held(Grant),
    /// A released grant without an answer yet.
    Releasing {
        /// The token of the grant.
        token: Token,
        /// The version that the changes are made to.
        base: Version,
        /// The changes, which may have to be sent again.
        delta: Delta,
        /// The new request that the release carries.
        requeue: Option<Request>,
        /// The time for which the session had been unused, in milliseconds.
        idle_ms: u64,
    },
}

/// A grant that the process has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The fencing token of the grant.
    pub token: Token,
    /// The recall, and the time at which the process gives the grant up by itself. Rule 11.
    pub recall: Option<(RecallInfo, Time)>,
    /// Whether the gate is closed: no new thread enters under this grant. Rule 12.
    pub is_closed: bool,
    /// Whether the grant is to be given back when it is idle. Rule 2.
    pub give_back: bool,
    /// The unanswered operation of a thread that ends or renames the session. Until the answer comes, no thread enters,
    /// even after this thread has left, and the grant is not given back.
    pub ending: Option<(ThreadId, Ending)>,
}

impl Grant {
    /// Returns whether a thread outside may enter under this grant. Rules 12 and 16.
    pub(crate) fn lets_in(&self) -> bool {
        // r[gate.closed] r[destroy.nobody-enters]
        !self.is_closed && self.ending.is_none()
    }
}

/// An operation of a thread on the whole session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The end of the session.
    Destroy,
    /// The move of the session to a new id.
    Rename(SessionId),
}

impl Ending {
    /// Returns whether a `Gone` with this content answers the operation.
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

/// A grant that came unasked and that the process gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Returning {
    pub(crate) token: Token,
    /// Whether the store has acknowledged the return.
    pub(crate) is_answered: bool,
}

/// One session inside a process; see the [module](super).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session {
    pub(crate) phase: Phase,
    /// The version of the client state; `None` without a client state. Without a grant, the state is a base for deltas
    /// (rule 7).
    pub(crate) version: Option<Version>,
    pub(crate) state: LockedState,
    /// The threads that were inside when their grant was lost and have not left yet.
    pub(crate) poisoned: Vec<(ThreadId, Poison)>,
    pub(crate) commit: Option<Outgoing>,
    /// The threads whose commit waits for the end of the unanswered one.
    pub(crate) next_commit: Vec<ThreadId>,
    /// A recall that came before its grant. Rule 14.
    pub(crate) early_recall: Option<(Token, RecallInfo)>,
    /// A grant that came unasked and is given back. The grant may arrive a second time, so the session remembers it
    /// until a newer grant comes.
    pub(crate) returning: Option<Returning>,
    /// Whether some thread has begun to wait for a session only if it exists, since the queue was last empty. Rule 16.
    pub(crate) awaits_existing: bool,
    /// Whether a recall has come that `Busy` has to answer. Cleared within the same step.
    pub(crate) owes_busy: bool,
    /// The time at which a thread last left. Rule 16.
    pub(crate) used: Time,
    /// The time at which a message that needs an answer was last sent to the store.
    pub(crate) sent: Time,
    /// The entries of the session in the process's index.
    pub(crate) noted: Derived<Noted>,
}

impl Session {
    /// Creates a session of which the process has the grant, without any other facts.
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

    /// Returns the phase of the session at the store.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Returns the version of the client state, or `None` without a client state.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Returns the attributes of the client state, sorted by name.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.state.slots
    }

    /// Returns the lock with the threads that hold and wait for attributes.
    #[must_use]
    pub fn lock(&self) -> &Lock<ThreadClaim> {
        &self.state.lock
    }

    /// Returns the threads that were inside when their grant was lost and have not left yet.
    #[must_use]
    pub fn poisoned(&self) -> &[(ThreadId, Poison)] {
        &self.poisoned
    }

    /// Returns how `thread` lost the grant, if the thread is poisoned and has not left yet.
    #[must_use]
    pub fn poison_of(&self, thread: ThreadId) -> Option<Poison> {
        let mut poisoned = self.poisoned.iter();
        let (_, why) = poisoned.find(|(poisoned, _)| *poisoned == thread)?;
        Some(*why)
    }

    /// Returns the unanswered commit, if any.
    #[must_use]
    pub fn commit(&self) -> Option<&Outgoing> {
        self.commit.as_ref()
    }

    /// Returns the number of unanswered commits of `thread`.
    #[must_use]
    pub fn commits_of(&self, thread: ThreadId) -> usize {
        let out = self.commit.iter().flat_map(|commit| &commit.threads);
        let all = out.chain(&self.next_commit);
        all.filter(|own| **own == thread).count()
    }

    /// Returns a recall that came before its grant, if any.
    #[must_use]
    pub fn early_recall(&self) -> Option<(Token, RecallInfo)> {
        self.early_recall
    }

    /// Returns the token of a grant that came unasked and whose return is not acknowledged yet, if any.
    #[must_use]
    pub fn returning(&self) -> Option<Token> {
        self.returning
            .filter(|returning| !returning.is_answered)
            .map(|returning| returning.token)
    }

    /// Returns the grant, if the process has it.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        match &self.phase {
            Phase::Held(grant) => Some(grant),
            _ => None,
        }
    }

    /// Returns the value of an attribute as `thread` sees it: its own write, if it has locked the attribute, or the
    /// client state.
    #[must_use]
    pub fn value(&self, thread: ThreadId, name: &AttributeName) -> Option<&Value> {
        self.state.value(thread, name)
    }

    /// Returns the write of the thread inside to the attribute at `slot`, if it is not unlocked yet.
    #[must_use]
    pub fn written(&self, slot: u32) -> Option<&Option<Value>> {
        self.state.written(slot)
    }

    /// Returns whether `thread` holds any attribute.
    #[must_use]
    pub fn is_inside(&self, thread: ThreadId) -> bool {
        self.state.is_inside(thread)
    }

    /// Returns the number of threads that hold attributes.
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

    /// Returns whether the session exists, as far as the holding process knows: at the store, or through a change that
    /// a thread has unlocked since.
    pub(crate) fn exists(&self) -> bool {
        self.version.is_some_and(|version| version != Version::NONE)
            || self.commit.is_some()
            || self.state.is_dirty()
    }

    /// Drops the client state, which is no valid base any more.
    pub(crate) fn drop_base(&mut self) {
        self.version = None;
        self.state.clear();
    }

    /// Returns when a thread last left, or the grant came.
    #[must_use]
    pub fn used(&self) -> Time {
        self.used
    }

    /// Returns whether at most a copy of the client state is left, as a base for the next grant. A session with a
    /// poisoned thread is not forgettable, because the thread has to find its poison when it leaves.
    #[must_use]
    pub fn is_forgettable(&self) -> bool {
        self.is_settled() && self.poisoned.is_empty()
    }

    /// Returns whether the session contains nothing to remember.
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
