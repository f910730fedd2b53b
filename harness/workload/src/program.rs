//! Programs as OS processes.

use anyhow::{Context, Result, anyhow, ensure};
use std::ffi::OsString;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// How long nothing may be acknowledged: longer than a lease and a recall's deadline.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a store says which ports it has.
const PORTS: &str = "ports.json";

/// A program and its first arguments.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// What it is told first.
    pub arguments: Vec<OsString>,
}

/// A store as an OS process, on an address of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct Served {
    child: Child,
    program: Program,
    address: SocketAddr,
    folder: PathBuf,
}

impl Program {
    /// The program with these arguments.
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

    /// Starts it as a store, with its data and its log in `folder`: `--listen`, `--admin`, `--data`
    /// and `--port-file` are added.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn serve(&self, folder: &Path) -> Result<Served> {
        // Free now, and the store's own from then on.
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
    /// Where it listens, or will soon.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers its operator. It changes when it is started again.
    ///
    /// # Errors
    /// When it is not ready.
    pub fn admin(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.folder.join(PORTS)).context("not ready")?;
        let ports: serde_json::Value = serde_json::from_str(&text)?;
        let admin = ports["admin"].as_str();
        admin.map(str::to_owned).context("it has no admin address")
    }

    /// Stops it as a debugger does, until [`Served::resume`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal(rustix::process::Signal::CONT)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills it with SIGKILL and starts it again, on the same address and data.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = self.program.start(self.address, &self.folder)?;
        Ok(())
    }

    /// Stops it with SIGTERM.
    ///
    /// # Errors
    /// When it does not stop well.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(rustix::process::Signal::TERM)?;
        let status = wait(&mut self.child, "the store")?;
        ensure!(status.success(), "the store did not stop well ({status})");
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already, unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a process to end, which it was told to.
pub(crate) fn wait(child: &mut Child, who: &str) -> Result<ExitStatus> {
    let (tell, told) = channel();
    let pid = rustix::process::Pid::from_child(child);
    let watch = std::thread::spawn(move || {
        if told.recv_timeout(PATIENCE).is_err() {
            // Whoever waits for it below goes on then, and finds that it was killed.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    let status = child
        .wait()
        .with_context(|| format!("{who} cannot be waited for"))?;
    let _ = tell.send(());
    watch.join().map_err(|_| anyhow!("the watch panicked"))?;
    Ok(status)
}
