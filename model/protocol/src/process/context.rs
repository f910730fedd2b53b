//! What every step of a session shares: the time, the settings, the connection, the request counter, and the outputs.

use super::Answer;
use crate::EXISTING_SINCE;
use crate::config::{Limits, ProcessSettings};
use crate::id::{Link, Request, SessionId, ThreadId, Time};
use crate::message::{Refusal, ToStore};
use crate::mutant::{Hook, ProtocolMutant};
use alloc::vec::Vec;

/// What a process wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Send this on the connection `link`. It is dropped when the connection has gone.
    Send {
        /// On which connection.
        link: Link,
        /// What.
        message: ToStore,
    },
    /// Tell a thread.
    Answer {
        /// Which thread.
        thread: ThreadId,
        /// Of which session.
        session: SessionId,
        /// What.
        answer: Answer,
    },
    /// Close this connection, and open a new one unless the process has left.
    Disconnect {
        /// Which.
        link: Link,
    },
}

/// See the [module](self).
pub(crate) struct StepContext<'a, H> {
    pub(crate) now: Time,
    pub(crate) hook: H,
    pub(crate) settings: &'a ProcessSettings,
    /// What threads may write.
    pub(crate) limits: &'a Limits,
    pub(crate) link: Option<Link>,
    /// The highest minor version of the store, if there is a link.
    pub(crate) store_minor: u8,
    pub(crate) requests: &'a mut u64,
    pub(crate) is_closing: bool,
    pub(crate) out: &'a mut Vec<Output>,
}

impl<H: Hook> StepContext<'_, H> {
    pub(crate) fn is_mutant(&self, mutant: ProtocolMutant) -> bool {
        self.hook.is_mutant(mutant)
    }

    /// Whether the store is known not to understand that a session is wanted only if it exists.
    pub(crate) fn is_store_too_old(&self) -> bool {
        self.link.is_some()
            && self.store_minor < EXISTING_SINCE
            && !self.is_mutant(ProtocolMutant::AsksOlderStore)
    }

    /// Sends, if there is a connection. If not, the hello will say it (rule 15).
    pub(crate) fn send(&mut self, message: ToStore) {
        if let Some(link) = self.link {
            self.out.push(Output::Send { link, message });
        }
    }

    pub(crate) fn answer(&mut self, thread: ThreadId, session: &SessionId, answer: Answer) {
        self.out.push(Output::Answer {
            thread,
            session: session.clone(),
            answer,
        });
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
