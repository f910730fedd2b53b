//! Tests of the library between threads and a store.

mod faults;
mod guest;
mod limits;
mod log;
mod runtime;
mod sessions;
mod silent;
mod stopped;
mod store;
mod storm;
mod support;
