//! Detaching: a session that needs nobody but its own threads is used without its process.
//!
//! What makes a cached grant worth having is that the next access sends nothing. It follows that such an access touches
//! nothing but the session: no connection, no other session. So a concurrent driver takes a *calm* session out of
//! its [`ProcessMachine`] with [`ProcessMachine::detach`], puts it behind a lock of its own, and lets threads in and out there, many
//! sessions at a time. Before anything happens that is more than that, it takes the session back ([`ProcessMachine::reattach`])
//! and lets the process do it. [`ProcessMachine::concerned`] says which sessions a step may touch.
//!
//! A session is detached with its queue. Beginning to wait, giving up and the end of a wait are the process's business: it looks
//! for deadlocks, and knows the time. Being let in is not: when a thread leaves, the next one has the lock without the process,
//! which finds that out when it takes the session back. So what it knows of who waits where is out of date for the sessions
//! that are detached, and whoever looks at that reattaches the sessions that it comes to ([`ProcessMachine::entangled`]).
//!
//! A detached session can hand single attributes out further, with [`Detached::hand_out`] and [`Detached::take_in`], so that two
//! threads that use two of them share nothing at all. What an attribute may grow to is reserved while it is out, and goes on
//! being reserved when it is taken in around its user, until that one is out. So near the limits (rule 18) a session that is
//! handed out may refuse another thread's write that the process alone would accept: it is refused when it is made, and its
//! thread can do something about it; the other way round a write would be lost that was accepted. In return the user's write
//! is accepted where the process alone might refuse it, since that counts what other threads have written and may discard,
//! attribute by attribute, for more than can come of it. The limits are kept however the threads leave.
//!
//! No rule stands here twice. Who may go in, and who is next, say the same lines for a session that is detached and for one that
//! is not ([`LockedState`]); the gate of a calm session is open. That detaching changes nothing else is checked in every
//! reachable state (`model/checker/tests/lending.rs`).

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
    /// As in the session.
    awaits_existing: bool,
    /// Those who waited when it was detached and have been let in since. Boxed: most sessions have none.
    let_in: Option<Box<LetIn>>,
}

/// Threads that were let in, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct LetIn(Vec<ThreadId>);

/// An attribute outside its session: one thread at a time uses it, without the session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HandedOut {
    /// Its value.
    pub value: Option<Value>,
    /// To how many bytes it may grow without passing a limit, whatever happens to the others. Rule 18.
    pub bytes_max: u32,
}

/// What happens when the thread that uses an attribute leaves it, known before it does, see [`Detached::plan`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handoff {
    /// The attribute.
    pub name: AttributeName,
    /// The thread that is inside.
    pub from: ThreadId,
    /// The thread that waits, and is let in.
    pub to: ThreadId,
}

/// The sessions that a step may touch, see [`ProcessMachine::concerned`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Concerned<'a> {
    /// No others than these.
    These(Vec<&'a SessionId>),
    /// Any.
    All,
}

impl Session {
    /// Whether threads can go in and out and nothing follows from it for anybody else: nothing is due to the store.
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

    /// Those who hold.
    fn inside_ids(&self) -> impl Iterator<Item = ThreadId> {
        self.state.lock.holders().iter().map(|claim| claim.thread)
    }
}

impl<H: Hook> ProcessMachine<H> {
    /// Takes a session out, to be used without the process. `None` when the process is needed for it: it has no grant, the
    /// grant is to be given back, a commit is out, the process shuts down; or a thread waits, and what blocks whom has to be
    /// said to the store.
    pub fn detach(&mut self, id: &SessionId) -> Option<Detached> {
        let session = self.sessions.get(id)?;
        let is_waited = session.state.lock.waiting() > 0;
        if self.is_closing || !session.is_calm() || (is_waited && !self.busy.is_empty()) {
            return None;
        }
        // Outside, who waits is let in without a look at whether the session exists.
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
            unreachable!("a calm session is held, in some version");
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

    /// Puts a session that was detached back as its threads have left it.
    ///
    /// # Panics
    /// When an attribute of it is still handed out, or there is a session of this id.
    pub fn reattach(&mut self, id: SessionId, mut detached: Detached) {
        let is_whole = detached.state.slots.iter().all(|slot| slot.out.is_none());
        assert!(is_whole, "an attribute of session {id} is handed out");
        debug_assert_eq!(detached.admit(), None, "who may go in is let in at once");
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
        assert!(earlier.is_none(), "the session was detached");
    }

    /// Which sessions the step `input` at `now` may look at or change. Those among them that are detached have to be reattached
    /// before it, and then those that are [entangled](ProcessMachine::entangled) with them.
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

    /// A session that is detached although threads wait there, and that a step may look at which `thread` takes, if any does, and
    /// that concerns `session`: a search for whoever waits for whom comes there. It has to be taken back as well, and then
    /// this asked again.
    #[must_use]
    pub fn entangled(&self, thread: Option<ThreadId>, session: &SessionId) -> Option<&SessionId> {
        if self.waited.is_empty() {
            return None;
        }
        // Those who wait in a session are blocked by those inside it, unless they wait elsewhere as well.
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

    /// Of the sessions that are detached although threads wait there, the one whose first wait ends next, and when: not later than
    /// that, and earlier when a thread has been let in since. [`ProcessMachine::timers`] knows of these waits when it is taken back.
    #[must_use]
    pub fn next_wait_end(&self) -> Option<(Time, &SessionId)> {
        let (end, id) = self.index.waited.first()?;
        Some((*end, id))
    }

    /// The first wait in a session that is detached although threads wait there ends then.
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
    /// The fencing token of the grant. Rule 9.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Returns whether the session exists at the store. One that does not may have unlocked changes: the process knows.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.version != Version::NONE
    }

    /// When a thread last left.
    #[must_use]
    pub fn used(&self) -> Time {
        self.used
    }

    /// The attributes that have a value, sorted by name. Those that are handed out are not among them.
    pub fn attributes(&self) -> impl Iterator<Item = (&AttributeName, &Value)> {
        let slots = self.state.slots.iter();
        slots.filter_map(|slot| Some((&slot.name, slot.value.as_ref()?)))
    }

    /// What `thread`, which has locked it, or anybody else sees in an attribute that is not handed out.
    #[must_use]
    pub fn value(&self, thread: ThreadId, name: &AttributeName) -> Option<&Value> {
        self.state.value(thread, name)
    }

    /// Lets `thread` in if nobody is in its way, as a try through the process would. If not, the process has to say what
    /// happens. Nothing of what it asks for may be handed out.
    #[must_use = "if it is not let in, the process has to be asked"]
    pub fn enter(&mut self, thread: ThreadId, names: &Names) -> bool {
        let wanted = self.state.wanted(names);
        let claim = ThreadClaim::new(thread, wanted, (WaitMode::Try, Time::ZERO));
        let enters =
            !self.state.is_waiting(thread) && self.state.lock.may_enter(&claim, Gate::Open, false);
        if enters {
            debug_assert!(!self.has_out(&claim), "what is handed out was not taken in");
            self.state.lock.hold(claim);
        } else {
            self.state.tidy();
        }
        enters
    }

    /// Writes an attribute that `thread` has locked, into its write set. Answers whether it has locked it.
    ///
    /// # Errors
    /// The limit that the session would pass. Rule 18.
    pub fn write(
        &mut self,
        thread: ThreadId,
        name: &AttributeName,
        value: Option<&Value>,
        limits: &Limits,
    ) -> Result<bool, Limited> {
        self.state.write(thread, name, value, limits)
    }

    /// When the next wait of a thread ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.state.lock.next_end()
    }

    /// The threads that wait, in order of arrival.
    pub fn waiters(&self) -> impl Iterator<Item = ThreadId> {
        self.state.lock.waiters().map(|claim| claim.thread)
    }

    /// Lets the next one in who waits and may go in: to be called after each [`Detached::leave`] until it answers `None`.
    #[inline(always)]
    pub fn admit(&mut self) -> Option<ThreadId> {
        let thread = self.state.admit(Gate::Open)?;
        self.let_in.get_or_insert_default().0.push(thread);
        Some(thread)
    }

    /// Lets `thread` out; its write set becomes part of the client state if it `keeps` it. Answers whether it was inside
    /// with just these attributes.
    #[must_use = "if it was not inside, the process has to be asked"]
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

    /// Hands an attribute out to who uses it without the session, one thread at a time. `None` when a thread waits in the
    /// session, one inside has locked the attribute, it is handed out already, or there is no room for it as it is: the
    /// session or the process has to say who may go in, and what may be written.
    pub fn hand_out(&mut self, name: &AttributeName, limits: &Limits) -> Option<HandedOut> {
        if self.state.lock.waiting() > 0 {
            return None; // Nobody outside knows who is inside, and so goes before others.
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

    /// Takes an attribute in again that was handed out: its value, whether that has changed, when it was last used, and the
    /// thread that is using it, which is inside from now on. What the attribute may grow to stays reserved for that thread
    /// until it is out: until then it accepts its own writes, and none of them is refused here.
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
        debug_assert!(reserved.is_some(), "{name} was not handed out");
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
            debug_assert!(enters, "{name} was handed out, and others have locked it");
            self.state.lock.hold(claim);
        } else {
            self.state.tidy();
        }
    }

    /// A handoff that is sure to come as long as this session stays as it is: when a thread leaves its one attribute, which
    /// was taken in around it, another one is let in that waits for the same, and nobody else. Who knows that can carry it out
    /// where the attribute is, and tell the session later, before anything else happens in it ([`Detached::settle_handoff`]).
    ///
    /// Looks at the first that waits alone, and takes no longer than letting it in: it is asked each time that the session changes.
    #[must_use]
    pub fn plan(&mut self) -> Option<Handoff> {
        let (user, next) = self.state.successor(|claim| claim.reserved.is_some())?;
        let (from, to, wanted) = (user.thread, next.thread, user.wanted.clone());
        let Names::One(name) = self.state.names(&wanted) else {
            return None;
        };
        Some(Handoff { name, from, to })
    }

    /// A handoff that was [planned](Detached::plan) has happened: the one thread has left, with what it has `written`, if
    /// anything, and the other is inside. What was reserved for the one is reserved for the other.
    ///
    /// # Panics
    /// When the session has changed since it was planned.
    pub fn settle_handoff(&mut self, now: Time, handoff: &Handoff, written: Option<Option<Value>>) {
        let Handoff { name, from, to } = handoff;
        let slot = self.state.slot(name);
        let own = self.state.holder_mut(*from, slot).expect("it was inside");
        let reserved = own.reserved;
        if let Some(value) = written {
            own.write(slot, value); // Not more than was reserved.
        }
        let has_left = self.leave(now, *from, &Names::One(name.clone()), true);
        debug_assert!(has_left, "it was inside");
        assert_eq!(self.admit(), Some(*to), "as planned");
        let own = self.state.holder_mut(*to, slot).expect("just let in");
        own.reserved = reserved;
        debug_assert_eq!(self.admit(), None, "as planned");
    }

    /// How many waiters have been looked at, see [`Lock::visits`](crate::lock::Lock::visits).
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn visits(&self) -> u64 {
        self.state.lock.visits()
    }

    /// Gives memory back that it does not need now.
    pub fn shrink(&mut self) {
        self.state.shrink();
    }

    fn has_out(&self, claim: &ThreadClaim) -> bool {
        let mut slots = self.state.slots.iter().zip(0..);
        slots.any(|(slot, place)| slot.out.is_some() && claim.wanted.has(place))
    }
}
