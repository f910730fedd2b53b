//! `tenure serve`: the reference store as a program of the operating system.
//!
//! | module | what it does |
//! |---|---|
//! | `settings` | every setting, once: flag, variable, key, help |
//! | `sources` | flags over environment over file over defaults |
//! | `run` | starts the store, tells whoever started it, stops it on signals |
//! | `surroundings` | logs, the limit of open files, the port file, systemd |
//! | `refusal` | why it did not start, and what to do next |

pub(crate) mod refusal;
mod run;
mod settings;
mod sources;
mod surroundings;
#[cfg(test)]
mod tests;

use anyhow::Result;
use clap::ValueEnum;
use settings::Told;
use std::io::Write;
use std::path::PathBuf;

const AFTER: &str = "\
A flag beats its environment variable, that beats the file, that beats the default. A setting `lease_ms` is --lease-ms,
TENURE_LEASE_MS, and `lease_ms` in the file; limits stand in the file's table [limits]. --print-config shows what holds.

SIGTERM or SIGINT: everything that is held is recalled, waited for as long as --stop-ms, and made durable. Once more: at once;
what was acknowledged is kept.

Exit codes: 0 stopped as it was told to, 1 the engine failed while it ran (or a bug), 2 it did not start, and says why.";

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
    told: Told,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Serve {
    /// `Ok(false)`: the engine failed.
    pub(crate) fn run(&self) -> Result<bool> {
        let config = sources::effective(self.config.as_deref(), &self.told)?;
        let filter = surroundings::filter(&self.log)?;
        let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let strays = sources::strays(variables);
        if self.print_config || self.check_config {
            for stray in strays {
                eprintln!("tenure: {stray}");
            }
            let mut out = std::io::stdout().lock();
            if self.print_config {
                out.write_all(sources::print(&config).as_bytes())?;
            } else {
                writeln!(out, "ok")?;
            }
            return Ok(true);
        }
        surroundings::log(filter, self.log_format);
        for stray in strays {
            tracing::warn!("{stray}");
        }
        run::run(config, self.port_file.as_deref())
    }
}
