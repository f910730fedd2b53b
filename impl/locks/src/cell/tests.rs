//! The table of the state word, compared with the changes that each side makes to a cell.

use super::word::{May, OWN, TABLE};
use super::{Cell, Entrance, Held, Terms};
use crate::sync::{Arc, Ordering};
use crate::waiter::{LockAnswer, Waiter};
use std::panic::Location;
use tenure_protocol::attributes::Value;
use tenure_protocol::process::Names;
use tenure_protocol::{AttributeName, ThreadId, Time, Token};

/// The sides that change a state word, in the order of the table's columns.
#[derive(Clone, Copy, Debug)]
enum Side {
    Thread,
    Handoff,
    Session,
}

/// The bits that each side has set and cleared in the word of a cell.
struct Watch<'c> {
    cell: &'c Cell,
    set: [u64; 3],
    cleared: [u64; 3],
}

impl<'c> Watch<'c> {
    /// Runs an operation of a side.
    fn by<R>(&mut self, side: Side, act: impl FnOnce(&'c Cell) -> R) -> R {
        let word = |cell: &Cell| cell.used.word.load(Ordering::Relaxed);
        let before = word(self.cell);
        let result = act(self.cell);
        let after = word(self.cell);
        self.set[side as usize] |= after & !before;
        self.cleared[side as usize] |= before & !after;
        result
    }

    fn enter(&mut self) -> Held<'c> {
        self.by(Side::Thread, |cell| cell.enter(entrance(2)))
            .expect("the cell is open and free")
    }

    fn open(&mut self) -> Held<'c> {
        let terms = Terms {
            token: Token::default(),
            bytes_max: 8,
        };
        // SAFETY: this test is the only thread, and the callers have closed and left the cell.
        self.by(Side::Session, |cell| unsafe {
            cell.open(None, terms, entrance(2))
        })
    }

    fn close(&mut self) {
        // SAFETY: this test is the only thread.
        let closed = self.by(Side::Session, |cell| unsafe { cell.close() });
        assert!(closed.is_some(), "the cell was open");
    }

    fn let_go(&mut self, held: Held<'c>) {
        // SAFETY: this test is the only thread, and the callers have closed the cell.
        drop(self.by(Side::Session, |_| unsafe { held.let_go() }));
    }

    /// Enters, writes and leaves, so that the next thread sees the value.
    fn write(&mut self, value: &'static [u8]) {
        let mut held = self.enter();
        held.set(Some(Value::from_static(value)));
        assert!(self.by(Side::Thread, |_| held.leave(true, Time::ZERO)));
    }

    /// Plans a handoff from the thread inside of a closed cell.
    fn publish(&mut self, held: &Held<'c>) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter::new(entrance(4), Names::All, 0));
        let from = held.thread();
        // SAFETY: this test is the only thread.
        let is_planned = self.by(Side::Session, |cell| unsafe { cell.publish(from, &waiter) });
        assert!(is_planned);
        waiter
    }

    /// Hands the closed cell off to another thread, which follows.
    fn hand_off(&mut self, held: &Held<'c>) -> Held<'c> {
        let waiter = self.publish(held);
        assert!(self.by(Side::Handoff, |_| held.handoff(Time::ZERO)));
        // SAFETY: this test is the only thread.
        let is_withdrawn = self.by(Side::Session, |cell| unsafe { cell.withdraw() });
        assert!(!is_withdrawn, "the handoff has happened");
        // SAFETY: as above, and the cell was handed off.
        let _ = self.by(Side::Session, |cell| unsafe {
            cell.settle_user(entrance(4))
        });
        let Some(Ok(LockAnswer::HandedOff(handed_off))) = waiter.wait.take() else {
            panic!("the handoff has answered the wait")
        };
        // SAFETY: the cell outlives the test.
        unsafe { handed_off.follow(entrance(4)) }
    }
}

fn entrance(thread: u64) -> Entrance {
    Entrance {
        thread: ThreadId(thread),
        place: Location::caller(),
        now: Time::ZERO,
    }
}

/// Leaves and closes a cell in each state that a thread can leave it in.
fn use_open(watch: &mut Watch<'_>) {
    let held = watch.open();
    assert!(watch.by(Side::Thread, |_| held.leave(true, Time::ZERO)));
    watch.write(b"1");
    watch.close(); // The second slot is current.
    let held = watch.open();
    assert!(watch.by(Side::Thread, |_| held.leave(true, Time::ZERO)));
    watch.write(b"1");
    watch.write(b"2");
    // By id: the thread takes the memory of the other slot along.
    let mut held = watch.enter();
    drop(watch.by(Side::Thread, |_| held.exchange(b"2".to_vec())));
    held.edit(|bytes| bytes.push(b'3'));
    assert!(watch.by(Side::Thread, |_| held.leave_taking(true, Time::ZERO, drop)));
    watch.write(b"4");
    let mut held = watch.enter();
    drop(watch.by(Side::Thread, |_| held.exchange(b"4".to_vec())));
    held.edit(|bytes| bytes.push(b'5'));
    assert!(watch.by(Side::Thread, |_| held.leave_taking(true, Time::ZERO, drop)));
    watch.close(); // One slot is vacant.
}

/// Hands a closed cell off, with and without a write, with and without a vacant slot.
fn hand_off(watch: &mut Watch<'_>) {
    let mut held = watch.open();
    held.set(Some(Value::from_static(b"1")));
    assert!(watch.by(Side::Thread, |_| held.leave_taking(true, Time::ZERO, drop)));
    let mut held = watch.enter();
    watch.close();
    held.set(Some(Value::from_static(b"2")));
    let unchanged = watch.hand_off(&held);
    let mut held = watch.hand_off(&unchanged);
    held.set(Some(Value::from_static(b"3")));
    let held = watch.hand_off(&held);
    drop(watch.publish(&held));
    // SAFETY: this test is the only thread.
    let is_withdrawn = watch.by(Side::Session, |cell| unsafe { cell.withdraw() });
    assert!(is_withdrawn);
    watch.let_go(held);
}

#[test]
fn each_side_changes_exactly_the_flags_that_the_table_permits() {
    let name = AttributeName::from_static("a");
    let cell = Cell::new(&name);
    let mut watch = Watch {
        cell: &cell,
        set: [0; 3],
        cleared: [0; 3],
    };
    use_open(&mut watch);
    hand_off(&mut watch);
    for row in TABLE {
        let may = [row.thread, row.handoff, row.session];
        for (side, may) in [Side::Thread, Side::Handoff, Side::Session]
            .into_iter()
            .zip(may)
        {
            let sets = watch.set[side as usize] & row.bits != 0;
            let clears = watch.cleared[side as usize] & row.bits != 0;
            let seen = match (sets, clears) {
                (false, false) => May::Nothing,
                (true, false) => May::Set,
                (false, true) => May::Clear,
                (true, true) => May::Both,
            };
            assert_eq!(seen, may, "{side:?} and {}", row.name);
        }
    }
}

#[test]
fn the_rows_of_the_table_share_no_bit_and_leave_none_out() {
    let mut all = 0;
    for row in TABLE {
        assert_eq!(row.bits, row.bits & !all, "{} shares a bit", row.name);
        assert!(row.bits > all, "{} is out of order", row.name);
        all |= row.bits;
    }
    assert_eq!(all, u64::MAX);
    let own = TABLE.iter().filter(|row| {
        let may = [row.thread, row.handoff, row.session];
        may == [May::Nothing; 3]
    });
    assert_eq!(own.map(|row| row.bits).sum::<u64>(), OWN);
}
