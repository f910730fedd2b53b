//! The rendering of counterexamples and steps: a [`Chart`] of the trace events, and the changes of a step as text.
//!
//! The explorer works on canonical states, in which numbers change their names from step to step. A rendering replays
//! the actions on the raw states that the machines leave, so that grant `#2.3` stays `#2.3` to the end. Actions name
//! places, so they lead to the same states. If a mutant makes numbers come back, the raw states differ, and the
//! rendering falls back to the canonical states.
//!
//! `renderer` makes rows of the trace events of a step. `opening` makes the first row, and `letters` holds the messages
//! under way. `words` renders messages and calls, and `facts` renders states.

mod facts;
mod letters;
mod opening;
mod renderer;
mod words;

pub use facts::{Fact, differences, facts};

use crate::chart::Chart;
use crate::check::Counterexample;
use crate::property::{self, Kind};
use crate::replay::error::ReplayError;
use crate::replay::run::{find_property, run, universe_of};
use crate::system::event::StepEvents;
use crate::system::{Action, Model, PROCESSES, SESSIONS, System, THREADS_MAX};
use renderer::Renderer;
use stateright::Model as _;
use tenure_protocol::process::Phase;
use tenure_protocol::{Hook, Seeded, Sound};

/// Renders a counterexample with the mutant that it names, if any.
///
/// # Errors
/// When its actions are not possible, or it names an unknown universe or property.
pub fn chart_of(example: &Counterexample) -> Result<Chart, ReplayError> {
    let universe = universe_of(example)?;
    match example.mutant {
        None => chart(&Model::new(universe, Sound), example),
        Some(mutant) => chart(&Model::new(universe, Seeded(mutant)), example),
    }
}

/// Renders a counterexample in a model, which must have the universe and the mutant of the counterexample.
///
/// # Errors
/// The errors of [`chart_of`].
pub fn chart<H: Hook>(model: &Model<H>, example: &Counterexample) -> Result<Chart, ReplayError> {
    let steps = told(model, example)?;
    let mut renderer = Renderer::new(model, title(example));
    for (place, step) in steps.iter().enumerate() {
        if place == example.stem.len() {
            renderer.begin_cycle();
        }
        renderer.tell(step);
    }
    if example.waiting.is_some() && example.cycle.is_empty() {
        renderer.begin_cycle();
    }
    let last = steps.last();
    let end = match last {
        Some(step) => step.told.next.clone(),
        None => model.init_states().swap_remove(0),
    };
    let mut chart = renderer.finish();
    chart.verdict = verdict(model, example, &end)?;
    if let (Some(step), true) = (last, example.cycle.is_empty()) {
        chart.changes = differences(&step.before, &step.told.next);
    }
    Ok(chart)
}

/// A step of a rendered counterexample.
struct Step<H> {
    before: System<H>,
    action: Action,
    told: StepEvents<H>,
}

/// Returns the steps on raw states, if these correspond to the canonical ones. Otherwise returns the steps on canonical
/// states.
fn told<H: Hook>(model: &Model<H>, example: &Counterexample) -> Result<Vec<Step<H>>, ReplayError> {
    let states = run(model, example)?;
    let actions = || example.stem.iter().chain(&example.cycle).copied();
    let mut steps: Vec<Step<H>> = Vec::with_capacity(states.len());
    for (action, expected) in actions().zip(&states[1..]) {
        let before = steps
            .last()
            .map_or(&states[0], |step| &step.told.next)
            .clone();
        let told = model.tell(&before, action);
        if model.canonical(told.next.clone()) != *expected {
            let canonical = actions().zip(&states).map(|(action, before)| Step {
                before: before.clone(),
                action,
                told: model.tell(before, action),
            });
            return Ok(canonical.collect());
        }
        steps.push(Step {
            before,
            action,
            told,
        });
    }
    Ok(steps)
}

fn title(example: &Counterexample) -> String {
    let Counterexample {
        universe,
        property,
        stem,
        cycle,
        ..
    } = example;
    let mutant = example
        .mutant
        .map_or_else(String::new, |mutant| format!(", mutant {}", mutant.name()));
    let end = match (example.is_violation, &example.waiting) {
        (false, _) => format!("\"{property}\" reached in {}", count(stem.len())),
        (true, None) => format!("\"{property}\" violated in {}", count(stem.len())),
        (true, Some(_)) if cycle.is_empty() => {
            format!("\"{property}\" violated, stuck after {}", count(stem.len()))
        }
        (true, Some(_)) => format!(
            "\"{property}\" violated, {} and {} for ever",
            count(stem.len()),
            cycle.len()
        ),
    };
    format!("{universe}{mutant}: {end}")
}

fn count(steps: usize) -> String {
    if steps == 1 {
        "1 step".to_owned()
    } else {
        format!("{steps} steps")
    }
}

fn verdict<H: Hook>(
    model: &Model<H>,
    example: &Counterexample,
    end: &System<H>,
) -> Result<Vec<String>, ReplayError> {
    let (name, rule, kind, text) = find_property(model.universe, example.property)?;
    let head = match kind {
        Kind::Always | Kind::Progress => "violated",
        Kind::Sometimes => "reached",
    };
    let mut lines = vec![format!(
        "{head}: {name} (rule {rule}, {}): {text}",
        kind.name()
    )];
    if let Some(waiting) = &example.waiting {
        lines.push(waits(model, waiting, end));
    }
    lines.extend(situation(model, end));
    if let Some(mutant) = example.mutant {
        lines.push(format!(
            "the mutant: {} (rule {}): {}",
            mutant.name(),
            mutant.rule(),
            mutant.summary()
        ));
    }
    lines.push(words::SIGNS.to_owned());
    Ok(lines)
}

/// Returns the holders, queues and claims at the end, a line for each session.
fn situation<H: Hook>(model: &Model<H>, end: &System<H>) -> Vec<String> {
    let mut lines = Vec::new();
    for id in &SESSIONS[..usize::from(model.universe.sessions)] {
        let session = end.store.machine.session(id);
        let holder = session.and_then(|session| session.record().head.holder.as_ref());
        let held = holder.map_or_else(
            || "free".to_owned(),
            |holder| format!("held by {} as #{}", holder.process, holder.token),
        );
        let queue = session
            .into_iter()
            .flat_map(|session| session.lock().waiters());
        let queue: Vec<String> = queue.map(|place| place.process.to_string()).collect();
        let queue = if queue.is_empty() {
            String::new()
        } else {
            format!(", queue {}", queue.join(", "))
        };
        let mut parts = vec![format!("at the store, {held}{queue}")];
        for (index, machine) in end.each_machine() {
            let Some(client) = machine.session(id) else {
                continue;
            };
            let phase = match client.phase() {
                Phase::Held(grant) => format!("held as #{}", grant.token),
                Phase::Wanted { .. } => "wanted".to_owned(),
                Phase::Cancelling { .. } => "no longer wanted".to_owned(),
                Phase::Releasing { token, requeue, .. } => {
                    format!(
                        "#{token} released{}",
                        if requeue.is_some() {
                            ", wanted again"
                        } else {
                            ""
                        }
                    )
                }
                Phase::Absent => continue,
            };
            let inside: Vec<String> = client
                .lock()
                .holders()
                .iter()
                .map(|claim| format!("t{}", claim.thread))
                .collect();
            let inside = if inside.is_empty() {
                String::new()
            } else {
                format!(", {} inside", inside.join(" and "))
            };
            parts.push(format!("at {}, {phase}{inside}", PROCESSES[index]));
        }
        lines.push(format!("{id} in the end: {}", parts.join("; ")));
    }
    lines
}

/// Returns the line that names the waiting thread or recall, and the request that it waits for.
fn waits<H: Hook>(model: &Model<H>, waiting: &str, end: &System<H>) -> String {
    for (index, side) in end.each_process() {
        for thread in 0..model.threads(index) {
            if let (Some(machine), true) = (&side.machine, waiting == thread_name(index, thread)) {
                let doing = facts::doing(side, thread, model.program(index, thread), machine);
                return format!("waits for ever: {waiting} ({doing})");
            }
        }
    }
    format!("open for ever: {waiting}")
}

/// Returns the name of a thread, as `property::obligation` has it.
fn thread_name(process: usize, thread: usize) -> String {
    property::obligation((process * THREADS_MAX + thread) as u8).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::universe::UNIVERSES;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_facts_of_a_state_have_the_same_name() {
        for universe in UNIVERSES {
            let model = Model::new(universe, Sound);
            let mut state = model.init_states().swap_remove(0);
            for step in 0..400 {
                let mut actions = Vec::new();
                model.actions(&state, &mut actions);
                let Some(action) = actions.get(step * 7 % actions.len().max(1)) else {
                    break;
                };
                state = model.raw_successor(&state, *action);
                let facts = facts(&state);
                let names: BTreeSet<_> =
                    facts.iter().map(|fact| (&fact.place, fact.what)).collect();
                assert_eq!(names.len(), facts.len(), "{facts:?}");
                assert!(differences(&state, &state).is_empty());
            }
        }
    }
}
