//! Mutants of this crate, each of which a test of `harness/loom` or `harness/shuttle` must kill.
//!
//! They exist only where the harness compiles these sources. Here [`is_mutant`] is `false` when compiling, and nothing is left. The same
//! goes for the mutants of the process machine.

/// Defines [`LockMutant`] and the list of all.
macro_rules! lock_mutants {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, [$($id:literal),*];)+) => {
        /// A way to break this crate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "mutants"), allow(dead_code, unreachable_pub))]
        pub enum LockMutant {
            $($(#[doc = $doc])+ $variant,)+
        }

        #[cfg(feature = "mutants")]
        impl LockMutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in the book.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The ids of the protocol's rules that it breaks. None when it only makes memory unsafe.
            #[must_use]
            pub const fn rules(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($id),*]),+ }
            }

            /// What is done wrong, in one sentence.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

lock_mutants! {
    /// Who is let in is not woken.
    LostWakeup = "lost-wakeup", ["thread.ends-once"];
    /// A waiter looks for its answer first and leaves its waker later, with a gap between.
    WakerAfterLook = "waker-after-look", ["thread.ends-once"];
    /// Going in does not acquire what the last one released.
    EntersRelaxed = "enters-relaxed", ["thread.sees-state"];
    /// Going out does not release what was written.
    LeavesRelaxed = "leaves-relaxed", ["thread.sees-state"];
    /// Going out stores the word whatever it has become meanwhile.
    LeavesBlindly = "leaves-blindly", ["thread.one-per-attribute"];
    /// A session is reattached without closing its attributes: the gate is shut behind the session only.
    ReattachesOpen = "reattaches-open", ["thread.one-per-attribute"];
    /// Closing an attribute forgets who is inside.
    ForgetsUser = "forgets-user", ["thread.one-per-attribute"];
    /// A thread that leaves a session that is detached lets nobody in.
    LeavesWithoutAdmitting = "leaves-without-admitting", ["thread.ends-once"];
    /// A handoff that has happened is taken for one that has not.
    OverlooksHandoff = "overlooks-handoff", ["thread.one-per-attribute"];
    /// An attribute is handed off whether or not that is still planned.
    HandsOffBlindly = "hands-off-blindly", ["gate.order", "thread.ends-once"];
    /// Handing off does not release what was written.
    HandsOffRelaxed = "hands-off-relaxed", ["thread.sees-state"];
    /// A session stays detached although a search for who waits for whom comes there.
    OverlooksDetached = "overlooks-detached", ["deadlock.local"];
    /// A request that is dropped stays in the queue.
    LeaksWaiter = "leaks-waiter", ["thread.ends-once"];
    /// A request that is dropped although its lock was just granted keeps the lock.
    KeepsUnwantedGrant = "keeps-unwanted-grant", ["thread.ends-once"];
    /// A thread that panicked has its write set applied.
    PanicKeepsWrites = "panic-keeps-writes", ["thread.discards"];
    /// A guard that outlived its grant is let out as if nothing had happened.
    HidesPoison = "hides-poison", ["thread.told"];
    /// Whether a session is known is looked up, and it is entered, under two locks.
    TwoEntries = "two-entries", ["thread.one-per-attribute"];
    /// By id, a session is looked up under its shard's lock and entered after it, although nothing counts who has looked.
    EntersLate = "enters-late", [];
    /// By id, who hands an attribute off has nothing that keeps the session until it is done.
    HandsOffUnowned = "hands-off-unowned", [];
    /// A lock that is cached does not compare the clock with the end of the lease.
    OutlivesLease = "outlives-lease", ["lease.lost"];
    /// By id, a value is changed in its own place although the attribute was taken back meanwhile.
    ChangesBlindly = "changes-blindly", ["thread.sees-state"];
}

/// Returns whether the crate runs as this mutant.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub(crate) const fn is(_: LockMutant) -> bool {
    false
}

/// The hook of the process machine: it has no seeded bug.
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
    use tenure_protocol::mutant::{Hook, ProtocolMutant};

    /// One more than the number of the mutant.
    static PLANTED: AtomicUsize = AtomicUsize::new(0);
    /// One more than the number of the process machine's mutant.
    static MUTANT: AtomicUsize = AtomicUsize::new(0);

    /// Plants a mutant in the whole OS process, or none. Read once by each test's process, before it starts.
    pub fn plant(mutant: Option<LockMutant>) {
        PLANTED.store(
            mutant.map_or(0, |mutant| mutant as usize + 1),
            Ordering::SeqCst,
        );
    }

    /// Plants a mutant of the process machine in the whole OS process, or none.
    pub fn plant_in_machine(mutant: Option<ProtocolMutant>) {
        MUTANT.store(
            mutant.map_or(0, |mutant| mutant as usize + 1),
            Ordering::SeqCst,
        );
    }

    /// The mutant that was named to [`plant_in_machine`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub(crate) struct Own;

    impl Hook for Own {
        fn is_mutant(self, mutant: ProtocolMutant) -> bool {
            MUTANT.load(Ordering::Relaxed) == mutant as usize + 1
        }
    }

    pub(crate) fn is(mutant: LockMutant) -> bool {
        PLANTED.load(Ordering::Relaxed) == mutant as usize + 1
    }
}
