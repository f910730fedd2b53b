//! What the store says of a session, and what the process asks it. Rules 2 to 4, 7, 11, 13 and 14.

use super::Poison;
use super::desk::Desk;
use super::session::{Ending, Grant, Phase, Returning, Session};
use crate::attributes::{Delta, State};
use crate::defect::{Defect, Hook};
use crate::id::{Request, SessionId, ThreadId, Ticket, Time, Token, Version};
use crate::message::{Hold, Notice, Patience, Refusal, ToStore, Wish};
use alloc::vec::Vec;

/// A `Granted` message, less the session.
pub(crate) struct Granted {
    pub(crate) request: Request,
    pub(crate) token: Token,
    pub(crate) version: Version,
    pub(crate) state: State,
    pub(crate) recall: Option<Notice>,
    pub(crate) give_back: bool,
}

impl Session {
    /// Asks the store for the session, with a new request.
    pub(crate) fn acquire<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        let Some(patience) = self.lock.waiters().map(|claim| claim.patience).max() else {
            return;
        };
        self.phase = Phase::Wanted {
            request: desk.draw_request(),
            ticket: None,
            patience,
        };
        self.resend(id, desk);
    }

    /// What the process waits for, as `Hello` says it. Rule 15.
    pub(crate) fn wish(&self, id: &SessionId) -> Option<Wish> {
        let (request, ticket, patience, known) = match self.phase {
            Phase::Wanted {
                request,
                ticket,
                patience,
            } => (request, ticket, patience, self.version),
            // Whether the release was accepted is not known, so neither is the version.
            Phase::Releasing {
                requeue: Some(request),
                ..
            } => (request, None, Patience::Wait, None),
            _ => return None,
        };
        Some(Wish {
            session: id.clone(),
            request,
            known,
            patience,
            ticket,
        })
    }

    /// What the process holds, or has given back without an answer, as `Hello` says it. Rule 15.
    pub(crate) fn hold(&self, id: &SessionId) -> Option<Hold> {
        match self.phase {
            Phase::Held(Grant { token, .. }) | Phase::Releasing { token, .. } => Some(Hold {
                session: id.clone(),
                token,
            }),
            _ => None,
        }
    }

    /// Whether something was sent that the store has not answered.
    pub(crate) fn is_waiting_for_store(&self) -> bool {
        let is_waiting = match &self.phase {
            Phase::Absent => false,
            Phase::Held(grant) => self.commit.is_some() || grant.ending.is_some(),
            Phase::Wanted { .. } | Phase::Cancelling { .. } | Phase::Releasing { .. } => true,
        };
        is_waiting
            || self
                .returning
                .is_some_and(|returning| !returning.is_answered)
    }

    /// Says again what the store has not answered. Rule 14.
    pub(crate) fn resend<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        let is_release = matches!(self.phase, Phase::Releasing { .. });
        if !(is_release && desk.makes(Defect::ReleaseNotRepeated)) {
            self.say(id, desk);
        }
    }

    /// Says what the store is to answer.
    fn say<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        self.sent = desk.now;
        let session = || id.clone();
        match &self.phase {
            Phase::Absent => {}
            Phase::Wanted { .. } => {
                if let Some(wish) = self.wish(id) {
                    desk.send(ToStore::Acquire(wish));
                }
            }
            Phase::Cancelling { request } => desk.send(ToStore::Cancel {
                session: session(),
                request: *request,
            }),
            Phase::Held(grant) => {
                if let Some(commit) = &self.commit {
                    let (base, delta) = (commit.base, commit.delta.clone());
                    desk.send(ToStore::Commit {
                        session: session(),
                        token: grant.token,
                        base,
                        delta,
                    });
                }
                match &grant.ending {
                    Some((_, Ending::Destroy)) => {
                        desk.send(ToStore::Destroy {
                            session: session(),
                            token: grant.token,
                        });
                    }
                    Some((_, Ending::Rename(to))) => {
                        desk.send(ToStore::Rename {
                            session: session(),
                            token: grant.token,
                            to: to.clone(),
                        });
                    }
                    None => {}
                }
            }
            Phase::Releasing {
                token,
                base,
                delta,
                requeue,
                idle_ms,
            } => desk.send(ToStore::Release {
                session: session(),
                token: *token,
                base: *base,
                delta: delta.clone(),
                requeue: *requeue,
                idle_ms: *idle_ms,
            }),
        }
        if let Some(Returning {
            token,
            is_answered: false,
        }) = self.returning
        {
            self.send_back(id, token, desk);
        }
    }

    /// Gives back, unused, a grant that the process does not want, and remembers it: its message may come again.
    fn turn_down<H: Hook>(&mut self, id: &SessionId, token: Token, desk: &mut Desk<'_, H>) {
        if self.has_turned_down().is_none_or(|last| last < token) {
            self.returning = Some(Returning {
                token,
                is_answered: false,
            });
        }
        self.sent = desk.now;
        self.send_back(id, token, desk);
    }

    /// The newest grant that was given back unused.
    fn has_turned_down(&self) -> Option<Token> {
        self.returning.map(|returning| returning.token)
    }

    /// Forgets the grant that was given back unused once no request could be mistaken for its.
    fn forget_turned_down(&mut self) {
        if self.phase == Phase::Absent {
            self.returning = self.returning.filter(|returning| !returning.is_answered);
        }
    }

    fn send_back<H: Hook>(&self, id: &SessionId, token: Token, desk: &mut Desk<'_, H>) {
        let base = self.version.unwrap_or(Version::NONE);
        let delta = Delta::default();
        desk.send(ToStore::Release {
            session: id.clone(),
            token,
            base,
            delta,
            requeue: None,
            idle_ms: 0,
        });
    }

    pub(crate) fn on_queued(&mut self, queued: Request, place: Ticket) {
        if let Phase::Wanted {
            request, ticket, ..
        } = &mut self.phase
            && *request == queued
        {
            *ticket = Some(place);
        }
    }

    pub(crate) fn on_granted<H: Hook>(
        &mut self,
        id: &SessionId,
        granted: Granted,
        desk: &mut Desk<'_, H>,
    ) {
        let token = granted.token;
        let is_asked = match &self.phase {
            Phase::Held(grant) if grant.token >= token => return, // A repetition, or late.
            Phase::Releasing {
                token: given_back, ..
            } if *given_back >= token => return, // It crossed the release.
            Phase::Wanted { request, .. } => {
                *request == granted.request || desk.makes(Defect::AcceptsOldGrant)
            }
            Phase::Cancelling { request } => *request == granted.request,
            Phase::Releasing { requeue, .. } => *requeue == Some(granted.request),
            Phase::Absent | Phase::Held(_) => false,
        };
        if !is_asked || self.has_turned_down() >= Some(token) {
            return self.turn_down(id, token, desk);
        }
        if !self.take_state(&granted) {
            // It is a difference to a state that was dropped since: ask for the whole.
            self.turn_down(id, token, desk);
            return self.acquire(id, desk);
        }
        self.start_grant(id, &granted, desk);
    }

    /// Takes over the state of a grant; `false` when it needs a base that the process has not.
    fn take_state(&mut self, granted: &Granted) -> bool {
        // The store has accepted the release: what the process sent with it is what it has.
        let has_base = self.version.is_some() || matches!(self.phase, Phase::Releasing { .. });
        match &granted.state {
            State::Unchanged | State::Delta(_) if !has_base => return false,
            State::Unchanged => {}
            State::Delta(delta) => self.apply(delta),
            State::Full(delta) => {
                self.drop_base();
                self.apply(delta);
            }
        }
        self.version = Some(granted.version);
        self.returning = None;
        true
    }

    fn apply(&mut self, delta: &Delta) {
        for change in delta.changes() {
            let slot = self.slot(&change.name) as usize;
            self.slots[slot].value = change.value.clone();
            self.slots[slot].is_dirty = false;
        }
    }

    fn start_grant<H: Hook>(&mut self, id: &SessionId, granted: &Granted, desk: &mut Desk<'_, H>) {
        let token = granted.token;
        let (give_back, ending) = (granted.give_back, None);
        self.phase = Phase::Held(Grant {
            token,
            recall: None,
            is_closed: false,
            give_back,
            ending,
        });
        self.used = desk.now;
        let early = self
            .early_recall
            .take()
            .filter(|(early, _)| *early == token)
            .map(|(_, notice)| notice);
        let early = early.filter(|_| !desk.makes(Defect::ForgetsEarlyRecall));
        let recall = granted.recall.max_by_reason(early);
        // A grant is good for at least one use, also when it is recalled already. Rule 12.
        if !(recall.is_some() && desk.makes(Defect::GrantWithoutUse)) {
            self.admit(id, desk);
        }
        self.refuse_tries(id, desk);
        match recall {
            Some(notice) => self.take_recall(id, notice, desk),
            None => self.settle(id, desk),
        }
    }

    pub(crate) fn on_recall<H: Hook>(
        &mut self,
        id: &SessionId,
        token: Token,
        notice: Notice,
        desk: &mut Desk<'_, H>,
    ) {
        match &self.phase {
            Phase::Held(grant) if grant.token == token => self.take_recall(id, notice, desk),
            Phase::Releasing {
                token: given_back, ..
            } if *given_back == token => self.resend(id, desk),
            Phase::Held(grant) if grant.token > token => {}
            Phase::Wanted { .. }
            | Phase::Cancelling { .. }
            | Phase::Releasing {
                requeue: Some(_), ..
            } if self.has_turned_down() < Some(token) => {
                let rank = |(token, notice): (Token, Notice)| (token, notice.reason);
                if self.early_recall.map(rank) <= Some((token, notice.reason)) {
                    self.early_recall = Some((token, notice));
                }
            }
            _ => {
                self.turn_down(id, token, desk);
            }
        }
    }

    /// Obeys a recall of the grant that the process has. Rules 3 and 12.
    fn take_recall<H: Hook>(&mut self, id: &SessionId, notice: Notice, desk: &mut Desk<'_, H>) {
        let has_threads = !self.lock.holders().is_empty();
        let Phase::Held(grant) = &mut self.phase else {
            return;
        };
        let is_busy = has_threads || grant.ending.is_some();
        if !notice.reason.insists() {
            if is_busy {
                let (token, inside) = (grant.token, self.inside());
                desk.send(ToStore::Busy {
                    session: id.clone(),
                    token,
                    inside,
                    blocked_on: Vec::new(),
                });
            } else {
                self.release(id, desk);
            }
            return;
        }
        let is_new = grant.recall.is_none();
        let late = desk
            .now
            .after(notice.deadline_ms)
            .before(desk.settings.recall_margin_ms);
        if is_new {
            grant.recall = Some((notice, late));
        }
        grant.is_closed = true;
        // Busy is said by the process, which knows what blocks the threads.
        self.owes_busy = has_threads;
        self.settle(id, desk);
    }

    /// The recall's deadline is near: the finished threads' changes are saved, the late ones' are not. Rule 11.
    pub(crate) fn give_up<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        self.poison(id, Poison::Late, desk);
        self.settle(id, desk);
    }

    /// When the grant is given up although threads are inside.
    pub(crate) fn late_due(&self) -> Option<Time> {
        let (_, late) = self.grant()?.recall?;
        (!self.lock.holders().is_empty()).then_some(late)
    }

    /// The driver wants the grant back when it is idle: idle limit, cache limit. Rule 4.
    pub(crate) fn release_if_idle<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        if self.grant().is_some_and(|grant| grant.ending.is_none()) && self.lock.is_free() {
            self.release(id, desk);
        }
    }

    /// Gives the grant back, with all changes that the store has not answered. Rules 3, 7 and 12.
    pub(crate) fn release<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        let Phase::Held(grant) = &self.phase else {
            return;
        };
        let token = grant.token;
        let unanswered = self
            .commit
            .take()
            .filter(|_| !desk.makes(Defect::ReleaseForgetsCommit));
        let mut delta = unanswered.map(|commit| commit.delta).unwrap_or_default();
        for change in self.take_dirty().changes() {
            delta.set(change.name.clone(), change.value.clone());
        }
        self.next_commit.clear(); // Of threads that have left.
        let requeue = (self.lock.waiting() > 0).then(|| desk.draw_request());
        let base = self.version.unwrap_or(Version::NONE);
        let idle_ms = desk.now.since(self.used);
        self.phase = Phase::Releasing {
            token,
            base,
            delta,
            requeue,
            idle_ms,
        };
        self.say(id, desk);
    }

    pub(crate) fn on_released<H: Hook>(
        &mut self,
        id: &SessionId,
        released: Token,
        version: Option<Version>,
        desk: &mut Desk<'_, H>,
    ) {
        if let Some(returning) = &mut self.returning {
            returning.is_answered |= returning.token == released;
        }
        self.forget_turned_down();
        if !matches!(self.phase, Phase::Releasing { token, .. } if token == released) {
            return;
        }
        if version.is_none() {
            return self.lose_release(id, false, desk); // The store has queued the requeue.
        }
        let Phase::Releasing { requeue, .. } = core::mem::take(&mut self.phase) else {
            return;
        };
        self.version = version;
        // What was released with a new request is what the store takes the process to have.
        if !desk.settings.keeps_base && requeue.is_none() {
            self.drop_base();
        }
        self.tidy();
        match requeue {
            Some(request) => {
                self.phase = Phase::Wanted {
                    request,
                    ticket: None,
                    patience: Patience::Wait,
                }
            }
            None => self.acquire(id, desk),
        }
        self.cancel_if_unwanted(id, desk);
    }

    /// Nobody may want the session any more that a release asked for again.
    pub(crate) fn cancel_if_unwanted<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        if let (Phase::Wanted { request, .. }, 0) = (&self.phase, self.lock.waiting()) {
            self.phase = Phase::Cancelling { request: *request };
            self.resend(id, desk);
        }
    }

    /// The grant had ended before its release arrived, or its acceptance was not heard: the client state is worth nothing.
    /// `asks` is whether the store has to be asked again for what the release asked for.
    pub(crate) fn lose_release<H: Hook>(
        &mut self,
        id: &SessionId,
        asks: bool,
        desk: &mut Desk<'_, H>,
    ) {
        let Phase::Releasing { requeue, .. } = core::mem::take(&mut self.phase) else {
            return;
        };
        if !desk.makes(Defect::KeepsDirtyBase) {
            self.drop_base();
        }
        match requeue {
            Some(request) if !asks => {
                self.phase = Phase::Wanted {
                    request,
                    ticket: None,
                    patience: Patience::Wait,
                };
                self.cancel_if_unwanted(id, desk);
            }
            _ => self.acquire(id, desk),
        }
    }

    pub(crate) fn on_revoked<H: Hook>(
        &mut self,
        id: &SessionId,
        revoked: Token,
        desk: &mut Desk<'_, H>,
    ) {
        match self.phase {
            Phase::Held(Grant { token, .. }) if token == revoked => {
                self.lose_grant(id, Poison::Revoked, desk);
                self.acquire(id, desk);
            }
            // The release is under way, and will queue what it asks for.
            Phase::Releasing { token, .. } if token == revoked => {
                self.lose_release(id, false, desk)
            }
            _ => {}
        }
    }

    /// The grant has gone without a release; what was not committed is lost with it.
    pub(crate) fn lose_grant<H: Hook>(
        &mut self,
        id: &SessionId,
        why: Poison,
        desk: &mut Desk<'_, H>,
    ) {
        self.poison(id, why, desk);
        self.phase = Phase::Absent;
        if !desk.makes(Defect::KeepsDirtyBase) {
            self.drop_base();
        }
    }

    /// The lease has ended: the grant is lost, a wait goes on with its ticket. Rule 10.
    pub(crate) fn on_lease_lost<H: Hook>(
        &mut self,
        id: &SessionId,
        why: Poison,
        desk: &mut Desk<'_, H>,
    ) {
        match self.phase {
            Phase::Held(_) if desk.makes(Defect::KeepsGuardsPastLease) => return,
            Phase::Held(_) => self.lose_grant(id, why, desk),
            Phase::Releasing { .. } => return self.lose_release(id, true, desk),
            Phase::Cancelling { .. } => self.phase = Phase::Absent,
            Phase::Wanted { .. } | Phase::Absent => {}
        }
        self.early_recall = None;
        self.returning = None;
        if self.phase == Phase::Absent {
            self.acquire(id, desk);
        }
    }

    /// The store has welcomed the process on a new connection; `is_known` says whether it knows the grant, and `said` is
    /// the last request that can have been in the hello. Rule 15.
    pub(crate) fn on_welcome<H: Hook>(
        &mut self,
        id: &SessionId,
        is_known: bool,
        said: Request,
        desk: &mut Desk<'_, H>,
    ) {
        self.early_recall = None; // It will be said again.
        self.returning = None; // What the hello did not list is void.
        match &self.phase {
            Phase::Held(_) if is_known => self.resend(id, desk),
            Phase::Held(_) => {
                self.lose_grant(id, Poison::Revoked, desk);
                self.acquire(id, desk);
            }
            Phase::Releasing { .. } if is_known => self.resend(id, desk),
            Phase::Releasing { requeue, .. } => {
                let asks = requeue.is_some_and(|request| request > said);
                self.lose_release(id, asks, desk);
            }
            Phase::Wanted { request, .. } if *request > said => self.resend(id, desk),
            Phase::Cancelling { .. } => self.resend(id, desk),
            Phase::Wanted { .. } | Phase::Absent => {}
        }
    }

    /// A request has ended without a grant. `is_victim` says which threads are in a deadlock.
    pub(crate) fn on_refused<H: Hook>(
        &mut self,
        id: &SessionId,
        refused: Request,
        why: &Refusal,
        is_victim: impl Fn(ThreadId) -> bool,
        desk: &mut Desk<'_, H>,
    ) {
        match self.phase {
            Phase::Wanted { request, .. } if request == refused => self.phase = Phase::Absent,
            Phase::Cancelling { request } if request == refused => {
                self.phase = Phase::Absent;
                return self.acquire(id, desk);
            }
            _ => return,
        }
        match why {
            Refusal::WouldBlock => self.refuse_tries(id, desk),
            // A thread's wait ends at the thread's own deadline; until then it asks again.
            Refusal::Cancelled | Refusal::Deadline => {}
            Refusal::Deadlock { .. } => self.refuse_waiters(id, why, is_victim, desk),
            _ => self.refuse_waiters(id, why, |_| true, desk),
        }
        if *why == Refusal::Gone {
            self.drop_base();
        }
        self.acquire(id, desk);
        self.forget_turned_down();
        self.tidy();
    }
}

/// Of two recalls, the one that counts more.
trait MaxByReason {
    fn max_by_reason(self, other: Self) -> Self;
}

impl MaxByReason for Option<Notice> {
    fn max_by_reason(self, other: Self) -> Self {
        [self, other]
            .into_iter()
            .flatten()
            .max_by_key(|notice| notice.reason)
    }
}
