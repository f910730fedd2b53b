//! Judges the traces in `impl/wire/tests/vectors/traces`. Correct traces must conform. In every other trace, the judge
//! must find the first wrong entry and the violated rule.

use std::fs;
use std::path::Path;
use tenure_conformance::recorded::{Finding, Judgement, check};
use tenure_conformance::rules;

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../impl/wire/tests/vectors/traces"
);

fn files(below: &str) -> Vec<(String, String)> {
    let folder = Path::new(FOLDER).join(below);
    let all = fs::read_dir(folder).expect("a folder of vectors");
    let mut files: Vec<_> = all
        .map(|file| file.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, fs::read_to_string(&path).expect("text"))
        })
        .collect();
    files.sort();
    files
}

fn judge(text: &str) -> Judgement {
    let mut all = check(text).expect("a trace");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn traces_of_the_machines_conform() {
    let files = files("");
    assert!(files.len() > 12, "{}", files.len());
    let mut wrong = Vec::new();
    for (name, text) in &files {
        let judgement = judge(text);
        assert!(judgement.store, "{name}");
        assert!(judgement.processes.len() > 1, "{name}");
        if let Some(finding) = judgement.finding {
            wrong.push(format!("{name}: {finding:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Three processes take turns as fast as they can. The observer at the store sees one of them much later than the
/// others, so the store's order of processing becomes visible late.
#[test]
fn a_trace_of_a_store_under_load_conforms() {
    let judged = check(include_str!("recorded/under_load.json")).expect("a report");
    assert_eq!(judged.len(), 3);
    for own in judged {
        assert!(own.store && own.entries > 100);
        assert!(own.finding.is_none(), "{own:#?}");
    }
}

#[test]
fn the_first_wrong_entry_and_its_rule_are_found() {
    let mut wrong = Vec::new();
    for (name, text) in files("invalid") {
        let judgement = judge(&text);
        let breaks = judgement
            .breaks
            .expect("every invalid vector declares its deliberate error");
        assert!(
            rules::find(&breaks.rule).is_some(),
            "{name}: there is no rule {}",
            breaks.rule
        );
        match judgement.finding {
            Some(Finding { line, rule, .. }) if line == breaks.line && rule == breaks.rule => {}
            other => wrong.push(format!("{name}: {breaks:?}, but found {other:#?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
