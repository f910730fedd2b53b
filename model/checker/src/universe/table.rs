//! The table of all universes, and the settings and programs that its rows name.

use super::{Clocks, Universe};
use crate::system::app::Do;
use crate::system::timer::{ProcessTimer, StoreTimer};
use tenure_protocol::{Limits, ProcessSettings, StoreSettings};

/// A universe without faults.
const QUIET: Universe = Universe {
    name: "",
    summary: "",
    bounds: "",
    faults: "none",
    without: "all faults",
    unique_states: 0,
    is_quick: true,
    programs: &[],
    judges_progress: true,
    sessions: 1,
    attributes: 1,
    values: 2,
    store: store_settings,
    process: process_settings,
    faulty: 3,
    cuts: false,
    silences: None,
    crashes: false,
    stops: false,
    restarts: false,
    closes: false,
    fills: false,
    channel_max: None,
    abandons: false,
    gives_back: false,
    ends_leases: false,
    lingers: false,
    clocks: None,
    store_timers: |_| false,
    process_timers: |_| false,
    watches_destroyed: false,
    is_older: false,
    is_deaf: false,
};

/// A universe whose first process has an unreliable network, so that both sides repeat messages.
const WILD: Universe = Universe {
    faulty: 1,
    channel_max: Some(2),
    store_timers: |timer| matches!(timer, StoreTimer::Remind { .. }),
    process_timers: |timer| {
        matches!(
            timer,
            ProcessTimer::Resend { .. } | ProcessTimer::ResendHello
        )
    },
    ..QUIET
};

/// Returns settings in which all spans are zero, because timers fire at any time.
fn store_settings() -> StoreSettings {
    StoreSettings {
        lease_ms: 0,
        remind_ms: 0,
        recall_ms: 0,
        wait_ms: 0,
        time_to_live_ms: None,
        turns: 0,
        promised: tenure_protocol::Promised::default(),
        limits: Limits::default(),
    }
}

/// Returns settings under which the third value is too long for the store.
fn short_values() -> StoreSettings {
    StoreSettings {
        limits: Limits {
            attribute_bytes_max: 1,
            ..Limits::default()
        },
        ..store_settings()
    }
}

fn process_settings() -> ProcessSettings {
    ProcessSettings {
        margin_ms: 0,
        keep_alive_ms: 0,
        resend_ms: 0,
        recall_margin_ms: 0,
        keeps_base: true,
        limits: Limits::default(),
    }
}

const A: &[u8] = &[0];
const B: &[u8] = &[1];
const AB: &[u8] = &[0, 1];
const ALL: &[u8] = &[];

/// Locks one attribute and writes it.
const USE_A: &[Do] = &[Do::Lock(0, A), Do::WriteAndUnlock(A)];
const USE_B: &[Do] = &[Do::Lock(0, B), Do::WriteAndUnlock(B)];
const USE_AB: &[Do] = &[Do::Lock(0, AB), Do::WriteAndUnlock(AB)];
const USE_ALL: &[Do] = &[Do::Lock(0, ALL), Do::WriteAndUnlock(A)];
/// Locks a second attribute while the thread is inside.
const NEST: &[Do] = &[
    Do::Lock(0, A),
    Do::Lock(0, B),
    Do::WriteAndUnlock(B),
    Do::WriteAndUnlock(A),
];
/// Tries, and waits at the next lock.
const TRY_THEN_LOCK: &[Do] = &[
    Do::Try(0, A),
    Do::Unlock,
    Do::Lock(0, A),
    Do::WriteAndUnlock(A),
];
/// Reads one attribute.
const READ_A: &[Do] = &[Do::Lock(0, A), Do::Unlock];
/// Locks the two attributes of `NEST` in the opposite order.
const NEST_BACK: &[Do] = &[
    Do::Lock(0, B),
    Do::Lock(0, A),
    Do::WriteAndUnlock(A),
    Do::WriteAndUnlock(B),
];
/// Makes a write durable before the thread leaves.
const COMMIT_A: &[Do] = &[Do::Lock(0, A), Do::Write(0, 0), Do::Commit(0), Do::Unlock];
/// Makes the writes of other threads durable.
const JUST_COMMIT: &[Do] = &[Do::Lock(0, A), Do::Commit(0), Do::Unlock];
/// Writes, in a step of its own, so that states with a thread inside and a write set exist.
const LINGER_A: &[Do] = &[Do::Lock(0, A), Do::Write(0, 0), Do::Unlock];
const DISCARD_A: &[Do] = &[Do::Lock(0, A), Do::Write(0, 0), Do::Discard];

/// Destroys one session and gives its id to the other, as at a log-in.
const REPLACE: &[Do] = &[
    Do::Lock(0, ALL),
    Do::Lock(1, ALL),
    Do::Destroy(1),
    Do::Rename(0, 1),
    Do::Unlock,
];
/// Reads a session, if it exists.
const READ_EXISTING: &[Do] = &[Do::LockExisting(0, A), Do::Unlock];
/// Reads the session in any case, so that the process also has grants of absent sessions. Then writes the session, if
/// it exists.
const READ_THEN_USE_EXISTING: &[Do] = &[
    Do::Lock(0, A),
    Do::Unlock,
    Do::LockExisting(0, A),
    Do::WriteAndUnlock(A),
];
/// Creates a session, makes it durable, and destroys it.
const MAKE_AND_END: &[Do] = &[
    Do::Lock(0, ALL),
    Do::Write(0, 0),
    Do::Commit(0),
    Do::Destroy(0),
];
/// Does the same, but an unlocked change is not durable at once.
const MAKE_USE_AND_END: &[Do] = &[
    Do::Lock(0, A),
    Do::WriteAndUnlock(A),
    Do::Lock(0, ALL),
    Do::Commit(0),
    Do::Destroy(0),
];
/// Writes one session, then the other one.
const USE_BOTH: &[Do] = &[
    Do::Lock(0, A),
    Do::WriteAndUnlock(A),
    Do::Lock(1, A),
    Do::WriteAndUnlock(A),
];

/// The table of all universes.
pub static UNIVERSES: &[Universe] = &[
    Universe {
        name: "calm",
        summary: "cached grants, recalls, the gate, several attributes, commits",
        bounds: "2 processes x 2 threads x 1 session x 2 attributes",
        attributes: 2,
        unique_states: 775_641,
        programs: &[&[USE_B, NEST], &[COMMIT_A, USE_AB]],
        ..QUIET
    },
    Universe {
        name: "crowd",
        summary: "order of arrival and bounded bypass at the store",
        bounds: "3 processes x 1 thread x 1 session x 1 attribute",
        unique_states: 355_664,
        programs: &[&[USE_A], &[USE_A], &[USE_A]],
        ..QUIET
    },
    Universe {
        name: "threads",
        summary: "order of arrival at an attribute, several attributes at once, panicking threads",
        bounds: "2 processes x 3 and 1 threads x 1 session x 2 attributes",
        attributes: 2,
        unique_states: 257_014,
        programs: &[&[DISCARD_A, USE_AB, USE_B], &[USE_ALL]],
        ..QUIET
    },
    Universe {
        name: "nested",
        summary: "threads inside lock further attributes in opposite order: the process breaks the local deadlock",
        bounds: "2 processes x 2 and 1 threads x 1 session x 2 attributes",
        attributes: 2,
        unique_states: 55_018,
        programs: &[&[NEST, NEST_BACK], &[USE_A]],
        ..QUIET
    },
    Universe {
        name: "limits",
        summary: "a full queue refuses further processes, and nothing is lost",
        bounds: "3 processes x 1 thread x 1 session x 1 attribute, a queue of 1",
        unique_states: 70_928,
        programs: &[&[USE_A], &[READ_A], &[READ_A]],
        store: || StoreSettings {
            limits: Limits {
                waiters_max: 1,
                ..Limits::default()
            },
            ..store_settings()
        },
        ..QUIET
    },
    Universe {
        name: "narrow",
        summary: "the store has smaller limits than the processes, and the processes keep to them",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute, one of its 3 values is too long",
        values: 3,
        unique_states: 330,
        programs: &[&[COMMIT_A], &[USE_A]],
        store: short_values,
        process: || ProcessSettings {
            // Once the second value is there no other is written: there is no difference to send.
            keeps_base: false,
            ..process_settings()
        },
        ..QUIET
    },
    Universe {
        name: "deaf",
        summary: "processes of 1.0 write beyond the limits of the store: each loses that grant, and no other \
          process loses anything",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute, one of its 3 values is too long",
        faults: "cuts of p1",
        without: "all other faults",
        values: 3,
        unique_states: 490_528,
        programs: &[&[COMMIT_A], &[USE_A]],
        store: short_values,
        faulty: 1,
        cuts: true,
        is_deaf: true,
        ..QUIET
    },
    Universe {
        name: "unknown",
        summary: "requests that want a session only if it exists: an absent session is refused and leaves \
          nothing in the store",
        bounds: "2 processes x 2 and 1 threads x 1 session x 1 attribute",
        without: "all faults, see `revisit`; copies kept as bases",
        unique_states: 11_090,
        programs: &[&[READ_EXISTING, READ_THEN_USE_EXISTING], &[MAKE_AND_END]],
        process: || ProcessSettings {
            keeps_base: false,
            ..process_settings()
        },
        ..QUIET
    },
    Universe {
        name: "revisit",
        summary: "a request that wants a session only if it exists is sent again after each welcome, \
          and keeps its place in the queue",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "cuts of p1",
        without: "all other faults; copies kept as bases; a second thread of p1",
        unique_states: 16_537,
        programs: &[&[READ_EXISTING], &[MAKE_USE_AND_END]],
        process: || ProcessSettings {
            keeps_base: false,
            ..process_settings()
        },
        faulty: 1,
        cuts: true,
        ..QUIET
    },
    Universe {
        name: "older",
        summary: "a store of 1.0 never receives a request that wants a session only if it exists, and all other \
          requests work",
        bounds: "2 processes x 2 and 1 threads x 1 session x 1 attribute",
        faults: "cuts of p1",
        without: "all other faults; copies kept as bases",
        unique_states: 144_333,
        programs: &[&[READ_EXISTING, USE_A], &[READ_A]],
        process: || ProcessSettings {
            keeps_base: false,
            ..process_settings()
        },
        faulty: 1,
        cuts: true,
        is_older: true,
        ..QUIET
    },
    Universe {
        name: "tcp",
        summary: "ordered channels: a cut loses any suffix in both directions, and the next hello reconciles \
          both sides",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "cuts",
        without: "crashes, restarts, leases",
        unique_states: 1_256_395,
        programs: &[&[COMMIT_A], &[USE_A]],
        cuts: true,
        ..QUIET
    },
    Universe {
        name: "crash",
        summary: "a process crashes at any step and returns as a new incarnation",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "process crashes, lease ends of the dead",
        without: "cuts, restarts, lease ends of the living",
        unique_states: 679_459,
        programs: &[&[USE_A], &[USE_A]],
        crashes: true,
        store_timers: |timer| matches!(timer, StoreTimer::Lease { .. }),
        ..QUIET
    },
    Universe {
        name: "goodbye",
        summary: "a process says goodbye and starts again, and processes give idle sessions back",
        bounds: "2 processes x 2 and 1 threads x 1 session x 1 attribute",
        without: "all faults",
        unique_states: 581_979,
        programs: &[&[USE_A, USE_A], &[USE_A]],
        stops: true,
        gives_back: true,
        ..QUIET
    },
    Universe {
        name: "restart",
        summary: "the store crashes at any step and recovers from the durable records",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "store crashes, a disk that makes updates durable late",
        without: "cuts without a crash, process crashes, leases",
        unique_states: 568_622,
        programs: &[&[COMMIT_A], &[USE_A]],
        restarts: true,
        ..QUIET
    },
    Universe {
        name: "closing",
        summary: "the store stops for a restart, or drains: no new grant is made, and nothing is lost",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "stops, drains",
        without: "all other faults; a disk that makes updates durable late, see `restart`",
        unique_states: 1_967_984,
        programs: &[&[USE_A], &[READ_A]],
        closes: true,
        ..QUIET
    },
    Universe {
        name: "full",
        summary: "the disk is full for a time: new requests are refused, and grants and waiters stay",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "a full disk",
        without: "all other faults",
        unique_states: 5_726,
        programs: &[&[USE_A], &[COMMIT_A]],
        fills: true,
        ..QUIET
    },
    Universe {
        name: "lease",
        summary: "leases and recalls end at any time: safety depends on no clock",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "lease ends of p1, revocations, threads that stay inside",
        without: "cuts, crashes, restarts; lease ends of p2",
        faulty: 1,
        unique_states: 362_446,
        programs: &[&[LINGER_A], &[USE_A]],
        ends_leases: true,
        lingers: true,
        store_timers: |timer| matches!(timer, StoreTimer::Lease { .. } | StoreTimer::Revoke { .. }),
        process_timers: |timer| matches!(timer, ProcessTimer::Lease | ProcessTimer::Late { .. }),
        ..QUIET
    },
    Universe {
        name: "absent",
        summary: "a waiter loses its connection after its recall: the waiter is passed by, and the recall \
          revokes no grant of a living holder",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "cuts of p1, revocations, threads that stay inside",
        without: "crashes, restarts, lease ends; cuts of p2",
        faulty: 1,
        unique_states: 234_398,
        programs: &[&[READ_A], &[LINGER_A]],
        cuts: true,
        lingers: true,
        store_timers: |timer| matches!(timer, StoreTimer::Revoke { .. }),
        process_timers: |timer| matches!(timer, ProcessTimer::Late { .. }),
        ..QUIET
    },
    Universe {
        name: "drift",
        summary: "clocks drift within bounds: no thread relies on a lease that the store has ended",
        bounds: "1 process x 2 threads x 1 session x 1 attribute",
        faults: "drift of the process's clock, messages that take any time",
        without: "cuts, crashes, restarts, revocations, a second process; progress, because the network may be \
          slower than the lease",
        faulty: 1,
        judges_progress: false,
        unique_states: 24_826,
        programs: &[&[USE_A, USE_A]],
        clocks: Some(Clocks {
            skew_max: 1,
            past: 4,
            is_prompt: false,
        }),
        store: || StoreSettings {
            lease_ms: 4,
            remind_ms: u64::MAX,
            recall_ms: u64::MAX,
            wait_ms: u64::MAX,
            ..store_settings()
        },
        process: || ProcessSettings {
            margin_ms: 2,
            keep_alive_ms: 1,
            resend_ms: u64::MAX,
            ..process_settings()
        },
        store_timers: |timer| matches!(timer, StoreTimer::Lease { .. }),
        process_timers: |timer| matches!(timer, ProcessTimer::Lease | ProcessTimer::KeepAlive),
        ..QUIET
    },
    Universe {
        name: "silent",
        summary: "two connections in a row go silent without being closed: the process replaces them in time to \
          save its lease",
        bounds: "1 process x 1 thread x 1 session x 1 attribute",
        faults: "silence of a connection, and of the next one",
        without: "cuts, crashes, restarts, drift; a third silent connection; progress, because time does not end",
        judges_progress: false,
        unique_states: 243,
        programs: &[&[USE_A]],
        silences: Some(3),
        clocks: Some(Clocks {
            skew_max: 0,
            past: 8,
            is_prompt: true,
        }),
        store: || StoreSettings {
            lease_ms: 8,
            remind_ms: u64::MAX,
            recall_ms: u64::MAX,
            wait_ms: u64::MAX,
            ..store_settings()
        },
        process: || ProcessSettings {
            margin_ms: 1,
            keep_alive_ms: 1,
            resend_ms: u64::MAX,
            ..process_settings()
        },
        store_timers: |timer| matches!(timer, StoreTimer::Lease { .. }),
        process_timers: |timer| {
            matches!(
                timer,
                ProcessTimer::Lease
                    | ProcessTimer::KeepAlive
                    | ProcessTimer::Silent
                    | ProcessTimer::ResendHello
            )
        },
        ..QUIET
    },
    Universe {
        name: "crossing",
        summary: "processes lock two sessions in opposite order: the store finds and breaks the deadlock",
        bounds: "2 processes x 1 thread x 2 sessions x 1 attribute",
        unique_states: 77_170,
        programs: &[
            &[&[
                Do::Lock(0, A),
                Do::Lock(1, A),
                Do::WriteAndUnlock(A),
                Do::WriteAndUnlock(A),
            ]],
            &[&[
                Do::Lock(1, A),
                Do::Lock(0, A),
                Do::WriteAndUnlock(A),
                Do::WriteAndUnlock(A),
            ]],
        ],
        sessions: 2,
        ..QUIET
    },
    Universe {
        name: "try",
        summary: "tries, cancelled waits and deadlines meet cached grants",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "waits of p1 that end at any time, at either end",
        without: "all other faults",
        faulty: 1,
        unique_states: 57_101,
        programs: &[&[TRY_THEN_LOCK], &[USE_A]],
        abandons: true,
        store_timers: |timer| matches!(timer, StoreTimer::Wait { .. }),
        ..QUIET
    },
    Universe {
        name: "expiry",
        summary: "the time to live ends while a grant is cached, and no destroyed session comes back",
        bounds: "2 processes x 2 and 1 threads x 1 session x 1 attribute",
        faults: "the time to live ends at any time",
        without: "all other faults",
        attributes: 2,
        unique_states: 306_342,
        programs: &[&[USE_A, &[Do::Lock(0, ALL), Do::Destroy(0)]], &[USE_A]],
        store: || StoreSettings {
            time_to_live_ms: Some(0),
            ..store_settings()
        },
        store_timers: |timer| matches!(timer, StoreTimer::Expire { .. }),
        watches_destroyed: true,
        ..QUIET
    },
    Universe {
        name: "parting",
        summary: "sessions are renamed and destroyed, and cuts lose the answers",
        bounds: "2 processes x 1 thread x 2 sessions x 1 attribute",
        faults: "cuts of p1",
        without: "all other faults",
        unique_states: 3_586_963,
        programs: &[&[REPLACE], &[USE_BOTH]],
        sessions: 2,
        faulty: 1,
        cuts: true,
        watches_destroyed: true,
        ..QUIET
    },
    Universe {
        name: "wild",
        summary: "messages are lost, repeated and reordered",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute, 2 messages under way with p1",
        faults: "loss, repetition, reordering",
        without: "cuts, crashes, restarts, leases; faults of the connection of p2; commits, see `storm`",
        unique_states: 820_332,
        programs: &[&[USE_A], &[USE_A]],
        process: || ProcessSettings {
            keeps_base: false,
            ..process_settings()
        },
        ..WILD
    },
    Universe {
        name: "late",
        summary: "recalls end with threads inside and cuts lose commits: the writes of the other threads survive",
        bounds: "2 processes x 2 and 1 threads x 1 session x 1 attribute",
        faults: "cuts of p1, recall deadlines of p1",
        without: "crashes, restarts, leases",
        faulty: 1,
        unique_states: 719_535,
        programs: &[&[USE_A, JUST_COMMIT], &[READ_A]],
        cuts: true,
        process_timers: |timer| matches!(timer, ProcessTimer::Late { .. }),
        ..QUIET
    },
    Universe {
        name: "ordeal",
        summary: "cuts and crashes of both processes together, with commits",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "cuts, process crashes, lease ends of the dead",
        without: "restarts of the store, lease ends of the living",
        is_quick: false,
        unique_states: 13_306_400,
        programs: &[&[COMMIT_A], &[USE_A]],
        cuts: true,
        crashes: true,
        store_timers: |timer| matches!(timer, StoreTimer::Lease { .. }),
        ..QUIET
    },
    Universe {
        name: "storm",
        summary: "commits and deltas through the network of `wild`",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute, 2 messages under way with p1",
        faults: "loss, repetition, reordering",
        without: "cuts, crashes, restarts, leases; progress: endless commits keep both places of the network full",
        is_quick: false,
        judges_progress: false,
        unique_states: 2_771_794,
        programs: &[&[COMMIT_A], &[USE_A]],
        ..WILD
    },
    Universe {
        name: "rush",
        summary: "three processes, one of them with two threads: the order of arrival and the gate together",
        bounds: "3 processes x 2, 1 and 1 threads x 1 session x 2 attributes",
        is_quick: false,
        attributes: 2,
        unique_states: 11_903_308,
        programs: &[&[USE_A, USE_AB], &[USE_A], &[COMMIT_A]],
        ..QUIET
    },
];

/// Returns the universe of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Universe> {
    UNIVERSES.iter().find(|universe| universe.name == name)
}
