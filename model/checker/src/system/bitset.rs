//! The numbers of a part of a state as bits. With them a few machine words decide whether a state is in canonical form.
//! Most successors are.

use super::number::{Number, Run};

/// The numbers of epochs, of incarnations of a process, and of processes for which there is room. Canonical states stay
/// far below.
const EPOCHS: usize = 4;
const INCARNATIONS: usize = 3;
const PROCESSES: usize = super::PROCESSES_MAX;

const OF_PROCESS: usize = EPOCHS;
const OF_LINK: usize = OF_PROCESS + PROCESSES;
const OF_REQUEST: usize = OF_LINK + PROCESSES * INCARNATIONS;
const ROWS: usize = OF_REQUEST + PROCESSES;

/// A row of bits for each run of numbers (those of an epoch, the connections of an incarnation, ...).
#[derive(Clone, Debug, Default)]
pub(super) struct BitSet {
    rows: [u32; ROWS],
    /// A bit for each epoch that occurs.
    epochs: u32,
    /// Whether some number has no place in the rows.
    is_partial: bool,
}

/// Returns the row and the bit of a number.
fn place(number: Number) -> Option<(usize, u32)> {
    let within = |nth: u64, max: usize| {
        usize::try_from(nth.checked_sub(1)?)
            .ok()
            .filter(|nth| *nth < max)
    };
    let owner = number.owner();
    let (row, nth) = match number.kind() {
        Run::Stamp => (within(number.high(), EPOCHS)?, number.low()),
        Run::Incarnation => (OF_PROCESS + owner, number.high()),
        Run::Link => (
            OF_LINK + owner * INCARNATIONS + within(number.high(), INCARNATIONS)?,
            number.low(),
        ),
        Run::Request => (OF_REQUEST + owner, number.low()),
    };
    (nth < u64::from(u32::BITS)).then_some((row, nth as u32))
}

impl BitSet {
    pub(super) fn insert(&mut self, number: Number) {
        match place(number) {
            Some((row, nth)) => self.rows[row] |= 1 << nth,
            None => self.is_partial = true,
        }
        self.insert_epoch(number);
    }

    /// Inserts only the epoch of a number, as for a counter.
    pub(super) fn insert_epoch(&mut self, number: Number) {
        if number.kind() == Run::Stamp {
            self.epochs |= 1_u32.checked_shl(number.high() as u32).unwrap_or(0);
        }
    }

    pub(super) fn unite(&mut self, other: &Self) {
        for (row, other) in self.rows.iter_mut().zip(&other.rows) {
            *row |= other;
        }
        self.epochs |= other.epochs;
        self.is_partial |= other.is_partial;
    }

    /// Returns whether the numbers of each run are 1, 2, 3 and so on.
    pub(super) fn is_canonical(&self) -> bool {
        let is_whole = |row: &u32| row & row.wrapping_add(2) == 0 && row & 1 == 0;
        !self.is_partial && is_whole(&self.epochs) && self.rows.iter().all(is_whole)
    }

    /// Returns whether a counter stands at a number that occurs, or at 0.
    pub(super) fn has_counter(&self, counter: Number) -> bool {
        counter.low() == 0
            || place(counter).is_some_and(|(row, nth)| self.rows[row] & 1 << nth != 0)
    }
}
