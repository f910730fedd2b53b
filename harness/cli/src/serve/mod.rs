//! `tenure serve`: the reference store as a program of the operating system.
//!
//! | module | what it does |
//! |---|---|
//! | `settings` | every setting, once: flag, variable, key, help |
//! | `sources` | flags over environment over file over defaults |
//! | `run` | starts the store, tells whoever started it, stops it on signals |
//! | `log` | a log that never blocks the store |
//! | `surroundings` | logs, the limit of open files, the port file, systemd |
//! | `refusal` | why it did not start, and what to do next |

mod log;
pub(crate) mod refusal;
mod run;
mod settings;
mod sources;
mod surroundings;
#[cfg(test)]
mod tests;

use anyhow::Result;
use clap::ValueEnum;
use log::Log;
use refusal::Refusal;
use settings::GivenSettings;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tenure_store::Config;
use tracing_subscriber::filter::Targets;

/// How long a store that ends waits for a reader of its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

const AFTER: &str = "\
A flag beats its environment variable, that beats the file, that beats the default. A setting `lease_ms` is --lease-ms,
TENURE_LEASE_MS, and `lease_ms` in the file; limits stand in the file's table [limits]. --print-config shows what holds.

SIGTERM or SIGINT stops the store, as --stop says. `keep`: grants stay, since the next start knows their holders. `drain`:
everything that is held is recalled, and waited for as long as --stop-ms. A second signal: at once; what was acknowledged is
kept. SIGHUP, SIGUSR1 and SIGUSR2 are ignored.

Exit codes: 0 stopped on request; 1 the engine failed while it ran, or a bug; 2 it cannot run as things are (settings,
the folder, a permission), and says why; 75 it cannot run now, and may later (no room on the disk, an address in use, a folder
that another store has open).";

/// Run the store.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Serve {
    /// Read settings from this TOML file.
    #[arg(
        long,
        value_name = "FILE",
        env = "TENURE_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// Print the settings that hold, as a file, and end.
    #[arg(long, conflicts_with = "check_config")]
    print_config: bool,
    /// Say whether the settings can be so, and end. Touches no data.
    #[arg(long)]
    check_config: bool,
    /// What is logged on standard error: a level (error, warn, info, debug, trace, off), or several by target, such as
    /// warn,tenure_store=debug.
    #[arg(
        long,
        value_name = "FILTER",
        env = "TENURE_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
    log: String,
    /// How it is logged.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "TENURE_LOG_FORMAT",
        hide_env_values = true,
        default_value = "text"
    )]
    log_format: LogFormat,
    /// When the store is ready, write its addresses into this file, as JSON: {"listen", "admin", "pid", "epoch"}. It is
    /// removed first, and after a stop.
    #[arg(
        long,
        value_name = "FILE",
        env = "TENURE_PORT_FILE",
        hide_env_values = true
    )]
    port_file: Option<PathBuf>,
    #[command(flatten)]
    given: GivenSettings,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Serve {
    pub(crate) fn run(&self) -> ExitCode {
        if self.print_config || self.check_config {
            return crate::ended(self.show().map(|()| ExitCode::SUCCESS));
        }
        let log = match Log::start() {
            Ok(log) => log,
            Err(error) => {
                eprintln!("tenure: cannot start a thread: {error}");
                return ExitCode::from(Refusal::PASSES);
            }
        };
        let ended = self.serve(&log);
        if let Err(refusal) = &ended {
            log.push(format!("tenure: {}\n", refusal.text).as_bytes());
        }
        log.flush(LAST_LINES);
        ended.map_or_else(
            |refusal| ExitCode::from(refusal.code),
            |()| ExitCode::SUCCESS,
        )
    }

    /// The settings that hold, what is logged, and the variables that look mistyped.
    fn settled(&self) -> Result<(Config, Targets, Vec<String>)> {
        let config = sources::effective(self.config.as_deref(), &self.given)?;
        let filter = surroundings::filter(&self.log)?;
        let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        Ok((config, filter, sources::strays(variables)))
    }

    fn show(&self) -> Result<()> {
        let (config, _, strays) = self.settled()?;
        for stray in strays {
            eprintln!("tenure: {stray}");
        }
        let mut out = std::io::stdout().lock();
        if self.print_config {
            out.write_all(sources::print(&config).as_bytes())?;
        } else {
            writeln!(out, "ok")?;
        }
        Ok(())
    }

    fn serve(&self, log: &Log) -> Result<(), Refusal> {
        let (config, filter, strays) = self.settled()?;
        surroundings::log(filter, self.log_format, log);
        for stray in strays {
            tracing::warn!("{stray}");
        }
        run::run(config, self.port_file.as_deref(), log)
    }
}
