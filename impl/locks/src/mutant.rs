//! Mutants of this crate: variants with one seeded bug, each of which a test of `harness/loom` or `harness/shuttle`
//! must kill.
//!
//! Mutants exist only where the harness compiles these sources. Elsewhere, [`is`] is a constant `false`, and no code
//! remains. The same is true for the mutants of the process machine.

/// Defines [`LockMutant`] and the list of all mutants.
macro_rules! lock_mutants {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, [$($id:literal),*];)+) => {
        /// A variant of this crate with one seeded bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "mutants"), allow(dead_code, unreachable_pub))]
        pub enum LockMutant {
            $($(#[doc = $doc])+ $variant,)+
        }

        #[cfg(feature = "mutants")]
        impl LockMutant {
            /// All mutants.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the name of the mutant in the book.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Returns the ids of the protocol rules that the mutant breaks. The slice is empty if the mutant only
            /// makes memory unsafe.

            #[must_use]

            pub const fn rules(self) -> &'static [&'static str] {

                match self { $(Self::$variant => &[$($id),*]),+ }

            }


            /// Returns a description of the seeded bug, in one sentence.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

lock_mutants! {
    /// A thread whose lock is granted is not woken.
    LostWakeup = "lost-wakeup", ["thread.ends-once"];
    /// A waiting thread checks for its answer before it registers its waker, with a gap in between.
    WakerAfterLook = "waker-after-look", ["thread.ends-once"];
    /// Entering a cell does not acquire the writes that the last thread released.
    EntersRelaxed = "enters-relaxed", ["thread.sees-state"];
    /// Leaving a cell does not release the writes.
    LeavesRelaxed = "leaves-relaxed", ["thread.sees-state"];
    /// Leaving stores the state word without a check whether it has changed.
    LeavesBlindly = "leaves-blindly", ["thread.one-per-attribute"];
    /// A session is reattached without closing its cells: the gate closes only for the session itself.
    ReattachesOpen = "reattaches-open", ["thread.one-per-attribute"];
    /// Closing a cell forgets the thread inside.
    ForgetsUser = "forgets-user", ["thread.one-per-attribute"];
    /// A thread that leaves a detached session admits no waiting thread.
    LeavesWithoutAdmitting = "leaves-without-admitting", ["thread.ends-once"];
    /// A handoff that has happened is treated as withdrawn.
    OverlooksHandoff = "overlooks-handoff", ["thread.one-per-attribute"];
    /// An attribute is handed off even if the handoff is no longer planned.
    HandsOffBlindly = "hands-off-blindly", ["gate.order", "thread.ends-once"];
    /// A handoff does not release the writes.
    HandsOffRelaxed = "hands-off-relaxed", ["thread.sees-state"];
    /// A session stays detached although the search for deadlocks needs it.
    OverlooksDetached = "overlooks-detached", ["deadlock.local"];
    /// A dropped request stays in the queue.
    LeaksWaiter = "leaks-waiter", ["thread.ends-once"];
    /// A request that is dropped just after its lock was granted keeps the lock.
    KeepsUnwantedGrant = "keeps-unwanted-grant", ["thread.ends-once"];
    /// The writes of a thread that panicked are applied.
    PanicKeepsWrites = "panic-keeps-writes", ["thread.discards"];
    /// A guard whose grant was lost leaves without an error.
    HidesPoison = "hides-poison", ["thread.told"];
    /// A session is looked up and inserted under two separate locks of the map.
    TwoEntries = "two-entries", ["thread.one-per-attribute"];
    /// By id, a session is looked up under its shard's mutex and entered after it, although no owner is counted.
    EntersLate = "enters-late", [];
    /// By id, the thread that hands off an attribute has no owner that keeps the session until the handoff is done.
    HandsOffUnowned = "hands-off-unowned", [];
    /// A cached lock does not compare the clock with the end of the lease.
    OutlivesLease = "outlives-lease", ["lease.lost"];
    /// By id, a value is changed in its own slot although the cell was closed in the meantime.
    ChangesBlindly = "changes-blindly", ["thread.sees-state"];
}

/// Returns whether the crate runs as this mutant.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub(crate) const fn is(_: LockMutant) -> bool {
    false
}

/// The hook of the process machine, without a seeded bug.
#[cfg(not(feature = "mutants"))]
pub(crate) use tenure_protocol::mutant::Sound as Own;

#[cfg(feature = "mutants")]
pub(crate) use switch::{Own, is};
#[cfg(feature = "mutants")]
pub use switch::{plant, plant_in_machine};

#[cfg(feature = "mutants")]
mod switch {
    use super::LockMutant;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tenure_protocol::mutant::{ProtocolMutant, SeededHook};

    /// The number of the planted mutant plus 1, or 0.
    static PLANTED: AtomicUsize = AtomicUsize::new(0);
    /// The number of the planted mutant of the process machine plus 1, or 0.
    static MUTANT: AtomicUsize = AtomicUsize::new(0);

    /// Plants a mutant in the whole OS process, or removes it. Must be called before a test starts.
    pub fn plant(mutant: Option<LockMutant>) {
        PLANTED.store(
            mutant.map_or(0, |mutant| mutant as usize + 1),
            Ordering::SeqCst,
        );
    }

    /// Plants a mutant of the process machine in the whole OS process, or removes it.
    pub fn plant_in_machine(mutant: Option<ProtocolMutant>) {
        MUTANT.store(
            mutant.map_or(0, |mutant| mutant as usize + 1),
            Ordering::SeqCst,
        );
    }

    /// The hook of the process machine, with the mutant planted by [`plant_in_machine`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub(crate) struct Own;

    impl SeededHook for Own {
        fn is_mutant(self, mutant: ProtocolMutant) -> bool {
            MUTANT.load(Ordering::Relaxed) == mutant as usize + 1
        }
    }

    pub(crate) fn is(mutant: LockMutant) -> bool {
        PLANTED.load(Ordering::Relaxed) == mutant as usize + 1
    }
}
