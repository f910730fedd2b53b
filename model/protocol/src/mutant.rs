//! Mutants: variants of the machines with one seeded bug each. Every check is shown to fail on at least one mutant.
//!
//! A machine makes its decisions through its hook, see [`rules`](crate::rules). There are two hooks:
//!
//! - [`Sound`] has no size and overrides no decision, so the compiler puts the correct decision in its place. `Sound`
//!   is the default parameter of [`StoreMachine`](crate::StoreMachine) and [`ProcessMachine`](crate::ProcessMachine).
//!   A driver that uses the default cannot receive a mutant, because a mutant has another type.
//! - [`Seeded`] is one mutant of the catalogue: it makes one decision wrongly. Only the checker and the tests name it.
//!
//! ```compile_fail
//! use tenure_protocol::{Seeded, StoreMachine};
//! fn serve(_: StoreMachine) {}     // what a driver accepts
//! fn with_mutant(store: StoreMachine<Seeded>) {
//!     serve(store);                // does not compile: a seeded store is another type
//! }
//! ```

mod process;
mod store;

use crate::rules::{ProcessRules, StoreRules};
use core::fmt::Debug;
use core::hash::Hash;

/// A choice of mutant, or of none: the hook of a machine. A machine makes its decisions through the hook.
pub trait Hook:
    StoreRules + ProcessRules + Clone + Copy + Eq + Hash + Debug + Send + Sync + 'static
{
    /// Counts one visit. A machine calls this for each session of a store that a step looks up or passes on a walk. A
    /// test that bounds the cost of a step counts the calls; all other hooks ignore them.
    #[inline(always)]
    fn visits(self) {}
}

/// The hook of a machine without a seeded bug.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sound;

impl StoreRules for Sound {}
impl ProcessRules for Sound {}
impl Hook for Sound {}

/// A hook that can be any mutant of the catalogue. It makes the wrong decisions of the mutant that it is.
pub trait SeededHook: Clone + Copy + Eq + Hash + Debug + Send + Sync + 'static {
    /// Returns whether the machine is this mutant.
    fn is_mutant(self, mutant: ProtocolMutant) -> bool;
}

impl<S: SeededHook> Hook for S {}

/// The hook of a machine with one seeded bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seeded(pub ProtocolMutant);

impl SeededHook for Seeded {
    fn is_mutant(self, mutant: ProtocolMutant) -> bool {
        self.0 == mutant
    }
}

/// Overrides the decisions of a trait of [`rules`](crate::rules). Each decision lists the mutants that get it wrong,
/// each with its wrong decision. All other hooks decide as [`Sound`] does.
macro_rules! seeded {
    ($rules:ident: $(
        fn $decision:ident($($given:ident: $type:ty),*) $(-> $result:ty)? { $($mutant:ident => $wrong:expr),+ $(,)? }
    )+) => {
        impl<S: SeededHook> $rules for S {$(
            fn $decision(self, $($given: $type),*) $(-> $result)? {
                $(if self.is_mutant(ProtocolMutant::$mutant) {
                    return $wrong;
                })+
                Sound.$decision($($given),*)
            }
        )+}
    };
}
use seeded;

macro_rules! catalogue {
    ($(
        $(#[doc = $doc:literal])+ $variant:ident = $name:literal, $level:ident, $rule:literal, [$($id:literal),+];
    )+) => {
        /// The catalogue of mutants of the two machines.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProtocolMutant {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ProtocolMutant {
            /// All mutants, those of the store first.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the mutant's name on the command line and in the book.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Returns the machine that the mutant changes.
            #[must_use]
            pub const fn level(self) -> Level {
                match self { $(Self::$variant => Level::$level),+ }
            }

            /// Returns the number of the design rule that the mutant breaks.
            #[must_use]
            pub const fn rule(self) -> u8 {
                match self { $(Self::$variant => $rule),+ }
            }

            /// Returns the ids of the protocol rules that the mutant breaks.
            #[must_use]
            pub const fn rules(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($id),+]),+ }
            }

            /// Returns one sentence that says what the mutant does wrong.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

/// The machine that a mutant changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Level one: the store.
    Store,
    /// Level two: the process.
    Process,
}

catalogue! {
    /// The store grants a session that another process holds.
    GrantsToTwo = "grants-to-two", Store, 1, ["grant.exclusive"];
    /// The store does not recall a grant when another process waits for the session.
    ForgetsRecall = "forgets-recall", Store, 3, ["recall.asks"];
    /// The store keeps a recall after its grant is voided, so the next holder is never recalled.
    KeepsRecallOfDead = "keeps-recall-of-dead", Store, 10, ["recall.ends-with-grant", "recall.asks"];
    /// The store sends a grant before the grant's record is durable.
    GrantsBeforeDurable = "grants-before-durable", Store, 8, ["grant.durable"];
    /// The store acknowledges a commit before the commit is durable.
    AcknowledgesBeforeDurable = "acknowledges-before-durable", Store, 8, ["commit.durable"];
    /// The store accepts a commit with an old token.
    AcceptsOldToken = "accepts-old-token", Store, 9, ["fence.commit"];
    /// The store accepts a release from a process that does not hold the session.
    ReleaseByStranger = "release-by-stranger", Store, 9, ["release.old"];
    /// The store takes a repeated release with an old token for a release of the process's next grant.
    DuplicateReleaseFrees = "duplicate-release-frees", Store, 14, ["release.old"];
    /// The store grants a session to the last process in the queue first.
    LifoAtStore = "lifo-at-store", Store, 5, ["queue.fifo-connected"];
    /// The store grants a session to the head of the queue although that process is not connected.
    GrantsToUnconnected = "grants-to-unconnected", Store, 5, ["grant.connected", "queue.fifo-connected"];
    /// The store skips the head of the queue when other processes wait behind it.
    SkipsHead = "skips-head", Store, 5, ["queue.fifo-connected"];
    /// The store puts a process that releases and asks again at the head of the queue.
    RequeuesAtHead = "requeues-at-head", Store, 12, ["queue.requeue-last"];
    /// The store does not send `Queued` to a process that releases, asks again and has to wait.
    RequeuesUntold = "requeues-untold", Store, 5, ["queue.told"];
    /// The store ignores the requests that a process lists in its hello.
    LosesWaitersOnRestart = "loses-waiters-on-restart", Store, 5, ["reconnect.waits"];
    /// The store ignores the ticket that a waiter presents again.
    IgnoresTicket = "ignores-ticket", Store, 5, ["queue.presented"];
    /// The store grants the session to the next process before it applies the releasing process's changes.
    FreesBeforeWriting = "frees-before-writing", Store, 7, ["release.written"];
    /// The store does not recall a cached grant for a try.
    TryNeverRecalls = "try-never-recalls", Store, 13, ["try.recalls"];
    /// The store lets a try wait for the threads inside the holder.
    TryWaitsForThread = "try-waits-for-thread", Store, 13, ["try.refused-when-busy", "try.refused-otherwise"];
    /// The store lets a late write with an old token bring a destroyed session back.
    ResurrectsDestroyed = "resurrects-destroyed", Store, 16, ["destroy.stays"];
    /// The store forgets the waiters of a session when the session is destroyed.
    DestroyForgetsWaiters = "destroy-forgets-waiters", Store, 14, ["destroy.waiters"];
    /// The store sends a session that was destroyed and created again as a delta on its former life.
    DeltaAcrossLives = "delta-across-lives", Store, 16, ["grant.full"];
    /// The store sends a renamed session as a delta to a process that had the session formerly under the new id.
    RenameKeepsFloor = "rename-keeps-floor", Store, 16, ["grant.full"];
    /// The store lets a renamed session keep its token, which may be older than the last token under the new id.
    RenameKeepsToken = "rename-keeps-token", Store, 9, ["rename.new-token"];
    /// The store ends a session at its time to live although a process holds the session.
    ExpiresWhileHeld = "expires-while-held", Store, 16, ["expiry.not-while-held", "expiry.recalls"];
    /// The store frees the grants of a process when the connection is cut.
    FreesOnDisconnect = "frees-on-disconnect", Store, 10, ["lease.frees-nothing"];
    /// The store keeps the lease of a process after the process says goodbye.
    LeaseOutlivesGoodbye = "lease-outlives-goodbye", Store, 10, ["lease.goodbye"];
    /// The store leaves a process in the queues after the lease of that process has ended.
    KeepsOrphanedWaiter = "keeps-orphaned-waiter", Store, 10,
        ["lease.ends", "lease.goodbye", "connect.new-incarnation"];
    /// The store forgets a process whose lease has ended, but does not void the grants of that process.
    ForgetsGrantsOfDead = "forgets-grants-of-dead", Store, 10, ["lease.ends"];
    /// The store does not fence the old incarnation of a process when a new incarnation connects.
    KeepsOldIncarnation = "keeps-old-incarnation", Store, 10,
        ["connect.new-incarnation", "reconnect.unclaimed", "reconnect.no-token-twice"];
    /// The store starts its tokens from the beginning again after a restart.
    ReusesTokens = "reuses-tokens", Store, 9, ["grant.token-rises"];
    /// The store does not know its holders after a restart.
    ForgetsHolderOnRestart = "forgets-holder-on-restart", Store, 8, ["lease.restart"];
    /// The store applies a commit although the commit was made to another version.
    CommitsOnWrongVersion = "commits-on-wrong-version", Store, 7, ["commit.repeated"];
    /// The store sends `Unchanged` to every process that has any version of the state.
    SendsNoState = "sends-no-state", Store, 7, ["grant.state"];
    /// The store draws a new token when the holder repeats its request, which fences the holder's own writes.
    ReadBumpsToken = "read-bumps-token", Store, 14, ["grant.same-again"];
    /// The store queues a repeated request twice.
    QueuesTwice = "queues-twice", Store, 14, ["queue.same-ticket"];
    /// The store frees a grant when a cancel crosses the grant on the way.
    CancelDropsGrant = "cancel-drops-grant", Store, 14, ["end.cancel-crossed"];
    /// The store never revokes the grant of a holder that says it is busy.
    BusyStopsRevoke = "busy-stops-revoke", Store, 11, ["recall.revokes"];
    /// The store revokes the grant of a living holder although all waiters have left or are not connected.
    RevokesForNobody = "revokes-for-nobody", Store, 11, ["recall.for-nobody"];
    /// The store does not look for cycles of waits across sessions.
    OverlooksDeadlock = "overlooks-deadlock", Store, 17, ["deadlock.found"];
    /// The store does not limit the length of a queue.
    QueueWithoutLimit = "queue-without-limit", Store, 18, ["limit.waiters"];
    /// The store recalls nothing when it drains.
    DrainRecallsNothing = "drain-recalls-nothing", Store, 3, ["stop.drains"];
    /// The store recalls every grant although it stops for a restart.
    StopRecalls = "stop-recalls", Store, 2, ["stop.keeps"];
    /// The store goes on granting sessions while it stops.
    GrantsWhileStopping = "grants-while-stopping", Store, 6, ["stop.grants-nothing"];
    /// The store grants a session although its disk is full and the grant cannot be made durable.
    GrantsWhenFull = "grants-when-full", Store, 18, ["limit.storage"];
    /// The store leaves its limits out of the welcome.
    KeepsLimitsSecret = "keeps-limits-secret", Store, 18, ["limit.told-in-welcome"];
    /// The store grants the session of a refused commit to the next process before the former holder has heard that its
    /// grant is lost.
    PassesOnUnheard = "passes-on-unheard", Store, 18, ["limit.until-heard"];
    /// The store grants a session that does not exist to a request that wants the session only if it exists.
    GrantsAbsent = "grants-absent", Store, 16, ["exists.only", "exists.absent"];
    /// The store refuses a session as absent although the session exists.
    DeniesExisting = "denies-existing", Store, 16, ["exists.true"];
    /// The store keeps a session that does not exist in memory after a request for that session.
    RemembersAbsent = "remembers-absent", Store, 16, ["exists.leaves-nothing"];
    /// The process admits the last thread in an attribute's queue first.
    LifoAtAttribute = "lifo-at-attribute", Process, 12, ["gate.order"];
    /// The process gives a thread a free attribute although an earlier thread waits for several attributes, this one
    /// included.
    Barges = "barges", Process, 12, ["gate.order"];
    /// The process admits new threads after a recall.
    AdmitsAfterRecall = "admits-after-recall", Process, 12, ["gate.closed", "destroy.nobody-enters"];
    /// The process closes the gate to threads that are already inside.
    RefusesInsiders = "refuses-insiders", Process, 12, ["gate.insiders"];
    /// The process gives a grant back unused when the recall came before the grant.
    GrantWithoutUse = "grant-without-use", Process, 12, ["gate.one-use"];
    /// The process forgets a recall that comes before its grant.
    ForgetsEarlyRecall = "forgets-early-recall", Process, 14, ["recall.early"];
    /// The process gives a grant back while threads are inside.
    ReleasesWhileInside = "releases-while-inside", Process, 3, ["recall.keeps-until-out"];
    /// The process releases the write set of a late thread together with the other changes.
    AppliesLateWrites = "applies-late-writes", Process, 11, ["thread.told"];
    /// The process applies the write set of a thread that panicked.
    DiscardKeepsWrites = "discard-keeps-writes", Process, 11, ["thread.discards"];
    /// The process lets a thread free an attribute that another thread holds.
    UnlockByStranger = "unlock-by-stranger", Process, 12, ["thread.stranger"];
    /// The process leaves a thread in the queue after the thread's wait has timed out.
    AbandonLeavesWaiter = "abandon-leaves-waiter", Process, 14, ["thread.ends-once", "end.cancels"];
    /// The process leaves the changes of an unanswered commit out of its release.
    ReleaseForgetsCommit = "release-forgets-commit", Process, 7, ["release.whole"];
    /// The process does not repeat a release that is not acknowledged.
    ReleaseNotRepeated = "release-not-repeated", Process, 14, ["reconnect.repeats", "recall.crossed", "end.resends"];
    /// The process keeps a changed copy as a base although the grant with these changes was lost.
    KeepsDirtyBase = "keeps-dirty-base", Process, 7, ["release.drops-lost", "fence.revoked", "grant.known"];
    /// The process accepts a grant of an earlier request.
    AcceptsOldGrant = "accepts-old-grant", Process, 14, ["grant.unasked"];
    /// The process does not notify the threads inside that the lease has ended.
    KeepsGuardsPastLease = "keeps-guards-past-lease", Process, 10, ["lease.lost"];
    /// The process counts the lease from the receipt of the answer instead of from the sending of the keep-alive.
    LeaseFromReceipt = "lease-from-receipt", Process, 10, ["lease.from-sent"];
    /// The process ends its lease without a margin for clock drift.
    LeaseWithoutMargin = "lease-without-margin", Process, 10, ["lease.margin"];
    /// The process keeps a connection on which no keep-alive is answered until the lease has ended.
    StaysOnSilentLink = "stays-on-silent-link", Process, 10, ["lease.silent"];
    /// The process gives every grant back after use instead of caching it.
    NeverKeeps = "never-keeps", Process, 2, ["grant.keeps"];
    /// The process ignores the limits that the store states.
    IgnoresStoreLimits = "ignores-store-limits", Process, 18, ["limit.of-store"];
    /// The process admits a thread that wants a session only if it exists to a session that does not exist.
    EntersAbsent = "enters-absent", Process, 16, ["exists.thread"];
    /// The process refuses a thread because the session was absent before the thread asked.
    RefusesByOldAnswer = "refuses-by-old-answer", Process, 16, ["exists.not-before"];
    /// The process asks a store of an older version for a session only if it exists, which that store does not
    /// understand.
    AsksOlderStore = "asks-older-store", Process, 16, ["exists.asks-newer", "exists.unsupported"];
    /// The process's hello lists requests that want a session only if it exists.
    GreetsWithNewRequests = "greets-with-new-requests", Process, 15, ["exists.ends-with-link", "exists.asks-newer"];
    /// The process does not look for a cycle of waits among its own threads.
    OverlooksLocalDeadlock = "overlooks-local-deadlock", Process, 17, ["deadlock.local"];
}

impl core::fmt::Display for ProtocolMutant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
