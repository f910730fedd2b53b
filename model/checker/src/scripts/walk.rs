//! The exploration of the store's machine from outside, breadth first: every transition, and the shortest path to it.

use super::act::{Act, acts, cannot, is_first};
use super::place::{Place, SPEAKS};
use super::transition::{Transition, class_of, take};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The number of places that are explored; more places show no further transition.
const PLACES_MAX: usize = 40_000;

/// The reasons for which an act is not possible, by the situation of the session and the kind of the act.
type LeftOut = BTreeMap<(String, String), BTreeSet<&'static str>>;

/// The first path to a place.
struct Found {
    place: Place,
    from: Option<(usize, Act)>,
}

/// The place and the act at which a transition was first seen.
pub(super) struct First {
    pub(super) at: usize,
    pub(super) act: Act,
}

/// The result of the exploration.
pub(super) struct Walk {
    found: Vec<Found>,
    pub(super) first: BTreeMap<Transition, First>,
    /// The transitions that no black box can take, by reason.
    pub(super) left_out: BTreeMap<String, Vec<String>>,
}

impl Walk {
    pub(super) fn whole() -> Self {
        let first = Place::first();
        let mut seen = HashSet::from([first.key()]);
        let mut walk = Self {
            found: vec![Found {
                place: first,
                from: None,
            }],
            first: BTreeMap::new(),
            left_out: BTreeMap::new(),
        };
        let mut left_out = LeftOut::new();
        let mut at = 0;
        while at < walk.found.len() {
            walk.expand(at, &mut seen, &mut left_out);
            at += 1;
        }
        for ((session, input), reasons) in left_out {
            // An act that is impossible at one place may be possible at another.
            let mut all = walk.first.keys();
            if all.any(|own| own.session == session && own.input == input) {
                continue;
            }
            let mut others = reasons.iter().filter(|why| **why != SPEAKS);
            let why = others.next().copied().unwrap_or(SPEAKS);
            let all = walk.left_out.entry(why.to_owned()).or_default();
            all.push(format!("session {session}; {input}"));
        }
        walk
    }

    fn expand(&mut self, at: usize, seen: &mut HashSet<String>, left_out: &mut LeftOut) {
        for (input, act) in acts(&self.found[at].place) {
            let mut place = self.found[at].place.clone();
            let session = class_of(&place, &act);
            if let Some(why) = cannot(&place, &act) {
                if is_first(&act) {
                    left_out.entry((session, input)).or_default().insert(why);
                }
                continue;
            }
            let answer = take(&mut place, &act);
            let transition = Transition {
                session,
                input,
                answer,
            };
            if is_first(&act) && !self.first.contains_key(&transition) {
                let act = act.clone();
                self.first.insert(transition, First { at, act });
            }
            if self.found.len() < PLACES_MAX && seen.insert(place.key()) {
                let from = Some((at, act));
                self.found.push(Found { place, from });
            }
        }
    }

    /// Returns the acts that lead to a place.
    pub(super) fn path(&self, mut at: usize) -> Vec<Act> {
        let mut acts = Vec::new();
        while let Some((from, by)) = &self.found[at].from {
            acts.push(by.clone());
            at = *from;
        }
        acts.reverse();
        acts
    }
}
