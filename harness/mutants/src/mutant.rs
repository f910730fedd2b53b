//! What may be done wrong.

use std::fmt;
use tenure_protocol::mutant::{Hook, Level, ProtocolMutant};

/// One mutant, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// All is right: the suite must pass.
    #[default]
    None,
    /// The machine makes it.
    Protocol(ProtocolMutant),
    /// The driver makes it.
    Driver(DriverMutant),
}

macro_rules! driver_mutants {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, [$($id:literal),+];)+) => {
        /// Mutants that only a driver can make: the machine behind it is right.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DriverMutant {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DriverMutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
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

driver_mutants! {
    /// Every third answer goes to another connection.
    WrongConnection = "wrong-connection", ["connect.answers-hello", "lease.alive", "release.answered"];
    /// A grant comes with the state of the session that was granted before it.
    MixesSessions = "mixes-sessions", ["grant.state"];
    /// A grant comes without its state.
    GrantWithoutState = "grant-without-state", ["grant.state", "grant.full"];
    /// A delta is applied to whatever version there is.
    WrongVersion = "wrong-version", ["commit.repeated"];
    /// Any message renews the lease.
    LeaseByTraffic = "lease-by-traffic", ["lease.only-keep-alive"];
    /// One more may wait than is said.
    LimitOffByOne = "limit-off-by-one", ["limit.waiters"];
    /// Answers leave before what they say is durable.
    SendsBeforeDurable = "sends-before-durable", ["grant.durable", "commit.durable"];
    /// What was read of a frame is forgotten when the rest is not there yet.
    LosesSplitFrames = "loses-split-frames", ["wire.in-order"];
    /// Each part of a message that goes on is taken for all of it.
    IgnoresMore = "ignores-more", ["wire.parts-joined"];
    /// What is not a frame is skipped, and the connection goes on.
    GoesOnAfterGarbage = "goes-on-after-garbage", ["wire.ill-formed"];
    /// The connection is closed without a word about what was wrong.
    ClosesWithoutFault = "closes-without-fault", ["wire.fault"];
    /// A connection that was replaced is still listened to.
    ServesOldConnection = "serves-old-connection", ["connect.old-connection", "connect.closes-replaced"];
    /// Timers are never looked at.
    ForgetsTimers = "forgets-timers", ["recall.revokes", "lease.ends", "end.answered"];
    /// A refusal is sent twice.
    RefusesTwice = "refuses-twice", ["end.once"];
    /// A keep-alive is answered with the store's own time.
    AnswersWithOwnTime = "answers-with-own-time", ["lease.echo"];
}

impl Mutant {
    /// All of them, of stores and processes.
    pub fn all() -> impl Iterator<Item = Self> {
        let mutants = ProtocolMutant::ALL.iter().copied().map(Self::Protocol);
        mutants.chain(DriverMutant::ALL.iter().copied().map(Self::Driver))
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Protocol(mutant) => mutant.name(),
            Self::Driver(driver) => driver.name(),
        }
    }

    /// The mutant of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        std::iter::once(Self::None)
            .chain(Self::all())
            .find(|mutant| mutant.name() == name)
    }

    /// Whether a process makes it, and no store.
    #[must_use]
    pub fn is_of_process(self) -> bool {
        matches!(self, Self::Protocol(mutant) if mutant.level() == Level::Process)
    }

    pub(crate) fn is(self, driver: DriverMutant) -> bool {
        self == Self::Driver(driver)
    }
}

impl Hook for Mutant {
    fn is_mutant(self, mutant: ProtocolMutant) -> bool {
        self == Self::Protocol(mutant)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
