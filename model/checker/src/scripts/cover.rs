//! A small set of scripts that together lead to all transitions. The farthest transitions come first. On its way and at
//! its end, each script also takes transitions that leave the place unchanged.

use super::act::{Act, acts, cannot, is_first, whose};
use super::place::{Lead, Place};
use super::transition::{Transition, class_of, take};
use super::walk::{First, Walk};
use super::{Export, Script, Step, Taken};
use std::collections::BTreeSet;
use tenure_protocol::store::Input;

/// The number of steps at which a script ends.
const STEPS_MAX: usize = 48;

pub(super) fn export() -> Export {
    let walk = Walk::whole();
    let scripts = scripts(&walk);
    Export {
        covered: walk.first.len(),
        left_out: walk.left_out,
        scripts,
    }
}

fn scripts(walk: &Walk) -> Vec<Script> {
    let mut all: Vec<(&Transition, &First)> = walk.first.iter().collect();
    all.sort_by_key(|(_, first)| std::cmp::Reverse(first.at));
    let mut covered: BTreeSet<Transition> = BTreeSet::new();
    let (mut scripts, mut ids) = (Vec::new(), BTreeSet::new());
    for (transition, first) in all {
        if covered.contains(transition) {
            continue;
        }
        let lingering = Draft::to(walk, transition, first, true, &covered);
        let draft = lingering
            .or_else(|| Draft::to(walk, transition, first, false, &covered))
            .expect("the shortest path of the walk leads to the transition");
        let taken: Vec<_> = draft.takes.iter().map(|(_, taken)| taken.clone()).collect();
        let script = draft.finish(transition, &mut ids);
        covered.extend(taken);
        scripts.push(script);
    }
    scripts.sort_by(|one: &Script, other: &Script| one.id.cmp(&other.id));
    scripts
}

/// A script in the making.
struct Draft<'w> {
    walk: &'w Walk,
    covered: &'w BTreeSet<Transition>,
    place: Place,
    steps: Vec<Step>,
    /// The transitions that no earlier script takes, each with the index of the step that takes it.
    takes: Vec<(usize, Transition)>,
    /// The steps before which all processes rest.
    rests: BTreeSet<usize>,
}

impl<'w> Draft<'w> {
    /// Returns the path to a transition, with or without the unchanged-place transitions along it.
    fn to(
        walk: &'w Walk,
        transition: &Transition,
        first: &First,
        lingers: bool,
        covered: &'w BTreeSet<Transition>,
    ) -> Option<Self> {
        let mut draft = Self {
            walk,
            covered,
            place: Place::first(),
            steps: Vec::new(),
            takes: Vec::new(),
            rests: BTreeSet::new(),
        };
        for act in walk.path(first.at) {
            draft.take(&act);
        }
        if lingers {
            draft.linger(false);
        }
        // The same acts, with the numbers of the present place.
        let mut now = acts(&draft.place).into_iter();
        let act =
            now.find(|(input, own)| *input == transition.input && whose(own) == whose(&first.act));
        let (_, act) = act?;
        if cannot(&draft.place, &act).is_some() {
            return None;
        }
        draft.take(&act);
        if !draft.takes.iter().any(|(_, taken)| taken == transition) {
            return None;
        }
        draft.linger(true);
        Some(draft)
    }

    fn is_new(&self, transition: &Transition) -> bool {
        self.walk.first.contains_key(transition)
            && !self.covered.contains(transition)
            && self.takes.iter().all(|(_, taken)| taken != transition)
    }

    fn take(&mut self, act: &Act) {
        if let Act::Input(Input::Timer(timer)) = act
            && let Lead::By(step) = self.place.lead(timer)
        {
            self.rests.insert(step);
        }
        let session = class_of(&self.place, act);
        let step = act.step();
        // One act may have two kinds: a token may be old and also belong to another process.
        let kinds = acts(&self.place).into_iter();
        let kinds: Vec<String> = kinds
            .filter(|(_, own)| own.step() == step && is_first(own))
            .map(|(kind, _)| kind)
            .collect();
        let answer = take(&mut self.place, act);
        for input in kinds {
            let (session, answer) = (session.clone(), answer.clone());
            let transition = Transition {
                session,
                input,
                answer,
            };
            if self.is_new(&transition) {
                self.takes.push((self.steps.len(), transition));
            }
        }
        self.steps.push(step);
    }

    /// Takes new transitions that leave the place unchanged; at the end of a script, also those that change it.
    fn linger(&mut self, is_end: bool) {
        while self.steps.len() < STEPS_MAX {
            let key = self.place.key();
            let mut next = None;
            for (input, act) in acts(&self.place) {
                let takes_time = matches!(act, Act::Input(Input::Timer(_)));
                let is_lasting = matches!(act, Act::Restart | Act::Silence(_));
                let is_hello = input.contains("hello") && !is_end;
                if takes_time || is_lasting || is_hello || !is_first(&act) {
                    continue;
                }
                if cannot(&self.place, &act).is_some() {
                    continue;
                }
                let mut after = self.place.clone();
                let session = class_of(&self.place, &act);
                let answer = take(&mut after, &act);
                let transition = Transition {
                    session,
                    input,
                    answer,
                };
                if !self.is_new(&transition) {
                    continue;
                }
                if after.key() == key {
                    next = Some(act);
                    break;
                }
                next = next.or_else(|| is_end.then_some(act));
            }
            let Some(act) = next else { return };
            self.take(&act);
        }
    }

    fn finish(self, last: &Transition, ids: &mut BTreeSet<String>) -> Script {
        let inputs: BTreeSet<&String> = self.takes.iter().map(|(_, own)| &own.input).collect();
        let doubts = inputs.into_iter().cloned().collect();
        let name = format!("derived/{}/{}", slug(&last.input), slug(&last.session));
        let mut id = name.clone();
        let mut number = 2;
        while !ids.insert(id.clone()) {
            id = format!("{name}-{number}");
            number += 1;
        }
        let answer = if last.answer.is_empty() {
            "nothing"
        } else {
            &last.answer
        };
        let rests = |step: usize| self.rests.range(..=step).count();
        let takes = self.takes.into_iter().map(|(step, transition)| Taken {
            step: step + rests(step) + 1,
            transition,
        });
        let takes = takes.collect();
        let mut steps = Vec::new();
        for (at, step) in self.steps.into_iter().enumerate() {
            steps.extend(self.rests.contains(&at).then(Step::rest));
            steps.push(step);
        }
        Script {
            id,
            title: format!("Session {}; {}: {answer}.", last.session, last.input),
            doubts,
            universe: None,
            takes,
            steps,
        }
    }
}

fn slug(text: &str) -> String {
    let words = text.split(|char: char| !char.is_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-")
}
