//! The oracle: the shared machine receives the same messages as the target, and its messages are compared with the
//! target's.
//!
//! After every step, all connections are settled by a keep-alive and its answer. The received messages must then be
//! among those that the machine allows, or the case fails. Where the rules leave a choice, the comparison is as
//! follows:
//!
//! | aspect | comparison |
//! |---|---|
//! | tokens, versions, tickets | one number of the target per number of the machine; tokens keep order ([`names`]) |
//! | whole state, delta, unchanged | by the resulting state of the process |
//! | times and deadlines | the target's own; none may pass before the time that the target stated |
//! | timers, and the noticing of cuts | happen in the machine once the target shows that they have happened |
//! | hints, unreported queue places, repeated recalls | free |
//! | the end of a lease or of a connection | may be left out if no message there requires an answer |
//! | the victim of a cycle, and whether a repeated grant message ends tries | either way ([`choice`]) |
//! | order | kept per session on each connection, otherwise free |
//!
//! If several explanations are possible, all of them are kept as [`hypothesis`]s until later messages decide.
//!
//! Deliberately absent are rules of the protocol.

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
