//! `tenure conform process`, from the view of the author of a library.

mod support;

use support::{assert_ends, stdout, tenure};

const TENURE: &str = env!("CARGO_BIN_EXE_tenure");

#[test]
fn the_library_of_this_repository_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.json");
    let file = file.to_str().expect("UTF-8");
    let output = tenure(&[
        "conform", "process", "--report", file, "--", TENURE, "adapter",
    ]);
    let report = stdout(&output);
    assert_ends(&output, 0, &[]);
    // Three cases judge by counts and record no messages that can be judged again: exit code 4.
    let output = tenure(&["conform", "trace", file]);
    let traces = stdout(&output);
    assert_eq!(output.status.code(), Some(4), "{traces}");
    assert!(!traces.contains("does not conform"), "{traces}");
    assert_eq!(traces.matches("NOT JUDGED").count(), 3, "{traces}");
    assert!(report.contains(": conforms. MUST"), "{report}");
    assert!(!report.contains("skip"), "{report}");
}

/// Plays one case to an adapter that consists of this shell script.
fn played_to(script: &str) -> (Option<i32>, String) {
    let case = "process/grant/kept/no-message";
    let command = ["conform", "process", case, "--slack-ms", "2000", "--"];
    let output = tenure(&[&command[..], &["sh", "-c", script]].concat());
    (output.status.code(), stdout(&output))
}

#[test]
fn conform_process_describes_what_a_broken_adapter_did() {
    for (script, said) in [
        ("echo hello; cat", "is not JSON"),
        (
            "echo oops >&2; exit 7",
            "exit status: 7; its standard error: oops",
        ),
        (
            r#"read line; echo '{"id":1,"ok":{"adapter":2}}'; cat >/dev/null"#,
            "an adapter of version 1",
        ),
        ("cat >/dev/null", "an answer to command 1, `about`"),
        (
            r#"read line; echo '{"id":1,"ok":{"adapter":1}}'; echo '{"id":1,"ok":{}}'; cat >/dev/null"#,
            "repeats an earlier one",
        ),
        // An adapter that reports success for every command, and does nothing.
        (
            r#"n=1; while read line; do echo "{\"id\":$n,\"ok\":{\"adapter\":1}}"; n=$((n+1)); done"#,
            "the process connects",
        ),
    ] {
        let (code, report) = played_to(script);
        assert_eq!(code, Some(1), "{script}: {report}");
        assert!(report.contains(said), "{script}: {report}");
    }
}

#[test]
fn cases_that_an_adapter_does_not_support_are_skipped_and_do_not_conform() {
    let script = r#"read line; echo '{"id":1,"ok":{"adapter":1}}'
        read line; echo '{"id":2,"error":{"kind":"unsupported"}}'; cat >/dev/null"#;
    // The adapter answers the first command with an error instead of a connection.
    let output = tenure(&[
        "conform",
        "process",
        "process/connect/superseded/at-once",
        "--slack-ms",
        "1000",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let report = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("does not support `connect`"), "{report}");
}

#[test]
fn a_missing_adapter_or_unknown_case_exits_with_code_2() {
    let output = tenure(&["conform", "process", "--", "/no/such/program"]);
    assert_ends(&output, 2, &["/no/such/program cannot be started"]);
    let output = tenure(&["conform", "process"]);
    assert_ends(&output, 2, &["COMMAND"]);
    let output = tenure(&[
        "conform",
        "process",
        "no/such/case",
        "--",
        TENURE,
        "adapter",
    ]);
    assert_ends(&output, 2, &["no case matches no/such/case"]);
}
