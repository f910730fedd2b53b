//! Findings of the transcripts and random schedules: each is a short script with the outcome that the rules require.
//!
//! An ignored test fails today; its reason says why. Once fixed, it stays as a regression test.

use crate::support::{Setup, World, words};
use tenure_protocol::message::{Granted, Hello};
use tenure_protocol::store;
use tenure_protocol::{SessionId, ThreadId};

/// Plays a script between `p` and `q`, and returns the transcript.
fn play(setup: Setup, script: &str) -> (World, String) {
    let mut world = World::connected(setup, &["p", "q"]);
    world.log = Some(String::new());
    world.run(script);
    let log = world.log.take().expect("just set");
    (world, log)
}

fn s() -> SessionId {
    words::session("s")
}

fn durable(world: &World, name: &str) -> Option<String> {
    let record = world.records.get(&s())?;
    let value = record.value(&words::attribute(name))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn soon() -> Setup {
    let mut setup = Setup::default();
    setup.store.recall_ms = 4_000;
    setup
}

/// Returns the answers that the threads of `p` and `q` received, in order.
fn told<'a>(log: &'a str, who: &str) -> Vec<&'a str> {
    let prefix = format!("  {who:6} receives: ");
    log.lines()
        .filter_map(|line| line.strip_prefix(prefix.as_str()))
        .collect()
}

#[test]
fn a_late_thread_does_not_lose_the_unanswered_commit_of_another_thread() {
    let (world, log) = play(
        soon(),
        "p.1 lock s a
         settle
         p.2 lock s b
         q.1 lock s a
         settle
         p.2 write s b kept
         p.2 unlock s b
         p cut
         settle
         wait 3000
         p tick
         p connect
         settle",
    );
    assert_eq!(durable(&world, "b").as_deref(), Some("kept"), "{log}");
}

#[test]
fn a_cycle_that_a_recall_closes_is_broken() {
    let (world, log) = play(
        Setup::default(),
        "p.1 lock s a
         settle
         p.3 lock s b
         p.2 lock r x
         settle
         p.1 lock r x
         p.2 lock s b
         # Until now 1 waits for 2, and 2 for 3, which is free to leave. The gate makes 2 wait for 1.
         q.1 lock s z
         settle
         p.3 unlock s b
         settle",
    );
    let is_told = told(&log, "p.1").len() + told(&log, "p.2").len() > 2;
    assert!(is_told, "{log}\n{:?}", world.node("p").process.waits());
}

#[test]
fn a_write_within_the_limits_can_be_released() {
    let mut setup = Setup::default();
    setup.store.limits.session_bytes_max = 10;
    setup.process.limits.session_bytes_max = 10;
    let (_, log) = play(
        setup,
        "p.1 lock s a
         settle
         p.1 write s a 12345678
         p.1 commit s
         settle
         p.1 remove s a
         p.2 lock s b
         p.2 write s b 12345678
         p.2 unlock s b
         p.1 discard s a
         p release s
         settle",
    );
    assert!(!log.contains("store  closes"), "{log}");
}

#[test]
fn a_lock_is_answered_once_also_to_a_poisoned_thread() {
    let (_, log) = play(
        Setup::default(),
        "p.1 lock s a
         settle
         p.2 lock s b
         p.1 lock s b
         wait 9500
         p tick
         p connect
         settle",
    );
    let answers = told(&log, "p.1");
    assert_eq!(answers.len(), 2, "locked, poisoned: {answers:?}");
}

#[test]
fn a_token_is_never_granted_to_two_generations_of_threads() {
    let (_, log) = play(
        Setup::default(),
        "p.1 lock s a
         settle
         p.2 lock s a
         wait 9500
         p tick
         p connect
         settle",
    );
    let locked = |who| {
        told(&log, who)
            .into_iter()
            .find(|words| words.contains("locked"))
            .expect("locked")
            .to_owned()
    };
    assert_ne!(locked("p.1"), locked("p.2"), "1 was poisoned: {log}");
}

#[test]
fn a_revocation_that_crosses_a_release_costs_no_turn() {
    let (world, log) = play(
        soon(),
        "p.1 lock s a
         settle
         q.1 lock s a
         settle
         p.2 lock s b
         wait 4000
         p.1 unlock s a
         store tick
         q get
         q.1 unlock s a
         settle",
    );
    let session = world.node("p").process.session(&s()).expect("wanted");
    assert!(
        session.is_inside(ThreadId(2)),
        "the session is free, and 2 waits: {log}"
    );
}

#[test]
fn a_try_does_not_wait_for_a_thread_that_is_known_to_be_inside() {
    let (_, log) = play(
        Setup::default(),
        "p.1 lock s a
         settle
         q.1 lock s a
         settle
         q.1 abandon s
         settle
         q.2 try s a
         settle",
    );
    assert_eq!(told(&log, "q.2"), ["s refused: would block"], "{log}");
}

#[test]
fn a_commit_is_not_answered_before_its_writes_are_durable() {
    let (mut world, mut log) = play(
        Setup::default(),
        "p.1 lock s a
         settle
         p.2 lock s b
         p.1 write s a x
         p.1 commit s
         p.2 write s b y
         p.2 commit s
         p.1 unlock s a
         p.2 unlock s b
         p release s
         settle
         p.3 lock s c
         p.2 lock s b
         settle
         p.2 write s b z
         p.3 write s c z
         p.3 commit s",
    );
    world.log = Some(String::new());
    world.run("p.2 commit s\np send\np get");
    log += &world.log.take().expect("just set");
    let is_told = told(&log, "p.2")
        .last()
        .is_some_and(|words| words.contains("committed"));
    assert!(
        !is_told || durable(&world, "b").as_deref() == Some("z"),
        "{log}"
    );
}

#[test]
fn no_thread_enters_a_session_while_its_end_is_unanswered() {
    let (_, log) = play(
        Setup::default(),
        "p.1 lock s *
         settle
         p.1 destroy s
         p.1 unlock s *
         p.2 lock s a
         settle",
    );
    let answers = told(&log, "p.2");
    let is_inside = answers == ["s locked under t1.2"];
    assert!(!is_inside, "2 believes that it is inside: {log}");
}

#[test]
fn a_thread_inside_a_session_that_is_renamed_can_leave() {
    let (world, log) = play(
        Setup::default(),
        "p.1 lock s *
         settle
         p.1 rename s r
         p.1 unlock s *
         p.2 lock s a
         settle
         p.2 unlock s a",
    );
    assert!(told(&log, "p.1").contains(&"s renamed to r t1.3"), "{log}");
    let renamed = world.node("p").process.session(&words::session("r"));
    let lock = renamed.expect("kept").lock();
    assert!(lock.is_free(), "r is locked for ever: {log}");
}

#[test]
fn a_process_that_has_left_refuses_every_waiter() {
    let (world, log) = play(
        Setup::default(),
        "p next z
         z connect
         settle
         p cut
         p connect
         settle
         p.2 lock s a",
    );
    assert!(world.node("p").process.has_left());
    assert_eq!(told(&log, "p.2"), ["s refused: shutting down"], "{log}");
}

#[test]
fn an_old_incarnation_is_notified_at_once() {
    let (_, log) = play(
        Setup::default(),
        "p.1 lock s a
         settle
         p next z
         z connect
         settle",
    );
    assert!(
        told(&log, "p.1").contains(&"s poisoned: superseded"),
        "{log}"
    );
}

#[test]
fn an_operator_does_not_move_the_deadline_of_a_recall() {
    let (world, log) = play(
        Setup::default(),
        "p.1 lock s a
         settle
         q.1 lock s a
         settle
         wait 3000
         store recall s
         settle",
    );
    let recall = world
        .store
        .session(&s())
        .and_then(store::Session::recall)
        .expect("recalled");
    assert_eq!(recall.deadline.0, 30_000, "{log}");
}

#[test]
fn a_wait_is_not_ended_before_its_deadline() {
    let mut setup = Setup::default();
    setup.store.wait_ms = 5_000;
    let (_, log) = play(
        setup,
        "p.1 lock s a
         settle
         q.1 lock s a until 5000
         settle
         wait 4900
         q.2 lock s b until 4000
         wait 100
         store tick
         q get",
    );
    assert!(
        told(&log, "q.2").is_empty(),
        "2 has waited for 100 ms of 4000: {log}"
    );
}

#[test]
fn a_rename_to_the_same_id_forgets_no_recall() {
    let (world, log) = play(
        Setup::default(),
        "p.1 lock s *
         settle
         q.1 lock s a
         settle
         p.1 rename s s
         settle
         p.1 unlock s *
         settle",
    );
    let session = world.node("q").process.session(&s()).expect("wanted");
    assert!(session.is_inside(ThreadId(1)), "{log}");
}

#[test]
fn a_destroy_whose_answer_was_lost_is_answered() {
    let (_, log) = play(
        Setup::default(),
        "p.1 lock s *
         settle
         p.1 write s a x
         p.1 commit s
         settle
         p.1 destroy s
         p send
         p cut
         p connect
         settle",
    );
    assert_eq!(told(&log, "p.1").last(), Some(&"s destroyed"), "{log}");
}

#[test]
fn a_grant_that_is_turned_down_breaks_no_rule_by_an_old_copy() {
    let (world, log) = play(
        soon(),
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 unlock s a
         p release s
         settle
         p.1 lock r a
         settle
         p.1 write r a x
         p.1 unlock r a
         p release r
         settle
         q.1 lock r *
         settle
         q.1 destroy r
         settle
         p.1 lock s *
         settle
         q.1 lock s a
         q send
         p get
         p.1 rename s r
         wait 3000
         p tick
         settle
         # The store has renamed s to r, and p has given up: it has a copy of the r that was destroyed, and no grant.
         q.1 lock r a
         settle",
    );
    assert!(!log.contains("store  closes"), "{log}");
    let session = world.node("q").process.session(&words::session("r"));
    assert!(session.expect("wanted").is_inside(ThreadId(1)), "{log}");
}

#[test]
fn the_sessions_that_block_a_holder_are_kept_only_up_to_the_limit_of_threads() {
    use tenure_protocol::message::{AcquireRequest, ToProcess, WaitMode};
    use tenure_protocol::store::{Input, Output};
    use tenure_protocol::*;
    let mut settings = StoreSettings::default();
    settings.limits.threads_max = 2;
    let mut store = StoreMachine::recover(Settings::new(settings), 1, &Records::default(), Time(0));
    let mut out = Vec::new();
    let link = Link {
        incarnation: Incarnation(1),
        number: 1,
    };
    let mut say = |process, message| {
        let process = ProcessId::from_static(process);
        let input = Input::Message {
            process,
            link,
            message,
        };
        store.step(Time(1), input, &mut out);
    };
    for process in ["p", "q"] {
        let hello = ToStore::Hello(Hello {
            minor: MINOR,
            incarnation: link.incarnation,
            sent: Time(1),
            holds: vec![],
            waits: vec![AcquireRequest {
                session: s(),
                request: Request(1),
                known: None,
                wait_mode: WaitMode::Wait,
                ticket: None,
                existing: false,
            }],
        });
        say(process, hello);
    }
    let token = out.iter().find_map(|output| match output {
        Output::Send {
            message: ToProcess::Granted(Granted { token, .. }),
            ..
        } => Some(*token),
        _ => None,
    });
    let busy = ToStore::Busy {
        session: s(),
        token: token.expect("granted"),
        inside: 1,
        blocked_on: ["a", "b", "c"].map(SessionId::from_static).into(),
    };
    let input = Input::Message {
        process: ProcessId::from_static("p"),
        link,
        message: busy,
    };
    store.step(Time(1), input, &mut out);
    let kept = store.session(&s()).and_then(store::Session::busy);
    assert_eq!(kept.expect("busy").blocked_on.len(), 2);
}

#[test]
fn an_accepted_write_of_a_thread_is_kept() {
    let mut setup = Setup::default();
    setup.process.limits.attributes_max = 1;
    let (world, log) = play(
        setup,
        "p.1 lock s a
         settle
         p.1 unlock s a
         # Here the twin hands the attribute out.
         p.1 lock s a
         p.1 write s a x
         # It takes it in around its user, whose write has not come along.
         p.2 lock s a
         p.3 lock s b
         p.3 write s b y
         p.3 unlock s b
         p.1 unlock s a
         p.2 unlock s a
         p release s
         settle",
    );
    assert!(
        told(&log, "p.3").iter().any(|told| told.contains("limit")),
        "{log}"
    );
    assert_eq!(durable(&world, "a").as_deref(), Some("x"), "{log}");
}

/// Plays a thread of `p` that stays inside for longer than the recall, which `q` has caused.
fn stays_inside(what_q_does: &str) {
    let second = "wait 1000\n p tick\n store tick\n settle\n";
    let script = format!(
        "p.1 lock s a
         settle
         q.1 lock s a
         settle
         {what_q_does}
         settle
         p.1 write s a kept
         {}
         p.1 commit s
         settle",
        second.repeat(6)
    );
    let (world, log) = play(soon(), &script);
    assert_eq!(durable(&world, "a").as_deref(), Some("kept"), "{log}");
}

#[test]
fn a_waiter_that_loses_its_connection_costs_the_holder_nothing() {
    stays_inside("q cut");
}

#[test]
fn a_waiter_that_gives_up_costs_the_holder_nothing() {
    stays_inside("q.1 abandon s");
}

#[test]
fn a_session_is_granted_to_a_waiter_only_when_it_is_connected() {
    let script = "p.1 lock s a
         settle
         q.1 lock s a
         settle
         q cut
         settle
         p.1 unlock s a
         settle";
    let (world, log) = play(soon(), script);
    let session = world.store.session(&s()).expect("q waits for it");
    assert_eq!(session.holder(), None, "{log}");
    let (_, log) = play(soon(), &format!("{script}\n q connect\n settle"));
    assert!(
        told(&log, "q.1").iter().any(|told| told.contains("locked")),
        "{log}"
    );
}

/// A waiter without a connection is passed by, and the time to live ends under the next holder: `Busy` ends the recall
/// for expiry, although that waiter is still in the queue.
#[test]
fn busy_ends_a_recall_for_expiry_beside_an_unconnected_waiter() {
    let mut setup = Setup::default();
    setup.store.time_to_live_ms = Some(1_000);
    let (world, log) = play(
        setup,
        "p.1 lock s a
         settle
         q.1 lock s a
         settle
         q cut
         settle
         p.2 lock s b
         p.1 write s a x
         p.1 unlock s a
         settle
         wait 2000
         store tick
         settle",
    );
    let session = world.store.session(&s()).expect("it is held");
    assert!(session.recall().is_none(), "{log}");
    assert!(log.contains("(expiry"), "the recall was sent: {log}");
}
