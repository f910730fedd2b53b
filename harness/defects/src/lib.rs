//! Does the conformance suite itself deserve trust? Here are a store and a process that do one thing wrong, and the suite has to
//! find it, from outside.
//!
//! A [`Mistake`] is one of the protocol's, from the catalogue that the model checker hunts ([`Defect`]), or one that only a driver
//! can make, around a machine that is right ([`Slip`]). Nothing else in the workspace imports this package.

mod core;
mod line;
mod mistake;
pub mod process;
mod store;
pub mod table;

pub use mistake::{Mistake, Slip};
pub use store::{Settings, Store};
pub use tenure_protocol::defect::Defect;
