//! Real processes with a real store, killed and stopped: short versions of the scenarios in `.ci/run`.

use std::path::Path;
use std::process::Command;
use tenure_workload::program::Program;
use tenure_workload::stopped;

const TENURE: &str = env!("CARGO_BIN_EXE_tenure");

#[test]
fn no_acknowledged_increment_is_lost_when_stores_and_processes_are_killed() {
    let output = Command::new(TENURE)
        .args([
            "crash",
            "--store-kills",
            "4",
            "--process-kills",
            "4",
            "--between",
            "50",
            "--json",
        ])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let outcome: serde_json::Value = serde_json::from_str(&said).expect("one object");
    assert_eq!(outcome["holds"], true, "{outcome}");
    assert!(outcome["acknowledged"].as_u64() >= Some(400), "{outcome}");
    assert!(
        outcome["found"].as_u64() >= outcome["acknowledged"].as_u64(),
        "{outcome}"
    );
}

#[test]
fn a_holder_stopped_past_its_lease_detects_the_loss_and_does_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = |words: &[&str]| Program::new(Path::new(TENURE), words);
    let store = program(&["serve", "--lease-ms", "1500"]);
    let found = stopped::play(&store, &program(&["hold"]), folder.path())
        .expect("the scenario runs to its end");
    assert!(found.holds(), "{found:?}");
}
