//! A conformance case: its requirement, the side that it judges, and the function that plays it.

use crate::end::Play;
use crate::{process, store};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// The side that a case judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// A store.
    Store,
    /// A process: a client library.
    Process,
}

/// The requirement level of a case, as in RFC 2119.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A target that fails the case does not conform.
    Must,
    /// A target that fails the case should have a good reason.
    Should,
    /// Both behaviours conform. The case reports which one the target has.
    May,
}

/// A requirement of a case beside the target's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A command that kills the store and restarts it on the same data: `--hook-restart`.
    Restart,
    /// Commands that pause and resume the store, as a debugger does: `--hook-pause`, `--hook-resume`.
    Pause,
    /// A command that recalls a session as an operator does: `--hook-recall`.
    Recall,
    /// A store in which unused sessions expire: `--expires-ms`.
    Expiry,
    /// Known limits of the store: `--limits`.
    Limits,
    /// No other case may run at the same time.
    Alone,
}

/// A conformance case.
#[derive(Clone, Copy)]
pub struct Case {
    /// The permanent name of the case: `chapter/subject/what`.
    pub id: &'static str,
    /// The requirement, in one or two sentences.
    pub title: &'static str,
    /// The side that the case judges.
    pub side: Side,
    /// The requirement level.
    pub level: Level,
    /// The ids of the rules that the case checks.
    pub rules: &'static [&'static str],
    /// The requirements of the case.
    pub needs: &'static [Need],
    /// The first protocol version to which the case applies.
    pub since: &'static str,
    pub(crate) run: Run,
}

/// The code that plays a case.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    Store(fn(store::CaseContext) -> Playing),
    /// A script exported by the model checker.
    Script(&'static store::DerivedScript),
    Process(fn(process::CaseContext) -> Playing),
}

/// The future of a case that is being played.
pub(crate) type Playing = Pin<Box<dyn Future<Output = Play> + Send>>;

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

impl Level {
    /// Returns the level as RFC 2119 writes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        }
    }
}

impl Need {
    /// Returns the option that provides this requirement.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::Restart => "--hook-restart",
            Self::Pause => "--hook-pause and --hook-resume",
            Self::Recall => "--hook-recall",
            Self::Expiry => "--expires-ms",
            Self::Limits => "--limits",
            Self::Alone => "nothing",
        }
    }
}

/// Defines a table of cases: `"id", Level ["rule", ..] (Need, ..) function, "requirement";`. The needs are optional.
macro_rules! cases {
    ($side:ident: $(
        $id:literal, $level:ident [$($rule:literal),+] $(($($need:ident),+))? $play:path, $title:literal;
    )+) => {
        pub(super) const CASES: &[$crate::Case] = &[$($crate::Case {
            id: $id,
            title: $title,
            side: $crate::Side::$side,
            level: $crate::Level::$level,
            rules: &[$($rule),+],
            needs: &[$($($crate::Need::$need),+)?],
            since: "1.0",
            run: $crate::case::Run::$side(|ctx| Box::pin($play(ctx))),
        }),+];
    };
}
pub(crate) use cases;
