//! The context of a step: the time, the settings, the connection, the request counter, and the outputs.

use super::Answer;
use crate::config::{Limits, ProcessSettings};
use crate::id::{Link, Request, SessionId, ThreadId, Time};
use crate::message::{Refusal, ToStore};
use crate::mutant::Hook;
use alloc::vec::Vec;

/// An action that a process asks of its driver. The driver carries the actions out in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// A message to send on the connection `link`. The driver drops it when the connection is gone.
    Send {
        /// The connection.
        link: Link,
        /// The message.
        message: ToStore,
    },
    /// An answer to a thread.
    Answer {
        /// The thread.
        thread: ThreadId,
        /// The session.
        session: SessionId,
        /// The answer.
        answer: Answer,
    },
    /// A connection to close. The driver opens a new one unless the process has left.
    Disconnect {
        /// The connection.
        link: Link,
    },
}

/// The time and the outputs of a step.
pub(crate) struct Step<'a> {
    pub(crate) now: Time,
    pub(crate) out: &'a mut Vec<Output>,
}

impl Step<'_> {
    pub(crate) fn reborrow(&mut self) -> Step<'_> {
        let Self { now, out } = self;
        Step { now: *now, out }
    }

    pub(crate) fn send(&mut self, link: Link, message: ToStore) {
        self.out.push(Output::Send { link, message });
    }

    pub(crate) fn answer(&mut self, thread: ThreadId, session: &SessionId, answer: Answer) {
        self.out.push(Output::Answer {
            thread,
            session: session.clone(),
            answer,
        });
    }

    pub(crate) fn disconnect(&mut self, link: Link) {
        self.out.push(Output::Disconnect { link });
    }
}

/// The context of a session in a step; see the [module](self).
pub(crate) struct StepContext<'a, H> {
    pub(crate) step: Step<'a>,
    pub(crate) rules: H,
    pub(crate) settings: &'a ProcessSettings,
    /// The limits on the writes of threads.
    pub(crate) limits: &'a Limits,
    pub(crate) link: Option<Link>,
    /// The highest minor version of the store, if there is a link.
    pub(crate) store_minor: u8,
    pub(crate) requests: &'a mut u64,
    pub(crate) is_closing: bool,
}

impl<H: Hook> StepContext<'_, H> {
    /// Returns whether the connected store does not understand a request that is only for an existing session.
    pub(crate) fn is_store_too_old(&self) -> bool {
        self.link.is_some() && !self.rules.understands_existing(self.store_minor)
    }

    /// Sends a message if there is a connection. Otherwise the next hello says the same (rule 15).
    pub(crate) fn send(&mut self, message: ToStore) {
        if let Some(link) = self.link {
            self.step.send(link, message);
        }
    }

    pub(crate) fn answer(&mut self, thread: ThreadId, session: &SessionId, answer: Answer) {
        self.step.answer(thread, session, answer);
    }

    pub(crate) fn refuse(&mut self, thread: ThreadId, session: &SessionId, why: Refusal) {
        self.answer(thread, session, Answer::Refused(why));
    }

    pub(crate) fn draw_request(&mut self) -> Request {
        // r[end.requests-rise]
        *self.requests += 1;
        Request(*self.requests)
    }
}
