//! Scripts of earlier bugs: a difference between the manager and the machine, or a thread that the machine forgot. Each
//! comment describes the bug.

use crate::history::op::{History, Op, Setup};
use crate::history::play;
use tenure_protocol::message::WaitMode;
use tenure_protocol::process::Names;
use tenure_protocol::{AttributeName, SessionId, ThreadId};

const S1: SessionId = SessionId::from_static("s1");
const S2: SessionId = SessionId::from_static("s2");
const A: AttributeName = AttributeName::from_static("a");
const B: AttributeName = AttributeName::from_static("b");
const C: AttributeName = AttributeName::from_static("c");
const T1: ThreadId = ThreadId(1);
const T2: ThreadId = ThreadId(2);
const T4: ThreadId = ThreadId(4);

/// Messages arrive at once, and tasks are polled when they are woken.
const PLAIN: Setup = Setup {
    carries: true,
    polls: true,
    is_tight: false,
    is_small: false,
    turns: 0,
    keeps_base: true,
    lives_ms: None,
};

/// Messages arrive and tasks are polled only when the script says so.
const SLOW: Setup = Setup {
    carries: false,
    polls: false,
    ..PLAIN
};

/// Each session may have two attributes.
const SMALL: Setup = Setup {
    is_small: true,
    ..PLAIN
};

fn lock(thread: ThreadId, session: SessionId, name: AttributeName) -> Op {
    lock_names(thread, session, Names::One(name))
}

fn lock_all(thread: ThreadId, session: SessionId) -> Op {
    lock_names(thread, session, Names::All)
}

fn lock_names(thread: ThreadId, session: SessionId, names: Names) -> Op {
    Op::Lock {
        thread,
        session,
        names,
        wait_mode: WaitMode::Wait,
        existing: false,
        within_ms: None,
    }
}

fn set(thread: ThreadId, which: usize, name: AttributeName) -> Op {
    Op::Set(thread, which, name, Some("0".into()))
}

fn agrees(setup: Setup, ops: impl IntoIterator<Item = Op>) {
    let ops = ops.into_iter().collect();
    if let Err(failure) = play(&History { setup, ops }) {
        panic!("\n{failure}");
    }
}

/// Bug: `Holder::since` was the start of the wait. So a thread that had waited long seemed to have held the lock for
/// long.
#[test]
fn a_hold_is_counted_from_the_end_of_its_wait() {
    agrees(SLOW, [lock(T1, S1, A), Op::Pass(1), Op::Carry]);
}

/// Bug: the machine forgot that threads of a session had lost its grant. So these threads could leave without an error.
#[test]
fn a_lost_grant_is_remembered_until_all_threads_have_left() {
    let script = [
        lock(T1, S1, A),
        Op::PassForget(20_000, S1),
        Op::Check(T1, 0),
    ];
    agrees(PLAIN, script);
}

/// Bug: the future of a destroy was dropped after its answer and before its poll. The guard then left the next session
/// of that id, in which another thread was inside.
#[test]
fn dropping_a_guard_of_a_destroyed_session_unlocks_nothing_in_its_new_life() {
    let polls = |thread| [Op::Carry, Op::Poll(thread)];
    let script = [lock_all(T2, S2)].into_iter().chain(polls(T2));
    let script = script.chain([Op::Destroy(T2, 0), Op::Carry, lock(T1, S2, A)]);
    agrees(SLOW, script.chain(polls(T1)).chain([Op::Drop(T2, 0)]));
}

/// Bug: the future of a rename was dropped, and the guard did not learn the new id. The guard could neither write nor
/// leave, and its lock stayed for ever.
#[test]
fn a_guard_moves_along_with_a_rename_whose_future_was_dropped() {
    for answered_first in [false, true] {
        let script = [
            lock_all(T1, S1),
            Op::Carry,
            Op::Poll(T1),
            Op::Rename(T1, 0, S2),
        ];
        let ends = if answered_first {
            [Op::Carry, Op::Cancel(T1)]
        } else {
            [Op::Cancel(T1), Op::Carry]
        };
        let goes_on = [set(T1, 0, A), Op::Check(T1, 0), Op::Unlock(T1, 0)];
        agrees(SLOW, script.into_iter().chain(ends).chain(goes_on));
    }
}

/// Bug: a commit was made while its session was being renamed. The answer came under the new id, where no thread waited
/// for it. Another bug: the end of a rename woke the task that had dropped its future. In the script, the future of the
/// commit is awaited, or dropped and made again.
#[test]
fn a_commit_moves_along_with_a_rename_whose_future_was_dropped() {
    for drops in [false, true] {
        let begins = [lock_all(T1, S1), Op::Carry, Op::Poll(T1)];
        let renames = [set(T1, 0, A), Op::Rename(T1, 0, S2), Op::Cancel(T1)];
        let commits = [Op::Commit(T1, 0), Op::Carry];
        let again = [Op::Cancel(T1), set(T1, 0, B), Op::Commit(T1, 0)];
        let again = again.into_iter().filter(|_| drops);
        let ends = [Op::Pass(2_000), Op::Carry, Op::Poll(T1)];
        let script = begins.into_iter().chain(renames).chain(commits);
        agrees(SLOW, script.chain(again).chain(ends));
    }
}

/// Bug: the answer to a commit whose future was dropped completed the next commit of the thread, whose writes were not
/// yet durable.
#[test]
fn the_answer_to_a_dropped_commit_does_not_complete_the_next_commit() {
    let begins = [lock(T1, S1, A), Op::Carry, Op::Poll(T1)];
    let drops = [set(T1, 0, A), Op::Commit(T1, 0), Op::Cancel(T1)];
    let again = [
        Op::Edit(T1, 0, A, "1".into()),
        Op::Commit(T1, 0),
        Op::ReachStore,
        Op::ReachProcess,
        Op::Poll(T1),
    ];
    agrees(SLOW, begins.into_iter().chain(drops).chain(again));
}

/// Bug: the answer to such a commit went to a lock request, which panicked.
#[test]
fn the_answer_to_a_dropped_commit_does_not_complete_a_lock_request() {
    let begins = [lock(T1, S1, A), Op::Carry, Op::Poll(T1), lock(T2, S1, B)];
    let drops = [set(T1, 0, A), Op::Commit(T1, 0), Op::Cancel(T1)];
    let again = [lock(T1, S1, B), Op::Carry, Op::Poll(T1)];
    agrees(SLOW, begins.into_iter().chain(drops).chain(again));
}

/// Bug: a session that was renamed after its thread had left was unknown under its new id. So no sweep reported it as
/// idle.
#[test]
fn a_renamed_session_without_users_is_listed_as_idle() {
    let begins = [lock_all(T1, S1), Op::Carry, Op::Poll(T1)];
    let leaves = [
        Op::Rename(T1, 0, S2),
        Op::Drop(T1, 0),
        Op::Carry,
        Op::Sweep(0),
    ];
    agrees(SLOW, begins.into_iter().chain(leaves));
}

/// Bug: the refusal of a rename failed a lock request of the same thread, since both waited in one session.
#[test]
fn the_refusal_of_a_rename_does_not_fail_a_lock_request() {
    let holds = [
        lock_all(T4, S2),
        lock(T4, S1, A),
        Op::Drop(T4, 1),
        Op::Break,
    ];
    let leaves = [
        Op::Rename(T4, 0, S1),
        Op::Drop(T4, 0),
        lock(T4, S2, A),
        Op::Connect,
    ];
    agrees(PLAIN, holds.into_iter().chain(leaves));
}

/// Bug: a thread left a session that it had renamed, and requested its lock again. When the lease ended, the answer to
/// the rename ended the new request too. The lock that was granted later then had no owner.
#[test]
fn the_loss_of_a_rename_does_not_end_a_later_lock_request() {
    let begins = [lock_all(T4, S1), Op::Carry, Op::Poll(T4)];
    let leaves = [Op::Rename(T4, 0, S2), Op::Drop(T4, 0), lock(T4, S1, A)];
    let ends = [Op::Pass(9_000), Op::Pass(2_500)];
    agrees(SLOW, begins.into_iter().chain(leaves).chain(ends));
}

/// Bug: a write to an open cell is accepted there. When the cell was closed, the space reserved for that write was no
/// longer counted. Another thread used the space, and the write was refused when its thread left.
#[test]
fn an_accepted_write_is_applied_after_its_cell_was_closed() {
    let warm = [
        lock(T2, S1, B),
        set(T2, 0, B),
        lock(T2, S1, A),
        Op::Unlock(T2, 1),
    ];
    let closes = [
        lock(T4, S1, A),
        Op::Commit(T2, 0),
        Op::Edit(T4, 0, A, "0".into()),
    ];
    let takes_the_room = [lock(T1, S1, C), Op::Unlock(T4, 0)];
    agrees(SMALL, warm.into_iter().chain(closes).chain(takes_the_room));
}

/// Another thread replaces one attribute by another one, and may keep both changes or none. So there is room for the
/// accepted write in either case, but not for that write beside both attributes.
#[test]
fn an_accepted_write_is_applied_although_another_thread_swaps_attributes() {
    let warm = [lock(T2, S1, B), set(T2, 0, B), Op::Unlock(T2, 0)];
    let exchanges = [
        lock(T4, S1, A),
        lock_names(T1, S1, Names::Many(vec![B, C])),
        Op::Set(T1, 0, B, None),
        set(T1, 0, C),
    ];
    let closes = [
        lock(T2, S1, A),
        Op::Edit(T4, 0, A, "0".into()),
        Op::Unlock(T4, 0),
    ];
    agrees(SMALL, warm.into_iter().chain(exchanges).chain(closes));
}

/// Bug: the session had accepted a value, and the thread then restored the old value in the cell before the handoff.
/// The value looked unwritten, so the session kept the accepted value.
#[test]
fn a_write_undone_before_a_handoff_is_not_applied() {
    let writes = |value: Option<Vec<u8>>| Op::Set(T1, 0, A, value.map(Into::into));
    let script = [
        lock(T4, S1, A),
        Op::Drop(T4, 0),
        lock(T1, S1, A),
        lock(T2, S1, A),
        writes(Some(vec![b'0'; 80])),
        writes(None),
        Op::Drop(T1, 0),
    ];
    agrees(PLAIN, script);
}
