//! The replay: the steps of a counterexample through the machines, and the judgement of the reached state.

use super::error::{ReplayError, STEPS_MAX, quoted, to_json, unknown};
use crate::check::Counterexample;
use crate::explore::{FairModel, fingerprint};
use crate::graph::Graph;
use crate::progress::{Lasso, is_fair_lasso};
use crate::property::{self, Kind, PROGRESS};
use crate::system::{Model, System};
use crate::universe::{self, UNIVERSES, Universe};
use stateright::Model as _;
use tenure_protocol::{Hook, ProtocolMutant, Seeded, Sound};

/// The result of a replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The universe.
    pub universe: &'static Universe,
    /// The seeded mutant, if any.
    pub mutant: Option<ProtocolMutant>,
    /// The property that the path violates, or shows in the case of a `sometimes`.
    pub property: &'static str,
    /// The number of the design rule that the property follows.
    pub rule: u8,
    /// The kind of the property.
    pub kind: Kind,
    /// The statement of the property.
    pub text: &'static str,
    /// The number of steps: those to the violation, and one round of the cycle.
    pub steps: usize,
    /// The number of steps that repeat for ever.
    pub cycle: usize,
    /// The thread or recall that waits for ever.
    pub waiting: Option<String>,
    /// The fingerprint of the last state.
    pub fingerprint: u64,
}

/// Replays a counterexample and checks it. Every action must be possible. In the end the property must be violated, or
/// shown for a `sometimes`. For a progress property the cycle must close and be fair, and the obligation must stay
/// pending all along it.
///
/// # Errors
/// When the counterexample is not valid: see [`ReplayError`].
pub fn replay(example: &Counterexample) -> Result<Replayed, ReplayError> {
    let universe = universe_of(example)?;
    match example.mutant {
        None => judge(&Model::new(universe, Sound), example),
        Some(mutant) => judge(&Model::new(universe, Seeded(mutant)), example),
    }
}

pub(crate) fn universe_of(example: &Counterexample) -> Result<&'static Universe, ReplayError> {
    universe::find(example.universe).ok_or_else(|| {
        unknown(
            "universe",
            example.universe,
            UNIVERSES.iter().map(|universe| universe.name),
        )
    })
}

/// Returns the name, rule, kind and text of a property of a universe.
pub(crate) fn find_property(
    universe: &Universe,
    name: &str,
) -> Result<(&'static str, u8, Kind, &'static str), ReplayError> {
    let own = property::of::<Sound>(universe).map(|own| (own.name, own.rule, own.kind, own.text));
    let progress = PROGRESS
        .into_iter()
        .map(|(name, rule, _, text)| (name, rule, Kind::Progress, text));
    let mut known = own.chain(progress).collect::<Vec<_>>();
    match known.iter().position(|known| known.0 == name) {
        Some(place) => Ok(known.swap_remove(place)),
        None => Err(unknown(
            "property",
            name,
            known.into_iter().map(|known| known.0),
        )),
    }
}

/// Returns all states from the first to the last, one more than there are steps.
pub(crate) fn run<H: Hook>(
    model: &Model<H>,
    example: &Counterexample,
) -> Result<Vec<System<H>>, ReplayError> {
    if example.steps() > STEPS_MAX {
        return Err(ReplayError::TooManySteps(example.steps()));
    }
    let mut states = model.init_states();
    states.truncate(1);
    let mut actions = Vec::new();
    for (place, action) in example.stem.iter().chain(&example.cycle).enumerate() {
        let state = &states[place];
        actions.clear();
        model.actions(state, &mut actions);
        let next = actions
            .contains(action)
            .then(|| model.next_state(state, *action))
            .flatten();
        let Some(next) = next else {
            let (action, universe) = (to_json(action), model.universe.name);
            return Err(ReplayError::Impossible {
                step: place + 1,
                action,
                universe,
            });
        };
        states.push(next);
    }
    Ok(states)
}

fn judge<H: Hook>(model: &Model<H>, example: &Counterexample) -> Result<Replayed, ReplayError> {
    let (property, rule, kind, text) = find_property(model.universe, example.property)?;
    let states = run(model, example)?;
    let last = &states[states.len() - 1];
    let steps = example.steps();
    if kind == Kind::Progress {
        check_lasso(model, example, &states)
            .map_err(|reason| ReplayError::NoLasso { property, reason })?;
    } else {
        let checked = property::of::<H>(model.universe).find(|checked| checked.name == property);
        let holds = checked.is_some_and(|checked| checked.holds(model, last));
        match kind {
            Kind::Sometimes if !holds => return Err(ReplayError::NotShown { property, steps }),
            Kind::Always if holds => return Err(ReplayError::Holds { property, steps }),
            _ => {}
        }
    }
    Ok(Replayed {
        universe: model.universe,
        mutant: example.mutant,
        property,
        rule,
        kind,
        text,
        steps,
        cycle: example.cycle.len(),
        waiting: example.waiting.clone(),
        fingerprint: fingerprint(last),
    })
}

/// Checks that the cycle closes and is fair, and that the stated thread or recall waits all along it; returns the
/// reason if not. The progress pass decides about fairness, on the part of the graph along the cycle.
fn check_lasso<H: Hook>(
    model: &Model<H>,
    example: &Counterexample,
    states: &[System<H>],
) -> Result<(), String> {
    let waiting = example
        .waiting
        .as_deref()
        .ok_or("the file does not name the waiting thread or recall")?;
    let place = PROGRESS
        .iter()
        .position(|(name, ..)| *name == example.property);
    let obligation = (0..64).find(|bit| {
        let (own, who) = property::obligation(*bit);
        Some(own) == place && who == waiting
    });
    let obligation =
        obligation.ok_or_else(|| format!("there is no {} that could wait", quoted(waiting)))?;
    let cycle = &states[example.stem.len()..];
    let last = cycle.len() - 1;
    if cycle[0] != cycle[last] {
        return Err("the cycle does not lead back to where it begins".to_owned());
    }
    let (mut graph, mut taken) = (Graph::default(), Vec::new());
    let mut actions = Vec::new();
    for (at, state) in cycle[..last.max(1)].iter().enumerate() {
        if model.obligations(state) >> obligation & 1 == 0 {
            return Err(format!(
                "after step {} {waiting} waits no longer",
                example.stem.len() + at
            ));
        }
        actions.clear();
        model.actions(state, &mut actions);
        let edge = example
            .cycle
            .get(at)
            .and_then(|action| actions.iter().position(|other| other == action));
        // The targets of the other edges do not matter.
        let next = u32::try_from((at + 1) % last.max(1)).map_err(|_| "the cycle is too long")?;
        graph.push(
            model.obligations(state),
            actions
                .iter()
                .map(|action| (next, model.class(state, action))),
        );
        taken.extend(edge.map(|edge| (at as u32, edge)));
    }
    is_fair_lasso(
        &graph,
        &Lasso {
            obligation,
            cycle: taken,
            start: 0,
        },
    )
    .map_err(|reason| format!("the cycle is not fair: {reason}"))
}
