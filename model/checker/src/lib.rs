//! Exhaustive bounded model checking of the Tenure protocol.
//!
//! The machines of `tenure_protocol` are put into small bounded systems, the [`universe`]s. Each universe is explored
//! exhaustively: every order of messages, every crash, every moment at which a lease may end. [`property`] lists the
//! properties of every state, and the races that must be reached. [`progress`] checks over the complete graph that
//! every waiting thread is answered. Mutants show that each of these checks can fail.
//!
//! | module | contents |
//! |---|---|
//! | [`system`] | the modelled system: machines, application, network, disk, clocks |
//! | [`universe`] | the named universes with their bounds and faults |
//! | [`property`] | the checked properties |
//! | [`check`] | the check of a whole universe, with verdicts and counterexamples |
//! | [`hunt`] | the mutants, each of which must be killed |
//! | [`explore`] | breadth-first exploration over Stateright's `Model` |
//! | [`graph`], [`progress`] | the reachable graph, and fair cycles in it |
//! | [`book`] | the tables of the book |
//! | [`render`], [`chart`] | counterexamples as text and pictures |
//! | [`scripts`] | the scripts that the conformance suite plays |
//!
//! This crate deliberately contains no rules of the protocol: the machines are their only implementation.

pub mod book;
pub mod chart;
pub mod check;
pub mod explore;
pub mod graph;
pub mod hunt;
mod model;
pub mod progress;
pub mod property;
pub mod render;
pub mod replay;
pub mod scripts;
pub mod system;
pub mod universe;
