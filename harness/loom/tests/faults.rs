//! Mistakes on purpose, each caught by the scene that is named for it: every fault of the lock manager, and those of the process
//! machine that threads can show.
//!
//! Who catches what is in `caught.jsonl`, which the book's table of mistakes shows, too.
//! `cargo test -p tenure-locks-loom --test faults -- --ignored write` writes it anew, in some minutes.
//!
//! Each runs in an OS process of its own: a deadlock that loom finds often ends the process.

mod cases;

use cases::{CASES, TOO_FEW, explore};
use std::fmt::Write as _;
use std::process::Command;
use tenure_locks::{Fault, make, make_defect};
use tenure_protocol::defect::{Defect, Level};

const MISTAKE: &str = "TENURE_MISTAKE";
const CASE: &str = "TENURE_CASE";
const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/caught.jsonl");

#[derive(Clone, Copy)]
enum Mistake {
    Fault(Fault),
    Defect(Defect),
}

impl Mistake {
    fn all() -> impl Iterator<Item = Self> {
        let faults = Fault::ALL.iter().copied().map(Self::Fault);
        let defects = Defect::ALL.iter().copied();
        let defects = defects.filter(|defect| defect.level() == Level::Process);
        faults.chain(defects.map(Self::Defect))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.name(),
            Self::Defect(defect) => defect.name(),
        }
    }

    fn make(self) {
        match self {
            Self::Fault(fault) => make(Some(fault)),
            Self::Defect(defect) => make_defect(Some(defect)),
        }
    }

    /// Whether the scene fails with this mistake, and what it says.
    fn fails(self, case: &str) -> Option<String> {
        let child = Command::new(std::env::current_exe().expect("this test has a path"))
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .envs([(MISTAKE, self.name()), (CASE, case)])
            .output()
            .expect("a child can be started");
        let said = String::from_utf8_lossy(&child.stderr).into_owned();
        let is_usage = ["is not set", "no such mistake", "no such case"];
        assert!(!is_usage.iter().any(|usage| said.contains(usage)), "{said}");
        // That there were fewer interleavings shows that a mistake makes a difference, not that it was caught.
        (!child.status.success() && !said.contains(TOO_FEW)).then_some(said)
    }
}

#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn child() {
    let named = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (mistake, case) = (named(MISTAKE), named(CASE));
    let mut all = Mistake::all();
    let made = all.find(|own| own.name() == mistake);
    made.expect("no such mistake").make();
    let mut cases = CASES.iter();
    explore(cases.find(|own| own.name == case).expect("no such case"));
}

/// The scene that catches a mistake.
fn catching(mistake: Mistake) -> Option<String> {
    let list = std::fs::read_to_string(LIST).expect("caught.jsonl");
    let begin = format!("{{\"mistake\":\"{}\",", mistake.name());
    let line = list.lines().find(|line| line.starts_with(&begin))?;
    let (_, case) = line.split_once("\"case\":\"")?;
    Some(case.split_once('"')?.0.to_owned())
}

#[test]
fn what_is_caught_is_caught() {
    for mistake in Mistake::all() {
        let Some(case) = catching(mistake) else {
            let name = mistake.name();
            assert!(
                matches!(mistake, Mistake::Defect(_)),
                "nothing catches {name}"
            );
            continue;
        };
        let said = mistake.fails(&case);
        let said = said.unwrap_or_else(|| panic!("{case} does not catch {}", mistake.name()));
        let why = said.lines().find(|line| !line.is_empty());
        println!(
            "{}: caught by {case}: {}",
            mistake.name(),
            why.unwrap_or_default()
        );
    }
}

#[test]
#[ignore = "takes some minutes"]
fn write_the_list() {
    let mut list = String::new();
    for mistake in Mistake::all() {
        // The short scenes first.
        let mut cases: Vec<_> = CASES.iter().collect();
        cases.sort_by_key(|case| case.interleavings);
        let caught = cases.iter().find(|case| mistake.fails(case.name).is_some());
        let Some(case) = caught.map(|case| case.name) else {
            println!("{}: not caught", mistake.name());
            continue;
        };
        let name = mistake.name();
        println!("{name}: {case}");
        let fault = match mistake {
            Mistake::Fault(fault) => format!(",\"summary\":\"{}\"", fault.summary()),
            Mistake::Defect(_) => String::new(),
        };
        writeln!(
            list,
            "{{\"mistake\":\"{name}\",\"case\":\"{case}\"{fault}}}"
        )
        .expect("a string takes all");
    }
    std::fs::write(LIST, list).expect("it can be written");
}
