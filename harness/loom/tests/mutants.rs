//! The mutants of the lock manager, and those mutants of the process machine that threads can show. Each is killed by
//! the scene that is listed for it.
//!
//! `killed.jsonl` lists the mutants with the scenes that kill them. The book's table of mutants shows the same list.
//! `cargo test -p tenure-locks-loom --test mutants -- --ignored write` writes the list anew, in some minutes.
//!
//! Each mutant runs in its own OS process, because a deadlock found by loom often ends the process.

mod cases;

use cases::{CASES, TOO_FEW, explore};
use std::fmt::Write as _;
use std::process::Command;
use tenure_locks::{LockMutant, plant, plant_in_machine};
use tenure_protocol::mutant::{Level, ProtocolMutant};

const MUTANT: &str = "TENURE_MUTANT";
const CASE: &str = "TENURE_CASE";
const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/killed.jsonl");

#[derive(Clone, Copy)]
enum Mutant {
    Lock(LockMutant),
    Protocol(ProtocolMutant),
}

impl Mutant {
    fn all() -> impl Iterator<Item = Self> {
        let of_locks = LockMutant::ALL.iter().copied().map(Self::Lock);
        let mutants = ProtocolMutant::ALL.iter().copied();
        let mutants = mutants.filter(|mutant| mutant.level() == Level::Process);
        of_locks.chain(mutants.map(Self::Protocol))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Lock(mutant) => mutant.name(),
            Self::Protocol(mutant) => mutant.name(),
        }
    }

    fn plant(self) {
        match self {
            Self::Lock(mutant) => plant(Some(mutant)),
            Self::Protocol(mutant) => plant_in_machine(Some(mutant)),
        }
    }

    /// Returns the output of the scene if it fails with this mutant.
    fn fails(self, case: &str) -> Option<String> {
        let child = Command::new(std::env::current_exe().expect("this test has a path"))
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .envs([(MUTANT, self.name()), (CASE, case)])
            .output()
            .expect("the OS starts the child");
        let said = String::from_utf8_lossy(&child.stderr).into_owned();
        let is_usage = ["is not set", "no such mutant", "no such case"];
        assert!(!is_usage.iter().any(|usage| said.contains(usage)), "{said}");
        // Fewer interleavings show that the mutant changes something, not that it was killed.
        (!child.status.success() && !said.contains(TOO_FEW)).then_some(said)
    }
}

#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn child() {
    let named = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (mutant, case) = (named(MUTANT), named(CASE));
    let mut all = Mutant::all();
    let made = all.find(|own| own.name() == mutant);
    made.expect("no such mutant").plant();
    let mut cases = CASES.iter();
    explore(cases.find(|own| own.name == case).expect("no such case"));
}

/// Returns the scene that kills a mutant.
fn killer(mutant: Mutant) -> Option<String> {
    let list = std::fs::read_to_string(LIST).expect("killed.jsonl");
    let begin = format!("{{\"mutant\":\"{}\",", mutant.name());
    let line = list.lines().find(|line| line.starts_with(&begin))?;
    let (_, case) = line.split_once("\"case\":\"")?;
    Some(case.split_once('"')?.0.to_owned())
}

#[test]
fn each_listed_scene_kills_its_mutant() {
    for mutant in Mutant::all() {
        let Some(case) = killer(mutant) else {
            let name = mutant.name();
            assert!(
                matches!(mutant, Mutant::Protocol(_)),
                "nothing kills {name}"
            );
            continue;
        };
        let said = mutant.fails(&case);
        let said = said.unwrap_or_else(|| panic!("{case} does not kill {}", mutant.name()));
        let why = said.lines().find(|line| !line.is_empty());
        println!(
            "{}: killed by {case}: {}",
            mutant.name(),
            why.unwrap_or_default()
        );
    }
}

#[test]
#[ignore = "takes some minutes"]
fn write_the_list_of_killed_mutants() {
    let mut list = String::new();
    for mutant in Mutant::all() {
        // The short scenes run first.
        let mut cases: Vec<_> = CASES.iter().collect();
        cases.sort_by_key(|case| case.interleavings);
        let killed = cases.iter().find(|case| mutant.fails(case.name).is_some());
        let Some(case) = killed.map(|case| case.name) else {
            println!("{}: not killed", mutant.name());
            continue;
        };
        let name = mutant.name();
        println!("{name}: {case}");
        let summary = match mutant {
            Mutant::Lock(mutant) => format!(",\"summary\":\"{}\"", mutant.summary()),
            Mutant::Protocol(_) => String::new(),
        };
        writeln!(
            list,
            "{{\"mutant\":\"{name}\",\"case\":\"{case}\"{summary}}}"
        )
        .expect("writing to a string cannot fail");
    }
    std::fs::write(LIST, list).expect("the list is writable");
}
