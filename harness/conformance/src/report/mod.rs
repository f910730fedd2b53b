//! What came of a run: one value, from which every format is made.

mod chart;
mod html;
mod junit;
mod markdown;
mod tap;

use crate::case::{Case, Level, Need, Side};
use crate::rules;
use crate::trace::Traced;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The version of this schema: rises when a reader of an older one would misunderstand it.
pub const SCHEMA: u32 = 1;

/// A run of the suite. Its JSON is documented in the book.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of the suite.
    pub suite: String,
    /// The version of the protocol.
    pub protocol: String,
    /// Whom it judges.
    pub side: Side,
    /// What was judged: an address, or a command.
    pub target: String,
    /// After how many milliseconds the store ends sessions that nobody uses, if it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live_ms: Option<u64>,
    /// The seed of all that was random.
    pub seed: u64,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// What may be said of the target, in one line.
    pub claim: String,
    /// Whether only a part of the suite was selected: nothing is said of the rest.
    pub is_part: bool,
    /// Whether every MUST that was selected was played and holds, and nothing else is wrong.
    pub conforms: bool,
    /// The cases, in the order of the suite.
    pub cases: Vec<Outcome>,
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The case.
    pub id: String,
    /// What it requires.
    pub title: String,
    /// How much it weighs.
    pub level: Level,
    /// The rules that it doubts.
    pub rules: Vec<Requirement>,
    /// What it needs.
    pub needs: Vec<Need>,
    /// Since which version of the protocol it holds.
    pub since: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it was skipped, is known to fail, or is a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What had to come, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What came instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How often it was played.
    pub played: u32,
    /// What went over the wire when it was played last, or failed.
    pub trace: Vec<Traced>,
}

/// A rule as a report quotes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// Its id.
    pub id: String,
    /// What it says.
    pub text: String,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// It does not, which was known.
    KnownFailing,
    /// It holds, though it was known to fail: the list is wrong, and so is the run.
    UnexpectedPass,
    /// It was not played.
    Skip,
    /// The suite is wrong.
    Fault,
}

impl Verdict {
    /// Whether the run is not all right because of it.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Fail | Self::UnexpectedPass | Self::Fault)
    }

    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::KnownFailing => "known to fail",
            Self::UnexpectedPass => "UNEXPECTED PASS",
            Self::Skip => "skip",
            Self::Fault => "FAULT",
        }
    }
}

impl Outcome {
    /// A case that was not played yet.
    pub(crate) fn of(case: &Case) -> Self {
        let quote = |id: &&str| Requirement {
            id: (*id).to_owned(),
            text: rules::find(id).map_or_else(String::new, |rule| rule.text.clone()),
        };
        Self {
            id: case.id.to_owned(),
            title: case.title.to_owned(),
            level: case.level,
            rules: case.rules.iter().map(quote).collect(),
            needs: case.needs.to_vec(),
            since: case.since.to_owned(),
            verdict: Verdict::Skip,
            why: None,
            expected: None,
            seen: None,
            seconds: 0.0,
            played: 0,
            trace: Vec::new(),
        }
    }
}

impl Report {
    /// Judges: the claim and the verdict follow from the cases.
    #[must_use]
    pub fn judged(mut self) -> Self {
        let mut parts = Vec::new();
        for level in [Level::Must, Level::Should, Level::May] {
            let all: Vec<_> = self
                .cases
                .iter()
                .filter(|case| case.level == level)
                .collect();
            if !all.is_empty() {
                let passed = all.iter().filter(|case| case.verdict == Verdict::Pass);
                parts.push(format!("{} {}/{}", level.word(), passed.count(), all.len()));
            }
        }
        let of = |verdict| {
            let cases = self.cases.iter();
            cases.filter(move |case| case.verdict == verdict)
        };
        let skipped = of(Verdict::Skip).count();
        if skipped > 0 {
            let reasons: BTreeSet<_> = of(Verdict::Skip)
                .filter_map(|case| case.why.as_deref())
                .collect();
            let reasons: Vec<_> = reasons.into_iter().collect();
            parts.push(format!("{skipped} skipped ({})", reasons.join("; ")));
        }
        let known = of(Verdict::KnownFailing).count();
        if known > 0 {
            parts.push(format!("{known} known to fail"));
        }
        self.claim = parts.join(", ");
        let is_fine = |case: &Outcome| match case.verdict {
            Verdict::Pass => true,
            Verdict::UnexpectedPass | Verdict::Fault => false,
            // Who fails a SHOULD still conforms: the claim tells how many hold. Who asks for a part wants to know of all in it.
            Verdict::Fail => case.level != Level::Must && !self.is_part,
            Verdict::KnownFailing | Verdict::Skip => case.level != Level::Must,
        };
        // A run in which every case was left out shows nothing.
        self.conforms = of(Verdict::Pass).next().is_some() && self.cases.iter().all(is_fine);
        self
    }

    /// In words.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        let is_bad = self.cases.iter().any(|case| case.verdict.is_bad());
        let mut musts = self.cases.iter().filter(|case| case.level == Level::Must);
        let is_wrong = musts.any(|case| !matches!(case.verdict, Verdict::Pass | Verdict::Skip));
        match (self.conforms, self.is_part) {
            (true, false) => "conforms",
            (true, true) => "holds in the part that was selected",
            (false, true) if is_bad => "does not hold in the part that was selected",
            (false, _) if is_wrong => "does not conform",
            (false, _) if self.is_faulty() => "was not judged: the suite has a fault",
            (false, true) => {
                "is not shown to hold in the part that was selected: cases were left out"
            }
            (false, _) => "is not shown to conform: a MUST was left out",
        }
    }

    /// How many cases ended so.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cases
            .iter()
            .filter(|case| case.verdict == verdict)
            .count()
    }

    /// Whether the suite itself is wrong.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        self.count(Verdict::Fault) > 0
    }

    /// As JSON.
    ///
    /// # Panics
    /// Never: a report has nothing that JSON cannot say.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is JSON")
    }

    /// As JUnit XML.
    #[must_use]
    pub fn to_junit(&self) -> String {
        junit::write(self)
    }

    /// In the Test Anything Protocol, version 14.
    #[must_use]
    pub fn to_tap(&self) -> String {
        tap::write(self)
    }

    /// As Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::write(self)
    }
}

/// What came of each rule in each run: the worst of its cases counts, and a rule may have none in a run.
#[must_use]
pub fn by_rule(reports: &[Report]) -> BTreeMap<&str, Vec<Option<Verdict>>> {
    let weight = |verdict: &Verdict| match verdict {
        Verdict::Pass => 0,
        Verdict::Skip => 1,
        Verdict::KnownFailing => 2,
        Verdict::UnexpectedPass => 3,
        Verdict::Fail => 4,
        Verdict::Fault => 5,
    };
    let mut rules: BTreeMap<&str, Vec<Option<Verdict>>> = BTreeMap::new();
    for (column, report) in reports.iter().enumerate() {
        for case in &report.cases {
            for rule in &case.rules {
                let row = rules
                    .entry(&rule.id)
                    .or_insert_with(|| vec![None; reports.len()]);
                let verdicts = row[column].into_iter().chain([case.verdict]);
                row[column] = verdicts.max_by_key(weight);
            }
        }
    }
    rules
}

/// One page for several runs that needs nothing else: implementations × rules, and behind each case what was played.
#[must_use]
pub fn to_html(reports: &[Report]) -> String {
    html::write(reports)
}
