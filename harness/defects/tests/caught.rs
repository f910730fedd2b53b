//! Every mistake that can be seen from outside is caught by the suite, and what is right passes.
//!
//! `caught.jsonl` says which cases catch what; it is written by playing the whole suite against each mistake, and a part of it is
//! played again here. It also says what is found when only what those cases have recorded is judged. `unseen.txt` says of the other mistakes why a black box cannot see them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tenure_conformance::recorded::{Judgement, check_report};
use tenure_conformance::report::{Outcome, Verdict};
use tenure_conformance::{Case, Level, Plan, Report, Subject, process, rules, run, store};
use tenure_defects::table::{Caught, Traced, caught, unseen};
use tenure_defects::{Defect, Mistake, Settings, Store};

/// Of the cases that catch a mistake so many are played again.
const AGAIN: usize = 2;
/// How often, until each mistake was caught.
const PLAYED: usize = 3;
/// So many are written down.
const KEPT: usize = 12;
/// The recordings of so many are looked at.
const LOOKED_AT: usize = 60;

/// What is played when nothing is named: all but the derived cases, which take long.
fn selected(case: &Case, cases: &[String]) -> bool {
    let is_derived = case.id.starts_with("derived/");
    let mut named = cases.iter();
    if cases.is_empty() {
        !is_derived
    } else {
        named.any(|id| id == case.id)
    }
}

/// Plays cases against a store or a process that makes that mistake.
async fn play(mistake: Mistake, is_process: bool, cases: &[String]) -> Report {
    let all = [store::all(), process::all()].concat();
    let all: Vec<Case> = all
        .into_iter()
        .filter(|case| selected(case, cases))
        .collect();
    // Who makes no mistake has all the time that a busy machine needs.
    let is_sound = mistake == Mistake::None;
    let slack_ms = if is_sound { 5_000 } else { 2_000 };
    let plan = Plan {
        jobs: if is_sound { 24 } else { 64 },
        ..Plan::default()
    };
    if is_process {
        let adapter = env!("CARGO_BIN_EXE_defective-process").to_owned();
        let target = process::Target {
            command: vec![adapter, mistake.name().to_owned()],
            slack_ms,
        };
        let subject = Subject::Process(Arc::new(target));
        return run(&all, &subject, &plan, &()).await.expect("it starts");
    }
    let mut settings = Settings::default();
    if mistake == Mistake::Defect(Defect::ExpiresWhileHeld) {
        settings.0.time_to_live_ms = Some(1_000);
    }
    let own = Store::start(mistake, settings).await.expect("a port");
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

/// What is wrong with what the cases have recorded.
fn found(report: &Report) -> Vec<Judgement> {
    let judged = check_report(report).expect("traces");
    judged
        .into_iter()
        .filter(|own| own.finding.is_some())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_a_mistake_passes() {
    assert_passes(&play(Mistake::None, false, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_a_mistake_passes() {
    assert_passes(&play(Mistake::None, true, &[]).await);
}

/// Plays, for several mistakes at once, the cases that are meant.
async fn play_each(meant: Vec<(Mistake, Vec<String>)>) -> Vec<(Mistake, Report)> {
    let gate = Arc::new(tokio::sync::Semaphore::new(6));
    let mut playing = tokio::task::JoinSet::new();
    for (mistake, cases) in meant {
        let gate = Arc::clone(&gate);
        playing.spawn(async move {
            let _turn = gate.acquire().await.expect("never closed");
            let report = play(mistake, mistake.is_of_process(), &cases).await;
            (mistake, report)
        });
    }
    playing.join_all().await
}

/// What of a mistake was to be caught again and is not.
fn missed(own: &Caught, report: &Report) -> Option<String> {
    let name = &own.mistake;
    if failed(report).is_empty() {
        return Some(format!("{name}: {:?} pass", &own.cases));
    }
    let trace = own.trace.as_ref().filter(|_| found(report).is_empty());
    trace.map(|own| format!("{name}: what {} recorded conforms", own.case))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_caught_is_caught_again() {
    let mut left = caught();
    let mut why = Vec::new();
    // What was sent when is up to chance.
    for _ in 0..PLAYED {
        let meant = left.values().map(|own| {
            let mistake = Mistake::named(&own.mistake).expect("a mistake of the catalogue");
            let mut cases = own.cases.clone();
            cases.truncate(AGAIN);
            cases.extend(own.trace.clone().map(|own| own.case));
            (mistake, cases)
        });
        why.clear();
        for (mistake, report) in play_each(meant.collect()).await {
            match missed(&left[mistake.name()], &report) {
                Some(own) => why.push(own),
                None => drop(left.remove(mistake.name())),
            }
        }
    }
    assert!(left.is_empty(), "{}", why.join("\n"));
}

/// No mistake is caught by nobody: what cannot be seen from outside has a reason, and the model checker catches it.
#[test]
fn every_mistake_is_caught_or_cannot_be_seen() {
    let (caught, unseen) = (caught(), unseen());
    for mistake in Mistake::all() {
        let name = mistake.name();
        match (caught.get(name), unseen.get(name)) {
            (Some(own), None) => assert!(!own.cases.is_empty(), "{name}"),
            (None, Some(why)) => {
                assert!(why.len() > 20, "{name}: {why}");
                assert!(
                    matches!(mistake, Mistake::Defect(_)),
                    "{name} is caught by nobody"
                );
            }
            (Some(_), Some(_)) => panic!("{name} is caught after all"),
            (None, None) => panic!("{name} is caught by nobody"),
        }
    }
    let all: BTreeSet<_> = Mistake::all().map(Mistake::name).collect();
    let known = caught.keys().chain(unseen.keys());
    known.for_each(|name| assert!(all.contains(&**name), "there is no mistake {name}"));
}

/// Whether a rule follows the rule of the design that a mistake breaks.
fn breaks(mistake: Mistake, rule: &str) -> bool {
    let Mistake::Defect(defect) = mistake else {
        return false;
    };
    rules::find(rule).is_some_and(|rule| rule.design.contains(&defect.rule()))
}

/// Whether a case doubts the rule of the design that a mistake breaks.
fn names_rule(case: &str, mistake: Mistake) -> bool {
    let all = [store::all(), process::all()].concat();
    let own = all.iter().filter(|own| own.id == case);
    own.flat_map(|own| own.rules)
        .any(|rule| breaks(mistake, rule))
}

/// One of those that catch a mistake cites the rule that it breaks.
#[test]
fn what_catches_a_defect_names_its_rule() {
    let mut nameless = Vec::new();
    for (name, Caught { cases, .. }) in caught() {
        let mistake = Mistake::named(&name).expect("a mistake of the catalogue");
        let is_defect = matches!(mistake, Mistake::Defect(_));
        if is_defect && !cases.iter().any(|case| names_rule(case, mistake)) {
            nameless.push(name);
        }
    }
    assert!(
        nameless.is_empty(),
        "no case cites the rule of {}",
        nameless.join(",")
    );
}

/// What is found in a recording of a case that fails, or that needs little time: where the rule is one that the mistake breaks,
/// if there is such.
fn traced(mistake: Mistake, report: &Report) -> Option<Traced> {
    let mut cases: Vec<_> = report.cases.iter().collect();
    let weight = |case: &Outcome| (case.verdict != Verdict::Fail, case.seconds);
    cases.sort_by(|one, two| weight(one).partial_cmp(&weight(two)).expect("numbers"));
    let mut alone = report.clone();
    let mut first = None;
    for case in cases.into_iter().take(LOOKED_AT) {
        alone.cases = vec![case.clone()];
        for finding in found(&alone).into_iter().filter_map(|own| own.finding) {
            let rule = finding.rule.to_owned();
            let is_meant = breaks(mistake, &rule);
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

/// What catches a mistake: those that need no waiting first, since they are played again.
fn catching(mistake: Mistake, report: &Report) -> Option<Caught> {
    let failed = report.cases.iter();
    let mut failed: Vec<_> = failed
        .filter(|case| case.verdict == Verdict::Fail)
        .collect();
    // Of those that name the rule first.
    let names = |case: &Outcome| names_rule(&case.id, mistake);
    let weight = |case: &Outcome| (!names(case), case.level != Level::Must, case.seconds);
    failed.sort_by(|one, two| weight(one).partial_cmp(&weight(two)).expect("numbers"));
    let trace = traced(mistake, report);
    println!(
        "{mistake}: {} cases, {:.1} s, {trace:?}",
        failed.len(),
        report.seconds
    );
    let cases = failed.iter().take(KEPT).map(|case| case.id.clone());
    let caught = Caught {
        mistake: mistake.name().to_owned(),
        cases: cases.collect(),
        by_history: failed.iter().any(|case| case.id.starts_with("workload/")),
        trace,
    };
    (!failed.is_empty()).then_some(caught)
}

/// Writes `caught.jsonl`: some minutes. `cargo test -p tenure-defects --test caught -- --ignored`, of all mistakes or of those that
/// TENURE_MISTAKES names. `TENURE_TRACES=1` plays only the cases that are there, and writes what their recordings show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it writes caught.jsonl"]
async fn write() {
    let asked = std::env::var("TENURE_MISTAKES").ok();
    let is_known = std::env::var_os("TENURE_TRACES").is_some();
    let before = caught();
    let is_asked = |name: &str| {
        let asked = asked.as_ref();
        asked.is_none_or(|asked| asked.split(',').any(|own| own == name))
    };
    let known = caught().into_iter().filter(|(name, _)| !is_asked(name));
    let mut all: BTreeMap<_, _> = known.map(|(name, own)| (name, Some(own))).collect();
    let meant = Mistake::all().filter(|mistake| is_asked(mistake.name()));
    let meant = meant.filter_map(|mistake| match before.get(mistake.name()) {
        Some(own) if is_known => Some((mistake, own.cases.clone())),
        _ => (!is_known).then(|| (mistake, Vec::new())),
    });
    for (mistake, report) in play_each(meant.collect()).await {
        let mut own = catching(mistake, &report);
        if is_known {
            let trace = own.and_then(|own| own.trace);
            let known = before[mistake.name()].clone();
            own = Some(Caught { trace, ..known });
        }
        all.insert(mistake.name().to_owned(), own);
    }
    let caught = Mistake::all().filter_map(|mistake| all.remove(mistake.name()).flatten());
    let lines = caught.map(|caught| serde_json::to_string(&caught).expect("JSON") + "\n");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/caught.jsonl");
    std::fs::write(file, lines.collect::<String>()).expect("it is ours");
}
