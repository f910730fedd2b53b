//! Tests that the table of settings matches [`Config`] through every source, and that the book shows the table.

use super::refusal::Refusal;
use super::settings::{GivenSettings, Kind, SETTINGS, Said, Setting, table};
use super::sources::{effective, print, strays};
use clap::Parser;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tenure_store::Config;
use toml::{Table, Value};

#[derive(Parser)]
struct Own {
    #[command(flatten)]
    given: GivenSettings,
}

/// Returns every key of a file that sets all settings.
fn keys(table: &Table) -> BTreeSet<String> {
    let keys = table.iter().flat_map(|(key, value)| match value {
        Value::Table(section) => section
            .keys()
            .map(|name| format!("{key}.{name}"))
            .collect::<Vec<_>>(),
        _ => vec![key.clone()],
    });
    keys.collect()
}

/// Returns a value other than the default, in the syntax of a flag.
fn other(setting: &Setting) -> String {
    let default = setting.default();
    match setting.kind {
        Kind::Address => default.replace(':', "0:"),
        Kind::Folder => format!("{default}/other"),
        Kind::Durability => "buffered".to_owned(),
        Kind::OnStop => "drain".to_owned(),
        Kind::Hosts => "store.example,other.example".to_owned(),
        Kind::Number { .. } => (default.parse::<i64>().expect("a number") + 1).to_string(),
        Kind::Span => "86400000".to_owned(),
    }
}

fn flags(arguments: &[&str]) -> GivenSettings {
    let arguments = ["own"].iter().chain(arguments);
    Own::try_parse_from(arguments).expect("known flags").given
}

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("tenure.toml");
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn every_field_of_the_configuration_is_a_setting_and_vice_versa() {
    let whole = Config {
        time_to_live: Some(std::time::Duration::from_millis(1)),
        admin_hosts: Some("store.example".to_owned()),
        ..Config::default()
    };
    let settings = SETTINGS.iter().map(|setting| setting.key.to_owned());
    assert_eq!(settings.collect::<BTreeSet<_>>(), keys(&table(&whole)));
    let flags: BTreeSet<String> = SETTINGS.iter().map(Setting::flag).collect();
    let variables: BTreeSet<String> = SETTINGS.iter().map(Setting::variable).collect();
    assert_eq!(flags.len(), SETTINGS.len());
    assert_eq!(variables.len(), SETTINGS.len());
}

#[test]
fn every_setting_round_trips_through_flag_and_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for setting in SETTINGS {
        let text = other(setting);
        let by_flag = effective(None, &flags(&[&setting.flag(), &text])).expect("a value");
        assert_ne!(by_flag, Config::default(), "{}", setting.key);
        let changed: Vec<_> = SETTINGS
            .iter()
            .filter(|own| own.find(&table(&by_flag)) != own.find(&table(&Config::default())))
            .map(|own| own.key)
            .collect();
        assert_eq!(changed, [setting.key]);
        let path = file(folder.path(), &print(&by_flag));
        let by_file = effective(Some(&path), &GivenSettings::default()).expect("what was printed");
        assert_eq!(by_file, by_flag);
        let setting_back = Said {
            setting,
            text: setting.default(),
            by: setting.flag(),
        };
        let back = effective(Some(&path), &GivenSettings(vec![setting_back])).expect("the default");
        assert_eq!(back, Config::default(), "a flag beats the file");
    }
}

#[test]
fn an_invalid_setting_is_reported_with_its_source() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, says) in [
        (
            "lease_m = 1",
            "no setting 'lease_m'. Did you mean 'lease_ms'?",
        ),
        (
            "waiters_max = 1",
            "no setting 'waiters_max'. Write it in the table [limits].",
        ),
        (
            "[limits]\nlease_ms = 1",
            "'limits.lease_ms'. 'lease_ms' must be before all tables.",
        ),
        ("[limit]\nwaiters_max = 1", "no setting 'limit'."),
        ("limits = 3", "limits must be a table, [limits]"),
        (
            "lease_ms = \"10s\"",
            "lease_ms must be a whole number, not 10s",
        ),
        ("lease_ms = -1", "lease_ms must be a whole number, not -1"),
        ("turns = 256", "turns must be a whole number up to 255"),
        (
            "listen = \"localhost\"",
            "listen must be an address and a port",
        ),
        (
            "durability = \"quick\"",
            "durability must be durable or buffered, not quick",
        ),
        ("lease_ms = 0", "lease_ms: must be at least 1 (from "),
        (
            "admin_hosts = \"a:7421\"",
            "admin_hosts: \"a:7421\" is no host name",
        ),
        ("lease_ms = ", "is not TOML"),
        ("\"limits.waiters_max\" = 1", "waiters_max"),
    ] {
        let path = file(folder.path(), text);
        let error = effective(Some(&path), &GivenSettings::default()).expect_err(text);
        let said = format!("{error:#}");
        assert!(
            said.contains(says) || says == "waiters_max",
            "{text}: {said}"
        );
    }
    let error = effective(None, &flags(&["--lease-ms", "0"])).expect_err("zero");
    assert!(format!("{error:#}").contains("(--lease-ms)"), "{error:#}");
    let error = effective(None, &flags(&["--turns", "many"])).expect_err("a word");
    assert!(
        format!("{error:#}").starts_with("--turns: must be"),
        "{error:#}"
    );
}

#[test]
fn an_os_error_at_the_start_is_temporary_or_permanent() {
    let code = |kind: std::io::ErrorKind| {
        let error = anyhow::Error::from(std::io::Error::from(kind));
        Refusal::from(error.context("cannot write the port file")).code
    };
    assert_eq!(code(std::io::ErrorKind::StorageFull), Refusal::PASSES);
    assert_eq!(code(std::io::ErrorKind::WouldBlock), Refusal::PASSES);
    assert_eq!(code(std::io::ErrorKind::PermissionDenied), Refusal::LASTS);
    let wrong = Refusal::from(anyhow::anyhow!("a setting has an invalid value"));
    assert_eq!(wrong.code, Refusal::LASTS);
}

#[test]
fn a_misspelled_variable_is_reported() {
    let found = |name: &str| strays([name.to_owned()].into_iter());
    assert_eq!(
        found("TENURE_LEASE_M"),
        ["unknown variable TENURE_LEASE_M is ignored. Did you mean TENURE_LEASE_MS?"]
    );
    for fine in [
        "TENURE_LEASE_MS",
        "TENURE_CONFIG",
        "TENURE_OF_SOMETHING_ELSE",
        "PATH",
    ] {
        assert!(found(fine).is_empty(), "{fine}");
    }
}

/// Returns the settings table of the book.
fn book() -> String {
    let mut text =
        "| key in the file | flag | variable | default | what it is |\n|---|---|---|---|---|\n"
            .to_owned();
    for setting in SETTINGS {
        let (key, flag, variable) = (setting.key, setting.flag(), setting.variable());
        let (default, help) = (setting.default(), setting.help);
        text += &format!("| `{key}` | `{flag}` | `{variable}` | `{default}` | {help} |\n");
    }
    text
}

#[test]
fn the_operations_chapter_shows_the_settings_of_serve() {
    const BEGIN: &str = "<!-- generated: settings -->\n";
    const END: &str = "<!-- /generated -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/operations.md");
    let text = std::fs::read_to_string(&path).expect("the page");
    let (before, rest) = text.split_once(BEGIN).expect("a generated region");
    let (_, after) = rest.split_once(END).expect("its end");
    let expected = format!("{before}{BEGIN}{}{END}{after}", book());
    if std::env::var_os("UPDATE_BOOK").is_some() {
        std::fs::write(&path, expected).expect("the page can be written");
        return;
    }
    assert!(
        text == expected,
        "docs/src/operations.md is old; UPDATE_BOOK=1 cargo test -p tenure-cli --bin tenure the_book"
    );
}
