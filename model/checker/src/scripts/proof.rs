//! Whether a script does what it says: it is played again as it stands, by the machine or by the model.

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

/// Why a script does not do what it says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unproved {
    /// It says nothing that could be looked for.
    #[error("it says neither which transitions it takes nor which property it shows")]
    SaysNothing,
    /// There is no such universe or property there.
    #[error("there is no {0}")]
    Unknown(String),
    /// A step cannot be done.
    #[error("step {0} cannot be done there")]
    Impossible(usize),
    /// A transition is not taken where it says so.
    #[error("step {step} does not take {wanted}: {taken}")]
    NotTaken {
        /// The step, from 1.
        step: usize,
        /// What the script says.
        wanted: String,
        /// What happens.
        taken: String,
    },
    /// No run of the model in which the store sees these steps shows the property.
    #[error("no run of the universe has these steps, shows the property, and comes to rest")]
    NotShown,
}

/// Plays a script again, and finds out whether it does what it says.
///
/// # Errors
///
/// [`Unproved`]: why it does not.
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

/// Whether the machine takes the transitions in these steps.
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

/// Whether a timer that fires is as far ahead of the next as it has to be.
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

/// Looks for a run of the model in which the store sees just these steps, the property holds somewhere, and in the end
/// all that was said has arrived.
struct Run<'s> {
    model: Model<Sound>,
    property: Checked<Sound>,
    steps: &'s [Step],
    /// Where the store is after so many steps: that depends on them alone.
    followers: Vec<Option<Follower>>,
}

/// A state, the steps that were taken, and whether the property has held.
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
            let mut follower = self.followers[*at].clone().expect("it was there");
            let Ok(steps) = follower.follow(&self.model, state, action) else {
                continue;
            };
            if !self.steps[*at..].starts_with(&steps) {
                continue;
            }
            let next = self.model.raw_successor(state, action);
            // What was said has to arrive; but for what a cut may still lose.
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
