//! Checks that the rules of the book and the cases of the suite match. Every MUST has a case for each side that it
//! binds. Every case cites existing rules. Every exception has a reason.

use std::collections::{BTreeMap, BTreeSet};
use tenure_conformance::{Case, Level, Side, process, rules, store};

fn cases() -> Vec<Case> {
    [store::all(), process::all()].concat()
}

fn binds(rule: &rules::Rule, side: Side) -> bool {
    match side {
        Side::Store => rule.who != "process",
        Side::Process => rule.who != "store",
    }
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Store => "store",
        Side::Process => "process",
    }
}

/// Returns the rules that no case can judge for a side, each with the reason.
fn exceptions() -> BTreeMap<(String, String), String> {
    let lines = include_str!("../exceptions.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default().trim().to_owned();
        let (key, why) = ((word(), word()), word());
        assert!(why.len() > 10, "`{line}` has no reason");
        (key, why)
    });
    parts.collect()
}

#[test]
fn every_case_has_a_unique_id() {
    let mut names = BTreeSet::new();
    for case in cases() {
        let is_name = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        assert!(case.id.split('/').all(is_name), "{}", case.id);
        assert!(case.id.split('/').count() >= 2, "{}", case.id);
        assert!(
            names.insert(case.id),
            "the case id {} is used twice",
            case.id
        );
        let is_process = case.id.starts_with("process/");
        assert_eq!(is_process, case.side == Side::Process, "{}", case.id);
        assert!(case.title.ends_with('.'), "{}: {}", case.id, case.title);
    }
}

#[test]
fn every_case_cites_rules_that_bind_its_side() {
    let rules = rules::all();
    let mut wrong = Vec::new();
    for case in cases() {
        for id in case.rules {
            match rules.iter().find(|rule| rule.id == *id) {
                None => wrong.push(format!("{}: there is no rule {id}", case.id)),
                Some(rule) if !binds(rule, case.side) => {
                    wrong.push(format!(
                        "{}: {id} does not bind a {}",
                        case.id,
                        word(case.side)
                    ));
                }
                Some(_) => {}
            }
        }
        if case.rules.is_empty() {
            wrong.push(format!("{} cites no rule", case.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The level of a case does not exceed that of its rules.
#[test]
fn no_case_is_stricter_than_its_rules() {
    let rules = rules::all();
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|case| case.level == Level::Must) {
        let own = rules.iter().filter(|rule| case.rules.contains(&rule.id));
        if !own.clone().any(|rule| rule.level == Level::Must) {
            wrong.push(case.id);
        }
    }
    assert!(
        wrong.is_empty(),
        "these MUST cases cite no MUST rule: {}",
        wrong.join("\n")
    );
}

#[test]
fn every_must_has_a_case() {
    let cases = cases();
    let mut exceptions = exceptions();
    let mut missing = Vec::new();
    for rule in rules::all() {
        for side in [Side::Store, Side::Process] {
            if rule.level != Level::Must || !binds(rule, side) {
                continue;
            }
            let mut own = cases.iter().filter(|case| case.side == side);
            let has_case =
                own.any(|case| case.level == Level::Must && case.rules.contains(&rule.id));
            let exception = exceptions.remove(&(rule.id.to_owned(), word(side).to_owned()));
            match (has_case, exception) {
                (false, None) => {
                    missing.push(format!("{} has no case for a {}", rule.id, word(side)))
                }
                (true, Some(_)) => missing.push(format!(
                    "{} has a case for a {} after all",
                    rule.id,
                    word(side)
                )),
                _ => {}
            }
        }
    }
    let stale: Vec<_> = exceptions
        .keys()
        .map(|(rule, side)| format!("no MUST rule {rule} binds a {side}"))
        .collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "{}\n{}",
        missing.join("\n"),
        stale.join("\n")
    );
}

#[test]
fn each_side_has_at_least_the_minimum_number_of_cases() {
    let count = |side| cases().iter().filter(|case| case.side == side).count();
    assert!(count(Side::Store) >= 100 && count(Side::Process) >= 60);
}

/// All 18 design rules are checked by some case.
#[test]
fn every_design_rule_has_a_case() {
    let rules = rules::all();
    for number in 1..=18 {
        let mut cited = cases().into_iter().flat_map(|case| case.rules);
        let is_own = |id: &&str| {
            let mut rules = rules.iter();
            rules.any(|rule| rule.id == *id && rule.design.contains(&number))
        };
        assert!(cited.any(is_own), "rule {number}");
    }
}

/// Known-failure lists of other projects contain case ids, so an id stays for ever and keeps its meaning.
/// `UPDATE_CASES=1` adds new ids.
#[test]
fn no_case_id_is_ever_removed() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/cases.txt");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let known: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let all: Vec<_> = cases().iter().map(|case| case.id).collect();
    for id in &known {
        assert!(
            all.contains(id),
            "the case {id} was removed, but ids must stay for ever"
        );
    }
    let new: Vec<_> = all.iter().filter(|id| !known.contains(id)).collect();
    if std::env::var_os("UPDATE_CASES").is_some() {
        let lines = new.iter().map(|id| format!("{id}\n"));
        std::fs::write(file, text + &lines.collect::<String>()).expect(
            "the repository's own list of cases is \
        writable",
        );
        return;
    }
    assert!(new.is_empty(), "UPDATE_CASES=1 adds to cases.txt: {new:?}");
}
