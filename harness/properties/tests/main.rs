//! The lock manager beside the abstract machine.

mod faults;
mod found;
mod histories;
mod history;
