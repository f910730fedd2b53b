//! The checker: what it explores, tells and exports.

mod chart;
mod explore;
mod lending;
mod progress;
mod renumbering;
mod replay;
mod scripts;
mod story;
mod universes;
