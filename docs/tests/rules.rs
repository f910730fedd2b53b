//! The rules of the protocol, `docs/src/protocol/rules.md`, are what they say they are: each has the form that machines
//! read, one level, and properties that exist; and no other page demands anything.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const CHAPTERS: [&str; 22] = [
    "connect",
    "grant",
    "queue",
    "recall",
    "gate",
    "release",
    "commit",
    "fence",
    "lease",
    "reconnect",
    "try",
    "end",
    "exists",
    "expiry",
    "destroy",
    "rename",
    "deadlock",
    "stop",
    "limit",
    "wire",
    "thread",
    "time",
];

/// What a rule demands, and how strongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Must,
    Should,
    May,
}

#[derive(Debug)]
struct Rule {
    id: String,
    role: String,
    kind: String,
    design: Vec<u32>,
    properties: Vec<String>,
    level: Level,
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read(page: &str) -> String {
    fs::read_to_string(src().join(page)).expect("a page")
}

/// The capital words of RFC 2119 in a text, each by its level.
fn levels(text: &str) -> Vec<Level> {
    let words = text.split(|c: char| !c.is_ascii_alphabetic());
    let level = |word: &str| match word {
        "MUST" | "REQUIRED" | "SHALL" => Some(Level::Must),
        "SHOULD" | "RECOMMENDED" => Some(Level::Should),
        "MAY" | "OPTIONAL" => Some(Level::May),
        _ => None,
    };
    words.filter_map(level).collect()
}

/// The names between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// What is wrong with a paragraph that begins like a rule, or the rule.
fn rule(paragraph: &str) -> Result<Rule, String> {
    let wrong = |why: &str| Err(format!("{why}: {paragraph}"));
    let Some((head, text)) = paragraph.split_once('\n') else {
        return wrong("no text");
    };
    let Some((id, rest)) = head
        .strip_prefix("**r[")
        .and_then(|head| head.split_once("]** "))
    else {
        return wrong("no id");
    };
    let parts: Vec<&str> = rest.split(" · ").collect();
    let &[role, kind, design, checked] = &parts[..] else {
        return wrong("not role, kind, design rules and properties");
    };
    let numbers = design
        .strip_prefix("rules ")
        .or_else(|| design.strip_prefix("rule "));
    let Some(Ok(design)) = numbers.map(|numbers| {
        numbers
            .split(", ")
            .map(str::parse::<u32>)
            .collect::<Result<Vec<u32>, _>>()
    }) else {
        return wrong("no design rules");
    };
    let properties = quoted(checked);
    let is_unmodelled = checked
        .strip_prefix("unmodelled: ")
        .is_some_and(|why| why.len() > 4);
    if properties.is_empty() != is_unmodelled {
        return wrong("neither properties nor a reason why there are none");
    }
    let &[level] = &levels(text)[..] else {
        return wrong("not one capital word");
    };
    Ok(Rule {
        id: id.to_owned(),
        role: role.to_owned(),
        kind: kind.to_owned(),
        design,
        properties,
        level,
    })
}

/// All rules, and what is wrong with the page.
fn rules(page: &str) -> (Vec<Rule>, Vec<String>) {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let mut place = (String::new(), String::new());
    for paragraph in page.split("\n\n") {
        let paragraph = paragraph.trim_matches('\n');
        if let Some(heading) = paragraph.strip_prefix("### ") {
            place.1 = heading.to_lowercase();
        } else if let Some(heading) = paragraph.strip_prefix("## ") {
            place = (heading.to_lowercase(), String::new());
        } else if paragraph.starts_with("**r[") {
            match rule(paragraph) {
                Ok(rule) => {
                    let chapter = rule.id.split('.').next().unwrap_or_default();
                    if chapter != place.0 || rule.kind != place.1 {
                        problems.push(format!("{} stands under {place:?}", rule.id));
                    }
                    found.push(rule);
                }
                Err(problem) => problems.push(problem),
            }
        } else if !levels(paragraph).is_empty() && !place.0.is_empty() {
            problems.push(format!("a capital word outside a rule: {paragraph}"));
        }
    }
    (found, problems)
}

fn all() -> Vec<Rule> {
    let (rules, problems) = rules(&read("protocol/rules.md"));
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    rules
}

#[test]
fn every_rule_has_its_form() {
    let mut seen = BTreeSet::new();
    for rule in all() {
        let (id, is_new) = (&rule.id, seen.insert(rule.id.clone()));
        assert!(is_new, "{id} twice");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        assert!(
            id.chars().all(plain) && id.matches('.').count() == 1,
            "{id}"
        );
        assert!(
            ["store", "process", "both"].contains(&rule.role.as_str()),
            "{id}: {}",
            rule.role
        );
        assert!(
            ["safety", "progress"].contains(&rule.kind.as_str()),
            "{id}: {}",
            rule.kind
        );
    }
    let chapters: BTreeSet<&str> = seen.iter().filter_map(|id| id.split('.').next()).collect();
    assert_eq!(chapters, CHAPTERS.into_iter().collect());
}

#[test]
fn every_design_rule_is_demanded() {
    let named: BTreeSet<u32> = all().into_iter().flat_map(|rule| rule.design).collect();
    assert_eq!(named, (1..=18).collect());
}

#[test]
fn every_property_that_a_rule_names_exists() {
    let table = read("properties.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let names: BTreeSet<&str> = rows.filter_map(|row| row.split(" | ").next()).collect();
    for rule in all() {
        for property in &rule.properties {
            assert!(names.contains(property.as_str()), "{}: {property}", rule.id);
        }
    }
}

/// How many rules of each level bind whom: what a suite has to say how many it has tried.
#[test]
fn there_are_as_many_as_the_book_says() {
    let mut counts: BTreeMap<(&str, Level), u32> = BTreeMap::new();
    let rules = all();
    for rule in &rules {
        *counts.entry((&rule.role, rule.level)).or_default() += 1;
    }
    let count = |role, level| counts.get(&(role, level)).copied().unwrap_or_default();
    let row = |role| {
        let [must, should, may] =
            [Level::Must, Level::Should, Level::May].map(|level| count(role, level));
        format!("| {role} | {must} | {should} | {may} |")
    };
    let page = read("protocol/rules.md");
    for row in ["store", "process", "both"].map(row) {
        assert!(
            page.contains(&row),
            "docs/src/protocol/rules.md should say {row}"
        );
    }
}

/// The pages below `docs/src`.
fn pages() -> Vec<PathBuf> {
    files::below(&src(), "md")
}

#[test]
fn other_pages_demand_nothing() {
    // The pages about the suite speak of its levels by these words, and so does what a command prints.
    let suite = src().join("conform");
    let others = |path: &&PathBuf| !path.ends_with("rules.md") && !path.starts_with(&suite);
    for path in pages().iter().filter(others) {
        let text = fs::read_to_string(path).expect("a page");
        let prose = text.split("```").step_by(2);
        for line in prose.flat_map(str::lines) {
            assert!(levels(line).is_empty(), "{}: {line}", path.display());
        }
    }
}

#[test]
fn every_rule_that_a_page_names_exists() {
    let ids: BTreeSet<String> = all().into_iter().map(|rule| rule.id).collect();
    for path in pages().iter().filter(|path| !path.ends_with("rules.md")) {
        let text = fs::read_to_string(path).expect("a page");
        for rest in text.split("r[").skip(1) {
            let Some((id, _)) = rest.split_once(']') else {
                continue;
            };
            let is_id = id.split('.').next().is_some_and(|c| CHAPTERS.contains(&c));
            assert!(!is_id || ids.contains(id), "{}: r[{id}]", path.display());
        }
    }
}

#[test]
fn what_is_wrong_is_found() {
    let page = |head: &str, text: &str| format!("## Grant\n\n### Safety\n\n{head}\n{text}\n\n");
    let right =
        "**r[grant.one]** store · safety · rules 5, 14 · `first come, first served`, `ends once`";
    let text = "The store MUST NOT `do` it.";
    let (found, problems) = rules(&page(right, text));
    assert_eq!(problems, [""; 0]);
    assert_eq!(
        found[0].properties,
        ["first come, first served", "ends once"]
    );
    assert_eq!(
        (found[0].level, &found[0].design),
        (Level::Must, &vec![5, 14])
    );
    for (head, text) in [
        (right, "The store must do it."),
        (right, "The store MUST do it, and MAY do that."),
        (
            "**r[grant.one]** store · safety · rule 5 · unmodelled: ",
            text,
        ),
        ("**r[grant.one]** store · safety · rule 5 · ends once", text),
        ("**r[grant.one]** store · safety · `ends once`", text),
        (
            "**r[grant.one]** store · progress · rule 5 · `ends once`",
            text,
        ),
        (
            "**r[queue.one]** store · safety · rule 5 · `ends once`",
            text,
        ),
        ("It MUST do it.", ""),
    ] {
        assert_eq!(rules(&page(head, text)).1.len(), 1, "{head}\n{text}");
    }
}
