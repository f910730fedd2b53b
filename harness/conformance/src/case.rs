//! A case: what is required, of whom, and how it is played.

use crate::end::Play;
use crate::{process, store};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Whom a case judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// A store.
    Store,
    /// A process: a client library.
    Process,
}

/// How much a case weighs. RFC 2119.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Who fails it does not conform.
    Must,
    /// Who fails it should know why.
    Should,
    /// Both ways conform: it tells which one it is.
    May,
}

/// What a case needs beside an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A command that kills the store and starts it again on the same data: `--hook-restart`.
    Restart,
    /// Commands that stop the store as a debugger does and let it go on: `--hook-pause`, `--hook-resume`.
    Pause,
    /// A command that recalls a session as an operator does: `--hook-recall`.
    Recall,
    /// A store whose unused sessions expire: `--expires-ms`.
    Expiry,
    /// Known limits of the store: `--limits`.
    Limits,
    /// No other case at the same time.
    Alone,
}

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name for ever: `chapter/subject/what`.
    pub id: &'static str,
    /// What is required, in one sentence.
    pub title: &'static str,
    /// Whom it judges.
    pub side: Side,
    /// How much it weighs.
    pub level: Level,
    /// The rules of the book that it doubts.
    pub rules: &'static [&'static str],
    /// What it needs.
    pub needs: &'static [Need],
    /// Since which version of the protocol it holds.
    pub since: &'static str,
    pub(crate) run: Run,
}

/// What plays a case.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    Store(fn(store::CaseContext) -> Playing),
    /// A script that the model checker has exported.
    Script(&'static store::DerivedScript),
    Process(fn(process::CaseContext) -> Playing),
}

/// A case that is being played.
pub(crate) type Playing = Pin<Box<dyn Future<Output = Play> + Send>>;

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

impl Level {
    /// As RFC 2119 writes it.
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
    /// Which option gives it.
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

/// A table of cases: `"id", Level ["rule", ..] (Need, ..) function, "what is required";`, the needs only where there are any.
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
