//! Runs a store from its configuration to its end.

use super::log::Log;
use super::refusal::{Refusal, advice, refusal};
use super::surroundings::{self, PortFile};
use anyhow::{Context, Result};
use std::path::Path;
use std::pin::pin;
use tenure_engine::EngineError;
use tenure_store::{Config, Durability, OnStop, Server, Stop, StoreError};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs a store until a signal or a request to the admin listener stops it.
pub(crate) fn run(config: Config, port_file: Option<&Path>, log: &Log) -> Result<(), Refusal> {
    let port_file = port_file.map(PortFile::new).transpose()?;
    surroundings::raise_open_files(config.limits.connections_max);
    // One loop: the tasks that read, take the steps, commit and write run on one thread, without a wake-up in between.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime of the store")?;
    let ended = runtime.block_on(serve(config, port_file, log));
    // A store that is still reading its folder is not waited for: it has acknowledged nothing yet.
    runtime.shutdown_background();
    ended
}

/// The signals that a store handles. By default, each of them would end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user_1: Signal,
    user_2: Signal,
    /// Handled only so that a write beyond the file size limit fails with an error, and does not end the process.
    _file_size: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot install a signal handler");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            user_1: listen(SignalKind::user_defined1())?,
            user_2: listen(SignalKind::user_defined2())?,
            _file_size: listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Waits for a signal that stops a store, and returns its name.
    async fn next(&mut self) -> &'static str {
        loop {
            let ignored = tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => "SIGHUP",
                _ = self.user_1.recv() => "SIGUSR1",
                _ = self.user_2.recv() => "SIGUSR2",
            };
            tracing::info!(
                signal = ignored,
                "signal ignored: the store reads its settings only at the start; SIGTERM stops the store"
            );
        }
    }
}

async fn serve(config: Config, port_file: Option<PortFile>, log: &Log) -> Result<(), Refusal> {
    let mut signals = Signals::new()?;
    let told = config.clone();
    let runtime = Handle::current();
    tracing::info!(data = %config.data.display(), "reading the folder");
    // Reading the folder blocks, so it runs on another thread, and signals are handled meanwhile.
    let starting = tokio::task::spawn_blocking(move || runtime.block_on(Server::start(config)));
    let started = tokio::select! {
        started = starting => started.map_err(|_| StoreError::Panicked),
        signal = signals.next() => {
            tracing::info!(signal, "stopped during the start, before the store was ready");
            return Ok(());
        }
    };
    let server = started.flatten().map_err(|error| refusal(&error, &told))?;
    let dropped = server.dropped_lines();
    log.on_drop(move |lines| dropped.add(lines));
    announce(&server, &told, port_file.as_ref())?;
    let ended = until_stopped(server, told.stop, &mut signals).await;
    drop(port_file);
    ended.map_err(|error| Refusal {
        text: format!("{error}{}", advice(&error, &told)),
        code: match &error {
            // Each restart would take the folder over from the other store, and the other store would do
            // the same.
            StoreError::Engine(error) if matches!(**error, EngineError::Fenced { .. }) => {
                Refusal::LASTS
            }
            _ => Refusal::FAILED,
        },
    })?;
    tracing::info!("stopped");
    Ok(())
}

/// Reports that the store is ready: in the log, in the port file and to systemd.
fn announce(server: &Server, told: &Config, port_file: Option<&PortFile>) -> Result<()> {
    let listen = server
        .address()
        .context("cannot read the address of the listener")?;
    let admin = server
        .admin_address()
        .context("cannot read the address of the admin listener")?;
    let found = server.recovered();
    let durability = match told.durability {
        Durability::Durable => "durable",
        Durability::Buffered => "buffered",
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %listen,
        %admin,
        data = %told.data.display(),
        durability,
        epoch = found.epoch,
        sessions = found.sessions,
        held = found.held,
        "ready"
    );
    if !listen.ip().is_loopback() {
        tracing::warn!(
            %listen,
            "the listener is not on loopback, and connections are not authenticated: any program that can connect \
             can read and change every session"
        );
    }
    if !admin.ip().is_loopback() {
        tracing::warn!(
            %admin,
            "the admin listener is not on loopback: any program that can connect can recall sessions and stop the store"
        );
    }
    if let Some(file) = port_file {
        file.write(listen, admin, found.epoch)?;
    }
    surroundings::notify("READY=1");
    Ok(())
}

/// Runs the store. The first signal stops it as the setting `stop` says, and the second signal stops it at once.
async fn until_stopped(
    server: Server,
    on_stop: OnStop,
    signals: &mut Signals,
) -> Result<(), StoreError> {
    let stopper = server.stopper();
    let mut running = pin!(server.run());
    let mut how = match on_stop {
        OnStop::Keep => Stop::Keep,
        OnStop::Drain => Stop::Drain,
    };
    loop {
        tokio::select! {
            ended = &mut running => return ended,
            signal = signals.next() => {
                tracing::info!(signal, "stopping on a signal{}", if how == Stop::Fast { " at once" } else { "" });
                surroundings::notify("STOPPING=1");
                stopper.stop(how);
                how = Stop::Fast;
            }
        }
    }
}
