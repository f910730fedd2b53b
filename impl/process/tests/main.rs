//! The library between threads and a store.

mod faults;
mod log;
mod sessions;
mod store;
mod storm;
mod support;
