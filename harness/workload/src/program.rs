//! Programs as OS processes.

use anyhow::{Context, Result, anyhow, ensure};
use std::ffi::OsString;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// The longest time without an acknowledged increment. It exceeds a lease and the deadline of a recall.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The file to which a store writes its ports.
const PORTS: &str = "ports.json";

/// A program and its first arguments.
#[derive(Clone, Debug)]
pub struct Program {
    /// The path of the program.
    pub path: PathBuf,
    /// The first arguments.
    pub arguments: Vec<OsString>,
}

/// A store as an OS process with its own address. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Served {
    child: Child,
    program: Program,
    address: SocketAddr,
    folder: PathBuf,
}

impl Program {
    /// Returns the program with these arguments.
    #[must_use]
    pub fn new(path: &Path, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(OsString::from).collect();
        Self {
            path: path.to_owned(),
            arguments,
        }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        command
    }

    /// Starts the program as a store with data and log in `folder`. The arguments `--listen`, `--admin`, `--data` and
    /// `--port-file` are appended.
    ///
    /// # Errors
    /// An error if the store cannot be started.
    pub fn serve(&self, folder: &Path) -> Result<Served> {
        // The port is free now, and the store binds it next.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Served {
            child: self.start(address, folder)?,
            program: self.clone(),
            address,
            folder: folder.to_owned(),
        })
    }

    fn start(&self, address: SocketAddr, folder: &Path) -> Result<Child> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("store.log"))?;
        let mut command = self.command();
        command
            .args([
                "--listen",
                &address.to_string(),
                "--admin",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(folder.join("data"))
            .arg("--port-file")
            .arg(folder.join(PORTS))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command.spawn().context("cannot start the store")
    }
}

impl Served {
    /// Returns the address on which the store listens, or will soon.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address of the admin listener, which changes with each restart.
    ///
    /// # Errors
    /// An error if the store has not written its ports yet.
    pub fn admin(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.folder.join(PORTS)).context("not ready")?;
        let ports: serde_json::Value = serde_json::from_str(&text)?;
        let admin = ports["admin"].as_str();
        admin
            .map(str::to_owned)
            .context("the store's port file contains no admin address")
    }

    /// Pauses the store as a debugger does, until [`Served::resume`].
    ///
    /// # Errors
    /// An error if the store has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Resumes the paused store.
    ///
    /// # Errors
    /// An error if the store has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal(rustix::process::Signal::CONT)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Returns the exit status if the store has ended.
    ///
    /// # Errors
    /// An error if the system cannot report the status.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills the store with SIGKILL, and restarts it on the same address and data.
    ///
    /// # Errors
    /// An error if the store cannot be restarted.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = self.program.start(self.address, &self.folder)?;
        Ok(())
    }

    /// Stops the store with SIGTERM.
    ///
    /// # Errors
    /// An error if the store ends with a failure.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(rustix::process::Signal::TERM)?;
        let status = wait(&mut self.child, "the store")?;
        ensure!(
            status.success(),
            "the store failed while it was stopping ({status}); see its log"
        );
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The store has already ended, unless an error occurred.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process that was requested to end.
pub(crate) fn wait(child: &mut Child, who: &str) -> Result<ExitStatus> {
    let (tell, told) = channel();
    let pid = rustix::process::Pid::from_child(child);
    let watch = std::thread::spawn(move || {
        if told.recv_timeout(PATIENCE).is_err() {
            // The wait below then returns, and finds that the process was killed.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for the end of {who}"))?;
    let _ = tell.send(());
    watch
        .join()
        .map_err(|_| anyhow!("the thread that kills a stuck process has panicked"))?;
    Ok(status)
}
