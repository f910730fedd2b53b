//! The operations of a history. Every operation is valid in every state, or has no effect there. So a history stays
//! valid when proptest removes parts of it.

use super::task::KNOWN;
use proptest::collection::vec;
use proptest::prelude::*;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::WaitMode;
use tenure_protocol::process::Names;
use tenure_protocol::{AttributeName, Limits, ProcessSettings, SessionId, StoreSettings, ThreadId};

/// The number of threads.
const THREADS: u64 = 4;

/// A whole history.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) setup: Setup,
    pub(crate) ops: Vec<Op>,
}

/// The conditions of a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Messages arrive as soon as they are sent.
    pub(crate) carries: bool,
    /// A task is polled as soon as it is woken.
    pub(crate) polls: bool,
    /// Only a few threads may wait for a session, and the process may hold only a few sessions.
    pub(crate) is_tight: bool,
    /// Sessions may have only a few attributes and a few bytes.
    pub(crate) is_small: bool,
    /// The number of grants in a row to another process after which the store asks a holder to release when idle. 0:
    /// never.
    pub(crate) turns: u8,
    pub(crate) keeps_base: bool,
    pub(crate) lives_ms: Option<u64>,
}

/// One operation. `which` selects one of a thread's guards.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Lock {
        thread: ThreadId,
        session: SessionId,
        names: Names,
        wait_mode: WaitMode,
        existing: bool,
        within_ms: Option<u64>,
    },
    Poll(ThreadId),
    /// Drops a request or a guard.
    Drop(ThreadId, usize),
    Unlock(ThreadId, usize),
    Discard(ThreadId, usize),
    Set(ThreadId, usize, AttributeName, Option<Value>),
    Edit(ThreadId, usize, AttributeName, Value),
    Check(ThreadId, usize),
    Commit(ThreadId, usize),
    Rename(ThreadId, usize, SessionId),
    Destroy(ThreadId, usize),
    /// Drops the future of a commit or a rename.
    Cancel(ThreadId),
    /// The other process requests a session.
    Ask(SessionId, WaitMode),
    /// The other process gives the session back, with a write.
    GiveBack(SessionId, AttributeName, Value),
    /// The operator recalls a session.
    Recall(SessionId),
    /// One message arrives at the store.
    ReachStore,
    /// One message arrives at the process.
    ReachProcess,
    /// Messages arrive until none is under way.
    Carry,
    Break,
    Connect,
    /// Time passes.
    Pass(u64),
    /// Time passes, and a session is forgotten before the late tick of the driver.
    PassForget(u64, SessionId),
    Release(SessionId),
    Forget(SessionId),
    Sweep(u64),
    Shutdown,
}

impl Setup {
    pub(crate) fn store(&self) -> StoreSettings {
        StoreSettings {
            turns: self.turns,
            time_to_live_ms: self.lives_ms,
            limits: self.limits(),
            ..StoreSettings::default()
        }
    }

    /// Returns the settings of the manager's process.
    pub(crate) fn process(&self) -> ProcessSettings {
        ProcessSettings {
            keeps_base: self.keeps_base,
            limits: self.limits(),
            ..ProcessSettings::default()
        }
    }

    /// Returns the settings of the machine. The manager alone limits the sizes of sessions, since only the manager
    /// knows the space reserved for open cells. The machine accepts what the manager accepts, and the comparison checks
    /// that its sessions are not too large.
    pub(crate) fn machine(&self) -> ProcessSettings {
        let any_size = Self {
            is_small: false,
            ..*self
        };
        any_size.process()
    }

    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        if self.is_tight {
            limits.threads_max = 2;
            limits.grants_max = 2;
        }
        if self.is_small {
            limits.attributes_max = 2;
            limits.attribute_bytes_max = 150;
            limits.session_bytes_max = 250;
        }
        limits
    }
}

pub(crate) fn attribute(at: usize) -> AttributeName {
    AttributeName::from_static(KNOWN[at])
}

/// Generates histories of at most `length` operations.
pub(crate) fn histories(length: usize, is_small: bool) -> impl Strategy<Value = History> {
    (setups(is_small), vec(ops(), 1..=length)).prop_map(|(setup, ops)| History { setup, ops })
}

fn setups(is_small: bool) -> impl Strategy<Value = Setup> {
    (
        weighted(70),
        weighted(70),
        weighted(20),
        prop_oneof![2 => Just(0_u8), 1 => Just(2)],
        weighted(80),
        prop_oneof![4 => Just(None), 1 => Just(Some(40_000_u64))],
    )
        .prop_map(
            move |(carries, polls, is_tight, turns, keeps_base, lives_ms)| Setup {
                // Negated if the simpler choice is `true`: proptest shrinks to `false`.
                carries: !carries,
                polls: !polls,
                is_tight,
                is_small,
                turns,
                keeps_base: !keeps_base,
                lives_ms,
            },
        )
}

/// Generates `false` in this number of a hundred cases.
fn weighted(percent: u32) -> impl Strategy<Value = bool> {
    prop_oneof![percent => Just(false), 100 - percent => Just(true)]
}

fn threads() -> impl Strategy<Value = ThreadId> {
    (1..=THREADS).prop_map(ThreadId)
}

fn sessions() -> impl Strategy<Value = SessionId> {
    prop_oneof![
        6 => Just(SessionId::from_static("s1")),
        3 => Just(SessionId::from_static("s2")),
        1 => Just(SessionId::from_static("s3")),
    ]
}

fn attributes() -> impl Strategy<Value = AttributeName> {
    prop_oneof![4 => Just(0), 2 => Just(1), 1 => Just(2), 1 => Just(3)].prop_map(attribute)
}

fn names() -> impl Strategy<Value = Names> {
    prop_oneof![
        6 => attributes().prop_map(Names::One),
        2 => (1_u8..16).prop_map(|bits| {
            let names = (0..4).filter(|at| bits & (1 << at) != 0).map(attribute);
            let mut names: Vec<_> = names.collect();
            names.sort_unstable(); // The manager sorts the names too.
            Names::Many(names)
        }),
        2 => Just(Names::All),
    ]
}

fn wait_mode() -> impl Strategy<Value = WaitMode> {
    prop_oneof![4 => Just(WaitMode::Wait), 1 => Just(WaitMode::Try)]
}

/// Generates sizes, mostly small. Some exceed the size that a guard may write without a check, and some exceed the
/// small limits.
fn values() -> impl Strategy<Value = Value> {
    let lengths = prop_oneof![8 => Just(1_usize), 1 => Just(0), 2 => Just(80), 1 => Just(200)];
    (lengths, b'0'..=b'9').prop_map(|(length, digit)| vec![digit; length].into())
}

fn spans() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(1_u64),
        4 => Just(50),
        3 => Just(2_500),
        2 => Just(9_000),
        1 => Just(20_000),
        2 => Just(29_500),
        1 => Just(61_000),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        40 => by_threads(),
        12 => by_others(),
    ]
}

fn by_threads() -> impl Strategy<Value = Op> {
    let which = || (threads(), 0_usize..3);
    let existing = prop_oneof![4 => Just(false), 1 => Just(true)];
    let within = prop_oneof![4 => Just(None), 1 => Just(Some(50_u64)), 1 => Just(Some(3_000))];
    prop_oneof![
        14 => (threads(), sessions(), names(), wait_mode(), existing, within).prop_map(
            |(thread, session, names, wait_mode, existing, within_ms)| Op::Lock {
                thread, session, names, wait_mode, existing, within_ms,
            }
        ),
        4 => threads().prop_map(Op::Poll),
        4 => which().prop_map(|(thread, which)| Op::Drop(thread, which)),
        5 => which().prop_map(|(thread, which)| Op::Unlock(thread, which)),
        2 => which().prop_map(|(thread, which)| Op::Discard(thread, which)),
        5 => (which(), attributes(), values()).prop_map(|((thread, which), name, value)| {
            Op::Set(thread, which, name, Some(value))
        }),
        1 => (which(), attributes()).prop_map(|((thread, which), name)| {
            Op::Set(thread, which, name, None)
        }),
        4 => (which(), attributes(), values()).prop_map(|((thread, which), name, value)| {
            Op::Edit(thread, which, name, value)
        }),
        1 => which().prop_map(|(thread, which)| Op::Check(thread, which)),
        3 => which().prop_map(|(thread, which)| Op::Commit(thread, which)),
        2 => (which(), sessions()).prop_map(|((thread, which), to)| Op::Rename(thread, which, to)),
        1 => which().prop_map(|(thread, which)| Op::Destroy(thread, which)),
        2 => threads().prop_map(Op::Cancel),
    ]
}

fn by_others() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (sessions(), wait_mode()).prop_map(|(session, wait_mode)| Op::Ask(session, wait_mode)),
        4 => (sessions(), attributes(), values())
            .prop_map(|(session, name, value)| Op::GiveBack(session, name, value)),
        2 => sessions().prop_map(Op::Recall),
        6 => Just(Op::Carry),
        3 => Just(Op::ReachStore),
        3 => Just(Op::ReachProcess),
        2 => Just(Op::Break),
        3 => Just(Op::Connect),
        5 => spans().prop_map(Op::Pass),
        1 => (spans(), sessions()).prop_map(|(ms, session)| Op::PassForget(ms, session)),
        2 => sessions().prop_map(Op::Release),
        1 => sessions().prop_map(Op::Forget),
        2 => prop_oneof![Just(0_u64), Just(1_000)].prop_map(Op::Sweep),
        1 => prop_oneof![9 => Just(Op::Carry), 1 => Just(Op::Shutdown)],
    ]
}
