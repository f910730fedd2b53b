//! The folders are the architecture: `harness -> impl -> model`, `benches` and `docs` to all, never back.
//!
//! Read from `cargo metadata`, so from what Cargo really builds. A rule names folders, so it already holds for crates
//! that are not written yet.

use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

/// A package and the packages that it names, as indices.
#[derive(Default)]
struct Package {
    name: String,
    /// Its folder below the workspace's root; `None` when it is not ours.
    folder: Option<String>,
    /// What it is built with.
    builds_with: Vec<usize>,
    /// What only its tests and benches use.
    tests_with: Vec<usize>,
}

impl Package {
    fn room(&self) -> Option<&str> {
        self.folder
            .as_deref()
            .and_then(|folder| folder.split('/').next())
    }

    fn is(&self, folder: &str) -> bool {
        self.folder.as_deref() == Some(folder)
    }
}

/// The rooms that a room may import.
fn may_import(room: &str) -> &'static [&'static str] {
    match room {
        "model" => &["model"],
        "impl" => &["model", "impl"],
        "harness" => &["model", "impl", "harness"],
        "benches" | "docs" => &["model", "impl", "harness", "benches"],
        _ => &[],
    }
}

/// How one package uses another.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// It names it, and is built with it.
    Builds,
    /// It names it, for its tests and benches only.
    Tests,
    /// It is built with it by way of others.
    Reaches,
}

/// What is wrong with one package using another, if anything.
fn wrong(package: &Package, import: &Package, how: Use) -> Option<&'static str> {
    let room = package.room()?;
    let named = how != Use::Reaches;
    let built = how != Use::Tests;
    let in_protocol = package.is("model/protocol");
    let of_checking = matches!(room, "benches" | "docs")
        || package.is("model/checker")
        || package.is("harness/cli");

    if import
        .room()
        .is_some_and(|other| !may_import(room).contains(&other))
    {
        Some("imports run harness -> impl -> model, never back")
    } else if in_protocol && import.folder.is_some() {
        Some("the protocol stands on nothing of ours")
    } else if in_protocol && how == Use::Builds && import.name != "bytes" && import.name != "serde"
    {
        Some("the protocol needs core, alloc, bytes and serde")
    } else if room == "impl" && import.is("model/checker") {
        Some("what runs does not carry its checker")
    } else if import.name == "stateright" && (named && !of_checking || room == "impl") {
        Some("Stateright is for the checker, the command line, benches and the book")
    } else if package.is("impl/locks") && import.name == "tokio" && built {
        Some("the lock manager serves threads without a runtime")
    } else if package.is("harness/conformance")
        && (import.is("impl/store") || import.is("impl/process"))
    {
        Some("a black box does not know the house")
    } else {
        None
    }
}

/// Every import that goes the wrong way, in words.
fn violations(packages: &[Package]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (from, package) in packages.iter().enumerate() {
        let uses = package.builds_with.iter().map(|&to| (to, Use::Builds));
        let uses = uses.chain(package.tests_with.iter().map(|&to| (to, Use::Tests)));
        let uses = uses.chain(
            reached(packages, from)
                .into_iter()
                .map(|to| (to, Use::Reaches)),
        );
        for (to, how) in uses {
            if let Some(why) = wrong(package, &packages[to], how) {
                found.insert(format!("{} -> {}: {why}", package.name, packages[to].name));
            }
        }
    }
    found
}

/// Everything that a package is built with, directly or not.
fn reached(packages: &[Package], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = packages[from].builds_with.clone();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(&packages[next].builds_with);
        }
    }
    reached
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn workspace() -> Vec<Package> {
    let version = output(Command::new(env!("CARGO")).arg("-vV"));
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("cargo names its host");
    // For this platform only: for all, Cargo would fetch crates that are never built here.
    let metadata = output(
        Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--filter-platform", host])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")),
    );
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();

    let root = text(&metadata["workspace_root"]);
    let nodes = list(&metadata["resolve"]["nodes"]);
    let index: HashMap<String, usize> = nodes
        .iter()
        .enumerate()
        .map(|(at, node)| (text(&node["id"]), at))
        .collect();
    let mut packages: Vec<Package> = nodes.iter().map(|_| Package::default()).collect();
    for (package, node) in packages.iter_mut().zip(&nodes) {
        for dependency in list(&node["deps"]) {
            let to = index[&text(&dependency["pkg"])];
            for kind in list(&dependency["dep_kinds"]) {
                match kind["kind"].as_str() {
                    Some("dev") => package.tests_with.push(to),
                    _ => package.builds_with.push(to),
                }
            }
        }
    }
    for described in list(&metadata["packages"]) {
        let Some(&at) = index.get(&text(&described["id"])) else {
            continue;
        };
        packages[at].name = text(&described["name"]);
        if described["source"].is_null() {
            let manifest = text(&described["manifest_path"]);
            let folder = Path::new(&manifest)
                .parent()
                .and_then(|folder| folder.strip_prefix(&root).ok());
            packages[at].folder = folder.map(|folder| folder.to_string_lossy().replace('\\', "/"));
        }
    }
    packages
}

#[test]
fn imports_run_one_way() {
    let packages = workspace();
    for folder in [
        "model/protocol",
        "model/checker",
        "impl/wire",
        "harness/cli",
    ] {
        assert!(
            packages.iter().any(|package| package.is(folder)),
            "{folder} was not looked at"
        );
    }
    let found = violations(&packages);
    assert!(found.is_empty(), "{found:#?}");
}

/// Each line is a wrong import: from, to, and whether only tests use it.
#[test]
fn a_wrong_import_is_found() {
    for (from, to, in_tests_only) in [
        ("model/protocol", "impl/wire", false),
        ("model/protocol", "model/checker", true),
        ("model/protocol", "rand", false),
        ("model/checker", "harness/cli", true),
        ("impl/store", "harness/simulation", true),
        ("impl/store", "model/checker", false),
        ("impl/wire", "stateright", true),
        ("impl/locks", "tokio", false),
        ("harness/conformance", "impl/process", true),
        ("harness/cli", "benches", false),
        ("benches", "docs", false),
    ] {
        let mut packages = vec![named(from), named(to)];
        if in_tests_only {
            packages[0].tests_with.push(1);
        } else {
            packages[0].builds_with.push(1);
        }
        assert_eq!(
            violations(&packages).len(),
            1,
            "{from} -> {to}: {:?}",
            violations(&packages)
        );
    }
    // Not directly, but by way of another crate.
    let mut packages = vec![named("impl/locks"), named("some-timer"), named("tokio")];
    packages[0].builds_with.push(1);
    packages[1].builds_with.push(2);
    assert_eq!(violations(&packages).len(), 1);
}

#[test]
fn a_right_import_is_not_found() {
    for (from, to) in [
        ("model/protocol", "serde"),
        ("model/checker", "stateright"),
        ("model/checker", "model/protocol"),
        ("impl/store", "model/protocol"),
        ("impl/store", "tokio"),
        ("impl/process", "impl/locks"),
        ("harness/conformance", "impl/wire"),
        ("harness/cli", "stateright"),
        ("benches", "impl/store"),
        ("docs", "model/checker"),
    ] {
        let mut packages = vec![named(from), named(to)];
        packages[0].builds_with.push(1);
        assert!(
            violations(&packages).is_empty(),
            "{:?}",
            violations(&packages)
        );
    }
}

/// A package of ours when the name is a folder's.
fn named(name: &str) -> Package {
    let ours = name.contains('/') || matches!(name, "benches" | "docs");
    Package {
        name: name.to_owned(),
        folder: ours.then(|| name.to_owned()),
        ..Package::default()
    }
}
