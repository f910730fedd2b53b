//! From a configuration to a store that runs, and to its end.

use super::log::Log;
use super::refusal::{Refusal, advice, refusal};
use super::surroundings::{self, PortFile};
use anyhow::{Context, Result};
use std::path::Path;
use std::pin::pin;
use tenure_engine::EngineError;
use tenure_store::{Config, Durability, OnStop, Server, Stop, StoreError};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs a store until a signal or the admin listener stops it.
pub(crate) fn run(config: Config, port_file: Option<&Path>, log: &Log) -> Result<(), Refusal> {
    let port_file = port_file.map(PortFile::new).transpose()?;
    surroundings::raise_open_files(config.limits.connections_max);
    let runtime = Runtime::new().context("cannot start threads")?;
    let ended = runtime.block_on(serve(config, port_file, log));
    // A store that still reads its folder is not waited for: it has promised nothing yet.
    runtime.shutdown_background();
    ended
}

/// The signals that a store listens to. The default of every one of them would end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user_1: Signal,
    user_2: Signal,
    /// Only so that a write beyond the limit of a file's size fails, and does not end the process.
    _file_size: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            user_1: listen(SignalKind::user_defined1())?,
            user_2: listen(SignalKind::user_defined2())?,
            _file_size: listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Waits for a signal that ends a store, and returns its name.
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
                "ignored: there is nothing to reload. Settings are read at a start; SIGTERM stops the store"
            );
        }
    }
}

async fn serve(config: Config, port_file: Option<PortFile>, log: &Log) -> Result<(), Refusal> {
    let mut signals = Signals::new()?;
    let told = config.clone();
    let runtime = Handle::current();
    tracing::info!(data = %config.data.display(), "reading the folder");
    // Reading the folder blocks, and signals are heard meanwhile.
    let starting = tokio::task::spawn_blocking(move || runtime.block_on(Server::start(config)));
    let started = tokio::select! {
        started = starting => started.map_err(|_| StoreError::Panicked),
        signal = signals.next() => {
            tracing::info!(signal, "stopped while it started");
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
            // Each restart would take the folder over from the other store, which does the same.
            StoreError::Engine(error) if matches!(**error, EngineError::Fenced { .. }) => {
                Refusal::LASTS
            }
            _ => Refusal::FAILED,
        },
    })?;
    tracing::info!("stopped");
    Ok(())
}

/// Says that the store is ready to whoever may want to know.
fn announce(server: &Server, told: &Config, port_file: Option<&PortFile>) -> Result<()> {
    let listen = server.address().context("cannot ask for the address")?;
    let admin = server
        .admin_address()
        .context("cannot ask for the admin address")?;
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
            "not on loopback, and nobody is asked who they are: whoever can connect can read and change every session"
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

/// Runs the store: the first signal stops it as the setting `stop` says, the second at once.
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
                tracing::info!(signal, "told to stop{}", if how == Stop::Fast { " at once" } else { "" });
                surroundings::notify("STOPPING=1");
                stopper.stop(how);
                how = Stop::Fast;
            }
        }
    }
}
