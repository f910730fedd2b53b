//! The chapters *From claims to code* and *Code map* name files, rules and claims: every file and every rule exists,
//! and no claim is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGES: [&str; 2] = ["claims.md", "code-map.md"];
const CLAIMS: u32 = 37;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join("docs/src").join(page)).expect("a page of the book")
}

/// The paths of a page: the words between backticks that have a slash and no space.
fn paths(page: &str) -> Vec<&str> {
    let prose = page.split("```").step_by(2);
    let quoted = prose.flat_map(|text| text.split('`').skip(1).step_by(2));
    quoted
        .filter(|word| word.contains('/') && !word.contains(' '))
        .collect()
}

/// The ids between `r[` and `]`.
fn ids(text: &str) -> BTreeSet<&str> {
    let rest = text.split("r[").skip(1);
    rest.filter_map(|rest| rest.split_once(']'))
        .map(|(id, _)| id)
        .filter(|id| id.contains('.') && !id.contains(' '))
        .collect()
}

/// The claims of the first table: each row begins with numbers.
fn claims(page: &str) -> BTreeSet<u32> {
    let table = page.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells
        .flat_map(|cell| cell.split(", "))
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[test]
fn every_path_of_the_maps_exists() {
    for name in PAGES {
        let page = read(name);
        let paths = paths(&page);
        assert!(paths.len() > 20, "only {} paths in {name}", paths.len());
        let missing: Vec<&str> = paths
            .into_iter()
            .filter(|path| !root().join(path).exists())
            .collect();
        assert!(
            missing.is_empty(),
            "docs/src/{name} names paths that do not exist: {missing:?}"
        );
    }
}

#[test]
fn every_rule_of_the_claims_exists() {
    let rules = read("protocol/rules.md");
    let page = read("claims.md");
    let named = ids(&page);
    assert!(named.len() > 30, "only {} rules are named", named.len());
    for id in named {
        assert!(
            rules.contains(&format!("**r[{id}]** ")),
            "docs/src/claims.md names r[{id}], which is no rule"
        );
    }
}

#[test]
fn every_claim_leads_to_a_rule() {
    assert_eq!(claims(&read("claims.md")), (1..=CLAIMS).collect());
    let page = read("claims.md");
    let table = page.split("\n## ").next().unwrap_or_default();
    let is_row = |line: &&str| {
        let cell = line.strip_prefix("| ").unwrap_or_default();
        cell.starts_with(|c: char| c.is_ascii_digit())
    };
    for row in table.lines().filter(is_row) {
        assert!(!ids(row).is_empty(), "no rule: {row}");
    }
}

#[test]
fn wrong_pages_are_found() {
    let page = "# A\n\n| 1, 2 | text r[grant.one] and r[grant.two] | `a/b.rs`, `word`, `cargo run a/b` |\n\n\
                ## B\n\n| 3 | x |\n```sh\n`c/d`\n```\n";
    assert_eq!(paths(page), ["a/b.rs"]);
    assert_eq!(ids(page), BTreeSet::from(["grant.one", "grant.two"]));
    assert_eq!(claims(page), BTreeSet::from([1, 2]));
}
