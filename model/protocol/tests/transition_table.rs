//! Every input in every phase, for one session of each machine, as two tables that the machines themselves make.
//!
//! A script leads to each phase; each input is then given to a copy. The tables are Markdown for the book. The inputs
//! that change nothing and have no answer stand together in the last row of their phase. The book shows the tables with
//! letters for numbers and with equal rows merged, so that a reader can follow a phase.
//!
//! This file deliberately leaves out sequences of inputs, which the transcripts show.

use crate::support::book::{assert_shows, grouped, with_letters, without_times};
use crate::support::{Setup, World, words};
use std::fmt::Write as _;
use tenure_protocol::attributes::{Change, State, Value};
use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Granted, Hello, Reason, RecallInfo, Refusal, Release,
    Revocation, WaitMode,
};
use tenure_protocol::process::{self, Call, Names, Phase};
use tenure_protocol::store;
use tenure_protocol::{
    Delta, Link, ProcessId, Request, SessionId, Stamp, ThreadId, Ticket, Time, ToProcess, ToStore,
    Token, Version,
};

const OLD: Stamp = Stamp {
    epoch: 0,
    sequence: 1,
};
const NEW: Stamp = Stamp {
    epoch: 1,
    sequence: 90,
};

fn s() -> SessionId {
    words::session("s")
}

fn setup() -> Setup {
    let mut setup = Setup::default();
    setup.store.time_to_live_ms = Some(40_000);
    setup
}

/// Returns [`setup`] with a lease that outlasts every timer of the tables.
fn setup_of_book() -> Setup {
    let mut setup = setup();
    setup.store.lease_ms = 1_000_000;
    setup
}

fn changes(name: &str, value: &'static str) -> Delta {
    let value = Some(Value::from_static(value.as_bytes()));
    [Change {
        name: words::attribute(name),
        value,
    }]
    .into_iter()
    .collect()
}

/// Returns a row, or `None` when nothing happens.
type Row = (String, Option<(String, String)>);

fn table(text: &mut String, title: &str, before: &str, rows: Vec<Row>) {
    writeln!(
        text,
        "## {title}\n\n`{before}`\n\n| input | then | outputs |\n|---|---|---|"
    )
    .expect("text");
    let mut ignored = Vec::new();
    for (input, row) in rows {
        match row {
            Some((after, outputs)) => {
                writeln!(text, "| {input} | {after} | {outputs} |").expect("text")
            }
            None => ignored.push(input),
        }
    }
    if !ignored.is_empty() {
        writeln!(text, "| *{}* | the same | nothing |", ignored.join("*; *")).expect("text");
    }
    text.push('\n');
}

fn outcome(before: &str, after: String, outputs: Vec<String>) -> Option<(String, String)> {
    if after == before && outputs.is_empty() {
        return None;
    }
    let after = if after == before {
        "the same".to_owned()
    } else {
        format!("`{after}`")
    };
    let outputs: Vec<String> = outputs.iter().map(|output| format!("`{output}`")).collect();
    Some((
        after,
        if outputs.is_empty() {
            "nothing".to_owned()
        } else {
            outputs.join("<br>")
        },
    ))
}

// ---- the process ---------------------------------------------------------------------------------------------------

/// The phases of a session in process `p`, with the scripts that lead there. Threads 1 and 4 go inside; threads 2 and 3
/// wait.
const PHASES: [(&str, &str); 14] = [
    ("Absent", ""),
    (
        "Absent, with a copy",
        "p.1 lock s a\nsettle\np.1 write s a x\np.1 unlock s a\np release s\nsettle",
    ),
    (
        "Wanted",
        "q.1 lock s a\nsettle\np.2 lock s a\np send\np get",
    ),
    (
        "Wanted, by a try",
        "q.1 lock s a\nsettle\np.2 try s a\np send\np get",
    ),
    (
        "Cancelling",
        "q.1 lock s a\nsettle\np.2 lock s a\np send\np get\np.2 abandon s",
    ),
    (
        "Cancelling, wanted again",
        "q.1 lock s a\nsettle\np.2 lock s a\np send\np get\np.2 abandon s\np.3 lock s a",
    ),
    (
        "Held, idle",
        "p.1 lock s a\nsettle\np.1 write s a x\np.1 unlock s a",
    ),
    (
        "Held, a thread inside",
        "p.1 lock s a\nsettle\np.1 write s a x",
    ),
    (
        "Held, a thread inside, another waits",
        "p.1 lock s a\nsettle\np.2 lock s a",
    ),
    (
        "Held, recalled, a thread inside",
        "p.1 lock s a\nsettle\np.1 write s a x\nq.1 lock s a\nsettle\np.2 lock s b",
    ),
    (
        "Held, a commit without an answer",
        "p.1 lock s a\nsettle\np.1 write s a x\np.1 commit s",
    ),
    (
        "Held, a destroy without an answer",
        "p.1 lock s *\nsettle\np.1 destroy s",
    ),
    (
        "Releasing",
        "p.1 lock s a\nsettle\np.1 write s a x\np.1 unlock s a\np release s",
    ),
    (
        "Releasing, with a new request",
        "p.1 lock s a\nsettle\np.1 write s a x\nq.1 lock s a\nsettle\np.2 lock s b\np.1 unlock s a",
    ),
];

/// Returns the token and the request that fit the session's phase.
fn fitting(world: &World) -> (Token, Request, Version) {
    let session = world.node("p").process.session(&s());
    let version = session
        .and_then(process::Session::version)
        .unwrap_or(Version::NONE);
    let (token, request) = match session.map(process::Session::phase) {
        Some(Phase::Held(grant)) => (grant.token, Request(1)),
        Some(Phase::Releasing { token, requeue, .. }) => (*token, requeue.unwrap_or(Request(90))),
        Some(Phase::Wanted { request, .. } | Phase::Cancelling { request }) => {
            (Token(NEW), *request)
        }
        Some(Phase::Absent) | None => (Token(NEW), Request(90)),
    };
    (token, request, version)
}

fn granted(request: Request, token: Stamp, recall: Option<Reason>) -> ToProcess {
    ToProcess::Granted(Granted {
        session: s(),
        request,
        token: Token(token),
        version: Version(NEW),
        state: State::Full(changes("a", "new")),
        recall: recall.map(|reason| RecallInfo {
            reason,
            deadline_ms: 30_000,
        }),
        give_back: false,
    })
}

#[expect(clippy::too_many_lines, reason = "a table, a row for each message")]
fn messages(world: &World) -> Vec<(String, ToProcess)> {
    let (token, request, base) = fitting(world);
    let session = s;
    let recall = |token, reason| ToProcess::Recall {
        hold: GrantRef {
            session: s(),
            token,
        },
        info: RecallInfo {
            reason,
            deadline_ms: 30_000,
        },
    };
    let refused = |request, why| ToProcess::Refused {
        session: s(),
        request,
        why,
    };
    let committed = |token| ToProcess::Committed {
        session: s(),
        token,
        base,
        version: Version(NEW),
    };
    let released = |token, version| ToProcess::Released {
        session: s(),
        token,
        version,
        limit: None,
    };
    let revoked = |token| ToProcess::Revoked {
        session: s(),
        token,
        why: Revocation::Fenced,
        limit: None,
    };
    let gone = |token, renamed| ToProcess::Gone {
        session: s(),
        token,
        renamed,
    };
    let old = Token(OLD);
    let renamed = GrantRef {
        session: words::session("r"),
        token: Token(NEW),
    };
    [
        ("granted", granted(request, NEW, None)),
        (
            "granted, recalled already",
            granted(request, NEW, Some(Reason::Wait)),
        ),
        ("granted, old request", granted(Request(0), NEW, None)),
        ("granted, old token", granted(request, OLD, None)),
        (
            "queued",
            ToProcess::Queued {
                session: session(),
                request,
                ticket: Ticket(NEW),
            },
        ),
        (
            "queued, old request",
            ToProcess::Queued {
                session: session(),
                request: Request(0),
                ticket: Ticket(NEW),
            },
        ),
        ("recall (wait)", recall(token, Reason::Wait)),
        ("recall (try)", recall(token, Reason::Try)),
        ("recall (expiry)", recall(token, Reason::Expiry)),
        ("recall (wait), old token", recall(old, Reason::Wait)),
        ("committed", committed(token)),
        ("committed, old token", committed(old)),
        ("released", released(token, Some(Version(NEW)))),
        ("released, had ended before", released(token, None)),
        ("released, old token", released(old, Some(Version(NEW)))),
        ("revoked", revoked(token)),
        ("revoked, old token", revoked(old)),
        (
            "refused: would block",
            refused(request, Refusal::WouldBlock),
        ),
        ("refused: cancelled", refused(request, Refusal::Cancelled)),
        ("refused: deadline", refused(request, Refusal::Deadline)),
        (
            "refused: deadlock",
            refused(
                request,
                Refusal::Deadlock {
                    cycle: vec![s(), words::session("r")],
                },
            ),
        ),
        ("refused: gone", refused(request, Refusal::Gone)),
        (
            "refused: gone, old request",
            refused(Request(0), Refusal::Gone),
        ),
        (
            "not renamed",
            ToProcess::NotRenamed {
                session: session(),
                token,
                why: Refusal::IdTaken,
            },
        ),
        ("gone", gone(token, None)),
        ("gone, old token", gone(old, None)),
        ("gone, renamed", gone(token, Some(renamed))),
        ("lease ended", ToProcess::LeaseEnded),
    ]
    .into_iter()
    .map(|(name, message)| (name.to_owned(), message))
    .collect()
}

fn calls() -> Vec<(&'static str, u64, Call)> {
    let one = |name| Names::One(words::attribute(name));
    let lock = |names, wait_mode| Call::Lock {
        names,
        wait_mode,
        until: Time(50_000),
        existing: false,
    };
    vec![
        (
            "lock of a free attribute",
            9,
            lock(one("z"), WaitMode::Wait),
        ),
        ("lock of `a`", 9, lock(one("a"), WaitMode::Wait)),
        ("try of a free attribute", 9, lock(one("z"), WaitMode::Try)),
        ("try of `a`", 9, lock(one("a"), WaitMode::Try)),
        (
            "lock of a further attribute by thread 1",
            1,
            lock(one("z"), WaitMode::Wait),
        ),
        ("abandon by thread 2", 2, Call::Abandon),
        (
            "write by thread 1",
            1,
            Call::Write {
                name: words::attribute("a"),
                value: Some(Value::from_static(b"y")),
            },
        ),
        (
            "write by a stranger",
            9,
            Call::Write {
                name: words::attribute("a"),
                value: None,
            },
        ),
        ("unlock by thread 1", 1, Call::Unlock(one("a"))),
        ("unlock of all by thread 1", 1, Call::Unlock(Names::All)),
        ("unlock by a stranger", 9, Call::Unlock(one("a"))),
        ("discard by thread 1", 1, Call::Discard(one("a"))),
        ("commit by thread 1", 1, Call::Commit),
        ("destroy by thread 1", 1, Call::Destroy),
        ("rename by thread 1", 1, Call::Rename(words::session("r"))),
    ]
}

fn process_inputs(world: &World) -> Vec<(String, u64, process::Input)> {
    use process::{Input, Timer};
    let link = Link {
        number: 1,
        incarnation: world.node("p").process.incarnation(),
    };
    let messages = messages(world)
        .into_iter()
        .map(|(name, message)| (name, 0, Input::Message { link, message }));
    let calls = calls().into_iter().map(|(name, thread, call)| {
        let input = Input::Thread {
            thread: ThreadId(thread),
            session: s(),
            call,
        };
        (name.to_owned(), 0, input)
    });
    let own = [
        ("the driver's release", 0, Input::Release(s())),
        ("the driver's forget", 0, Input::Forget(s())),
        ("the connection is lost", 0, Input::Disconnected),
        ("a new connection", 0, Input::Connected),
        ("shutdown", 0, Input::Shutdown),
        (
            "timer: resend",
            2_000,
            Input::Timer(Timer::Resend(Some(s()))),
        ),
        ("timer: late", 29_000, Input::Timer(Timer::Late(s()))),
        (
            "timer: end of the wait of thread 2",
            50_000,
            Input::Timer(Timer::Wait(s(), ThreadId(2))),
        ),
        (
            "timer: end of the lease",
            world.setup.store.lease_ms - world.setup.process.margin_ms,
            Input::Timer(Timer::Lease),
        ),
    ];
    let own = own
        .into_iter()
        .map(|(name, after, input)| (name.to_owned(), after, input));
    messages.chain(calls).chain(own).collect()
}

fn client(process: &tenure_protocol::ProcessMachine) -> String {
    let own = process.session(&s()).map(words::of_client);
    let renamed = process.session(&words::session("r"));
    let renamed = renamed.map(|session| format!("; r: {}", words::of_client(session)));
    own.unwrap_or_else(|| "nothing".to_owned()) + &renamed.unwrap_or_default()
}

fn process_output(output: &process::Output) -> String {
    match output {
        process::Output::Send { message, .. } => words::to_store(message),
        process::Output::Answer { thread, answer, .. } => {
            format!("{thread}: {}", words::answer(answer))
        }
        process::Output::Disconnect { .. } => "disconnect".to_owned(),
    }
}

#[test]
fn process() {
    let mut text = "# The phases of a session in a process\n\n".to_owned();
    for (title, script) in PHASES {
        let world = world_of(setup(), script);
        let before = client(&world.node("p").process);
        table(
            &mut text,
            title,
            &before,
            process_rows(&world, str::to_owned),
        );
    }
    snapshot("process-table", &text);
}

fn world_of(setup: Setup, script: &str) -> World {
    let mut world = World::connected(setup, &["p", "q"]);
    world.run(script);
    world
}

/// Returns the result of each input. `said` rewrites the texts.
fn process_rows(world: &World, said: impl Fn(&str) -> String) -> Vec<Row> {
    let before = said(&client(&world.node("p").process));
    let rows = process_inputs(world)
        .into_iter()
        .map(|(name, after, input)| {
            let mut process = world.node("p").process.clone();
            let mut out = Vec::new();
            process.step(world.now.after(after), input, &mut out);
            let outputs = out.iter().map(|output| said(&process_output(output)));
            (
                name,
                outcome(&before, said(&client(&process)), outputs.collect()),
            )
        });
    rows.collect()
}

#[test]
fn the_book_shows_the_process() {
    let mut text = String::new();
    for (title, script) in PHASES {
        let world = world_of(setup_of_book(), script);
        let before = client(&world.node("p").process);
        let letter = |kind: char, stamp: &str| match (kind, stamp) {
            (_, number) if number == OLD.to_string() => format!("{kind}₀"),
            (kind, number) if before.contains(&format!("{kind}{number}")) => kind.to_string(),
            ('k', _) => "k".to_owned(),
            _ => format!("{kind}⁺"),
        };
        let said = |text: &str| without_times(&with_letters(text, letter));
        let rows = grouped(process_rows(&world, said));
        text += &format!("### {title}\n\n`{}`\n\n{rows}\n", said(&before));
    }
    assert_shows("protocol/process.md", "process", &text);
}

// ---- the store -----------------------------------------------------------------------------------------------------

/// The states of a session at the store, as the sender `p` finds them.
const STATES: [(&str, &str); 10] = [
    ("Absent", ""),
    (
        "Free",
        "q.1 lock s a\nsettle\nq.1 write s a x\nq.1 unlock s a\nq release s\nsettle",
    ),
    ("Held by the sender", "p.1 lock s a\nsettle"),
    (
        "Held by the sender, after a commit",
        "p.1 lock s a\nsettle\np.1 write s a x\np.1 commit s\nsettle",
    ),
    (
        "Held by the sender, recalled for another",
        "p.1 lock s a\nsettle\nq.1 lock s a\nq send",
    ),
    (
        "Held by the sender, recalled, busy",
        "p.1 lock s a\nsettle\nq.1 lock s a\nsettle",
    ),
    (
        "Held by the sender, recalled for a try",
        "p.1 lock s a\nsettle\nq.1 try s a\nq send",
    ),
    ("Held by another", "q.1 lock s a\nsettle"),
    (
        "Held by another, the sender waits",
        "q.1 lock s a\nsettle\np.1 lock s a\np send",
    ),
    (
        "Held by another, the sender tries",
        "q.1 lock s a\nsettle\np.1 try s a\np send",
    ),
];

struct Right {
    token: Token,
    version: Version,
    request: Request,
}

/// Returns the token, version and request that fit a message of `p`.
fn right(world: &World) -> Right {
    let session = world.store.session(&s());
    let head = session.map(|session| &session.record().head);
    let holder = head
        .and_then(|head| head.holder.as_ref())
        .filter(|holder| holder.process == p());
    let mut places = session.into_iter().flat_map(|session| {
        let holders = session.lock().holders().iter();
        holders.chain(session.lock().waiters())
    });
    Right {
        token: holder.map_or(Token(NEW), |holder| holder.token),
        version: head.map_or(Version::NONE, |head| head.version),
        request: places
            .find(|place| place.process == p())
            .map_or(Request(1), |place| place.request),
    }
}

fn p() -> ProcessId {
    ProcessId::from_static("p")
}

fn acquire_request(request: Request, wait_mode: WaitMode) -> AcquireRequest {
    AcquireRequest {
        session: s(),
        request,
        known: None,
        wait_mode,
        ticket: None,
        existing: false,
    }
}

fn hello(holds: Vec<GrantRef>, waits: Vec<AcquireRequest>) -> ToStore {
    ToStore::Hello(Hello {
        minor: tenure_protocol::MINOR,
        incarnation: tenure_protocol::Incarnation(1),
        sent: Time::ZERO,
        holds,
        waits,
    })
}

fn release(token: Token, base: Version, requeue: Option<Request>) -> ToStore {
    ToStore::Release(Release {
        session: s(),
        token,
        base,
        delta: changes("b", "new"),
        requeue,
        idle_ms: 0,
    })
}

#[expect(clippy::too_many_lines, reason = "a table, a row for each message")]
fn to_store(world: &World) -> Vec<(&'static str, u64, ToStore)> {
    let Right {
        token,
        version,
        request,
    } = right(world);
    let old = Token(OLD);
    let hold = |token| {
        vec![GrantRef {
            session: s(),
            token,
        }]
    };
    let commit = |token, base| {
        ToStore::Commit(Commit {
            session: s(),
            token,
            base,
            delta: changes("b", "new"),
        })
    };
    let busy = |token| ToStore::Busy {
        session: s(),
        token,
        inside: 1,
        blocked_on: vec![],
    };
    let rename = |token, to| ToStore::Rename {
        session: s(),
        token,
        to: words::session(to),
    };
    let later = Request(request.0 + 1);
    vec![
        (
            "acquire (wait)",
            1,
            ToStore::Acquire(acquire_request(request, WaitMode::Wait)),
        ),
        (
            "acquire (try)",
            1,
            ToStore::Acquire(acquire_request(request, WaitMode::Try)),
        ),
        (
            "acquire (wait), next request",
            1,
            ToStore::Acquire(acquire_request(later, WaitMode::Wait)),
        ),
        (
            "acquire (wait), old request",
            1,
            ToStore::Acquire(acquire_request(Request(0), WaitMode::Wait)),
        ),
        (
            "cancel",
            1,
            ToStore::Cancel {
                session: s(),
                request,
            },
        ),
        (
            "cancel, old request",
            1,
            ToStore::Cancel {
                session: s(),
                request: Request(0),
            },
        ),
        ("commit", 1, commit(token, version)),
        ("commit, to an old version", 1, commit(token, Version(OLD))),
        ("commit, to no version", 1, commit(token, Version::NONE)),
        ("commit, old token", 1, commit(old, version)),
        ("release", 1, release(token, version, None)),
        ("release, requeue", 1, release(token, version, Some(later))),
        ("release, old token", 1, release(old, version, None)),
        (
            "release, old token, requeue",
            1,
            release(old, version, Some(later)),
        ),
        ("busy", 1, busy(token)),
        ("busy, old token", 1, busy(old)),
        (
            "destroy",
            1,
            ToStore::Destroy {
                session: s(),
                token,
            },
        ),
        (
            "destroy, old token",
            1,
            ToStore::Destroy {
                session: s(),
                token: old,
            },
        ),
        ("rename", 1, rename(token, "r")),
        ("rename to an id that is taken", 1, rename(token, "taken")),
        ("rename, old token", 1, rename(old, "r")),
        ("keep-alive", 1, ToStore::KeepAlive { sent: Time(7) }),
        ("hello with nothing", 2, hello(vec![], vec![])),
        ("hello, holds it", 2, hello(hold(token), vec![])),
        (
            "hello, holds it under an old token",
            2,
            hello(hold(old), vec![]),
        ),
        (
            "hello, waits for it",
            2,
            hello(vec![], vec![acquire_request(request, WaitMode::Wait)]),
        ),
        (
            "hello, waits for it with the next request",
            2,
            hello(vec![], vec![acquire_request(later, WaitMode::Wait)]),
        ),
        (
            "hello, holds it and waits",
            2,
            hello(hold(token), vec![acquire_request(later, WaitMode::Wait)]),
        ),
        (
            "hello of a connection that is no longer the newest",
            1,
            hello(vec![], vec![]),
        ),
        (
            "release on an old connection",
            0,
            release(token, version, None),
        ),
        ("goodbye", 1, ToStore::Goodbye),
    ]
}

fn store_inputs(world: &World) -> Vec<(String, u64, store::Input)> {
    use store::{Input, Timer};
    let link = |number| Link {
        number,
        incarnation: tenure_protocol::Incarnation(1),
    };
    let messages = to_store(world).into_iter().map(|(name, number, message)| {
        let input = Input::Message {
            process: p(),
            link: link(number),
            message,
        };
        (name.to_owned(), 0, input)
    });
    let own = [
        (
            "the connection is lost",
            0,
            Input::Disconnected {
                process: p(),
                link: link(1),
            },
        ),
        ("the operator recalls", 0, Input::Recall(s())),
        (
            "timer: the sender's lease",
            world.setup.store.lease_ms,
            Input::Timer(Timer::Lease(p())),
        ),
        ("timer: remind", 1_000, Input::Timer(Timer::Remind(s()))),
        ("timer: revoke", 30_000, Input::Timer(Timer::Revoke(s()))),
        (
            "timer: end of the sender's wait",
            60_000,
            Input::Timer(Timer::Wait(s(), p())),
        ),
        ("timer: expire", 40_000, Input::Timer(Timer::Expire(s()))),
    ];
    let own = own
        .into_iter()
        .map(|(name, after, input)| (name.to_owned(), after, input));
    messages.chain(own).collect()
}

fn session(store: &tenure_protocol::StoreMachine) -> String {
    let own = store.session(&s()).map(words::of_session);
    let renamed = store.session(&words::session("r"));
    let renamed = renamed.map(|session| format!("; r: {}", words::of_session(session)));
    own.unwrap_or_else(|| "nothing".to_owned()) + &renamed.unwrap_or_default()
}

fn store_output(output: &store::Output) -> String {
    match output {
        store::Output::Persist(update) => format!("durable: {}", words::update(update)),
        store::Output::Send {
            process, message, ..
        } => format!("{process}: {}", words::to_process(message)),
        store::Output::Disconnect { process, .. } => format!("disconnect {process}"),
    }
}

#[test]
fn store() {
    let mut text = "# The states of a session at the store, and what `p` may send\n\n".to_owned();
    for (title, script) in STATES {
        let world = world_with_taken(setup(), script);
        let before = session(&world.store);
        table(&mut text, title, &before, store_rows(&world, str::to_owned));
    }
    snapshot("store-table", &text);
}

fn world_with_taken(setup: Setup, script: &str) -> World {
    world_of(setup, &format!("q.8 lock taken a\nsettle\n{script}"))
}

/// Returns the result of each input. `said` rewrites the texts.
fn store_rows(world: &World, said: impl Fn(&str) -> String) -> Vec<Row> {
    let before = said(&session(&world.store));
    let rows = store_inputs(world).into_iter().map(|(name, after, input)| {
        let mut store = world.store.clone();
        let mut out = Vec::new();
        store.step(world.now.after(after), input, &mut out);
        let outputs = out.iter().map(|output| said(&store_output(output)));
        (
            name,
            outcome(&before, said(&session(&store)), outputs.collect()),
        )
    });
    rows.collect()
}

#[test]
fn the_book_shows_the_store() {
    let mut text = String::new();
    for (title, script) in STATES {
        let world = world_with_taken(setup_of_book(), script);
        let before = session(&world.store);
        let letter = |kind: char, stamp: &str| {
            let is_false = [OLD, NEW].iter().any(|of| of.to_string() == stamp);
            match kind {
                kind if before.contains(&format!("{kind}{stamp}")) => kind.to_string(),
                kind if is_false => format!("{kind}₀"),
                kind => format!("{kind}⁺"),
            }
        };
        let said = |text: &str| without_times(&with_letters(text, letter));
        let rows = grouped(store_rows(&world, said));
        text += &format!("### {title}\n\n`{}`\n\n{rows}\n", said(&before));
    }
    assert_shows("protocol/store.md", "store", &text);
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
