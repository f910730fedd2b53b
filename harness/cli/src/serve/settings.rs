//! The table of all settings of a store. Flags, environment variables, the file, `--print-config` and the book are made
//! from this table. Tests compare the table with [`Config`], so that none of them can drift.
//!
//! The setting `lease_ms` is the key `lease_ms` of the file, the flag `--lease-ms` and the variable `TENURE_LEASE_MS`.
//! Limits are in the table `[limits]` of the file. Flag and variable omit that word.

use clap::builder::NonEmptyStringValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Error};
use std::net::SocketAddr;
use std::sync::LazyLock;
use tenure_store::Config;
use toml::Value;

/// The largest accepted number: more than any setting needs, and exact in both TOML and JSON.
pub(crate) const NUMBER_MAX: i64 = 1 << 53;

/// The type of a setting's value.
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

/// All settings, in the order of the help. Those of `[limits]` come last.
#[rustfmt::skip] // The name and type of each setting stay on one line.
pub(crate) const SETTINGS: &[Setting] = &[
    setting("listen", Kind::Address, "Listen address for processes. Connections are not authenticated"),
    setting("admin", Kind::Address, "Listen address for `tenure ctl`, health checks and metrics"),
    setting("admin_hosts", Kind::Hosts,
        "Host names that the admin listener accepts in requests, separated by commas. IP addresses and localhost are \
         always accepted"),
    setting("data", Kind::Folder, "Data folder. Only one store at a time can use it"),
    setting("durability", Kind::Durability,
        "`durable`: acknowledged writes survive a power loss. `buffered`: they survive kill -9, but not a power loss"),
    setting("lease_ms", MS, "Length of a lease. If no message from a process arrives for this time, its grants end"),
    setting("remind_ms", MS, "Time after which an unanswered recall is sent again"),
    setting("recall_ms", MS,
        "Time after a recall in which the holder must give the session back. After it, the grant is revoked"),
    setting("wait_ms", MS, "Maximum time that a request waits for a grant"),
    setting("time_to_live_ms", Kind::Span, "Time after which an unused session ends. `none`: never"),
    setting("turns", TURNS,
        "After this many grants in a row that changed the holder, ask the holder to release the session when idle. \
         0: never"),
    setting("hello_ms", MS, "Maximum time from a new connection to its hello"),
    setting("stop", Kind::OnStop,
        "Action on SIGTERM or SIGINT. `keep`: grants stay, and the next start knows their holders. `drain`: all \
         grants are recalled"),
    setting("stop_ms", MS, "Maximum time that a stop waits for recalled grants and for a disk that does not respond"),
    setting("stall_ms", MS, "Time that a commit may wait for the disk before `/readyz` returns 503"),
    setting("evict_ms", MS, "Time that a free, unused session stays in memory"),
    setting("limits.connections_max", COUNT, "Maximum number of connections. Each needs one open file"),
    setting("limits.processes_max", COUNT, "Maximum number of processes with a lease"),
    setting("limits.grants_max", COUNT, "Maximum number of grants of one process"),
    setting("limits.waiters_max", COUNT, "Maximum number of processes that wait for one session"),
    setting("limits.attributes_max", COUNT, "Maximum number of attributes of one session"),
    setting("limits.attribute_bytes_max", BYTES, "Maximum size of one attribute's value, in bytes"),
    setting("limits.session_bytes_max", BYTES, "Maximum size of all names and values of one session, in bytes"),
    setting("limits.memory_sessions_max", COUNT,
        "Number of sessions in memory above which free sessions leave memory before evict_ms"),
    setting("limits.outgoing_bytes_max", BYTES,
        "Maximum number of bytes that wait for one process to read them. Beyond it, the process is disconnected"),
    setting("limits.backlog_bytes_max", BYTES,
        "Maximum number of bytes that wait to become durable. Beyond it, the store stops reading messages \
         (back-pressure)"),
];

/// The default settings, as a TOML table.
static DEFAULTS: LazyLock<toml::Table> = LazyLock::new(|| table(&Config::default()));

/// Converts a configuration to a TOML table.
pub(crate) fn table(config: &Config) -> toml::Table {
    toml::Table::try_from(config).expect("every number of a checked configuration fits into TOML")
}

impl Setting {
    /// Returns the name of the setting without its table.
    pub(crate) fn name(&self) -> &'static str {
        self.key.rsplit('.').next().unwrap_or(self.key)
    }

    /// Returns the table of the file that contains the setting.
    pub(crate) fn section(&self) -> Option<&'static str> {
        self.key.split_once('.').map(|(section, _)| section)
    }

    /// Returns the flag, with its dashes.
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.name().replace('_', "-"))
    }

    /// Returns the name of the environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("TENURE_{}", self.name().to_uppercase())
    }

    /// Returns the default value, as text.
    pub(crate) fn default(&self) -> String {
        self.find(&DEFAULTS)
            .map_or_else(|| "none".to_owned(), words)
    }

    /// Returns the value of this setting in a table of a whole file.
    pub(crate) fn find<'a>(&self, table: &'a toml::Table) -> Option<&'a Value> {
        match self.section() {
            Some(section) => table.get(section)?.as_table()?.get(self.name()),
            None => table.get(self.name()),
        }
    }

    /// Sets the value of this setting in a table, or removes it if `value` is `None`.
    pub(crate) fn put(&self, table: &mut toml::Table, value: Option<Value>) {
        let table = match self.section() {
            Some(section) => table
                .entry(section)
                .or_insert_with(|| Value::Table(toml::Table::new()))
                .as_table_mut()
                .expect("`sources::read` accepts a section only if it is a table"),
            None => table,
        };
        match value {
            Some(value) => drop(table.insert(self.name().to_owned(), value)),
            None => drop(table.remove(self.name())),
        }
    }

    /// Parses the text of a flag or a variable. Returns `None` for the word `none`.
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

    /// Checks that a value is valid for this setting. The error is the description of a valid value.
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
            .hide_env_values(true) // The help is the same in every environment.
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

/// Formats a value as text without the quotes of TOML.
pub(crate) fn words(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The settings given by flags and by the environment, flags first.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenSettings(pub(crate) Vec<Said>);

/// One given setting.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) setting: &'static Setting,
    pub(crate) text: String,
    /// The flag or the variable that gave the setting.
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
