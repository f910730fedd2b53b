//! The numbers whose only meaning is their order, shown one by one.
//!
//! Tokens, versions, tickets, requests, incarnations and links are compared and drawn anew, never counted with. So two
//! states that differ only in *which* numbers they use, not in their order, behave alike, and the checker can replace
//! each state by the one with the smallest numbers: processes that ask for locks for ever then make a finite graph.
//! `visit` on each machine and message shows every such number to a [`Numbers`]; one that is forgotten there shows up as
//! a state space that does not end.
//!
//! Deliberately absent: any decision. What a number becomes is the checker's business.

use crate::id::{Incarnation, Link, ProcessId, Request, Stamp, Time};

/// Is shown each number of a value and may change it. What it does not ask to see is left as it is.
#[expect(unused_variables, reason = "the names are for who implements it")]
pub trait Numbers {
    /// A token, version or ticket.
    fn stamp(&mut self, stamp: &mut Stamp) {}
    /// The epoch that the store draws stamps in, and the last sequence it drew.
    fn store_counter(&mut self, epoch: &mut u64, sequence: &mut u64) {}
    /// An incarnation of `process`.
    fn incarnation(&mut self, process: &ProcessId, incarnation: &mut Incarnation) {}
    /// A connection of `process`.
    fn link(&mut self, process: &ProcessId, link: &mut Link) {}
    /// A request of `process`.
    fn request(&mut self, process: &ProcessId, request: &mut Request) {}
    /// The last request that `process` drew.
    fn request_counter(&mut self, process: &ProcessId, last: &mut u64) {}
    /// The last connection that `process` opened in this incarnation.
    fn link_counter(&mut self, process: &ProcessId, incarnation: Incarnation, last: &mut u64) {}
    /// A point in time on the store's clock.
    fn time(&mut self, time: &mut Time) {}
    /// A point in the past of `process`, from which only idle time and repetition are counted.
    fn process_mark(&mut self, process: &ProcessId, time: &mut Time) {}
    /// A point in time on the clock of `process`, wherever it is kept.
    fn process_time(&mut self, process: &ProcessId, time: &mut Time) {}
}
