//! Mutants: variants of the machines with one seeded bug each. Every check can be seen to fail on one of them.
//!
//! A machine asks its hook at the places where a mutant differs. There are two hooks. [`Sound`] has no size
//! and always answers no: the compiler removes the question. It is the default parameter of [`StoreMachine`](crate::StoreMachine) and
//! [`ProcessMachine`](crate::ProcessMachine), so a driver that names them plainly cannot be given a mutant: it is another type.
//! [`Seeded`] is one mutant of the catalogue; only the checker and tests name it.
//!
//! ```compile_fail
//! use tenure_protocol::{Seeded, StoreMachine};
//! fn serve(_: StoreMachine) {}     // what a driver accepts
//! fn with_mutant(store: StoreMachine<Seeded>) {
//!     serve(store);                // does not compile: a seeded store is another type
//! }
//! ```

use core::fmt::Debug;
use core::hash::Hash;

/// Decides which mutant a machine is.
pub trait Hook: Clone + Copy + Eq + Hash + Debug + Send + Sync + 'static {
    /// Returns whether the machine is this mutant.
    fn is_mutant(self, mutant: ProtocolMutant) -> bool;

    /// Receives one call for each session of a store that a step looks up or passes on a walk. A test that bounds the cost
    /// of a step counts these calls. All other hooks ignore them.
    #[inline(always)]
    fn visits(self) {}
}

/// No mutant: the machine as it is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sound;

impl Hook for Sound {
    #[inline(always)]
    fn is_mutant(self, _: ProtocolMutant) -> bool {
        false
    }
}

/// One mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seeded(pub ProtocolMutant);

impl Hook for Seeded {
    fn is_mutant(self, mutant: ProtocolMutant) -> bool {
        self.0 == mutant
    }
}

macro_rules! catalogue {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $level:ident, $rule:literal, [$($id:literal),+];)+) => {
        /// The catalogue of mutants of the two machines.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProtocolMutant {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ProtocolMutant {
            /// All of them, store first.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name on the command line and in the book.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Which machine makes it.
            #[must_use]
            pub const fn level(self) -> Level {
                match self { $(Self::$variant => Level::$level),+ }
            }

            /// The rule of the design that it breaks.
            #[must_use]
            pub const fn rule(self) -> u8 {
                match self { $(Self::$variant => $rule),+ }
            }

            /// The ids of the protocol's rules that it breaks.
            #[must_use]
            pub const fn rules(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($id),+]),+ }
            }

            /// What is done wrong, in one sentence.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

/// Which machine a mutant differs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Level one.
    Store,
    /// Level two.
    Process,
}

catalogue! {
    /// The store grants a session that another process holds.
    GrantsToTwo = "grants-to-two", Store, 1, ["grant.exclusive"];
    /// A waiter does not make the store recall.
    ForgetsRecall = "forgets-recall", Store, 3, ["recall.asks"];
    /// The recall stays when its holder's grant is voided, so the next holder is never recalled.
    KeepsRecallOfDead = "keeps-recall-of-dead", Store, 10, ["recall.ends-with-grant", "recall.asks"];
    /// The grant is sent before its record is durable.
    GrantsBeforeDurable = "grants-before-durable", Store, 8, ["grant.durable"];
    /// A commit is acknowledged before it is durable.
    AcknowledgesBeforeDurable = "acknowledges-before-durable", Store, 8, ["commit.durable"];
    /// A commit with an old token is accepted.
    AcceptsOldToken = "accepts-old-token", Store, 9, ["fence.commit"];
    /// A release is accepted from a process that does not hold the session.
    ReleaseByStranger = "release-by-stranger", Store, 9, ["release.old"];
    /// A repeated release with an old token gives back the same process's next grant.
    DuplicateReleaseFrees = "duplicate-release-frees", Store, 14, ["release.old"];
    /// The last to arrive is granted first, at the store.
    LifoAtStore = "lifo-at-store", Store, 5, ["queue.fifo-connected"];
    /// A grant goes to the head of the queue also when that process has no connection.
    GrantsToUnconnected = "grants-to-unconnected", Store, 5, ["grant.connected", "queue.fifo-connected"];
    /// A grant skips the head of the queue when there are others.
    SkipsHead = "skips-head", Store, 5, ["queue.fifo-connected"];
    /// A releaser that asks again goes to the head of the queue.
    RequeuesAtHead = "requeues-at-head", Store, 12, ["queue.requeue-last"];
    /// A releaser that asks again and has to wait is not told its place.
    RequeuesUntold = "requeues-untold", Store, 5, ["queue.told"];
    /// What a process says it waits for in its hello is ignored.
    LosesWaitersOnRestart = "loses-waiters-on-restart", Store, 5, ["reconnect.waits"];
    /// The ticket that a waiter presents again is ignored.
    IgnoresTicket = "ignores-ticket", Store, 5, ["queue.presented"];
    /// The next holder is granted before the releaser's changes are applied.
    FreesBeforeWriting = "frees-before-writing", Store, 7, ["release.written"];
    /// A try does not recall a cached grant.
    TryNeverRecalls = "try-never-recalls", Store, 13, ["try.recalls"];
    /// A try waits for the threads inside the holder.
    TryWaitsForThread = "try-waits-for-thread", Store, 13, ["try.refused-when-busy", "try.refused-otherwise"];
    /// A late write with an old token brings a destroyed session back.
    ResurrectsDestroyed = "resurrects-destroyed", Store, 16, ["destroy.stays"];
    /// Those who wait for a session that is destroyed are forgotten.
    DestroyForgetsWaiters = "destroy-forgets-waiters", Store, 14, ["destroy.waiters"];
    /// A session that was destroyed and created again is sent as a delta on its old life.
    DeltaAcrossLives = "delta-across-lives", Store, 16, ["grant.full"];
    /// A renamed session is sent as a delta to who had the session of its new id before.
    RenameKeepsFloor = "rename-keeps-floor", Store, 16, ["grant.full"];
    /// A renamed session keeps its token, which may be older than the last that its new id had.
    RenameKeepsToken = "rename-keeps-token", Store, 9, ["rename.new-token"];
    /// The time to live ends a session that is held.
    ExpiresWhileHeld = "expires-while-held", Store, 16, ["expiry.not-while-held", "expiry.recalls"];
    /// A cut connection frees what the process holds.
    FreesOnDisconnect = "frees-on-disconnect", Store, 10, ["lease.frees-nothing"];
    /// The lease outlives the goodbye.
    LeaseOutlivesGoodbye = "lease-outlives-goodbye", Store, 10, ["lease.goodbye"];
    /// The lease's end does not remove the dead process from the queues.
    KeepsOrphanedWaiter = "keeps-orphaned-waiter", Store, 10,
        ["lease.ends", "lease.goodbye", "connect.new-incarnation"];
    /// The lease's end voids grants of the next process in line too late: it only forgets the process.
    ForgetsGrantsOfDead = "forgets-grants-of-dead", Store, 10, ["lease.ends"];
    /// A new incarnation does not fence the old one.
    KeepsOldIncarnation = "keeps-old-incarnation", Store, 10,
        ["connect.new-incarnation", "reconnect.unclaimed", "reconnect.no-token-twice"];
    /// Tokens start again when the store restarts.
    ReusesTokens = "reuses-tokens", Store, 9, ["grant.token-rises"];
    /// The restarted store does not know its holders.
    ForgetsHolderOnRestart = "forgets-holder-on-restart", Store, 8, ["lease.restart"];
    /// A commit is applied whatever version it was made to.
    CommitsOnWrongVersion = "commits-on-wrong-version", Store, 7, ["commit.repeated"];
    /// The store says that the state is unchanged to whoever has any version of it.
    SendsNoState = "sends-no-state", Store, 7, ["grant.state"];
    /// A request that is repeated by the holder draws a new token and fences out the writer.
    ReadBumpsToken = "read-bumps-token", Store, 14, ["grant.same-again"];
    /// A repeated request queues twice.
    QueuesTwice = "queues-twice", Store, 14, ["queue.same-ticket"];
    /// A cancel frees the grant that it crossed.
    CancelDropsGrant = "cancel-drops-grant", Store, 14, ["end.cancel-crossed"];
    /// A holder that says it is busy is never revoked.
    BusyStopsRevoke = "busy-stops-revoke", Store, 11, ["recall.revokes"];
    /// A recall for waiters that have left, or have no connection, takes the grant of a living holder.
    RevokesForNobody = "revokes-for-nobody", Store, 11, ["recall.for-nobody"];
    /// Cycles across sessions are not looked for.
    OverlooksDeadlock = "overlooks-deadlock", Store, 17, ["deadlock.found"];
    /// The longest queue is not limited.
    QueueWithoutLimit = "queue-without-limit", Store, 18, ["limit.waiters"];
    /// A store that drains recalls nothing.
    DrainRecallsNothing = "drain-recalls-nothing", Store, 3, ["stop.drains"];
    /// A store that stops for a restart recalls everything all the same.
    StopRecalls = "stop-recalls", Store, 2, ["stop.keeps"];
    /// A store that stops goes on making grants.
    GrantsWhileStopping = "grants-while-stopping", Store, 6, ["stop.grants-nothing"];
    /// A store whose disk is full grants what it cannot make durable.
    GrantsWhenFull = "grants-when-full", Store, 18, ["limit.storage"];
    /// The welcome does not say the limits of the store.
    KeepsLimitsSecret = "keeps-limits-secret", Store, 18, ["limit.told-in-welcome"];
    /// The session of a refused commit is passed on before its holder has heard that the grant is lost.
    PassesOnUnheard = "passes-on-unheard", Store, 18, ["limit.until-heard"];
    /// A request that wants a session only if it exists is granted one that does not.
    GrantsAbsent = "grants-absent", Store, 16, ["exists.only", "exists.absent"];
    /// A session that exists is refused as absent to a request that wants it only if it exists.
    DeniesExisting = "denies-existing", Store, 16, ["exists.true"];
    /// A session that does not exist stays in memory after it was asked for.
    RemembersAbsent = "remembers-absent", Store, 16, ["exists.leaves-nothing"];
    /// The last to arrive is admitted first, at an attribute.
    LifoAtAttribute = "lifo-at-attribute", Process, 12, ["gate.order"];
    /// A thread takes a free attribute although another, that wants several, waits for it.
    Barges = "barges", Process, 12, ["gate.order"];
    /// New threads are admitted after the recall.
    AdmitsAfterRecall = "admits-after-recall", Process, 12, ["gate.closed", "destroy.nobody-enters"];
    /// The gate is closed to threads that are already inside.
    RefusesInsiders = "refuses-insiders", Process, 12, ["gate.insiders"];
    /// A grant that was recalled before it came is given back unused.
    GrantWithoutUse = "grant-without-use", Process, 12, ["gate.one-use"];
    /// A recall that comes before its grant is forgotten.
    ForgetsEarlyRecall = "forgets-early-recall", Process, 14, ["recall.early"];
    /// The process gives a grant back while threads are inside.
    ReleasesWhileInside = "releases-while-inside", Process, 3, ["recall.keeps-until-out"];
    /// The write set of a late thread is released with the others.
    AppliesLateWrites = "applies-late-writes", Process, 11, ["thread.told"];
    /// A thread that panicked has its write set applied.
    DiscardKeepsWrites = "discard-keeps-writes", Process, 11, ["thread.discards"];
    /// A thread that does not hold an attribute frees it.
    UnlockByStranger = "unlock-by-stranger", Process, 12, ["thread.stranger"];
    /// A thread whose wait timed out stays in the queue.
    AbandonLeavesWaiter = "abandon-leaves-waiter", Process, 14, ["thread.ends-once", "end.cancels"];
    /// A release leaves out what an unanswered commit carried.
    ReleaseForgetsCommit = "release-forgets-commit", Process, 7, ["release.whole"];
    /// A release that is not answered is not repeated.
    ReleaseNotRepeated = "release-not-repeated", Process, 14, ["reconnect.repeats", "recall.crossed", "end.resends"];
    /// After a grant was lost with changes in it, the changed copy is kept as a base.
    KeepsDirtyBase = "keeps-dirty-base", Process, 7, ["release.drops-lost", "fence.revoked", "grant.known"];
    /// A grant of an earlier request is accepted.
    AcceptsOldGrant = "accepts-old-grant", Process, 14, ["grant.unasked"];
    /// Threads inside are not told that the lease has ended.
    KeepsGuardsPastLease = "keeps-guards-past-lease", Process, 10, ["lease.lost"];
    /// The lease is counted from when the answer came.
    LeaseFromReceipt = "lease-from-receipt", Process, 10, ["lease.from-sent"];
    /// The lease has no margin for drift.
    LeaseWithoutMargin = "lease-without-margin", Process, 10, ["lease.margin"];
    /// A connection on which no keep-alive is answered is kept until the lease has ended.
    StaysOnSilentLink = "stays-on-silent-link", Process, 10, ["lease.silent"];
    /// Every grant is given back after use.
    NeverKeeps = "never-keeps", Process, 2, ["grant.keeps"];
    /// The limits that the store says are not kept to.
    IgnoresStoreLimits = "ignores-store-limits", Process, 18, ["limit.of-store"];
    /// A thread that wants a session only if it exists is let in to one that does not.
    EntersAbsent = "enters-absent", Process, 16, ["exists.thread"];
    /// A thread is refused because a session was absent before the thread asked.
    RefusesByOldAnswer = "refuses-by-old-answer", Process, 16, ["exists.not-before"];
    /// A store of an older version is asked for a session only if it exists, which that does not understand.
    AsksOlderStore = "asks-older-store", Process, 16, ["exists.asks-newer", "exists.unsupported"];
    /// The hello lists requests that want a session only if it exists.
    GreetsWithNewRequests = "greets-with-new-requests", Process, 15, ["exists.ends-with-link", "exists.asks-newer"];
    /// A local cycle of threads is not looked for.
    OverlooksLocalDeadlock = "overlooks-local-deadlock", Process, 17, ["deadlock.local"];
}

impl core::fmt::Display for ProtocolMutant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
