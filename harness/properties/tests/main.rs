//! Compares the lock manager with the abstract machine.

mod found;
mod histories;
mod history;
mod mutants;
