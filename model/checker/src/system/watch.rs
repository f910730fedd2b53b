//! Checks of a step instead of a state: they compare the machine before and after the step.

use super::SESSIONS;
use super::app::Thread;
use tenure_protocol::attributes::Holder;
use tenure_protocol::lock::Claim;
use tenure_protocol::message::{Commit, Hello, Reason, Release, WaitMode};
use tenure_protocol::process::{Answer, Call, Input as ProcessInput, Output, Phase, ThreadClaim};
use tenure_protocol::store::{self, Admission, Input, Place, Session, Stopping, Timer};
use tenure_protocol::{
    Hook, ProcessId, ProcessMachine, SessionId, Stamp, StoreMachine, ThreadId, ToStore, Token,
    Value, Version,
};

/// A violation of a rule by one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Violation {
    /// A grant went to another process than the first one in the queue. Rule 5.
    PassedOver,
    /// A grant went to a process without a connection. Rule 5.
    GrantedToUnconnected,
    /// A recall for waiters revoked a grant although no waiter had a connection. Rule 11.
    RevokedForNobody,
    /// A write was accepted without the token of the current grant. Rule 9.
    Unfenced,
    /// A write to an older version was accepted. Rule 7.
    Misapplied,
    /// A session came back that was destroyed after the writer's grant. Rule 16.
    Resurrected,
    /// A session was destroyed under a holder that had not asked for it. Rule 16.
    EndedUnderHolder,
    /// A thread outside was admitted after the recall. Rule 12.
    AdmittedLate,
    /// A thread was admitted before a thread that had come earlier. Rule 12.
    Overtook,
    /// A request was answered a second time, or without having been made. Rule 14.
    EndedTwice,
    /// A write that was not unlocked left the process. Rule 11.
    LeakedWrite,
    /// An unlocked write is missing in the client state, or a discarded write is in it. Rule 11.
    LostWrite,
    /// A process forgot a recall that came before its grant. Rule 14.
    ForgotRecall,
    /// A thread inside lost its attribute without a notification. Rules 11 and 12.
    Evicted,
    /// A store that stops made a grant. Rule 6.
    GrantedWhileStopping,
    /// A store that stops for a restart began to recall a grant. Rule 2.
    RecalledByStop,
    /// A new request was granted although the disk was full. Rule 18.
    GrantedWhenFull,
    /// A request that wants a session only if it exists was granted an absent one. Rule 16.
    GrantedAbsent,
    /// A request that wants a session only if it exists has left something of an absent one behind. Rule 16.
    LeftAbsent,
    /// A thread that wants a session only if it exists was admitted to an absent one. Rule 16.
    EnteredAbsent,
    /// A thread was refused as absent although the session has existed since before the thread asked. Rule 16.
    FalselyAbsent,
    /// A machine finds that the other one has broken the protocol.
    Misbehaved,
}

/// Returns the violation of a step of the store, if any.
pub(super) fn store_step<H: Hook>(
    before: &StoreMachine<H>,
    after: &StoreMachine<H>,
    input: &Input,
    out: &[store::Output],
) -> Option<Violation> {
    if let Input::Message {
        message: ToStore::Acquire(acquire),
        ..
    } = input
        && acquire.existing
        && before.session(&acquire.session).is_none()
    {
        // Such a request costs only a look-up and an answer.
        let is_durable = out
            .iter()
            .any(|output| matches!(output, store::Output::Persist(_)));
        if is_durable || after.session(&acquire.session).is_some() {
            return Some(Violation::LeftAbsent);
        }
    }
    SESSIONS.iter().find_map(|id| {
        let (old, new) = (Glimpse::of(before, id), Glimpse::of(after, id));
        let own = match input {
            Input::Message {
                process, message, ..
            } if concerns(message, id) => Some((process, message)),
            _ => None,
        };
        let is_connected = |process: &ProcessId| after.is_connected(process);
        old.passed_over(&new, input, is_connected)
            .or_else(|| old.served_nobody(&new, input, is_connected))
            .or_else(|| old.granted_absent(&new))
            .or_else(|| old.taken_on(&new, before.admission(), after.admission(), input))
            .or_else(|| old.write_violation(&new, own))
    })
}

/// Returns a violation if a request that wants a session only if it exists has reached a store that may not understand
/// it. That includes a hello, because the store's version is not known yet.
pub(super) fn newer_than(input: &Input, is_older: bool) -> Option<Violation> {
    let Input::Message { message, .. } = input else {
        return None;
    };
    let is_newer = match message {
        ToStore::Hello(Hello { waits, .. }) => waits.iter().any(|acquire| acquire.existing),
        ToStore::Acquire(acquire) => acquire.existing && is_older,
        _ => false,
    };
    is_newer.then_some(Violation::Misbehaved)
}

/// Returns whether a session exists at the store.
pub(super) fn exists<H: Hook>(store: &StoreMachine<H>, id: &SessionId) -> bool {
    Glimpse::of(store, id).version != Version::NONE
}

/// Notes the time at which a session ended.
pub(super) fn note_ends<H: Hook>(
    before: &StoreMachine<H>,
    after: &StoreMachine<H>,
    destroyed: &mut [Stamp; 2],
) {
    for (id, destroyed) in SESSIONS.iter().zip(destroyed) {
        let (old, new) = (Glimpse::of(before, id), Glimpse::of(after, id));
        if old.version != Version::NONE && new.version == Version::NONE {
            *destroyed = after.stamps().last();
        }
    }
}

/// Returns a violation if a session is back that had ended after the writer's grant.
pub(super) fn resurrection<H: Hook>(
    before: &StoreMachine<H>,
    after: &StoreMachine<H>,
    input: &Input,
    destroyed: &[Stamp; 2],
) -> Option<Violation> {
    if matches!(
        input,
        Input::Message {
            message: ToStore::Rename { .. },
            ..
        }
    ) {
        return None;
    }
    SESSIONS.iter().zip(destroyed).find_map(|(id, destroyed)| {
        let (old, new) = (Glimpse::of(before, id), Glimpse::of(after, id));
        let is_back = old.version == Version::NONE && new.version != Version::NONE;
        let writer = old
            .holder
            .map_or_else(Stamp::default, |holder| holder.token.0);
        let is_late = writer <= *destroyed && *destroyed != Stamp::default();
        (is_back && is_late).then_some(Violation::Resurrected)
    })
}

/// The facts of one session of the store that the checks compare.
struct Glimpse<'a> {
    version: Version,
    holder: Option<&'a Holder>,
    session: Option<&'a Session>,
}

fn concerns(message: &ToStore, id: &SessionId) -> bool {
    match message {
        ToStore::Commit(Commit { session, .. })
        | ToStore::Release(Release { session, .. })
        | ToStore::Destroy { session, .. } => session == id,
        ToStore::Rename { session, to, .. } => session == id || to == id,
        _ => false,
    }
}

impl<'a> Glimpse<'a> {
    fn of<H: Hook>(store: &'a StoreMachine<H>, id: &SessionId) -> Self {
        let session = store.session(id);
        let head = session.map(|session| &session.record().head);
        let version = head.map_or(Version::NONE, |head| head.version);
        Self {
            version,
            holder: head.and_then(|head| head.holder.as_ref()),
            session,
        }
    }

    fn queue(&self) -> impl Iterator<Item = &Place> {
        self.session
            .into_iter()
            .flat_map(|session| session.lock().waiters())
    }

    /// Returns the token of the grant, if the session is held.
    fn token(&self) -> Option<Token> {
        self.holder.map(|holder| holder.token)
    }

    /// Returns a violation if a new holder was granted while a connected process had waited longer and still waits.
    fn passed_over(
        &self,
        after: &Self,
        input: &Input,
        is_connected: impl Fn(&ProcessId) -> bool,
    ) -> Option<Violation> {
        let holder = after.holder?;
        if self.holder.is_some_and(|old| old.token == holder.token) {
            return None;
        }
        // After a restart, a grant that its process has not received comes under a new token. It is still the same
        // grant.
        let is_hello = matches!(
            input,
            Input::Message {
                message: ToStore::Hello(_),
                ..
            }
        );
        if is_hello && self.holder.is_some_and(|old| old.process == holder.process) {
            return None;
        }
        let ticket = self
            .queue()
            .find(|place| place.process == holder.process)
            .map(|place| place.ticket);
        let is_passed = |other: &&Place| {
            other.process != holder.process
                && ticket.is_none_or(|ticket| other.ticket < ticket)
                && is_connected(&other.process)
                && after.queue().any(|left| left.process == other.process)
        };
        self.queue().find(is_passed).map(|_| Violation::PassedOver)
    }

    /// Returns a violation if a grant went to an unconnected process, or was revoked for unconnected processes.
    fn served_nobody(
        &self,
        after: &Self,
        input: &Input,
        is_connected: impl Fn(&ProcessId) -> bool,
    ) -> Option<Violation> {
        let is_changed = after.token() != self.token();
        let made = after.holder.filter(|_| is_changed);
        if made.is_some_and(|holder| !is_connected(&holder.process)) {
            return Some(Violation::GrantedToUnconnected);
        }
        let recall = self.session.and_then(|session| session.recall());
        let is_for_waiters = recall.is_some_and(|recall| recall.reason == Reason::Wait);
        let is_taken = matches!(input, Input::Timer(Timer::Revoke(_))) && is_changed;
        let mut waiters = self.queue();
        let is_wanted =
            waiters.any(|place| place.wait_mode == WaitMode::Wait && is_connected(&place.process));
        (is_for_waiters && is_taken && !is_wanted).then_some(Violation::RevokedForNobody)
    }

    /// Returns a violation if a new holder wanted a session only if it exists and received an absent one.
    fn granted_absent(&self, after: &Self) -> Option<Violation> {
        let is_new = after.token() != self.token();
        let mut holders = after.session?.lock().holders().iter();
        let is_absent = after.version == Version::NONE;
        (is_new && is_absent && holders.any(|place| place.existing))
            .then_some(Violation::GrantedAbsent)
    }

    /// Returns a violation if the store made a grant or began a recall against the conditions of its admission.
    fn taken_on(
        &self,
        after: &Self,
        old: Admission,
        new: Admission,
        input: &Input,
    ) -> Option<Violation> {
        let is_recalled = |own: &Self| own.session.is_some_and(|own| own.recall().is_some());
        let keeps = new.stopping == Stopping::Keeping && !matches!(input, Input::Timer(_));
        if keeps && is_recalled(after) && !is_recalled(self) {
            return Some(Violation::RecalledByStop);
        }
        let process = &after.holder?.process;
        // A rename moves the holder along. After a restart, a grant that its process has not received is sent again.
        let is_same = self.holder.is_some_and(|old| old.process == *process);
        let is_renamed = after.holder?.renamed.is_some() && self.holder.is_none();
        if is_same || is_renamed {
            return None;
        }
        if old.stopping.is_stopping() {
            return Some(Violation::GrantedWhileStopping);
        }
        let waited = self.queue().any(|place| place.process == *process);
        (old.is_full && !waited).then_some(Violation::GrantedWhenFull)
    }

    fn write_violation(
        &self,
        after: &Self,
        own: Option<(&ProcessId, &ToStore)>,
    ) -> Option<Violation> {
        if self.version == after.version {
            return None;
        }
        let is_held_by = |process: &ProcessId, token: &Token| {
            self.holder
                .is_some_and(|holder| holder.process == *process && holder.token == *token)
        };
        match own {
            Some((process, ToStore::Commit(Commit { token, base, .. })))
                if is_held_by(process, token) =>
            {
                (*base != self.version).then_some(Violation::Misapplied)
            }
            Some((
                process,
                ToStore::Release(Release { token, .. }) | ToStore::Destroy { token, .. },
            )) if is_held_by(process, token) => None,
            // The store checks the token of the old id; `exclusive` sees the rest.
            Some((_, ToStore::Rename { .. })) => None,
            // The time to live has ended.
            None if after.version == Version::NONE => {
                self.holder.map(|_| Violation::EndedUnderHolder)
            }
            _ => Some(Violation::Unfenced),
        }
    }
}

/// Returns the violation of a step of a process, if any.
pub(super) fn process_step<H: Hook>(
    before: &ProcessMachine<H>,
    after: &ProcessMachine<H>,
    input: &ProcessInput,
    out: &[Output],
    threads: &[Thread],
) -> Option<Violation> {
    let caller = match input {
        ProcessInput::Thread { thread, call, .. } => Some((*thread, call)),
        _ => None,
    };
    let admitted = out.iter().find_map(|output| match output {
        Output::Answer {
            thread,
            session,
            answer: Answer::Locked(token),
        } => admission_violation(before, after, (*thread, *token), session, out, threads),
        _ => None,
    });
    admitted
        .or_else(|| entered_absent(before, after, input, out))
        .or_else(|| leaked(before, caller, out))
        .or_else(|| lost(before, after, input))
        .or_else(|| forgot_recall(before, after))
        .or_else(|| evicted(before, after, caller.map(|(thread, _)| thread), out))
}

/// Returns a violation if a grant came that the process knew to be recalled, and the process knows no recall now.
fn forgot_recall<H: Hook>(
    before: &ProcessMachine<H>,
    after: &ProcessMachine<H>,
) -> Option<Violation> {
    let mut recalled = before.sessions().filter_map(|(id, client)| {
        let (token, _) = client.early_recall()?;
        Some((id, token))
    });
    let is_forgotten = recalled.any(|(id, recalled)| {
        let grant = after.session(id).and_then(|client| client.grant());
        grant.is_some_and(|grant| grant.token == recalled && grant.recall.is_none())
    });
    is_forgotten.then_some(Violation::ForgotRecall)
}

/// Returns a violation if a thread that wants a session only if it exists was admitted to a session without a version
/// and without an unlocked change.
fn entered_absent<H: Hook>(
    before: &ProcessMachine<H>,
    after: &ProcessMachine<H>,
    input: &ProcessInput,
    out: &[Output],
) -> Option<Violation> {
    out.iter().find_map(|output| {
        let Output::Answer {
            thread,
            session: id,
            answer: Answer::Locked(_),
        } = output
        else {
            return None;
        };
        let asked = matches!(
            input,
            ProcessInput::Thread { thread: own, session, call: Call::Lock { existing: true, .. } }
                if own == thread && session == id
        );
        let waited = before.session(id).and_then(|own| own.lock().waiter(thread));
        let wants_existing = asked || waited.is_some_and(|claim| claim.existing);
        let client = after.session(id)?;
        let exists = client.version() > Some(Version::NONE)
            || client.commit().is_some()
            || client.slots().iter().any(|slot| slot.is_dirty);
        (wants_existing && !exists).then_some(Violation::EnteredAbsent)
    })
}

/// Returns a violation if a thread was admitted that the gate or the queue should have kept out.
fn admission_violation<H: Hook>(
    before: &ProcessMachine<H>,
    after: &ProcessMachine<H>,
    (thread, token): (ThreadId, Token),
    id: &SessionId,
    out: &[Output],
    threads: &[Thread],
) -> Option<Violation> {
    let is_inside = before
        .session(id)
        .is_some_and(|session| session.is_inside(thread));
    if is_inside {
        return None;
    }
    let was_closed = before
        .session(id)
        .and_then(|session| session.grant())
        .is_some_and(|grant| grant.token == token && grant.is_closed);
    if was_closed {
        return Some(Violation::AdmittedLate);
    }
    let session = after.session(id)?;
    let own = session
        .lock()
        .holders()
        .iter()
        .filter(|claim| claim.thread == thread);
    let arrival = |thread: ThreadId| threads[(thread.0 - 1) as usize].arrival;
    let own_arrival = arrival(thread);
    let is_overtaken = |waiting: &&ThreadClaim| {
        let is_admitted = out.iter().any(|output| {
            matches!(output, Output::Answer { thread, answer: Answer::Locked(_), .. } if *thread == waiting.thread)
        });
        let came_before = arrival(waiting.thread) != 0 && arrival(waiting.thread) < own_arrival;
        came_before && !is_admitted && own.clone().any(|claim| claim.conflicts(waiting))
    };
    session
        .lock()
        .waiters()
        .find(is_overtaken)
        .map(|_| Violation::Overtook)
}

/// Returns a violation if a delta contains a write that is not unlocked.
fn leaked<H: Hook>(
    before: &ProcessMachine<H>,
    caller: Option<(ThreadId, &Call)>,
    out: &[Output],
) -> Option<Violation> {
    let settles = |thread: ThreadId| {
        caller.is_some_and(|(own, call)| {
            own == thread && matches!(call, Call::Unlock(_) | Call::Commit)
        })
    };
    for output in out {
        let Output::Send {
            message:
                ToStore::Commit(Commit { session, delta, .. })
                | ToStore::Release(Release { session, delta, .. }),
            ..
        } = output
        else {
            continue;
        };
        let Some(client) = before.session(session) else {
            continue;
        };
        for (place, slot) in client.slots().iter().enumerate() {
            let Some(written) = client.written(place as u32) else {
                continue;
            };
            let mut owners = client
                .lock()
                .holders()
                .iter()
                .filter(|claim| claim.wanted.has(place as u32));
            let is_open = owners.any(|claim| !settles(claim.thread));
            let carries = |value: &Option<Value>| value == written && *value != slot.value;
            if is_open
                && delta
                    .changes()
                    .iter()
                    .any(|change| change.name == slot.name && carries(&change.value))
            {
                return Some(Violation::LeakedWrite);
            }
        }
    }
    None
}

/// Returns a violation if an unlock lost a write, or a discard kept one.
fn lost<H: Hook>(
    before: &ProcessMachine<H>,
    after: &ProcessMachine<H>,
    input: &ProcessInput,
) -> Option<Violation> {
    let ProcessInput::Thread {
        thread,
        session,
        call,
    } = input
    else {
        return None;
    };
    let keeps = match call {
        Call::Unlock(_) => true,
        Call::Discard(_) => false,
        _ => return None,
    };
    let client = before.session(session)?;
    let then = after.session(session)?;
    let own = client.lock().holders().iter();
    let own = own.filter(|claim| claim.thread == *thread);
    for written in own.flat_map(|claim| &claim.written) {
        let slot = &client.slots()[written.slot as usize];
        let expected = if keeps { &written.value } else { &slot.value };
        let now = then
            .slots()
            .iter()
            .find(|other| other.name == slot.name)
            .and_then(|other| other.value.as_ref());
        // A release in the same step may have dropped the copy. Then the write is in the delta, where `agreement`
        // checks it.
        let is_gone = now.is_none() && then.version().is_none();
        if now != expected.as_ref() && !is_gone {
            return Some(Violation::LostWrite);
        }
    }
    None
}

/// Returns a violation if a thread inside lost its place without leaving, ending the session, or a notification.
fn evicted<H: Hook>(
    before: &ProcessMachine<H>,
    after: &ProcessMachine<H>,
    caller: Option<ThreadId>,
    out: &[Output],
) -> Option<Violation> {
    for (id, client) in before.sessions() {
        for claim in client.lock().holders() {
            let is_there = after
                .session(id)
                .is_some_and(|session| session.is_inside(claim.thread));
            let is_told = out.iter().any(|output| match output {
                Output::Answer { thread, answer, .. } => {
                    let has_ended = matches!(
                        answer,
                        Answer::Poisoned(_) | Answer::Destroyed | Answer::Renamed(_)
                    );
                    *thread == claim.thread && has_ended
                }
                _ => false,
            });
            if !is_there && !is_told && caller != Some(claim.thread) {
                return Some(Violation::Evicted);
            }
            let gave_up = after
                .session(id)
                .is_some_and(|session| matches!(session.phase(), Phase::Releasing { .. }));
            if is_there && gave_up {
                return Some(Violation::Evicted);
            }
        }
    }
    None
}
