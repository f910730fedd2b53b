//! Runs the contestants of an experiment in turns: A, B, C, A, B, C.
//!
//! A machine changes while it measures. In turns, the change meets all contestants, and the ratio within one turn is
//! more stable than each of its halves.

use crate::document::{Guarantee, Missing, Outcome, Row, Side};
use crate::statistics::{Summary, ratios};
use crate::{Group, Options};
use anyhow::{Result, ensure};

/// The rows of a group, and the table under them.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) rows: Vec<Row>,
    pub(crate) guarantees: Vec<Guarantee>,
    pub(crate) missing: Vec<Missing>,
}

/// The selection, the lengths of runs, and the voice of a run.
pub(crate) struct Plan<'a> {
    options: &'a Options,
    say: &'a mut dyn FnMut(&str),
}

impl<'a> Plan<'a> {
    pub(crate) fn new(options: &'a Options, say: &'a mut dyn FnMut(&str)) -> Self {
        Self { options, say }
    }

    /// Returns the number of samples of each contestant.
    pub(crate) fn pairs(&self) -> usize {
        self.size(3, 5)
    }

    /// Returns one of two sizes, by the length of the run.
    pub(crate) fn size<T>(&self, quick: T, full: T) -> T {
        if self.options.quick { quick } else { full }
    }

    pub(crate) fn wants(&self, row: &str) -> bool {
        self.options.rows.is_empty() || self.options.rows.iter().any(|name| name == row)
    }

    /// Returns whether any of these measures is selected.
    pub(crate) fn wants_any(&self, measures: &[Measure]) -> bool {
        measures.iter().any(|measure| self.wants(measure.row))
    }

    pub(crate) fn say(&mut self, text: &str) {
        (self.say)(text);
    }

    fn explain(&self, row: &str) -> String {
        let rows: Vec<(&str, &str)> = Group::rows(self.options.group);
        let known = rows.iter().find(|(name, _)| *name == row);
        known.map_or_else(String::new, |(_, what)| (*what).to_owned())
    }
}

/// One quantity of an experiment.
#[derive(Clone, Copy)]
pub(crate) struct Measure {
    /// The name of the row.
    pub(crate) row: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) less_is_better: bool,
}

impl Measure {
    /// A quantity of which less is better.
    pub(crate) const fn less(row: &'static str, unit: &'static str) -> Self {
        Self {
            row,
            unit,
            less_is_better: true,
        }
    }

    /// A quantity of which more is better.
    pub(crate) const fn more(row: &'static str, unit: &'static str) -> Self {
        Self {
            row,
            unit,
            less_is_better: false,
        }
    }
}

/// Measures every quantity of an experiment once.
type Run<'a> = Box<dyn FnMut() -> Result<Vec<f64>> + 'a>;

/// One of several programs that do the same work.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    pub(crate) recipe: String,
    pub(crate) source: String,
    pub(crate) run: Run<'a>,
}

/// Runs all contestants in turns, and returns a row for each selected measure.
pub(crate) fn hold(
    plan: &mut Plan<'_>,
    place: &str,
    measures: &[Measure],
    mut contestants: Vec<Contestant<'_>>,
) -> Vec<Row> {
    let mut runs: Vec<Result<Vec<Vec<f64>>>> = contestants.iter().map(|_| Ok(Vec::new())).collect();
    for turn in 1..=plan.pairs() {
        for (contestant, runs) in contestants.iter_mut().zip(&mut runs) {
            let Ok(samples) = runs else { continue };
            let (row, pairs) = (measures[0].row, plan.pairs());
            plan.say(&format!(
                "{row} {place}  {}  {turn}/{pairs}",
                contestant.name
            ));
            match (contestant.run)().and_then(|sample| complete(sample, measures.len())) {
                Ok(sample) => samples.push(sample),
                Err(error) => *runs = Err(error),
            }
        }
    }
    let selected = measures.iter().enumerate();
    let selected = selected.filter(|(_, measure)| plan.wants(measure.row));
    selected
        .map(|(column, measure)| Row {
            name: measure.row.to_owned(),
            what: plan.explain(measure.row),
            place: place.to_owned(),
            unit: measure.unit.to_owned(),
            less_is_better: measure.less_is_better,
            sides: sides(&contestants, &runs, column),
        })
        .collect()
}

/// Checks that a run has measured every quantity.
fn complete(sample: Vec<f64>, measures: usize) -> Result<Vec<f64>> {
    ensure!(
        sample.len() == measures,
        "the run has {} quantities instead of {measures}",
        sample.len()
    );
    Ok(sample)
}

fn sides(
    contestants: &[Contestant<'_>],
    runs: &[Result<Vec<Vec<f64>>>],
    column: usize,
) -> Vec<Side> {
    let column_of = |runs: &[Vec<f64>]| runs.iter().map(|run| run[column]).collect::<Vec<_>>();
    let first = runs.first().and_then(|runs| runs.as_ref().ok());
    let first = first.map(|runs| column_of(runs));
    let each = contestants.iter().zip(runs).enumerate();
    each.map(|(index, (contestant, runs))| {
        let outcome = match runs {
            Ok(runs) => {
                let samples = column_of(runs);
                let compared = first.as_ref().filter(|_| index > 0);
                outcome(&samples, compared.map(Vec::as_slice))
            }
            Err(error) => Outcome::Failed {
                error: format!("{error:#}"),
            },
        };
        Side {
            name: contestant.name.clone(),
            recipe: contestant.recipe.clone(),
            source: contestant.source.clone(),
            outcome,
        }
    })
    .collect()
}

fn outcome(samples: &[f64], first: Option<&[f64]>) -> Outcome {
    match Summary::of(samples) {
        Some(summary) => Outcome::Measured {
            disturbed: summary.is_disturbed(),
            ratio: first.and_then(|first| ratios(first, samples)),
            samples: summary,
        },
        None => Outcome::Failed {
            error: format!("the samples are no finite numbers: {samples:?}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use std::cell::RefCell;

    const ROW: Measure = Measure::less("round-trip", "us");

    fn contestant<'a>(name: &str, run: impl FnMut() -> Result<Vec<f64>> + 'a) -> Contestant<'a> {
        Contestant {
            name: name.to_owned(),
            recipe: String::new(),
            source: String::new(),
            run: Box::new(run),
        }
    }

    fn held(contestants: Vec<Contestant<'_>>) -> Vec<Side> {
        let options = Options {
            group: Group::Floors,
            quick: true,
            rows: Vec::new(),
        };
        let mut say = |_: &str| {};
        let mut plan = Plan::new(&options, &mut say);
        let mut rows = hold(&mut plan, "cross", &[ROW], contestants);
        assert_eq!(rows.len(), 1);
        rows.remove(0).sides
    }

    #[test]
    fn contestants_take_turns_and_are_compared_pair_by_pair() {
        let order = RefCell::new(String::new());
        let run = |name: char, value: f64| {
            let order = &order;
            move || {
                order.borrow_mut().push(name);
                Ok(vec![value])
            }
        };
        let sides = held(vec![
            contestant("A", run('A', 10.0)),
            contestant("B", run('B', 20.0)),
        ]);
        assert_eq!(*order.borrow(), "ABABAB");
        let ratio = |side: &Side| match &side.outcome {
            Outcome::Measured { ratio, .. } => ratio.as_ref().map(|ratio| ratio.median),
            Outcome::Failed { .. } => None,
        };
        assert_eq!(ratio(&sides[0]), None);
        assert_eq!(ratio(&sides[1]), Some(0.5));
    }

    #[test]
    fn one_failed_run_fails_the_side_and_leaves_the_others() {
        let mut runs = 0;
        let sides = held(vec![
            contestant("A", || Ok(vec![10.0])),
            contestant("B", || {
                runs += 1;
                if runs == 2 {
                    bail!("the server has ended")
                }
                Ok(vec![20.0])
            }),
        ]);
        assert!(matches!(&sides[0].outcome, Outcome::Measured { .. }));
        assert!(
            matches!(&sides[1].outcome, Outcome::Failed { error } if error == "the server has ended")
        );
        assert_eq!(runs, 2);
    }

    #[test]
    fn a_side_whose_first_contestant_failed_has_samples_and_no_ratio() {
        let sides = held(vec![
            contestant("A", || bail!("Address in use")),
            contestant("B", || Ok(vec![20.0])),
        ]);
        assert!(matches!(
            &sides[1].outcome,
            Outcome::Measured { ratio: None, .. }
        ));
    }

    #[test]
    fn a_run_without_a_number_fails() {
        let sides = held(vec![
            contestant("A", || Ok(vec![f64::NAN])),
            contestant("B", || Ok(vec![])),
        ]);
        assert!(
            sides
                .iter()
                .all(|side| matches!(side.outcome, Outcome::Failed { .. }))
        );
    }
}
