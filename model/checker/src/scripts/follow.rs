//! The steps of a script that correspond to a run of the model, as the store sees the run.
//!
//! A run begins with existing sessions and connected processes, while a script begins with an empty store. A script
//! therefore first creates the sessions, with a process of its own, so all numbers drawn afterwards differ from the
//! numbers of the run. `Follower` takes both stores through the same inputs and notes which numbers correspond.

use super::Step;
use super::place::Place;
use crate::system::{ATTRIBUTES, Action, Model, PROCESSES, SESSIONS, StoreSide, System};
use std::collections::BTreeMap;
use tenure_protocol::attributes::Change;
use tenure_protocol::message::{AcquireRequest, Granted, Hello, Release, WaitMode};
use tenure_protocol::renumber::Numbers;
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{
    Delta, Incarnation, Link, ProcessId, Request, Sound, Stamp, Time, ToProcess, ToStore, Token,
    Value, Version,
};

/// The process that creates the sessions.
static MAKER: ProcessId = ProcessId::from_static("p0");

/// A follower of a run; see the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Follower {
    place: Place,
    /// The numbers of the model's store, each with the corresponding number of the script.
    names: BTreeMap<Stamp, Stamp>,
}

impl Follower {
    /// Creates a follower at the beginning of a run, and returns it with the steps that lead there.
    pub(super) fn new(model: &Model<Sound>, start: &System<Sound>) -> (Self, Vec<Step>) {
        let ends = model.store_settings.time_to_live_ms.is_some();
        let mut own = Self {
            place: if ends {
                Place::first_that_ends()
            } else {
                Place::first()
            },
            names: BTreeMap::from([(Stamp::default(), Stamp::default())]),
        };
        let mut steps = own.make(model);
        for (process, peer) in start.store.machine.peers() {
            let link = peer
                .link()
                .expect("Model::initial has connected every process");
            let input = said(process, link, hello(link));
            own.place.step(input.clone());
            steps.push(Step::of(&input));
        }
        (own, steps)
    }

    fn make(&mut self, model: &Model<Sound>) -> Vec<Step> {
        let link = Link {
            incarnation: Incarnation(1),
            number: 1,
        };
        let mut steps = Vec::new();
        let mut say = |place: &mut Place, message| {
            let input = said(&MAKER, link, message);
            steps.push(Step::of(&input));
            place.prepare(input)
        };
        say(&mut self.place, hello(link));
        for index in 0..model.universe.sessions {
            let session = SESSIONS[usize::from(index)].clone();
            let acquire = AcquireRequest {
                session: session.clone(),
                request: Request(u64::from(index) + 1),
                known: None,
                wait_mode: WaitMode::Wait,
                ticket: None,
                existing: false,
            };
            let granted = say(&mut self.place, ToStore::Acquire(acquire));
            let release = ToStore::Release(Release {
                session,
                token: token_of(&granted),
                base: Version::NONE,
                delta: beginning(model.universe.attributes),
                requeue: None,
                idle_ms: 0,
            });
            let released = say(&mut self.place, release);
            let theirs = Stamp {
                epoch: 1,
                sequence: u64::from(index) + 1,
            };
            self.names.insert(theirs, version_of(&released));
        }
        say(&mut self.place, ToStore::Goodbye);
        steps
    }

    /// Returns the steps of a script for an action. The error is the reason for which no black box can do the action.
    pub(super) fn follow(
        &mut self,
        model: &Model<Sound>,
        state: &System<Sound>,
        action: Action,
    ) -> Result<Vec<Step>, &'static str> {
        if action == Action::Restart {
            if !is_durable(&state.store) {
                return Err("needs the store to die before something is durable");
            }
            self.place.restart();
            return Ok(vec![Step::restart()]);
        }
        let Some(input) = input(state, action) else {
            return Ok(Vec::new());
        };
        let mut store = state.store.machine.clone();
        let mut theirs = Vec::new();
        store.step(model.universe.now().0, input.clone(), &mut theirs);
        let input = self.ours(input)?;
        let ours = self.place.step(input.clone());
        let stamps = |outputs: &[Output]| outputs.iter().flat_map(stamps_of).collect::<Vec<_>>();
        let (theirs, ours) = (stamps(&theirs), stamps(&ours));
        if theirs.len() != ours.len() {
            return Err("the store of the universe has other limits");
        }
        self.names.extend(theirs.into_iter().zip(ours));
        Ok(vec![Step::of(&input)])
    }

    /// Returns an input with the script's numbers.
    fn ours(&self, mut input: Input) -> Result<Input, &'static str> {
        match &mut input {
            Input::Message {
                process, message, ..
            } => {
                let mut named = Named {
                    names: &self.names,
                    is_known: true,
                };
                message.visit(process, &mut named);
                if !named.is_known || !self.place.can_say(message) {
                    return Err("needs a number that nobody outside was told");
                }
            }
            Input::Timer(timer) => self.place.race(timer).map_or(Ok(()), Err)?,
            _ => {}
        }
        Ok(input)
    }
}

/// Returns whether a store that dies now loses nothing.
pub(super) fn is_durable(store: &StoreSide<Sound>) -> bool {
    store.updates.is_empty()
}

/// Returns the input of an action at the store, if it has one.
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

fn said(process: &ProcessId, link: Link, message: ToStore) -> Input {
    Input::Message {
        process: process.clone(),
        link,
        message,
    }
}

fn hello(link: Link) -> ToStore {
    ToStore::Hello(Hello {
        minor: tenure_protocol::MINOR,
        incarnation: link.incarnation,
        sent: Time::ZERO,
        holds: Vec::new(),
        waits: Vec::new(),
    })
}

/// Returns the attributes that a session of the model has at the beginning.
fn beginning(attributes: u8) -> Delta {
    let names = ATTRIBUTES.iter().take(usize::from(attributes));
    let changes = names.map(|name| Change {
        name: name.clone(),
        value: Some(Value::from_static(b"0")),
    });
    changes.collect()
}

fn answers(outputs: &[Output]) -> impl Iterator<Item = &ToProcess> {
    outputs.iter().filter_map(|output| match output {
        Output::Send { message, .. } => Some(message),
        _ => None,
    })
}

fn token_of(outputs: &[Output]) -> Token {
    let token = answers(outputs).find_map(|message| match message {
        ToProcess::Granted(Granted { token, .. }) => Some(*token),
        _ => None,
    });
    token.expect("the maker asks for a free session, which the store grants at once")
}

fn version_of(outputs: &[Output]) -> Stamp {
    let version = answers(outputs).find_map(|message| match message {
        ToProcess::Released { version, .. } => *version,
        _ => None,
    });
    version
        .expect("the maker releases under its current token, which the store accepts")
        .0
}

/// Returns the numbers in an output, in order.
fn stamps_of(output: &Output) -> Vec<Stamp> {
    let mut told = StepEvents::default();
    if let Output::Send {
        process, message, ..
    } = output
    {
        message.clone().visit(process, &mut told);
    }
    told.0
}

#[derive(Default)]
struct StepEvents(Vec<Stamp>);

/// A visitor that replaces the model's numbers by the script's.
struct Named<'n> {
    names: &'n BTreeMap<Stamp, Stamp>,
    is_known: bool,
}

impl Numbers for StepEvents {
    fn stamp(&mut self, stamp: &mut Stamp) {
        self.0.push(*stamp);
    }
}

impl Numbers for Named<'_> {
    fn stamp(&mut self, stamp: &mut Stamp) {
        match self.names.get(stamp) {
            Some(ours) => *stamp = *ours,
            None => self.is_known = false,
        }
    }
}
