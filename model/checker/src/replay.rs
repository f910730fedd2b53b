//! Counterexamples in files: writing, reading, and replaying through the machines.
//!
//! The file is JSON with `"format": "tenure-counterexample"` and `"version": 1`. It contains the universe, the mutant
//! if one was seeded, the property, and the actions, one on each line. Actions name places, such as a thread or the
//! first message in a channel, and never numbers that the machines drew. These members are therefore enough for a
//! replay. `fingerprint` is the fingerprint of the last state: if it differs, the machines have changed since. `chart`
//! is a picture for tools that cannot run the machines. The reader ignores `chart` and unknown members.
//!
//! A file is not trusted. Its size and its number of steps are limited, and an action is taken only if the model lists
//! it in the present state. A file that does not lead to the stated violation is an error, never a panic.

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

/// The reason for which a file is no valid counterexample.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The file is longer than [`BYTES_MAX`].
    #[error("the file is longer than {} MiB, the longest that is read", BYTES_MAX >> 20)]
    TooLarge,
    /// The file is not UTF-8.
    #[error("the file is not text: byte {0} is not UTF-8")]
    NotText(usize),
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The file ends too early.
    #[error("the file ends too early, at line {line}, column {column}: the rest was cut off")]
    Truncated {
        /// The line of the end, from 1.
        line: usize,
        /// The column of the end, from 1.
        column: usize,
    },
    /// The file is not JSON.
    #[error("the file is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// The file has no member `format`.
    #[error("the file is JSON, but not a saved counterexample: it has no \"format\": \"{FORMAT}\"")]
    NoFormat,
    /// The file has another format.
    #[error("the format of the file is {0}, not \"{FORMAT}\"")]
    OtherFormat(String),
    /// The file has another version of the format.
    #[error("the file has version {0} of {FORMAT}; this program reads version {VERSION}")]
    OtherVersion(u64),
    /// A member is missing or has a wrong value.
    #[error("the file is not a {FORMAT} of version {VERSION}: {0}")]
    Malformed(#[source] serde_json::Error),
    /// There is no such universe, mutant or property.
    #[error("there is no {what} {name}{}", .nearest.map_or_else(String::new, |nearest| format!("; did you mean \"{nearest}\"?")))]
    Unknown {
        /// The kind of the unknown name.
        what: &'static str,
        /// The name, quoted.
        name: String,
        /// A similar known name, if there is one.
        nearest: Option<&'static str>,
    },
    /// The counterexample has more than [`STEPS_MAX`] steps.
    #[error("the counterexample has {0} steps; at most {STEPS_MAX} are replayed")]
    TooManySteps(usize),
    /// The model does not allow a step.
    #[error("step {step}, {action}, is not possible there in the universe \"{universe}\"")]
    Impossible {
        /// The number of the step, from 1.
        step: usize,
        /// The action, as the file has it.
        action: String,
        /// The universe.
        universe: &'static str,
    },
    /// The property holds after all steps.
    #[error("all {steps} steps are possible, but \"{property}\" is not violated after them")]
    Holds {
        /// The property.
        property: &'static str,
        /// The number of steps taken.
        steps: usize,
    },
    /// The `sometimes` is not shown after all steps.
    #[error("all {steps} steps are possible, but \"{property}\" is not shown after them")]
    NotShown {
        /// The property.
        property: &'static str,
        /// The number of steps taken.
        steps: usize,
    },
    /// The cycle does not close, or no thread or recall waits for ever in it.
    #[error("the steps are possible, but \"{property}\" is not violated: {reason}")]
    NoLasso {
        /// The property.
        property: &'static str,
        /// The reason.
        reason: String,
    },
    /// The steps lead to a violation, but not to the saved state.
    #[error(
        "the steps lead to state {reached:016x} and not to {saved}: the machines have changed since the file was saved"
    )]
    OtherState {
        /// The fingerprint in the file, quoted.
        saved: String,
        /// The fingerprint of the reached state.
        reached: u64,
    },
}

/// Returns a counterexample as text for [`load`]. If [`replay`] rejects the counterexample, the text has no
/// fingerprint, and `load` returns the error.
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
    serde_json::to_string(value)
        .expect("every saved member is a string, a number or a list, which JSON can express")
}

fn member(out: &mut String, name: &str, value: &impl Serialize) {
    out.push_str(&format!("  \"{name}\": {},\n", to_json(value)));
}

/// Writes one action on each line.
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

/// Reads a text from [`save`], replays it, and compares the reached state with the saved fingerprint.
///
/// # Errors
/// When the text is no valid counterexample for this program: see [`ReplayError`].
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

/// Reads a counterexample as [`load`] does, from a file or a pipe. Reads at most [`BYTES_MAX`] bytes and one more.
///
/// # Errors
/// The errors of [`load`], and those of reading.
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
        // The text is JSON, but not an object.
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

/// Returns a text of a file as errors show it: quoted, without control characters, and shortened.
fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(NAME_CHARS_MAX).collect();
    let rest = if chars.next().is_some() { "..." } else { "" };
    format!("\"{}{rest}\"", start.escape_debug())
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
