//! A reader who greps the id of a rule finds the document, the line of the program that obeys the rule, the property or
//! the mutant that shows it in the model, and the case that tests it.
//!
//! The program cites a rule in a comment directly above the line that obeys it: `// r[recall.revokes]`. Properties,
//! mutants and cases cite it in a list: `"recall.revokes"`. So the bare id is what to grep for.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tenure_checker::property::{self, PROGRESS};
use tenure_conformance::{Level, process, rules, store};
use tenure_mutants::{DriverMutant, ProtocolMutant};
use tenure_protocol::{Sound, invariant};

/// Of all rules, so many percent must have a line of the program. Every MUST must have one anyway, or a reason.
const CITED_PERCENT_MIN: usize = 85;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Rust files below a folder of the repository.
fn sources(folder: &str) -> Vec<PathBuf> {
    files::below(&root().join(folder), "rs")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The ids between `r[` and `]` in a text. An index of a Rust value, as in `after[x.y]`, is none.
fn citations(text: &str) -> Vec<&str> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let is_id =
        |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-.".contains(char);
    let starts = text.match_indices("r[");
    let ids = starts.filter_map(|(at, _)| {
        let (id, _) = text[at + 2..].split_once(']')?;
        let is_citation =
            !text[..at].ends_with(is_word) && id.matches('.').count() == 1 && id.chars().all(is_id);
        is_citation.then_some(id)
    });
    ids.collect()
}

/// The comment of a line, if it has one that is not rustdoc: rustdoc says what a function is for, and no line obeys a
/// rule there.
fn comment(line: &str) -> Option<&str> {
    let (_, comment) = line.split_once("//")?;
    (!comment.starts_with(['/', '!'])).then_some(comment)
}

/// The lines of the machines, the drivers and the codec that cite a rule, each as `file:line`.
fn lines() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let crates =
        ["engine", "locks", "process", "store", "wire"].map(|own| format!("impl/{own}/src"));
    let files = crates.iter().flat_map(|folder| sources(folder));
    for path in files.chain(sources("model/protocol/src")) {
        for (line, number) in read(&path).lines().zip(1..) {
            for id in comment(line).map(citations).unwrap_or_default() {
                let place = format!("{}:{number}", path.display());
                found.entry(id.to_owned()).or_default().push(place);
            }
        }
    }
    found
}

/// The rules that are missing somewhere, by what is missing.
fn exceptions(missing: &str) -> BTreeSet<String> {
    let text = read(&root().join("docs/rule-exceptions.txt"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let own = lines.filter_map(|line| {
        let mut words = line.splitn(3, ' ');
        let (id, what, why) = (words.next(), words.next(), words.next());
        let (Some(id), Some(what @ ("line" | "case")), Some(why)) = (id, what, why) else {
            panic!("`{line}` is not an id, `line` or `case`, and a reason");
        };
        assert!(why.len() > 10, "`{line}` has no reason");
        (what == missing).then(|| id.to_owned())
    });
    own.collect()
}

/// What the suite itself says that no case can judge.
fn untested() -> BTreeSet<String> {
    let text = read(&root().join("harness/conformance/exceptions.txt"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let ids = lines.filter_map(|line| line.split(' ').next());
    ids.map(str::to_owned).collect()
}

/// The rules that the cases of the suite test.
fn tested() -> BTreeSet<&'static str> {
    let cases = [store::all(), process::all()].concat();
    cases.iter().flat_map(|case| case.rules).copied().collect()
}

/// The rules that each property of the checker says it checks.
fn properties() -> BTreeMap<&'static str, &'static [&'static str]> {
    let all = property::all::<Sound>().into_iter();
    let progress = PROGRESS.map(|(name, _, rules, _)| (name, rules));
    all.map(|own| (own.name, own.rules))
        .chain(progress)
        .collect()
}

fn is_modelled(rule: &rules::Rule) -> bool {
    !rule
        .properties
        .iter()
        .any(|name| name.starts_with("unmodelled:"))
}

fn assert_nothing(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_must_is_cited_at_the_line_that_obeys_it() {
    let (lines, exceptions) = (lines(), exceptions("line"));
    let mut problems = Vec::new();
    for rule in rules::all() {
        match (lines.get(rule.id), exceptions.contains(rule.id)) {
            (None, false) if rule.level == Level::Must => {
                problems.push(format!("no line of the program has `// r[{}]`", rule.id));
            }
            (Some(places), true) => {
                problems.push(format!("{} has a line after all: {places:?}", rule.id));
            }
            _ => {}
        }
    }
    assert_nothing(&problems);
    let all = rules::all().len();
    let missing: Vec<&str> = rules::all()
        .iter()
        .map(|rule| rule.id)
        .filter(|id| !lines.contains_key(*id))
        .collect();
    let cited = all - missing.len();
    println!("{cited} of {all} rules are cited in the program; not: {missing:?}");
    assert!(
        cited * 100 >= all * CITED_PERCENT_MIN,
        "only {cited} of {all} rules are cited in the program; missing: {missing:?}"
    );
}

#[test]
fn every_citation_names_a_rule() {
    let mut problems = Vec::new();
    for path in ["model", "impl", "harness"].into_iter().flat_map(sources) {
        for (line, number) in read(&path).lines().zip(1..) {
            let unknown = citations(line)
                .into_iter()
                .filter(|id| rules::find(id).is_none());
            problems.extend(unknown.map(|id| format!("{}:{number}: r[{id}]", path.display())));
        }
    }
    assert_nothing(&problems);
}

#[test]
fn every_exception_names_a_rule() {
    let named = exceptions("line").into_iter().chain(exceptions("case"));
    let unknown: Vec<String> = named.filter(|id| rules::find(id).is_none()).collect();
    assert_nothing(&unknown);
}

/// The document names the properties of a rule, and the checker names the rules of a property. The document is the
/// source.
#[test]
fn properties_and_rules_name_each_other() {
    let mut problems = Vec::new();
    let properties = properties();
    for (name, own) in &properties {
        let rules = rules::all()
            .iter()
            .filter(|rule| rule.properties.contains(name));
        let named: BTreeSet<&str> = rules.map(|rule| rule.id).collect();
        let own: BTreeSet<&str> = own.iter().copied().collect();
        for id in named.difference(&own) {
            problems.push(format!("r[{id}] names `{name}`, which does not list it"));
        }
        for id in own.difference(&named) {
            problems.push(format!("`{name}` lists r[{id}], which does not name it"));
        }
    }
    for rule in rules::all().iter().filter(|rule| is_modelled(rule)) {
        for name in &rule.properties {
            if !properties.contains_key(name) {
                problems.push(format!("r[{}] names `{name}`: no such property", rule.id));
            }
        }
    }
    assert_nothing(&problems);
}

/// The checker shows an invariant as a property of the same name, so what it checks is the same.
#[test]
fn invariants_list_the_rules_of_their_properties() {
    let properties = properties();
    for (name, _, rules) in invariant::STORE.iter().chain(&invariant::PROCESS) {
        assert_eq!(properties.get(name), Some(rules), "{name}");
    }
}

#[test]
fn every_mutant_breaks_rules_that_there_are() {
    let mut problems = Vec::new();
    for mutant in ProtocolMutant::ALL {
        let own = mutant.rules().iter().filter_map(|id| rules::find(id));
        if !own
            .into_iter()
            .any(|rule| rule.design.contains(&mutant.rule()))
        {
            let number = mutant.rule();
            problems.push(format!("{mutant}: none of its rules follows rule {number}"));
        }
    }
    let protocol = ProtocolMutant::ALL.iter();
    let protocol = protocol.map(|mutant| (mutant.name(), mutant.rules()));
    let driver = DriverMutant::ALL.iter();
    let driver = driver.map(|mutant| (mutant.name(), mutant.rules()));
    for (name, own) in protocol.chain(driver) {
        let unknown = own.iter().filter(|id| rules::find(id).is_none());
        problems.extend(unknown.map(|id| format!("{name}: there is no r[{id}]")));
        if own.is_empty() {
            problems.push(format!("{name} names no rule that it breaks"));
        }
    }
    // They are compiled only by the harnesses of the lock manager, so their lists are read as text.
    let locks = read(&root().join("impl/locks/src/mutant.rs"));
    let table = locks.lines().filter(|line| line.contains(" = \""));
    for id in table.flat_map(|line| line.split('"').skip(3).step_by(2)) {
        if rules::find(id).is_none() {
            problems.push(format!("impl/locks/src/mutant.rs: there is no r[{id}]"));
        }
    }
    assert_nothing(&problems);
}

/// The promise of the page on the protocol: one grep for the bare id shows them all.
#[test]
fn one_grep_shows_document_program_model_and_case() {
    let in_document: BTreeSet<&str> = rules::all().iter().map(|rule| rule.id).collect();
    let protocol = ProtocolMutant::ALL.iter().flat_map(|mutant| mutant.rules());
    let in_model: BTreeSet<&str> = properties()
        .into_values()
        .flatten()
        .chain(protocol)
        .copied()
        .collect();
    let (in_cases, without_case, untested) = (tested(), exceptions("case"), untested());
    let mut problems = Vec::new();
    for (id, places) in lines() {
        if !in_document.contains(&*id) {
            problems.push(format!("{places:?}: there is no rule {id}"));
        }
    }
    for rule in rules::all() {
        let id = rule.id;
        if is_modelled(rule) && !in_model.contains(id) {
            problems.push(format!("{id} has no property, invariant or mutant"));
        }
        let is_excepted = if rule.level == Level::Must {
            untested.contains(id)
        } else {
            without_case.contains(id)
        };
        match (in_cases.contains(id), is_excepted) {
            (false, false) => problems.push(format!("{id} has no case, and no reason for that")),
            (true, true) if rule.level != Level::Must => {
                problems.push(format!("{id} has a case after all"));
            }
            _ => {}
        }
    }
    assert_nothing(&problems);
}

#[test]
fn citations_are_found_and_indices_are_not() {
    assert_eq!(
        citations("// r[grant.one] r[try.two-3] after[x.y] r[{id}] r[a]"),
        ["grant.one", "try.two-3"]
    );
    assert_eq!(comment("let x = 1; // r[a.b]"), Some(" r[a.b]"));
    assert_eq!(comment("/// r[a.b]"), None);
    assert_eq!(comment("//! r[a.b]"), None);
    assert_eq!(comment("let x = 1;"), None);
}
