//! Child processes that end with this one, also when it is killed.
//!
//! A child starts as this binary (`tenure bench become`). It chooses its user, its core and its death signal, and then
//! becomes the server. The kernel sends the death signal when the *thread* that started the child ends, so servers are
//! started by the main thread only.

use crate::host;
use anyhow::{Context, Error, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The time limit for an orderly stop.
const STOP: Duration = Duration::from_secs(5);

/// The processes and folders to remove when a signal ends this process. A drop removes them in all other cases.
static LEFT: Mutex<Left> = Mutex::new(Left {
    processes: Vec::new(),
    folders: Vec::new(),
});

struct Left {
    processes: Vec<(Pid, Signal)>,
    folders: Vec<PathBuf>,
}

fn left() -> MutexGuard<'static, Left> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program and its surroundings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// The only core of the program.
    pub(crate) core: Option<usize>,
    /// The user and group of the program, if other than this process's own.
    pub(crate) user: Option<(u32, u32)>,
    /// Whether the program removes shared memory when it receives SIGQUIT, as PostgreSQL does.
    pub(crate) quits: bool,
}

impl Launch {
    fn command(&self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "become", &serde_json::to_string(self)?]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TENURE_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null());
        Ok(command)
    }

    fn death_signal(&self) -> Signal {
        if self.quits {
            Signal::QUIT
        } else {
            Signal::KILL
        }
    }

    /// Runs the program to its end.
    pub(crate) fn output(&self) -> Result<Output> {
        let program = self.program.display();
        self.command()?
            .output()
            .with_context(|| format!("cannot run {program}"))
    }

    /// Starts the program. Its output goes to `log`.
    pub(crate) fn start(&self, log: &Path) -> Result<Program> {
        let output = File::create(log)
            .with_context(|| format!("cannot create the log {}", log.display()))?;
        let mut command = self.command()?;
        command.stdout(output.try_clone()?).stderr(output);
        let name = self.program.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        left()
            .processes
            .push((Pid::from_child(&child), self.death_signal()));
        Ok(Program {
            child,
            name,
            log: log.to_owned(),
            stop: self.death_signal(),
        })
    }
}

/// Becomes the program of a `Launch`, written as JSON. Returns only the error of a failure.
#[must_use]
pub fn become_program(launch: &str) -> Error {
    let launch: Launch = match serde_json::from_str(launch) {
        Ok(launch) => launch,
        Err(error) => return anyhow!("the launch is no valid JSON: {error}"),
    };
    if let Some((user, group)) = launch.user {
        // Changing the user clears the death signal, so the second stage sets it. This link works for a user who may
        // not enter the folder of this binary.
        let next = Launch {
            user: None,
            ..launch
        };
        let Ok(next) = serde_json::to_string(&next) else {
            return anyhow!("the launch cannot be written as JSON");
        };
        let mut command = Command::new("/proc/self/exe");
        command.args(["bench", "become", &next]);
        command.current_dir("/").uid(user).gid(group);
        return Error::new(command.exec()).context(format!("cannot become user {user}"));
    }
    if let Err(error) = launch.core.map_or(Ok(()), host::pin) {
        return error;
    }
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_parent_process_death_signal(Some(launch.death_signal()))
    {
        return Error::new(error).context("cannot set the death signal");
    }
    let error = Command::new(&launch.program).args(&launch.arguments).exec();
    Error::new(error).context(format!("cannot run {}", launch.program.display()))
}

/// A running program, which a drop stops.
pub(crate) struct Program {
    child: Child,
    name: String,
    log: PathBuf,
    stop: Signal,
}

impl Program {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns an error with the end of the log if the program has ended.
    pub(crate) fn runs(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rev().filter(|line| !line.trim().is_empty());
        let mut last: Vec<_> = last.take(4).collect();
        last.reverse();
        bail!("{} ended with {status}: {}", self.name, last.join(" | "))
    }

    /// Kills the program as a crash does, and waits until it is gone.
    pub(crate) fn crash(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        left().processes.retain(|(other, _)| *other != pid);
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = kill_process(pid, self.stop);
        let until = Instant::now() + STOP;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A temporary folder that all users may pass through.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let mut builder = tempfile::Builder::new();
        builder.prefix("tenure-bench-");
        builder.permissions(std::fs::Permissions::from_mode(0o711));
        let folder = builder
            .tempdir()
            .context("cannot create a temporary folder")?;
        left().folders.push(folder.path().to_owned());
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        left().folders.retain(|folder| folder != self.0.path());
    }
}

/// Stops all servers and removes their folders when SIGINT, SIGTERM or SIGHUP ends this process.
///
/// # Errors
/// An error if the system refuses a thread or a signal handler.
pub fn remove_on_signals() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    let waits = async move {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let ends = [
            Box::pin(interrupt.recv()) as std::pin::Pin<Box<dyn Future<Output = _> + Send>>,
            Box::pin(terminate.recv()),
            Box::pin(hangup.recv()),
        ];
        futures_util::future::select_all(ends).await;
        Ok::<_, std::io::Error>(())
    };
    let ends = move || {
        if runtime.block_on(waits).is_ok() {
            let left = left();
            for (pid, signal) in &left.processes {
                let _ = kill_process(*pid, *signal);
            }
            // The servers may still write: the folder is removed after they have ended.
            thread::sleep(Duration::from_millis(200));
            for folder in &left.folders {
                drop(std::fs::remove_dir_all(folder));
            }
            std::process::exit(130);
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(ends)?;
    Ok(())
}
