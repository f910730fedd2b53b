//! The trace events of one step, in order, for the rendering of a path.
//!
//! Two states do not show which message was lost, which answer a thread received, or that a message met a full channel.
//! The draft and the player record these events when a step is rendered. An exploration records none.

use super::{Action, Model, System};
use tenure_protocol::process::{Answer, Call};
use tenure_protocol::{Hook, SessionId, ThreadId, ToProcess, ToStore, Update};

/// A trace event. Processes are numbered from 0.
#[derive(Clone, Debug)]
pub(crate) enum TraceEvent {
    /// A thread calls its process.
    Called {
        process: usize,
        thread: ThreadId,
        session: SessionId,
        call: Call,
    },
    /// A thread receives an answer.
    Answered {
        process: usize,
        thread: ThreadId,
        session: SessionId,
        answer: Answer,
    },
    /// A message to the store enters its channel, or is lost because the connection is gone or the channel is full.
    SentUp {
        process: usize,
        message: ToStore,
        is_under_way: bool,
    },
    /// A message to a process enters its channel, or is lost.
    SentDown {
        process: usize,
        message: ToProcess,
        is_under_way: bool,
    },
    /// A cut of the connection is queued for the store, behind all messages under way.
    Ended { process: usize },
    /// The message at this place of the channel arrives. The message leaves the channel unless `stays` is set.
    Arrived {
        process: usize,
        is_up: bool,
        place: usize,
        stays: bool,
    },
    /// The message at this place of the channel is lost.
    Lost {
        process: usize,
        is_up: bool,
        place: usize,
    },
    /// An update has become durable.
    Durable(Update),
}

/// A step with its trace events.
#[derive(Clone)]
pub(crate) struct StepEvents<H> {
    /// The state after the step, with the numbers that the machines drew.
    pub(crate) next: System<H>,
    /// The trace events, in order.
    pub(crate) events: Vec<TraceEvent>,
}

impl<H: Hook> Model<H> {
    /// Returns the state after a transition, with the numbers that the machines drew, not in canonical form. A
    /// comparison with the state before shows what the step changed. The machines only compare numbers, so an action
    /// leads to the same state in either form, apart from the numbers.
    #[must_use]
    pub fn raw_successor(&self, state: &System<H>, action: Action) -> System<H> {
        self.tell(state, action).next
    }
}
