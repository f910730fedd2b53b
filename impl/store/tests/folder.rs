//! Tests with folders that a store must refuse, and with full disks.

use crate::support::{PATIENCE, Player, Running, config, id, set};
use std::path::Path;
use std::process::Command;
use tenure_engine::{EngineError, FORMAT};
use tenure_protocol::attributes::State;
use tenure_protocol::message::{AcquireRequest, Commit, Limited, Refusal, WaitMode};
use tenure_protocol::{Request, ToProcess, ToStore};
use tenure_store::{Config, Server, Stop, StoreError};

async fn refused(config: Config) -> StoreError {
    match Server::start(config).await {
        Err(error) => error,
        Ok(_) => panic!("it starts"),
    }
}

#[tokio::test]
async fn a_newer_a_damaged_and_a_foreign_folder_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path());
    let store = Running::start(config.clone()).await;
    let mut p = Player::connect(store.address, "p").await;
    p.write(&id("s"), 1, "1").await;
    store.stop(Stop::Fast).await.expect("no failure");

    let format = config.data.join("format");
    let own = std::fs::read(&format).expect("readable");
    let newer = format!("tenure-engine format {}\n", FORMAT + 1);
    std::fs::write(&format, newer).expect("written");
    let error = refused(config.clone()).await;
    assert!(
        error.to_string().contains("the folder has format"),
        "{error}"
    );
    std::fs::write(&format, "mine").expect("written");
    let error = refused(config.clone()).await;
    assert!(
        error.to_string().contains("not a data folder of a store"),
        "{error}"
    );
    std::fs::remove_file(&format).expect("removed");
    std::fs::create_dir(&format).expect("a folder where a file was");
    let error = refused(config.clone()).await;
    assert!(matches!(&error, StoreError::Engine(_)), "{error}");
    std::fs::remove_dir(&format).expect("removed");
    std::fs::write(&format, own).expect("written");

    let log = config.data.join("0000000001.log");
    let whole = std::fs::read(&log).expect("readable");
    let mut damaged = whole.clone();
    damaged[..16].fill(0xAA);
    std::fs::write(&log, damaged).expect("written");
    match refused(config.clone()).await {
        StoreError::Engine(error) => {
            assert!(matches!(&*error, EngineError::Corrupt { .. }), "{error}")
        }
        other => panic!("{other}"),
    }
    // None of these refusals has changed the folder.
    std::fs::write(&log, whole).expect("written");
    let store = Running::start(config).await;
    assert_eq!(store.server.sessions, 1);
    store.stop(Stop::Fast).await.expect("no failure");
}

#[tokio::test]
async fn if_the_address_is_taken_the_data_folder_is_not_claimed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    config.listen = taken.local_addr().expect("bound");
    let error = refused(config.clone()).await;
    assert!(matches!(&error, StoreError::Bind { .. }), "{error}");
    drop(taken);
    let store = Running::start(config).await;
    assert_eq!(store.server.epoch, 1);
    store.stop(Stop::Fast).await.expect("no failure");
}

/// A file system of 4 MiB, which is unmounted on drop.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tenure-test"]);
        let output = mount.arg(folder.path()).output().ok()?;
        output.status.success().then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test]
async fn a_full_file_system_refuses_new_work_and_the_store_continues_when_there_is_room() {
    let Some(small) = Small::mount() else {
        println!("skipped: this environment cannot mount a small file system, which requires root");
        return;
    };
    let ballast = small.path().join("ballast");
    std::fs::write(&ballast, vec![1; 2 << 20]).expect("room");
    let config = config(small.path());
    let store = Running::start(config.clone()).await;
    let (s, t) = (id("s"), id("t"));
    let mut p = Player::connect(store.address, "p").await;
    let mut q = Player::connect(store.address, "q").await;
    let grant = p.acquire(&s, 1).await;
    let mut base = grant.version;
    let mut acknowledged = 0_u64;
    let begin = std::time::Instant::now();
    loop {
        let value = format!("{:0>60000}", acknowledged + 1);
        let commit = ToStore::Commit(Commit {
            session: s.clone(),
            token: grant.token,
            base,
            delta: set("n", value),
        });
        p.say(commit).await;
        let full = store.until("/readyz", |status, _| status == 503);
        tokio::select! {
            () = full => break,
            answer = p.next() => match answer {
                ToProcess::Committed { version, .. } => (base, acknowledged) = (version, acknowledged + 1),
                other => panic!("{other:?}"),
            },
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "the disk did not become full within PATIENCE"
        );
    }
    assert!(acknowledged > 0);
    q.ask_for(&t, 1).await;
    match q.next().await {
        ToProcess::Refused { why, .. } => assert_eq!(why, Refusal::Limit(Limited::Storage)),
        other => panic!("{other:?}"),
    }
    std::fs::remove_file(&ballast).expect("removed");
    assert!(matches!(p.next().await, ToProcess::Committed { .. }));
    q.acquire(&t, 2).await;
    store.stop(Stop::Fast).await.expect("no failure");

    let store = Running::start(config).await;
    let mut p = Player::silent(store.address, "p", 2, 1).await;
    p.hello(vec![], vec![]).await;
    assert!(matches!(p.next().await, ToProcess::Welcome { .. }));
    let grant = p.acquire(&s, 1).await;
    let State::Full(state) = grant.state else {
        panic!("{grant:?}")
    };
    assert_eq!(state, set("n", format!("{:0>60000}", acknowledged + 1)));
    store.stop(Stop::Fast).await.expect("no failure");
}

/// Starts on the folder that version 1.0 wrote, see `impl/engine/src/tests/golden.rs`.
#[tokio::test]
async fn a_store_serves_the_golden_folder_of_version_1_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden/1.0");
    std::fs::create_dir(&config.data).expect("a folder");
    for file in std::fs::read_dir(golden).expect("the golden folder") {
        let file = file.expect("an entry");
        std::fs::copy(file.path(), config.data.join(file.file_name())).expect("copied");
    }
    let store = Running::start(config).await;
    let mut p = Player::connect(store.address, "web-4").await;
    let grant = p.acquire(&id("free"), 1).await;
    let State::Full(state) = grant.state else {
        panic!("expected the full state, not {:?}", grant.state);
    };
    let mut names: Vec<&[u8]> = state
        .changes()
        .iter()
        .map(|own| own.name.as_bytes())
        .collect();
    names.sort_unstable();
    assert_eq!(names, [&b"lang"[..], b"photo", b"user"]);
    // The holder has a whole lease, so the session is not free.
    p.say(ToStore::Acquire(AcquireRequest {
        session: id("held"),
        request: Request(2),
        known: None,
        wait_mode: WaitMode::Try,
        ticket: None,
        existing: false,
    }))
    .await;
    let refused = p.next().await;
    let why = Refusal::WouldBlock;
    assert!(
        matches!(&refused, ToProcess::Refused { why: found, .. } if *found == why),
        "{refused:?}"
    );
    store.stop(Stop::Fast).await.expect("no failure");
}
