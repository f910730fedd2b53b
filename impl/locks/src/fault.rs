//! Faults on purpose: ways to break this crate, each of which a test of `harness/loom` or `harness/shuttle` must catch.
//!
//! They exist only where the harness compiles these sources. Here [`is_made`] is `false` when compiling, and nothing is left.

/// Defines [`Fault`] and the list of all.
macro_rules! faults {
    ($($(#[$doc:meta])+ $name:ident;)+) => {
        /// A way to break this crate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "faults"), allow(dead_code, unreachable_pub))]
        pub enum Fault {
            $($(#[$doc])+ $name,)+
        }

        #[cfg(feature = "faults")]
        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

faults! {
    /// Who is let in is not woken.
    LostWakeup;
    /// A waiter looks for its answer first and leaves its waker later, with a gap between.
    WakerAfterLook;
    /// Going in does not acquire what the last one released.
    EntersRelaxed;
    /// Going out does not release what was written.
    LeavesRelaxed;
    /// Going out stores the word whatever it has become meanwhile.
    LeavesBlindly;
    /// A session is taken back without closing its attributes: the gate is shut behind the session only.
    TakesBackOpen;
    /// Closing an attribute forgets who is inside.
    ForgetsUser;
    /// A request that is dropped stays in the queue.
    LeaksWaiter;
    /// A request that is dropped although its lock was just granted keeps the lock.
    KeepsUnwantedGrant;
    /// A thread that panicked has its write set applied.
    PanicKeepsWrites;
    /// A guard that outlived its grant is let out as if nothing had happened.
    HidesPoison;
    /// Whether a session is known is looked up, and it is entered, under two locks.
    TwoEntries;
}

/// Whether the fault is made.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) const fn is_made(_: Fault) -> bool {
    false
}

#[cfg(feature = "faults")]
pub(crate) use switch::is_made;
#[cfg(feature = "faults")]
pub use switch::make;

#[cfg(feature = "faults")]
mod switch {
    use super::Fault;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// One more than the fault's number.
    static MADE: AtomicUsize = AtomicUsize::new(0);

    /// Makes a fault from now on, in the whole OS process, or none. Read once by each test's process, before it starts.
    pub fn make(fault: Option<Fault>) {
        MADE.store(
            fault.map_or(0, |fault| fault as usize + 1),
            Ordering::SeqCst,
        );
    }

    pub(crate) fn is_made(fault: Fault) -> bool {
        MADE.load(Ordering::Relaxed) == fault as usize + 1
    }
}
