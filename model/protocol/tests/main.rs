//! Tests of the machines, of their parts, and of their messages.

mod admission;
mod cost;
mod existing;
mod findings;
mod machines;
mod memory;
mod names;
mod process_costs;
mod promises;
mod races;
mod silent;
mod support;
mod transcripts;
mod transition_table;
