//! The selection of cases, and the list of known failures.

use crate::case::Case;
use std::collections::BTreeMap;
use wildmatch::WildMatch;

/// Patterns of case ids and rule ids, with `*` and `?`. An empty list selects all cases.
#[derive(Clone, Debug, Default)]
pub struct Selection(Vec<WildMatch>);

impl Selection {
    /// Returns a selection with these patterns. A pattern without `*` also selects everything below it: `grant`
    /// includes `grant/*`.
    #[must_use]
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let all = patterns.into_iter().flat_map(|pattern| {
            [
                WildMatch::new(pattern),
                WildMatch::new(&format!("{pattern}/*")),
            ]
        });
        Self(all.collect())
    }

    /// Returns whether the case is selected.
    #[must_use]
    pub fn has(&self, case: &Case) -> bool {
        let means = |text: &str| self.0.iter().any(|pattern| pattern.matches(text));
        self.0.is_empty() || means(case.id) || case.rules.iter().any(|rule| means(rule))
    }
}

/// The cases that are known to fail, each with a reason.
#[derive(Clone, Debug, Default)]
pub struct KnownFailing(BTreeMap<String, String>);

impl KnownFailing {
    /// Parses a list of known failures. Each line has a case id and a reason, and `#` begins a comment.
    ///
    /// # Errors
    /// A text with the number of the malformed line, or of the line whose case does not exist.
    pub fn parse(text: &str, cases: &[Case]) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, why) = line.split_once(char::is_whitespace).ok_or_else(|| {
                format!("line {number}: `{line}` has no reason after the case id; add one")
            })?;
            if !cases.iter().any(|case| case.id == id) {
                return Err(format!(
                    "line {number}: there is no case `{id}`; list the case ids with tenure conform \
                list"
                ));
            }
            all.insert(id.to_owned(), why.trim().to_owned());
        }
        Ok(Self(all))
    }

    /// Returns the reason why a case is known to fail, or `None` if it is not.
    #[must_use]
    pub fn why(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}
