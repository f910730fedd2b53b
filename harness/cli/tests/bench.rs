//! `tenure bench` from the view of its users. No test needs Redis or PostgreSQL.
#![cfg(feature = "bench")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn bench(arguments: &[&str], path: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.arg("bench").args(arguments).stdin(Stdio::null());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    command.output().expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn document(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    assert_eq!(stderr(output), "", "a pipe receives no progress");
    serde_json::from_str(&stdout(output)).expect("one JSON document")
}

/// Returns an empty folder for this test run.
fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Returns the outcome of the contestant whose name begins so, in the first row.
fn outcome<'d>(document: &'d Value, name: &str) -> &'d Value {
    let sides = document["rows"][0]["sides"].as_array().expect("sides");
    let is_meant = |side: &&Value| {
        side["name"]
            .as_str()
            .is_some_and(|own| own.starts_with(name))
    };
    &sides.iter().find(is_meant).expect("the contestant")["outcome"]
}

#[test]
fn floors_are_a_document_with_samples_and_a_picture() {
    let picture = scratch("bench-floors").join("floors.svg");
    let file = picture.to_str().expect("UTF-8");
    let arguments = [
        "floors", "--quick", "--row", "mutex", "--json", "--svg", file,
    ];
    let document = document(&bench(&arguments, None));
    let samples = &outcome(&document, "std")["measured"]["samples"]["samples"];
    assert_eq!(samples.as_array().map(Vec::len), Some(3));
    assert_eq!(document["quick"], true);
    assert!(document["machine"]["cores"].as_u64() >= Some(1));
    let picture = fs::read_to_string(picture).expect("the picture");
    assert!(picture.contains("parking_lot"));
}

#[test]
fn floors_are_a_table_without_colours_in_a_pipe() {
    let output = bench(&["floors", "--quick", "--row", "fdatasync"], None);
    let table = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for part in ["fdatasync", "preallocated", "growing", "us", "interleaved"] {
        assert!(table.contains(part), "{table}");
    }
    assert!(!table.contains('\x1b'));
}

#[test]
fn an_unknown_row_is_refused_with_the_known_ones() {
    let output = bench(&["floors", "--row", "mutexes"], None);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(
        said.contains("no row 'mutexes'") && said.contains("mutex, handover"),
        "{said}"
    );
    for arguments in [
        ["peers", "--list", "--json"],
        ["party", "{}", ""],
        ["become", "{}", ""],
    ] {
        let given: Vec<_> = arguments
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        assert_eq!(bench(&given, None).status.code(), Some(2), "{given:?}");
    }
}

#[test]
fn the_rows_are_listed() {
    for (group, row) in [
        ("peers", "handoff-p99"),
        ("floors", "relay"),
        ("curves", "waiters"),
    ] {
        let listed = stdout(&bench(&[group, "--list"], None));
        assert!(listed.lines().any(|line| line.starts_with(row)), "{listed}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_missing_peer_is_skipped_by_name() {
    let empty = scratch("bench-missing");
    let output = bench(
        &["peers", "--quick", "--row", "connects", "--json"],
        Some(&empty),
    );
    let document = document(&output);
    assert!(outcome(&document, "Tenure")["measured"]["samples"]["median"].as_f64() > Some(1.0));
    let missing = document["missing"].as_array().expect("a list");
    let redis = missing.iter().find(|missing| missing["name"] == "Redis");
    let why = redis.expect("Redis is missing")["why"].as_str();
    assert!(why.is_some_and(|why| why.contains("apt-get install redis-server")));
}

#[test]
#[cfg(target_os = "linux")]
fn a_peer_that_does_not_start_is_a_result() {
    let folder = scratch("bench-broken");
    let program = folder.join("redis-server");
    let script = "\
#!/bin/sh
if [ \"$1\" = --version ]; then echo 'Redis server v=7.7.7 sha=0'; exit; fi
echo 'Could not create server TCP listening socket: Address already in use'
exit 1
";
    fs::write(&program, script).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    let output = bench(
        &["peers", "--quick", "--row", "connects", "--json"],
        Some(&folder),
    );
    let document = document(&output);
    let error = outcome(&document, "Redis")["failed"]["error"].as_str();
    let error = error.expect("an error");
    assert!(error.contains("redis-server ended with"), "{error}");
    assert!(error.contains("Address already in use"), "{error}");
    assert!(outcome(&document, "Tenure")["measured"].is_object());
}
