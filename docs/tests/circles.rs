//! Files of one crate that import each other in a circle: nobody can read one of them alone. Their number may only
//! fall.
//!
//! A circle is a strongly connected component of the graph whose nodes are the files of a crate, and whose arrows are
//! the `use` declarations that begin with `crate`, `super` or `self`. A `mod` declaration is no arrow.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The number of circles that are left, and of files in the largest one. Lower them with each circle that is cut.
const LEFT: (usize, usize) = (1, 2);

const ROOMS: [&str; 3] = ["model", "impl", "harness"];

/// A module's path within its crate; the crate's root is empty.
type Module = Vec<String>;

/// Returns the modules of a crate, and their files.
fn modules(source: &Path) -> BTreeMap<Module, PathBuf> {
    let module = |path: PathBuf| {
        let within = path
            .strip_prefix(source)
            .expect("the file lies in its crate");
        let within = within.with_extension("");
        let mut module: Module = within
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        module.pop_if(|name| ["lib", "main", "mod"].contains(&name.as_str()));
        (module, path)
    };
    let all = files::below(source, "rs").into_iter().map(module);
    all.filter(|(module, _)| module.first().is_none_or(|name| name != "bin"))
        .collect()
}

/// Returns the paths of the `use` declarations in a file that stay within its crate, with their braces taken apart.
fn imports(text: &str) -> Vec<Vec<String>> {
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join(" ");
    let mut paths = Vec::new();
    for begin in ["use crate::", "use super::", "use self::"] {
        for (at, _) in text.match_indices(begin) {
            let declared = text[at + "use ".len()..].split(';').next();
            take_apart(declared.unwrap_or_default(), "", &mut paths);
        }
    }
    paths
}

/// Splits `a::{b, c::{d, e}}` into its paths.
fn take_apart(tree: &str, before: &str, paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = format!("{before}{tree}");
        let path = path.split(" as ").next().unwrap_or_default();
        paths.push(
            path.split("::")
                .map(|part| part.trim().to_owned())
                .collect(),
        );
        return;
    };
    let head = format!("{before}{}", &tree[..open]);
    let inner = &tree[open + 1..tree.rfind('}').expect("a brace is closed")];
    let (mut depth, mut start) = (0_usize, 0);
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                take_apart(&inner[start..at], &head, paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inner[start..].trim().is_empty() {
        take_apart(&inner[start..], &head, paths);
    }
}

/// Returns the module that a path of `from` leads to, if it is another file of the crate.
fn target(from: &Module, path: &[String], all: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let mut module = from.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            module.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        _ => {
            while rest.first().is_some_and(|part| part == "super") {
                module.pop();
                rest = &rest[1..];
            }
        }
    }
    module.extend(rest.iter().cloned());
    while !all.contains_key(&module) {
        module.pop()?;
    }
    (module != *from).then_some(module)
}

/// Returns the modules that can be reached from `start`, along one or more arrows.
fn reached<'g>(
    start: &Module,
    arrows: &'g BTreeMap<Module, BTreeSet<Module>>,
) -> BTreeSet<&'g Module> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Module> = arrows[start].iter().collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(&arrows[next]);
        }
    }
    found
}

/// Returns the circles of a crate.
fn circles(source: &Path) -> BTreeSet<Vec<String>> {
    let all = modules(source);
    let arrows: BTreeMap<Module, BTreeSet<Module>> = all
        .iter()
        .map(|(module, file)| {
            let text = fs::read_to_string(file).expect("a source file can be read");
            let targets = imports(&text)
                .into_iter()
                .filter_map(|path| target(module, &path, &all));
            (module.clone(), targets.collect())
        })
        .collect();
    let reaches: BTreeMap<&Module, BTreeSet<&Module>> = arrows
        .keys()
        .map(|module| (module, reached(module, &arrows)))
        .collect();
    let on_circle = reaches.iter().filter(|(module, own)| own.contains(*module));
    let circle = |(module, own): (&&Module, &BTreeSet<&Module>)| {
        let back = own.iter().filter(|other| reaches[*other].contains(*module));
        back.map(|module| format!("{}::{}", source.display(), module.join("::")))
            .collect()
    };
    on_circle.map(circle).collect()
}

#[test]
fn circles_of_files_become_fewer_and_smaller() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rooms = ROOMS
        .iter()
        .flat_map(|room| fs::read_dir(root.join(room)).expect("a room"));
    let sources = rooms.map(|entry| entry.expect("a crate's folder").path().join("src"));
    let sources: Vec<PathBuf> = sources.filter(|source| source.is_dir()).collect();
    assert!(
        sources.len() >= 12,
        "the workspace has more crates than {}",
        sources.len()
    );
    let found: Vec<Vec<String>> = sources.iter().flat_map(|source| circles(source)).collect();
    let largest = found.iter().map(Vec::len).max().unwrap_or_default();
    let shown: Vec<String> = found.iter().map(|circle| circle.join("\n    ")).collect();
    assert_eq!(
        (found.len(), largest),
        LEFT,
        "write fewer into LEFT, cut more:\n{}",
        shown.join("\n")
    );
}

#[test]
fn a_declaration_is_taken_apart() {
    let paths = imports("use crate::{a::{b, c as d}, e}; // use crate::not;\nuse super::f;");
    let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(
        paths,
        ["crate::a::b", "crate::a::c", "crate::e", "super::f"]
    );
}
