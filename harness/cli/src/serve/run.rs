//! From a configuration to a store that runs, and to its end.

use super::refusal::{advice, refusal};
use super::surroundings::{self, PortFile};
use crate::progress::Line;
use anyhow::{Context, Result};
use std::path::Path;
use std::pin::pin;
use tenure_store::{Config, Durability, Server, Stop, StoreError};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs a store until it is told to stop. `false`: the engine failed.
pub(crate) fn run(config: Config, port_file: Option<&Path>) -> Result<bool> {
    let port_file = port_file.map(PortFile::new).transpose()?;
    surroundings::raise_open_files(config.limits.connections_max);
    let runtime = Runtime::new().context("cannot start threads")?;
    let ended = runtime.block_on(serve(config, port_file));
    // A store that still reads its folder is not waited for: it has promised nothing yet.
    runtime.shutdown_background();
    ended
}

/// The signals that end a store.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

async fn serve(config: Config, port_file: Option<PortFile>) -> Result<bool> {
    let mut signals = Signals::new()?;
    let told = config.clone();
    let runtime = Handle::current();
    // Reading the folder blocks, and signals are heard meanwhile.
    let starting = tokio::task::spawn_blocking(move || {
        let _line = Line::spinning(&format!("reading {}", config.data.display()));
        runtime.block_on(Server::start(config))
    });
    let started = tokio::select! {
        started = starting => started.context("the start panicked, which is a bug in Tenure")?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped while it started");
            return Ok(true);
        }
    };
    let server = started.map_err(|error| refusal(error, &told))?;
    announce(&server, &told, port_file.as_ref())?;
    let ended = until_stopped(server, &mut signals).await;
    drop(port_file);
    match ended {
        Ok(()) => {
            tracing::info!("stopped");
            Ok(true)
        }
        Err(error) => {
            eprintln!("tenure: {error}{}", advice(&error, &told));
            Ok(false)
        }
    }
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
            "the admin listener is not on loopback: whoever can connect can see the names of sessions and recall them"
        );
    }
    if let Some(file) = port_file {
        file.write(listen, admin, found.epoch)?;
    }
    surroundings::notify("READY=1");
    Ok(())
}

/// Runs the store: the first signal stops it gracefully, the second at once.
async fn until_stopped(server: Server, signals: &mut Signals) -> Result<(), StoreError> {
    let stopper = server.stopper();
    let mut running = pin!(server.run());
    let mut how = Stop::Gracefully;
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
