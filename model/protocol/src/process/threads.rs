//! Threads: lock, write, unlock, and the gate. Rules 11 to 13.
//!
//! Threads that are inside come before those that are not, at the gate and in the queue: a thread inside that had to wait
//! behind one outside could never leave, and with the gate closed neither could get on (rule 12).

use super::desk::Desk;
use super::session::{Ending, Grant, Phase, Session, Slot, ThreadClaim, Wanted};
use super::{Answer, Call, Names, Poison};
use crate::attributes::Value;
use crate::defect::{Defect, Hook};
use crate::id::{AttributeName, SessionId, ThreadId, Time};
use crate::message::{Limited, Patience, Refusal, ToStore};

impl Session {
    pub(crate) fn call<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        call: &Call,
        desk: &mut Desk<'_, H>,
    ) {
        match call {
            Call::Lock {
                names,
                patience,
                until,
            } => self.lock_for(id, thread, names, (*patience, *until), desk),
            Call::Abandon => self.end_wait(id, thread, Refusal::Cancelled, desk),
            Call::Write { name, value } => self.write(id, thread, name, value.as_ref(), desk),
            Call::Unlock(names) => self.unlock(id, thread, names, true, desk),
            Call::Discard(names) => {
                let keeps = desk.makes(Defect::DiscardKeepsWrites);
                self.unlock(id, thread, names, keeps, desk);
            }
            Call::Commit => self.commit_of(id, thread, desk),
            Call::Destroy => self.end_session(id, thread, Ending::Destroy, desk),
            Call::Rename(to) => self.end_session(id, thread, Ending::Rename(to.clone()), desk),
        }
    }

    fn lock_for<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        names: &Names,
        (patience, until): (Patience, Time),
        desk: &mut Desk<'_, H>,
    ) {
        if let Some(answer) = self.lock_misuse(thread, names, desk) {
            return desk.answer(thread, id, answer);
        }
        let claim = ThreadClaim {
            thread,
            wanted: self.wanted(names),
            patience,
            until,
        };
        if let (Phase::Held(grant), true) = (&self.phase, self.may_enter(&claim, desk)) {
            let token = grant.token;
            self.lock.hold(claim);
            return desk.answer(thread, id, Answer::Locked(token));
        }
        if patience == Patience::Try && !self.may_try() {
            self.tidy();
            return desk.refuse(thread, id, Refusal::WouldBlock);
        }
        if self.lock.waiting() >= desk.settings.limits.threads_max {
            return desk.refuse(thread, id, Refusal::Limit(Limited::Threads));
        }
        if desk.makes(Defect::LifoAtAttribute) {
            self.lock.enqueue_before(claim, |_| true);
        } else {
            self.lock.enqueue(claim);
        }
        self.want(id, patience, desk);
    }

    /// Why a thread may not even ask.
    fn lock_misuse<H: Hook>(
        &self,
        thread: ThreadId,
        names: &Names,
        desk: &Desk<'_, H>,
    ) -> Option<Answer> {
        if let Some(why) = self.poison_of(thread) {
            return Some(Answer::Poisoned(why));
        }
        let is_named = |claim: &&ThreadClaim| match names {
            Names::All => true,
            Names::One(name) => self.claims(claim, name),
            Names::Many(names) => names.iter().any(|name| self.claims(claim, name)),
        };
        let mut own = self
            .lock
            .holders()
            .iter()
            .filter(|claim| claim.thread == thread);
        let is_waiting = self.lock.waiters().any(|claim| claim.thread == thread);
        if own.any(|claim| is_named(&claim)) || is_waiting {
            return Some(Answer::Refused(Refusal::AlreadyLocked));
        }
        (desk.is_closing && !self.is_inside(thread))
            .then_some(Answer::Refused(Refusal::ShuttingDown))
    }

    fn claims(&self, claim: &ThreadClaim, name: &AttributeName) -> bool {
        match self.slots.binary_search_by(|slot| slot.name.cmp(name)) {
            Ok(slot) => claim
                .wanted
                .has(u32::try_from(slot).expect("fewer than 2^32 slots")),
            Err(_) => claim.wanted == Wanted::All,
        }
    }

    /// The rank of a claim at the gate; `None` when it may not pass. Rule 12.
    fn rank<H: Hook>(&self, claim: &ThreadClaim, desk: &Desk<'_, H>) -> Option<u8> {
        let lets_in = self.grant().is_none_or(Grant::lets_in);
        if self.is_inside(claim.thread) {
            return (lets_in || !desk.makes(Defect::RefusesInsiders)).then_some(0);
        }
        (lets_in || desk.makes(Defect::AdmitsAfterRecall)).then_some(1)
    }

    /// Whether a thread that asks now may go in at once.
    fn may_enter<H: Hook>(&self, claim: &ThreadClaim, desk: &Desk<'_, H>) -> bool {
        let Some(own) = self.rank(claim, desk) else {
            return false;
        };
        let goes_before = |other: &ThreadClaim| {
            self.rank(other, desk).is_some_and(|theirs| theirs <= own)
                && crate::lock::Claim::conflicts(other, claim)
        };
        self.lock.fits(claim)
            && (desk.makes(Defect::Barges) || !self.lock.waiters().any(goes_before))
    }

    /// Whether a thread that only tries may ask the store: not when it would stand behind others there. Rule 13.
    fn may_try(&self) -> bool {
        matches!(
            self.phase,
            Phase::Absent
                | Phase::Wanted {
                    patience: Patience::Try,
                    ..
                }
        )
    }

    /// Asks the store for the session, or asks more patiently.
    pub(crate) fn want<H: Hook>(
        &mut self,
        id: &SessionId,
        wanted: Patience,
        desk: &mut Desk<'_, H>,
    ) {
        match &mut self.phase {
            Phase::Absent => self.acquire(id, desk),
            Phase::Wanted { patience, .. } if *patience < wanted => {
                *patience = wanted;
                self.refuse_tries(id, desk);
                self.resend(id, desk);
            }
            _ => {}
        }
    }

    /// Refuses the threads that only try.
    pub(crate) fn refuse_tries<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        while let Some(claim) = self
            .lock
            .remove_waiter(|claim| claim.patience == Patience::Try)
        {
            desk.refuse(claim.thread, id, Refusal::WouldBlock);
        }
    }

    /// Refuses all threads that wait and that `is_meant`.
    pub(crate) fn refuse_waiters<H: Hook>(
        &mut self,
        id: &SessionId,
        why: &Refusal,
        is_meant: impl Fn(ThreadId) -> bool,
        desk: &mut Desk<'_, H>,
    ) {
        while let Some(claim) = self.lock.remove_waiter(|claim| is_meant(claim.thread)) {
            desk.refuse(claim.thread, id, why.clone());
        }
    }

    /// A wait ends without a grant: given up by the thread, or its deadline. Rule 14.
    pub(crate) fn end_wait<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        why: Refusal,
        desk: &mut Desk<'_, H>,
    ) {
        let is_it = |claim: &ThreadClaim| claim.thread == thread;
        if desk.makes(Defect::AbandonLeavesWaiter) {
            if self.lock.waiters().any(is_it) {
                desk.refuse(thread, id, why);
            }
            return;
        }
        if self.lock.remove_waiter(is_it).is_none() {
            return; // The lock crossed the end of the wait, and has answered it.
        }
        desk.refuse(thread, id, why);
        if let (Phase::Wanted { request, .. }, 0) = (&self.phase, self.lock.waiting()) {
            let request = *request;
            self.phase = Phase::Cancelling { request };
            self.sent = desk.now;
            desk.send(ToStore::Cancel {
                session: id.clone(),
                request,
            });
        }
        self.settle(id, desk);
    }

    fn write<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        name: &AttributeName,
        value: Option<&Value>,
        desk: &mut Desk<'_, H>,
    ) {
        if self.poison_of(thread).is_some() {
            return; // It was told; what it writes is discarded.
        }
        if !self
            .lock
            .holders()
            .iter()
            .any(|claim| claim.thread == thread && self.claims(claim, name))
        {
            return desk.refuse(thread, id, Refusal::NotHeld);
        }
        if let Some(limited) = self.limit_of(thread, name, value, desk) {
            return desk.refuse(thread, id, Refusal::Limit(limited));
        }
        let slot = self.slot(name) as usize;
        self.slots[slot].written = Some(value.cloned());
    }

    /// Which limit a write would pass. Rule 18.
    fn limit_of<H: Hook>(
        &self,
        thread: ThreadId,
        name: &AttributeName,
        value: Option<&Value>,
        desk: &Desk<'_, H>,
    ) -> Option<Limited> {
        let value = value?;
        let limits = &desk.settings.limits;
        // What is locked together is unlocked or discarded together. Of what others have written, each may come or not.
        let own = self
            .lock
            .holders()
            .iter()
            .find(|claim| claim.thread == thread && self.claims(claim, name));
        let length = |value: &Option<Value>| value.as_ref().map(Value::len);
        let values = self.slots.iter().enumerate().filter_map(|(place, slot)| {
            let place = u32::try_from(place).expect("fewer than 2^32 slots");
            let bytes = match &slot.written {
                _ if slot.name == *name => None,
                None => length(&slot.value),
                Some(written) if own.is_some_and(|own| own.wanted.has(place)) => length(written),
                Some(written) => length(written).max(length(&slot.value)),
            }?;
            Some(slot.name.as_bytes().len() + bytes)
        });
        let (count, bytes) = values.fold(
            (1, name.as_bytes().len() + value.len()),
            |(count, sum), bytes| (count + 1, sum + bytes),
        );
        if value.len() > limits.attribute_bytes_max {
            Some(Limited::AttributeBytes)
        } else if count > limits.attributes_max {
            Some(Limited::Attributes)
        } else {
            (bytes > limits.session_bytes_max).then_some(Limited::SessionBytes)
        }
    }

    fn unlock<H: Hook>(
        &mut self,
        id: &SessionId,
        thread: ThreadId,
        names: &Names,
        keeps: bool,
        desk: &mut Desk<'_, H>,
    ) {
        let wanted = self.wanted(names);
        let is_own = |claim: &ThreadClaim| claim.thread == thread && claim.wanted == wanted;
        let is_stranger_allowed = desk.makes(Defect::UnlockByStranger);
        let claim = self.lock.remove_holder(is_own).or_else(|| {
            self.lock
                .remove_holder(|claim| is_stranger_allowed && claim.wanted == wanted)
        });
        if claim.is_none() {
            self.tidy();
            match self
                .poisoned
                .iter()
                .position(|(poisoned, _)| *poisoned == thread)
            {
                Some(place) => drop(self.poisoned.remove(place)),
                None => desk.refuse(thread, id, Refusal::NotHeld),
            }
            return;
        }
        self.merge(&wanted, keeps);
        self.used = desk.now;
        self.settle(id, desk);
    }

    /// Takes a write set into the client state, or discards it.
    pub(crate) fn merge(&mut self, wanted: &Wanted, keeps: bool) {
        let merge = |slot: &mut Slot| {
            if let (Some(written), true) = (slot.written.take(), keeps) {
                slot.is_dirty |= written != slot.value;
                slot.value = written;
            }
        };
        match wanted {
            Wanted::All => self.slots.iter_mut().for_each(merge),
            Wanted::One(place) => merge(&mut self.slots[*place as usize]),
            Wanted::Many(places) => places
                .iter()
                .for_each(|place| merge(&mut self.slots[*place as usize])),
        }
    }

    /// Goes on as far as the rules allow: lets threads in, and gives the grant back when it is due.
    pub(crate) fn settle<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        self.admit(id, desk);
        let Phase::Held(grant) = &self.phase else {
            return;
        };
        if grant.ending.is_some() {
            return; // Its answer says what becomes of the grant.
        }
        let is_recalled = grant
            .recall
            .is_some_and(|(notice, _)| notice.reason.insists());
        let is_idle = self.lock.is_free();
        if self.lock.holders().is_empty() {
            let is_tired = is_idle && (grant.give_back || desk.makes(Defect::NeverKeeps));
            if is_recalled || is_tired || (desk.is_closing && is_idle) {
                self.release(id, desk);
            } else if is_idle {
                self.tidy();
            }
        } else if is_recalled {
            if desk.makes(Defect::ReleasesWhileInside) {
                return self.release(id, desk);
            }
            // Under a recall each write set is made durable as its thread leaves. Rule 11.
            self.send_commit(id, desk);
        }
    }

    /// Lets in whoever may go in.
    pub(crate) fn admit<H: Hook>(&mut self, id: &SessionId, desk: &mut Desk<'_, H>) {
        while let Phase::Held(grant) = &self.phase {
            let token = grant.token;
            if self.lock.waiting() == 0 {
                return;
            }
            let Some(place) = self.lock.next(|claim| self.rank(claim, desk)) else {
                return;
            };
            let thread = self.lock.admit(place).thread;
            desk.answer(thread, id, Answer::Locked(token));
        }
    }

    /// The grant is lost: whoever is inside is told, and its writes are discarded. Rules 10 and 11.
    pub(crate) fn poison<H: Hook>(&mut self, id: &SessionId, why: Poison, desk: &mut Desk<'_, H>) {
        let keeps = why == Poison::Late && desk.makes(Defect::AppliesLateWrites);
        self.merge(&Wanted::All, keeps);
        if why != Poison::Late {
            self.commit = None; // Of a late thread's session it is released with what the others finished. Rule 11.
        }
        self.next_commit.clear();
        if let Phase::Held(grant) = &mut self.phase
            && let Some((thread, _)) = grant.ending.take()
            && !self.is_inside(thread)
        {
            desk.answer(thread, id, Answer::Poisoned(why)); // It has left, and waits for this answer alone.
        }
        for claim in self.lock.remove_holders() {
            if self.poison_of(claim.thread).is_none() {
                self.poisoned.push((claim.thread, why));
                // The wait for a further attribute, if any, ends with this answer. Rule 14.
                self.lock
                    .remove_waiter(|waiter| waiter.thread == claim.thread);
                desk.answer(claim.thread, id, Answer::Poisoned(why));
            }
        }
    }
}
