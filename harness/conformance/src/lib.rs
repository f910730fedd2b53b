//! The conformance suite, which checks whether a store or a client library follows the protocol.
//!
//! The suite tests stores ([`store`]) as black boxes over TCP, and libraries ([`process`]) over standard input and
//! output. It uses the wire format and the protocol's machine, but never the reference store or library. The book
//! defines the requirements as numbered [`rules`]. Each [`Case`] cites the rules that it checks. The results form a
//! [`Report`], from which all output formats are generated.
//!
//! No case judges by an exit code, or by a time shorter than the declared slack. If several answers are legal, a case
//! accepts each of them.
//!
//! Deliberately absent is a codec independent of the reference. To check against one, run the Python peers in
//! `python/`.

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
