//! The conformance suite: is that store, or that library, one that others can rely on?
//!
//! It is a black box over TCP for stores ([`store`]), and over standard input and output for libraries ([`process`]). It knows the wire and the
//! protocol's machine, never the reference store or library. What is required stands in the book, in numbered [`rules`]; each
//! [`Case`] cites those that it doubts and says what it plays. What came of them is a [`Report`], the source of all formats.
//!
//! A case never judges by an exit code, nor by a time shorter than the declared slack. Where several answers are legal it takes
//! any of them.
//!
//! Deliberately absent: a codec that is independent of the reference. Who doubts that runs the Python peers in `python/`.

mod case;
mod end;
mod frames;
mod hex;
pub mod process;
pub mod recorded;
pub mod report;
pub mod rules;
mod runner;
mod select;
pub mod store;
mod trace;

pub use case::{Case, Level, Need, Side};
pub use end::{CaseEnd, Play};
pub use report::Report;
pub use runner::{Plan, Progress, Subject, run};
pub use select::{KnownFailing, Selection};
pub use trace::{Trace, Traced};
