//! Which cases are played, and which are known to fail.

use crate::case::Case;
use std::collections::BTreeMap;
use wildmatch::WildMatch;

/// Patterns of case ids and rule ids, with `*` and `?`; none means all.
#[derive(Clone, Debug, Default)]
pub struct Selection(Vec<WildMatch>);

impl Selection {
    /// Of these patterns. One without `*` also means everything below it: `grant` is `grant/*`.
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

    /// Whether it means this case.
    #[must_use]
    pub fn has(&self, case: &Case) -> bool {
        let means = |text: &str| self.0.iter().any(|pattern| pattern.matches(text));
        self.0.is_empty() || means(case.id) || case.rules.iter().any(|rule| means(rule))
    }
}

/// The cases that are known to fail, each with the reason.
#[derive(Clone, Debug, Default)]
pub struct KnownFailing(BTreeMap<String, String>);

impl KnownFailing {
    /// Reads a list: a case id a line, and after it its reason, which must be there; `#` begins a comment.
    ///
    /// # Errors
    /// The line that is not so, or that names no case.
    pub fn parse(text: &str, cases: &[Case]) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, why) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| format!("line {number}: `{line}` has no reason behind the id"))?;
            if !cases.iter().any(|case| case.id == id) {
                return Err(format!("line {number}: there is no case `{id}`"));
            }
            all.insert(id.to_owned(), why.trim().to_owned());
        }
        Ok(Self(all))
    }

    /// Why that case is known to fail, if it is.
    #[must_use]
    pub fn why(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}
