//! The planned handoff: a thread leaves its attribute directly to the waiting thread, without the session.
//!
//! When a thread begins to wait, the session takes the attribute back, and the thread inside must then leave through
//! the session. That costs a thousand instructions, none of which is in a cache if the thread has slept before. But the
//! session knows its next step in advance ([`Detached::plan`](tenure_protocol::process::Detached::plan)). So when the
//! session's mutex is unlocked, [`publish`] plans the handoff in the cell. Leaving is then one atomic operation and a
//! wake-up ([`Held::handoff`](super::Held::handoff)). The next owner of the session's mutex first calls [`settle`].
//!
//! # What is lost without it
//!
//! Only time. If no handoff is published, the thread inside finds its cell closed, leaves through the session
//! ([`Hub::leave`](crate::hub::Hub::leave)), and the session admits the same waiter. A handoff to a sleeping thread
//! then costs 1.32 to 1.41 times as much as one of `parking_lot`, instead of 1.07 to 1.14 times (docs/src/locks.md).
//! No rule and no other path needs this folder. To remove it, remove the calls of its functions, the flag `PLANNED`,
//! the field `next_user` and [`LockAnswer::HandedOff`](crate::waiter::LockAnswer::HandedOff).
//!
//! # Rules
//!
//! The code relies on these rules:
//!
//! - The flag `PLANNED` of the state word is set and withdrawn only under the session's mutex. Without the mutex, a
//!   closed cell can change in only one way: the thread inside clears the flag and has then left.
//! - `next_user` is filled before the flag is set, and emptied by the side that clears the flag. It is filled only
//!   while it is empty.
//! - [`HandedOver`](super::HandedOver) contains the address of the cell. Until the receiver follows it, the request
//!   owns the session's entry. From then on, the thread inside keeps the entry alive. The address is not read before,
//!   since both the sender and the settling session may answer the wait.

mod cell_side;
mod session_side;

pub(crate) use session_side::{publish, settle};
