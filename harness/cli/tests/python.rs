//! The suite applied to the other implementation, `harness/conformance/python`, which was written from the document
//! alone.
//!
//! The tests need Python 3 with `cbor2`: the program in `TENURE_PYTHON`, else `python3`. Without it, the tests are
//! skipped with a message. `.ci/run` provides one.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

const HOME: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/python");

/// Returns a Python interpreter with `cbor2`, if there is one.
fn python() -> Option<PathBuf> {
    let told = std::env::var_os("TENURE_PYTHON").map(PathBuf::from);
    let python = told.clone().unwrap_or_else(|| "python3".into());
    let output = Command::new(&python).args(["-c", "import cbor2"]).output();
    let can = output.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        assert!(
            told.is_none(),
            "{} has no cbor2: {output:?}",
            python.display()
        );
        eprintln!(
            "skipped: there is no python3 with cbor2; python3 -m venv V && V/bin/pip install -r \
             harness/conformance/python/requirements.txt, and TENURE_PYTHON=V/bin/python"
        );
    }
    can.then_some(python)
}

/// A store in Python, which is killed when this value is dropped.
struct Store {
    child: Child,
    address: String,
    operator: SocketAddr,
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The idle time after which sessions end.
const TIME_TO_LIVE_MS: &str = "2500";

/// Limits that the suite can reach, with room for all cases in parallel.
const LIMITS: &[(&str, usize)] = &[
    ("connections_max", 450),
    ("processes_max", 400),
    ("grants_max", 270),
    ("waiters_max", 8),
    ("attributes_max", 70),
    ("attribute_bytes_max", 4 << 10),
    ("session_bytes_max", 64 << 10),
    ("frame_bytes_max", 1 << 20),
    ("changes_max", 2_048),
    ("items_max", 20_000),
];

impl Store {
    /// Starts the store with timeouts short enough for the suite to wait for.
    fn start(python: &Path) -> Self {
        let operator = free_address();
        let times = [
            "--lease-ms=1500",
            "--recall-ms=1500",
            "--remind-ms=300",
            "--wait-ms=2500",
        ];
        let limits = LIMITS
            .iter()
            .map(|(name, limit)| format!("--{}={limit}", name.replace('_', "-")));
        let mut child = Command::new(python)
            .arg(format!("{HOME}/store.py"))
            .args(["--listen", "127.0.0.1:0"])
            .args(["--operator", &operator.to_string()])
            .args(["--time-to-live-ms", TIME_TO_LIVE_MS])
            .args(times)
            .args(limits)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the store starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the store prints its address");
        let address = line.trim().rsplit(' ').next().expect("an address");
        Self {
            address: address.to_owned(),
            operator,
            child,
        }
    }

    /// Returns the arguments of the suite: the address and all hooks. The store cannot be restarted.
    fn told(&self) -> Vec<String> {
        let limits: Vec<_> = LIMITS
            .iter()
            .map(|(name, n)| format!("{name}={n}"))
            .collect();
        let (id, operator) = (self.child.id(), self.operator);
        let recall = format!(
            "bash -c 'echo \"$SESSION\" > /dev/tcp/{}/{}'",
            operator.ip(),
            operator.port()
        );
        let pause = format!("kill -STOP {id}");
        let resume = format!("kill -CONT {id}");
        let limits = limits.join(",");
        let all = [
            ("--target", self.address.as_str()),
            ("--expires-ms", TIME_TO_LIVE_MS),
            ("--limits", &limits),
            ("--hook-recall", &recall),
            ("--hook-pause", &pause),
            ("--hook-resume", &resume),
        ];
        let pairs = all.into_iter();
        pairs
            .flat_map(|(key, value)| [key.to_owned(), value.to_owned()])
            .collect()
    }
}

/// Returns an address without a listener. The OS assigns ports in turn, so it does not assign this one again soon.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound")
}

/// Runs the suite, one run at a time and with few parallel cases: with longer delays, leases would end in the wrong
/// cases.
fn conform(arguments: &[&str]) -> Value {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .arg("conform")
        .args(arguments)
        .output()
        .expect("the binary runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {stderr}"))
}

/// Returns the MUST cases that did not pass and were not skipped for one of these reasons.
fn others<'r>(
    report: &'r Value,
    reasons: &[&str],
) -> Vec<(&'r Value, &'r Value, &'r Value, &'r Value)> {
    let cases = report["cases"].as_array().expect("cases");
    let is_other = |case: &&Value| match case["verdict"].as_str() {
        Some("pass") => false,
        _ if case["level"] != "must" => false,
        Some("skip") => {
            let why = case["why"].as_str().unwrap_or_default();
            !reasons.iter().any(|reason| why.starts_with(reason))
        }
        _ => true,
    };
    let others = cases.iter().filter(is_other);
    others
        .map(|case| (&case["id"], &case["expected"], &case["seen"], &case["why"]))
        .collect()
}

#[test]
fn the_python_codec_reads_all_test_vectors() {
    let Some(python) = python() else { return };
    let output = Command::new(python)
        .args(["-m", "unittest", "test_vectors"])
        .current_dir(HOME)
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_python_store_conforms_except_for_cases_that_need_a_disk() {
    let Some(python) = python() else { return };
    let store = Store::start(&python);
    let told = store.told();
    let mut arguments = vec!["store", "--json", "--jobs", "16"];
    arguments.extend(told.iter().map(String::as_str));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.json");
    let file = file.to_str().expect("UTF-8");
    arguments.extend(["--report", file]);
    let report = conform(&arguments);
    let others = others(&report, &["without --hook-restart"]);
    assert!(others.is_empty(), "{others:#?}");
    // The recorded messages are judged once more, without the expectations of the cases.
    let judged = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["conform", "trace", file])
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&judged.stdout);
    let wrong: Vec<_> = text
        .lines()
        .filter(|line| !line.contains(": conforms (") && !line.contains(": NOT JUDGED ("))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Three cases end before a hello, so their recordings show no process: exit code 4.
    assert_eq!(text.matches(": NOT JUDGED (").count(), 3, "{text}");
    assert_eq!(judged.status.code(), Some(4), "{judged:?}");
}

#[test]
fn the_python_library_conforms() {
    let Some(python) = python() else { return };
    let python = python.to_str().expect("UTF-8");
    let adapter = format!("{HOME}/adapter.py");
    let report = conform(&["process", "--json", "--jobs", "8", "--", python, &adapter]);
    // The library speaks version 1.0 on purpose: stores of later versions must serve it.
    let others = others(&report, &["the library supports only version 1.0"]);
    assert!(others.is_empty(), "{others:#?}");
}
