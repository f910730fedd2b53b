//! What may be done wrong.

use std::fmt;
use tenure_protocol::defect::{Defect, Hook, Level};

/// One mistake, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// All is right: the suite must pass.
    #[default]
    None,
    /// The machine makes it.
    Defect(Defect),
    /// The driver makes it.
    Slip(Slip),
}

macro_rules! slips {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// Mistakes that only a driver can make: the machine behind it is right.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Slip {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Slip {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What is done wrong, in one sentence.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

slips! {
    /// Every third answer goes to another connection.
    WrongConnection = "wrong-connection";
    /// A grant comes with the state of the session that was granted before it.
    MixesSessions = "mixes-sessions";
    /// A grant comes without its state.
    GrantWithoutState = "grant-without-state";
    /// A delta is applied to whatever version there is.
    WrongVersion = "wrong-version";
    /// Any message renews the lease.
    LeaseByTraffic = "lease-by-traffic";
    /// One more may wait than is said.
    LimitOffByOne = "limit-off-by-one";
    /// Answers leave before what they say is durable.
    SendsBeforeDurable = "sends-before-durable";
    /// What was read of a frame is forgotten when the rest is not there yet.
    LosesSplitFrames = "loses-split-frames";
    /// Each part of a message that goes on is taken for all of it.
    IgnoresMore = "ignores-more";
    /// What is not a frame is skipped, and the connection goes on.
    GoesOnAfterGarbage = "goes-on-after-garbage";
    /// The connection is closed without a word about what was wrong.
    ClosesWithoutFault = "closes-without-fault";
    /// A connection that was replaced is still listened to.
    ServesOldConnection = "serves-old-connection";
    /// Timers are never looked at.
    ForgetsTimers = "forgets-timers";
    /// A refusal is sent twice.
    RefusesTwice = "refuses-twice";
    /// A keep-alive is answered with the store's own time.
    AnswersWithOwnTime = "answers-with-own-time";
}

impl Mistake {
    /// All of them, of stores and processes.
    pub fn all() -> impl Iterator<Item = Self> {
        let defects = Defect::ALL.iter().copied().map(Self::Defect);
        defects.chain(Slip::ALL.iter().copied().map(Self::Slip))
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Defect(defect) => defect.name(),
            Self::Slip(slip) => slip.name(),
        }
    }

    /// The mistake of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        std::iter::once(Self::None)
            .chain(Self::all())
            .find(|mistake| mistake.name() == name)
    }

    /// Whether a process makes it, and no store.
    #[must_use]
    pub fn is_of_process(self) -> bool {
        matches!(self, Self::Defect(defect) if defect.level() == Level::Process)
    }

    pub(crate) fn is(self, slip: Slip) -> bool {
        self == Self::Slip(slip)
    }
}

impl Hook for Mistake {
    fn makes(self, defect: Defect) -> bool {
        self == Self::Defect(defect)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
