//! The cases for processes, with a file for each chapter of the rules.

mod body;
mod commit;
mod connect;
mod deadlock;
mod destroy;
mod end;
mod exists;
mod expiry;
mod fence;
mod gate;
mod grant;
mod lease;
mod limit;
mod queue;
mod recall;
mod reconnect;
mod release;
mod rename;
mod thread;
mod try_;
mod whole;
mod wire;

use crate::case::Case;

/// Returns all cases in the order of the book.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        connect::CASES,
        grant::CASES,
        queue::CASES,
        recall::CASES,
        gate::CASES,
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
        wire::CASES,
        body::CASES,
        thread::CASES,
        whole::CASES,
    ]
    .concat()
}
