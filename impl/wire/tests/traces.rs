//! Test vectors with whole traces in `tests/vectors/traces`, for other implementations. They contain the scenes that
//! the machines' own tests play.
//!
//! The vectors change only with the protocol or the machines. `UPDATE_VECTORS=1 cargo test -p tenure-wire traces`
//! rewrites them; review the difference before committing it. [`wrong`] defines the errors in the invalid ones.
//! `harness/conformance` contains a judge of traces and tests that it finds these errors.

#[path = "../../../model/protocol/tests/support/mod.rs"]
mod machines;
mod record;
mod wrong;

use machines::scenes::{ORDINARY, RACES, Scene};
use record::{Entry, entries};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// The members of an entry in an order for human readers. Other members follow.
const ORDER: &[&str] = &[
    "trace",
    "name",
    "about",
    "breaks",
    "slack_ms",
    "threads",
    "process", // the first line
    "at_ms",
    "who",
    "way",
    "at",
    "hex",
    "diagnostic",
    "item", // a frame
    "thread",
    "session",
    "did",
    "told",
];

fn line(entry: &Entry) -> String {
    let place = |key: &str| ORDER.iter().position(|own| *own == key);
    let mut members: Vec<_> = entry.iter().collect();
    members.sort_by_key(|(key, _)| place(key).unwrap_or(ORDER.len()));
    let members = members
        .iter()
        .map(|(key, value)| format!("\"{key}\":{value}"));
    format!("{{{}}}\n", members.collect::<Vec<_>>().join(","))
}

/// Returns the first line of a trace.
fn head(name: &str, breaks: Value) -> Entry {
    let settings = tenure_protocol::ProcessSettings::default();
    let head = json!({
        "trace": 1,
        "name": name,
        "breaks": breaks,
        "slack_ms": 0,
        "threads": "all",
        "process": {
            "margin_ms": settings.margin_ms,
            "recall_margin_ms": settings.recall_margin_ms,
        },
    });
    let Value::Object(head) = head else {
        unreachable!("json! with braces creates an object")
    };
    head.into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect()
}

fn text(head: &Entry, entries: &[Entry]) -> String {
    line(head) + &entries.iter().map(line).collect::<String>()
}

/// Returns all files, by their names below `tests/vectors/traces`.
fn files() -> BTreeMap<String, String> {
    let scenes: BTreeMap<&str, (&Scene, Vec<Entry>)> = RACES
        .iter()
        .chain(ORDINARY)
        .map(|scene| (scene.name, (scene, entries(scene))))
        .collect();
    let valid = scenes.iter().map(|(name, (_, entries))| {
        (
            format!("{name}.jsonl"),
            text(&head(name, Value::Null), entries),
        )
    });
    let wrong = wrong::all().map(|wrong| {
        let (_, entries) = &scenes[wrong.scene];
        let mut entries = entries.clone();
        let place = wrong.make(&mut entries);
        // Lines are counted from one, and the entries begin behind the first line.
        let breaks = json!({"line": place + 2, "rule": wrong.rule, "wrong": wrong.what});
        (
            format!("invalid/{}.jsonl", wrong.name),
            text(&head(wrong.scene, breaks), &entries),
        )
    });
    valid.chain(wrong).collect()
}

#[test]
fn the_trace_files_are_up_to_date() {
    let folder = crate::golden::file::path("traces");
    let files = files();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let _ = fs::remove_dir_all(&folder); // The folder may not exist yet.
        fs::create_dir_all(folder.join("invalid")).expect("a folder");
        for (name, text) in &files {
            fs::write(folder.join(name), text).expect("the file can be written");
        }
    }
    let mut found = BTreeMap::new();
    for below in ["", "invalid/"] {
        for file in fs::read_dir(folder.join(below)).expect("a folder") {
            let file = file.expect("an entry");
            if file.file_type().expect("a type").is_file() {
                let name = below.to_owned() + &file.file_name().to_string_lossy();
                found.insert(name, fs::read_to_string(file.path()).expect("text"));
            }
        }
    }
    for (name, text) in &files {
        assert!(
            found.remove(name).as_ref() == Some(text),
            "{name} differs from its scene; run UPDATE_VECTORS=1 cargo test -p tenure-wire traces"
        );
    }
    assert!(
        found.is_empty(),
        "no scene writes the files {:?}; delete them",
        found.keys()
    );
}
