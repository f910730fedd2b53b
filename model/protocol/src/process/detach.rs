//! Detaching: the threads of a session use the session without the process's mutex.
//!
//! The next access to a cached grant sends no message, and touches only its own session. A concurrent driver therefore
//! takes a *calm* session out of its [`ProcessMachine`] with [`ProcessMachine::detach`] and puts it behind a lock of
//! its own. Threads enter and leave it there, many sessions at a time. Before any other step concerns the session, the
//! driver reattaches it ([`ProcessMachine::reattach`]), and the process takes the step. [`ProcessMachine::concerned`]
//! returns the sessions that a step may touch.
//!
//! A session is detached with its queue. The process handles the beginning and every other end of a wait, because it
//! looks for deadlocks and knows the time. A detached session admits waiters on its own: when a thread leaves, the next
//! one has the lock without the process. The process learns that when the session is reattached. Its record of waits is
//! therefore out of date for detached sessions. A search through these waits first reattaches the sessions that it
//! reaches ([`ProcessMachine::entangled`]).
//!
//! A detached session can hand single attributes out with [`Detached::hand_out`] and [`Detached::take_in`], so that two
//! threads that use two attributes share no state. While an attribute is out, the session reserves bytes for its
//! growth. If a thread uses the attribute when it is taken in, the bytes stay reserved until that thread leaves.
//!
//! Near the limits (rule 18) such a session may therefore refuse another thread's write that the process alone would
//! accept. The refused thread can react at once; without the reservation, an accepted write would be lost later. In
//! return the user's own write is accepted where the process alone might refuse it. The process counts, attribute by
//! attribute, the larger of the old and the written value, because a thread may still discard its write. The limits
//! hold, however the threads leave.
//!
//! No rule is implemented twice. The same code ([`LockedState`]) admits threads and selects the next one in a detached
//! and in an attached session; the gate of a calm session is open. A test checks in every reachable state that
//! detaching changes nothing else (`model/checker/tests/detaching.rs`).

use super::index::replace;
use super::session::Grant;
use super::state::{LockedState, ThreadClaim};
use super::{Input, Names, Phase, ProcessMachine, Session, Timer};
use crate::attributes::Value;
use crate::config::Limits;
use crate::id::{AttributeName, SessionId, ThreadId, Time, Token, Version};
use crate::lock::Gate;
use crate::message::{Limited, Refusal, ToProcess, WaitMode};
use crate::mutant::Hook;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// A session outside its process, from [`ProcessMachine::detach`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Detached {
    token: Token,
    version: Version,
    used: Time,
    state: LockedState,
    /// The field of the same name of [`Session`].
    awaits_existing: bool,
    /// The threads that waited when the session was detached and have been admitted since. Boxed, because most sessions
    /// have none.
    let_in: Option<Box<LetIn>>,
}

/// The admitted threads, in the order of admission.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct LetIn(Vec<ThreadId>);

/// An attribute outside its session. One thread at a time uses it, without the session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HandedOut {
    /// The value of the attribute.
    pub value: Option<Value>,
    /// The number of bytes to which the value may grow without exceeding a limit, regardless of the other attributes.
    /// Rule 18.
    pub bytes_max: u32,
}

/// A planned handoff: the effect of a thread's leaving its attribute, known in advance, see [`Detached::plan`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handoff {
    /// The attribute.
    pub name: AttributeName,
    /// The thread that holds the attribute.
    pub from: ThreadId,
    /// The waiting thread that is admitted next.
    pub to: ThreadId,
}

/// The sessions that a step may touch, see [`ProcessMachine::concerned`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Concerned<'a> {
    /// Only these sessions.
    These(Vec<&'a SessionId>),
    /// Any session.
    All,
}

impl Session {
    /// Returns whether threads can enter and leave without any effect outside the session: nothing is due to the store.
    fn is_calm(&self) -> bool {
        let Phase::Held(grant) = &self.phase else {
            return false;
        };
        let stays = grant.lets_in() && grant.recall.is_none() && !grant.give_back;
        stays
            && self.version.is_some()
            && self.poisoned.is_empty()
            && self.commit.is_none()
            && self.next_commit.is_empty()
            && self.early_recall.is_none()
            && self.returning.is_none()
            && !self.owes_busy
    }

    /// Returns the threads that hold attributes.
    fn inside_ids(&self) -> impl Iterator<Item = ThreadId> {
        self.state.lock.holders().iter().map(|claim| claim.thread)
    }
}

impl<H: Hook> ProcessMachine<H> {
    /// Detaches a session, so that threads use it without the process. Returns `None` when the session needs the
    /// process: there is no grant, the grant is to be given back, a commit is unanswered, or the process shuts down.
    /// The result is also `None` when a thread waits and the process has to report blocking sessions to the store.
    pub fn detach(&mut self, id: &SessionId) -> Option<Detached> {
        let session = self.sessions.get(id)?;
        let is_waited = session.state.lock.waiting() > 0;
        if self.is_closing || !session.is_calm() || (is_waited && !self.busy.is_empty()) {
            return None;
        }
        // A detached session admits waiters without checking whether the session exists.
        if is_waited && session.awaits_existing && session.version == Some(Version::NONE) {
            return None;
        }
        if is_waited {
            let end = session.state.lock.next_end();
            self.waited.entry(id.clone()).or_default();
            self.note_wait_end(id, end);
        }
        self.index.detached += 1;
        let Session {
            phase: Phase::Held(Grant { token, .. }),
            version: Some(version),
            used,
            state,
            awaits_existing,
            ..
        } = *self.remove_session(id)?
        else {
            unreachable!("is_calm has checked that the session is held and has a version");
        };
        Some(Detached {
            token,
            version,
            used,
            state,
            awaits_existing,
            let_in: None,
        })
    }

    /// Reattaches a detached session in the state in which its threads have left it.
    ///
    /// # Panics
    /// When an attribute of the session is still handed out, or the process has a session of this id.
    pub fn reattach(&mut self, id: SessionId, mut detached: Detached) {
        let is_whole = detached.state.slots.iter().all(|slot| slot.out.is_none());
        assert!(
            is_whole,
            "the driver takes every attribute in before it reattaches session {id}"
        );
        debug_assert_eq!(
            detached.admit(),
            None,
            "the driver admits every admissible waiter after each leave"
        );
        if !self.waited.is_empty() {
            self.note_wait_end(&id, None);
            self.waited.remove(&id);
        }
        self.index.detached -= 1;
        for thread in detached.let_in.into_iter().flat_map(|let_in| let_in.0) {
            self.waits.end(thread, &id);
        }
        let session = Session {
            used: detached.used,
            awaits_existing: detached.awaits_existing,
            ..Session::kept(detached.token, detached.version, detached.state)
        };
        let earlier = self.insert_session(id, Box::new(session));
        assert!(
            earlier.is_none(),
            "the driver reattaches every detached session that a step concerns before the step"
        );
    }

    /// Returns the sessions that the step `input` at `now` may read or change. Before the step the driver reattaches
    /// the detached ones among them, and then those that are [entangled](ProcessMachine::entangled) with them.
    #[must_use]
    pub fn concerned<'a>(&self, now: Time, input: &'a Input) -> Concerned<'a> {
        if self.has_outlived_lease(now) {
            return Concerned::All;
        }
        match input {
            Input::Connected
            | Input::Shutdown
            | Input::Timer(Timer::Lease | Timer::Resend(None)) => Concerned::All,
            Input::Disconnected | Input::Timer(Timer::KeepAlive | Timer::Silent) => {
                Concerned::These(Vec::new())
            }
            Input::Message { message, .. } => concerned_by(message),
            Input::Thread { session, .. }
            | Input::Release(session)
            | Input::Forget(session)
            | Input::Timer(
                Timer::Resend(Some(session)) | Timer::Late(session) | Timer::Wait(session, _),
            ) => Concerned::These([session].into()),
        }
    }

    /// Returns a detached session with waiting threads that a step on `session` may read, if any. `thread` is the
    /// thread that takes the step, if one does. The search for deadlocks follows the waits to the returned session. The
    /// driver reattaches it and calls this method again.
    #[must_use]
    pub fn entangled(&self, thread: Option<ThreadId>, session: &SessionId) -> Option<&SessionId> {
        if self.waited.is_empty() {
            return None;
        }
        // A thread that waits in a session is blocked by the threads inside, unless it waits elsewhere as well.
        let threads_of = |id| {
            let session = self.sessions.get(id).into_iter();
            let inside = session.flat_map(|own| own.inside_ids());
            inside.chain(self.waits.twofold_in(id))
        };
        let mut open: Vec<ThreadId> = threads_of(session).chain(thread).collect();
        let mut seen = BTreeSet::new();
        while let Some(thread) = open.pop() {
            for id in self.waits.of(thread) {
                if self.waited.contains_key(id) {
                    return Some(id);
                }
                if seen.insert(id) {
                    open.extend(threads_of(id));
                }
            }
        }
        None
    }

    /// Returns the detached session with waiting threads whose first wait ends next, and the time. The wait ends at
    /// this time, or later when a thread has been admitted since. [`ProcessMachine::timers`] lists these waits only
    /// after the session is reattached.
    #[must_use]
    pub fn next_wait_end(&self) -> Option<(Time, &SessionId)> {
        let (end, id) = self.index.waited.first()?;
        Some((*end, id))
    }

    /// Notes the time at which the first wait in a detached session ends, or `None` when no thread waits there.
    pub fn note_wait_end(&mut self, id: &SessionId, end: Option<Time>) {
        if let Some(noted) = self.waited.get_mut(id) {
            let before = core::mem::replace(&mut **noted, end);
            replace(&mut self.index.waited, id, before, end);
        }
    }
}

fn concerned_by(message: &ToProcess) -> Concerned<'_> {
    match message {
        ToProcess::Welcome { .. }
        | ToProcess::LeaseEnded
        | ToProcess::Superseded
        | ToProcess::Full => Concerned::All,
        ToProcess::Alive { recalls, .. } => {
            Concerned::These(recalls.iter().map(|(hold, _)| &hold.session).collect())
        }
        ToProcess::Gone {
            session,
            renamed: Some(renamed),
            ..
        } => Concerned::These([session, &renamed.session].into()),
        ToProcess::Refused {
            session,
            why: Refusal::Deadlock { cycle },
            ..
        } => Concerned::These(cycle.iter().chain([session]).collect()),
        message => Concerned::These(message.session().into_iter().collect()),
    }
}

impl Detached {
    /// Returns the fencing token of the grant. Rule 9.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Returns whether the session exists at the store. A session that does not exist there may have unlocked changes,
    /// of which the process knows.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.version != Version::NONE
    }

    /// Returns when a thread last left.
    #[must_use]
    pub fn used(&self) -> Time {
        self.used
    }

    /// Returns the attributes that have a value, sorted by name. Attributes that are handed out are left out.
    pub fn attributes(&self) -> impl Iterator<Item = (&AttributeName, &Value)> {
        let slots = self.state.slots.iter();
        slots.filter_map(|slot| Some((&slot.name, slot.value.as_ref()?)))
    }

    /// Returns the value of an attribute that is not handed out, as `thread` sees it: its own write, if any, or the
    /// client state.
    #[must_use]
    pub fn value(&self, thread: ThreadId, name: &AttributeName) -> Option<&Value> {
        self.state.value(thread, name)
    }

    /// Admits `thread` if no other thread is in its way, as a try through the process would. Returns whether the thread
    /// was admitted; if not, the driver has to ask the process. None of the requested attributes may be handed out.
    #[must_use = "if the thread is not admitted, the driver has to ask the process"]
    pub fn enter(&mut self, thread: ThreadId, names: &Names) -> bool {
        let wanted = self.state.wanted(names);
        let claim = ThreadClaim::new(thread, wanted, (WaitMode::Try, Time::ZERO));
        let enters =
            !self.state.is_waiting(thread) && self.state.lock.may_enter(&claim, Gate::Open, false);
        if enters {
            debug_assert!(
                !self.has_out(&claim),
                "the driver takes attributes in before a thread locks them"
            );
            self.state.lock.hold(claim);
        } else {
            self.state.tidy();
        }
        enters
    }

    /// Writes an attribute into the write set of `thread`. Returns whether the thread has locked the attribute.
    ///
    /// # Errors
    /// The limit that the session would exceed. Rule 18.
    pub fn write(
        &mut self,
        thread: ThreadId,
        name: &AttributeName,
        value: Option<&Value>,
        limits: &Limits,
    ) -> Result<bool, Limited> {
        self.state.write(thread, name, value, limits)
    }

    /// Returns when the next wait of a thread ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.state.lock.next_end()
    }

    /// Returns the waiting threads, in order of arrival.
    pub fn waiters(&self) -> impl Iterator<Item = ThreadId> {
        self.state.lock.waiters().map(|claim| claim.thread)
    }

    /// Admits the next admissible waiter and returns it. The driver calls this after each [`Detached::leave`] until the
    /// result is `None`.
    #[inline(always)]
    pub fn admit(&mut self) -> Option<ThreadId> {
        let thread = self.state.admit(Gate::Open)?;
        self.let_in.get_or_insert_default().0.push(thread);
        Some(thread)
    }

    /// Removes `thread` from the holders. If `keeps` is set, its write set becomes part of the client state. Returns
    /// whether the thread was inside with exactly these attributes.
    #[must_use = "if the thread was not inside, the driver has to ask the process"]
    #[inline(always)]
    pub fn leave(&mut self, now: Time, thread: ThreadId, names: &Names, keeps: bool) -> bool {
        let claim = self.state.leave(thread, names);
        let has_left = claim.is_some();
        if let Some(claim) = claim {
            if keeps && !claim.written.is_empty() {
                self.state.merge(claim.written);
            }
            self.used = now;
        }
        self.state.tidy();
        has_left
    }

    /// Hands an attribute out, to be used without the session by one thread at a time. Returns `None` when a thread
    /// waits in the session, a thread inside has locked the attribute, the attribute is already handed out, or the
    /// limits leave no room for it. Then the session or the process decides about threads and writes.
    pub fn hand_out(&mut self, name: &AttributeName, limits: &Limits) -> Option<HandedOut> {
        if self.state.lock.waiting() > 0 {
            return None; // Outside the session the rank of insiders is unknown.
        }
        let wanted = self.state.wanted(&Names::One(name.clone()));
        let slot = self.state.slot(name) as usize;
        let holders = self.state.lock.holders();
        let is_locked = holders.iter().any(|claim| claim.wanted.shares(&wanted));
        let reserved = match &self.state.slots[slot] {
            slot if is_locked || slot.out.is_some() => None,
            slot => self.state.growth(slot, limits),
        };
        let Some(reserved) = reserved else {
            self.state.tidy();
            return None;
        };
        let slot = &mut self.state.slots[slot];
        slot.out = Some(reserved);
        Some(HandedOut {
            value: slot.value.take(),
            bytes_max: reserved.bytes(),
        })
    }

    /// Takes a handed-out attribute in: its value, whether the value has changed, the time of its last use, and the
    /// thread that is using it. That thread holds the attribute in the session from now on. The reserved bytes stay
    /// reserved until that thread leaves, so its writes are accepted until then and none of them is refused here.
    pub fn take_in(
        &mut self,
        name: &AttributeName,
        (value, is_changed): (Option<Value>, bool),
        used: Time,
        user: Option<ThreadId>,
    ) {
        let slot = self.state.slot(name) as usize;
        let slot = &mut self.state.slots[slot];
        let reserved = slot.out.take();
        debug_assert!(
            reserved.is_some(),
            "the driver takes in only what it has handed out, unlike {name}"
        );
        slot.value = value;
        slot.is_dirty |= is_changed;
        self.used = self.used.max(used);
        if let Some(thread) = user {
            let wanted = self.state.wanted(&Names::One(name.clone()));
            let claim = ThreadClaim {
                reserved,
                ..ThreadClaim::new(thread, wanted, (WaitMode::Try, Time::ZERO))
            };
            let enters = self.state.lock.fits(&claim);
            debug_assert!(enters, "no thread locks {name} while it is handed out");
            self.state.lock.hold(claim);
        } else {
            self.state.tidy();
        }
    }

    /// Predicts the next handoff: when a thread leaves the one attribute that was taken in around it, exactly one
    /// waiter for this attribute is admitted. Valid until the session changes. The driver can carry the handoff out at
    /// the attribute itself, and settle it in the session later ([`Detached::settle_handoff`]), before anything else
    /// happens there.
    ///
    /// Considers only the first waiter, and costs no more than admitting it, because the driver calls this after each
    /// change of the session.
    #[must_use]
    pub fn plan(&mut self) -> Option<Handoff> {
        let (user, next) = self.state.successor(|claim| claim.reserved.is_some())?;
        let (from, to, wanted) = (user.thread, next.thread, user.wanted.clone());
        let Names::One(name) = self.state.names(&wanted) else {
            return None;
        };
        Some(Handoff { name, from, to })
    }

    /// Settles a [planned](Detached::plan) handoff that has happened: one thread has left, with its write in `written`,
    /// if any, and the other one is inside. The bytes reserved for the first thread are reserved for the second.
    ///
    /// # Panics
    /// When the session has changed since the plan.
    pub fn settle_handoff(&mut self, now: Time, handoff: &Handoff, written: Option<Option<Value>>) {
        let Handoff { name, from, to } = handoff;
        let slot = self.state.slot(name);
        let own = self
            .state
            .holder_mut(*from, slot)
            .expect("the plan holds: the leaving thread is inside");
        let reserved = own.reserved;
        if let Some(value) = written {
            own.write(slot, value); // The value fits the reserved bytes.
        }
        let has_left = self.leave(now, *from, &Names::One(name.clone()), true);
        debug_assert!(has_left, "the plan holds: the leaving thread is inside");
        assert_eq!(
            self.admit(),
            Some(*to),
            "the plan holds: the planned waiter is admitted"
        );
        let own = self
            .state
            .holder_mut(*to, slot)
            .expect("the line above has admitted this thread");
        own.reserved = reserved;
        debug_assert_eq!(
            self.admit(),
            None,
            "the plan holds: no second waiter is admitted"
        );
    }

    /// Returns the number of visited waiters, see [`Lock::visits`](crate::lock::Lock::visits).
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn visits(&self) -> u64 {
        self.state.lock.visits()
    }

    /// Frees memory that the session does not need at present.
    pub fn shrink(&mut self) {
        self.state.shrink();
    }

    fn has_out(&self, claim: &ThreadClaim) -> bool {
        let mut slots = self.state.slots.iter().zip(0..);
        slots.any(|(slot, place)| slot.out.is_some() && claim.wanted.has(place))
    }
}
