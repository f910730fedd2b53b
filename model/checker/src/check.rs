//! The check of a whole universe: explores it, judges every property, and looks for threads that wait for ever.
//!
//! An exploration that was cut short, or a property that was never evaluated, never passes. [`Outcome::verdict`] is
//! [`Verdict::Holds`] only when every state was reached, every `always` was judged in each state, every `sometimes` was
//! seen, the progress pass ran over the complete graph, and the number of states is the pinned one.

use crate::explore::{Exploration, Live, Options, explore};
use crate::progress::{self, Lasso};
use crate::property::{self, Kind, PROGRESS};
use crate::system::{Action, Model};
use crate::universe::Universe;
use tenure_protocol::{Hook, ProtocolMutant, Seeded, Sound};

/// The settings of a check.
#[derive(Clone, Copy, Default)]
pub struct Settings<'a> {
    /// The number of threads that expand states; 0 counts as 1.
    pub threads: usize,
    /// Whether to look only for violations and stop at the first one, as a hunt for a mutant does.
    pub is_hunt: bool,
    /// Whether to use symmetry reduction where it is sound, see [`Model::reduced`]. A reduced check does not judge
    /// progress, and its number of states is not pinned.
    pub by_symmetry: bool,
    /// The function that receives the state of the exploration now and then.
    pub on_progress: Option<&'a (dyn Fn(&Live) + Sync)>,
}

/// The verdict on one property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The name of the property.
    pub name: &'static str,
    /// The number of the design rule that the property follows.
    pub rule: u8,
    /// The kind of the property.
    pub kind: Kind,
    /// The statement of the property.
    pub text: &'static str,
    /// Whether the property holds.
    pub holds: bool,
    /// Whether the property was judged in every state that it speaks of.
    pub is_judged: bool,
}

/// A path to a violation: actions from the initial state and, for a progress property, a cycle that repeats for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The universe.
    pub universe: &'static str,
    /// The seeded mutant, if any.
    pub mutant: Option<ProtocolMutant>,
    /// The property that the path violates, or shows in the case of a `sometimes`.
    pub property: &'static str,
    /// Whether the path violates the property, instead of showing it.
    pub is_violation: bool,
    /// The steps to the violation, or to the cycle.
    pub stem: Vec<Action>,
    /// The steps that repeat for ever; empty when no further step is possible.
    pub cycle: Vec<Action>,
    /// The thread or recall that waits for ever.
    pub waiting: Option<String>,
}

impl Counterexample {
    /// Returns the number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.stem.len() + self.cycle.len()
    }
}

/// The result of a check.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The universe.
    pub universe: &'static Universe,
    /// The number of generated states, with repetitions.
    pub states: u64,
    /// The number of distinct states.
    pub unique_states: u64,
    /// The number of steps to the farthest state.
    pub depth: usize,
    /// The duration of the exploration, in seconds.
    pub seconds: f64,
    /// The duration of the progress pass in seconds, and its memory in bytes.
    pub progress: Option<(f64, usize)>,
    /// The most bytes that the exploration and the graph took, as the explorer counts them.
    pub bytes: usize,
    /// The probability that a state was missed because two states share a fingerprint.
    pub missed: f64,
    /// Whether every state was reached.
    pub is_complete: bool,
    /// Whether symmetry reduction was used, so that only safety was judged.
    pub is_reduced: bool,
    /// Whether the number of states is the pinned one; `None` when the check has no pinned number.
    pub is_pinned: Option<bool>,
    /// The verdicts.
    pub judgements: Vec<Judgement>,
    /// A shortest counterexample for each violated property, safety first.
    pub counterexamples: Vec<Counterexample>,
}

/// The overall result of the check of a universe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every property of the universe was judged and holds.
    Holds,
    /// No judged property fails, but a property was not judged or a state was not reached.
    Unjudged,
    /// A property fails, or the number of states is not the pinned one.
    Fails,
}

impl Verdict {
    /// Returns the name of the verdict in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Unjudged => "unjudged",
            Self::Fails => "fails",
        }
    }
}

impl Outcome {
    /// Returns the verdict on the whole universe.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut judged = self.judgements.iter().filter(|own| own.is_judged);
        if self.is_pinned == Some(false) || judged.any(|own| !own.holds) {
            Verdict::Fails
        } else if self.is_complete && self.unjudged().next().is_none() {
            Verdict::Holds
        } else {
            Verdict::Unjudged
        }
    }

    /// Returns the properties of the universe that the check did not judge.
    pub fn unjudged(&self) -> impl Iterator<Item = &Judgement> {
        self.judgements.iter().filter(|own| !own.is_judged)
    }

    /// Returns whether every property was judged and holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict() == Verdict::Holds
    }
}

/// Checks a universe with the sound machines.
#[must_use]
pub fn check(universe: &'static Universe, settings: &Settings<'_>) -> Outcome {
    let model = Model::new(universe, Sound);
    run(&model, None, settings)
}

/// Checks a universe with a mutant of the machines.
#[must_use]
pub fn check_mutant(
    universe: &'static Universe,
    mutant: ProtocolMutant,
    settings: &Settings<'_>,
) -> Outcome {
    let model = Model::new(universe, Seeded(mutant));
    run(&model, Some(mutant), settings)
}

fn run<H: Hook>(
    model: &Model<H>,
    mutant: Option<ProtocolMutant>,
    settings: &Settings<'_>,
) -> Outcome {
    let Some(reduced) = model.clone().reduced().filter(|_| settings.by_symmetry) else {
        return explore_and_judge(model, mutant, settings, false);
    };
    let outcome = explore_and_judge(&reduced, mutant, settings, true);
    if outcome.counterexamples.is_empty() {
        return outcome;
    }
    // The names change along a reduced path, so the counterexample comes from a check without reduction.
    explore_and_judge(model, mutant, settings, false)
}

fn explore_and_judge<H: Hook>(
    model: &Model<H>,
    mutant: Option<ProtocolMutant>,
    settings: &Settings<'_>,
    is_reduced: bool,
) -> Outcome {
    let judges_progress = model.universe.judges_progress && !is_reduced;
    let options = Options {
        threads: settings.threads.max(1),
        edges: judges_progress,
        states_max: None,
        on_progress: settings.on_progress,
        stop_at_violation: settings.is_hunt,
    };
    let exploration = explore(model, &options)
        .expect("every universe of the table has properties and an initial state");
    let mut counterexamples = safety(model, mutant, &exploration);
    let mut judgements = judge(model, &exploration);
    let mut progress = None;
    // Without a graph, as under symmetry reduction, the properties are listed as not judged.
    if model.universe.judges_progress {
        let report = exploration
            .graph
            .as_ref()
            .map(|graph| progress::check(graph, |state| exploration.depth_of(state)));
        for (place, (name, rule, _, text)) in PROGRESS.into_iter().enumerate() {
            let lassos = report.iter().flat_map(|report| &report.lassos);
            let own: Vec<&Lasso> = lassos
                .filter(|lasso| property::obligation(lasso.obligation).0 == place)
                .collect();
            let shortest = own
                .iter()
                .min_by_key(|lasso| lasso.cycle.len() + exploration.depth_of(lasso.start) as usize);
            if let Some(lasso) = shortest {
                counterexamples.push(lasso_example(model, mutant, &exploration, lasso, name));
            }
            let is_judged = report.is_some();
            let holds = is_judged && own.is_empty();
            judgements.push(Judgement {
                name,
                rule,
                kind: Kind::Progress,
                text,
                holds,
                is_judged,
            });
        }
        progress = report.map(|report| (report.seconds, report.bytes));
    }
    let pinned = model.universe.unique_states;
    let is_plain = mutant.is_none() && !is_reduced;
    Outcome {
        universe: model.universe,
        states: exploration.states,
        unique_states: exploration.unique_states,
        depth: exploration.depth,
        seconds: exploration.seconds,
        progress,
        bytes: exploration.peak_bytes,
        missed: exploration.missed_state_probability(),
        is_complete: exploration.complete,
        is_reduced,
        is_pinned: is_plain.then_some(exploration.unique_states == pinned),
        judgements,
        counterexamples,
    }
}

fn judge<H: Hook>(model: &Model<H>, exploration: &Exploration) -> Vec<Judgement> {
    let judged = property::of::<H>(model.universe).map(|checked| {
        let verdict = exploration
            .verdict(checked.name)
            .expect("the explorer has a verdict for each property that the model listed");
        let is_judged = verdict.witness.is_some() || verdict.evaluated == exploration.unique_states;
        let (name, rule, kind, text) = (checked.name, checked.rule, checked.kind, checked.text);
        Judgement {
            name,
            rule,
            kind,
            text,
            holds: verdict.holds(),
            is_judged,
        }
    });
    judged.collect()
}

/// Returns a shortest violation of each `always`.
fn safety<H: Hook>(
    model: &Model<H>,
    mutant: Option<ProtocolMutant>,
    exploration: &Exploration,
) -> Vec<Counterexample> {
    let always = property::of::<H>(model.universe).filter(|checked| checked.kind == Kind::Always);
    let witnesses = always
        .filter_map(|checked| Some((checked.name, exploration.verdict(checked.name)?.witness?)));
    let mut found: Vec<Counterexample> = witnesses
        .map(|(property, witness)| Counterexample {
            universe: model.universe.name,
            mutant,
            property,
            is_violation: true,
            stem: exploration
                .path(model, witness)
                .steps
                .iter()
                .map(|step| step.action)
                .collect(),
            cycle: Vec::new(),
            waiting: None,
        })
        .collect();
    found.sort_by_key(Counterexample::steps);
    found
}

/// Converts a lasso to actions, by replaying it through the machines.
fn lasso_example<H: Hook>(
    model: &Model<H>,
    mutant: Option<ProtocolMutant>,
    exploration: &Exploration,
    lasso: &Lasso,
    property: &'static str,
) -> Counterexample {
    let path = exploration.path(model, lasso.start);
    let mut state = path.last().clone();
    let mut cycle = Vec::new();
    for (at, edge) in &lasso.cycle {
        assert_eq!(
            exploration.id(&state),
            Some(*at),
            "the replay visits the states of the cycle, because the model is deterministic"
        );
        let successor = exploration.successors(model, &state).swap_remove(*edge);
        cycle.push(successor.action);
        state = successor.state;
    }
    assert_eq!(
        exploration.id(&state),
        Some(lasso.start),
        "the replay of the cycle ends at its start, because the model is deterministic"
    );
    Counterexample {
        universe: model.universe.name,
        mutant,
        property,
        is_violation: true,
        stem: path.steps.iter().map(|step| step.action).collect(),
        cycle,
        waiting: Some(property::obligation(lasso.obligation).1),
    }
}
