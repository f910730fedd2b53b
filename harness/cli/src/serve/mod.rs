//! `tenure serve`: the reference store as a program of the operating system.
//!
//! | module | purpose |
//! |---|---|
//! | `settings` | the table of all settings: flag, variable, key, help |
//! | `sources` | the precedence: flags over environment over file over defaults |
//! | `run` | starts the store, reports that it is ready, and stops it on signals |
//! | `log` | a log that never blocks the store |
//! | `surroundings` | logging, the limit of open files, the port file, systemd |
//! | `refusal` | the text and exit code of a failed start, with the next step |

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

/// The time limit for writing the last log lines when the store ends.
const LAST_LINES: Duration = Duration::from_secs(2);

const AFTER: &str = "\
A flag overrides its environment variable, which overrides the file, which overrides the default. The setting
`lease_ms` is --lease-ms, TENURE_LEASE_MS, and `lease_ms` in the file. In the file, limits are in the table
[limits]. --print-config prints the effective settings.

SIGTERM or SIGINT stops the store, as --stop says. With `keep`, grants stay, because the next start knows their
holders. With `drain`, the store recalls all grants and waits for them, at most --stop-ms. A second signal stops the
store at once; all acknowledged writes are kept. SIGHUP, SIGUSR1 and SIGUSR2 are ignored.

Exit codes: 0 stopped on request; 1 the storage engine failed while running, or a bug; 2 the store cannot run until
a person changes something (settings, the folder, a permission), and the message says what; 75 the store cannot run
now, but may run later (no room on the disk, an address in use, a folder that another store has open).";

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
    /// Print the effective settings as a TOML file, and exit.
    #[arg(long, conflicts_with = "check_config")]
    print_config: bool,
    /// Check the settings and exit. Does not touch the data.
    #[arg(long)]
    check_config: bool,
    /// Log these events on standard error: a level (error, warn, info, debug, trace, off), or several by target, such
    /// as warn,tenure_store=debug.
    #[arg(
        long,
        value_name = "FILTER",
        env = "TENURE_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
    log: String,
    /// Write the log in this format.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "TENURE_LOG_FORMAT",
        hide_env_values = true,
        default_value = "text"
    )]
    log_format: LogFormat,
    /// Write the store's addresses to this file as JSON when the store is ready: {"listen", "admin", "pid", "epoch"}.
    /// The file is removed at the start and after a stop.
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

    /// Returns the effective settings, the log filter, and warnings about variables that look misspelled.
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
