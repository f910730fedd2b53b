//! A counterexample in a file: written, read back, and run again through the machines.
//!
//! The file is JSON, `"format": "tenure-counterexample"`, `"version": 1`: the universe, the mutant if one was seeded, the
//! property, and the actions, one a line. Actions name places (a thread, the first message in a channel), never numbers
//! that the machines drew, so that is all that is needed to see everything again. `fingerprint` is that of the last
//! state: if it differs, the machines have changed since. `chart` is a picture for tools that cannot run the machines; it
//! is not read back, and neither is any member that is not known here.
//!
//! A file is not trusted. It has a longest size and a most number of steps, and every action must be one that the model
//! lists in that state before it is taken. What is read and does not lead to what it says is an error, never a panic.

use std::io::Read;

use serde::{Deserialize, Serialize};
use stateright::Model as _;
use tenure_protocol::{Hook, ProtocolMutant, Seeded, Sound};
use thiserror::Error;

use crate::check::Counterexample;
use crate::explore::{FairModel, fingerprint};
use crate::graph::Graph;
use crate::progress::{Lasso, is_fair_lasso};
use crate::property::{self, Kind, PROGRESS};
use crate::system::{Action, Model, System};
use crate::universe::{self, UNIVERSES, Universe};
use crate::{chart, render};

/// The longest file that is read, in bytes.
pub const BYTES_MAX: usize = 16 << 20;
/// The most steps that are replayed.
pub const STEPS_MAX: usize = 10_000;

const FORMAT: &str = "tenure-counterexample";
const VERSION: u64 = 1;

/// What a counterexample led to when it was run again.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The universe.
    pub universe: &'static Universe,
    /// The mutant that was seeded, if any.
    pub mutant: Option<ProtocolMutant>,
    /// The property that is violated, or for a `sometimes` shown.
    pub property: &'static str,
    /// The rule that it follows.
    pub rule: u8,
    /// Its kind.
    pub kind: Kind,
    /// What it says.
    pub text: &'static str,
    /// Steps taken: to the violation, and once around the cycle.
    pub steps: usize,
    /// How many of them repeat for ever.
    pub cycle: usize,
    /// Who waits for ever.
    pub waiting: Option<String>,
    /// Of the last state.
    pub fingerprint: u64,
}

/// Why a file is no counterexample, or no longer one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It could not be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is longer than [`BYTES_MAX`].
    #[error("it is longer than {} MiB, the longest that is read", BYTES_MAX >> 20)]
    TooLarge,
    /// It is not UTF-8.
    #[error("it is not text: byte {0} is not UTF-8")]
    NotText(usize),
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It ends too early.
    #[error("it ends too early, at line {line}, column {column}: the rest was cut off")]
    Truncated {
        /// Of its end, from 1.
        line: usize,
        /// Of its end, from 1.
        column: usize,
    },
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// It does not say that it is a counterexample.
    #[error("it is JSON, but not a saved counterexample: it has no \"format\": \"{FORMAT}\"")]
    NoFormat,
    /// It says that it is something else.
    #[error("its format is {0}, not \"{FORMAT}\"")]
    OtherFormat(String),
    /// It is of another version.
    #[error("it is of version {0} of {FORMAT}; this program reads version {VERSION}")]
    OtherVersion(u64),
    /// A member is missing or is not what it should be.
    #[error("it is not a {FORMAT} of version {VERSION}: {0}")]
    Malformed(#[source] serde_json::Error),
    /// There is no such universe, mutant or property.
    #[error("there is no {what} {name}{}", .nearest.map_or_else(String::new, |nearest| format!("; did you mean \"{nearest}\"?")))]
    Unknown {
        /// What is named.
        what: &'static str,
        /// The name, quoted.
        name: String,
        /// A known name that is much like it.
        nearest: Option<&'static str>,
    },
    /// It has more than [`STEPS_MAX`] steps.
    #[error("it has {0} steps; at most {STEPS_MAX} are replayed")]
    TooManySteps(usize),
    /// A step cannot be taken.
    #[error("step {step}, {action}, is not possible there in the universe \"{universe}\"")]
    Impossible {
        /// Which, from 1.
        step: usize,
        /// The action, as the file has it.
        action: String,
        /// The universe.
        universe: &'static str,
    },
    /// The property holds after all.
    #[error("all {steps} steps are possible, but \"{property}\" is not violated after them")]
    Holds {
        /// The property.
        property: &'static str,
        /// How many steps were taken.
        steps: usize,
    },
    /// The `sometimes` is not shown after all.
    #[error("all {steps} steps are possible, but \"{property}\" is not shown after them")]
    NotShown {
        /// The property.
        property: &'static str,
        /// How many steps were taken.
        steps: usize,
    },
    /// The cycle is none, or not one in which anybody waits for ever.
    #[error("the steps are possible, but \"{property}\" is not violated: {reason}")]
    NoLasso {
        /// The property.
        property: &'static str,
        /// Why not.
        reason: String,
    },
    /// It leads to a violation, but not to the one that was saved.
    #[error(
        "it leads to a violation, but to state {reached:016x} and not to {saved}: the machines have changed since it was saved"
    )]
    OtherState {
        /// The fingerprint in the file, quoted.
        saved: String,
        /// That of the state that was reached.
        reached: u64,
    },
}

/// A counterexample as text, to be read back by [`load`]. What [`replay`] finds to be none is written all the same, without
/// a fingerprint, and `load` will say what is wrong with it.
#[must_use]
pub fn save(example: &Counterexample) -> String {
    let fingerprint = replay(example).map_or_else(
        |_| String::new(),
        |replayed| format!("{:016x}", replayed.fingerprint),
    );
    let chart = render::chart_of(example).ok();
    let chart: Option<serde_json::Value> =
        chart.and_then(|chart| serde_json::from_str(&chart::json(&chart)).ok());
    let mut out = String::from("{\n");
    member(&mut out, "format", &FORMAT);
    member(&mut out, "version", &VERSION);
    member(&mut out, "universe", &example.universe);
    member(
        &mut out,
        "mutant",
        &example.mutant.map(ProtocolMutant::name),
    );
    member(&mut out, "property", &example.property);
    members(&mut out, "stem", &example.stem);
    members(&mut out, "cycle", &example.cycle);
    member(&mut out, "waiting", &example.waiting);
    member(&mut out, "fingerprint", &fingerprint);
    out.push_str(&format!("  \"chart\": {}\n}}\n", to_json(&chart)));
    out
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings, numbers and lists")
}

fn member(out: &mut String, name: &str, value: &impl Serialize) {
    out.push_str(&format!("  \"{name}\": {},\n", to_json(value)));
}

/// One action a line.
fn members(out: &mut String, name: &str, actions: &[Action]) {
    let lines: Vec<String> = actions
        .iter()
        .map(|action| format!("\n    {}", to_json(action)))
        .collect();
    let end = if lines.is_empty() { "" } else { "\n  " };
    out.push_str(&format!("  \"{name}\": [{}{end}],\n", lines.join(",")));
}

#[derive(Deserialize)]
struct Head {
    format: Option<serde_json::Value>,
    version: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Body {
    universe: String,
    mutant: Option<String>,
    property: String,
    stem: Vec<Action>,
    #[serde(default)]
    cycle: Vec<Action>,
    waiting: Option<String>,
    fingerprint: String,
}

/// Reads what [`save`] wrote, runs it again, and compares the state that it leads to with the one that was saved.
///
/// # Errors
/// If it is not a counterexample that this program knows how to run, or no longer one: see [`ReplayError`].
pub fn load(text: &str) -> Result<Counterexample, ReplayError> {
    if text.len() > BYTES_MAX {
        return Err(ReplayError::TooLarge);
    }
    let body = parse(text)?;
    let universe_name = body.universe.as_str();
    let universe = universe::find(universe_name).ok_or_else(|| {
        unknown(
            "universe",
            universe_name,
            UNIVERSES.iter().map(|universe| universe.name),
        )
    })?;
    let mutant = body.mutant.as_deref().map(find_mutant).transpose()?;
    let (property, _, kind, _) = find_property(universe, &body.property)?;
    let example = Counterexample {
        universe: universe.name,
        mutant,
        property,
        is_violation: kind != Kind::Sometimes,
        stem: body.stem,
        cycle: body.cycle,
        waiting: body.waiting,
    };
    let replayed = replay(&example)?;
    if u64::from_str_radix(&body.fingerprint, 16) != Ok(replayed.fingerprint) {
        let (saved, reached) = (quoted(&body.fingerprint), replayed.fingerprint);
        return Err(ReplayError::OtherState { saved, reached });
    }
    Ok(example)
}

/// As [`load`], from a file or a pipe, of which no more is read than the longest text that it takes.
///
/// # Errors
/// As [`load`], and if it cannot be read or is not text.
pub fn load_from(source: impl Read) -> Result<Counterexample, ReplayError> {
    let mut bytes = Vec::new();
    source.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > BYTES_MAX {
        return Err(ReplayError::TooLarge);
    }
    let text =
        std::str::from_utf8(&bytes).map_err(|error| ReplayError::NotText(error.valid_up_to()))?;
    load(text)
}

fn parse(text: &str) -> Result<Body, ReplayError> {
    if text.trim().is_empty() {
        return Err(ReplayError::Empty);
    }
    let head: Head = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => ReplayError::Truncated {
            line: error.line(),
            column: error.column(),
        },
        // JSON, but not an object.
        serde_json::error::Category::Data => ReplayError::NoFormat,
        _ => ReplayError::NotJson(error),
    })?;
    match head.format.as_ref().and_then(serde_json::Value::as_str) {
        None => return Err(ReplayError::NoFormat),
        Some(FORMAT) => {}
        Some(format) => return Err(ReplayError::OtherFormat(quoted(format))),
    }
    match head.version.and_then(|version| version.as_u64()) {
        Some(version) if version != VERSION => return Err(ReplayError::OtherVersion(version)),
        _ => {}
    }
    serde_json::from_str(text).map_err(ReplayError::Malformed)
}

fn find_mutant(name: &str) -> Result<ProtocolMutant, ReplayError> {
    let found = ProtocolMutant::ALL
        .iter()
        .find(|mutant| mutant.name() == name);
    found.copied().ok_or_else(|| {
        unknown(
            "mutant",
            name,
            ProtocolMutant::ALL.iter().map(|mutant| mutant.name()),
        )
    })
}

/// Name, rule, kind and text of a property of a universe.
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

const NAME_CHARS_MAX: usize = 60;

fn unknown(
    what: &'static str,
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> ReplayError {
    let is_short = name.chars().count() <= NAME_CHARS_MAX;
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    let nearest = known
        .filter(|_| is_short)
        .map(|known| (distance(&known), known))
        .min();
    let nearest = nearest
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .map(|(_, known)| known);
    ReplayError::Unknown {
        what,
        name: quoted(name),
        nearest,
    }
}

/// A text of a file as an error shows it: quoted, without control characters, not too long.
fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(NAME_CHARS_MAX).collect();
    let rest = if chars.next().is_some() { "..." } else { "" };
    format!("\"{}{rest}\"", start.escape_debug())
}

/// Runs a counterexample again, and sees that it is one: every action is possible, and in the end the property is
/// violated (or for a `sometimes` shown), or the cycle closes, is fair, and somebody waits all along it.
///
/// # Errors
/// If it is none: see [`ReplayError`].
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

/// All states from the first to the last, one more than there are steps.
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

/// Whether the cycle closes, is fair, and whoever is said to wait does so all along it; if not, why not. What is fair is
/// for the progress pass to say: it is given the part of the graph that the cycle passes through.
fn check_lasso<H: Hook>(
    model: &Model<H>,
    example: &Counterexample,
    states: &[System<H>],
) -> Result<(), String> {
    let waiting = example
        .waiting
        .as_deref()
        .ok_or("it does not say who waits")?;
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
        // Where the other edges lead does not matter.
        let next = u32::try_from((at + 1) % last.max(1)).map_err(|_| "it is too long")?;
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
    .map_err(|reason| format!("it is not fair: {reason}"))
}
