//! Explains one rule: its text, the properties that check it, the mutants that break it, and the cases that test it.
//!
//! The suite knows the rules and its cases, and does not depend on the model checker. Only this binary has both.

use std::io::{self, Write};
use tenure_checker::property::{self, Kind, PROGRESS};
use tenure_conformance::Case;
use tenure_conformance::rules::Rule;
use tenure_protocol::Sound;
use tenure_protocol::mutant::{Level, ProtocolMutant};

/// A property of the checker: its name, its kind and what it says.
type Property = (&'static str, Kind, &'static str);

/// Returns the properties that check a rule, in the order of the book.
fn properties_of(rule: &Rule) -> Vec<Property> {
    let all = property::all::<Sound>().into_iter();
    let all = all.map(|own| (own.rules, (own.name, own.kind, own.text)));
    let progress = PROGRESS.into_iter();
    let progress = progress.map(|(name, _, rules, text)| (rules, (name, Kind::Progress, text)));
    let own = all.chain(progress);
    own.filter(|(rules, _)| rules.contains(&rule.id))
        .map(|(_, property)| property)
        .collect()
}

/// Returns the mutants of the two machines that break a rule.
fn mutants_of(rule: &Rule) -> impl Iterator<Item = ProtocolMutant> {
    let all = ProtocolMutant::ALL.iter().copied();
    all.filter(|mutant| mutant.rules().contains(&rule.id))
}

/// Returns what is known of a rule, as one JSON object.
pub(super) fn to_json(rule: &Rule, cases: &[&Case]) -> serde_json::Value {
    let mutants: Vec<&str> = mutants_of(rule).map(ProtocolMutant::name).collect();
    let cases: Vec<&str> = cases.iter().map(|case| case.id).collect();
    serde_json::json!({
        "id": rule.id, "who": rule.who, "kind": rule.kind, "level": rule.level,
        "properties": rule.properties, "text": rule.text, "mutants": mutants, "cases": cases,
    })
}

/// Writes what is known of a rule.
pub(super) fn write(out: &mut impl Write, rule: &Rule, cases: &[&Case]) -> io::Result<()> {
    let Rule {
        id,
        who,
        kind,
        text,
        ..
    } = rule;
    writeln!(out, "r[{id}]  {who} · {kind}\n{text}\n")?;
    let properties = properties_of(rule);
    if properties.is_empty() {
        writeln!(out, "no property: {}", rule.properties.join(", "))?;
    } else {
        writeln!(out, "properties that check it, by `tenure check`:")?;
    }
    for (name, kind, text) in properties {
        writeln!(out, "  {name:<30} {:<10} {text}", kind.name())?;
    }
    let mut mutants = mutants_of(rule).peekable();
    if mutants.peek().is_none() {
        writeln!(out, "\nno mutant breaks it")?;
    } else {
        writeln!(out, "\nmutants that break it, for `tenure check --mutant`:")?;
    }
    for mutant in mutants {
        let machine = match mutant.level() {
            Level::Store => "store",
            Level::Process => "process",
        };
        let (name, summary) = (mutant.name(), mutant.summary());
        writeln!(out, "  {name:<30} {machine:<10} {summary}")?;
    }
    if cases.is_empty() {
        return writeln!(out, "\nno case tests it");
    }
    writeln!(out, "\ncases that test it:")?;
    for case in cases {
        let Case {
            id, title, level, ..
        } = case;
        writeln!(out, "  {:<6} {id:<44} {title}", level.word())?;
    }
    Ok(())
}
