//! `tenure serve`, `tenure ctl` and `tenure backup`, from the view of an operator.

mod support;

use bytes::Bytes;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use support::{Player, Store, assert_ends, command, stderr, stdout, tenure};
use tempfile::TempDir;
use tenure_protocol::attributes::Change;
use tenure_protocol::id::ShortId;
use tenure_protocol::message::{Commit, GrantRef, Release};
use tenure_protocol::{AttributeName, SessionId, ToProcess, ToStore};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

const CART: SessionId = SessionId::from_static("cart");

#[test]
fn the_store_starts_reports_its_addresses_and_stops_on_sigterm() {
    let folder = folder();
    let mut store = Store::start(folder.path(), &[]);
    let ready = store.logged("ready");
    for part in [
        env!("CARGO_PKG_VERSION"),
        &store.listen,
        &store.admin,
        "durability=\"durable\"",
        "epoch=1",
        "sessions=0",
        "held=0",
    ] {
        assert!(ready.contains(part), "{part} in {ready}");
    }
    assert!(!ready.contains('\u{1b}'), "no colour in a pipe");

    let status = store.ctl(&["status"]);
    assert_ends(&status, 0, &[]);
    assert!(stdout(&status).contains("epoch 1"), "{}", stdout(&status));
    assert_eq!(store.json(&["status"])["held"], 0);
    assert!(store.get("/livez").contains("200 OK"));
    assert!(store.get("/readyz").contains("200 OK"));

    let ports = store.ports.clone();
    store.signal(Signal::TERM);
    let (status, log) = store.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    let last = log
        .lines()
        .last()
        .expect("the store writes its last log lines before it ends");
    assert!(last.ends_with("stopped"), "{log}");
    assert!(!ports.exists(), "the port file is removed after a stop");
}

/// By default, these signals would end a process. Tools send them to reload settings or to start a new log file.
#[test]
fn reload_signals_are_ignored_and_logged() {
    let folder = folder();
    let mut store = Store::start(folder.path(), &[]);
    let mut holder = Player::connect(&store, "p1");
    holder.acquire(&CART);
    for (signal, name) in [
        (Signal::HUP, "SIGHUP"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::HUP, "SIGHUP"),
    ] {
        store.signal(signal);
        let line = store.logged("ignored");
        assert!(line.contains(name) && line.contains("SIGTERM"), "{line}");
    }
    assert_eq!(store.json(&["status"])["held"], 1);
    store.signal(Signal::TERM);
    let (status, log) = store.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Uses the session until the store has dropped lines of its log, which no reader empties.
fn fill_the_log(store: &Store, holder: &mut Player) {
    const ROUNDS_MAX: u64 = 200_000;
    for round in 1..ROUNDS_MAX {
        let (token, base) = holder.acquire_as(&CART, round);
        holder.release(&CART, token, base);
        if round % 500 == 0 && dropped_lines(store) > 0 {
            return;
        }
    }
    panic!("no line was dropped");
}

fn dropped_lines(store: &Store) -> u64 {
    let metrics = store.get("/metrics");
    let name = "tenure_log_dropped_lines_total ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.expect("the metric").parse().expect("a number")
}

#[test]
fn an_unread_log_blocks_neither_the_store_nor_its_stop() {
    let folder = folder();
    let arguments = ["--log", "debug", "--durability", "buffered"];
    let store = Store::start(folder.path(), &arguments);
    let mut holder = Player::connect(&store, "p1");
    fill_the_log(&store, &mut holder);
    // Grants, commits and answers continue behind a full pipe.
    let before = dropped_lines(&store);
    for round in 1_000_000..1_000_100 {
        let (token, base) = holder.acquire_as(&CART, round);
        holder.release(&CART, token, base);
    }
    assert!(dropped_lines(&store) > before);
    assert!(store.get("/readyz").contains("200 OK"));
    store.signal(Signal::HUP);
    store.signal(Signal::TERM);
    assert_eq!(store.ended_unread().code(), Some(0));
}

#[test]
fn a_log_read_late_reports_the_number_of_dropped_lines() {
    let folder = folder();
    let arguments = ["--log", "debug", "--durability", "buffered"];
    let mut store = Store::start(folder.path(), &arguments);
    let mut holder = Player::connect(&store, "p1");
    fill_the_log(&store, &mut holder);
    let line = store.logged("lines of this log were dropped");
    assert!(line.contains("lines="), "{line}");
}

#[test]
fn a_closed_log_pipe_does_not_stop_the_store() {
    let folder = folder();
    let mut store = Store::start(folder.path(), &["--log", "debug"]);
    store.close_log();
    let mut holder = Player::connect(&store, "p1");
    for round in 1..20 {
        let (token, base) = holder.acquire_as(&CART, round);
        holder.release(&CART, token, base);
    }
    assert!(
        dropped_lines(&store) > 0,
        "each write to the closed pipe fails and is counted"
    );
    store.signal(Signal::TERM);
    assert_eq!(store.ended_unread().code(), Some(0));
}

#[test]
fn a_restart_recalls_no_session_and_the_holder_continues() {
    let folder = folder();
    let store = Store::start(folder.path(), &[]);
    let mut holder = Player::connect(&store, "p1");
    let (token, base) = holder.acquire(&CART);
    let mut waits = Player::connect(&store, "p2");
    let mut other = Player::connect(&store, "p3");
    let other_cart = SessionId::from_static("other");
    other.acquire(&other_cart);
    store.signal(Signal::TERM);
    for player in [&mut holder, &mut waits, &mut other] {
        let said = player.until_closed();
        let recalls = said
            .iter()
            .filter(|own| matches!(own, ToProcess::Recall { .. }));
        assert_eq!(recalls.count(), 0, "{said:?}");
    }
    let (status, log) = store.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("held=2"), "{log}");

    let store = Store::start(folder.path(), &[]);
    let hold = GrantRef {
        session: CART,
        token,
    };
    let mut holder = Player::reconnect(&store, "p1", vec![hold]);
    holder.say(ToStore::Commit(Commit {
        session: CART,
        token,
        base,
        delta: [].into_iter().collect(),
    }));
    assert!(matches!(holder.next(), ToProcess::Committed { .. }));
    let metrics = store.get("/metrics");
    assert!(!metrics.contains("kind=\"recall\""), "{metrics}");
}

#[test]
fn ctl_shows_holder_and_waiters_and_recalls() {
    let folder = folder();
    let store = Store::start(folder.path(), &[]);
    let mut one = Player::connect(&store, "shop-1");
    one.acquire(&CART);
    let mut two = Player::connect(&store, "shop-2");
    two.ask_for(&CART);
    assert!(matches!(two.next(), ToProcess::Queued { .. }));

    let json = store.json(&["session", "cart"]);
    assert_eq!(json["holder"]["process"], "shop-1");
    assert_eq!(json["waiters"][0]["process"], "shop-2");
    let short = ShortId(&CART).to_string();
    let waiting = store.json(&["sessions", "--waiting"]);
    assert_eq!(waiting[0]["session"], short);
    let revealed = store.json(&["sessions", "--waiting", "--reveal"]);
    assert_eq!(revealed[0]["session"], "cart");
    assert_eq!(
        store.json(&["session", &short, "--reveal"])["session"],
        "cart"
    );
    assert_eq!(waiting.as_array().map(Vec::len), Some(1));
    assert_eq!(
        stdout(&store.ctl(&["session", "cart"]))
            .matches("cart")
            .count(),
        0
    );
    let shown = stdout(&store.ctl(&["session", &short]));
    for part in [&short, "shop-1, token 1.", "1. shop-2, for ", "revoked in"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let shown = stdout(&store.ctl(&["sessions", "--waiting"]));
    assert!(
        shown.contains("shop-1") && shown.starts_with("SESSION"),
        "{shown}"
    );
    let shown = stdout(&store.ctl(&["status"]));
    assert!(
        shown.contains("held 1, waiting 1") && shown.contains("shop-2"),
        "{shown}"
    );

    let odd = SessionId::new(Bytes::from_static(b"a/b \xff")).expect("an id");
    one.acquire(&odd);
    let shown = stdout(&store.ctl(&["session", "hex:612f6220ff"]));
    assert!(shown.contains("holder      shop-1"), "{shown}");
    assert_ends(&store.ctl(&["recall", "hex:612f6220ff"]), 0, &[]);
    loop {
        let said = one.next();
        if matches!(said, ToProcess::Recall { .. }) && said.session() == Some(&odd) {
            break;
        }
    }
    assert_ends(&store.ctl(&["recall", &short]), 0, &[]);
    assert_ends(&store.ctl(&["session", "#00000000"]), 1, &["not in memory"]);
    assert_ends(&store.ctl(&["session", "nobody"]), 1, &["not in memory"]);
    assert_ends(&store.ctl(&["recall", "nobody"]), 1, &["not held"]);
    assert_ends(
        &store.ctl(&["session", "hex:6"]),
        2,
        &["hex:6", "no session's id"],
    );
}

#[test]
fn ctl_without_a_store_fails_with_the_next_step() {
    // A port that was bound and released, so no program listens on it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("bound").to_string();
    drop(free);
    let output = tenure(&["ctl", "--admin", &address, "status"]);
    assert_ends(&output, 2, &[&address, "tenure serve", "--admin"]);
    let folder = folder();
    let other = Store::start(folder.path(), &[]);
    let output = tenure(&["ctl", "--admin", &other.listen, "status"]);
    assert_ends(&output, 2, &[&other.listen]);
}

#[test]
fn a_second_store_on_the_same_folder_is_refused() {
    let folder = folder();
    let store = Store::start(folder.path(), &[]);
    let data = folder.path().join("data");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let output = tenure(&[&serve[..], &["--data", text(&data)]].concat());
    assert_ends(&output, 75, &[text(&data), "another store", "--data"]);
    assert_eq!(
        store.json(&["status"])["epoch"],
        1,
        "the first store continues"
    );
}

#[test]
fn a_store_that_cannot_start_reports_the_reason() {
    let folder = folder();
    let serve = |data: &Path, more: &[&str]| {
        let mut arguments = vec!["serve", "--admin", "127.0.0.1:0", "--data", text(data)];
        arguments.extend(more);
        tenure(&arguments)
    };
    let any = ["--listen", "127.0.0.1:0"];
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).expect("a folder");
    fs::write(foreign.join("letter"), "dear").expect("written");
    assert_ends(
        &serve(&foreign, &any),
        2,
        &[
            text(&foreign),
            "not a data folder of a store",
            "Name the folder",
        ],
    );

    let newer = folder.path().join("newer");
    fs::create_dir(&newer).expect("a folder");
    fs::write(newer.join("format"), "tenure-engine format 99\n").expect("written");
    assert_ends(
        &serve(&newer, &any),
        2,
        &[text(&newer), "format 99", "Run the version"],
    );

    let broken = folder.path().join("broken");
    fs::create_dir(&broken).expect("a folder");
    drop(Store::start(&broken, &[]));
    let corrupt = broken.join("data");
    for entry in fs::read_dir(&corrupt).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "log") {
            fs::remove_file(path).expect("a file");
        }
    }
    assert_ends(
        &serve(&corrupt, &any),
        2,
        &[text(&corrupt), "corrupt", "restore the last backup"],
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let output = serve(&folder.path().join("fresh"), &["--listen", &address]);
    assert_ends(&output, 75, &[&address, "cannot listen"]);

    // This machine does not have the address now, but may have it later.
    let output = serve(&folder.path().join("fresh"), &["--listen", "192.0.2.1:0"]);
    assert_ends(&output, 75, &["192.0.2.1:0", "cannot listen"]);

    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    for [flag, path] in [
        ["--data", text(&file.join("data"))],
        ["--port-file", text(&file.join("ports"))],
    ] {
        let own = ["serve", "--admin", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
        let output = tenure(&[&own[..], &[flag, path]].concat());
        assert_ends(&output, 2, &[path]);
    }
}

/// A file system of 1 MiB, which is unmounted when this value is dropped.
struct Small(TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = folder();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tenure-test"]);
        let output = mount.arg(folder.path()).output().ok()?;
        output.status.success().then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Without permission to mount, other tests cover the parts: the engine claims a folder on a full disk, and the store
/// treats its error as temporary.
#[test]
fn a_store_killed_with_a_full_disk_starts_again_after_space_is_freed() {
    let Some(small) = Small::mount() else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let folder = folder();
    // The port file is on another file system, which has room.
    let (real, data) = (small.0.path().join("data"), folder.path().join("data"));
    fs::create_dir(&real).expect("made");
    std::os::unix::fs::symlink(&real, &data).expect("a link");
    let store = Store::start(folder.path(), &[]);
    Player::connect(&store, "p1").acquire(&CART);
    store.signal(Signal::KILL);
    drop(store);
    let ballast = small.0.path().join("ballast");
    let mut file = fs::File::create(&ballast).expect("made");
    let full = loop {
        if let Err(error) = file.write_all(&[1; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let output = tenure(&[&serve[..], &["--data", text(&data)]].concat());
    assert_ends(&output, 75, &["no room", text(&data), "Make room"]);
    fs::remove_file(&ballast).expect("removed");
    drop(file);
    let store = Store::start(folder.path(), &[]);
    assert_eq!(store.json(&["session", "cart"])["holder"]["process"], "p1");
}

/// After a restart, each of two stores on one folder would take the folder from the other. So the store that lost it
/// must not be restarted.
#[test]
fn a_store_that_lost_its_folder_exits_with_a_permanent_error() {
    let folder = folder();
    let store = Store::start(folder.path(), &[]);
    let mut holder = Player::connect(&store, "p1");
    // Takes the folder over, as a second store does on a file system without locks.
    fs::remove_file(folder.path().join("data").join("claim")).expect("removed");
    holder.ask_for(&CART);
    let (status, log) = store.ended();
    assert_eq!(status.code(), Some(2), "{log}");
    let last = log.lines().last().expect("the reason");
    assert!(
        last.starts_with("tenure: another store has claimed the data"),
        "{log}"
    );
    assert!(last.contains("Only one store may use"), "{log}");
}

#[test]
fn an_invalid_configuration_is_refused_without_touching_the_data() {
    let folder = folder();
    let data = folder.path().join("data");
    let file = folder.path().join("tenure.toml");
    fs::write(&file, "[limits]\nwaitrs_max = 3\n").expect("written");
    for (arguments, says) in [
        (["--config", text(&file)], "limits.waiters_max"),
        (["--config", "/nowhere/tenure.toml"], "/nowhere/tenure.toml"),
        (["--lease-ms", "soon"], "--lease-ms"),
        (["--lease-ms", "0"], "lease_ms"),
        (["--log", "inof"], "inof"),
        (["--connection-max", "3"], "--connections-max"),
    ] {
        for check in [&["--check-config"][..], &[]] {
            let own = ["serve", "--data", text(&data)];
            let output = tenure(&[&own, check, &arguments[..]].concat());
            assert_ends(&output, 2, &[says]);
            assert_eq!(stdout(&output), "");
        }
    }
    let output = command(&["serve", "--check-config"])
        .env("TENURE_LEASE_MS", "soon")
        .output()
        .expect("it starts");
    assert_ends(&output, 2, &["TENURE_LEASE_MS"]);
    let output = tenure(&["serve", "--check-config", "--data", text(&data)]);
    assert_ends(&output, 0, &[]);
    assert_eq!(stdout(&output), "ok\n");
    assert!(!data.exists());
}

/// Checks the documented precedence with `--print-config`: every setting is changed by file, by variable, and by flag.
#[test]
fn flag_beats_variable_beats_file_beats_default() {
    let folder = folder();
    let file = folder.path().join("tenure.toml");
    let print = tenure(&["serve", "--print-config"]);
    assert_ends(&print, 0, &[]);
    let mut flags = vec![];
    let mut variables = vec![];
    let raised = |by: i64| {
        let lines = stdout(&print);
        let lines = lines.lines().map(|line| match line.split_once(" = ") {
            Some((key, value)) => match value.parse::<i64>() {
                Ok(number) => format!("{key} = {}\n", number + by),
                Err(_) => format!("{line}\n"),
            },
            None => format!("{line}\n"),
        });
        lines.collect::<String>()
    };
    fs::write(&file, raised(1)).expect("written");
    for line in stdout(&print).lines() {
        if let Some((key, value)) = line.split_once(" = ")
            && let Ok(number) = value.parse::<i64>()
        {
            variables.push((
                format!("TENURE_{}", key.to_uppercase()),
                (number + 2).to_string(),
            ));
            flags.push(format!("--{}", key.replace('_', "-")));
            flags.push((number + 3).to_string());
        }
    }
    assert_eq!(flags.len(), 2 * 19);
    let config = ["serve", "--print-config", "--config", text(&file)];
    let printed = |with_variables: bool, with_flags: bool| {
        let mut command = command(&config);
        if with_variables {
            command.envs(variables.clone());
        }
        if with_flags {
            command.args(&flags);
        }
        let output = command.output().expect("it starts");
        assert_ends(&output, 0, &[]);
        stdout(&output)
    };
    assert_eq!(printed(false, false), raised(1));
    assert_eq!(printed(true, false), raised(2));
    assert_eq!(printed(true, true), raised(3));
    let by_variable = command(&config[..2]).env("TENURE_CONFIG", &file).output();
    assert_eq!(stdout(&by_variable.expect("it starts")), raised(1));
}

#[test]
fn a_killed_store_restarts_with_a_higher_epoch_and_knows_its_holders() {
    let folder = folder();
    let mut last = 0;
    for turn in 0..3 {
        let store = Store::start(folder.path(), &[]);
        assert!(store.epoch > last, "{} after {last}", store.epoch);
        last = store.epoch;
        let status = store.json(&["status"]);
        assert_eq!(status["epoch"], last);
        if turn == 0 {
            Player::connect(&store, "p1").acquire(&CART);
        } else {
            assert_eq!(store.json(&["session", "cart"])["holder"]["process"], "p1");
        }
        store.signal(Signal::KILL);
        assert_eq!(store.ended().0.code(), None);
    }
}

#[test]
fn a_second_signal_stops_the_store_at_once() {
    let folder = folder();
    let arguments = ["--stop", "drain", "--stop-ms", "100000000"];
    let mut store = Store::start(folder.path(), &arguments);
    let mut holder = Player::connect(&store, "p1");
    holder.acquire(&CART);
    store.signal(Signal::TERM);
    store.logged("stopping: all grants are being recalled");
    loop {
        if let ToProcess::Recall { .. } = holder.next() {
            break;
        }
    }
    assert!(
        store.get("/readyz").contains("503"),
        "`/readyz` returns 503 while the store stops"
    );
    store.signal(Signal::INT);
    let (status, log) = store.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("at once"), "{log}");
    let store = Store::start(folder.path(), &[]);
    assert_eq!(
        store.json(&["status"])["held"],
        1,
        "the grant is still valid after the fast stop"
    );
}

#[test]
fn a_drain_waits_until_all_grants_are_given_back() {
    for by_ctl in [false, true] {
        drain(by_ctl);
    }
}

fn drain(by_ctl: bool) {
    let folder = folder();
    let mut arguments = vec!["--stop-ms", "100000000"];
    if !by_ctl {
        arguments.extend(["--stop", "drain"]);
    }
    let store = Store::start(folder.path(), &arguments);
    let mut holder = Player::connect(&store, "p1");
    let (token, base) = holder.acquire(&CART);
    if by_ctl {
        let output = store.ctl(&["drain"]);
        assert_ends(&output, 0, &[]);
        assert!(
            stdout(&output).starts_with("recalled 1 grants."),
            "{}",
            stdout(&output)
        );
    } else {
        store.signal(Signal::TERM);
    }
    while !matches!(holder.next(), ToProcess::Recall { .. }) {}
    holder.say(ToStore::Release(Release {
        session: CART,
        token,
        base,
        delta: [].into_iter().collect(),
        requeue: None,
        idle_ms: 0,
    }));
    let (status, log) = store.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    let store = Store::start(folder.path(), &[]);
    assert_eq!(store.json(&["status"])["held"], 0);
}

#[test]
fn a_backup_of_a_running_store_can_be_served() {
    let folder = folder();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let store = Store::start(folder.path(), &[]);
    Player::connect(&store, "p1").acquire(&CART);
    let output = tenure(&["backup", text(&data), text(&copy)]);
    assert_ends(&output, 0, &[]);
    assert!(
        stdout(&output).contains("1 segment,"),
        "{}",
        stdout(&output)
    );
    assert_ends(
        &tenure(&["backup", text(&data), text(&copy)]),
        2,
        &[text(&copy), "empty folder"],
    );
    let nowhere = folder.path().join("nowhere");
    assert_ends(
        &tenure(&["backup", text(&nowhere), text(&copy)]),
        2,
        &[text(&nowhere)],
    );

    drop(store);
    fs::remove_dir_all(&data).expect("the data folder can be removed");
    assert_ends(&tenure(&["backup", text(&copy), text(&data)]), 0, &[]);
    let store = Store::start(folder.path(), &[]);
    assert!(
        store.epoch > 1_000_000,
        "the backup is ahead of its source: {}",
        store.epoch
    );
    assert_eq!(store.json(&["session", "cart"])["holder"]["process"], "p1");
}

#[test]
fn a_backup_into_its_own_source_folder_is_refused_and_creates_nothing() {
    let folder = folder();
    let data = folder.path().join("data");
    drop(Store::start(folder.path(), &[]));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&data, &link).expect("a link");
    let names = || -> BTreeSet<_> {
        let entries = fs::read_dir(&data).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").file_name())
            .collect()
    };
    let before = names();
    for (from, to) in [
        ("data", "data"),
        ("data", "data/sub"),
        ("data", "data/a/b"),
        ("data", "./data/../data/sub"),
        ("data", "link/sub"),
        ("link", "data/sub"),
        ("link", "link"),
        ("data", "data/new/../../elsewhere"),
        ("data", "elsewhere/../data/sub"),
        ("data", "."),
        (text(&data), "data/sub"),
    ] {
        let output = command(&["backup", from, to])
            .current_dir(folder.path())
            .output()
            .expect("it starts");
        assert_ends(&output, 2, &[to, "contain each other", "elsewhere"]);
        assert_eq!(names(), before, "{from} to {to}");
        assert!(!folder.path().join("elsewhere").exists(), "{from} to {to}");
    }
    // A folder beside the source is not inside of it, even if its name starts with the same text.
    let beside = command(&["backup", "data", "data-copy"])
        .current_dir(folder.path())
        .output();
    assert_ends(&beside.expect("it starts"), 0, &[]);
}

#[test]
fn the_log_can_be_json_and_never_contains_session_data() {
    const SECRET: &str = "4929-secret-of-a-person";
    let folder = folder();
    let store = Store::start(folder.path(), &["--log", "trace", "--log-format", "json"]);
    let mut holder = Player::connect(&store, "p1");
    let (token, base) = holder.acquire(&CART);
    let change = Change {
        name: AttributeName::from_static("card"),
        value: Some(SECRET.as_bytes().to_vec().into()),
    };
    holder.say(ToStore::Commit(Commit {
        session: CART,
        token,
        base,
        delta: [change].into_iter().collect(),
    }));
    assert!(matches!(holder.next(), ToProcess::Committed { .. }));
    store.signal(Signal::TERM);
    store.signal(Signal::INT);
    let (_, log) = store.ended();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(
            line["message"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
    assert!(log.lines().count() > 2, "{log}");
    assert!(!log.contains(SECRET), "{log}");
}

#[test]
fn systemd_is_notified_of_readiness_and_of_the_stop() {
    let folder = folder();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).expect("bound");
    systemd
        .set_read_timeout(Some(support::PATIENCE))
        .expect("a socket");
    let store = Store::spawn(folder.path(), &[], |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let hear = || {
        let mut said = [0; 100];
        let length = systemd.recv(&mut said).expect("told");
        String::from_utf8_lossy(&said[..length]).into_owned()
    };
    assert_eq!(hear(), "READY=1");
    store.signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1");
    assert_eq!(store.ended().0.code(), Some(0));
}

#[test]
fn a_too_low_limit_of_open_files_is_logged() {
    let folder = folder();
    let mut store = Store::start(folder.path(), &["--connections-max", "100000000"]);
    let line = store.logged("too few open files");
    assert!(line.contains("LimitNOFILE"), "{line}");
}

#[test]
fn the_book_explains_every_metric() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/operations.md");
    let book = fs::read_to_string(book).expect("the page");
    let folder = folder();
    let store = Store::start(folder.path(), &[]);
    Player::connect(&store, "p1").acquire(&CART);
    let metrics = store.get("/metrics");
    let mut names: Vec<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    assert!(names.len() >= 8, "{metrics}");
    // These metrics appear only after their first event.
    names.extend(["tenure_refusals_total", "tenure_faults_total"]);
    for name in names {
        assert!(
            book.contains(&format!("`{name}")),
            "{name} is not explained"
        );
    }
}

#[test]
fn help_lists_the_commands_and_errors_suggest_the_right_one() {
    let help = stdout(&tenure(&["--help"]));
    for command in ["serve", "ctl", "backup"] {
        assert!(help.contains(command), "{help}");
    }
    let output = tenure(&["ctl", "sttus"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("status"), "{}", stderr(&output));
}
