//! The universes: small worlds, each explored whole.
//!
//! One table says what each contains, which faults it knows, what it does not combine, and how many states it has. The
//! command line and the book show the same table. A universe stays only while a mutant is killed by it alone, or
//! its summary says why it stays.

use crate::system::app::Do;
use crate::system::{ProcessTimer, StoreTimer};
use tenure_protocol::{Limits, ProcessSettings, StoreSettings, Time};

/// Clocks of a universe that has some.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The most that a process's clock is ahead of the store's.
    pub skew_max: u8,
    /// Times longer ago than this are one.
    pub past: u64,
    /// Whether time passes only while nothing is under way and every process has a connection.
    pub is_prompt: bool,
}

/// Where the clocks stand in a universe that has some: far enough from 0 to have a past.
pub(crate) const NOW: Time = Time(100);

/// A named world with its bounds and faults.
#[derive(Clone, Debug)]
pub struct Universe {
    /// Its name on the command line and in the book.
    pub name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// Processes, threads, sessions, attributes.
    pub bounds: &'static str,
    /// What may go wrong.
    pub faults: &'static str,
    /// What is not combined with that.
    pub without: &'static str,
    /// How many different states it has, canonical. Pinned: changed only by someone who can say why.
    pub unique_states: u64,
    /// Whether `verify` and the quick check explore it.
    pub is_quick: bool,
    /// For each process, for each thread, what it does for ever.
    pub programs: &'static [&'static [&'static [Do]]],
    /// Whether progress is judged as well as safety.
    pub judges_progress: bool,
    /// Number of sessions.
    pub sessions: u8,
    /// Number of attributes of each session.
    pub attributes: u8,
    /// How many values the threads write in turn.
    pub values: u8,
    /// Settings of the store.
    pub store: fn() -> StoreSettings,
    /// Settings of the processes.
    pub process: fn() -> ProcessSettings,
    /// The first so many processes are those that the faults hit, whose clocks drift, whose threads give up.
    pub faulty: u8,
    /// Connections are cut, and a suffix in both directions is lost.
    pub cuts: bool,
    /// Connections go silent without being closed, while the lease has at least so much left.
    pub silences: Option<u64>,
    /// Processes die and start again.
    pub crashes: bool,
    /// Processes shut down and start again.
    pub stops: bool,
    /// The store dies and starts again.
    pub restarts: bool,
    /// The store stops in good order, for a restart or after a drain, and starts again.
    pub closes: bool,
    /// The store's disk is full for a time.
    pub fills: bool,
    /// Messages are lost, repeated and reordered; so many are under way at most between a process and the store: what is
    /// sent beyond is lost.
    pub channel_max: Option<usize>,
    /// Waiting threads give up.
    pub abandons: bool,
    /// Processes give idle sessions back unasked.
    pub gives_back: bool,
    /// The leases of living processes end at any time, at either end.
    pub ends_leases: bool,
    /// Threads may stay inside for ever.
    pub lingers: bool,
    /// Timers fire by clocks, not at any time.
    pub clocks: Option<Clocks>,
    /// Which of the store's timers fire.
    pub store_timers: fn(StoreTimer) -> bool,
    /// Which of a process's timers fire.
    pub process_timers: fn(ProcessTimer) -> bool,
    /// Whether sessions end, and must not come back.
    pub watches_destroyed: bool,
    /// Whether the store is of 1.0, which does not understand that a session is wanted only if it exists.
    pub is_older: bool,
    /// Whether the processes are of 1.0, which do not read what a store says of its limits.
    pub is_deaf: bool,
}

/// A world without faults.
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

/// A world whose first process has a network that does anything, so that both sides repeat what they said.
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

/// Timers fire at any time, so all spans are nothing.
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

/// The third of the values is too long for the store.
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

/// Locks one attribute, writes it.
const USE_A: &[Do] = &[Do::Lock(0, A), Do::WriteAndUnlock(A)];
const USE_B: &[Do] = &[Do::Lock(0, B), Do::WriteAndUnlock(B)];
const USE_AB: &[Do] = &[Do::Lock(0, AB), Do::WriteAndUnlock(AB)];
const USE_ALL: &[Do] = &[Do::Lock(0, ALL), Do::WriteAndUnlock(A)];
/// Takes a second attribute while it is inside.
const NEST: &[Do] = &[
    Do::Lock(0, A),
    Do::Lock(0, B),
    Do::WriteAndUnlock(B),
    Do::WriteAndUnlock(A),
];
/// Tries, and waits the next time.
const TRY_THEN_LOCK: &[Do] = &[
    Do::Try(0, A),
    Do::Unlock,
    Do::Lock(0, A),
    Do::WriteAndUnlock(A),
];
/// Reads.
const READ_A: &[Do] = &[Do::Lock(0, A), Do::Unlock];
/// Locks two attributes one after the other, in the other order.
const NEST_BACK: &[Do] = &[
    Do::Lock(0, B),
    Do::Lock(0, A),
    Do::WriteAndUnlock(A),
    Do::WriteAndUnlock(B),
];
/// Makes its write durable before it leaves.
const COMMIT_A: &[Do] = &[Do::Lock(0, A), Do::Write(0, 0), Do::Commit(0), Do::Unlock];
/// Makes durable what others wrote.
const JUST_COMMIT: &[Do] = &[Do::Lock(0, A), Do::Commit(0), Do::Unlock];
/// Writes, and is seen inside with a write set.
const LINGER_A: &[Do] = &[Do::Lock(0, A), Do::Write(0, 0), Do::Unlock];
const DISCARD_A: &[Do] = &[Do::Lock(0, A), Do::Write(0, 0), Do::Discard];

/// Ends one session and gives the other its id, as at a log-in.
const REPLACE: &[Do] = &[
    Do::Lock(0, ALL),
    Do::Lock(1, ALL),
    Do::Destroy(1),
    Do::Rename(0, 1),
    Do::Unlock,
];
/// Reads, if there is a session.
const READ_EXISTING: &[Do] = &[Do::LockExisting(0, A), Do::Unlock];
/// Reads whatever there is, so that the process has also grants of sessions that do not exist; and writes if there is one.
const READ_THEN_USE_EXISTING: &[Do] = &[
    Do::Lock(0, A),
    Do::Unlock,
    Do::LockExisting(0, A),
    Do::WriteAndUnlock(A),
];
/// Makes a session, shows it durable, and ends it.
const MAKE_AND_END: &[Do] = &[
    Do::Lock(0, ALL),
    Do::Write(0, 0),
    Do::Commit(0),
    Do::Destroy(0),
];
/// The same, and what is unlocked is not durable at once.
const MAKE_USE_AND_END: &[Do] = &[
    Do::Lock(0, A),
    Do::WriteAndUnlock(A),
    Do::Lock(0, ALL),
    Do::Commit(0),
    Do::Destroy(0),
];
/// Writes one session, then the other.
const USE_BOTH: &[Do] = &[
    Do::Lock(0, A),
    Do::WriteAndUnlock(A),
    Do::Lock(1, A),
    Do::WriteAndUnlock(A),
];

/// All universes.
pub static UNIVERSES: &[Universe] = &[
    Universe {
        name: "calm",
        summary: "keeping, recalling, the gate, several attributes, commits",
        bounds: "2 processes x 2 threads x 1 session x 2 attributes",
        attributes: 2,
        unique_states: 775_641,
        programs: &[&[USE_B, NEST], &[COMMIT_A, USE_AB]],
        ..QUIET
    },
    Universe {
        name: "crowd",
        summary: "order and bounded bypass at the store",
        bounds: "3 processes x 1 thread x 1 session x 1 attribute",
        unique_states: 355_664,
        programs: &[&[USE_A], &[USE_A], &[USE_A]],
        ..QUIET
    },
    Universe {
        name: "threads",
        summary: "order at an attribute, several attributes at once, panics",
        bounds: "2 processes x 3 and 1 threads x 1 session x 2 attributes",
        attributes: 2,
        unique_states: 257_014,
        programs: &[&[DISCARD_A, USE_AB, USE_B], &[USE_ALL]],
        ..QUIET
    },
    Universe {
        name: "nested",
        summary: "further attributes in opposite order: the local deadlock is broken",
        bounds: "2 processes x 2 and 1 threads x 1 session x 2 attributes",
        attributes: 2,
        unique_states: 55_018,
        programs: &[&[NEST, NEST_BACK], &[USE_A]],
        ..QUIET
    },
    Universe {
        name: "limits",
        summary: "a full queue refuses, and nothing is lost",
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
        summary: "the store has smaller limits than the processes, which keep to them",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute, of whose 3 values one is too long",
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
        summary: "processes of 1.0 write beyond the limits of the store: it costs them that grant and nobody else anything",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute, of whose 3 values one is too long",
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
        summary: "a session is wanted only if it exists: one that does not costs a look and leaves nothing",
        bounds: "2 processes x 2 and 1 threads x 1 session x 1 attribute",
        without: "all faults, see `revisit`; copies that are kept as bases",
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
        summary: "what is wanted only if it exists is said anew behind each welcome, and keeps its place",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "cuts of p1",
        without: "all other faults; copies that are kept as bases; a second thread of p1",
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
        summary: "a store of 1.0 is never asked for a session only if it exists; all other requests go on",
        bounds: "2 processes x 2 and 1 threads x 1 session x 1 attribute",
        faults: "cuts of p1",
        without: "all other faults; copies that are kept as bases",
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
        summary: "ordered channels; a cut loses any suffix both ways; hello settles it",
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
        summary: "a process dies anywhere and returns as a new incarnation",
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
        summary: "a process says goodbye and starts again; idle sessions are given back",
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
        summary: "the store dies anywhere and returns from what was durable",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "store crashes, a disk that lags behind",
        without: "cuts without a crash, process crashes, leases",
        unique_states: 568_622,
        programs: &[&[COMMIT_A], &[USE_A]],
        restarts: true,
        ..QUIET
    },
    Universe {
        name: "closing",
        summary: "the store stops for a restart, or drains: nothing new is granted, and nothing is lost",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute",
        faults: "stops, drains",
        without: "all other faults; a disk that lags behind, see `restart`",
        unique_states: 1_967_984,
        programs: &[&[USE_A], &[READ_A]],
        closes: true,
        ..QUIET
    },
    Universe {
        name: "full",
        summary: "the disk is full for a time: what is new is refused, what is there stays",
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
        summary: "a waiter loses its connection after its recall: it is passed by, and takes no grant from a living holder",
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
        summary: "clocks drift within bounds: no thread believes in a dead lease",
        bounds: "1 process x 2 threads x 1 session x 1 attribute",
        faults: "drift of the process's clock, messages that take any time",
        without: "cuts, crashes, restarts, revocations, a second process; progress, which a network slower than the lease prevents",
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
        summary: "two connections in a row go silent without being closed: the process leaves them in time to save its lease",
        bounds: "1 process x 1 thread x 1 session x 1 attribute",
        faults: "silence of a connection, and of the next one",
        without: "cuts, crashes, restarts, drift; a third silent connection; progress, since time does not end",
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
        summary: "two sessions locked in opposite order: the deadlock is found and broken",
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
        summary: "tries, cancels and deadlines against cached grants",
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
        summary: "time to live while cached; destroy; no resurrection",
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
        summary: "sessions are renamed and destroyed, and the answers cut off",
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
        without: "cuts, crashes, restarts, leases; the connection of p2 is in order; commits, see storm",
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
        summary: "recalls end with threads inside, commits are cut off: others' writes survive",
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
        summary: "cuts and crashes together, of both processes, with commits",
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
        summary: "commits and differences through the network of wild",
        bounds: "2 processes x 1 thread x 1 session x 1 attribute, 2 messages under way with p1",
        faults: "loss, repetition, reordering",
        without: "cuts, crashes, restarts, leases; progress: commits for ever keep 2 places full",
        is_quick: false,
        judges_progress: false,
        unique_states: 2_771_794,
        programs: &[&[COMMIT_A], &[USE_A]],
        ..WILD
    },
    Universe {
        name: "rush",
        summary: "three processes, one with two threads: order and the gate at once",
        bounds: "3 processes x 2, 1 and 1 threads x 1 session x 2 attributes",
        is_quick: false,
        attributes: 2,
        unique_states: 11_903_308,
        programs: &[&[USE_A, USE_AB], &[USE_A], &[COMMIT_A]],
        ..QUIET
    },
];

impl Universe {
    /// Whether the store has a disk.
    #[must_use]
    pub fn has_disk(&self) -> bool {
        self.restarts || self.closes || self.fills
    }

    /// Whether an update takes its time to become durable.
    #[must_use]
    pub fn lags(&self) -> bool {
        self.restarts || self.fills
    }

    /// The points in time that the store and the processes are told.
    pub(crate) fn now(&self) -> (Time, Time) {
        let now = if self.clocks.is_some() {
            NOW
        } else {
            Time::ZERO
        };
        (now, now)
    }

    /// Whether a thread wants a session only if it exists.
    #[must_use]
    pub fn asks_existing(&self) -> bool {
        let mut threads = self.programs.iter().flat_map(|threads| threads.iter());
        threads.any(|program| program.iter().any(|step| step.locks_existing().is_some()))
    }

    /// Whether any timer fires.
    #[must_use]
    pub fn has_timers(&self) -> bool {
        self.faults != "none"
    }
}

/// A universe by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Universe> {
    UNIVERSES.iter().find(|universe| universe.name == name)
}
