//! A process that is stopped past its lease, and goes on: the end of the lease holds from its first instruction.

use crate::support::{builder, process, short};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use tenure::{Session, Typed, TypedSet};

const ADDRESS: &str = "TENURE_TEST_ADDRESS";
const FLOOR: &str = "TENURE_TEST_FLOOR";

/// How often the process is stopped.
const ROUNDS: u64 = 5;

/// One thread each: more than this machine runs at once, so that some go on before the thread whose timer ends the lease.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Kills the child whatever happens.
struct Killed(Child);

impl Killed {
    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args([name, &pid]).status();
        assert!(status.expect("there is a `kill`").success());
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

/// Locks one attribute as fast as it can. A value that is less than the floor from before the lock is of a grant that has ended.
fn spin(session: &Session, file: &File, name: &str) {
    let mut seen = None;
    while seen != Some(ROUNDS) {
        let floor = floor(file);
        let Ok(guard) = session.lock(name).blocking() else {
            continue; // The lease ended while it waited.
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
#[ignore = "run by a_stopped_process_locks_no_old_state_when_it_goes_on, in a process of its own"]
fn child() {
    let address = std::env::var(ADDRESS).expect("set by the other test");
    let file = std::env::var(FLOOR).expect("set by the other test");
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
fn a_stopped_process_locks_no_old_state_when_it_goes_on() {
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
    let mut child = Killed(child.expect("a child can be started"));
    let said = BufReader::new(child.0.stdout.take().expect("piped"));
    let mut said = said.lines().map(|line| line.expect("text"));
    let mut hear = || {
        let is_news = |line: &String| line.starts_with("seen") || line.starts_with("old");
        said.find(is_news).expect("it says something")
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
        let mut guard = guard.expect("when the lease has ended");
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
