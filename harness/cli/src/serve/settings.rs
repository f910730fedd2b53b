//! The settings of a store, once. Flags, the environment, the file, `--print-config` and the book are made from this
//! table, and tests hold it to [`Config`] itself, so that none of them can drift.
//!
//! The rule: a setting `lease_ms` is the key `lease_ms` of the file, the flag `--lease-ms` and the variable
//! `TENURE_LEASE_MS`. Limits stand in the file's table `[limits]`; flag and variable leave that word out.

use clap::builder::NonEmptyStringValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Error};
use std::net::SocketAddr;
use std::sync::LazyLock;
use tenure_store::Config;
use toml::Value;

/// The largest number that is taken: more than anything needs, and the same in TOML and JSON.
pub(crate) const NUMBER_MAX: i64 = 1 << 53;

/// What a setting's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Address,
    Folder,
    Durability,
    OnStop,
    Number {
        unit: &'static str,
        max: i64,
    },
    /// Milliseconds, or `none`.
    Span,
    /// Host names, or `none`.
    Hosts,
}

const MS: Kind = Kind::Number {
    unit: "MS",
    max: NUMBER_MAX,
};
const BYTES: Kind = Kind::Number {
    unit: "BYTES",
    max: NUMBER_MAX,
};
const COUNT: Kind = Kind::Number {
    unit: "N",
    max: NUMBER_MAX,
};
const TURNS: Kind = Kind::Number {
    unit: "N",
    max: 255,
};

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The key in the file, with its table.
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
}

const fn setting(key: &'static str, kind: Kind, help: &'static str) -> Setting {
    Setting { key, kind, help }
}

/// All of them, in the order in which people see them; those of `[limits]` last.
#[rustfmt::skip] // a line each
pub(crate) const SETTINGS: &[Setting] = &[
    setting("listen", Kind::Address, "Where processes connect; nobody is asked who they are"),
    setting("admin", Kind::Address, "Where `tenure ctl`, health checks and metrics are answered"),
    setting("admin_hosts", Kind::Hosts, "Host names by which the admin listener is reached, with commas; addresses and localhost always are"),
    setting("data", Kind::Folder, "The folder of the data; one store at a time has it"),
    setting("durability", Kind::Durability, "`durable`: nothing acknowledged is ever lost; `buffered`: it survives kill -9, not a loss of power"),
    setting("lease_ms", MS, "How long the store waits for a process that is not heard of"),
    setting("remind_ms", MS, "After how long an unanswered recall is repeated"),
    setting("recall_ms", MS, "How long a recalled holder has before its grant is revoked"),
    setting("wait_ms", MS, "The longest wait for a grant"),
    setting("time_to_live_ms", Kind::Span, "How long an unused session lives; `none`: for ever"),
    setting("turns", TURNS, "After how many grants that each went to another process a grant says to give it back after use; 0: never"),
    setting("hello_ms", MS, "How long a new connection may take to say hello"),
    setting("stop", Kind::OnStop, "On SIGTERM or SIGINT: `keep`: grants stay, the next start knows their holders; `drain`: all are recalled"),
    setting("stop_ms", MS, "How long a stop waits for what it has recalled, and for a disk that does not answer"),
    setting("stall_ms", MS, "After how long a commit that waits for the disk makes `/readyz` answer 503"),
    setting("evict_ms", MS, "How long a free session stays in memory unused"),
    setting("limits.connections_max", COUNT, "Open connections; each is an open file"),
    setting("limits.processes_max", COUNT, "Processes that have a lease"),
    setting("limits.grants_max", COUNT, "Grants of one process"),
    setting("limits.waiters_max", COUNT, "Processes that wait for one session"),
    setting("limits.attributes_max", COUNT, "Attributes of one session"),
    setting("limits.attribute_bytes_max", BYTES, "Bytes of one attribute's value"),
    setting("limits.session_bytes_max", BYTES, "Bytes of all names and values of one session"),
    setting("limits.memory_sessions_max", COUNT, "Free sessions leave memory early while there are more than this"),
    setting("limits.outgoing_bytes_max", BYTES, "Bytes that wait to be read by one process; past it, it is disconnected"),
    setting("limits.backlog_bytes_max", BYTES, "Bytes that wait to become durable; past it, nothing more is read"),
];

/// What holds when nobody says otherwise, as a file would say it.
static DEFAULTS: LazyLock<toml::Table> = LazyLock::new(|| table(&Config::default()));

/// A configuration as a file would say it.
pub(crate) fn table(config: &Config) -> toml::Table {
    toml::Table::try_from(config).expect("a configuration within NUMBER_MAX is TOML")
}

impl Setting {
    /// Its name without its table.
    pub(crate) fn name(&self) -> &'static str {
        self.key.rsplit('.').next().unwrap_or(self.key)
    }

    /// The table of the file that it stands in.
    pub(crate) fn section(&self) -> Option<&'static str> {
        self.key.split_once('.').map(|(section, _)| section)
    }

    /// Its flag, with the dashes.
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.name().replace('_', "-"))
    }

    /// Its environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("TENURE_{}", self.name().to_uppercase())
    }

    /// What it is when nobody says otherwise, in words.
    pub(crate) fn default(&self) -> String {
        self.find(&DEFAULTS)
            .map_or_else(|| "none".to_owned(), words)
    }

    /// Its value in a table as of a whole file.
    pub(crate) fn find<'a>(&self, table: &'a toml::Table) -> Option<&'a Value> {
        match self.section() {
            Some(section) => table.get(section)?.as_table()?.get(self.name()),
            None => table.get(self.name()),
        }
    }

    /// Sets or, with `None`, removes its value.
    pub(crate) fn put(&self, table: &mut toml::Table, value: Option<Value>) {
        let table = match self.section() {
            Some(section) => table
                .entry(section)
                .or_insert_with(|| Value::Table(toml::Table::new()))
                .as_table_mut()
                .expect("checked when it was read"),
            None => table,
        };
        match value {
            Some(value) => drop(table.insert(self.name().to_owned(), value)),
            None => drop(table.remove(self.name())),
        }
    }

    /// Reads what a flag or a variable says. `None`: it is to have no value.
    pub(crate) fn read(&self, text: &str) -> Result<Option<Value>, String> {
        let value = match self.kind {
            Kind::Span | Kind::Hosts if text == "none" => return Ok(None),
            Kind::Number { .. } | Kind::Span => text
                .parse()
                .map_or_else(|_| Value::String(text.to_owned()), Value::Integer),
            _ => Value::String(text.to_owned()),
        };
        self.check(&value)?;
        Ok(Some(value))
    }

    /// Whether a value can be this setting's; else what it must be.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let text = value.as_str();
        let (is_right, must) = match self.kind {
            Kind::Address => (
                text.is_some_and(|text| text.parse::<SocketAddr>().is_ok()),
                "an address and a port, such as 127.0.0.1:7420".to_owned(),
            ),
            Kind::Folder => (
                text.is_some_and(|text| !text.is_empty()),
                "a folder".to_owned(),
            ),
            Kind::Durability => (
                matches!(text, Some("durable" | "buffered")),
                "durable or buffered".to_owned(),
            ),
            Kind::Hosts => (text.is_some(), "none or host names, with commas".to_owned()),
            Kind::OnStop => (
                matches!(text, Some("keep" | "drain")),
                "keep or drain".to_owned(),
            ),
            Kind::Number { max, .. } => (within(value, max), number(max)),
            Kind::Span => (
                within(value, NUMBER_MAX),
                format!("none or {}", number(NUMBER_MAX)),
            ),
        };
        if is_right {
            Ok(())
        } else {
            Err(format!("must be {must}, not {}", words(value)))
        }
    }

    fn placeholder(&self) -> &'static str {
        match self.kind {
            Kind::Address => "ADDRESS",
            Kind::Folder => "FOLDER",
            Kind::Durability => "LEVEL",
            Kind::OnStop => "HOW",
            Kind::Hosts => "NAMES",
            Kind::Number { unit, .. } => unit,
            Kind::Span => "MS",
        }
    }

    fn argument(&self) -> Arg {
        Arg::new(self.key)
            .long(self.flag().trim_start_matches('-').to_owned())
            .env(self.variable())
            .hide_env_values(true) // Help says the same everywhere.
            .value_name(self.placeholder())
            .help(format!("{} [default: {}]", self.help, self.default()))
            .help_heading(if self.section().is_some() {
                "Limits"
            } else {
                "Settings"
            })
            .value_parser(NonEmptyStringValueParser::new())
            .action(ArgAction::Set)
    }
}

fn within(value: &Value, max: i64) -> bool {
    value
        .as_integer()
        .is_some_and(|number| (0..=max).contains(&number))
}

fn number(max: i64) -> String {
    match max {
        NUMBER_MAX => "a whole number".to_owned(),
        max => format!("a whole number up to {max}"),
    }
}

/// A value as people write it outside of TOML.
pub(crate) fn words(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// What flags and the environment say, flags first.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenSettings(pub(crate) Vec<Said>);

/// One setting that was given.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) setting: &'static Setting,
    pub(crate) text: String,
    /// The flag or the variable.
    pub(crate) by: String,
}

impl clap::Args for GivenSettings {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().map(Setting::argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for GivenSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let said = SETTINGS.iter().filter_map(|setting| {
            let text = matches.get_one::<String>(setting.key)?.clone();
            let by = match matches.value_source(setting.key) {
                Some(ValueSource::EnvVariable) => setting.variable(),
                _ => setting.flag(),
            };
            Some(Said { setting, text, by })
        });
        Ok(Self(said.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
