//! A holder is stopped past its lease and goes on: it must find out, and do no harm; who got the session meanwhile must not
//! notice.

use crate::program::{PATIENCE, Program};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tenure::{Guard, Process, ProcessSettings};

/// The session, and the attribute in it.
const SESSION: &str = "stopped";
const ATTRIBUTE: &str = "n";

/// What the process found that was stopped. Each is the error's words, or `None` where there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Of `Guard::check`.
    pub check: Option<String>,
    /// Of `Guard::set`.
    pub set: Option<String>,
    /// Of `Guard::commit`.
    pub commit: Option<String>,
    /// Of `Guard::unlock`.
    pub unlock: Option<String>,
    /// What it reads when it has the lock again.
    pub then: String,
}

impl Found {
    /// Whether it found out at every step, and reads what the new holder wrote.
    #[must_use]
    pub fn holds(&self) -> bool {
        let said = [&self.check, &self.set, &self.commit, &self.unlock];
        said.iter()
            .all(|words| words.as_ref().is_some_and(|words| words.contains("lease")))
            && self.then == "new"
    }
}

/// Takes a lock, says so, waits for a line on standard input, and tells as JSON what it finds then.
///
/// # Errors
/// When there is no store, or it cannot get the lock.
pub fn hold(address: &str) -> Result<()> {
    let process = connect(address, "stopped")?;
    let session = process.session(SESSION)?;
    let mut guard = session.lock(ATTRIBUTE).timeout(PATIENCE).blocking()?;
    guard.set("stale")?;
    writeln!(std::io::stdout(), "holding")?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    let words = |result: Result<(), tenure::Error>| result.err().map(|error| error.to_string());
    let check = words(guard.check());
    let set = words(guard.set("staler"));
    let commit = words(guard.commit().blocking().map(drop));
    let unlock = words(guard.unlock());
    let guard = session.lock(ATTRIBUTE).timeout(PATIENCE).blocking()?;
    let then = value(&guard);
    guard.unlock()?;
    process.shutdown_blocking()?;
    let found = Found {
        check,
        set,
        commit,
        unlock,
        then,
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&found)?)?;
    Ok(())
}

fn value(guard: &Guard<'_>) -> String {
    String::from_utf8_lossy(guard.bytes().unwrap_or_default()).into_owned()
}

fn connect(address: &str, name: &str) -> Result<Process> {
    let settings = ProcessSettings {
        keep_alive_ms: 300,
        margin_ms: 200,
        ..ProcessSettings::default()
    };
    Ok(Process::builder(address)
        .name(name)
        .settings(settings)
        .connect_timeout(Duration::from_millis(30_000))
        .connect_blocking()?)
}

/// Plays it: `holder` is the program that runs [`hold`], to which the store's address is added.
///
/// # Errors
/// When something could not be started, or the new holder noticed anything.
pub fn play(store: &Program, holder: &Program, folder: &Path) -> Result<Found> {
    let mut store = store.serve(folder)?;
    let mut child = holder
        .command()
        .arg(store.address().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the holder")?;
    let mut output = BufReader::new(child.stdout.take().context("it has an output")?).lines();
    let mut next = || {
        output
            .next()
            .context("the holder has ended")?
            .context("the holder cannot be heard")
    };
    ensure!(next()? == "holding", "the holder says something else");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;

    let process = connect(&store.address().to_string(), "other")?;
    let session = process.session(SESSION)?;
    let mut guard = session.lock(ATTRIBUTE).timeout(PATIENCE).blocking()?;
    ensure!(
        value(&guard).is_empty(),
        "what the holder had not made durable is there"
    );
    guard.set("new")?;
    guard.commit().blocking()?;

    rustix::process::kill_process(pid, rustix::process::Signal::CONT)?;
    let mut input = child.stdin.take().context("it has an input")?;
    writeln!(input, "go on")?;
    guard.check().context("the new holder noticed")?;
    guard.set("new")?;
    guard
        .commit()
        .blocking()
        .context("the new holder noticed")?;
    guard.unlock().context("the new holder noticed")?;
    let found = serde_json::from_str(&next()?)?;
    let status = child.wait()?;
    ensure!(status.success(), "the holder did not end well ({status})");
    process.shutdown_blocking()?;
    store.stop()?;
    Ok(found)
}
