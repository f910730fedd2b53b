//! Exhaustive bounded model checking of the Tenure protocol.
//!
//! The machines of `tenure_protocol` are put into small worlds, [`universe`]s, and each world is explored whole: every
//! message order, every crash, every moment at which a lease may end. [`property`] says what must hold in every state and
//! which races must be reached; [`progress`] says, over the complete graph, that whoever waits is answered. Mutants
//! show that each of these can fail.
//!
//! | module | what it holds |
//! |---|---|
//! | [`system`] | the world: machines, application, network, disk, clocks |
//! | [`universe`] | the named worlds with their bounds and faults |
//! | [`property`] | what is checked |
//! | [`check`] | a universe checked whole, with verdicts and counterexamples |
//! | [`hunt`] | mutants, each to be killed |
//! | [`explore`] | breadth-first exploration over Stateright's `Model` |
//! | [`graph`], [`progress`] | the reachable graph, and fair cycles in it |
//! | [`book`] | the tables of the book |
//! | [`render`], [`chart`] | counterexamples, in words and pictures |
//! | [`scripts`] | what the conformance suite plays |
//!
//! Deliberately absent: protocol rules. There is one copy, and it is not here.

pub mod book;
pub mod chart;
pub mod check;
pub mod explore;
pub mod graph;
pub mod hunt;
pub mod progress;
pub mod property;
pub mod render;
pub mod replay;
pub mod scripts;
pub mod system;
pub mod universe;
