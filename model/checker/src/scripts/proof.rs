//! The proof of a script: the machine or the model plays the script again, as it stands, and checks its claim.

use super::act::{Act, acts, cannot};
use super::follow::Follower;
use super::place::{Lead, Place};
use super::transition::{class_of, take};
use super::witness::{is_playable, is_quiet};
use super::{Script, Step};
use crate::explore::fingerprint;
use crate::property::{self, Checked};
use crate::system::{Model, System};
use crate::universe;
use stateright::Model as _;
use std::collections::{HashSet, VecDeque};
use tenure_protocol::Sound;
use tenure_protocol::store::Input;
use thiserror::Error;

/// The reason for which a script does not keep its claim.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unproved {
    /// The script makes no claim.
    #[error("the script names no transitions and no property; name one of them")]
    SaysNothing,
    /// The script names an unknown universe or property.
    #[error("there is no {0}")]
    Unknown(String),
    /// A step is not possible at its place.
    #[error("step {0} is not possible at its place")]
    Impossible(usize),
    /// The script does not take a transition at the stated step.
    #[error("step {step} does not take {wanted}: {taken}")]
    NotTaken {
        /// The number of the step, from 1.
        step: usize,
        /// The claimed transition.
        wanted: String,
        /// The transition that the step takes.
        taken: String,
    },
    /// No run of the model with these steps shows the property.
    #[error("no run of the universe has these steps, shows the property, and comes to rest")]
    NotShown,
}

/// Plays a script again and checks its claim.
///
/// # Errors
///
/// [`Unproved`]: the reason for which the claim does not hold.
pub fn prove(script: &Script) -> Result<(), Unproved> {
    match (&script.universe, script.takes.as_slice()) {
        (Some(name), []) => {
            let universe = universe::find(name)
                .ok_or_else(|| Unproved::Unknown(format!("universe {name}")))?;
            let mut all = property::of::<Sound>(universe);
            let property = all
                .find(|own| script.doubts == [own.name])
                .ok_or_else(|| Unproved::Unknown(format!("property {:?}", script.doubts)))?;
            let run = Run::new(Model::new(universe, Sound), property, &script.steps);
            if run.exists() {
                Ok(())
            } else {
                Err(Unproved::NotShown)
            }
        }
        (None, [_, ..]) => takes(script),
        _ => Err(Unproved::SaysNothing),
    }
}

/// Checks that the machine takes the claimed transitions in the stated steps.
fn takes(script: &Script) -> Result<(), Unproved> {
    let mut place = Place::first();
    let last = script.takes.iter().map(|own| own.step).max();
    if last.is_some_and(|last| last > script.steps.len()) {
        return Err(Unproved::Impossible(script.steps.len() + 1));
    }
    let mut rests = HashSet::new();
    for (at, step) in script.steps.iter().enumerate() {
        let at = at + 1;
        if *step == Step::rest() {
            rests.insert(place.steps);
            continue;
        }
        let all: Vec<_> = acts(&place)
            .into_iter()
            .filter(|(_, act)| act.step() == *step)
            .collect();
        let Some((_, act)) = all.first() else {
            return Err(Unproved::Impossible(at));
        };
        if cannot(&place, act).is_some() || !is_rested(&place, act, &rests) {
            return Err(Unproved::Impossible(at));
        }
        let session = class_of(&place, act);
        let answer = take(&mut place, act);
        for wanted in script.takes.iter().filter(|own| own.step == at) {
            let wanted = &wanted.transition;
            let is_kind = all.iter().any(|(input, _)| *input == wanted.input);
            if !is_kind || session != wanted.session || answer != wanted.answer {
                return Err(Unproved::NotTaken {
                    step: at,
                    wanted: format!("{wanted:?}"),
                    taken: format!("{session}; {answer}"),
                });
            }
        }
    }
    Ok(())
}

/// Returns whether a firing timer has the required lead over the next one.
fn is_rested(place: &Place, act: &Act, rests: &HashSet<usize>) -> bool {
    match act {
        Act::Input(Input::Timer(timer)) => match place.lead(timer) {
            Lead::Alone => true,
            Lead::By(step) => rests.contains(&step),
            Lead::Tied => false,
        },
        _ => true,
    }
}

/// A search for a run of the model in which the store sees exactly these steps, the property holds in some state, and
/// in the end every message has arrived.
struct Run<'s> {
    model: Model<Sound>,
    property: Checked<Sound>,
    steps: &'s [Step],
    /// The follower after each number of steps. It depends only on the steps.
    followers: Vec<Option<Follower>>,
}

/// A state, the number of steps taken, and whether the property has held.
type Moment = (System<Sound>, usize, bool);

impl<'s> Run<'s> {
    fn new(model: Model<Sound>, property: Checked<Sound>, steps: &'s [Step]) -> Self {
        let followers = vec![None; steps.len() + 1];
        Self {
            model,
            property,
            steps,
            followers,
        }
    }

    fn exists(mut self) -> bool {
        let start = self.model.init_states().swap_remove(0);
        let (follower, before) = Follower::new(&self.model, &start);
        let at = before.len();
        if !self.steps.starts_with(&before) {
            return false;
        }
        self.followers[at] = Some(follower);
        let mut known = HashSet::new();
        let mut queue = VecDeque::from([(start, at, false)]);
        while let Some((state, at, was_shown)) = queue.pop_front() {
            let is_shown = was_shown || self.property.holds(&self.model, &state);
            if is_shown && at == self.steps.len() && is_quiet(&state) {
                return true;
            }
            for next in self.next(&(state, at, is_shown)) {
                let canonical = self.model.canonical(next.0.clone());
                if known.insert((fingerprint(&canonical), next.1, next.2)) {
                    queue.push_back(next);
                }
            }
        }
        false
    }

    fn next(&mut self, (state, at, is_shown): &Moment) -> Vec<Moment> {
        let mut actions = Vec::new();
        self.model.actions(state, &mut actions);
        let mut all = Vec::new();
        for action in actions {
            if !is_playable(state, action) {
                continue;
            }
            let mut follower = self.followers[*at]
                .clone()
                .expect("the search stores the follower of a step before it reaches the step");
            let Ok(steps) = follower.follow(&self.model, state, action) else {
                continue;
            };
            if !self.steps[*at..].starts_with(&steps) {
                continue;
            }
            let next = self.model.raw_successor(state, action);
            // Every message has to arrive, except those that a cut may still lose.
            let left = self.steps.len() - at - steps.len();
            let lost = usize::from(self.model.universe.cuts || self.model.universe.crashes);
            let said: usize = next.each_wire().map(|(_, wire)| wire.up.len()).sum();
            if said > left + 2 * lost {
                continue;
            }
            self.followers[at + steps.len()].get_or_insert(follower);
            all.push((next, at + steps.len(), *is_shown));
        }
        all
    }
}
