//! The numbered rules, parsed from `docs/src/protocol/rules.md`, which is their only source.

use crate::case::Level;
use std::sync::LazyLock;

/// The page with the rules.
const PAGE: &str = include_str!("book/rules.md");

/// A rule of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The permanent name of the rule, such as `grant.fifo`.
    pub id: &'static str,
    /// The side that the rule binds: `store`, `process` or `both`.
    pub who: &'static str,
    /// `safety` or `progress`.
    pub kind: &'static str,
    /// The numbers of the design rules to which the rule belongs.
    pub design: Vec<u8>,
    /// The strongest RFC 2119 word of the rule.
    pub level: Level,
    /// The properties of the model that also check the rule, or `unmodelled:` and the reason.
    pub properties: Vec<&'static str>,
    /// The text of the rule.
    pub text: String,
}

/// The rules are parsed once, because each case of a report quotes its rules.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    parse(PAGE).expect(
        "the suite's tests parse this page, so it is \
well-formed",
    )
});

/// Returns all rules in the order of the book.
///
/// # Panics
/// If the page is malformed. The suite's tests exclude that.
#[must_use]
pub fn all() -> &'static [Rule] {
    &RULES
}

/// Returns the rule with this id.
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
