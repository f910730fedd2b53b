//! The machines, their parts, and what they say.

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
