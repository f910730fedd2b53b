//! Builds one [`Config`] from flags, environment and file. A flag overrides the environment, which overrides the file,
//! which overrides the default. Each error names its source.

use super::settings::{GivenSettings, SETTINGS, Setting, table, words};
use crate::names::nearest;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use tenure_store::Config;
use toml::{Table, Value};

/// Other environment variables that `tenure` reads.
const VARIABLES: [&str; 4] = [
    "TENURE_CONFIG",
    "TENURE_LOG",
    "TENURE_LOG_FORMAT",
    "TENURE_PORT_FILE",
];

/// Returns the effective configuration.
pub(crate) fn effective(file: Option<&Path>, given: &GivenSettings) -> Result<Config> {
    let mut from: HashMap<&str, String> = HashMap::new();
    let mut table = match file {
        Some(path) => read(path, &mut from)?,
        None => Table::new(),
    };
    for said in &given.0 {
        let value = said
            .setting
            .read(&said.text)
            .map_err(|must| anyhow!("{}: {must}", said.by))?;
        said.setting.put(&mut table, value);
        from.insert(said.setting.key, said.by.clone());
    }
    let config: Config = table
        .try_into()
        .context("cannot build a configuration from the settings")?;
    config.check().map_err(|error| {
        let from = from.get(error.key).map(String::as_str);
        anyhow!("{error} ({})", from.unwrap_or("the default"))
    })?;
    Ok(config)
}

/// Reads the file. Accepts only known keys with valid values.
fn read(path: &Path, from: &mut HashMap<&str, String>) -> Result<Table> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let table: Table = text
        .parse()
        .map_err(|error| anyhow!("{shown} is not TOML: {error}"))?;
    for (key, value) in &table {
        match value {
            Value::Table(section) if is_section(key) => {
                for (name, value) in section {
                    check(&format!("{key}.{name}"), value, path, from)?;
                }
            }
            _ if is_section(key) => {
                bail!(
                    "{shown}: {key} must be a table, [{key}], not {}",
                    words(value)
                )
            }
            _ => check(key, value, path, from)?,
        }
    }
    Ok(table)
}

fn is_section(key: &str) -> bool {
    SETTINGS
        .iter()
        .any(|setting| setting.section() == Some(key))
}

fn check(key: &str, value: &Value, path: &Path, from: &mut HashMap<&str, String>) -> Result<()> {
    let shown = path.display();
    let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
        bail!("{shown}: there is no setting '{key}'.{}", suggestion(key));
    };
    setting
        .check(value)
        .map_err(|must| anyhow!("{shown}: {key} {must}"))?;
    from.insert(setting.key, format!("from {shown}"));
    Ok(())
}

/// Suggests the intended key: the same name in another table, or a similar name.
fn suggestion(key: &str) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    let elsewhere = SETTINGS.iter().find(|setting| setting.name() == name);
    match elsewhere.map(|setting| (setting, setting.section())) {
        Some((_, Some(section))) => format!(" Write it in the table [{section}]."),
        Some((_, None)) => format!(" '{name}' must be before all tables."),
        None => {
            let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
            nearest(key, &keys)
        }
    }
}

/// Formats a configuration as a file.
pub(crate) fn print(config: &Config) -> String {
    let table = table(config);
    let mut text = String::new();
    let mut section = None;
    for setting in SETTINGS {
        if setting.section() != section {
            section = setting.section();
            let _ = write!(text, "\n[{}]\n", section.unwrap_or_default());
        }
        let _ = match setting.find(&table) {
            Some(value) => writeln!(text, "{} = {value}", setting.name()),
            None => writeln!(text, "# {} is not set: none", setting.name()),
        };
    }
    text
}

/// Returns a warning for each variable whose name is almost the name of a setting.
pub(crate) fn strays(variables: impl Iterator<Item = String>) -> Vec<String> {
    const TYPOS_MAX: usize = 3;
    let known: Vec<String> = SETTINGS
        .iter()
        .map(Setting::variable)
        .chain(VARIABLES.map(str::to_owned))
        .collect();
    let others = variables.filter(|name| name.starts_with("TENURE_") && !known.contains(name));
    let meant = others.filter_map(|name| {
        let far = |known: &&String| strsim::damerau_levenshtein(&name, known);
        let nearest = known.iter().min_by_key(far)?;
        (far(&nearest) <= TYPOS_MAX)
            .then(|| format!("unknown variable {name} is ignored. Did you mean {nearest}?"))
    });
    meant.collect()
}
