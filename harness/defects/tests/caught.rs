//! Every mistake that can be seen from outside is caught by the suite, and what is right passes.
//!
//! `caught.jsonl` says which cases catch what; it is written by playing the whole suite against each mistake, and a part of it is
//! played again here. `unseen.txt` says of the other mistakes why a black box cannot see them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tenure_conformance::report::{Outcome, Verdict};
use tenure_conformance::{Case, Level, Plan, Report, Subject, process, rules, run, store};
use tenure_defects::table::{Caught, caught, unseen};
use tenure_defects::{Defect, Mistake, Settings, Store};

/// Of the cases that catch a mistake so many are played again.
const AGAIN: usize = 2;
/// So many are written down.
const KEPT: usize = 12;

fn is_process(mistake: Mistake) -> bool {
    matches!(mistake, Mistake::Defect(defect) if defect.level() == tenure_protocol::defect::Level::Process)
}

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
            let report = play(mistake, is_process(mistake), &cases).await;
            (mistake, report)
        });
    }
    playing.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_caught_is_caught_again() {
    let meant = caught()
        .into_iter()
        .map(|(name, Caught { mut cases, .. })| {
            let mistake = Mistake::named(&name).expect("a mistake of the catalogue");
            cases.truncate(AGAIN);
            (mistake, cases)
        });
    let mut missed = Vec::new();
    for (mistake, report) in play_each(meant.collect()).await {
        if failed(&report).is_empty() {
            let cases: Vec<_> = report.cases.iter().map(|case| &case.id).collect();
            missed.push(format!("{mistake}: {cases:?} pass"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
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

/// Whether a case doubts the rule of the design that a mistake breaks.
fn names_rule(case: &str, mistake: Mistake) -> bool {
    let Mistake::Defect(defect) = mistake else {
        return false;
    };
    let all = [store::all(), process::all()].concat();
    let cited = all
        .iter()
        .filter(|own| own.id == case)
        .flat_map(|own| own.rules);
    let mut rules = cited.filter_map(|id| rules::find(id));
    rules.any(|rule| rule.design.contains(&defect.rule()))
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
    println!("{mistake}: {} cases, {:.1} s", failed.len(), report.seconds);
    let cases = failed.iter().take(KEPT).map(|case| case.id.clone());
    let caught = Caught {
        mistake: mistake.name().to_owned(),
        cases: cases.collect(),
        by_history: failed.iter().any(|case| case.id.starts_with("workload/")),
    };
    (!failed.is_empty()).then_some(caught)
}

/// Writes `caught.jsonl`: some minutes. `cargo test -p tenure-defects --test caught -- --ignored`, of all mistakes or of those that
/// TENURE_MISTAKES names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it writes caught.jsonl"]
async fn write() {
    let asked = std::env::var("TENURE_MISTAKES").ok();
    let is_asked = |name: &str| {
        let asked = asked.as_ref();
        asked.is_none_or(|asked| asked.split(',').any(|own| own == name))
    };
    let known = caught().into_iter().filter(|(name, _)| !is_asked(name));
    let mut all: BTreeMap<_, _> = known.map(|(name, own)| (name, Some(own))).collect();
    let meant = Mistake::all().filter(|mistake| is_asked(mistake.name()));
    let meant = meant.map(|mistake| (mistake, Vec::new()));
    for (mistake, report) in play_each(meant.collect()).await {
        all.insert(mistake.name().to_owned(), catching(mistake, &report));
    }
    let caught = Mistake::all().filter_map(|mistake| all.remove(mistake.name()).flatten());
    let lines = caught.map(|caught| serde_json::to_string(&caught).expect("JSON") + "\n");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/caught.jsonl");
    std::fs::write(file, lines.collect::<String>()).expect("it is ours");
}
