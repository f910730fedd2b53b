//! Safety properties, which hold in every state.

use super::conditions::*;
use super::scope::*;
use super::{Checked, Kind};
use crate::system::Violation;
use crate::universe::Universe;
use tenure_protocol::{Hook, Time, invariant};

macro_rules! always {
    ($name:literal, $rule:literal, $rules:expr, $text:literal, $applies:expr, $condition:expr) => {
        Checked {
            name: $name,
            rule: $rule,
            rules: &$rules,
            kind: Kind::Always,
            text: $text,
            condition: $condition,
            applies: $applies,
        }
    };
}

macro_rules! violation {
    ($name:literal, $rule:literal, $rules:expr, $text:literal, $($violation:ident)|+) => {
        always!($name, $rule, $rules, $text, everywhere, |_, state| {
            !matches!(state.violation, Some($(Violation::$violation)|+))
        })
    };
}

/// An invariant of the store, by its index in `tenure_protocol::invariant`.
macro_rules! of_store {
    ($place:literal, $text:literal) => {
        Checked {
            name: invariant::STORE[$place].0,
            rule: invariant::STORE[$place].1,
            rules: invariant::STORE[$place].2,
            kind: Kind::Always,
            text: $text,
            condition: |_, state| state.store.broken() & (1 << $place) == 0,
            applies: everywhere,
        }
    };
}

/// An invariant of a process, by its index in `tenure_protocol::invariant`.
macro_rules! of_process {
    ($place:literal, $text:literal) => {
        Checked {
            name: invariant::PROCESS[$place].0,
            rule: invariant::PROCESS[$place].1,
            rules: invariant::PROCESS[$place].2,
            kind: Kind::Always,
            text: $text,
            condition: |_, state| {
                state
                    .processes
                    .iter()
                    .flatten()
                    .all(|process| process.broken() & (1 << $place) == 0)
            },
            applies: everywhere,
        }
    };
}

/// Returns all safety properties.
#[allow(clippy::too_many_lines)] // The function is a table.
pub(super) fn all<H: Hook>() -> Vec<Checked<H>> {
    vec![
        always!(
            "exclusive",
            1,
            [
                "connect.incarnation-rises",
                "connect.superseded",
                "connect.late-hello",
                "connect.old-connection",
                "connect.only-newest",
                "grant.exclusive",
                "grant.same-again",
                "grant.unasked",
                "release.over",
                "fence.revoked",
                "lease.whole",
                "lease.echo",
                "lease.frees-nothing",
                "lease.restart",
                "lease.from-sent",
                "lease.margin",
                "reconnect.known",
                "reconnect.no-token-twice",
                "reconnect.names-holds",
                "reconnect.lost",
                "end.cancel-crossed",
                "end.one-at-a-time",
                "end.stray",
                "rename.taken",
                "limit.until-heard",
                "time.monotonic"
            ],
            "at most one living process has the grant of a session",
            is_gentle,
            exclusive
        ),
        always!(
            "fenced",
            9,
            [
                "grant.token-rises",
                "release.old",
                "fence.commit",
                "fence.rename",
                "reconnect.no-token-twice",
                "rename.new-token",
                "rename.new-hold"
            ],
            "a process that still believes in a lost grant has an older token than the present holder, \
             and the holder's token is newer than every token of an earlier life of the session",
            everywhere,
            fenced
        ),
        of_store!(
            0,
            "the record of each session names at most one holder, which is the holder in memory"
        ),
        of_process!(
            0,
            "a thread holds an attribute only while its process has the grant"
        ),
        of_process!(1, "no two threads hold the same attribute"),
        always!(
            "told",
            11,
            [
                "connect.closes-replaced",
                "connect.superseded-stops",
                "recall.gives-up",
                "fence.revoked",
                "lease.lost",
                "lease.told",
                "reconnect.lost",
                "thread.stranger",
                "thread.told"
            ],
            "a thread that has locked an attribute still holds it, or was notified of the loss",
            everywhere,
            |_, state| {
                state
                    .processes
                    .iter()
                    .flatten()
                    .all(|process| process.broken() & (1 << invariant::PROCESS.len()) == 0)
            }
        ),
        of_store!(
            2,
            "when a connected process waits for a held session, the grant is recalled"
        ),
        of_store!(
            3,
            "no connected process waits for a session without a holder"
        ),
        of_store!(
            1,
            "the waiters of each queue stand in the order of their tickets"
        ),
        always!(
            "tickets kept",
            5,
            [
                "queue.same-ticket",
                "queue.presented",
                "queue.keeps-ticket",
                "lease.frees-nothing",
                "reconnect.waits"
            ],
            "the store keeps each waiter under the ticket that it gave to the waiter",
            never_gives_up,
            tickets_kept
        ),
        always!(
            "place told",
            5,
            ["queue.told"],
            "when no message is under way between a waiting process and the store, the process knows its ticket",
            loses_nothing,
            place_told
        ),
        violation!(
            "first come, first served",
            5,
            ["queue.fifo-connected", "queue.requeue-last"],
            "a grant goes to the connected process that has waited longest",
            PassedOver
        ),
        violation!(
            "granted to the connected",
            5,
            ["grant.connected"],
            "no grant goes to a process without a connection",
            GrantedToUnconnected
        ),
        violation!(
            "revoked for a waiter",
            11,
            ["recall.for-nobody"],
            "a recall for a waiter revokes a grant only while a connected process waits",
            RevokedForNobody
        ),
        of_store!(
            6,
            "no process stands in a queue twice or waits for a session that it holds"
        ),
        of_store!(7, "no queue is longer than its limit"),
        always!(
            "agreement",
            7,
            [
                "grant.state",
                "grant.full",
                "grant.new-session",
                "grant.needs-base",
                "grant.known",
                "release.written",
                "release.whole",
                "release.drops-lost",
                "commit.one-at-a-time",
                "rename.new-hold",
                "rename.moves",
                "limit.harms-nobody",
                "thread.sees-state"
            ],
            "a client state at the store's version equals the primary state, apart from changes since",
            everywhere,
            agreement
        ),
        always!(
            "durable before visible",
            8,
            ["grant.durable", "commit.durable", "commit.told"],
            "every grant and every version that a process knows is durable",
            Universe::has_disk,
            durable_first
        ),
        violation!(
            "serial writes",
            9,
            [
                "connect.old-connection",
                "release.written",
                "release.old",
                "commit.repeated",
                "commit.base-ends-grant",
                "commit.one-at-a-time",
                "commit.answered",
                "fence.commit",
                "fence.rename",
                "destroy.answered-old",
                "limit.harms-nobody"
            ],
            "the primary state changes only under the current grant's token, and from its current version",
            Unfenced | Misapplied
        ),
        of_store!(
            5,
            "every holder and every waiter has a lease, and every holder has the current incarnation"
        ),
        of_store!(4, "every recall belongs to a current grant"),
        of_process!(2, "a process without a lease has no grant"),
        always!(
            "lease kept",
            10,
            ["lease.silent"],
            "no lease ends if another connection would have saved it",
            |universe| universe.silences.is_some(),
            |model, state| {
                let (_, now) = model.universe.now();
                let is_kept = |end: Time| end > now;
                state
                    .each_machine()
                    .all(|(_, machine)| machine.lease().is_none_or(is_kept))
            }
        ),
        always!(
            "goodbye is final",
            10,
            ["lease.goodbye-last", "lease.goodbye", "lease.says-goodbye"],
            "after its goodbye a process has no lease",
            everywhere,
            goodbye_is_final
        ),
        violation!(
            "late writes are lost",
            11,
            ["thread.discards", "thread.told"],
            "a process sends exactly the writes that its threads have unlocked or committed",
            LeakedWrite | LostWrite
        ),
        of_process!(5, "every write set belongs to a thread inside"),
        violation!(
            "nobody is evicted unheard",
            11,
            ["recall.mild", "recall.revokes", "thread.told"],
            "a thread inside never loses its attributes without a notification",
            Evicted
        ),
        violation!(
            "the gate",
            12,
            ["gate.closed", "destroy.nobody-enters"],
            "after a recall no thread enters from outside",
            AdmittedLate
        ),
        violation!(
            "order at an attribute",
            12,
            ["gate.order"],
            "threads are admitted in order of arrival, and threads inside come first",
            Overtook
        ),
        of_process!(4, "no thread waits for an unused grant"),
        always!(
            "a try waits for no thread",
            13,
            [
                "recall.mild",
                "try.refused-when-busy",
                "try.refused-otherwise",
                "try.thread"
            ],
            "no try waits for a holder that has reported threads inside",
            everywhere,
            tries_do_not_wait
        ),
        violation!(
            "ends once",
            14,
            [
                "grant.names-request",
                "grant.no-late-request",
                "grant.unasked",
                "end.once",
                "end.requests-rise",
                "end.stray",
                "thread.ends-once"
            ],
            "every request is answered exactly once",
            EndedTwice
        ),
        of_process!(3, "when a thread waits, its process has asked the store"),
        violation!(
            "recalls remembered",
            14,
            ["recall.old", "recall.early"],
            "a process remembers a recall that comes before its grant",
            ForgotRecall
        ),
        violation!(
            "peers behave",
            15,
            [
                "connect.hello-first",
                "connect.hello-alone",
                "connect.link-rises",
                "connect.late-hello",
                "connect.only-newest",
                "connect.answers-hello",
                "recall.stray-busy",
                "commit.base-ends-grant",
                "reconnect.known",
                "reconnect.names-holds",
                "exists.asks-newer",
                "end.stray",
                "limit.told-in-welcome",
                "limit.checks",
                "limit.of-store"
            ],
            "neither machine finds that the other one has broken the protocol",
            Misbehaved
        ),
        violation!(
            "destroyed stays destroyed",
            16,
            [
                "commit.durable",
                "expiry.not-while-held",
                "destroy.stays",
                "destroy.answered-old",
                "destroy.all-locked",
                "destroy.nobody-enters"
            ],
            "no late write brings a destroyed session back, and no session ends while a process holds it",
            Resurrected | EndedUnderHolder
        ),
        violation!(
            "absent is absent",
            16,
            [
                "exists.only",
                "exists.true",
                "exists.thread",
                "exists.not-before"
            ],
            "a request or thread that wants only an existing session never gets an absent one, \
             and never receives *absent* for a session that has existed since it asked",
            GrantedAbsent | EnteredAbsent | FalselyAbsent
        ),
        violation!(
            "absent leaves nothing",
            16,
            ["exists.leaves-nothing"],
            "a refused request for an absent session leaves no record and no session in memory",
            LeftAbsent
        ),
        violation!(
            "a stop grants nothing",
            6,
            ["stop.grants-nothing"],
            "a store that stops makes no new grant",
            GrantedWhileStopping
        ),
        violation!(
            "a stop recalls nothing",
            2,
            ["stop.keeps"],
            "a store that stops for a restart begins no recall",
            RecalledByStop
        ),
        of_store!(8, "a store that drains has recalled every grant"),
        violation!(
            "a full disk takes nothing on",
            18,
            ["limit.storage"],
            "while the disk is full, no new request is granted",
            GrantedWhenFull
        ),
        always!(
            "rest is quiet",
            14,
            [
                "grant.returns-unasked",
                "recall.not-without-reason",
                "recall.mild-answered",
                "commit.answered",
                "reconnect.unclaimed",
                "reconnect.repeats",
                "end.cancels"
            ],
            "when the system is at rest, no process waits and no grant is recalled",
            loses_nothing,
            rest_is_quiet
        ),
    ]
}
