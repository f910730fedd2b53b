//! Which mistakes of a store the oracle finds: `cargo run -p tenure-defects --example oracle -- derived`.

use tenure_conformance::{KnownFailing, Plan, Selection, Subject, run, store};
use tenure_defects::{Defect, Mistake, Settings, Store};
use tenure_protocol::defect::Level;

#[tokio::main]
async fn main() {
    let select: Vec<String> = std::env::args().skip(1).collect();
    let mut all: Vec<Mistake> = vec![Mistake::None];
    let of_store = |defect: &&Defect| defect.level() == Level::Store;
    all.extend(
        Defect::ALL
            .iter()
            .filter(of_store)
            .copied()
            .map(Mistake::Defect),
    );
    for mistake in all {
        let store = Store::start(mistake, Settings::default())
            .await
            .expect("a port");
        let mut target = store.target();
        target.hooks = Default::default();
        target.slack_ms = 700;
        let plan = Plan {
            selection: Selection::new(select.iter().map(String::as_str)),
            known_failing: KnownFailing::default(),
            jobs: 64,
            repeat: 1,
            seed: 1,
        };
        let subject = Subject::Store(std::sync::Arc::new(target));
        let report = run(&store::all(), &subject, &plan, &())
            .await
            .expect("it runs");
        let failed = report
            .cases
            .iter()
            .filter(|case| case.verdict.is_bad())
            .count();
        let first = report.cases.iter().find(|case| case.verdict.is_bad());
        let first = first.map_or("", |case| case.id.as_str());
        println!(
            "{:<32} {failed:>4} of {} failed  {first}",
            mistake.name(),
            report.cases.len()
        );
    }
}
