//! The lock manager beside the abstract machine.

mod found;
mod histories;
mod history;
mod mutants;
