//! Tests of the codec: its vectors, its costs, and hostile input.

mod allocations;
mod dissector;
mod golden;
mod hostile;
mod round_trip;
mod schema;
mod support;
mod traces;
