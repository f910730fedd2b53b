//! `tenure conform`, from the view of the author of another store.

mod support;

use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};
use tenure_conformance::recorded::check;
use tenure_conformance::{rules, store};

fn conform(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.arg("conform").args(arguments);
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn code(output: &Output) -> i32 {
    output
        .status
        .code()
        .expect("no signal has killed the binary")
}

#[test]
fn the_reference_store_conforms_with_every_hook() {
    let output = conform(&["store", "--reference", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let cases = report["cases"].as_array().expect("cases");
    let others = cases.iter().filter(|case| case["verdict"] != "pass");
    let others: Vec<_> = others
        .map(|case| {
            (
                &case["id"],
                &case["verdict"],
                &case["expected"],
                &case["seen"],
                &case["why"],
            )
        })
        .collect();
    assert!(others.is_empty(), "{others:#?}");
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert_eq!(report["conforms"], true);
    assert_eq!(cases.len(), store::all().len());
    let judged = check(&text(&output.stdout)).expect("a report");
    let wrong: Vec<_> = judged.iter().filter(|own| own.finding.is_some()).collect();
    assert!(
        wrong.is_empty(),
        "the recorded messages violate a rule: {wrong:#?}"
    );
}

#[test]
fn a_run_of_selected_cases_says_so_and_writes_every_report_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |end: &str| folder.path().join(format!("report.{end}"));
    let files = ["json", "xml", "tap", "md", "html"].map(file);
    let mut arguments = vec!["store", "--reference", "grant/free/*"];
    for file in &files {
        arguments.extend(["--report", file.to_str().expect("UTF-8")]);
    }
    let output = conform(&arguments);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("holds in the part that was selected"));
    let read = |file: &Path| fs::read_to_string(file).expect("it was written");
    let report: Value = serde_json::from_str(&read(&files[0])).expect("JSON");
    assert_eq!(report["is_part"], true);
    let recorded = files[0].to_str().expect("UTF-8");
    let output = conform(&["trace", recorded]);
    let judged = text(&output.stdout);
    assert_eq!(code(&output), 0, "{judged}");
    let conforms = "grant/free/at-once: conforms";
    assert!(judged.contains(conforms), "{judged}");
    let id = report["cases"][0]["id"].as_str().expect("a case");
    for file in &files {
        assert!(read(file).contains(id), "{} has no {id}", file.display());
    }
    assert!(read(&files[2]).starts_with("TAP version 14\n1.."));
}

#[test]
fn a_run_whose_selected_cases_are_all_skipped_does_not_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = support::Store::start(folder.path(), &[]);
    let case = "expiry/use/busy"; // This case needs --expires-ms.
    let output = conform(&["store", "--target", &store.listen, case]);
    let told = text(&output.stdout);
    assert_eq!(code(&output), 1, "{told}");
    assert!(told.contains("is not shown to hold"), "{told}");
}

#[test]
fn a_trace_without_enough_records_is_not_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.json");
    let path = file.to_str().expect("UTF-8");
    let output = conform(&[
        "store",
        "--reference",
        "grant/free/at-once",
        "--report",
        path,
    ]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    // The recording of the same run, and a case that is paused at its start: nothing after a pause is judged.
    let mut report: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("written")).expect("JSON");
    let cases = report["cases"].as_array_mut().expect("cases");
    let mut cut = cases[0].clone();
    cut["id"] = "grant/free/cut".into();
    let pause = &mut cut["trace"][0];
    pause["way"] = "!".into();
    pause["says"] = "is paused".into();
    cases.push(cut);
    fs::write(&file, report.to_string()).expect("written");
    let output = conform(&["trace", path]);
    let told = text(&output.stdout);
    assert!(told.contains("grant/free/cut: NOT JUDGED"), "{told}");
    assert!(told.contains("grant/free/at-once: conforms"), "{told}");
    assert_eq!(code(&output), 4, "{told}");
    let told: Value =
        serde_json::from_slice(&conform(&["trace", path, "--json"]).stdout).expect("JSON");
    assert_eq!(told["traces"][1]["conforms"], false);
    assert_eq!(told["traces"][1]["judged"], false);
}

/// The delay of the link. Longer than the interval between two keep-alives of a process, so that one of them is always
/// unanswered.
const DELAY: Duration = Duration::from_millis(450);

/// Forwards bytes to a store and its answers back, each after [`DELAY`]. Returns the address of the link.
fn slow_link(store: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.expect("a connection");
            let far = TcpStream::connect(&store).expect("it listens");
            for end in [&near, &far] {
                end.set_nodelay(true).expect("a socket");
            }
            let ends = |end: &TcpStream| end.try_clone().expect("a socket");
            let (mut to_store, mut from_store) = (ends(&far), far);
            let (mut from_suite, mut to_suite) = (ends(&near), near);
            thread::spawn(move || {
                let _ = std::io::copy(&mut from_suite, &mut to_store);
                let _ = to_store.shutdown(Shutdown::Write);
            });
            let (push, pop) = channel::<(Instant, Vec<u8>)>();
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = from_store.read(&mut bytes) {
                    let _ = push.send((Instant::now() + DELAY, bytes[..length].to_owned()));
                }
            });
            thread::spawn(move || {
                for (due, bytes) in pop {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    if to_suite.write_all(&bytes).is_err() {
                        break;
                    }
                }
                let _ = to_suite.shutdown(Shutdown::Write);
            });
        }
    });
    address
}

/// In this case, a lease ends without an observer. The suite waits for a recall for the slack, and then finds that the
/// end of the lease explains the missing recall. An answer that is under way at that moment must not invalidate the
/// explanation.
#[test]
fn an_answer_delayed_by_the_network_is_not_reported_as_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let times = ["--lease-ms", "1600", "--recall-ms", "6000"];
    let store = support::Store::start(folder.path(), &times);
    let target = slow_link(store.listen.clone());
    let case = "derived/the-lease-ends/held-by-another-recalled-waits";
    let output = conform(&["store", "--target", &target, "--slack-ms", "3000", case]);
    assert_eq!(code(&output), 0, "{}", text(&output.stdout));
}

#[test]
fn compare_shows_two_runs_and_the_rules_in_which_they_differ() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (good, bad, page) = (path("good.json"), path("bad.json"), path("page.html"));
    let output = conform(&["store", "--reference", "connect", "--report", &good]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    // The same report, with one case changed to failed.
    let mut report: Value =
        serde_json::from_str(&fs::read_to_string(&good).expect("it was written")).expect("JSON");
    report["target"] = "another".into();
    report["conforms"] = false.into();
    report["cases"][0]["verdict"] = "fail".into();
    let rule = report["cases"][0]["rules"][0]["id"].clone();
    let rule = rule.as_str().expect("a rule");
    fs::write(&bad, report.to_string()).expect("written");

    let output = conform(&["compare", &good, &bad, "--report", &page]);
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    let told = text(&output.stdout);
    let differs =
        |line: &&str| line.contains(rule) && line.contains("1 pass") && line.contains("2 FAIL");
    assert!(told.lines().any(|line| differs(&line)), "{told}");
    let page = fs::read_to_string(&page).expect("it was written");
    let row = page
        .split("<tr>")
        .find(|row| row.contains(rule))
        .expect("a row");
    assert!(row.contains("pass") && row.contains("FAIL"), "{row}");

    let output = conform(&["compare", &good, &good, "--json"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["rules"][rule], serde_json::json!(["pass", "pass"]));
    let output = conform(&["compare", "Cargo.toml"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("no report of `tenure conform`"));
}

#[test]
fn an_unreachable_store_exits_with_code_2_and_is_no_failed_case() {
    let output = conform(&["store", "--target", "127.0.0.1:1", "--slack-ms", "50"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("127.0.0.1:1 cannot be reached"));
}

#[test]
fn wrong_usage_is_reported_before_any_case_is_played() {
    let wrong = [
        &["store"][..],
        &["store", "--target", "127.0.0.1:1", "no-such-case"],
        &["store", "--target", "127.0.0.1:1", "--report", "report.doc"],
        &[
            "store",
            "--target",
            "127.0.0.1:1",
            "--known-failing",
            "/no/such/file",
        ],
        &["store", "--target", "127.0.0.1:1", "--repeat", "0"],
        &["explain", "no.such.rule"],
    ];
    for arguments in wrong {
        let output = conform(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_expected_failure_that_passes_fails_the_run() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("UTF-8");
    let arguments = [
        "store",
        "--reference",
        "grant/free",
        "--known-failing",
        path,
    ];

    fs::write(&file, "grant/free/at-once   # not the reason, but one\n").expect("it is ours");
    let output = conform(&arguments);
    assert_eq!(code(&output), 1);
    assert!(
        text(&output.stdout).contains("UNEXPECTED PASS"),
        "{}",
        text(&output.stdout)
    );

    for (line, what) in [
        ("grant/free/at-once", "no reason"),
        ("no/such/case why", "there is no case"),
    ] {
        fs::write(&file, line).expect("it is ours");
        let output = conform(&arguments);
        assert_eq!(code(&output), 2);
        assert!(
            text(&output.stderr).contains(what),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn list_and_explain_cover_every_case_and_rule() {
    let output = conform(&["list", "--json"]);
    let lines = text(&output.stdout);
    for case in store::all() {
        assert!(lines.contains(case.id), "{}", case.id);
    }
    let output = conform(&["explain", "grant/free/at-once"]);
    assert!(text(&output.stdout).contains("r[grant.at-once]"));
    for rule in rules::all().iter().take(3) {
        let output = conform(&["explain", rule.id]);
        assert_eq!(code(&output), 0);
        assert!(text(&output.stdout).contains(&rule.text), "{}", rule.id);
    }
}

#[test]
fn a_rule_is_explained_with_its_properties_mutants_and_cases() {
    let output = conform(&["explain", "recall.revokes"]);
    let shown = text(&output.stdout);
    let expected = [
        "r[recall.revokes]  store · progress",
        "recalled leads to free",
        "busy-stops-revoke",
        "recall/deadline/revokes",
    ];
    for part in expected {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
    let output = conform(&["explain", "r[recall.revokes]", "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(
        shown["mutants"],
        serde_json::json!(["busy-stops-revoke"]),
        "{shown}"
    );
    let lists = |key: &str| shown[key].as_array().is_some_and(|list| !list.is_empty());
    assert!(lists("properties") && lists("cases"), "{shown}");

    // The book shows the output as it is.
    let page = include_str!("../../../docs/src/conform/index.md");
    let shown = text(&conform(&["explain", "recall.mild"]).stdout);
    assert!(page.contains(&shown), "docs/src/conform/index.md:\n{shown}");

    // A rule about bytes has no property, and says why.
    let shown = text(&conform(&["explain", "wire.key-range"]).stdout);
    assert!(shown.contains("no property: unmodelled: bytes"), "{shown}");
    assert!(shown.contains("no mutant breaks it"), "{shown}");
}
