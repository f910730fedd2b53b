//! The state word of a cell, as one table: each flag, its meaning, and the sides that may change it.
//!
//! Three sides change the word of a cell that others can see:
//!
//! - *thread*: the thread that enters an open cell, or that is inside of one. The thread holds no mutex, so each change
//!   is a compare-exchange on the whole word.
//! - *handoff*: the thread that leaves a closed cell to the waiting thread of a planned handoff, also by a
//!   compare-exchange and without a mutex.
//! - *session*: the owner of the session's mutex. Apart from a planned handoff, no other side changes a closed cell.
//!
//! A flag that no side may change exists only in a [`Held`](super::Held): the word in the cell never contains it. A
//! test in `tests` drives a cell through all operations, and compares the changes of each side with this table.

/// A side's permission to change a flag.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    Nothing,
    Set,
    Clear,
    Both,
}

/// A row of the table.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) bits: u64,
    pub(super) thread: May,
    pub(super) handoff: May,
    pub(super) session: May,
}

macro_rules! table {
    ($($flag:ident $bits:expr, $thread:ident, $handoff:ident, $session:ident, $meaning:literal;)+) => {
        $(#[doc = $meaning] pub(super) const $flag: u64 = $bits;)+

        #[cfg(test)]
        pub(super) const TABLE: &[Row] = &[$(Row {
            name: stringify!($flag),
            bits: $flag,
            thread: May::$thread,
            handoff: May::$handoff,
            session: May::$session,
        }),+];
    };
}

table! {
    // Flag   Bits     Thread   Handoff  Session  Meaning
    CLOSED    1 << 0,  Nothing, Nothing, Both,    "The attribute is not in the cell.";
    HELD      1 << 1,  Both,    Nothing, Both,    "A thread is inside. Its number is in the upper bits.";
    SECOND    1 << 2,  Both,    Both,    Clear,   "The second slot is the current one.";
    CHANGED   1 << 3,  Set,     Both,    Clear,   "The value has changed since the cell was opened or handed off.";
    WRITTEN   1 << 4,  Nothing, Nothing, Nothing, "The thread has written to the other slot.";
    UNWINDING 1 << 5,  Nothing, Nothing, Nothing, "The thread was already unwinding when it entered, so unwinding says \
                                                   nothing about its work inside.";
    VACANT    1 << 6,  Both,    Clear,   Clear,   "The value was moved out of the slot that is not current: there is \
                                                   nothing to drop.";
    FILLED    1 << 7,  Nothing, Nothing, Nothing, "The other slot was vacant and now contains a value.";
    PLANNED   1 << 8,  Nothing, Clear,   Both,    "The cell is closed, and a handoff is planned: the thread inside \
                                                   leaves to the waiter in `next_user`.";
    NUMBER    u64::MAX << THREAD,
                       Both,    Clear,   Both,    "The number of the thread inside.";
}

/// The number of bits below the thread number.
pub(super) const THREAD: u32 = 9;

/// The flags that only a [`Held`](super::Held) has.
pub(super) const OWN: u64 = WRITTEN | UNWINDING | FILLED;
