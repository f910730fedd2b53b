//! One step of a store: what happens on each input.

use super::context::StepContext;
use super::sessions::Sessions;
use super::{Busy, Input, Timer};
use crate::id::{Link, ProcessId, SessionId};
use crate::message::ToStore;
use crate::mutant::Hook;

/// A step of a store; see the [module](self). It has the whole store, in two parts, because a session takes its own
/// step with the context.
pub(crate) struct Step<'a, H> {
    pub(crate) ctx: StepContext<'a, H>,
    pub(crate) sessions: &'a mut Sessions<H>,
}

impl<H: Hook> Step<'_, H> {
    pub(crate) fn take(&mut self, input: Input) {
        match input {
            Input::Message {
                process,
                link,
                message,
            } => self.on_message(&process, link, message),
            Input::Disconnected { process, link } => self.on_disconnected(&process, link),
            Input::Timer(timer) => self.on_timer(timer),
            Input::Recall(session) => self.on_operator_recall(&session),
            Input::Admission(admission) => self.on_admission(admission),
        }
    }

    fn on_message(&mut self, process: &ProcessId, link: Link, message: ToStore) {
        // A hello begins a connection. Any other message must come on the process's newest one.
        let is_hello = matches!(message, ToStore::Hello(_));
        if !is_hello && !self.knows(process, link, &message) {
            return;
        }
        match message {
            ToStore::Hello(hello) => self.on_hello(process, link, hello),
            ToStore::KeepAlive { sent } => self.on_keep_alive(process, sent),
            ToStore::Goodbye => self.on_goodbye(process),
            ToStore::Acquire(acquire) => self.on_acquire(process, acquire),
            ToStore::Cancel { session, request } => self.on_cancel(process, &session, request),
            ToStore::Commit(commit) => self.on_commit(process, commit),
            ToStore::Release(release) => self.on_release(process, release),
            ToStore::Busy {
                session,
                token,
                inside,
                blocked_on,
            } => {
                let busy = Busy { inside, blocked_on };
                self.on_busy(process, &session, token, busy);
            }
            ToStore::Destroy { session, token } => self.on_destroy(process, &session, token),
            ToStore::Rename { session, token, to } => self.on_rename(process, &session, token, to),
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Lease(process) => self.on_lease_end(&process),
            Timer::Remind(session) => self.on_remind(&session),
            Timer::Revoke(session) => self.on_revoke(&session),
            Timer::Wait(session, process) => self.on_wait_end(&session, &process),
            Timer::Expire(session) => self.on_expire(&session),
        }
    }

    /// Removes a session that has neither a record, nor a holder, nor waiters.
    pub(crate) fn tidy(&mut self, id: &SessionId) {
        if self
            .sessions
            .get(id)
            .is_some_and(|session| session.lock.is_free() && !session.record.exists())
        {
            self.sessions.remove(id);
        }
    }
}
