//! The shortest paths to the `sometimes` properties that can be played from outside, as the store sees them.
//!
//! From the state in which a property holds, the path continues until no message is under way and every living process
//! is connected. A race consists of two acts of processes that do not know of each other yet, and the store sees both
//! acts only when both messages have arrived.

use super::follow::{Follower, is_durable};
use super::{Export, Script, Step};
use crate::explore::fingerprint;
use crate::property::{self, Checked, Kind};
use crate::system::{Action, Model, PROCESSES, StoreTimer, System};
use crate::universe;
use stateright::Model as _;
use std::collections::{BTreeMap, HashSet};
use tenure_protocol::Sound;
use tenure_protocol::process::Connection;

/// The universes in which the properties are searched, the smallest first, and the number of states.
const UNIVERSES: [&str; 15] = [
    "calm", "limits", "crossing", "try", "tcp", "crash", "goodbye", "restart", "lease", "expiry",
    "drift", "parting", "wild", "threads", "crowd",
];
const STATES_MAX: usize = 60_000;

/// The properties that a store neither sees nor decides, with the reason.
const INSIDE: [(&str, &str); 19] = [
    ("reused without a message", THREADS),
    ("insider takes more", THREADS),
    ("outsider waits at the gate", THREADS),
    ("two inside", THREADS),
    ("poisoned", THREADS),
    ("passed by", AWAY),
    ("recalled for nobody", AWAY),
    (
        "silent connection left",
        "is decided by the process alone: a store sees one hello more",
    ),
    (
        "recall before its grant",
        "needs a message that overtakes another: connections of the suite keep the order",
    ),
    ("kept over a stop", OPERATOR),
    ("drained", OPERATOR),
    ("refused for want of room", OPERATOR),
    ("told absent", BY_HAND),
    ("absent to others", BY_HAND),
    (
        "asked an older store",
        "is decided by the process alone: a store of 1.0 hears nothing of it",
    ),
    (
        "welcome overtakes the disk",
        "needs a disk that is slow, in which the suite has no hand",
    ),
    (
        "queue is full",
        "needs as many waiters as the target allows: limit/waiters is played with --limits",
    ),
    ("commit over a limit", LIMITS),
    ("release over a limit", LIMITS),
];
const LIMITS: &str =
    "needs a value beyond the limits of the target: limit/write/* is played with --limits";
const AWAY: &str = "no message tells that a process has no connection: \
                    the cases queue/passed-by and recall/for-nobody show what comes of it";
const OPERATOR: &str = "needs a store that stops, or a full disk: the suite has no hand in either";
const BY_HAND: &str =
    "asks only for an existing session, which a script cannot say: exists/* are written by hand";
const THREADS: &str = "shows in the threads of a process only, which no store sees";

type Found = BTreeMap<&'static str, Result<Script, &'static str>>;

pub(super) fn export() -> Export {
    let mut found = Found::new();
    for (name, why) in INSIDE {
        found.insert(name, Err(why));
    }
    for name in UNIVERSES {
        look(name, &mut found);
    }
    let mut export = Export::default();
    for (name, outcome) in found {
        match outcome {
            Ok(script) => export.scripts.push(script),
            Err(why) => {
                let all = export.left_out.entry(why.to_owned()).or_default();
                all.push(name.to_owned());
            }
        }
    }
    export.covered = export.scripts.len();
    export
}

/// Returns the `sometimes` properties of a universe in which a store has a part.
fn wanted(universe: &universe::Universe) -> impl Iterator<Item = Checked<Sound>> {
    let is_inside = |name: &str| INSIDE.iter().any(|(own, _)| *own == name);
    property::of::<Sound>(universe)
        .filter(move |own| own.kind == Kind::Sometimes && !is_inside(own.name))
}

/// Searches each property in a universe, and keeps the cheapest script so far.
fn look(name: &str, found: &mut Found) {
    let universe = universe::find(name).expect("UNIVERSES names only existing universes");
    let mut wanted: Vec<_> = wanted(universe).collect();
    let model = Model::new(universe, Sound);
    let mut search = Search::new(&model, model.init_states().swap_remove(0));
    let mut at = 0;
    while at < search.seen.len() && !wanted.is_empty() {
        let state = search.seen[at].0.clone();
        wanted.retain(|property| {
            if !property.holds(&model, &state) {
                return true;
            }
            let outcome = script(&model, property, &search.path(at), &state);
            let is_found = outcome.is_ok();
            let known = found
                .entry(property.name)
                .or_insert(Err("is never reached"));
            if cost(&outcome) < cost(known) {
                *known = outcome;
            }
            !is_found // Another path may be playable.
        });
        search.expand(at, STATES_MAX, &is_playable);
        at += 1;
    }
}

/// Returns the cost of playing a script: its steps and above all its time.
fn cost(outcome: &Result<Script, &'static str>) -> usize {
    let of = |step: &Step| match &*step.what {
        "lease ends" | "revokes" | "wait ends" | "expires" | "restart" => 20,
        _ => 1,
    };
    match outcome {
        Ok(script) => script.steps.iter().map(of).sum(),
        Err("is never reached") => usize::MAX,
        Err(_) => usize::MAX - 1,
    }
}

fn script(
    model: &Model<Sound>,
    property: &Checked<Sound>,
    actions: &[Action],
    state: &System<Sound>,
) -> Result<Script, &'static str> {
    let rest = arrival(model, state).ok_or("what is under way never arrives")?;
    let actions = [actions, &rest].concat();
    let slug = property.name.replace(' ', "-");
    Ok(Script {
        id: format!("derived/sometimes/{slug}"),
        title: format!(
            "When {}, every answer is one that the rules allow.",
            property.text
        ),
        doubts: vec![property.name.to_owned()],
        universe: Some(model.universe.name.to_owned()),
        takes: Vec::new(),
        steps: project(model, &actions)?,
    })
}

/// Returns the steps that the store sees of a path.
fn project(model: &Model<Sound>, actions: &[Action]) -> Result<Vec<Step>, &'static str> {
    let mut state = model.init_states().swap_remove(0);
    let (mut follower, mut steps) = Follower::new(model, &state);
    for action in actions {
        steps.extend(follower.follow(model, &state, *action)?);
        state = model.raw_successor(&state, *action);
    }
    Ok(steps)
}

/// Returns the shortest path to a state without a message under way, on which no process or thread begins anything.
fn arrival(model: &Model<Sound>, state: &System<Sound>) -> Option<Vec<Action>> {
    let mut search = Search::new(model, state.clone());
    let mut at = 0;
    while at < search.seen.len() {
        if is_quiet(&search.seen[at].0) {
            return Some(search.path(at));
        }
        search.expand(at, STATES_MAX, &|_, action| {
            matches!(
                action,
                Action::ToStore {
                    place: 0,
                    stays: false,
                    ..
                } | Action::ToProcess {
                    place: 0,
                    stays: false,
                    ..
                } | Action::Connect { .. }
                    | Action::Flush
            )
        });
        at += 1;
    }
    None
}

/// Returns whether no message is under way, and every living process is connected or has left.
pub(super) fn is_quiet(state: &System<Sound>) -> bool {
    let mut wires = state.each_wire();
    let mut machines = state.each_machine();
    wires.all(|(_, wire)| wire.up.is_empty() && wire.down.is_empty())
        && machines.all(|(_, machine)| {
            machine.has_left() || matches!(machine.connection(), Connection::Up(_))
        })
        && state.store.updates.is_empty()
}

/// Returns whether an action can be played from outside: a store dies only when every update is durable, and every
/// connected process speaks.
pub(super) fn is_playable(state: &System<Sound>, action: Action) -> bool {
    match action {
        Action::Restart => is_durable(&state.store),
        // The suite cannot stop a store, nor fill its disk.
        Action::Stop { .. } | Action::Fill { .. } => false,
        Action::StoreTimer(StoreTimer::Lease { process }) => {
            let peer = state.store.machine.peer(&PROCESSES[usize::from(process)]);
            peer.is_some_and(|peer| peer.link().is_none())
        }
        _ => true,
    }
}

/// The state and the action by which a state was reached.
type From = Option<(usize, Action)>;

/// A small breadth-first search.
struct Search<'m> {
    model: &'m Model<Sound>,
    seen: Vec<(System<Sound>, From)>,
    known: HashSet<u64>,
}

impl<'m> Search<'m> {
    fn new(model: &'m Model<Sound>, start: System<Sound>) -> Self {
        Self {
            model,
            known: HashSet::from([fingerprint(&start)]),
            seen: vec![(start, None)],
        }
    }

    fn expand(
        &mut self,
        at: usize,
        states_max: usize,
        may: &dyn Fn(&System<Sound>, Action) -> bool,
    ) {
        let state = self.seen[at].0.clone();
        let mut actions = Vec::new();
        self.model.actions(&state, &mut actions);
        for action in actions {
            if self.seen.len() >= states_max || !may(&state, action) {
                continue;
            }
            let next = self
                .model
                .next_state(&state, action)
                .expect("the model has listed the action");
            if self.known.insert(fingerprint(&next)) {
                self.seen.push((next, Some((at, action))));
            }
        }
    }

    fn path(&self, mut at: usize) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some((from, action)) = self.seen[at].1 {
            actions.push(action);
            at = from;
        }
        actions.reverse();
        actions
    }
}
