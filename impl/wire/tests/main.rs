//! The codec: its vectors, its costs, and bytes that mean harm.

mod allocations;
mod dissector;
mod golden;
mod hostile;
mod round_trip;
mod schema;
mod support;
mod traces;
