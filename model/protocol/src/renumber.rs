//! A visitor of the numbers of which only the order matters.
//!
//! Tokens, versions, tickets, requests, incarnations and links are compared and drawn anew, but never used in
//! arithmetic. Two states that differ only in *which* numbers they use, and not in the order of these numbers,
//! therefore behave alike. The checker replaces each state by the equivalent state with the smallest numbers (symmetry
//! reduction). Processes that ask for locks for ever then produce a finite graph.
//!
//! `visit` on each machine and message shows every such number to a [`Numbers`]. If `visit` leaves out a number, the
//! state space does not end.
//!
//! This module decides nothing: the checker decides how a number is changed.

use crate::id::{Incarnation, Link, ProcessId, Request, Stamp, Time};

/// A visitor that receives each number of a value and may change it. The default methods leave the numbers unchanged.
#[expect(
    unused_variables,
    reason = "the names document the parameters for implementations"
)]
pub trait Numbers {
    /// Visits a token, version or ticket.
    fn stamp(&mut self, stamp: &mut Stamp) {}
    /// Visits the epoch in which the store draws stamps, and the last sequence that it drew.
    fn store_counter(&mut self, epoch: &mut u64, sequence: &mut u64) {}
    /// Visits an incarnation of `process`.
    fn incarnation(&mut self, process: &ProcessId, incarnation: &mut Incarnation) {}
    /// Visits a connection of `process`.
    fn link(&mut self, process: &ProcessId, link: &mut Link) {}
    /// Visits a request of `process`.
    fn request(&mut self, process: &ProcessId, request: &mut Request) {}
    /// Visits the last request number that `process` drew.
    fn request_counter(&mut self, process: &ProcessId, last: &mut u64) {}
    /// Visits the last connection number of `process` in this incarnation.
    fn link_counter(&mut self, process: &ProcessId, incarnation: Incarnation, last: &mut u64) {}
    /// Visits a time on the store's clock.
    fn time(&mut self, time: &mut Time) {}
    /// Visits a past time of `process`, from which only the idle time and the time for repetition are counted.
    fn process_mark(&mut self, process: &ProcessId, time: &mut Time) {}
    /// Visits a time on the clock of `process`, in whichever machine or message it stands.
    fn process_time(&mut self, process: &ProcessId, time: &mut Time) {}
}
