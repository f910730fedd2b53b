//! Tests of the conformance suite itself: a store and a process with one seeded bug, which the suite must find from
//! outside.
//!
//! A [`Mutant`] is a variant of the protocol's machine from the catalogue that the model checker also kills
//! ([`ProtocolMutant`]), or a variant of the driver around a correct machine ([`DriverMutant`]). No other package in
//! the workspace imports this one.

mod core;
mod line;
mod mutant;
pub mod process;
mod store;
pub mod table;

pub use mutant::{DriverMutant, Mutant};
pub use store::{Settings, Store};
pub use tenure_protocol::mutant::ProtocolMutant;
