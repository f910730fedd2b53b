//! The cases for stores, with a file for each chapter of the rules.

mod commit;
mod connect;
mod deadlock;
mod destroy;
mod end;
mod exists;
mod expiry;
mod fence;
mod grant;
mod lease;
mod limit;
mod queue;
mod recall;
mod reconnect;
mod release;
mod rename;
mod time;
mod try_;
mod wire;

use crate::case::Case;
use crate::store::{derived, workload};

/// Returns all cases in the order of the book.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        connect::CASES,
        grant::CASES,
        queue::CASES,
        recall::CASES,
        release::CASES,
        commit::CASES,
        fence::CASES,
        lease::CASES,
        reconnect::CASES,
        try_::CASES,
        exists::CASES,
        end::CASES,
        expiry::CASES,
        destroy::CASES,
        rename::CASES,
        deadlock::CASES,
        limit::CASES,
        wire::FRAMES,
        wire::BODIES,
        wire::LENIENT,
        wire::SPEECH,
        time::CASES,
        workload::all(),
        derived::all(),
    ]
    .concat()
}
