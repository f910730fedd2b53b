//! The shortest ways to the `sometimes` properties, as the store sees them.

use super::place::Place;
use super::{Export, Script, Step};
use crate::explore::{Options, explore};
use crate::property::{self, Kind};
use crate::system::{Action, Model, PROCESSES, System};
use crate::universe;
use stateright::Model as _;
use std::collections::BTreeMap;
use tenure_protocol::store::Input;
use tenure_protocol::{Sound, Time, ToStore};

/// Where the properties are looked for, the smallest first, and in how many states.
const UNIVERSES: [&str; 13] = [
    "calm", "limits", "crossing", "try", "tcp", "crash", "goodbye", "restart", "lease", "parting",
    "wild", "threads", "crowd",
];
const STATES_MAX: u64 = 40_000;

/// What a store neither sees nor decides.
const INSIDE: [(&str, &str); 9] = [
    (
        "reused without a message",
        "shows in the threads of a process only",
    ),
    (
        "insider takes more",
        "shows in the threads of a process only",
    ),
    (
        "outsider waits at the gate",
        "shows in the threads of a process only",
    ),
    ("two inside", "shows in the threads of a process only"),
    ("poisoned", "shows in the threads of a process only"),
    ("lease renewed", "needs the clocks of the model"),
    ("lease lost", "needs the clocks of the model"),
    (
        "recalled to end",
        "needs to know when the target ends unused sessions",
    ),
    ("queue is full", "needs the limits of the target"),
];

pub(super) fn export() -> Export {
    let mut found: BTreeMap<&'static str, Result<Script, &'static str>> = BTreeMap::new();
    for (name, why) in INSIDE {
        found.insert(name, Err(why));
    }
    for name in UNIVERSES {
        look(name, &mut found);
    }
    let mut export = Export::default();
    for outcome in found.into_values() {
        match outcome {
            Ok(script) => export.scripts.push(script),
            Err(why) => *export.left_out.entry(why.to_owned()).or_default() += 1,
        }
    }
    export.covered = export.scripts.len();
    export
}

fn look(name: &str, found: &mut BTreeMap<&'static str, Result<Script, &'static str>>) {
    let universe = universe::find(name).expect("a universe");
    let wanted = property::of::<Sound>(universe).filter(|own| own.kind == Kind::Sometimes);
    let wanted: Vec<_> = wanted
        .filter(|own| {
            !matches!(found.get(own.name), Some(Ok(_)))
                && !INSIDE.iter().any(|(name, _)| *name == own.name)
        })
        .collect();
    if wanted.is_empty() {
        return;
    }
    let model = Model::new(universe, Sound);
    let options = Options {
        states_max: Some(STATES_MAX),
        ..Options::default()
    };
    let exploration = explore(&model, &options).expect("it has properties and a state");
    for property in wanted {
        let witness = exploration
            .verdict(property.name)
            .and_then(|own| own.witness);
        let Some(witness) = witness else { continue };
        let path = exploration.path(&model, witness);
        let actions: Vec<Action> = path.steps.iter().map(|step| step.action).collect();
        let slug = property.name.replace(' ', "-");
        let outcome = project(&model, &actions).map(|steps| Script {
            id: format!("derived/sometimes/{slug}"),
            title: format!(
                "That {}: everything is answered as the machine answers it.",
                property.text
            ),
            doubts: vec![property.name.to_owned()],
            steps,
        });
        found.insert(property.name, outcome);
    }
}

/// What the store sees of a path.
fn project(model: &Model<Sound>, actions: &[Action]) -> Result<Vec<Step>, &'static str> {
    let mut state = model.init_states().swap_remove(0);
    let mut place = Place::first();
    let mut steps = Vec::new();
    // A path begins where all are connected.
    for (process, peer) in state.store.machine.peers() {
        let Some(link) = peer.link() else { continue };
        let hello = ToStore::Hello {
            incarnation: link.incarnation,
            sent: Time::ZERO,
            holds: Vec::new(),
            waits: Vec::new(),
        };
        let input = Input::Message {
            process: process.clone(),
            link,
            message: hello,
        };
        place.step(input.clone());
        steps.push(Step::of(&input));
    }
    for action in actions {
        if *action == Action::Restart {
            place.restart();
            steps.push(Step::restart());
        } else if let Some(input) = input(&state, *action) {
            match &input {
                Input::Message {
                    process, message, ..
                } if !place.can_say(process, message) => {
                    return Err("needs a number that nobody outside was told");
                }
                Input::Timer(timer) => {
                    if let Some(why) = place.race(timer) {
                        return Err(why);
                    }
                }
                _ => {}
            }
            place.step(input.clone());
            steps.push(Step::of(&input));
        }
        state = model.raw_successor(&state, *action);
    }
    // What is not durable when the store dies is lost, and from outside nobody can choose that.
    let is_killed = actions.contains(&Action::Restart);
    if !is_killed || state.store.machine == place.store {
        Ok(steps)
    } else {
        Err("needs the store to die before something is durable")
    }
}

/// What the store sees of an action.
fn input(state: &System<Sound>, action: Action) -> Option<Input> {
    match action {
        Action::ToStore { process, place, .. } => {
            let wire = state.wires[usize::from(process)].as_ref()?;
            let (link, message) = wire.up[usize::from(place)].clone();
            let process = PROCESSES[usize::from(process)].clone();
            Some(match message {
                Some(message) => Input::Message {
                    process,
                    link,
                    message,
                },
                None => Input::Disconnected { process, link },
            })
        }
        Action::StoreTimer(timer) => Some(Input::Timer(timer.timer())),
        _ => None,
    }
}
