//! Tests with clocks that the test sets: they jump, stand still, or are wrong at a start.

use crate::support::{PATIENCE, Player, Running, config, id};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenure_engine::{Embedded, Engine, Memory, Settings, backup};
use tenure_protocol::{SessionId, ToProcess, ToStore, Version};
use tenure_store::{Config, DOWNTIME_MAX_MS, Server, Stop, TimeSource};
use tokio::time::timeout;

const HOUR: u64 = 3_600_000;
const DAY: u64 = DOWNTIME_MAX_MS;

/// Clocks that advance only when the test advances them.
#[derive(Debug)]
struct Clocks {
    wall: AtomicU64,
    since_boot: AtomicU64,
    boot: AtomicU64,
}

impl TimeSource for Clocks {
    fn wall_ms(&self) -> u64 {
        self.wall.load(Ordering::SeqCst)
    }
    fn boot_ms(&self) -> u64 {
        self.since_boot.load(Ordering::SeqCst)
    }
    fn boot(&self) -> Option<String> {
        Some(self.boot.load(Ordering::SeqCst).to_string())
    }
}

impl Clocks {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            wall: AtomicU64::new(20_000 * DAY),
            since_boot: AtomicU64::new(5_000),
            boot: AtomicU64::new(1),
        })
    }

    /// Advances the time, whether the machine is awake or asleep.
    fn pass(&self, ms: u64) {
        self.wall.fetch_add(ms, Ordering::SeqCst);
        self.since_boot.fetch_add(ms, Ordering::SeqCst);
    }

    fn set_wall(&self, ms: u64) {
        self.wall.store(ms, Ordering::SeqCst);
    }

    /// Reboots the machine.
    fn reboot(&self) {
        self.boot.fetch_add(1, Ordering::SeqCst);
        self.since_boot.store(100, Ordering::SeqCst);
    }
}

fn own(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config(std::path::Path::new("unused"));
    config.lease = Duration::from_millis(DAY);
    config.recall = Duration::from_millis(DAY);
    config.wait = Duration::from_millis(100 * DAY);
    // A session then leaves memory only when it expires.
    config.evict = Duration::from_millis(1_000 * DAY);
    change(&mut config);
    config
}

async fn start(config: Config, engine: impl Engine + 'static, clocks: &Arc<Clocks>) -> Running {
    let source = Arc::clone(clocks);
    let server = Server::with_clock(config, Box::new(engine), source).await;
    Running::run(server.expect("it starts"))
}

/// Returns whether the session still has its state.
async fn lives(store: &Running, name: &str, session: &SessionId) -> bool {
    let mut p = Player::connect(store.address, name).await;
    let grant = p.acquire(session, 1).await;
    p.say(ToStore::Goodbye).await;
    grant.version != Version::NONE
}

/// Waits until the store has checked its clock, by which time the lease of the process `witness` has ended.
async fn looked(witness: &mut Player) {
    let ended = witness.next();
    let ended = timeout(PATIENCE, ended)
        .await
        .expect("the witness's lease ends once the store checks its clock");
    assert_eq!(ended, ToProcess::LeaseEnded);
}

#[tokio::test]
async fn a_wall_clock_jump_has_no_effect_and_time_asleep_counts() {
    let clocks = Clocks::new();
    let config = own(|config| config.time_to_live = Some(Duration::from_millis(HOUR)));
    let store = start(config, Memory::new(), &clocks).await;
    let s = id("s");
    let mut p = Player::connect(store.address, "p").await;
    p.write(&s, 1, "1").await;
    for wall in [0, 90_000 * DAY, 20_000 * DAY] {
        clocks.set_wall(wall);
        clocks.pass(HOUR / 10);
        assert!(lives(&store, "q", &s).await, "at {wall}");
    }
    // The machine has slept: nothing else advances the store's time.
    clocks.pass(HOUR);
    store.leaves(&s).await;
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn a_wrong_wall_clock_at_a_start_ends_no_session_beyond_the_bound() {
    let clocks = Clocks::new();
    let memory = Memory::new();
    let config = own(|config| config.time_to_live = Some(Duration::from_millis(3 * DAY)));
    let s = id("s");
    let store = start(config.clone(), memory.clone(), &clocks).await;
    Player::connect(store.address, "p")
        .await
        .write(&s, 1, "1")
        .await;
    store.stop(Stop::Fast).await.expect("no failure");

    // The clock is behind, as after a battery failure, and then far ahead, twice. Each time one day counts, and the
    // session has three.
    for wall in [0, 20_000 * DAY, 90_000 * DAY] {
        clocks.reboot();
        clocks.set_wall(wall);
        let store = start(config.clone(), memory.clone(), &clocks).await;
        store.stop(Stop::Fast).await.expect("no failure");
    }
    let store = start(config, memory, &clocks).await;
    assert!(
        lives(&store, "r", &s).await,
        "two of the session's three days have counted"
    );
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn on_the_same_boot_a_wrong_wall_clock_at_a_start_has_no_effect() {
    let clocks = Clocks::new();
    let memory = Memory::new();
    let config = own(|config| config.time_to_live = Some(Duration::from_millis(HOUR)));
    let s = id("s");
    for (name, wall) in [("p", 20_000 * DAY), ("q", 0), ("r", 90_000 * DAY)] {
        clocks.set_wall(wall);
        let store = start(config.clone(), memory.clone(), &clocks).await;
        let mut player = Player::connect(store.address, name).await;
        if name == "p" {
            player.write(&s, 1, "1").await;
        } else {
            assert!(lives(&store, "looks", &s).await, "at {wall}");
        }
        store.stop(Stop::Fast).await.expect("no failure");
        clocks.pass(HOUR / 10);
    }
}

#[tokio::test]
async fn a_shorter_lease_time_after_a_restart_takes_nothing_from_a_holder() {
    let clocks = Clocks::new();
    let memory = Memory::new();
    let s = id("s");
    let store = start(
        own(|config| config.lease = Duration::from_millis(HOUR)),
        memory.clone(),
        &clocks,
    )
    .await;
    Player::connect(store.address, "p")
        .await
        .acquire(&s, 1)
        .await;
    store.stop(Stop::Fast).await.expect("no failure");

    let short = own(|config| config.lease = Duration::from_millis(10_000));
    // Repeat it: the promise stands although this start has another setting and has written its own mark.
    for round in 1..=2 {
        let store = start(short.clone(), memory.clone(), &clocks).await;
        let mut q = Player::silent(store.address, "q", round, 1).await;
        q.hello(vec![], vec![]).await;
        assert!(matches!(q.next().await, ToProcess::Welcome { .. }));
        q.ask_for(&s, 1).await;
        let mut witness = Player::connect(store.address, &format!("witness-{round}")).await;
        // q sends a keep-alive just before, and the witness does not.
        clocks.pass(9_000);
        assert!(
            no_grant(&q.lives().await),
            "the lease promised to p has not ended"
        );
        clocks.pass(2_000);
        looked(&mut witness).await;
        assert!(
            no_grant(&q.lives().await),
            "the lease promised to p has not ended"
        );
        store.stop(Stop::Fast).await.expect("no failure");
    }
    // The promised lease is over, so the holder counts as dead.
    let store = start(short, memory, &clocks).await;
    clocks.pass(HOUR);
    let mut r = Player::connect(store.address, "r").await;
    r.ask_for(&s, 1).await;
    timeout(PATIENCE, r.granted(&s)).await.expect("granted");
    store.stop(Stop::Fast).await.expect("no failure");
}

fn no_grant(said: &[ToProcess]) -> bool {
    !said
        .iter()
        .any(|message| matches!(message, ToProcess::Granted(_)))
}

#[tokio::test]
async fn a_folder_without_a_mark_starts_and_a_backup_contains_the_mark() {
    let scratch = tempfile::tempdir().expect("a folder");
    let clocks = Clocks::new();
    let config = own(|config| {
        config.data = scratch.path().join("data");
        config.time_to_live = Some(Duration::from_millis(HOUR));
    });
    let open =
        |folder: &std::path::Path| Embedded::open(folder, Settings::default()).expect("open");
    let s = id("s");
    let store = start(config.clone(), open(&config.data), &clocks).await;
    Player::connect(store.address, "p")
        .await
        .write(&s, 1, "1")
        .await;
    store.stop(Stop::Fast).await.expect("no failure");
    let copy = scratch.path().join("copy");
    backup(&config.data, &copy).expect("copied");

    // The mark gives the right time although the wall clock is wrong.
    clocks.set_wall(90_000 * DAY);
    let store = start(config.clone(), open(&copy), &clocks).await;
    assert!(lives(&store, "q", &s).await);
    store.stop(Stop::Fast).await.expect("no failure");

    // A folder of an earlier version has no mark, so the wall clock counts, as it did then.
    std::fs::remove_file(config.data.join("mark")).expect("the store has written a mark");
    clocks.set_wall(20_000 * DAY + HOUR / 2);
    let store = start(config.clone(), open(&config.data), &clocks).await;
    assert!(lives(&store, "q", &s).await);
    store.stop(Stop::Fast).await.expect("no failure");
    assert!(config.data.join("mark").exists());
}
