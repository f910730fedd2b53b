//! What durable handoffs cost, behind each engine that could be taken: `cargo bench -p tenure-benches --bench engine`.
//!
//! A handoff is two updates: a release with a small delta on a session of 2 KiB, and the head with the next holder.
//! `n` sessions at a time are handed off together, as a store does that gathers what came while it committed.
//!
//! | argument, after `--` | what it does |
//! |---|---|
//! | `--seconds N` | measures each cell for that long; 3 unless said |
//! | `--sessions N` | how many sessions the recovery has; 100,000 unless said, 0 for none |
//! | `--only NAME` | only this engine: `embedded`, `fjall`, `redb`, `floor` |
//! | `--damage` | instead: what each makes of flipped bytes and of a full disk (mounts a tmpfs: needs root) |

mod damage;
mod rivals;

use bytes::Bytes;
use rivals::{Fjall, Floor, Over, Redb};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};
use tenure_benches::{attribute, process, session, shuffled};
use tenure_engine::{Embedded, Engine, EngineError, Settings};
use tenure_protocol::attributes::{Change, Head, Holder};
use tenure_protocol::{Delta, Incarnation, Stamp, Token, Update, Version};

pub(crate) const NAMES: [&str; 4] = ["floor", "embedded", "fjall", "redb"];

pub(crate) fn open(name: &str, folder: &Path) -> Result<Box<dyn Engine>, EngineError> {
    Ok(match name {
        "embedded" => Box::new(Embedded::open(folder, Settings::default())?),
        "fjall" => Box::new(Over(Fjall::open(folder)?)),
        "redb" => Box::new(Over(Redb::open(folder)?)),
        _ => Box::new(Floor::open(folder)?),
    })
}

fn head(sequence: u64, is_held: bool) -> Head {
    let stamp = Stamp { epoch: 1, sequence };
    Head {
        version: Version(stamp),
        floor: Version(Stamp {
            epoch: 1,
            sequence: 1,
        }),
        holder: is_held.then(|| Holder {
            process: process(usize::try_from(sequence % 4).expect("small")),
            incarnation: Incarnation(1),
            token: Token(stamp),
            renamed: None,
        }),
        expires: None,
    }
}

/// A session of 2 KiB: four attributes of 496 bytes and one of 64. Random bytes: nobody's compression shall count.
pub(crate) fn whole(at: usize) -> Update {
    let change = |name: usize, bytes: usize| Change {
        name: attribute(name),
        value: Some(noise(at * 8 + name, bytes)),
    };
    Update::Put {
        session: session(at),
        head: head(1, false),
        delta: (1..5)
            .map(|name| change(name, 496))
            .chain([change(0, 64)])
            .collect(),
        is_whole: true,
    }
}

fn noise(seed: usize, bytes: usize) -> Bytes {
    let mut state = seed as u64 + 1;
    let mut noise = Vec::with_capacity(bytes);
    while noise.len() < bytes {
        state = state
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        noise.extend((state >> 32).to_le_bytes());
    }
    noise.truncate(bytes);
    noise.into()
}

pub(crate) fn handoff(at: usize, sequence: u64) -> [Update; 2] {
    let delta = [Change {
        name: attribute(0),
        value: Some(noise(at + usize::try_from(sequence).expect("small"), 64)),
    }];
    [
        Update::Put {
            session: session(at),
            head: head(sequence, false),
            delta: delta.into_iter().collect(),
            is_whole: false,
        },
        Update::Put {
            session: session(at),
            head: head(sequence, true),
            delta: Delta::default(),
            is_whole: false,
        },
    ]
}

fn fill(engine: &mut dyn Engine, sessions: usize) {
    for chunk in shuffled(sessions).chunks(1000) {
        let batch: Vec<Update> = chunk.iter().map(|at| whole(*at)).collect();
        engine.commit(&batch).expect("commits");
    }
}

/// What this process has made the system write, in bytes.
fn written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").expect("Linux");
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).expect("a number")
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn handoffs(name: &str, folder: &Path, concurrent: usize, span: Duration) {
    const SESSIONS: usize = 10_000;
    let mut engine = open(name, folder).expect("opens");
    engine.claim().expect("a claim");
    fill(&mut *engine, SESSIONS);
    let mut took = Vec::new();
    let (before, began) = (written(), Instant::now());
    let mut sequence = 2;
    while began.elapsed() < span {
        let first = took.len() * concurrent;
        let batch: Vec<Update> = (0..concurrent)
            .flat_map(|at| handoff((first + at) * 7919 % SESSIONS, sequence))
            .collect();
        let start = Instant::now();
        engine.commit(&batch).expect("commits");
        took.push(start.elapsed());
        sequence += 1;
    }
    let count = took.len() * concurrent;
    let seconds: f64 = took.iter().map(Duration::as_secs_f64).sum();
    took.sort_unstable();
    println!(
        "{name:>9} {concurrent:>5}  {:>9.0} handoffs/s  p50 {:>8.1?}  p99 {:>8.1?}  {:>6} bytes written each",
        count as f64 / seconds,
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        (written() - before) / count as u64,
    );
}

/// Fills a folder in one process, ends it without a stop, and opens the folder in another: from the system's memory,
/// then from the disk.
fn recovery(name: &str, folder: &Path, sessions: usize) {
    let me = env::current_exe().expect("this program");
    let run = |what: &str| {
        let run = Command::new(&me)
            .args([what, name, &sessions.to_string()])
            .arg(folder)
            .status();
        assert!(run.expect("starts").success());
    };
    run("--fill");
    run("--open");
    drop_cache(folder);
    run("--open");
}

/// Makes the system forget what it has of these files in memory.
fn drop_cache(folder: &Path) {
    for entry in fs::read_dir(folder)
        .expect("a folder")
        .filter_map(Result::ok)
    {
        if entry.path().is_dir() {
            drop_cache(&entry.path());
            continue;
        }
        let file = format!("if={}", entry.path().display());
        let _ = Command::new("dd")
            .args([&file, "iflag=nocache", "count=0", "status=none"])
            .status();
    }
}

fn fill_and_abort(name: &str, folder: &Path, sessions: usize) -> ! {
    let mut engine = open(name, folder).expect("opens");
    engine.claim().expect("a claim");
    let (before, began) = (written(), Instant::now());
    fill(&mut *engine, sessions);
    println!(
        "{name:>9} {sessions} sessions of 2 KiB  filled in {:.1?}  {} MB on disk  {} MB written",
        began.elapsed(),
        folder_bytes(folder) / 1_000_000,
        (written() - before) / 1_000_000,
    );
    // No destructor runs: as kill -9.
    std::process::exit(0);
}

fn timed_open(name: &str, folder: &Path, sessions: usize) {
    let began = Instant::now();
    let mut engine = open(name, folder).expect("opens");
    let opened = began.elapsed();
    let (mut count, mut after) = (0, None);
    loop {
        let page = engine.heads(after.as_ref(), 10_000).expect("heads");
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        count += page.len();
    }
    assert_eq!(count, sessions);
    let with_heads = began.elapsed();
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    println!(
        "{name:>9} open {opened:>8.2?}  with all heads {with_heads:>8.2?}  memory {}",
        memory.unwrap_or("?").trim()
    );
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|one| one != "--bench").collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|one| one == name)?;
        arguments.get(at + 1)
    };
    let number = |name: &str| value(name).and_then(|value| value.parse::<usize>().ok());
    if let [what, name, sessions, folder] = &arguments[..]
        && let Ok(sessions) = sessions.parse()
    {
        match what.as_str() {
            "--fill" => fill_and_abort(name, Path::new(folder), sessions),
            _ => return timed_open(name, Path::new(folder), sessions),
        }
    }
    let names = NAMES
        .into_iter()
        .filter(|name| value("--only").is_none_or(|only| only == name));
    // Beside the build's output: /tmp may be memory.
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    if arguments.iter().any(|one| one == "--damage") {
        names
            .filter(|name| *name != "floor")
            .for_each(|name| damage::report(name, root.path()));
        return;
    }
    let span = Duration::from_secs(number("--seconds").unwrap_or(3) as u64);
    for name in names.clone() {
        for concurrent in [1, 64, 1024] {
            let folder = root.path().join(format!("{name}-{concurrent}"));
            handoffs(name, &folder, concurrent, span);
            fs::remove_dir_all(&folder).expect("removed");
        }
    }
    let sessions = number("--sessions").unwrap_or(100_000);
    for name in names.filter(|name| *name != "floor" && sessions > 0) {
        let folder = root.path().join(name);
        recovery(name, &folder, sessions);
        fs::remove_dir_all(&folder).expect("removed");
    }
}
