//! The numbered rules, as the book has them: `docs/src/protocol/rules.md` is their only source.

use crate::case::Level;
use std::sync::LazyLock;

/// The page itself.
const PAGE: &str = include_str!("book/rules.md");

/// A rule of the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name for ever, as `grant.fifo`.
    pub id: &'static str,
    /// Whom it binds: `store`, `process` or `both`.
    pub who: &'static str,
    /// `safety` or `progress`.
    pub kind: &'static str,
    /// The rules of the design that it belongs to, by number.
    pub design: Vec<u8>,
    /// The strongest of its RFC 2119 words.
    pub level: Level,
    /// The properties of the model that check it too; or `unmodelled:` and why there is none.
    pub properties: Vec<&'static str>,
    /// What it says.
    pub text: String,
}

/// Read once: each case of a report quotes its rules.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| parse(PAGE).expect("the rules of the book"));

/// All rules, in the order of the book.
///
/// # Panics
/// When the page is not written as it says itself: the suite's own tests would have failed.
#[must_use]
pub fn all() -> &'static [Rule] {
    &RULES
}

/// The rule of that id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Rule> {
    all().iter().find(|rule| rule.id == id)
}

fn parse(page: &'static str) -> Result<Vec<Rule>, String> {
    let paragraphs = page.split("\n\n").map(str::trim);
    paragraphs
        .filter(|paragraph| paragraph.starts_with("**r["))
        .map(parse_rule)
        .collect()
}

fn parse_rule(paragraph: &'static str) -> Result<Rule, String> {
    let wrong = |what: &str| format!("{what}: {paragraph}");
    let (head, text) = paragraph.split_once('\n').ok_or_else(|| wrong("no text"))?;
    let (id, head) = head
        .trim_start_matches("**r[")
        .split_once("]**")
        .ok_or_else(|| wrong("no id"))?;
    let mut parts = head.trim().split(" · ");
    let mut part = |what| parts.next().map(str::trim).ok_or_else(|| wrong(what));
    let (who, kind) = (part("for whom?")?, part("safety or progress?")?);
    let numbers = part("which design rule?")?;
    let numbers = numbers.trim_start_matches(|char: char| !char.is_ascii_digit());
    let design: Result<Vec<u8>, _> = numbers.split(", ").map(str::parse).collect();
    let properties = parts.next().ok_or_else(|| wrong("which property?"))?;
    let text = text.replace('\n', " ");
    Ok(Rule {
        id,
        who,
        kind,
        design: design.map_err(|_| wrong("which design rule?"))?,
        level: level(&text).ok_or_else(|| wrong("no RFC 2119 word"))?,
        properties: match properties {
            why if why.starts_with("unmodelled:") => vec![why],
            // Between backticks: one of the names has a comma in it.
            names => names.split('`').skip(1).step_by(2).collect(),
        },
        text,
    })
}

fn level(text: &str) -> Option<Level> {
    let levels = [Level::Must, Level::Should, Level::May];
    levels.into_iter().find(|level| text.contains(level.word()))
}
