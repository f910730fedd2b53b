//! The properties of every state: `always` for safety, and `sometimes` for the races that must be reached.
//!
//! The properties of one machine are the invariants of `tenure_protocol::invariant`, with the same functions. This
//! module adds the properties that need more than one machine, and the violations that `watch` finds in a step. Each
//! property names the rule that it follows.

mod always;
mod conditions;
mod scope;
mod sometimes;

use crate::system::{Model, PROCESSES, SESSIONS, System};
use crate::universe::Universe;
use stateright::Property;
use tenure_protocol::Hook;

/// The kind of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A safety property: it holds in every state.
    Always,
    /// A reachability property: it holds in some state, so the race is reached.
    Sometimes,
    /// A progress property: every waiting thread is answered in the end. Checked over the whole graph, under weak
    /// fairness.
    Progress,
}

impl Kind {
    /// Returns the kind's name in tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Sometimes => "sometimes",
            Self::Progress => "progress",
        }
    }
}

/// A property, with the universes in which it is checked.
#[derive(Clone, Copy, Debug)]
pub struct Checked<H: Hook> {
    /// The name of the property.
    pub name: &'static str,
    /// The number of the design rule that the property follows.
    pub rule: u8,
    /// The ids of the protocol rules that the property checks. `docs/src/protocol/rules.md` names the property at these
    /// rules.
    pub rules: &'static [&'static str],
    /// The kind of the property.
    pub kind: Kind,
    /// The statement of the property, for a reader of a counterexample.
    pub text: &'static str,
    condition: fn(&Model<H>, &System<H>) -> bool,
    applies: fn(&Universe) -> bool,
}

impl<H: Hook> Checked<H> {
    /// Returns the property in the form that Stateright takes.
    #[must_use]
    pub fn property(self) -> Property<Model<H>> {
        match self.kind {
            Kind::Always => Property::always(self.name, self.condition),
            Kind::Sometimes => Property::sometimes(self.name, self.condition),
            Kind::Progress => {
                unreachable!("no `Checked` is a progress property: `PROGRESS` lists these")
            }
        }
    }

    /// Returns whether the property holds in a state.
    #[must_use]
    pub fn holds(&self, model: &Model<H>, state: &System<H>) -> bool {
        (self.condition)(model, state)
    }
}

/// A progress property: its name, the design rule that it follows, the ids of the rules that it checks, and its text.
pub type Progress = (&'static str, u8, &'static [&'static str], &'static str);

/// The two progress properties.
pub const PROGRESS: [Progress; 2] = [
    (
        "waiting ends",
        14,
        &[
            "connect.answers-hello",
            "connect.again",
            "queue.passes-by",
            "recall.deadline-kept",
            "recall.revokes",
            "gate.insiders",
            "gate.one-use",
            "gate.requeues",
            "release.answered",
            "release.requeued",
            "lease.ends",
            "reconnect.names-waits",
            "reconnect.unclaimed",
            "reconnect.untold",
            "reconnect.waits",
            "reconnect.repeats",
            "try.recalls",
            "exists.absent",
            "exists.told",
            "exists.ends-with-link",
            "end.answered",
            "end.cancelled",
            "end.resends",
            "destroy.waiters",
            "deadlock.found",
            "deadlock.says-again",
            "deadlock.local",
            "deadlock.victims",
            "limit.told",
            "thread.together",
            "thread.deadline",
            "thread.asks",
        ],
        "every waiting thread is granted its request, refused, or notified that the session has ended",
    ),
    (
        "recalled leads to free",
        3,
        &[
            "connect.again",
            "grant.returns-unasked",
            "recall.repeated",
            "recall.reminds",
            "recall.revokes",
            "recall.obeyed",
            "recall.unknown",
            "recall.crossed",
            "release.answered",
        ],
        "every recalled grant comes back to the store",
    ),
];

/// The first bit of the obligations of recalled holders. See [`pending`].
const RECALLS_FROM: usize = 9;

/// Returns the pending obligations as bits: one bit for each waiting thread, and one for each recalled holder.
pub(crate) fn pending<H: Hook>(state: &System<H>) -> u64 {
    let mut bits = 0;
    for (index, process) in state.each_process() {
        for (thread, own) in process.threads.iter().enumerate() {
            bits |= u64::from(own.is_waiting) << (index * 3 + thread);
        }
    }
    for (at, id) in SESSIONS.iter().enumerate() {
        let Some(session) = state.store.machine.session(id) else {
            continue;
        };
        let is_recalled = session
            .recall()
            .is_some_and(|recall| recall.reason.insists());
        if let (Some(holder), true) = (session.holder(), is_recalled) {
            let index = PROCESSES
                .iter()
                .position(|process| process == holder)
                .expect("only the processes of the model connect to the store");
            bits |= 1 << (RECALLS_FROM + at * 3 + index);
        }
    }
    bits
}

/// Returns the progress property of an obligation, and the thread or recall that waits.
#[must_use]
pub fn obligation(bit: u8) -> (usize, String) {
    let bit = usize::from(bit);
    if bit < RECALLS_FROM {
        (
            0,
            format!("thread t{} of process p{}", bit % 3 + 1, bit / 3 + 1),
        )
    } else {
        let (session, process) = ((bit - RECALLS_FROM) / 3, (bit - RECALLS_FROM) % 3);
        (
            1,
            format!("the recall of s{} from p{}", session + 1, process + 1),
        )
    }
}

/// Returns the properties of a universe, in the order in which they are shown.
pub fn of<H: Hook>(universe: &Universe) -> impl Iterator<Item = Checked<H>> {
    all()
        .into_iter()
        .filter(|checked| (checked.applies)(universe))
}

/// Returns all properties.
#[must_use]
pub fn all<H: Hook>() -> Vec<Checked<H>> {
    let mut all = always::all();
    all.extend(sometimes::all());
    all
}
