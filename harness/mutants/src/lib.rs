//! Does the conformance suite itself deserve trust? Here are a store and a process that do one thing wrong, and the suite has to
//! find it, from outside.
//!
//! A [`Mutant`] is one of the protocol's, from the catalogue that the model checker hunts ([`ProtocolMutant`]), or one that only a driver
//! can make, around a machine that is right ([`DriverMutant`]). Nothing else in the workspace imports this package.

mod core;
mod line;
mod mutant;
pub mod process;
mod store;
pub mod table;

pub use mutant::{DriverMutant, Mutant};
pub use store::{Settings, Store};
pub use tenure_protocol::mutant::ProtocolMutant;
