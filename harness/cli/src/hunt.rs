//! Hunts for all seeded defects, several at a time: a hunt is short and gains nothing from more threads of its own.

use crate::progress::Line;
use crate::report;
use anyhow::Result;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;
use tenure_checker::book::{Cell, Row};
use tenure_checker::check::Settings;
use tenure_checker::hunt::{Catch, hunt, hunt_in};
use tenure_checker::universe::Universe;
use tenure_protocol::Defect;

/// `tenure check --defects`: each must be caught, in these universes or wherever it shows.
pub(crate) fn all(
    only: Option<&[&'static Universe]>,
    threads: usize,
    is_json: bool,
) -> Result<bool> {
    let started = Instant::now();
    let catches = each(only, threads, |defect, catch| {
        let mut out = std::io::stdout().lock();
        if is_json {
            return writeln!(out, "{}", report::catch_json(defect, catch));
        }
        match catch {
            Some(catch) => {
                let place = format!("{} / {}", catch.universe.name, catch.property);
                writeln!(
                    out,
                    "caught      {:<28} rule {:<2}  {:>2} steps  {place}",
                    defect.name(),
                    defect.rule(),
                    catch.steps
                )
            }
            None => writeln!(
                out,
                "NOT CAUGHT  {:<28} rule {:<2}  {}",
                defect.name(),
                defect.rule(),
                defect.summary()
            ),
        }
    })?;
    let caught = catches.iter().flatten().count();
    if !is_json {
        writeln!(
            std::io::stdout().lock(),
            "{caught} of {} defects caught, {:.1} s",
            catches.len(),
            started.elapsed().as_secs_f64()
        )?;
    }
    Ok(caught == catches.len())
}

/// Hunts all defects and tells each result, in the order of the catalogue.
pub(crate) fn each(
    only: Option<&[&'static Universe]>,
    threads: usize,
    mut tell: impl FnMut(Defect, Option<&Catch>) -> std::io::Result<()>,
) -> Result<Vec<Option<Catch>>> {
    let settings = Settings::default();
    let hunt = |defect| match only {
        Some(universes) => universes
            .iter()
            .find_map(|universe| hunt_in(defect, universe, &settings)),
        None => hunt(defect, &settings),
    };
    for_each_defect(threads, hunt, |defect, catch| tell(defect, catch.as_ref()))
}

/// `tenure check --matrix`: how each defect is caught in each of these universes.
pub(crate) fn matrix(universes: &[&'static Universe], threads: usize) -> Result<()> {
    let row = |defect: Defect| {
        let caught = universes.iter().filter_map(|universe| {
            let catch = hunt_in(defect, universe, &Settings::default())?;
            Some(Cell {
                universe: universe.name.into(),
                property: catch.property.into(),
                steps: catch.steps,
            })
        });
        Row {
            defect: defect.name().into(),
            caught: caught.collect(),
        }
    };
    for_each_defect(threads, row, |_, row| {
        let line = serde_json::to_string(row)?;
        writeln!(std::io::stdout().lock(), "{line}")
    })
    .map(|_| ())
}

/// Does something for each defect, on several threads, and tells what came of it in the order of the catalogue.
fn for_each_defect<T: Send>(
    threads: usize,
    work: impl Fn(Defect) -> T + Sync,
    mut tell: impl FnMut(Defect, &T) -> std::io::Result<()>,
) -> Result<Vec<T>> {
    let line = Line::new("defects");
    let defects = Defect::ALL;
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut found: Vec<Option<T>> = defects.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(defect) = defects.get(place) else {
                        return;
                    };
                    if sender.send((place, work(*defect))).is_err() {
                        return; // Telling failed: nobody waits for more.
                    }
                }
            });
        }
        drop(sender);
        let mut told = 0;
        for (place, result) in receiver {
            found[place] = Some(result);
            while let Some(Some(result)) = found.get(told) {
                tell(defects[told], result)?;
                told += 1;
            }
            line.say(format!("{told} of {}", defects.len()));
        }
        Ok::<(), anyhow::Error>(())
    })?;
    Ok(found
        .into_iter()
        .map(|result| result.expect("every defect was hunted"))
        .collect())
}
