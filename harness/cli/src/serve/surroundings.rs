//! The environment of a store: logging, the limit of open files, the port file, and systemd.

use super::LogFormat;
use super::log::Log;
use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Open files needed beside connections: segments of the log, listeners, and files of the runtime.
const OTHER_FILES: u64 = 256;

/// Parses a log filter. A single word must be a level: as a target, it would most likely be a misspelled level.
pub(crate) fn filter(text: &str) -> Result<Targets> {
    let wrong = |part: &str| {
        anyhow!(
            "cannot use the log filter '{part}' (--log, TENURE_LOG): write a level (error, warn, info, debug, \
             trace, off) or target=level"
        )
    };
    for part in text.split(',').map(str::trim) {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if level.parse::<LevelFilter>().is_err() || level.is_empty() {
            return Err(wrong(part));
        }
    }
    text.parse().map_err(|_| wrong(text))
}

/// Sends log events and panic messages to `log` from now on.
pub(crate) fn log(filter: Targets, format: LogFormat, log: &Log) {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(log.clone())
        .with_ansi(io::stderr().is_terminal() && !is_plain)
        // A failed write to the log must not end the store.
        .log_internal_errors(false);
    let layer = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
    std::panic::set_hook(Box::new(log_panic));
}

/// Logs a panic. The default hook writes to standard error itself. With a blocked standard error, it would block the
/// panicking thread, and the store could not end.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => format!("\n{backtrace}"),
        _ => String::new(),
    };
    tracing::error!(
        thread = thread.name().unwrap_or("unnamed"),
        place = place.unwrap_or_default(),
        "a thread panicked, which is a bug in Tenure: {}{backtrace}",
        panic.payload_as_str().unwrap_or("no message")
    );
}

/// Raises the soft limit of open files to the hard limit, and logs a warning if that is not enough.
pub(crate) fn raise_open_files(connections_max: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the soft limit of open files");
            limit.current
        }
    };
    let files = files.unwrap_or(u64::MAX);
    if (connections_max as u64).saturating_add(OTHER_FILES) > files {
        tracing::warn!(
            open_files_max = files,
            connections_max,
            "too few open files for the allowed connections: raise the hard limit (ulimit -Hn, LimitNOFILE=) or \
             lower limits.connections_max"
        );
    }
}

/// The port file of a running store. Dropping this value removes the file.
#[derive(Debug)]
pub(crate) struct PortFile(PathBuf);

impl PortFile {
    /// Removes an old port file. There is none until `write` is called.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("--port-file: cannot remove {}", path.display()))
            }
            _ => Ok(Self(path.to_owned())),
        }
    }

    /// Writes the file atomically.
    pub(crate) fn write(&self, listen: SocketAddr, admin: SocketAddr, epoch: u64) -> Result<()> {
        let pid = std::process::id();
        let text =
            serde_json::json!({"listen": listen, "admin": admin, "pid": pid, "epoch": epoch});
        let mut name = self.0.as_os_str().to_owned();
        name.push(format!(".{pid}"));
        let draft = PathBuf::from(name);
        let written = fs::write(&draft, format!("{text}\n"));
        written
            .and_then(|()| fs::rename(&draft, &self.0))
            .with_context(|| format!("--port-file: cannot write {}", self.0.display()))
    }
}

impl Drop for PortFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Notifies systemd, if systemd started this process with `Type=notify`.
pub(crate) fn notify(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&name, state) {
        tracing::warn!(%error, state, "cannot notify systemd through NOTIFY_SOCKET");
    }
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    // Non-blocking, so that a service manager that does not read cannot stop the store.
    const PATIENCE: Duration = Duration::from_secs(1);
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(state.as_bytes(), &address(name.as_bytes())?)?;
    Ok(())
}

fn address(name: &[u8]) -> io::Result<UnixAddress> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        return UnixAddress::from_abstract_name(name);
    }
    UnixAddress::from_pathname(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_filter_is_a_level_or_targets_with_levels() {
        for right in ["info", "warn,tenure_store=debug", "off", "TRACE"] {
            assert!(filter(right).is_ok(), "{right}");
        }
        for wrong in ["inof", "", "tenure_store", "tenure_store=lots", "info,"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn systemd_is_notified_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let abstract_name = format!("@tenure-test-{}", std::process::id());
        let names = [path.as_os_str(), OsStr::new(&abstract_name)];
        for name in &names[..if cfg!(target_os = "linux") { 2 } else { 1 }] {
            let address = address(name.as_bytes()).expect("an address");
            let socket = UnixDatagram::bind_addr(&address).expect("bound");
            send(name, "READY=1").expect("sent");
            let mut said = [0; 16];
            let length = socket.recv(&mut said).expect("received");
            assert_eq!(&said[..length], b"READY=1");
        }
    }

    #[test]
    fn a_service_manager_that_does_not_read_blocks_no_notification() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let _socket = UnixDatagram::bind(&path).expect("bound");
        // The system queues a limited number of messages for a reader.
        const MESSAGES_MAX: usize = 100_000;
        let refused = (0..MESSAGES_MAX).find_map(|_| send(path.as_os_str(), "READY=1").err());
        assert_eq!(
            refused.map(|error| error.kind()),
            Some(io::ErrorKind::WouldBlock)
        );
    }

    #[test]
    fn the_port_file_exists_only_while_the_store_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ports");
        fs::write(&path, "old").expect("written");
        let file = PortFile::new(&path).expect("the old one can go");
        assert!(!path.exists());
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        file.write(address, address, 3).expect("written");
        let text = fs::read_to_string(&path).expect("there");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (&json["listen"], &json["epoch"]),
            (&"127.0.0.1:1".into(), &3.into())
        );
        drop(file);
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
    }
}
