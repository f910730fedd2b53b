//! From flags, environment and file to one [`Config`]: a flag beats the environment, that beats the file, that beats the
//! default. Whatever is wrong is said with the place it comes from.

use super::settings::{GivenSettings, SETTINGS, Setting, table, words};
use crate::names::nearest;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use tenure_store::Config;
use toml::{Table, Value};

/// Other variables that `tenure` reads.
const VARIABLES: [&str; 4] = [
    "TENURE_CONFIG",
    "TENURE_LOG",
    "TENURE_LOG_FORMAT",
    "TENURE_PORT_FILE",
];

/// What holds.
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
    let config: Config = table.try_into().context("the settings do not fit")?;
    config.check().map_err(|error| {
        let from = from.get(error.key).map(String::as_str);
        anyhow!("{error} ({})", from.unwrap_or("by default"))
    })?;
    Ok(config)
}

/// Reads the file; every key in it is known and has a value that it can have.
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

/// What was probably meant: the same name in another table, or a similar one.
fn suggestion(key: &str) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    let elsewhere = SETTINGS.iter().find(|setting| setting.name() == name);
    match elsewhere.map(|setting| (setting, setting.section())) {
        Some((_, Some(section))) => format!(" It stands in the table [{section}]."),
        Some((_, None)) => format!(" '{name}' stands before all tables."),
        None => {
            let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
            nearest(key, &keys)
        }
    }
}

/// A configuration as a file that says it.
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

/// Variables that are almost those of a setting, in words.
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
        (far(&nearest) <= TYPOS_MAX).then(|| format!("{name} is not read. Did you mean {nearest}?"))
    });
    meant.collect()
}
