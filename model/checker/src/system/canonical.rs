//! The canonical form of a state: the smallest numbers in the same order.
//!
//! Threads that ask for locks for ever make tokens, versions, tickets, requests, incarnations and connections grow for
//! ever. The machines only compare these numbers and draw new ones above all others. The model therefore replaces each
//! number by its rank among the numbers of its kind in the whole state, which changes nothing observable. The canonical
//! states form the same graph, but a finite one. This is sound for safety and for progress, since no process, thread or
//! session changes its name.
//!
//! A counter (the last number drawn) becomes the largest number that still occurs: a forgotten number may be drawn
//! again. Times are constant where timers may fire at any time. In a universe with clocks, times are kept relative to
//! their clock: the clock stands still, and everything else is moved back.

use super::bitset::BitSet;
use super::number::{INCARNATION, LINK, Number, REQUEST, Run, STAMP};
use crate::universe::Universe;
use smallvec::SmallVec;
use tenure_protocol::renumber::Numbers;
use tenure_protocol::{Incarnation, Link, ProcessId, Request, Stamp, Time};

/// A part of a state that can show its numbers.
pub trait Numbered {
    /// Shows every number to `numbers`.
    fn visit(&mut self, numbers: &mut impl Numbers);

    /// Returns one bit for each violated property of this part alone.
    fn broken(&self, _: &'static Universe) -> u32 {
        0
    }
}

fn owner(process: &ProcessId) -> u64 {
    u64::from(index(process)) << 56
}

/// A time that is never due.
pub(super) const NEVER: Time = Time(u64::MAX);

/// Returns the index of a process of the model. Its name ends in a digit from 1.
pub(super) fn index(process: &ProcessId) -> u32 {
    let digit = process.as_bytes()[process.as_bytes().len() - 1];
    u32::from(digit - b'1')
}

/// The normalisation of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// All times are equal, because timers fire at any time.
    Constant,
    /// Times are kept, but all times before this one are equal.
    NotBefore(u64),
}

/// A visitor that lists the numbers of one part of a state and normalises its times.
#[derive(Clone, Debug)]
pub(super) struct Lister {
    pub(super) universe: &'static Universe,
    times: Times,
    listed: SmallVec<[Number; 16]>,
    /// The counters of the part. Each becomes the largest number not above it.
    counters: SmallVec<[Number; 2]>,
    bits: BitSet,
}

impl Lister {
    pub(super) fn new(universe: &'static Universe) -> Self {
        let times = match universe.clocks {
            Some(clocks) => Times::NotBefore(crate::universe::NOW.0 - clocks.past),
            None => Times::Constant,
        };
        Self {
            universe,
            times,
            listed: SmallVec::new(),
            counters: SmallVec::new(),
            bits: BitSet::default(),
        }
    }

    pub(super) fn finish(&mut self) {
        self.listed.sort_unstable();
        self.listed.dedup();
        self.listed
            .iter()
            .for_each(|number| self.bits.insert(*number));
        self.counters
            .iter()
            .for_each(|counter| self.bits.insert_epoch(*counter));
    }

    fn normal(&self, time: &mut Time) {
        match self.times {
            Times::Constant => *time = Time::ZERO,
            Times::NotBefore(least) => time.0 = time.0.max(least),
        }
    }
}

impl Numbers for Lister {
    fn stamp(&mut self, stamp: &mut Stamp) {
        if *stamp != Stamp::default() {
            self.listed
                .push(Number::new(STAMP, stamp.epoch, stamp.sequence));
        }
    }

    fn store_counter(&mut self, epoch: &mut u64, sequence: &mut u64) {
        self.counters.push(Number::new(STAMP, *epoch, *sequence));
    }

    fn incarnation(&mut self, process: &ProcessId, incarnation: &mut Incarnation) {
        self.listed
            .push(Number::new(INCARNATION | owner(process), incarnation.0, 0));
    }

    fn link(&mut self, process: &ProcessId, link: &mut Link) {
        self.listed.push(Number::new(
            LINK | owner(process),
            link.incarnation.0,
            link.number,
        ));
        self.listed.push(Number::new(
            INCARNATION | owner(process),
            link.incarnation.0,
            0,
        ));
    }

    fn request(&mut self, process: &ProcessId, request: &mut Request) {
        if request.0 != 0 {
            self.listed
                .push(Number::new(REQUEST | owner(process), 0, request.0));
        }
    }

    fn request_counter(&mut self, process: &ProcessId, last: &mut u64) {
        self.counters
            .push(Number::new(REQUEST | owner(process), 0, *last));
    }

    fn link_counter(&mut self, process: &ProcessId, incarnation: Incarnation, last: &mut u64) {
        self.counters
            .push(Number::new(LINK | owner(process), incarnation.0, *last));
    }

    fn time(&mut self, time: &mut Time) {
        self.normal(time);
    }

    fn process_mark(&mut self, _: &ProcessId, time: &mut Time) {
        *time = Time::ZERO; // No universe measures time from such a mark.
    }

    fn process_time(&mut self, _: &ProcessId, time: &mut Time) {
        self.normal(time);
    }
}

/// Returns whether a state of these parts is in canonical form.
pub(super) fn is_canonical<'a>(parts: impl Iterator<Item = &'a Lister> + Clone) -> bool {
    let mut bits = BitSet::default();
    parts.clone().for_each(|part| bits.unite(&part.bits));
    bits.is_canonical()
        && parts
            .flat_map(|part| &part.counters)
            .all(|counter| bits.has_counter(*counter))
}

/// The new numbers of a part, in the order of its list, counters last.
pub(super) type Image = SmallVec<[Number; 16]>;

/// The numbers of a whole state, with their ranks.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    old: SmallVec<[Number; 64]>,
    new: SmallVec<[Number; 64]>,
    epochs: SmallVec<[u64; 8]>,
}

impl Ranks {
    /// Ranks the numbers of all parts.
    pub(super) fn of<'a>(parts: impl Iterator<Item = &'a Lister>) -> Self {
        let mut ranks = Self::default();
        for part in parts {
            ranks.old.extend_from_slice(&part.listed);
            let stamps = part
                .counters
                .iter()
                .filter(|counter| counter.kind() == Run::Stamp);
            ranks.epochs.extend(stamps.map(|counter| counter.high()));
        }
        ranks.old.sort_unstable();
        ranks.old.dedup();
        let stamps = ranks
            .old
            .iter()
            .take_while(|number| number.kind() == Run::Stamp);
        ranks.epochs.extend(stamps.map(|stamp| stamp.high()));
        ranks.epochs.sort_unstable();
        ranks.epochs.dedup();
        let (mut last, mut rank) = (None, 0);
        for number in &ranks.old {
            // The incarnations of one process are one sequence. The others begin anew with each epoch or incarnation.
            let sequence = if number.kind() == Run::Incarnation {
                number.row()
            } else {
                number.run()
            };
            rank = if last == Some((number.kind(), sequence)) {
                rank + 1
            } else {
                1
            };
            last = Some((number.kind(), sequence));
            ranks.new.push(match number.kind() {
                Run::Stamp => Number::new(STAMP, ranks.epoch(number.high()), rank),
                Run::Incarnation => Number::new(number.row(), rank, 0),
                Run::Link => Number::new(number.row(), number.high(), rank), // The incarnation is ranked by itself.
                Run::Request => Number::new(number.row(), 0, rank),
            });
        }
        ranks
    }

    fn epoch(&self, epoch: u64) -> u64 {
        self.epochs.partition_point(|other| *other < epoch) as u64 + 1
    }

    fn find(&self, number: Number) -> Number {
        let place = self.old.binary_search(&number);
        self.new[place.expect("every number was listed: `visit` shows the same numbers each time")]
    }

    /// Returns the rank of a counter, which is the rank of the largest number not above it.
    fn counter(&self, counter: Number) -> Number {
        let place = self.old.partition_point(|number| *number <= counter);
        let below = place
            .checked_sub(1)
            .filter(|place| self.old[*place].run() == counter.run());
        let low = below.map_or(0, |place| self.new[place].low());
        let high = if counter.kind() == Run::Stamp {
            self.epoch(counter.high())
        } else {
            counter.high()
        };
        Number::new(counter.row(), high, low)
    }

    /// Returns the new numbers of a part, or `None` when all stay the same.
    pub(super) fn image(&self, part: &Lister) -> Option<Image> {
        let mut place = 0;
        let listed = part.listed.iter().map(|number| {
            // Both lists are sorted, so the search continues from the last match.
            while self.old[place] != *number {
                place += 1;
            }
            self.new[place]
        });
        let image: Image = listed
            .chain(part.counters.iter().map(|counter| self.counter(*counter)))
            .collect();
        let is_same = image.iter().eq(part.listed.iter().chain(&part.counters));
        (!is_same).then_some(image)
    }

    pub(super) fn writer(&self) -> Writer<'_> {
        Writer(self)
    }
}

/// A visitor that replaces numbers by their ranks.
pub(super) struct Writer<'a>(&'a Ranks);

impl Numbers for Writer<'_> {
    fn stamp(&mut self, stamp: &mut Stamp) {
        if *stamp != Stamp::default() {
            let rank = self.0.find(Number::new(STAMP, stamp.epoch, stamp.sequence));
            *stamp = Stamp {
                epoch: rank.high(),
                sequence: rank.low(),
            };
        }
    }

    fn store_counter(&mut self, epoch: &mut u64, sequence: &mut u64) {
        let rank = self.0.counter(Number::new(STAMP, *epoch, *sequence));
        (*epoch, *sequence) = (rank.high(), rank.low());
    }

    fn incarnation(&mut self, process: &ProcessId, incarnation: &mut Incarnation) {
        let number = Number::new(INCARNATION | owner(process), incarnation.0, 0);
        incarnation.0 = self.0.find(number).high();
    }

    fn link(&mut self, process: &ProcessId, link: &mut Link) {
        let number = Number::new(LINK | owner(process), link.incarnation.0, link.number);
        link.number = self.0.find(number).low();
        self.incarnation(process, &mut link.incarnation);
    }

    fn request(&mut self, process: &ProcessId, request: &mut Request) {
        if request.0 != 0 {
            request.0 = self
                .0
                .find(Number::new(REQUEST | owner(process), 0, request.0))
                .low();
        }
    }

    fn request_counter(&mut self, process: &ProcessId, last: &mut u64) {
        *last = self
            .0
            .counter(Number::new(REQUEST | owner(process), 0, *last))
            .low();
    }

    fn link_counter(&mut self, process: &ProcessId, incarnation: Incarnation, last: &mut u64) {
        *last = self
            .0
            .counter(Number::new(LINK | owner(process), incarnation.0, *last))
            .low();
    }
}

/// A visitor that moves all times back, since the clocks stand still: the store's by one, each process's by its own
/// step.
pub(super) struct Shift {
    store: u64,
    processes: [u64; super::PROCESSES_MAX],
}

impl Shift {
    pub(super) fn new(processes: [u8; super::PROCESSES_MAX]) -> Self {
        Self {
            store: 1,
            processes: processes.map(u64::from),
        }
    }
}

impl Numbers for Shift {
    fn time(&mut self, time: &mut Time) {
        shift(time, self.store);
    }

    fn process_time(&mut self, process: &ProcessId, time: &mut Time) {
        shift(time, self.processes[index(process) as usize]);
    }
}

fn shift(time: &mut Time, by: u64) {
    if *time != NEVER {
        *time = time.before(by);
    }
}
