//! Hunts all mutants, several in parallel: a single hunt is short and gains nothing from more threads.

use crate::progress::Line;
use crate::report;
use anyhow::Result;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;
use tenure_checker::book::{Cell, Row};
use tenure_checker::check::Settings;
use tenure_checker::hunt::{Kill, hunt, hunt_in};
use tenure_checker::universe::Universe;
use tenure_protocol::ProtocolMutant;

/// Runs `tenure check --mutants`: returns whether each mutant is killed, in these universes or in any.
pub(crate) fn all(
    only: Option<&[&'static Universe]>,
    threads: usize,
    is_json: bool,
) -> Result<bool> {
    let started = Instant::now();
    let kills = each(only, threads, |mutant, kill| {
        let mut out = std::io::stdout().lock();
        if is_json {
            return writeln!(out, "{}", report::kill_json(mutant, kill));
        }
        match kill {
            Some(kill) => {
                let place = format!("{} / {}", kill.universe.name, kill.property);
                writeln!(
                    out,
                    "killed      {:<28} rule {:<2}  {:>2} steps  {place}",
                    mutant.name(),
                    mutant.rule(),
                    kill.steps
                )
            }
            None => writeln!(
                out,
                "SURVIVED  {:<28} rule {:<2}  {}",
                mutant.name(),
                mutant.rule(),
                mutant.summary()
            ),
        }
    })?;
    let killed = kills.iter().flatten().count();
    if !is_json {
        writeln!(
            std::io::stdout().lock(),
            "{killed} of {} mutants killed, {:.1} s",
            kills.len(),
            started.elapsed().as_secs_f64()
        )?;
    }
    Ok(killed == kills.len())
}

/// Hunts all mutants, and passes each result to the callback in the order of the catalogue.
pub(crate) fn each(
    only: Option<&[&'static Universe]>,
    threads: usize,
    mut tell: impl FnMut(ProtocolMutant, Option<&Kill>) -> std::io::Result<()>,
) -> Result<Vec<Option<Kill>>> {
    let settings = Settings::default();
    let hunt = |mutant| match only {
        Some(universes) => universes
            .iter()
            .find_map(|universe| hunt_in(mutant, universe, &settings)),
        None => hunt(mutant, &settings),
    };
    for_each_mutant(threads, hunt, |mutant, kill| tell(mutant, kill.as_ref()))
}

/// Runs `tenure check --matrix`: prints how each mutant is killed in each of these universes.
pub(crate) fn matrix(universes: &[&'static Universe], threads: usize) -> Result<()> {
    let row = |mutant: ProtocolMutant| {
        let killed = universes.iter().filter_map(|universe| {
            let kill = hunt_in(mutant, universe, &Settings::default())?;
            Some(Cell {
                universe: universe.name.into(),
                property: kill.property.into(),
                steps: kill.steps,
            })
        });
        Row {
            mutant: mutant.name().into(),
            killed: killed.collect(),
        }
    };
    for_each_mutant(threads, row, |_, row| {
        let line = serde_json::to_string(row)?;
        writeln!(std::io::stdout().lock(), "{line}")
    })
    .map(|_| ())
}

/// Runs a function for each mutant on several threads, and passes the results on in the order of the catalogue.
fn for_each_mutant<T: Send>(
    threads: usize,
    work: impl Fn(ProtocolMutant) -> T + Sync,
    mut tell: impl FnMut(ProtocolMutant, &T) -> std::io::Result<()>,
) -> Result<Vec<T>> {
    let line = Line::new("mutants");
    let mutants = ProtocolMutant::ALL;
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut found: Vec<Option<T>> = mutants.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutant) = mutants.get(place) else {
                        return;
                    };
                    if sender.send((place, work(*mutant))).is_err() {
                        return; // The receiver has failed and takes no more results.
                    }
                }
            });
        }
        drop(sender);
        let mut told = 0;
        for (place, result) in receiver {
            found[place] = Some(result);
            while let Some(Some(result)) = found.get(told) {
                tell(mutants[told], result)?;
                told += 1;
            }
            line.say(format!("{told} of {}", mutants.len()));
        }
        Ok::<(), anyhow::Error>(())
    })?;
    Ok(found
        .into_iter()
        .map(|result| {
            result
                .expect("the threads of this scope have hunted every mutant before the scope ends")
        })
        .collect())
}
