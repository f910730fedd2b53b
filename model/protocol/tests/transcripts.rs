//! The messages between the two machines, situation by situation, pinned as text that a person reviews.
//!
//! Each test plays a script (`support/script.rs` describes the language) and compares the transcript with a file in
//! `snapshots/`. A difference is a change of behaviour. A person accepts it only with a reason.
//!
//! This file deliberately leaves out random schedules (`machines.rs`), and every input in every phase
//! (`transition_table.rs`).

use crate::support::{Setup, transcript};

fn plain() -> Setup {
    Setup::default()
}

fn with(change: impl FnOnce(&mut Setup)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup);
    setup
}

/// Plays `script` and compares the transcript with the snapshot `name`. The names of the nodes have one letter each.
fn check(name: &str, title: &str, setup: Setup, nodes: &str, script: &str) {
    let nodes: Vec<&str> = nodes.split(' ').collect();
    let text = transcript(title, setup, &nodes, script);
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn first_grant() {
    check(
        "first-grant",
        "A process connects and is granted a free session. Rules 6, 8 and 10.",
        plain(),
        "p",
        "p.1 lock s a
         p send
         p get
         p.1 write s a x
         p.1 unlock s a",
    );
}

#[test]
fn kept_grant() {
    check(
        "kept-grant",
        "A grant is cached after use, and the next use sends nothing. The process gives it back when the driver \
         asks. Rules 2 and 4.",
        plain(),
        "p",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 unlock s a
         # No message is sent.
         p.2 lock s a
         p.2 write s a y
         p.2 unlock s a
         # The cache limit of the driver.
         p release s
         settle
         # The remaining copy is a base for the next grant.
         p.1 lock s a
         settle
         p forget s
         p.1 unlock s a",
    );
}

#[test]
fn only_if_it_exists() {
    check(
        "only-if-it-exists",
        "A request that wants a session only if it exists: an absent session costs a look-up \
         and an answer, and leaves nothing. An existing session is granted. Rule 16.",
        plain(),
        "p q",
        "p.1 existing s a
         settle
         q.1 lock s a
         settle
         q.1 write s a x
         q.1 unlock s a
         # The holder is recalled, as for any request.
         p.1 existing s a
         settle
         p.1 unlock s a",
    );
}

#[test]
fn absent_behind_a_queue() {
    check(
        "absent-behind-a-queue",
        "The store checks whether the session exists when it would grant it: here the holder has \
         created none. The next grant goes to a waiter that accepts a new session. Rule 16.",
        plain(),
        "p q r",
        "q.1 lock s a
         settle
         p.1 existing s a
         settle
         r.1 lock s a
         settle
         q.1 unlock s a
         settle
         r.1 unlock s a",
    );
}

#[test]
fn existing_beside_others() {
    check(
        "existing-beside-others",
        "A thread that accepts a new session joins the request of a thread that wants an existing one: \
         the process asks again for it. Its unlocked change is enough for a third thread. Rule 16.",
        plain(),
        "p",
        "p.1 existing s a
         p.2 lock s a
         settle
         # The session exists by the unlocked change, not by the write.
         p.1 existing s a
         p.3 existing s b
         p.2 write s a x
         p.2 unlock s a
         p.3 existing s b
         p.1 unlock s a
         p.3 unlock s b",
    );
}

#[test]
fn existing_over_a_cut() {
    check(
        "existing-over-a-cut",
        "No hello lists a request that wants a session only if it exists: after the welcome the process sends \
         a new request, in the old place. Rules 5, 15 and 16.",
        plain(),
        "p q r",
        "q.1 lock s a
         settle
         q.1 write s a x
         p.1 existing s a
         settle
         r.1 lock s a
         settle
         p cut
         p connect
         settle
         q.1 unlock s a
         settle
         p.1 unlock s a",
    );
}

#[test]
fn recall_while_held() {
    check(
        "recall-while-held",
        "The holder answers Busy while a thread is inside, and gives the grant back when the thread is done. \
         Rules 3, 7 and 12.",
        plain(),
        "p q",
        "p.1 lock s a
         settle
         p.1 write s a x
         q.1 lock s a
         q send
         q get
         p get
         # The gate is closed: this thread waits behind q.
         p.2 lock s b
         p send
         # The recall is repeated; the deadline stays.
         wait 1000
         store tick
         p get
         p send
         p.1 unlock s a
         p send
         q get
         p get
         q get
         p get
         # One use is enough for q, since p waits again.
         q get
         q.1 unlock s a
         settle",
    );
}

#[test]
fn recall_while_idle() {
    check(
        "recall-while-idle",
        "A cached grant is given back at once. Rules 2, 3 and 7.",
        plain(),
        "p q",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 unlock s a
         wait 700
         q.1 lock s a
         q send
         p get
         p send
         p get
         q get
         q get",
    );
}

#[test]
fn grant_crossing_cancel() {
    check(
        "grant-crossing-cancel",
        "The only waiting thread gives up while the grant is on its way: the grant ends the request \
         and is cached. Rule 14.",
        plain(),
        "p",
        "p.1 lock s a
         p send
         p.1 abandon s
         # The grant arrives at a process that no longer wants the session.
         p get
         # The cancel arrives at a store that has granted already.
         p send
         p get
         p.2 lock s a",
    );
}

#[test]
fn cancel_while_queued() {
    check(
        "cancel-while-queued",
        "A waiting thread gives up, and another thread of the process asks again before the answer. Rule 14.",
        plain(),
        "p q r",
        "p.1 lock s a
         settle
         q.1 lock s a
         settle
         r.1 lock s a
         settle
         q.1 abandon s
         q.2 lock s b
         # The cancel has its own answer; the new request stands behind r.
         settle
         # The deadline of a thread has the same effect.
         q.3 lock s c until 100
         q.2 abandon s
         wait 100
         q tick
         settle",
    );
}

#[test]
fn recall_before_grant() {
    check(
        "recall-before-grant",
        "The recall overtakes its grant: the process remembers the recall, and the grant is good for one use. \
         Rules 12 and 14.",
        plain(),
        "p q",
        "p.1 lock s a
         p send
         q.1 lock s a
         q send
         # The grant is late.
         p get late
         p get
         p get
         p.2 lock s b
         p.1 write s a x
         p.1 unlock s a
         settle",
    );
}

#[test]
fn holder_dies_after_recall() {
    check(
        "holder-dies-after-recall",
        "The holder dies with a recall outstanding: its lease ends, the recall ends with it, \
         and the waiter is next. Rule 10.",
        plain(),
        "p q",
        "p.1 lock s a
         settle
         p.1 write s a x
         q.1 lock s a
         q send
         q get
         # p is gone for good: no message of p arrives any more.
         p cut
         p send
         wait 3000
         q tick
         settle
         wait 6000
         q tick
         settle
         # The connection alone frees nothing. At 10000 the lease of p ends.
         wait 1000
         store tick
         q get",
    );
}

#[test]
fn restart_with_waiters() {
    check(
        "restart-with-waiters",
        "The store dies and recovers: it knows the holder, and the waiters present their tickets \
         in any order. Rules 5, 8 and 15.",
        plain(),
        "p q r",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 unlock s a
         p.1 lock s a
         q.1 lock s a
         settle
         r.1 lock s a
         settle
         store crash
         p get
         q get
         r get
         # r is back before q, and p is last.
         r connect
         r send
         q connect
         q send
         p connect
         p send
         settle
         p.1 unlock s a
         settle
         q.1 unlock s a
         settle",
    );
}

#[test]
fn restart_after_grant() {
    check(
        "restart-after-grant",
        "The store dies after a grant is durable and before it arrives: the holder asks and gets \
         the same grant. Rules 8 and 14.",
        plain(),
        "p q",
        "p.1 lock s a
         p send
         store crash
         p get
         # Another process cannot have the session meanwhile.
         q get
         q connect
         q.1 lock s a
         settle
         p connect
         settle
         p.1 unlock s a
         settle",
    );
}

#[test]
fn expiry_while_cached() {
    check(
        "expiry-while-cached",
        "The time to live ends while the grant is cached: the holder says when it was last used. Rule 16.",
        with(|setup| {
            setup.store.time_to_live_ms = Some(4_000);
        }),
        "p",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 commit s
         settle
         p.1 unlock s a
         # Local uses send nothing to the store.
         wait 3000
         p.1 lock s a
         p.1 unlock s a
         wait 1000
         store tick
         settle
         # The session was used at 3000, so it lives until 7000.
         wait 2999
         store tick
         wait 1
         store tick
         # A new session under the old id has none of the old state.
         p.1 lock s a
         settle",
    );
}

#[test]
fn expiry_while_inside() {
    check(
        "expiry-while-inside",
        "The time to live ends with a thread inside: the session lives on. Rule 16.",
        with(|setup| {
            setup.store.time_to_live_ms = Some(4_000);
        }),
        "p",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 commit s
         settle
         wait 4000
         store tick
         settle
         p.1 unlock s a",
    );
}

#[test]
fn destroy_with_waiters() {
    check(
        "destroy-with-waiters",
        "A session ends while other processes wait for it, and a late write of an earlier grant \
         changes nothing. Rules 9 and 16.",
        plain(),
        "p q r",
        "p.1 lock s *
         settle
         p.1 write s a x
         p.1 unlock s *
         q.1 lock s *
         q send
         # The release of p is under way twice; one copy will come late.
         p get
         p send twice
         p get
         q get
         q get
         r.1 lock s a
         r send
         q.2 lock s b
         q.1 destroy s
         settle
         # A process that asks now gets a new session.
         r.1 lock s a
         settle",
    );
}

#[test]
fn destroy_repeated() {
    check(
        "destroy-repeated",
        "The answer to a destroy is lost with the connection: the thread is poisoned, and does not \
         know the result. Rules 14 and 16.",
        plain(),
        "p",
        "p.1 lock s *
         settle
         p.1 write s a x
         p.1 commit s
         settle
         p.1 destroy s
         p send
         p cut
         p send
         p get
         p connect
         settle",
    );
}

#[test]
fn try_on_kept() {
    check(
        "try-on-kept",
        "A try on a session that another process only caches recalls it and succeeds. Rule 13.",
        plain(),
        "p q",
        "p.1 lock s a
         settle
         p.1 unlock s a
         q.1 try s a
         settle
         # Inside the process a try waits for no thread.
         q.2 try s a
         q.3 try s b",
    );
}

#[test]
fn try_on_busy() {
    check(
        "try-on-busy",
        "A try on a session with a thread inside another process is refused, and the holder keeps \
         its grant. Rule 13.",
        plain(),
        "p q r",
        "p.1 lock s a
         settle
         q.1 try s a
         settle
         p.2 lock s b
         # If another process waits already, a try is refused at once.
         q.1 lock s a
         settle
         r.1 try s a
         settle
         # A holder without a connection cannot be recalled.
         q.1 abandon s
         settle
         p cut
         p send
         q.1 try s a
         settle",
    );
}

#[test]
fn several_attributes() {
    check(
        "several-attributes",
        "Several attributes are locked all or none, and a later thread does not overtake. Rules 12 and 17.",
        plain(),
        "p",
        "p.1 lock s b
         settle
         p.2 lock s c a b
         # The attribute is free, but thread 2 is next.
         p.3 lock s a
         p.4 lock s d
         p.1 unlock s b
         p.2 write s a x
         p.2 write s d y
         p.2 unlock s a b c
         p.3 unlock s a
         # All attributes, also those that do not exist yet.
         p.5 lock s *
         p.4 unlock s d",
    );
}

#[test]
fn insider_behind_the_gate() {
    check(
        "insider-behind-the-gate",
        "A thread inside locks a further attribute behind the closed gate, before a thread that \
         waits outside. Rule 12.",
        plain(),
        "p q",
        "p.1 lock s a
         settle
         p.2 lock s b
         q.1 lock s a
         settle
         p.3 lock s c
         p.1 lock s c
         p.1 lock s b
         p.2 unlock s b
         p.1 write s a x
         p.1 write s b y
         p.1 unlock s a
         p.1 unlock s b
         p.1 unlock s c
         settle",
    );
}

#[test]
fn late_thread() {
    check(
        "late-thread",
        "At the deadline of the recall a thread is still inside: the finished threads' writes are \
         saved, its own are lost. Rule 11.",
        with(|setup| setup.store.recall_ms = 4_000),
        "p q",
        "p.1 lock s a
         settle
         p.2 lock s b
         p.3 lock s c
         q.1 lock s a
         settle
         p.1 write s a lost
         p.2 write s b kept
         # Under a recall, the writes of a finished thread are made durable at once.
         p.2 unlock s b
         p send
         p.3 write s c also
         p.3 unlock s c
         wait 1900
         p get
         wait 1100
         p tick
         settle
         # The late thread's calls have no effect until it has left.
         p.1 write s a late
         p.1 commit s
         p.1 unlock s a
         p.1 lock s a",
    );
}

#[test]
fn recall_deadline() {
    check(
        "recall-deadline",
        "The holder does not answer at all: its grant is revoked, and its late release is fenced. Rules 9 and 11.",
        with(|setup| setup.store.recall_ms = 4_000),
        "p q",
        "p.1 lock s a
         settle
         p.1 write s a x
         q.1 lock s a
         settle
         p.1 unlock s a
         # p lives, but its release is slow.
         wait 4000
         store tick
         p send
         p get
         p get
         p.1 lock s a
         settle",
    );
}

#[test]
fn lease_lost_inside() {
    check(
        "lease-lost-inside",
        "The process receives nothing from the store: it ends its lease before the store does, \
         with a thread inside. Rule 10.",
        plain(),
        "p q",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.2 lock s a
         wait 3000
         p tick
         p send lose
         q.1 lock s a
         q send
         q get
         wait 6499
         p tick
         wait 1
         # The lease of p is over at p, not yet at the store.
         p tick
         p.1 write s a y
         p.1 commit s
         p.1 unlock s a
         p connect
         settle",
    );
}

#[test]
fn new_incarnation() {
    check(
        "new-incarnation",
        "A process is started again while its old incarnation still runs: the old one is fenced at once. Rules \
         9 and 10.",
        plain(),
        "p",
        "p.1 lock s a
         settle
         p.1 write s a old
         p next z
         z connect
         z.1 lock s a
         z send
         z send
         z get
         z get
         z.1 write s a new
         # The messages of the old incarnation are dropped.
         p.1 unlock s a
         p release s
         settle
         p.2 lock s a",
    );
}

#[test]
fn old_incarnation() {
    check(
        "old-incarnation",
        "The old incarnation of a restarted process connects again: the store notifies it that it \
         is superseded. Rule 10.",
        plain(),
        "p",
        "p.1 lock s a
         settle
         p.1 write s a old
         p cut
         p next z
         z connect
         z.1 lock s a
         settle
         p.2 lock s b
         p connect
         settle
         p.2 lock s a",
    );
}

#[test]
fn crash_of_holder() {
    check(
        "crash-of-holder",
        "A holder dies and comes back within its lease: its old grant is void, and the waiter is next. Rule 10.",
        plain(),
        "p q",
        "p.1 lock s a
         settle
         p.1 write s a lost
         q.1 lock s a
         settle
         p crash
         p connect
         settle",
    );
}

#[test]
fn release_unacknowledged() {
    check(
        "release-unacknowledged",
        "The connection breaks after a release, once before it arrived, once before its answer did. Rules 14 and 15.",
        plain(),
        "p",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 unlock s a
         p release s
         # The release never arrived.
         p cut
         p connect
         settle
         p.1 lock s a
         settle
         p.1 write s a y
         p.1 unlock s a
         p release s
         # The release arrived, and its answer is lost.
         p send
         p cut
         p connect
         settle
         p.1 lock s a
         settle",
    );
}

#[test]
fn release_requeue_unacknowledged() {
    check(
        "release-requeue-unacknowledged",
        "The connection breaks after a release that asks again: the place in the queue is kept. Rules 12, 14 and 15.",
        plain(),
        "p q",
        "p.1 lock s a
         settle
         p.1 write s a x
         q.1 lock s a
         settle
         p.2 lock s a
         p.1 unlock s a
         p send
         p send
         p cut
         p connect
         settle
         q.1 unlock s a
         settle",
    );
}

#[test]
fn commit_cut() {
    check(
        "commit-cut",
        "The connection breaks before the answer to a commit: the commit is sent again, and applied once. Rules \
         7 and 14.",
        plain(),
        "p",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 commit s
         p send
         p cut
         p send
         p get
         # Meanwhile the thread continues.
         p.1 write s a y
         p.1 commit s
         p connect
         settle
         # A durable write needs no message.
         p.1 commit s",
    );
}

#[test]
fn deadlock_of_processes() {
    check(
        "deadlock-of-processes",
        "Two processes lock two sessions in opposite order: one wait is refused, with the cycle. Rule 17.",
        plain(),
        "p q",
        "p.1 lock r a
         settle
         q.1 lock s a
         settle
         p.1 lock s a
         settle
         q.1 lock r a
         settle
         # The victim frees its locks, and the other continues.
         p.1 unlock r a
         q.1 unlock s a
         settle",
    );
}

#[test]
fn deadlock_of_threads() {
    check(
        "deadlock-of-threads",
        "Two threads of one process lock two sessions in opposite order: the wait that closes the \
         cycle is refused. Rule 17.",
        plain(),
        "p",
        "p.1 lock r a
         p.2 lock s a
         settle
         p.1 lock s a
         p.2 lock r a
         p.2 unlock s a
         # The same happens within one session.
         p.3 lock t a
         p.4 lock t b
         settle
         p.3 lock t b
         p.4 lock t a",
    );
}

#[test]
fn rename() {
    check(
        "rename",
        "A session gets a new id: the grant and the lock move with it, and waiters for the old id \
         are refused. Rule 16.",
        plain(),
        "p q",
        "p.1 lock s *
         settle
         p.1 write s a x
         p.1 unlock s *
         p.1 lock s *
         q.1 lock s a
         q send
         p.1 rename s r
         p send
         settle
         p.1 write r b y
         p.1 unlock r *
         p release r
         settle
         # The id is taken.
         p.1 lock r *
         p.2 lock s *
         settle
         p.2 rename s r
         settle
         p.2 rename s q
         p send
         p cut
         p send
         p get
         # The answer is lost: the thread is poisoned, and does not know the result.
         p connect
         settle",
    );
}

#[test]
fn shutdown() {
    check(
        "shutdown",
        "A process stops: no thread enters, the threads inside finish, every grant is given back, \
         and the process says goodbye. Rule 4.",
        plain(),
        "p q",
        "p.1 lock s a
         p.1 lock r a
         settle
         p.1 unlock r a
         q.1 lock t a
         settle
         p.2 lock s a
         p.3 lock t a
         settle
         p shutdown
         settle
         p.4 lock s b
         p.1 write s a x
         p.1 unlock s a
         settle",
    );
}

#[test]
fn limits() {
    check(
        "limits",
        "Past a limit the store refuses, and nothing is lost. Rule 18.",
        with(|setup| {
            setup.store.limits.waiters_max = 1;
            setup.process.limits.threads_max = 1;
            setup.process.limits.attribute_bytes_max = 4;
            setup.process.limits.attributes_max = 2;
            setup.process.limits.session_bytes_max = 8;
        }),
        "p q r",
        "p.1 lock s *
         settle
         p.1 write s a 12345
         p.1 write s a 1234
         p.1 write s b 123
         p.1 write s b 12
         p.1 write s c 1
         q.1 lock s a
         settle
         r.1 lock s a
         settle
         # One thread exceeds the limit.
         q.2 lock s b
         p.1 unlock s *
         settle",
    );
}

#[test]
fn limits_of_processes() {
    check(
        "limits-of-processes",
        "Processes, and grants of one process, have a limit. Rule 18.",
        with(|setup| {
            setup.store.limits.processes_max = 1;
            setup.store.limits.grants_max = 1;
        }),
        "p",
        "p.1 lock s a
         settle
         p.2 lock r a
         settle
         p next z
         z connect
         settle",
    );
}

#[test]
fn store_is_full() {
    let mut setup = Setup::default();
    setup.store.limits.processes_max = 1;
    check(
        "store-is-full",
        "A store that knows enough processes turns the next one away. Rule 18.",
        setup,
        "p q",
        "q.1 lock s a
         q connect
         settle",
    );
}

#[test]
fn turns() {
    check(
        "turns",
        "Two processes take turns: after some turns the grant asks to be given back after use, \
         and no recall is needed. Rule 2.",
        with(|setup| setup.store.turns = 2),
        "p q",
        "p.1 lock s a
         settle
         p.1 write s a x
         p.1 unlock s a
         q.1 lock s a
         settle
         q.1 unlock s a
         # The second turn: the grant is given back at once.
         p.1 lock s a
         settle
         p.1 unlock s a
         settle
         q.1 lock s a
         settle
         q.1 unlock s a
         settle
         # The same process again: the grant is cached.
         q.1 lock s a
         settle
         q.1 unlock s a
         settle",
    );
}

#[test]
fn operator_recall() {
    check(
        "operator-recall",
        "The operator recalls a session that no process waits for. Rule 3.",
        plain(),
        "p",
        "p.1 lock s a
         settle
         store recall s
         settle
         p.1 write s a x
         p.1 unlock s a
         settle",
    );
}

#[test]
fn duplicates() {
    check(
        "duplicates",
        "Every message arrives twice, and nothing happens twice. Rule 14.",
        plain(),
        "p q",
        "p.1 lock s a
         p send twice
         p get twice
         p send
         settle
         p.1 write s a x
         p.1 commit s
         p send twice
         p get twice
         p send
         settle
         q.1 lock s a
         q send twice
         q send
         p get twice
         p.1 unlock s a
         p send twice
         p send twice
         settle",
    );
}
