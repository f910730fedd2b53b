//! The library between threads and a store.

mod faults;
mod sessions;
mod store;
mod storm;
mod support;
