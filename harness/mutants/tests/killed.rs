//! Checks that the suite kills every mutant that is visible from outside, and that it passes the correct programs.
//!
//! `killed.jsonl` lists the cases that kill each mutant. It is written by playing the whole suite against each mutant,
//! and a part of it is played again here. It also lists the findings when only the traces of those cases are judged.
//! `survivors.txt` gives the reason why a black box cannot see each other mutant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tenure_conformance::recorded::{Judgement, check_report};
use tenure_conformance::report::{Outcome, Verdict};
use tenure_conformance::{Case, Level, Plan, Report, Subject, process, rules, run, store};
use tenure_mutants::table::{Killed, Traced, killed, survivors};
use tenure_mutants::{Mutant, ProtocolMutant, Settings, Store};

/// The number of killing cases to play again per mutant.
const AGAIN: usize = 2;
/// The number of attempts until each mutant is killed.
const PLAYED: usize = 3;
/// The most killing cases to write down per mutant.
const KEPT: usize = 12;
/// The most traces to judge per mutant.
const LOOKED_AT: usize = 60;

/// Returns whether to play a case. Without a list of cases, all are played except the derived ones, which take long.
fn selected(case: &Case, cases: &[String]) -> bool {
    let is_derived = case.id.starts_with("derived/");
    let mut named = cases.iter();
    if cases.is_empty() {
        !is_derived
    } else {
        named.any(|id| id == case.id)
    }
}

/// Plays cases against a store or a process with that mutant.
async fn play(mutant: Mutant, is_process: bool, cases: &[String]) -> Report {
    let all = [store::all(), process::all()].concat();
    let all: Vec<Case> = all
        .into_iter()
        .filter(|case| selected(case, cases))
        .collect();
    // The correct program gets the time that a busy machine needs.
    let is_sound = mutant == Mutant::None;
    let slack_ms = if is_sound { 5_000 } else { 2_000 };
    let plan = Plan {
        jobs: if is_sound { 24 } else { 64 },
        ..Plan::default()
    };
    if is_process {
        let adapter = env!("CARGO_BIN_EXE_mutant-process").to_owned();
        let target = process::Target {
            command: vec![adapter, mutant.name().to_owned()],
            slack_ms,
        };
        let subject = Subject::Process(Arc::new(target));
        return run(&all, &subject, &plan, &()).await.expect("it starts");
    }
    let mut settings = Settings::default();
    if mutant == Mutant::Protocol(ProtocolMutant::ExpiresWhileHeld) {
        settings.0.time_to_live_ms = Some(1_000);
    }
    let own = Store::start(mutant, settings).await.expect("a port");
    let mut target = own.target();
    target.slack_ms = slack_ms;
    let subject = Subject::Store(Arc::new(target));
    run(&all, &subject, &plan, &()).await.expect("it listens")
}

fn failed(report: &Report) -> Vec<String> {
    let cases = report
        .cases
        .iter()
        .filter(|case| case.verdict == Verdict::Fail);
    cases.map(|case| case.id.clone()).collect()
}

fn assert_passes(report: &Report) {
    let bad = report.cases.iter().filter(|case| case.verdict.is_bad());
    let bad: Vec<_> = bad
        .map(|case| (&case.id, &case.expected, &case.seen, &case.why))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let found = found(report);
    assert!(found.is_empty(), "what was recorded is wrong: {found:#?}");
}

/// Returns the findings in the traces of the cases.
fn found(report: &Report) -> Vec<Judgement> {
    let judged = check_report(report).expect("traces");
    judged
        .into_iter()
        .filter(|own| own.finding.is_some())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_a_store_without_a_mutant() {
    assert_passes(&play(Mutant::None, false, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_a_process_without_a_mutant() {
    assert_passes(&play(Mutant::None, true, &[]).await);
}

/// Plays the given cases for several mutants at once.
async fn play_each(meant: Vec<(Mutant, Vec<String>)>) -> Vec<(Mutant, Report)> {
    let gate = Arc::new(tokio::sync::Semaphore::new(6));
    let mut playing = tokio::task::JoinSet::new();
    for (mutant, cases) in meant {
        let gate = Arc::clone(&gate);
        playing.spawn(async move {
            let _turn = gate.acquire().await.expect("never closed");
            let report = play(mutant, mutant.is_of_process(), &cases).await;
            (mutant, report)
        });
    }
    playing.join_all().await
}

/// Returns a description of a mutant that should have been killed again and was not.
fn missed(own: &Killed, report: &Report) -> Option<String> {
    let name = &own.mutant;
    if failed(report).is_empty() {
        return Some(format!("{name}: {:?} pass", &own.cases));
    }
    let trace = own.trace.as_ref().filter(|_| found(report).is_empty());
    trace.map(|own| format!("{name}: what {} recorded conforms", own.case))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_known_kill_happens_again() {
    let mut left = killed();
    let mut why = Vec::new();
    // Repeat, because the timing of messages is random.
    for _ in 0..PLAYED {
        let meant = left.values().map(|own| {
            let mutant = Mutant::named(&own.mutant).expect("a mutant of the catalogue");
            let mut cases = own.cases.clone();
            cases.truncate(AGAIN);
            cases.extend(own.trace.clone().map(|own| own.case));
            (mutant, cases)
        });
        why.clear();
        for (mutant, report) in play_each(meant.collect()).await {
            match missed(&left[mutant.name()], &report) {
                Some(own) => why.push(own),
                None => drop(left.remove(mutant.name())),
            }
        }
    }
    assert!(left.is_empty(), "{}", why.join("\n"));
}

/// Every mutant is killed by the suite, or has a reason why it is invisible from outside. The model checker kills the
/// invisible ones.
#[test]
fn every_mutant_is_killed_or_has_a_reason() {
    let (killed, survivors) = (killed(), survivors());
    for mutant in Mutant::all() {
        let name = mutant.name();
        match (killed.get(name), survivors.get(name)) {
            (Some(own), None) => assert!(!own.cases.is_empty(), "{name}"),
            (None, Some(why)) => {
                assert!(why.len() > 20, "{name}: {why}");
                assert!(
                    matches!(mutant, Mutant::Protocol(_)),
                    "{name} is killed by no check"
                );
            }
            (Some(_), Some(_)) => panic!("{name} is killed, so remove it from survivors.txt"),
            (None, None) => {
                panic!("{name} is killed by no case and has no reason in survivors.txt")
            }
        }
    }
    let all: BTreeSet<_> = Mutant::all().map(Mutant::name).collect();
    let known = killed.keys().chain(survivors.keys());
    known.for_each(|name| assert!(all.contains(&**name), "there is no mutant {name}"));
}

/// Returns whether a rule follows from the design rule that a mutant violates.
fn breaks(mutant: Mutant, rule: &str) -> bool {
    let Mutant::Protocol(mutant) = mutant else {
        return false;
    };
    rules::find(rule).is_some_and(|rule| rule.design.contains(&mutant.rule()))
}

/// Returns whether a case checks the design rule that a mutant violates.
fn names_rule(case: &str, mutant: Mutant) -> bool {
    let all = [store::all(), process::all()].concat();
    let own = all.iter().filter(|own| own.id == case);
    own.flat_map(|own| own.rules)
        .any(|rule| breaks(mutant, rule))
}

/// At least one of the cases that kill a mutant cites the rule that the mutant violates.
#[test]
fn a_case_that_kills_a_mutant_cites_its_rule() {
    let mut nameless = Vec::new();
    for (name, Killed { cases, .. }) in killed() {
        let mutant = Mutant::named(&name).expect("a mutant of the catalogue");
        let is_mutant = matches!(mutant, Mutant::Protocol(_));
        if is_mutant && !cases.iter().any(|case| names_rule(case, mutant)) {
            nameless.push(name);
        }
    }
    assert!(
        nameless.is_empty(),
        "no case cites the rule of {}",
        nameless.join(",")
    );
}

/// Returns the finding in a trace of a case that fails or is fast. Findings of a rule that the mutant violates are
/// preferred.
fn traced(mutant: Mutant, report: &Report) -> Option<Traced> {
    let mut cases: Vec<_> = report.cases.iter().collect();
    let weight = |case: &Outcome| (case.verdict != Verdict::Fail, case.seconds);
    cases.sort_by(|one, two| weight(one).partial_cmp(&weight(two)).expect("numbers"));
    let mut alone = report.clone();
    let mut first = None;
    for case in cases.into_iter().take(LOOKED_AT) {
        alone.cases = vec![case.clone()];
        for finding in found(&alone).into_iter().filter_map(|own| own.finding) {
            let rule = finding.rule.to_owned();
            let is_meant = breaks(mutant, &rule);
            let case = case.id.clone();
            let own = first.get_or_insert_with(|| Traced {
                case: case.clone(),
                rule: rule.clone(),
            });
            if is_meant {
                *own = Traced { case, rule };
                return first;
            }
        }
    }
    first
}

/// Returns the cases that kill a mutant, those without waits first, because they are played again.
fn killer(mutant: Mutant, report: &Report) -> Option<Killed> {
    let failed = report.cases.iter();
    let mut failed: Vec<_> = failed
        .filter(|case| case.verdict == Verdict::Fail)
        .collect();
    // Cases that cite the rule come first.
    let names = |case: &Outcome| names_rule(&case.id, mutant);
    let weight = |case: &Outcome| (!names(case), case.level != Level::Must, case.seconds);
    failed.sort_by(|one, two| weight(one).partial_cmp(&weight(two)).expect("numbers"));
    let trace = traced(mutant, report);
    println!(
        "{mutant}: {} cases, {:.1} s, {trace:?}",
        failed.len(),
        report.seconds
    );
    let cases = failed.iter().take(KEPT).map(|case| case.id.clone());
    let killed = Killed {
        mutant: mutant.name().to_owned(),
        cases: cases.collect(),
        by_history: failed.iter().any(|case| case.id.starts_with("workload/")),
        trace,
    };
    (!failed.is_empty()).then_some(killed)
}

/// Writes `killed.jsonl`, which takes some minutes: `cargo test -p tenure-mutants --test killed -- --ignored`.
/// `TENURE_MUTANTS` restricts it to the named mutants. `TENURE_TRACES=1` plays only the listed cases, and writes the
/// findings of their traces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes minutes and writes killed.jsonl"]
async fn write() {
    let asked = std::env::var("TENURE_MUTANTS").ok();
    let is_known = std::env::var_os("TENURE_TRACES").is_some();
    let before = killed();
    let is_asked = |name: &str| {
        let asked = asked.as_ref();
        asked.is_none_or(|asked| asked.split(',').any(|own| own == name))
    };
    let known = killed().into_iter().filter(|(name, _)| !is_asked(name));
    let mut all: BTreeMap<_, _> = known.map(|(name, own)| (name, Some(own))).collect();
    let meant = Mutant::all().filter(|mutant| is_asked(mutant.name()));
    let meant = meant.filter_map(|mutant| match before.get(mutant.name()) {
        Some(own) if is_known => Some((mutant, own.cases.clone())),
        _ => (!is_known).then(|| (mutant, Vec::new())),
    });
    for (mutant, report) in play_each(meant.collect()).await {
        let mut own = killer(mutant, &report);
        if is_known {
            let trace = own.and_then(|own| own.trace);
            let known = before[mutant.name()].clone();
            own = Some(Killed { trace, ..known });
        }
        all.insert(mutant.name().to_owned(), own);
    }
    let killed = Mutant::all().filter_map(|mutant| all.remove(mutant.name()).flatten());
    let lines = killed.map(|killed| serde_json::to_string(&killed).expect("JSON") + "\n");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/killed.jsonl");
    std::fs::write(file, lines.collect::<String>())
        .expect("the repository's own killed.jsonl is writable");
}
