//! The result of a run: one value from which all output formats are generated.

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

/// The version of the report schema. It rises when a reader of an older schema would misunderstand the report.
pub const SCHEMA: u32 = 1;

/// The result of a run of the suite. The book documents its JSON form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of the suite.
    pub suite: String,
    /// The version of the protocol.
    pub protocol: String,
    /// The side that was judged.
    pub side: Side,
    /// The judged target: an address or a command.
    pub target: String,
    /// The time in milliseconds after which the store ends unused sessions, if the suite knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live_ms: Option<u64>,
    /// The seed of all random choices.
    pub seed: u64,
    /// The duration of the run in seconds.
    pub seconds: f64,
    /// The claim about the target, in one line.
    pub claim: String,
    /// Whether only a part of the suite was selected, so that the report says nothing about the rest.
    pub is_part: bool,
    /// Whether every selected MUST case was played and passed, and nothing else is wrong.
    pub conforms: bool,
    /// The cases, in the order of the suite.
    pub cases: Vec<Outcome>,
}

/// The outcome of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The id of the case.
    pub id: String,
    /// The requirement of the case.
    pub title: String,
    /// The requirement level.
    pub level: Level,
    /// The rules that the case checks.
    pub rules: Vec<Requirement>,
    /// The requirements for playing the case.
    pub needs: Vec<Need>,
    /// The first protocol version to which the case applies.
    pub since: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The reason why the case was skipped, is known to fail, or has a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The required behaviour, if the case failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The observed behaviour, if the case failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// The duration in seconds.
    pub seconds: f64,
    /// The number of times the case was played.
    pub played: u32,
    /// The frames of the last play, or of the failed one.
    pub trace: Vec<Traced>,
}

/// A rule as quoted in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The id of the rule.
    pub id: String,
    /// The text of the rule.
    pub text: String,
}

/// The verdict on a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The target meets the requirement.
    Pass,
    /// The target does not meet the requirement.
    Fail,
    /// The target does not meet the requirement, as the list of known failures states.
    KnownFailing,
    /// The target meets the requirement although the list states a known failure. The list is wrong, so the run fails.
    UnexpectedPass,
    /// The case was not played.
    Skip,
    /// The suite has a bug.
    Fault,
}

impl Verdict {
    /// Returns whether this verdict makes the run fail.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Fail | Self::UnexpectedPass | Self::Fault)
    }

    /// Returns the verdict in a word or two.
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
    /// Returns the outcome of a case that was not yet played.
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
    /// Derives the claim and the verdict of the run from its cases.
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
            // A target that fails a SHOULD still conforms, and the claim counts the SHOULD cases that pass. If a part
            // was selected, every case in it counts.
            Verdict::Fail => case.level != Level::Must && !self.is_part,
            Verdict::KnownFailing | Verdict::Skip => case.level != Level::Must,
        };
        // A run without a played case shows nothing.
        self.conforms = of(Verdict::Pass).next().is_some() && self.cases.iter().all(is_fine);
        self
    }

    /// Returns the verdict of the run in words.
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

    /// Returns the number of cases with this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cases
            .iter()
            .filter(|case| case.verdict == verdict)
            .count()
    }

    /// Returns whether the suite itself has a bug.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        self.count(Verdict::Fault) > 0
    }

    /// Returns the report as JSON.
    ///
    /// # Panics
    /// Never: every report is representable in JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .expect("a report contains only types that serialize to JSON")
    }

    /// Returns the report as JUnit XML.
    #[must_use]
    pub fn to_junit(&self) -> String {
        junit::write(self)
    }

    /// Returns the report in the Test Anything Protocol, version 14.
    #[must_use]
    pub fn to_tap(&self) -> String {
        tap::write(self)
    }

    /// Returns the report as Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::write(self)
    }
}

/// Returns the verdict on each rule in each run, which is the worst verdict of the rule's cases. A rule without a case
/// in a run has `None`.
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

/// Returns one self-contained HTML page for several runs: implementations × rules, and the played messages of each
/// case.
#[must_use]
pub fn to_html(reports: &[Report]) -> String {
    html::write(reports)
}
