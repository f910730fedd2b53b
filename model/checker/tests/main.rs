//! The checker: what it explores, tells and exports.

mod chart;
mod detaching;
mod explore;
mod progress;
mod render;
mod renumbering;
mod replay;
mod scripts;
mod universes;
