//! `tenure serve`, `tenure ctl` and `tenure backup` as an operator meets them.

mod support;

use bytes::Bytes;
use rustix::process::Signal;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use support::{Player, Store, assert_ends, command, stderr, stdout, tenure};
use tempfile::TempDir;
use tenure_protocol::attributes::Change;
use tenure_protocol::{AttributeName, SessionId, ToProcess, ToStore};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

const CART: SessionId = SessionId::from_static("cart");

#[test]
fn it_starts_says_where_and_stops_when_told() {
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
    assert!(!ports.exists(), "nobody is there any more");
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
    let waiting = store.json(&["sessions", "--waiting"]);
    assert_eq!(waiting[0]["session"], "cart");
    assert_eq!(waiting.as_array().map(Vec::len), Some(1));
    let shown = stdout(&store.ctl(&["session", "cart"]));
    for part in ["cart", "shop-1, token 1.", "1. shop-2, for ", "revoked in"] {
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
    assert_ends(&store.ctl(&["session", "nobody"]), 1, &["not in memory"]);
    assert_ends(&store.ctl(&["recall", "nobody"]), 1, &["not held"]);
    assert_ends(
        &store.ctl(&["session", "hex:6"]),
        2,
        &["hex:6", "no session's id"],
    );
}

#[test]
fn ctl_says_when_nobody_answers() {
    // Bound and dropped: a port that nobody listens on.
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
fn a_second_store_on_the_folder_is_refused() {
    let folder = folder();
    let store = Store::start(folder.path(), &[]);
    let data = folder.path().join("data");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let output = tenure(&[&serve[..], &["--data", text(&data)]].concat());
    assert_ends(&output, 2, &[text(&data), "another store", "--data"]);
    assert_eq!(store.json(&["status"])["epoch"], 1, "the first goes on");
}

#[test]
fn what_cannot_be_started_says_why() {
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
        &[text(&foreign), "not a folder of a store", "Name the folder"],
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
    assert_ends(&output, 2, &[&address, "cannot listen"]);
}

#[test]
fn a_bad_configuration_is_refused_and_touches_nothing() {
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

/// `--print-config`, by the rule that the book and the help say: every setting changed by file, by variable, by flag.
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
    assert_eq!(flags.len(), 2 * 18);
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
fn killed_it_starts_again_with_a_later_epoch_and_knows_its_holders() {
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
fn the_second_signal_stops_at_once() {
    let folder = folder();
    let mut store = Store::start(folder.path(), &["--stop-ms", "100000000"]);
    let mut holder = Player::connect(&store, "p1");
    holder.acquire(&CART);
    store.signal(Signal::TERM);
    store.logged("everything that is held is recalled");
    loop {
        if let ToProcess::Recall { .. } = holder.next() {
            break;
        }
    }
    assert!(store.get("/readyz").contains("503"), "it stops");
    store.signal(Signal::INT);
    let (status, log) = store.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("at once"), "{log}");
    let store = Store::start(folder.path(), &[]);
    assert_eq!(store.json(&["status"])["held"], 1, "the grant stands");
}

#[test]
fn a_graceful_stop_waits_for_what_is_given_back() {
    let folder = folder();
    let store = Store::start(folder.path(), &["--stop-ms", "100000000"]);
    let mut holder = Player::connect(&store, "p1");
    let (token, base) = holder.acquire(&CART);
    store.signal(Signal::TERM);
    while !matches!(holder.next(), ToProcess::Recall { .. }) {}
    holder.say(ToStore::Release {
        session: CART,
        token,
        base,
        delta: [].into_iter().collect(),
        requeue: None,
        idle_ms: 0,
    });
    let (status, log) = store.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    let store = Store::start(folder.path(), &[]);
    assert_eq!(store.json(&["status"])["held"], 0);
}

#[test]
fn a_backup_of_a_running_store_is_a_store() {
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
    fs::remove_dir_all(&data).expect("the disaster");
    assert_ends(&tenure(&["backup", text(&copy), text(&data)]), 0, &[]);
    let store = Store::start(folder.path(), &[]);
    assert!(
        store.epoch > 1_000_000,
        "ahead of what it copies: {}",
        store.epoch
    );
    assert_eq!(store.json(&["session", "cart"])["holder"]["process"], "p1");
}

#[test]
fn the_log_is_json_if_wanted_and_never_says_what_is_in_a_session() {
    const SECRET: &str = "4929-secret-of-a-person";
    let folder = folder();
    let store = Store::start(folder.path(), &["--log", "trace", "--log-format", "json"]);
    let mut holder = Player::connect(&store, "p1");
    let (token, base) = holder.acquire(&CART);
    let change = Change {
        name: AttributeName::from_static("card"),
        value: Some(SECRET.as_bytes().to_vec().into()),
    };
    holder.say(ToStore::Commit {
        session: CART,
        token,
        base,
        delta: [change].into_iter().collect(),
    });
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
fn systemd_hears_when_it_is_ready_and_when_it_stops() {
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
fn too_few_open_files_are_said() {
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
    // Not shown before the first one.
    names.extend(["tenure_refusals_total", "tenure_faults_total"]);
    for name in names {
        assert!(
            book.contains(&format!("`{name}")),
            "{name} is not explained"
        );
    }
}

#[test]
fn help_and_errors_are_for_people() {
    let help = stdout(&tenure(&["--help"]));
    for command in ["serve", "ctl", "backup"] {
        assert!(help.contains(command), "{help}");
    }
    let output = tenure(&["ctl", "sttus"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("status"), "{}", stderr(&output));
}
