//! The invariants of each machine: properties that hold after every step. Each invariant is one named function. Debug
//! builds assert it after each step. The model checker, proptest and the checks of recorded runs use the same function.

use crate::id::Version;
use crate::message::WaitMode;
use crate::mutant::Hook;
use crate::process::{Phase, ProcessMachine, Session as Client, ThreadClaim};
use crate::store::{Recall, Session, Stopping, StoreMachine};

/// A named property of one machine.
#[derive(Clone, Copy, Debug)]
pub struct Invariant<M> {
    /// The name of the invariant.
    pub name: &'static str,
    /// The number of the design rule that the invariant follows.
    pub rule: u8,
    /// The ids of the protocol rules that the invariant checks.
    pub rules: &'static [&'static str],
    /// The function that returns whether the invariant holds.
    pub holds: fn(&M) -> bool,
}

/// The name of an invariant, the number of its design rule, and the ids of the rules that it checks.
pub type Named = (&'static str, u8, &'static [&'static str]);

/// The names and rules of the invariants of a store, in the order of [`of_store`].
pub const STORE: [Named; 9] = [
    ("one holder", 1, &["grant.exclusive", "commit.keeps-grant"]),
    (
        "queue in order",
        5,
        &["queue.fifo-connected", "queue.tickets-rise"],
    ),
    ("waiters recall", 3, &["recall.once", "recall.asks"]),
    (
        "free means at once",
        6,
        &["grant.at-once", "queue.passes-by"],
    ),
    (
        "recall belongs to a grant",
        10,
        &["recall.once", "recall.ends-with-grant", "recall.old"],
    ),
    (
        "leases cover grants",
        10,
        &[
            "connect.superseded",
            "connect.new-incarnation",
            "lease.whole",
            "lease.only-keep-alive",
            "lease.frees-nothing",
            "lease.ends",
        ],
    ),
    (
        "waits once",
        14,
        &[
            "queue.same-ticket",
            "reconnect.dropped-wait",
            "reconnect.not-both",
            "end.one-at-a-time",
            "end.cancelled",
        ],
    ),
    (
        "queues within their limit",
        18,
        &["limit.waiters", "limit.threads"],
    ),
    ("a drain recalls", 3, &["stop.drains"]),
];

/// The names and rules of the invariants of a process, in the order of [`of_process`].
pub const PROCESS: [Named; 6] = [
    (
        "threads inside have a grant",
        1,
        &[
            "recall.keeps-until-out",
            "release.over",
            "thread.needs-grant",
        ],
    ),
    (
        "one thread per attribute",
        12,
        &[
            "destroy.all-locked",
            "thread.one-per-attribute",
            "thread.together",
            "thread.stranger",
        ],
    ),
    (
        "grants need a lease",
        10,
        &["connect.superseded-stops", "lease.lost"],
    ),
    (
        "waiters have asked",
        14,
        &[
            "grant.names-request",
            "gate.requeues",
            "release.requeued",
            "reconnect.dropped-wait",
            "reconnect.names-waits",
            "thread.asks",
        ],
    ),
    ("nobody waits in vain", 12, &["gate.one-use"]),
    ("write sets have owners", 11, &["thread.discards"]),
];

fn named<M, const N: usize>(names: [Named; N], holds: [fn(&M) -> bool; N]) -> [Invariant<M>; N] {
    core::array::from_fn(|place| {
        let (name, rule, rules) = names[place];
        Invariant {
            name,
            rule,
            rules,
            holds: holds[place],
        }
    })
}

/// Returns the invariants of a store.
#[must_use]
pub fn of_store<H: Hook>() -> [Invariant<StoreMachine<H>>; 9] {
    named(
        STORE,
        [
            one_holder,
            queue_in_order,
            waiters_recall,
            free_means_no_waiter,
            recall_has_holder,
            leases_cover_sessions,
            waits_once,
            queues_within_limit,
            drain_recalls,
        ],
    )
}

/// Returns the invariants of a process.
#[must_use]
pub fn of_process<H: Hook>() -> [Invariant<ProcessMachine<H>>; 6] {
    named(
        PROCESS,
        [
            insiders_have_grant,
            one_thread_per_attribute,
            grants_need_lease,
            waiters_have_asked,
            nobody_waits_in_vain,
            write_sets_have_owners,
        ],
    )
}

/// Asserts every invariant of [`of_store`], and that the store's lists and counts agree with its sessions.
///
/// # Panics
/// When an invariant does not hold.
pub fn assert_store<H: Hook>(store: &StoreMachine<H>) {
    for invariant in of_store() {
        assert!(
            (invariant.holds)(store),
            "invariant '{}' (rule {}): {store:#?}",
            invariant.name,
            invariant.rule
        );
    }
    assert!(
        lists_agree(store),
        "a list or count of the store disagrees with its sessions: {store:#?}"
    );
}

/// Returns whether the lists of each process and the total counts agree with the sessions. This is no rule of the
/// protocol: the lists only save a walk over all sessions.
#[must_use]
pub fn lists_agree<H: Hook>(store: &StoreMachine<H>) -> bool {
    let (mut held, mut waiting, mut recalled) = (0, 0, 0);
    let are_listed = store.sessions().all(|(id, session)| {
        let holder = session.holder().and_then(|holder| store.peer(holder));
        held += usize::from(session.holder().is_some());
        waiting += session.lock().waiting();
        recalled += usize::from(session.recall().is_some());
        let mut waiters = session.lock().waiters();
        holder.is_none_or(|peer| {
            peer.holds().contains(id) && peer.recalled().contains(id) == session.recall().is_some()
        }) && waiters.all(|place| {
            let peer = store.peer(&place.process);
            peer.is_some_and(|peer| peer.waits().contains(id))
        })
    });
    let peers = || store.peers().map(|(_, peer)| peer);
    are_listed
        && [held, peers().map(|peer| peer.holds().len()).sum()] == [store.held(); 2]
        && [waiting, peers().map(|peer| peer.waits().len()).sum()] == [store.waiting(); 2]
        && recalled == peers().map(|peer| peer.recalled().len()).sum()
}

/// Asserts every invariant of [`of_process`].
///
/// # Panics
/// When an invariant does not hold.
pub fn assert_process<H: Hook>(process: &ProcessMachine<H>) {
    for invariant in of_process() {
        assert!(
            (invariant.holds)(process),
            "invariant '{}' (rule {}): {process:#?}",
            invariant.name,
            invariant.rule
        );
    }
}

fn each_session<H: Hook>(store: &StoreMachine<H>, holds: impl Fn(&Session) -> bool) -> bool {
    store.sessions().all(|(_, session)| holds(session))
}

fn each_client<H: Hook>(process: &ProcessMachine<H>, holds: impl Fn(&Client) -> bool) -> bool {
    process.sessions().all(|(_, session)| holds(session))
}

/// Returns whether each session has at most one holder, which the record names. Rule 1.
pub fn one_holder<H: Hook>(store: &StoreMachine<H>) -> bool {
    each_session(store, |session| {
        match (session.lock().holders(), &session.record().head.holder) {
            ([], None) => true,
            ([place], Some(holder)) => place.process == holder.process,
            _ => false,
        }
    })
}

/// Returns whether the waiters of each session stand in the order of their tickets. Rule 5.
pub fn queue_in_order<H: Hook>(store: &StoreMachine<H>) -> bool {
    each_session(store, |session| {
        session
            .lock()
            .waiters()
            .map(|place| place.ticket)
            .is_sorted_by(|one, two| one < two)
    })
}

/// Returns whether each held session with a connected waiter is recalled, unless the store stops. Rule 3.
pub fn waiters_recall<H: Hook>(store: &StoreMachine<H>) -> bool {
    let stops = store.admission().stopping.is_stopping();
    each_session(store, |session| {
        let is_waited_for = session
            .lock()
            .waiters()
            .any(|place| place.wait_mode == WaitMode::Wait && store.is_connected(&place.process));
        !is_waited_for
            || stops
            || session
                .recall()
                .is_some_and(|recall| recall.reason.insists())
    })
}

/// Returns whether no connected process waits for a session without a holder, unless the store stops. Rule 6.
pub fn free_means_no_waiter<H: Hook>(store: &StoreMachine<H>) -> bool {
    let stops = store.admission().stopping.is_stopping();
    each_session(store, |session| {
        let mut waiters = session.lock().waiters();
        session.holder().is_some()
            || stops
            || !waiters.any(|place| store.is_connected(&place.process))
    })
}

/// Returns whether each recall belongs to a current grant. Rule 10.
pub fn recall_has_holder<H: Hook>(store: &StoreMachine<H>) -> bool {
    each_session(store, |session| {
        session.holder().is_some() || (session.recall().is_none() && session.busy().is_none())
    })
}

/// Returns whether each holder and each waiter is a process with a lease. A holder has the current incarnation. Rule
/// 10.
pub fn leases_cover_sessions<H: Hook>(store: &StoreMachine<H>) -> bool {
    store.sessions().all(|(id, session)| {
        let is_listed = |process| {
            store
                .peer(process)
                .is_some_and(|peer| peer.is_concerned(id))
        };
        let holder = session.record().head.holder.as_ref();
        let is_current = holder.is_none_or(|holder| {
            is_listed(&holder.process)
                && store
                    .peer(&holder.process)
                    .is_some_and(|peer| peer.incarnation() == holder.incarnation)
        });
        is_current
            && session
                .lock()
                .waiters()
                .all(|place| is_listed(&place.process))
    })
}

/// Returns whether no process stands in a queue twice or waits for a session that it holds. Rule 14.
pub fn waits_once<H: Hook>(store: &StoreMachine<H>) -> bool {
    each_session(store, |session| {
        let mut places = session.lock().waiters().enumerate();
        places.all(|(at, place)| {
            session.holder() != Some(&place.process)
                && !session
                    .lock()
                    .waiters()
                    .take(at)
                    .any(|other| other.process == place.process)
        })
    })
}

/// Returns whether no queue is longer than its limit. Rule 18.
pub fn queues_within_limit<H: Hook>(store: &StoreMachine<H>) -> bool {
    // A request that comes with a release is always queued, even at the limit. A store that stops does not admit the
    // first waiter in its place.
    let is_stopping = store.admission().stopping != Stopping::No;
    each_session(store, |session| {
        let released = usize::from(is_stopping && session.holder().is_none());
        session.lock().waiting() <= store.settings.limits.waiters_max + released
    })
}

/// Returns whether a store that drains has recalled every grant. Rule 3.
pub fn drain_recalls<H: Hook>(store: &StoreMachine<H>) -> bool {
    store.admission().stopping != Stopping::Draining
        || each_session(store, |session| {
            let insists = |recall: &Recall| recall.reason.insists();
            session.holder().is_none() || session.recall().is_some_and(insists)
        })
}

/// Returns whether threads hold attributes only while their process has the grant. Rule 1.
pub fn insiders_have_grant<H: Hook>(process: &ProcessMachine<H>) -> bool {
    each_client(process, |session| {
        session.lock().holders().is_empty() || session.grant().is_some()
    })
}

/// Returns whether no two threads hold the same attribute. Rule 12.
pub fn one_thread_per_attribute<H: Hook>(process: &ProcessMachine<H>) -> bool {
    use crate::lock::Claim;
    each_client(process, |session| {
        let holders = session.lock().holders();
        holders
            .iter()
            .enumerate()
            .all(|(at, claim)| !holders[..at].iter().any(|other| other.conflicts(claim)))
    })
}

/// Returns whether a process without a lease has no grant. Rule 10.
pub fn grants_need_lease<H: Hook>(process: &ProcessMachine<H>) -> bool {
    process.lease().is_some() || each_client(process, |session| session.grant().is_none())
}

/// Returns whether the process has asked the store for each session that a thread waits for. Rule 14.
pub fn waiters_have_asked<H: Hook>(process: &ProcessMachine<H>) -> bool {
    each_client(process, |session| {
        session.lock().waiting() == 0 || *session.phase() != Phase::Absent
    })
}

/// Returns whether each unused grant has no waiters, unless a thread ends the session. Rule 12.
pub fn nobody_waits_in_vain<H: Hook>(process: &ProcessMachine<H>) -> bool {
    each_client(process, |session| {
        session.grant().is_none_or(|grant| grant.ending.is_some())
            || !session.lock().holders().is_empty()
            || session.lock().waiting() == 0
    })
}

/// Returns whether only threads inside have written values that are not unlocked, to attributes that they hold. Rule
/// 11.
pub fn write_sets_have_owners<H: Hook>(process: &ProcessMachine<H>) -> bool {
    each_client(process, |session| {
        let is_own = |claim: &ThreadClaim| {
            let mut written = claim.written.iter();
            written.all(|written| claim.wanted.has(written.slot))
        };
        session.lock().holders().iter().all(is_own)
            && session
                .lock()
                .waiters()
                .all(|claim| claim.written.is_empty())
    })
}

/// Returns the version of a client state that is an exact copy of this version of the primary state. Returns `None`
/// when anything changed since.
#[must_use]
pub fn clean_version(session: &Client) -> Option<Version> {
    let is_changed = session.slots().iter().any(|slot| slot.is_dirty) || session.commit().is_some();
    session
        .version()
        .filter(|_| !is_changed && !matches!(session.phase(), Phase::Releasing { .. }))
}
