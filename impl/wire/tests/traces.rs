//! Vectors of whole traces: `tests/vectors/traces`, of the scenes that the machines' own tests play, for other implementations.
//!
//! They change only with the protocol or the machines. `UPDATE_VECTORS=1 cargo test -p tenure-wire traces` writes them
//! anew; read the difference before you commit it. What is wrong in those that are not valid is said by [`wrong`]; that a reader of
//! traces finds it is tested where there is one, in `harness/conformance`.

#[path = "../../../model/protocol/tests/support/mod.rs"]
mod machines;
mod record;
mod wrong;

use machines::scenes::{ORDINARY, RACES, Scene};
use record::{Entry, entries};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// The members of an entry in the order in which a person reads them; others behind.
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

/// The first line of a trace.
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
        unreachable!("it is one")
    };
    head.into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect()
}

fn text(head: &Entry, entries: &[Entry]) -> String {
    line(head) + &entries.iter().map(line).collect::<String>()
}

/// All files, by their names below `tests/vectors/traces`.
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
        // Behind the first line, and counted from one.
        let breaks = json!({"line": place + 2, "rule": wrong.rule, "wrong": wrong.what});
        (
            format!("invalid/{}.jsonl", wrong.name),
            text(&head(wrong.scene, breaks), &entries),
        )
    });
    valid.chain(wrong).collect()
}

#[test]
fn the_files_hold_these_traces() {
    let folder = crate::golden::file::path("traces");
    let files = files();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let _ = fs::remove_dir_all(&folder); // It may not be there yet.
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
            "{name} is another trace; UPDATE_VECTORS=1 cargo test -p tenure-wire traces"
        );
    }
    assert!(found.is_empty(), "nobody writes {:?}", found.keys());
}
