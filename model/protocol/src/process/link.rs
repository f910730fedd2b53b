//! The connection and the lease: hello, welcome, keep-alive, goodbye. Rules 10 and 15.

use super::context::Step;
use super::{Answer, Connection, Poison, ProcessMachine, Session};
use crate::config::StoreLimits;
use crate::id::{Link, Request, SessionId, Time, Token};
use crate::message::{GrantRef, Hello, Refusal, ToProcess, ToStore};
use crate::mutant::Hook;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

impl<H: Hook> ProcessMachine<H> {
    /// Sends the hello: the identity, the grants and the waits of the process.
    pub(crate) fn on_connected(&mut self, step: &mut Step<'_>) {
        // r[connect.superseded-stops] r[lease.goodbye-last]
        if self.has_left {
            return;
        }
        // r[connect.link-rises]
        self.links += 1;
        let link = Link {
            incarnation: self.incarnation,
            number: self.links,
        };
        self.connection = Connection::Greeting(link);
        self.store_minor = 0;
        self.keep_alive = step.now;
        self.asked = None;
        self.requests_said = self.requests;
        // r[reconnect.names-holds]
        let holds = self
            .sessions
            .iter()
            .filter_map(|(id, session)| session.hold(id))
            .collect();
        // r[reconnect.names-waits]
        let waits = self
            .sessions
            .iter()
            .filter_map(|(id, session)| session.acquire_request(id));
        // The process does not know the version of this store yet. r[exists.ends-with-link]
        // r[exists.asks-newer]
        let waits = waits
            .filter(|acquire| self.rules.greets_with(acquire))
            .collect();
        let message = ToStore::Hello(Hello {
            incarnation: self.incarnation,
            minor: crate::MINOR,
            sent: step.now,
            holds,
            waits,
        });
        // r[connect.hello-first]
        step.send(link, message);
    }

    pub(crate) fn on_message(&mut self, link: Link, message: ToProcess, step: &mut Step<'_>) {
        match (self.connection, message) {
            (
                Connection::Greeting(own),
                ToProcess::Welcome {
                    minor,
                    sent,
                    lease_ms,
                    holds,
                    gone,
                    limits,
                },
            ) if own == link => {
                self.connection = Connection::Up(link);
                self.store_minor = minor;
                self.agree_on(limits.as_ref());
                self.extend_lease(step.now, sent, lease_ms);
                if self.has_outlived_lease(step.now) {
                    // The answer took longer than the lease.
                    return self.on_lease_lost(Poison::LeaseLost, step);
                }
                self.on_welcome(holds, gone, step);
            }
            (
                Connection::Up(own) | Connection::Greeting(own),
                ToProcess::LeaseEnded | ToProcess::Full,
            ) if own == link => {
                self.on_lease_lost(Poison::LeaseLost, step);
            }
            (Connection::Up(own) | Connection::Greeting(own), ToProcess::Superseded)
                if own == link =>
            {
                self.is_closing = true; // No thread may wait for a grant that will never come.
                self.is_superseded = true;
                self.on_lease_lost(Poison::Superseded, step);
                self.refuse_everyone(step);
                // r[connect.superseded-stops]
                self.has_left = true;
            }
            (Connection::Up(own), message) if own == link => self.on_answer(message, step),
            // r[connect.only-newest]
            _ => {} // A late message of an old connection. Rule 15.
        }
    }

    /// Adopts the store's limits where they are smaller than the process's own. Rule 18.
    fn agree_on(&mut self, store: Option<&StoreLimits>) {
        let own = &self.settings.limits;
        let store = self.rules.agreed_limits(store);
        // r[limit.of-store]
        self.limits = store.map_or_else(|| own.clone(), |store| own.within(store));
    }

    fn on_welcome(
        &mut self,
        holds: Vec<GrantRef>,
        gone: Vec<(GrantRef, Option<GrantRef>)>,
        step: &mut Step<'_>,
    ) {
        let by_session = |hold: GrantRef| (hold.session, hold.token);
        let mut known: BTreeMap<SessionId, Token> = holds.into_iter().map(by_session).collect();
        // These come first: a thread that asked for the end or rename receives that answer, and not the loss of the
        // grant.
        for (GrantRef { session, token }, renamed) in gone {
            let asked = self
                .sessions
                .get(&session)
                .and_then(|own| own.ending(token));
            // r[reconnect.ended-by-me]
            if asked.is_some_and(|ending| ending.is_done_by(renamed.as_ref())) {
                self.on_gone(&session, token, renamed.as_ref(), step);
                known.extend(renamed.map(by_session));
            }
        }
        let said = Request(core::mem::take(&mut self.requests_said));
        for id in self.session_ids() {
            let own = self.sessions.get(&id).and_then(|session| session.hold(&id));
            let is_known = own.is_some_and(|own| known.get(&id) == Some(&own.token));
            self.in_session(&id, step, |session, id, ctx| {
                session.on_welcome(id, is_known, said, ctx)
            });
        }
    }

    /// Extends the lease, counted from the sending of the question, less the margin. Rule 10.
    fn extend_lease(&mut self, now: Time, sent: Time, lease_ms: u64) {
        // r[lease.from-sent]
        let from = self.rules.lease_from(sent, now);
        let margin = self.rules.lease_margin_ms(self.settings.margin_ms);
        // r[lease.margin]
        let end = from.after(lease_ms).before(margin);
        self.lease = Some(self.lease.map_or(end, |lease| lease.max(end)));
        // r[lease.keeps-alive]
        self.keep_alive = from.after(self.settings.keep_alive_ms);
        self.asked = None;
    }

    /// Returns when this connection counts as silent: the first unanswered keep-alive has waited for half of the
    /// remaining lease. The other half is left for another connection. r[lease.silent]
    pub(crate) fn silent_due(&self) -> Option<Time> {
        let (Connection::Up(_), Some(asked), Some(lease)) =
            (self.connection, self.asked, self.lease)
        else {
            return None;
        };
        // r[lease.silent]
        Some(asked.after(self.wait_left_ms(asked, lease)))
    }

    /// Returns how long a hello waits for its answer, in milliseconds: `resend_ms`, and with a lease no longer than a
    /// keep-alive.
    pub(crate) fn greeting_ms(&self) -> u64 {
        let resend_ms = self.settings.resend_ms;
        self.lease.map_or(resend_ms, |lease| {
            // r[lease.silent]
            resend_ms.min(self.wait_left_ms(self.keep_alive, lease))
        })
    }

    /// Returns how long a message `sent` at this time waits for its answer before the process tries another connection:
    /// half of the lease that was left. The result is at least the margin; otherwise a process that was stopped for
    /// long would not wait for any answer.
    fn wait_left_ms(&self, sent: Time, lease: Time) -> u64 {
        (lease.since(sent) / 2).max(self.settings.margin_ms)
    }

    /// Leaves a silent connection while the lease still runs. The grants stay.
    pub(crate) fn on_silent(&mut self, step: &mut Step<'_>) {
        let Connection::Up(link) = self.connection else {
            return;
        };
        if !self.rules.leaves_silent_link() {
            self.asked = None; // An answer would do the same.
            return;
        }
        // r[lease.silent]
        step.disconnect(link);
        self.lose_connection();
    }

    /// Notes that there is no connection any more. Frees nothing (rule 10).
    pub(crate) fn lose_connection(&mut self) {
        self.connection = Connection::Down;
        self.store_minor = 0;
        self.asked = None;
    }

    /// Returns whether the lease has ended by the clock.
    pub(crate) fn has_outlived_lease(&self, now: Time) -> bool {
        self.lease.is_some_and(|lease| lease < now)
    }

    fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.keys().cloned().collect()
    }

    fn on_answer(&mut self, message: ToProcess, step: &mut Step<'_>) {
        match message {
            ToProcess::Alive {
                sent,
                lease_ms,
                recalls,
            } => {
                self.extend_lease(step.now, sent, lease_ms);
                for (GrantRef { session, token }, info) in recalls {
                    self.in_session(&session, step, |session, id, ctx| {
                        session.on_recall(id, token, info, ctx)
                    });
                }
            }
            ToProcess::Gone {
                session,
                token,
                renamed,
            } => self.on_gone(&session, token, renamed.as_ref(), step),
            ToProcess::Refused {
                session,
                request,
                why,
            } => {
                // r[deadlock.victims]
                let victims = self.victims_of(&why);
                let is_victim = |thread| victims.is_empty() || victims.contains(&thread);
                self.in_session(&session, step, |session, id, ctx| {
                    session.on_refused(id, request, &why, is_victim, ctx);
                });
            }
            message => {
                if let Some(id) = message.session().cloned() {
                    self.in_session(&id, step, |session, id, ctx| {
                        session.on_message(id, message, ctx)
                    });
                }
            }
        }
    }

    /// Handles the end or the rename of a session.
    fn on_gone(
        &mut self,
        id: &SessionId,
        token: Token,
        renamed: Option<&GrantRef>,
        step: &mut Step<'_>,
    ) {
        match renamed {
            None => self.in_session(id, step, |session, id, ctx| {
                session.on_destroyed(id, token, ctx)
            }),
            Some(to) => self.on_renamed(id, token, to, step),
        }
    }

    /// Moves a renamed session to its new id: the grant, the client state and the locks move with it.
    fn on_renamed(
        &mut self,
        from: &SessionId,
        token: Token,
        renamed: &GrantRef,
        step: &mut Step<'_>,
    ) {
        let ending = self.sessions.get(from).and_then(|own| own.ending(token));
        if ending.is_none_or(|ending| !ending.is_done_by(Some(renamed))) {
            return;
        }
        let to = &renamed.session;
        let has_grant = |session: &Session| session.grant().is_some();
        if self.sessions.get(to).is_some_and(|own| has_grant(own)) {
            // The grant came under its new id first, and threads have entered there.
            return self.in_session(from, step, |session, id, ctx| {
                session.lose_grant(id, Poison::Revoked, ctx);
                session.acquire(id, ctx);
            });
        }
        self.in_session(from, step, |session, id, ctx| {
            session.refuse_waiters(id, &Refusal::Gone, |_| true, ctx)
        });
        let Some(mut moved) = self.remove_session(from) else {
            return;
        };
        self.forget_busy(from);
        let waiting = self.remove_session(to);
        let thread = moved.end_renaming(renamed.token);
        if !moved.poisoned.is_empty() {
            // Poisoned threads know the session by its old id, and leave it under that id.
            let left = self.sessions.entry(from.clone()).or_default();
            left.poisoned = core::mem::take(&mut moved.poisoned);
        }
        // r[rename.new-hold]
        self.insert_session(to.clone(), moved);
        if let Some(waiting) = waiting {
            self.in_session(to, step, |session, id, ctx| {
                session.adopt(id, &waiting, ctx)
            });
        }
        if let Some(thread) = thread {
            step.answer(thread, from, Answer::Renamed(renamed.clone()));
        }
        self.in_session(to, step, Session::settle);
    }

    pub(crate) fn on_keep_alive(&mut self, step: &mut Step<'_>) {
        // The next keep-alive is due when this one is answered. Without an answer, this one is repeated.
        self.keep_alive = step.now.after(self.settings.resend_ms);
        if let Connection::Up(link) = self.connection {
            // r[lease.keeps-alive]
            step.send(link, ToStore::KeepAlive { sent: step.now });
            self.asked.get_or_insert(step.now);
        }
    }

    /// Handles the end of the lease, by the process's own clock or by a message of the store: every guard is poisoned.
    /// Rule 10.
    pub(crate) fn on_lease_lost(&mut self, why: Poison, step: &mut Step<'_>) {
        if let Connection::Greeting(link) | Connection::Up(link) = self.connection {
            step.disconnect(link);
        }
        self.lose_connection();
        self.lease = None;
        // r[lease.lost]
        for id in self.session_ids() {
            self.in_session(&id, step, |session, id, ctx| {
                session.on_lease_lost(id, why, ctx)
            });
        }
    }

    pub(crate) fn on_shutdown(&mut self, step: &mut Step<'_>) {
        self.is_closing = true;
        self.refuse_everyone(step);
    }

    /// Refuses all waiting threads that are not inside, and gives idle grants back.
    fn refuse_everyone(&mut self, step: &mut Step<'_>) {
        for id in self.session_ids() {
            // r[lease.says-goodbye]
            self.in_session(&id, step, Session::close);
        }
    }

    pub(crate) fn say_goodbye_when_done(&mut self, step: &mut Step<'_>) {
        if !self.is_closing || self.has_left {
            return;
        }
        let Connection::Up(link) = self.connection else {
            return;
        };
        // r[lease.goodbye-last]
        if self.index.unsettled == 0 {
            // r[lease.says-goodbye]
            step.send(link, ToStore::Goodbye);
            step.disconnect(link);
            self.has_left = true;
            self.lose_connection();
            self.lease = None;
        }
    }
}
