//! The binary from the view of its users: exit codes, output, and errors for bad input.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn tenure(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// Returns the path of a file for this test run.
fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Asserts that the command was wrong: exit code 2, no standard output, and all of `says` on standard error.
fn assert_refused(arguments: &[&str], says: &[&str]) {
    let output = tenure(arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
    for part in says {
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}

fn lines(output: &Output) -> Vec<Value> {
    stdout(output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line is a JSON object"))
        .collect()
}

#[test]
fn an_unknown_name_fails_with_the_nearest_known_name() {
    assert_refused(&["check", "nestde"], &["no universe 'nestde'", "'nested'"]);
    assert_refused(
        &["check", "nested", "--mutant", "lifo-at-stoer"],
        &["no mutant 'lifo-at-stoer'", "'lifo-at-store'"],
    );
    assert_refused(&["explore", "calmm"], &["no universe", "'calm'"]);
    assert_refused(
        &["explore", "calm", "--mutant", "bargs"],
        &["no mutant", "'barges'"],
    );
}

#[test]
fn wrong_flags_exit_with_code_2() {
    assert_refused(&["check", "--no-such-flag"], &["--no-such-flag"]);
    assert_refused(&["check", "nested", "--threads", "0"], &["--threads"]);
    assert_refused(&["check", "nested", "--threads", "many"], &["--threads"]);
    assert_refused(&["check", "nested", "--all"], &["--all"]);
    assert_refused(&["no-such-command"], &["no-such-command"]);
    assert_refused(&["replay"], &["FILE"]);
}

#[test]
fn an_unwritable_chart_file_fails_before_the_check() {
    assert_refused(
        &["check", "rush", "--chart", "picture.bmp"],
        &["picture.bmp", ".svg"],
    );
    let nowhere = scratch("no-such-folder").join("picture.svg");
    let nowhere = nowhere.to_str().expect("a path");
    assert_refused(&["check", "rush", "--chart", nowhere], &[nowhere]);
}

#[test]
fn checking_a_universe_that_holds_exits_with_code_0() {
    let output = tenure(&["check", "nested"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("nested: holds."), "{text}");
    assert!(text.contains("everything holds"), "{text}");
    assert!(!text.contains('\u{1b}'), "no escape codes in a pipe");
    assert_eq!(stderr(&output), "", "no progress in a pipe");
}

#[test]
fn json_output_has_one_object_per_line() {
    let output = tenure(&["check", "nested", "drift", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let lines = lines(&output);
    let names: Vec<&Value> = lines.iter().map(|line| &line["universe"]).collect();
    assert_eq!(names, ["nested", "drift"]);
    for line in &lines {
        for key in ["states", "unique_states", "depth"] {
            assert!(line[key].as_u64().is_some_and(|number| number > 0), "{key}");
        }
        assert!(line["seconds"].as_f64().is_some());
        assert_eq!(line["holds"], true);
        let properties = line["properties"].as_array().expect("a list");
        assert!(properties.len() > 10);
        for property in properties {
            assert!(property["name"].is_string() && property["rule"].is_u64());
            assert!(
                ["always", "sometimes", "progress"]
                    .contains(&property["kind"].as_str().expect("a kind"))
            );
            assert_eq!(property["holds"], true);
        }
    }
}

#[test]
fn a_check_with_symmetry_names_the_unjudged_properties() {
    let output = tenure(&["check", "limits", "--symmetry"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("limits: NOT JUDGED WHOLE."), "{text}");
    assert!(
        text.contains("NOT JUDGED progress  rule 14  waiting ends"),
        "{text}"
    );
    let said = "nothing fails, but NOT JUDGED: recalled leads to free, waiting ends";
    assert!(text.contains(said), "{text}");
    assert!(!text.contains("everything holds"), "{text}");

    let output = tenure(&["check", "limits", "--symmetry", "--json"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let line = &lines(&output)[0];
    assert_eq!(line["holds"], false);
    assert_eq!(line["verdict"], "unjudged");
    let unjudged = serde_json::json!(["waiting ends", "recalled leads to free"]);
    assert_eq!(line["unjudged"], unjudged);

    // This universe has no identical processes, so it is explored without symmetry reduction.
    let output = tenure(&["check", "nested", "--symmetry"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_universe_without_progress_properties_is_named_in_the_verdict() {
    let output = tenure(&["check", "drift"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("of these, judged for safety only: drift"),
        "{text}"
    );
}

#[test]
fn a_crash_test_with_zero_processes_sessions_or_increments_is_refused() {
    for (flag, least) in [
        ("--processes", "0"),
        ("--sessions", "0"),
        ("--between", "0"),
    ] {
        assert_refused(&["crash", flag, least], &[flag]);
    }
}

#[test]
fn a_mutant_is_killed_saved_and_replayed() {
    let file = scratch("grants-to-two.json");
    let path = file.to_str().expect("a path");
    let mutant = ["check", "nested", "--mutant", "grants-to-two"];
    let output = tenure(&[&mutant[..], &["--chart", path]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("violated: exclusive"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );

    let replayed = tenure(&["replay", path]);
    assert_eq!(replayed.status.code(), Some(0), "{}", stderr(&replayed));
    assert!(stdout(&replayed).contains("it ends in the saved state"));

    let json = lines(&tenure(&[&mutant[..], &["--json"]].concat()));
    assert_eq!(json.len(), 1);
    assert_eq!(json[0]["mutant"], "grants-to-two");
    assert_eq!(json[0]["killed"], true);
    assert_eq!(json[0]["universe"], "nested");
    assert_eq!(json[0]["property"], "exclusive");
    assert!(
        json[0]["steps"]
            .as_u64()
            .is_some_and(|steps| (1..=40).contains(&steps))
    );

    bad_replays(&fs::read_to_string(&file).expect("what was saved"));
}

/// Asserts that each file without a valid counterexample is refused with the reason.
fn bad_replays(saved: &str) {
    let missing = scratch("missing.json");
    let missing = missing.to_str().expect("a path");
    assert_refused(&["replay", missing], &[missing, "cannot read"]);
    let halved = saved[..saved.len() / 2].to_owned();
    let newer = saved.replacen("\"version\": 1", "\"version\": 2", 1);
    assert_ne!(newer, saved);
    let elsewhere = saved.replacen("\"nested\"", "\"nestled\"", 1);
    for (name, text, says) in [
        ("halved", halved, "cut off"),
        ("newer", newer, "version 2"),
        ("elsewhere", elsewhere, "nestled"),
        ("empty", String::new(), "empty"),
        ("prose", "not a replay\n".into(), "not JSON"),
        ("other", "{\"a\": 1}".into(), "not a saved counterexample"),
    ] {
        let file = scratch(&format!("{name}.json"));
        fs::write(&file, text).expect("the scratch folder");
        let path = file.to_str().expect("a path");
        assert_refused(&["replay", path], &[path, says]);
    }
    let file = scratch("bytes.json");
    fs::write(&file, [0xff, 0xfe, 0x00]).expect("the scratch folder");
    assert_refused(&["replay", file.to_str().expect("a path")], &["UTF-8"]);
}

#[test]
fn a_closed_output_pipe_is_not_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["check", "--list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn check_prints_the_scripts_of_the_suite() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../conformance/src/store/derived"
    );
    for which in ["transitions", "sometimes"] {
        let output = tenure(&["check", "--scripts", which]);
        let file = format!("{folder}/{which}.json");
        assert_eq!(stdout(&output), fs::read_to_string(file).expect("a file"));
        assert_eq!(output.status.code(), Some(0));
    }
    assert_refused(&["check", "calm", "--scripts", "sometimes"], &["--scripts"]);
}

#[test]
fn the_list_contains_every_universe_and_mutant() {
    let output = tenure(&["check", "--list", "--json"]);
    let lines = lines(&output);
    let universes = lines.iter().filter(|line| line["universe"].is_string());
    let mutants = lines.iter().filter(|line| line["mutant"].is_string());
    assert_eq!(universes.count(), tenure_checker::universe::UNIVERSES.len());
    assert_eq!(mutants.count(), tenure_protocol::ProtocolMutant::ALL.len());
}

/// A child process that is killed when this value is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends an HTTP request until a server answers: the Explorer prints its address before it listens.
fn get(address: &str, path: &str) -> String {
    let until = Instant::now() + Duration::from_secs(60);
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < until, "{address}: {error}"),
        }
        std::thread::yield_now();
    };
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("it can be asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn the_explorer_prints_its_address_and_shows_states_as_text() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["explore", "try", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
    let _running = Running(child);
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    let (_, rest) = line.split_once("http://").expect("an address");
    let (address, _) = rest.split_once('/').expect("an address");
    let start = get(address, "/.states/");
    assert!(start.contains("p1.t1: idle"), "{start}");
    let next = get(address, "/.states/0");
    assert!(next.contains("p1.t1 goes on"), "{next}");
    assert!(next.contains("waits for a of s1"), "{next}");
}
