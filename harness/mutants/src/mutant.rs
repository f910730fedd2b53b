//! The mutants of stores and processes.

use std::fmt;
use tenure_protocol::mutant::{Level, ProtocolMutant, SeededHook};

/// A mutant, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The correct program, which the suite must pass.
    #[default]
    None,
    /// A mutant of the protocol's machine.
    Protocol(ProtocolMutant),
    /// A mutant of the driver.
    Driver(DriverMutant),
}

macro_rules! driver_mutants {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, [$($id:literal),+];)+) => {
        /// A mutant of the driver around a correct machine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DriverMutant {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DriverMutant {
            /// All driver mutants.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the name of the mutant.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Returns the ids of the protocol rules that the mutant breaks.

            #[must_use]

            pub const fn rules(self) -> &'static [&'static str] {

                match self { $(Self::$variant => &[$($id),+]),+ }

            }


            /// Returns a description of the seeded bug in one sentence.
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
    /// A grant contains the state of the session that was granted before it.
    MixesSessions = "mixes-sessions", ["grant.state"];
    /// A grant contains no state.
    GrantWithoutState = "grant-without-state", ["grant.state", "grant.full"];
    /// A delta is applied to the current version, whatever its base is.
    WrongVersion = "wrong-version", ["commit.repeated"];
    /// Any message renews the lease.
    LeaseByTraffic = "lease-by-traffic", ["lease.only-keep-alive"];
    /// The limit of waiters is exceeded by one.
    LimitOffByOne = "limit-off-by-one", ["limit.waiters"];
    /// Messages leave before the updates that they depend on are durable.
    SendsBeforeDurable = "sends-before-durable", ["grant.durable", "commit.durable"];
    /// The received part of a frame is dropped if the frame is incomplete.
    LosesSplitFrames = "loses-split-frames", ["wire.in-order"];
    /// Each part of a message is processed as a whole message.
    IgnoresMore = "ignores-more", ["wire.parts-joined"];
    /// Bytes that are not a frame are skipped, and the connection continues.
    GoesOnAfterGarbage = "goes-on-after-garbage", ["wire.ill-formed"];
    /// The connection is closed without a fault.
    ClosesWithoutFault = "closes-without-fault", ["wire.fault"];
    /// Messages on a replaced connection are still processed.
    ServesOldConnection = "serves-old-connection", ["connect.old-connection", "connect.closes-replaced"];
    /// Timers never fire.
    ForgetsTimers = "forgets-timers", ["recall.revokes", "lease.ends", "end.answered"];
    /// A refusal is sent twice.
    RefusesTwice = "refuses-twice", ["end.once"];
    /// A keep-alive is answered with the store's own time.
    AnswersWithOwnTime = "answers-with-own-time", ["lease.echo"];
}

impl Mutant {
    /// Returns all mutants of stores and processes.
    pub fn all() -> impl Iterator<Item = Self> {
        let mutants = ProtocolMutant::ALL.iter().copied().map(Self::Protocol);
        mutants.chain(DriverMutant::ALL.iter().copied().map(Self::Driver))
    }

    /// Returns the name of the mutant.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Protocol(mutant) => mutant.name(),
            Self::Driver(driver) => driver.name(),
        }
    }

    /// Returns the mutant with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        std::iter::once(Self::None)
            .chain(Self::all())
            .find(|mutant| mutant.name() == name)
    }

    /// Returns whether the mutant is a variant of the process, and not of the store.
    #[must_use]
    pub fn is_of_process(self) -> bool {
        matches!(self, Self::Protocol(mutant) if mutant.level() == Level::Process)
    }

    pub(crate) fn is(self, driver: DriverMutant) -> bool {
        self == Self::Driver(driver)
    }
}

impl SeededHook for Mutant {
    fn is_mutant(self, mutant: ProtocolMutant) -> bool {
        self == Self::Protocol(mutant)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
