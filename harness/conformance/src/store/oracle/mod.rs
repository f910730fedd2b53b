//! The oracle: the shared machine hears what the target hears, and what the target says is compared with what the machine says.
//!
//! After every step all connections are settled by a keep-alive and its answer. What came is then one of the things that the
//! machine allows, or the case fails. What a store is free in is compared so:
//!
//! | what | how |
//! |---|---|
//! | tokens, versions, tickets | one number of the machine's is one of the target's, and tokens keep their order ([`names`]) |
//! | whole state, difference, nothing | what the process has afterwards |
//! | times and deadlines | the target's own; none may pass before the target said that it would |
//! | timers, and when a cut is noticed | happen in the machine when the target has shown that they did, now or before the step |
//! | hints, places in a queue that are not told, recalls that are told again | free |
//! | that a lease has ended or a connection was replaced, and that it is closed | may be left out where nothing was asked there |
//! | which wait of a cycle is refused, whether a grant that is told again ends tries | any way ([`choice`]) |
//! | order | kept for each session on each connection, free otherwise |
//!
//! Where what came can be explained in several ways, all of them are kept as [`hypothesis`]s until what comes later decides.
//!
//! Deliberately absent: any rule of the protocol.

mod choice;
pub(crate) mod compare;
mod explain;
pub(crate) mod hypothesis;
mod judge;
pub(crate) mod ledger;
pub(crate) mod likeness;
pub(crate) mod names;
mod sessions;

pub(crate) use judge::{Connection, Judge};
pub(crate) use names::Kind;
