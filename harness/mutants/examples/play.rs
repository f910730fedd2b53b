//! Plays the suite against a store or a process with a mutant, and prints the report and the findings of its traces:
//! `cargo run -p tenure-mutants --example play -- grants-to-two 'grant/*' > report.json`.

use std::sync::Arc;
use tenure_conformance::recorded::check_report;
use tenure_conformance::{Plan, Selection, Subject, process, run, store};
use tenure_mutants::{Mutant, Settings, Store};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("play MUTANT [SELECT...]")?;
    let mutant = Mutant::named(&name).ok_or("there is no mutant with this name")?;
    let select: Vec<String> = arguments.collect();
    let plan = Plan {
        selection: Selection::new(select.iter().map(String::as_str)),
        jobs: 24,
        ..Plan::default()
    };
    let adapter = std::env::current_exe()?.with_file_name("../mutant-process");
    let is_process = mutant.is_of_process() || select.iter().any(|own| own.starts_with("process"));
    let report = if is_process {
        let target = process::Target {
            command: vec![adapter.to_string_lossy().into_owned(), name],
            slack_ms: 5_000,
        };
        run(
            &process::all(),
            &Subject::Process(Arc::new(target)),
            &plan,
            &(),
        )
        .await
    } else {
        let own = Store::start(mutant, Settings::default()).await?;
        let target = own.target();
        run(&store::all(), &Subject::Store(Arc::new(target)), &plan, &()).await
    };
    let report = report.map_err(|why| format!("{why:?}"))?;
    for own in check_report(&report)? {
        if let (Some(case), Some(finding)) = (own.name, own.finding) {
            eprintln!("{case}: {finding:?}");
        }
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
