//! What happens within a step, in order: what a rendering shows and a state does not show.
//!
//! Two states do not say which message was lost, what a thread was answered, or that something was sent into a channel
//! that was full. When a step is taken to be told, the draft and the player note it down; an exploration notes nothing.

use super::{Action, Model, System};
use tenure_protocol::process::{Answer, Call};
use tenure_protocol::{Hook, SessionId, ThreadId, ToProcess, ToStore, Update};

/// Something that happens within a step. Processes are numbered from 0.
#[derive(Clone, Debug)]
pub(crate) enum TraceEvent {
    /// A thread calls its process.
    Called {
        process: usize,
        thread: ThreadId,
        session: SessionId,
        call: Call,
    },
    /// A thread is answered.
    Answered {
        process: usize,
        thread: ThreadId,
        session: SessionId,
        answer: Answer,
    },
    /// A message is put at the end of its channel; or goes nowhere, since the connection is gone or the channel full.
    SentUp {
        process: usize,
        message: ToStore,
        is_under_way: bool,
    },
    /// The same, to a process.
    SentDown {
        process: usize,
        message: ToProcess,
        is_under_way: bool,
    },
    /// Behind all that is under way to the store, it will learn that the connection is gone.
    Ended { process: usize },
    /// What is at this place of the channel arrives. It leaves the channel unless it stays.
    Arrived {
        process: usize,
        is_up: bool,
        place: usize,
        stays: bool,
    },
    /// What is at this place of the channel is lost.
    Lost {
        process: usize,
        is_up: bool,
        place: usize,
    },
    /// An update has become durable.
    Durable(Update),
}

/// A step with what happened in it.
#[derive(Clone)]
pub(crate) struct StepEvents<H> {
    /// The state after it, with the numbers that the machines drew.
    pub(crate) next: System<H>,
    /// In order.
    pub(crate) events: Vec<TraceEvent>,
}

impl<H: Hook> Model<H> {
    /// The state after a transition with the numbers that the machines drew, not in canonical form: what to compare a
    /// state with to see what a step changed. The machines only compare numbers, so actions lead to the same states
    /// either way, less their numbers.
    #[must_use]
    pub fn raw_successor(&self, state: &System<H>, action: Action) -> System<H> {
        self.tell(state, action).next
    }
}
