//! A process that is stopped past its lease and then continues: the lease has ended from its first instruction on.

use crate::support::{builder, process, short};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use tenure::{Session, Typed, TypedSet};

const ADDRESS: &str = "TENURE_TEST_ADDRESS";
const FLOOR: &str = "TENURE_TEST_FLOOR";

/// The number of times that the process is stopped.
const ROUNDS: u64 = 5;

/// The number of threads. More than the machine runs at once, so that some continue before the driver's thread handles
/// its timer.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A child that is killed when this value is dropped.
struct Killed(Child);

impl Killed {
    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args([name, &pid]).status();
        assert!(status.expect("the system has the program `kill`").success());
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn floor(file: &File) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0).expect("eight bytes");
    u64::from_le_bytes(bytes)
}

/// Locks one attribute in a tight loop. A value below the floor that was read before the lock comes from a grant that
/// has ended.
fn spin(session: &Session, file: &File, name: &str) {
    let mut seen = None;
    while seen != Some(ROUNDS) {
        let floor = floor(file);
        let Ok(guard) = session.lock(name).blocking() else {
            continue; // The lease ended during the wait.
        };
        let value = guard.get().expect("a number").unwrap_or(0);
        drop(guard);
        if value < floor {
            println!("\nold {value} {floor}");
            return;
        }
        if seen != Some(value) {
            println!("\nseen {value}");
            seen = Some(value);
        }
    }
}

#[test]
#[ignore = "run by a_process_stopped_past_its_lease_locks_no_outdated_value_afterwards, in a process of its own"]
fn child() {
    let address = std::env::var(ADDRESS).expect("the parent test sets this variable");
    let file = std::env::var(FLOOR).expect("the parent test sets this variable");
    let file = File::open(file).expect("there");
    let process = builder(&address, "child").connect_blocking();
    let process = process.expect("connected");
    let session = process.session("s").expect("an id");
    std::thread::scope(|scope| {
        for name in NAMES {
            let (session, file) = (&session, &file);
            scope.spawn(move || spin(session, file, name));
        }
    });
}

#[test]
fn a_process_stopped_past_its_lease_locks_no_outdated_value_afterwards() {
    let store = short();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let other = runtime.block_on(process(&store, "other"));
    let session = other.session("s").expect("an id");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("floor");
    std::fs::write(&path, 0_u64.to_le_bytes()).expect("written");
    let file = File::options().write(true).open(&path).expect("there");
    let child = Command::new(std::env::current_exe().expect("this test has a path"))
        .args(["--exact", "stopped::child", "--ignored", "--nocapture"])
        .env(ADDRESS, store.address())
        .env(FLOOR, &path)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Killed(child.expect("the OS starts the child"));
    let said = BufReader::new(child.0.stdout.take().expect("piped"));
    let mut said = said.lines().map(|line| line.expect("text"));
    let mut hear = || {
        let is_news = |line: &String| line.starts_with("seen") || line.starts_with("old");
        said.find(is_news)
            .expect("the child prints a line before it ends")
    };
    let mut hear_all = |wanted: u64| {
        for _ in NAMES {
            assert_eq!(hear(), format!("seen {wanted}"));
        }
    };
    hear_all(0);
    for round in 1..=ROUNDS {
        child.signal("-STOP");
        let guard = session.lock_many(NAMES).blocking();
        let mut guard = guard.expect(
            "the store grants the session after the lease of the stopped process has ended",
        );
        for name in NAMES {
            guard.put(name, &round).expect("put");
        }
        guard.commit().blocking().expect("durable");
        drop(guard);
        file.write_all_at(&round.to_le_bytes(), 0).expect("written");
        child.signal("-CONT");
        hear_all(round);
    }
}
