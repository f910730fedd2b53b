//! Runs a store in a separate OS process whose clocks a preloaded library moves. This tests the reading of the system
//! clocks themselves, which the other tests replace.

use crate::support::{PATIENCE, Player, Running, ask, config, id};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tenure_protocol::{ToStore, Version};
use tokio::time::timeout;

const FOLDER: &str = "TENURE_TEST_FOLDER";
const CLOCK: &str = "TENURE_TEST_CLOCK";
const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;

/// The other half of the test: a store that runs until its input ends.
#[tokio::test]
#[ignore = "the other half of a_preloaded_clock_ends_no_session_early, which starts it"]
async fn store_in_a_process() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let mut config = config(Path::new(&folder));
    config.time_to_live = Some(Duration::from_millis(HOUR as u64 * 1_000));
    config.evict = Duration::from_millis(1_000_000_000_000);
    let store = Running::start(config).await;
    println!("\naddresses {} {}", store.address, store.admin);
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = ended.await;
    store
        .stop(tenure_store::Stop::Fast)
        .await
        .expect("no failure");
}

/// Builds the library. Returns the reason if that is not possible.
fn library(folder: &Path) -> Result<PathBuf, String> {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return Err("not Linux with glibc".to_owned());
    }
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/preload/clock.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let library = folder.join("libclock.so");
    let mut command = Command::new(rustc);
    command.args(["--edition=2024", "--crate-type=cdylib", "-O", source, "-o"]);
    let built = command.arg(&library).output();
    match built {
        Ok(output) if output.status.success() => Ok(library),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A store in a separate process.
struct Other {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Other {
    fn start(folder: &Path, library: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args([
            "preloaded::store_in_a_process",
            "--exact",
            "--ignored",
            "--nocapture",
        ]);
        command.env("LD_PRELOAD", library).env(FOLDER, folder);
        command.env(CLOCK, folder.join("clock"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.starts_with("addresses ") {
            line.clear();
            let read = out.read_line(&mut line).expect("text");
            assert!(
                read > 0,
                "the store's process must print its addresses before it ends"
            );
        }
        let mut addresses = line.split_whitespace().skip(1);
        let mut next = || addresses.next().expect("two").parse().expect("an address");
        let (address, admin) = (next(), next());
        // The store writes little more, which no test reads.
        std::mem::forget(out);
        Self {
            child,
            address,
            admin,
        }
    }

    fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("a child").success());
    }

    /// Returns whether the session has its state.
    async fn has(&self, name: &str) -> bool {
        let mut p = Player::connect(self.address, name).await;
        let grant = p.acquire(&id("s"), 1).await;
        p.say(ToStore::Goodbye).await;
        grant.version != Version::NONE
    }

    /// Returns whether the session is in memory, from which only its expiry removes it here. This does not use the
    /// session.
    async fn is_there(&self) -> bool {
        let path = format!("/sessions/{}", tenure_store::show(&id("s")));
        let (status, _) = ask(self.admin, "GET", &path).await;
        status != 404
    }
}

/// Moves the wall clock and the boot-time clock by this many seconds.
fn set_clocks(folder: &Path, wall: i64, since_boot: i64) {
    let text = format!("{wall:>12}{since_boot:>12}");
    let mut options = std::fs::OpenOptions::new();
    // Write in place, because the library has the file open.
    let options = options.write(true).create(true).truncate(false);
    let file = options.open(folder.join("clock")).expect("open");
    file.write_all_at(text.as_bytes(), 0).expect("written");
}

#[tokio::test]
async fn a_preloaded_clock_ends_no_session_early() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    let library = match library(folder) {
        Ok(library) => library,
        Err(why) => {
            println!("skipped: the library with the clocks cannot be built: {why}");
            return;
        }
    };
    set_clocks(folder, 0, 0);
    let store = Other::start(folder, &library);
    Player::connect(store.address, "p")
        .await
        .write(&id("s"), 1, "1")
        .await;
    // The wall clock jumps while the store runs.
    for wall in [10 * YEAR, -20 * YEAR] {
        set_clocks(folder, wall, 0);
        assert!(store.has("q").await, "after a jump by {wall} s");
    }
    store.stop();

    // The wall clock is wrong at the next start.
    set_clocks(folder, 10 * YEAR, 0);
    let store = Other::start(folder, &library);
    assert!(store.has("r").await, "after a start with a wrong clock");

    // The machine sleeps longer than the session lives. The expiry also shows that the clocks were preloaded.
    assert!(store.is_there().await);
    set_clocks(folder, 10 * YEAR, 2 * HOUR);
    let ended = async {
        while store.is_there().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended)
        .await
        .expect("the session expires once the machine has slept long enough");
    store.stop();
}
