//! Tests with golden folders: folders that earlier versions have written and that every later version must read.
//!
//! `tests/golden/<name>` holds a store's folder as its version left it. The file `<name>.json` beside it holds the
//! records in the folder. Golden folders are never rewritten. For a new format, `NEW_GOLDEN=<name> cargo test -p
//! tenure-engine golden` writes [`history`] into a new folder. The command refuses a name that exists.

use super::{claimed, content, copy, open, segments, small};
use crate::{Engine, FORMAT, Settings};
use std::fs;
use std::path::{Path, PathBuf};
use tenure_protocol::attributes::Change;
use tenure_protocol::message::{AcquireRequest, Commit, Granted, Hello, Release, WaitMode};
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{
    AttributeName, Incarnation, Link, ProcessId, Record, Records, Request, SessionId, StoreMachine,
    StoreSettings, Time, ToProcess, ToStore, Token, Version,
};

/// The golden folders: name, format, and epoch of the last claim.
const GOLDEN: &[(&str, u32, u64)] = &[("1.0", 1, 2)];

/// A time far in the future, so that a store that starts on the folder ends no session.
const NOW: Time = Time(4_000_000_000_000);

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn records_of(name: &str) -> Vec<(SessionId, Record)> {
    let text = fs::read_to_string(path(&format!("{name}.json"))).expect("the records");
    serde_json::from_str(&text).expect("records as JSON")
}

/// A store's machine that writes to an engine.
struct Played {
    engine: crate::Embedded,
    machine: StoreMachine,
    records: Records,
    requests: u64,
    /// The token and version of the last grant.
    granted: (Token, Version),
}

impl Played {
    fn start(folder: &Path, records: Records) -> Self {
        let mut engine = open(folder, spacious());
        let epoch = engine.claim().expect("a claim");
        let settings = StoreSettings {
            time_to_live_ms: Some(1_800_000),
            ..StoreSettings::default()
        };
        let settings = tenure_protocol::Settings::new(settings);
        Self {
            engine,
            machine: StoreMachine::recover(settings, epoch, &records, NOW),
            records,
            requests: 0,
            granted: (Token::default(), Version::NONE),
        }
    }

    fn says(&mut self, process: &'static str, link: u64, message: ToStore) {
        let input = Input::Message {
            process: ProcessId::from_static(process),
            link: Link {
                incarnation: Incarnation(5),
                number: link,
            },
            message,
        };
        let mut out = Vec::new();
        self.machine.step(NOW, input, &mut out);
        for output in out {
            match output {
                Output::Persist(update) => {
                    self.records.apply(&update);
                    self.engine.commit(&[update]).expect("commits");
                }
                Output::Send { message, .. } => match message {
                    ToProcess::Granted(Granted { token, version, .. }) => {
                        self.granted = (token, version)
                    }
                    ToProcess::Committed { version, .. } => self.granted.1 = version,
                    ToProcess::Gone {
                        renamed: Some(renamed),
                        ..
                    } => self.granted.0 = renamed.token,
                    _ => {}
                },
                Output::Disconnect { .. } => panic!(
                    "the history violates the protocol: the machine closed a \
                connection"
                ),
            }
        }
    }

    fn hello(&mut self, process: &'static str, link: u64) {
        let hello = ToStore::Hello(Hello {
            minor: tenure_protocol::MINOR,
            incarnation: Incarnation(5),
            sent: NOW,
            holds: Vec::new(),
            waits: Vec::new(),
        });
        self.says(process, link, hello);
    }

    fn acquire(&mut self, process: &'static str, session: &'static str) {
        self.requests += 1;
        let acquire = AcquireRequest {
            session: SessionId::from_static(session),
            request: Request(self.requests),
            known: None,
            wait_mode: WaitMode::Wait,
            ticket: None,
            existing: false,
        };
        self.says(process, 1, ToStore::Acquire(acquire));
    }

    fn commit(&mut self, process: &'static str, session: &'static str, changes: &[Write]) {
        let (token, base) = self.granted;
        let commit = ToStore::Commit(Commit {
            session: SessionId::from_static(session),
            token,
            base,
            delta: changes.iter().map(change).collect(),
        });
        self.says(process, 1, commit);
    }

    fn release(&mut self, process: &'static str, session: &'static str, changes: &[Write]) {
        let (token, base) = self.granted;
        let release = ToStore::Release(Release {
            session: SessionId::from_static(session),
            token,
            base,
            delta: changes.iter().map(change).collect(),
            requeue: None,
            idle_ms: 0,
        });
        self.says(process, 1, release);
    }
}

type Write = (&'static str, Option<&'static [u8]>);

fn change((name, value): &Write) -> Change {
    Change {
        name: AttributeName::from_static(name),
        value: value.map(Into::into),
    }
}

/// Returns settings with several segments and with chains of deltas.
fn spacious() -> Settings {
    Settings {
        log_percent_max: 10_000,
        deltas_max: 16,
        ..small()
    }
}

/// Plays two runs of a store. Their sessions are free or held, written whole or by deltas, renamed, removed, or never
/// written.
fn history(folder: &Path) -> Records {
    let mut first = Played::start(folder, Records::default());
    first.hello("web-1", 1);
    first.hello("web-2", 1);
    first.acquire("web-1", "free");
    first.commit(
        "web-1",
        "free",
        &[("user", Some(b"ada")), ("cart", Some(b"1"))],
    );
    first.commit("web-1", "free", &[("cart", Some(b"2"))]);
    first.release("web-1", "free", &[("cart", None), ("lang", Some(b""))]);
    first.acquire("web-1", "held");
    first.commit("web-1", "held", &[("user", Some(&[0, 255, 128]))]);
    first.acquire("web-2", "held and never written");
    first.acquire("web-2", "before the log-in");
    first.commit("web-2", "before the log-in", &[("user", Some(b"bob"))]);
    let (session, token) = (SessionId::from_static("before the log-in"), first.granted.0);
    let to = SessionId::from_static("after the log-in");
    first.says("web-2", 1, ToStore::Rename { session, token, to });
    first.commit("web-2", "after the log-in", &[("role", Some(b"admin"))]);
    first.acquire("web-1", "destroyed");
    first.commit("web-1", "destroyed", &[("user", Some(b"eve"))]);
    let (session, token) = (SessionId::from_static("destroyed"), first.granted.0);
    first.says("web-1", 1, ToStore::Destroy { session, token });
    let records = first.records;
    drop(first.engine);

    let mut second = Played::start(folder, records);
    second.hello("web-3", 1);
    second.acquire("web-3", "free");
    second.commit("web-3", "free", &[("photo", Some(&[7; 300]))]);
    second.release("web-3", "free", &[("user", Some(b"grace"))]);
    second.acquire("web-3", "destroyed");
    second.release("web-3", "destroyed", &[("user", Some(b"created again"))]);
    second.records
}

#[test]
fn a_golden_folder_of_each_earlier_version_is_read_as_it_was_written() {
    for (name, format, epoch) in GOLDEN {
        let folder = copy(&path(name));
        let records = records_of(name);
        assert!(records.len() >= 5 && segments(folder.path()).len() >= 3);
        let text = fs::read_to_string(folder.path().join("format")).expect("a format");
        assert_eq!(text, format!("tenure-engine format {format}\n"));

        let mut engine = open(folder.path(), Settings::default());
        assert_eq!(content(&mut engine, 2), records, "{name}");
        assert_eq!(engine.claim().expect("a claim"), epoch + 1, "{name}");
        let session = SessionId::from_static("free");
        let remove = tenure_protocol::Update::Remove { session };
        engine.commit(&[remove]).expect("commits");
        drop(engine);

        let mut engine = claimed(folder.path(), Settings::default());
        let left = records
            .into_iter()
            .filter(|(id, _)| id.as_bytes() != b"free");
        assert_eq!(content(&mut engine, 2), left.collect::<Vec<_>>(), "{name}");
    }
}

/// This history is also the source of a golden folder.
#[test]
fn the_golden_history_is_readable_by_the_version_that_wrote_it() {
    let (_, format, _) = GOLDEN
        .last()
        .expect("the list of golden folders is not empty");
    assert_eq!(*format, FORMAT, "add a golden folder of format {FORMAT}");
    let scratch = super::scratch();
    let folder = scratch.path().join("store");
    let made = super::expected(&history(&folder));
    assert_eq!(content(&mut open(&folder, spacious()), 2), made);
    if let Some(new) = std::env::var_os("NEW_GOLDEN") {
        let name = new.to_str().expect("a name");
        assert!(
            !path(name).exists(),
            "{name} exists, and golden folders are never rewritten; choose another name"
        );
        let made = super::expected(&history(&path(name)));
        let json = serde_json::to_string_pretty(&made).expect("JSON");
        fs::write(path(&format!("{name}.json")), json + "\n").expect("written");
    }
}
