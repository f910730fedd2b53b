//! A scenario in which a holder is paused past its lease and resumed. The holder must notice the loss and do no harm,
//! and the new holder must notice nothing.

use crate::program::{PATIENCE, Program};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tenure::{Guard, Process, ProcessSettings};

/// The session, and its attribute.
const SESSION: &str = "stopped";
const ATTRIBUTE: &str = "n";

/// The observations of the paused process: error texts, or `None` where no error occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The error of `Guard::check`.
    pub check: Option<String>,
    /// The error of `Guard::set`.
    pub set: Option<String>,
    /// The error of `Guard::commit`.
    pub commit: Option<String>,
    /// The error of `Guard::unlock`.
    pub unlock: Option<String>,
    /// The value that the process reads after locking again.
    pub then: String,
}

impl Found {
    /// Returns whether every call reported the loss, and the process then reads the new holder's value.
    #[must_use]
    pub fn holds(&self) -> bool {
        let said = [&self.check, &self.set, &self.commit, &self.unlock];
        said.iter()
            .all(|words| words.as_ref().is_some_and(|words| words.contains("lease")))
            && self.then == "new"
    }
}

/// Acquires a lock, reports it, and waits for a line on standard input. Then prints the observations as JSON.
///
/// # Errors
/// An error if there is no store, or the lock cannot be acquired.
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

/// Plays the scenario. `holder` is the program that runs [`hold`], to which the store's address is appended.
///
/// # Errors
/// An error if a process cannot be started, or the new holder noticed the old one.
pub fn play(store: &Program, holder: &Program, folder: &Path) -> Result<Found> {
    let mut store = store.serve(folder)?;
    let mut child = holder
        .command()
        .arg(store.address().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the holder")?;
    let mut output = BufReader::new(
        child
            .stdout
            .take()
            .context("the holder has no standard output")?,
    )
    .lines();
    let mut next = || {
        output
            .next()
            .context("the holder has ended")?
            .context("cannot read the holder's output")
    };
    ensure!(
        next()? == "holding",
        "the holder's first line is not \"holding\""
    );
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;

    let process = connect(&store.address().to_string(), "other")?;
    let session = process.session(SESSION)?;
    let mut guard = session.lock(ATTRIBUTE).timeout(PATIENCE).blocking()?;
    ensure!(
        value(&guard).is_empty(),
        "a change that the old holder had not committed was found"
    );
    guard.set("new")?;
    guard.commit().blocking()?;

    rustix::process::kill_process(pid, rustix::process::Signal::CONT)?;
    let mut input = child
        .stdin
        .take()
        .context("the holder has no standard input")?;
    writeln!(input, "go on")?;
    guard
        .check()
        .context("the new holder noticed the old one")?;
    guard.set("new")?;
    guard
        .commit()
        .blocking()
        .context("the new holder noticed the old one")?;
    guard
        .unlock()
        .context("the new holder noticed the old one")?;
    let found = serde_json::from_str(&next()?)?;
    let status = child.wait()?;
    ensure!(
        status.success(),
        "the holder has ended with an error ({status})"
    );
    process.shutdown_blocking()?;
    store.stop()?;
    Ok(found)
}
