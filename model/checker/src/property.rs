//! What is checked in every state: safety as `always`, and beside it `sometimes`, that the races are reached.
//!
//! Properties of one machine are the invariants of `tenure_protocol::invariant`, by the same functions. Here stand those
//! that need more than one machine, and those that `watch` found in a step. Each names the rule that it follows.

use crate::system::app::Do;
use crate::system::{Flaw, Model, PROCESSES, ProcessSide, SESSIONS, System, thread_id};
use crate::universe::Universe;
use stateright::Property;
use tenure_protocol::message::{Patience, ToProcess, ToStore};
use tenure_protocol::process::{Connection, Grant, Phase, Session as Client, ThreadClaim};
use tenure_protocol::store::Session;
use tenure_protocol::{
    AttributeName, Hook, Process, SessionId, Stamp, Store, Value, Version, invariant,
};

/// The kind of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It holds in every state.
    Always,
    /// It holds in some state: the race is reached.
    Sometimes,
    /// Whoever waits is answered in the end: over the whole graph, under weak fairness.
    Progress,
}

impl Kind {
    /// Its name in tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Sometimes => "sometimes",
            Self::Progress => "progress",
        }
    }
}

/// A property, and where it is checked.
#[derive(Clone, Copy, Debug)]
pub struct Checked<H: Hook> {
    /// Its name.
    pub name: &'static str,
    /// The rule of the protocol that it follows.
    pub rule: u8,
    /// Always or sometimes.
    pub kind: Kind,
    /// What it says, for a reader of a counterexample.
    pub text: &'static str,
    condition: fn(&Model<H>, &System<H>) -> bool,
    applies: fn(&Universe) -> bool,
}

impl<H: Hook> Checked<H> {
    /// As Stateright takes it.
    #[must_use]
    pub fn property(self) -> Property<Model<H>> {
        match self.kind {
            Kind::Always => Property::always(self.name, self.condition),
            Kind::Sometimes => Property::sometimes(self.name, self.condition),
            Kind::Progress => unreachable!("progress is checked by the pass over the graph"),
        }
    }

    /// Whether it holds in a state.
    #[must_use]
    pub fn holds(&self, model: &Model<H>, state: &System<H>) -> bool {
        (self.condition)(model, state)
    }
}

/// The two progress properties: name, rule, text.
pub const PROGRESS: [(&str, u8, &str); 2] = [
    (
        "waiting ends",
        14,
        "a thread that waits is granted, refused or told that the session has gone",
    ),
    ("recalled leads to free", 3, "a recalled grant comes back"),
];

/// The obligation of a thread, and of a recalled holder, as bits. See [`pending`].
const RECALLS_FROM: usize = 9;

/// The obligations that are pending: a bit for each waiting thread, and one for each recalled holder.
pub(crate) fn pending<H: Hook>(state: &System<H>) -> u64 {
    let mut bits = 0;
    for (index, process) in state.each_process() {
        for (thread, own) in process.threads.iter().enumerate() {
            bits |= u64::from(own.is_waiting) << (index * 3 + thread);
        }
    }
    for (at, id) in SESSIONS.iter().enumerate() {
        let Some(session) = state.store.machine.session(id) else {
            continue;
        };
        let is_recalled = session
            .recall()
            .is_some_and(|recall| recall.reason.insists());
        if let (Some(holder), true) = (session.holder(), is_recalled) {
            let index = PROCESSES
                .iter()
                .position(|process| process == holder)
                .expect("a process of the model");
            bits |= 1 << (RECALLS_FROM + at * 3 + index);
        }
    }
    bits
}

/// The progress property of an obligation, and who waits.
#[must_use]
pub fn obligation(bit: u8) -> (usize, String) {
    let bit = usize::from(bit);
    if bit < RECALLS_FROM {
        (
            0,
            format!("thread t{} of process p{}", bit % 3 + 1, bit / 3 + 1),
        )
    } else {
        let (session, process) = ((bit - RECALLS_FROM) / 3, (bit - RECALLS_FROM) % 3);
        (
            1,
            format!("the recall of s{} from p{}", session + 1, process + 1),
        )
    }
}

/// The properties of a universe, in the order in which they are shown.
pub fn of<H: Hook>(universe: &Universe) -> impl Iterator<Item = Checked<H>> {
    all()
        .into_iter()
        .filter(|checked| (checked.applies)(universe))
}

fn everywhere(_: &Universe) -> bool {
    true
}

/// Nothing takes a grant from a process that lives: believing and having it are one.
fn is_gentle(universe: &Universe) -> bool {
    !universe.lingers
}

macro_rules! always {
    ($name:literal, $rule:literal, $text:literal, $applies:expr, $condition:expr) => {
        Checked {
            name: $name,
            rule: $rule,
            kind: Kind::Always,
            text: $text,
            condition: $condition,
            applies: $applies,
        }
    };
}

macro_rules! sometimes {
    ($name:literal, $rule:literal, $text:literal, $applies:expr, $condition:expr) => {
        Checked {
            name: $name,
            rule: $rule,
            kind: Kind::Sometimes,
            text: $text,
            condition: $condition,
            applies: $applies,
        }
    };
}

macro_rules! flaw {
    ($name:literal, $rule:literal, $text:literal, $($flaw:ident)|+) => {
        always!($name, $rule, $text, everywhere, |_, state| !matches!(state.flaw, Some($(Flaw::$flaw)|+)))
    };
}

/// An invariant of the store, by its place among those of `tenure_protocol::invariant`.
macro_rules! of_store {
    ($place:literal, $text:literal) => {
        Checked {
            name: invariant::STORE[$place].0,
            rule: invariant::STORE[$place].1,
            kind: Kind::Always,
            text: $text,
            condition: |_, state| state.store.broken() & (1 << $place) == 0,
            applies: everywhere,
        }
    };
}

/// An invariant of a process, by its place among those of `tenure_protocol::invariant`.
macro_rules! of_process {
    ($place:literal, $text:literal) => {
        Checked {
            name: invariant::PROCESS[$place].0,
            rule: invariant::PROCESS[$place].1,
            kind: Kind::Always,
            text: $text,
            condition: |_, state| {
                state
                    .processes
                    .iter()
                    .flatten()
                    .all(|process| process.broken() & (1 << $place) == 0)
            },
            applies: everywhere,
        }
    };
}

/// A bit for each invariant of the store that does not hold.
pub(crate) fn broken_in_store<H: Hook>(store: &Store<H>) -> u32 {
    let invariants = invariant::of_store();
    invariants
        .iter()
        .enumerate()
        .map(|(place, invariant)| u32::from(!(invariant.holds)(store)) << place)
        .sum()
}

/// A bit for each invariant of a process that does not hold, and one when its threads do not know what they have.
pub(crate) fn broken_in_process<H: Hook>(side: &ProcessSide<H>, universe: &Universe) -> u32 {
    let Some(machine) = &side.machine else {
        return 0;
    };
    let invariants = invariant::of_process();
    let broken = invariants
        .iter()
        .enumerate()
        .map(|(place, invariant)| u32::from(!(invariant.holds)(machine)) << place);
    broken.sum::<u32>() | u32::from(!told(side, machine, universe)) << invariants.len()
}

/// All properties.
#[must_use]
#[allow(clippy::too_many_lines)] // A table.
pub fn all<H: Hook>() -> Vec<Checked<H>> {
    vec![
        always!(
            "exclusive",
            1,
            "at most one living process has the grant of a session",
            is_gentle,
            exclusive
        ),
        always!(
            "fenced",
            9,
            "a process that believes in a grant it no longer has holds an older token than the holder's",
            everywhere,
            fenced
        ),
        of_store!(
            0,
            "the record of a session names at most one holder, and it is the one in memory"
        ),
        of_process!(
            0,
            "a thread holds an attribute only while its process has the grant"
        ),
        of_process!(1, "no two threads hold one attribute"),
        always!(
            "told",
            11,
            "a thread that has locked something has it, or was told that it was lost",
            everywhere,
            |_, state| {
                state
                    .processes
                    .iter()
                    .flatten()
                    .all(|process| process.broken() & (1 << invariant::PROCESS.len()) == 0)
            }
        ),
        of_store!(2, "whoever waits at the store has made it recall"),
        of_store!(3, "nobody waits for a session that nobody holds"),
        of_store!(1, "waiters stand in the order of their tickets"),
        always!(
            "tickets kept",
            5,
            "a waiter stands at the store under the ticket that it was given",
            never_gives_up,
            tickets_kept
        ),
        flaw!(
            "first come, first served",
            5,
            "a grant goes to the one that has waited longest",
            PassedOver
        ),
        of_store!(
            6,
            "no process stands in a queue twice, or waits for what it holds"
        ),
        of_store!(7, "no queue is longer than its limit"),
        always!(
            "agreement",
            7,
            "client state of the store's version, less what changed since, is the primary state",
            everywhere,
            agreement
        ),
        always!(
            "durable before visible",
            8,
            "every grant and version that a process knows of is durable",
            restarts,
            durable_first
        ),
        flaw!(
            "serial writes",
            9,
            "the primary state changes only by the current grant's token, from the version it has",
            Unfenced | Misapplied
        ),
        of_store!(
            5,
            "every holder and waiter has a lease, under its current incarnation"
        ),
        of_store!(4, "a recall is of a current grant"),
        of_process!(2, "a process without a lease has no grant"),
        always!(
            "goodbye is final",
            10,
            "after a goodbye the process has no lease",
            everywhere,
            goodbye_is_final
        ),
        flaw!(
            "late writes are lost",
            11,
            "only what a thread has unlocked or committed leaves the process, and all of that",
            LeakedWrite | LostWrite
        ),
        of_process!(5, "a write set belongs to a thread inside"),
        flaw!(
            "nobody is evicted unheard",
            11,
            "a thread inside loses its attributes only when it is told",
            Evicted
        ),
        flaw!(
            "the gate",
            12,
            "after the recall no thread enters that was not inside",
            AdmittedLate
        ),
        flaw!(
            "order at an attribute",
            12,
            "threads are admitted in the order in which they came, those inside first",
            Overtook
        ),
        of_process!(4, "a grant that nobody uses is not waited for"),
        always!(
            "a try waits for no thread",
            13,
            "no try stands behind a holder that has said it is busy",
            everywhere,
            tries_do_not_wait
        ),
        flaw!(
            "ends once",
            14,
            "a request is answered exactly once",
            EndedTwice
        ),
        of_process!(3, "whoever waits in a process has made it ask the store"),
        flaw!(
            "recalls remembered",
            14,
            "a recall that came before its grant is known when the grant comes",
            ForgotRecall
        ),
        flaw!(
            "peers behave",
            15,
            "neither machine thinks that the other has broken the protocol",
            Misbehaved
        ),
        flaw!(
            "destroyed stays destroyed",
            16,
            "no late write brings a session back, and none ends under its holder",
            Resurrected | EndedUnderHolder
        ),
        always!(
            "rest is quiet",
            14,
            "when nothing moves, nobody waits and nothing is recalled",
            loses_nothing,
            rest_is_quiet
        ),
        sometimes!(
            "reused without a message",
            2,
            "a thread uses what another has changed under the same grant",
            everywhere,
            reused
        ),
        sometimes!(
            "recalled while inside",
            3,
            "a recall finds a thread inside",
            several_processes,
            |_, state| clients(state).any(|(_, _, client)| {
                client.grant().is_some_and(|grant| grant.is_closed)
                    && !client.lock().holders().is_empty()
            })
        ),
        sometimes!(
            "recall crosses release",
            3,
            "a recall and the release of the same grant pass each other",
            crosses,
            recall_crosses_release
        ),
        sometimes!(
            "a queue of two",
            5,
            "two processes wait for a third",
            queues,
            |_, state| { sessions(state).any(|(_, session)| session.lock().waiters().len() > 1) }
        ),
        sometimes!(
            "nothing to send",
            7,
            "a grant travels without its state",
            keeps_base,
            |_, state| granted(state, |message| {
                matches!(
                    message,
                    ToProcess::Granted {
                        state: tenure_protocol::attributes::State::Unchanged,
                        ..
                    }
                )
            })
        ),
        sometimes!(
            "difference sent",
            7,
            "a grant travels with a difference",
            keeps_bases,
            |_, state| granted(state, |message| {
                matches!(
                    message,
                    ToProcess::Granted {
                        state: tenure_protocol::attributes::State::Delta(_),
                        ..
                    }
                )
            })
        ),
        sometimes!(
            "whole state sent",
            7,
            "a grant travels with the whole state",
            everywhere,
            |_, state| granted(state, |message| {
                matches!(
                    message,
                    ToProcess::Granted {
                        state: tenure_protocol::attributes::State::Full(_),
                        ..
                    }
                )
            })
        ),
        sometimes!(
            "committed under a recall",
            11,
            "a commit is under way while the grant is recalled",
            commits,
            |_, state| {
                clients(state).any(|(_, _, client)| {
                    client.commit().is_some() && client.grant().is_some_and(|grant| grant.is_closed)
                })
            }
        ),
        sometimes!(
            "insider takes more",
            12,
            "behind a closed gate a thread inside takes a further attribute",
            nests,
            |_, state| {
                clients(state).any(|(_, _, client)| {
                    client.grant().is_some_and(|grant| grant.is_closed)
                        && client.lock().holders().len() > client.inside() as usize
                })
            }
        ),
        sometimes!(
            "outsider waits at the gate",
            12,
            "a thread waits behind a closed gate",
            several_threads,
            |_, state| {
                clients(state).any(|(_, _, client)| {
                    client.grant().is_some_and(|grant| grant.is_closed)
                        && client.lock().waiting() > 0
                })
            }
        ),
        sometimes!(
            "two inside",
            12,
            "two threads are inside with different attributes",
            two_attributes,
            |_, state| { clients(state).any(|(_, _, client)| client.inside() > 1) }
        ),
        sometimes!(
            "recall before its grant",
            14,
            "a recall comes before the grant that it recalls",
            |universe| universe.channel_max.is_some(),
            |_, state| clients(state).any(|(_, _, client)| client.early_recall().is_some())
        ),
        sometimes!(
            "request crosses its grant",
            14,
            "a request is repeated while its grant is under way",
            |universe| universe.channel_max.is_some(),
            request_crosses_grant
        ),
        sometimes!(
            "grant crosses cancel",
            14,
            "a request is cancelled while its grant is under way",
            |universe| universe.abandons,
            grant_crosses_cancel
        ),
        sometimes!(
            "release after reconnect",
            15,
            "a release without an answer survives a cut",
            |universe| universe.cuts,
            |_, state| {
                state.each_machine().any(|(_, machine)| {
                    machine.connection() == Connection::Down
                        && machine
                            .sessions()
                            .any(|(_, client)| matches!(client.phase(), Phase::Releasing { .. }))
                })
            }
        ),
        sometimes!(
            "holder is dead",
            10,
            "the store waits for a process that has died",
            |universe| universe.crashes,
            |_, state| {
                sessions(state).any(|(_, session)| {
                    session.recall().is_some()
                        && session.holder().is_some_and(|holder| {
                            state.each_process().any(|(index, side)| {
                                PROCESSES[index] == *holder && side.machine.is_none()
                            })
                        })
                })
            }
        ),
        sometimes!(
            "takeover after restart",
            8,
            "a process keeps its grant over a restart of the store",
            restarts,
            |_, state| {
                let epoch = state.store.machine.stamps().last().epoch;
                clients(state).any(|(_, _, client)| {
                    client
                        .grant()
                        .is_some_and(|grant| grant.token.0.epoch < epoch)
                        && sessions(state).any(|(_, session)| {
                            session
                                .record()
                                .head
                                .holder
                                .as_ref()
                                .map(|holder| holder.token)
                                == client.grant().map(|grant| grant.token)
                        })
                })
            }
        ),
        sometimes!(
            "revoked while inside",
            11,
            "the store takes a grant while a thread is inside and does not know",
            |universe| universe.lingers,
            |_, state| {
                clients(state).any(|(index, id, client)| {
                    client.inside() > 0
                        && client
                            .grant()
                            .is_some_and(|grant| !is_current(state, index, id, grant))
                })
            }
        ),
        sometimes!(
            "poisoned",
            10,
            "a thread was told that its grant was lost",
            |universe| universe.lingers,
            |_, state| { clients(state).any(|(_, _, client)| !client.poisoned().is_empty()) }
        ),
        sometimes!(
            "lease renewed",
            10,
            "a lease is renewed while a thread is inside",
            |universe| universe.clocks.is_some(),
            |_, state| {
                state.each_wire().any(|(index, wire)| {
                    wire.down
                        .iter()
                        .any(|(_, message)| matches!(message, ToProcess::Alive { .. }))
                        && clients(state)
                            .any(|(own, _, client)| own == index && client.inside() > 0)
                })
            }
        ),
        sometimes!(
            "lease lost",
            10,
            "a lease ends while its process has a grant",
            |universe| universe.clocks.is_some(),
            |_, state| {
                clients(state).any(|(index, _, client)| {
                    client.grant().is_some()
                        && state.store.machine.peer(&PROCESSES[index]).is_none()
                }) || state
                    .each_machine()
                    .any(|(_, machine)| machine.lease().is_none())
            }
        ),
        sometimes!(
            "try gets a kept grant",
            13,
            "a try gets what another process only kept",
            tries,
            |_, state| {
                sessions(state).any(|(_, session)| {
                    session
                        .lock()
                        .holders()
                        .iter()
                        .any(|place| place.patience == Patience::Try)
                })
            }
        ),
        sometimes!(
            "try refused",
            13,
            "a try is refused because a thread is inside elsewhere",
            tries,
            |_, state| granted(state, |message| {
                matches!(
                    message,
                    ToProcess::Refused {
                        why: tenure_protocol::message::Refusal::WouldBlock,
                        ..
                    }
                )
            })
        ),
        sometimes!(
            "recalled to end",
            16,
            "a kept session is recalled because its time may have ended",
            |universe| (universe.store)().time_to_live_ms.is_some(),
            |_, state| {
                sessions(state).any(|(_, session)| {
                    session.recall().is_some_and(|recall| {
                        recall.reason == tenure_protocol::message::Reason::Expiry
                    })
                })
            }
        ),
        sometimes!(
            "ended and back",
            16,
            "a session that was destroyed exists again, by a new grant",
            |universe| universe.watches_destroyed,
            |_, state| {
                state.destroyed[0] != Stamp::default()
                    && sessions(state).any(|(_, session)| session.record().exists())
            }
        ),
        sometimes!(
            "renamed",
            9,
            "a session gets the id of one that was destroyed",
            renames,
            |_, state| granted(state, |message| {
                matches!(
                    message,
                    ToProcess::Gone {
                        renamed: Some(_),
                        ..
                    }
                ) && state.destroyed[1] != Stamp::default()
            })
        ),
        sometimes!(
            "end told again",
            15,
            "the answer to a destroy or a rename is lost, and told by the welcome",
            renames,
            |_, state| granted(state, |message| {
                matches!(message, ToProcess::Welcome { gone, .. } if !gone.is_empty())
            })
        ),
        sometimes!(
            "deadlock found",
            17,
            "a cycle across sessions is refused",
            crossing,
            |_, state| granted(state, |message| {
                matches!(
                    message,
                    ToProcess::Refused {
                        why: tenure_protocol::message::Refusal::Deadlock { .. },
                        ..
                    }
                )
            })
        ),
    ]
}

/// Where messages are lost on a connection that stands, a timer is under way instead.
fn loses_nothing(universe: &Universe) -> bool {
    universe.channel_max.is_none()
}

/// A request that ended and a repetition of it may pass each other where waits end.
fn never_gives_up(universe: &Universe) -> bool {
    !universe.abandons
}

fn queues(universe: &Universe) -> bool {
    universe.programs.len() > 2 && (universe.store)().limits.waiters_max > 1
}

fn several_processes(universe: &Universe) -> bool {
    universe.programs.len() > 1
}

fn keeps_bases(universe: &Universe) -> bool {
    several_processes(universe) && (universe.process)().keeps_base
}

fn restarts(universe: &Universe) -> bool {
    universe.restarts
}

fn keeps_base(universe: &Universe) -> bool {
    universe.gives_back || universe.abandons
}

fn crosses(universe: &Universe) -> bool {
    universe.gives_back
}

fn steps(universe: &Universe) -> impl Iterator<Item = Do> {
    universe
        .programs
        .iter()
        .flat_map(|threads| threads.iter())
        .flat_map(|program| program.iter().copied())
}

fn commits(universe: &Universe) -> bool {
    steps(universe).any(|step| matches!(step, Do::Commit(_)))
}

fn tries(universe: &Universe) -> bool {
    steps(universe).any(|step| matches!(step, Do::Try(..)))
}

fn several_threads(universe: &Universe) -> bool {
    several_processes(universe) && universe.programs.iter().any(|threads| threads.len() > 1)
}

fn nests(universe: &Universe) -> bool {
    universe.name == "calm"
}

fn two_attributes(universe: &Universe) -> bool {
    matches!(universe.name, "calm" | "threads")
}

fn crossing(universe: &Universe) -> bool {
    universe.name == "crossing"
}

fn renames(universe: &Universe) -> bool {
    let mut steps = universe
        .programs
        .iter()
        .copied()
        .flatten()
        .copied()
        .flatten();
    steps.any(|step| matches!(step, Do::Rename(..)))
}

fn sessions<H: Hook>(state: &System<H>) -> impl Iterator<Item = (&SessionId, &Session)> {
    state.store.machine.sessions()
}

fn clients<H: Hook>(state: &System<H>) -> impl Iterator<Item = (usize, &SessionId, &Client)> {
    state.each_machine().flat_map(|(index, machine)| {
        machine
            .sessions()
            .map(move |(id, client)| (index, id, client))
    })
}

fn granted<H: Hook>(state: &System<H>, is_it: impl Fn(&ToProcess) -> bool) -> bool {
    state
        .each_wire()
        .any(|(_, wire)| wire.down.iter().any(|(_, message)| is_it(message)))
}

/// Whether the store agrees that the process at `index` has this grant.
fn is_current<H: Hook>(state: &System<H>, index: usize, id: &SessionId, grant: &Grant) -> bool {
    state
        .store
        .machine
        .session(id)
        .is_some_and(|session| session.is_held(&PROCESSES[index], grant.token))
}

fn exclusive<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    clients(state).all(|(index, id, client)| {
        client.grant().is_none_or(|grant| {
            is_current(state, index, id, grant) || is_ending(state, index, grant)
        })
    })
}

/// The session was ended or renamed by a thread of the process itself, which has not heard the answer: it is under way,
/// or was lost with its connection.
fn is_ending<H: Hook>(state: &System<H>, index: usize, grant: &Grant) -> bool {
    let answers = |message: &ToProcess| matches!(message, ToProcess::Gone { token, .. } if *token == grant.token);
    let is_under_way = || {
        state.each_wire().any(|(own, wire)| {
            own == index && wire.down.iter().any(|(_, message)| answers(message))
        })
    };
    let peer = state.store.machine.peer(&PROCESSES[index]);
    let machine = state.processes[index]
        .as_ref()
        .and_then(|side| side.machine.as_ref());
    let is_cut = || {
        let known = peer.and_then(|peer| peer.link()).map(Connection::Up);
        machine.is_some_and(|machine| Some(machine.connection()) != known)
    };
    grant.ending.is_some() && (is_under_way() || is_cut())
}

fn fenced<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    let is_new = |(id, session): (&SessionId, &Session)| {
        let ended = SESSIONS.iter().position(|own| own == id);
        let ended = ended.map_or_else(Stamp::default, |own| state.destroyed[own]);
        let holder = session.record().head.holder.as_ref();
        holder.is_none_or(|holder| holder.token.0 > ended)
    };
    sessions(state).all(is_new)
        && clients(state).all(|(index, id, client)| {
            let Some(grant) = client.grant() else {
                return true;
            };
            let holder = state
                .store
                .machine
                .session(id)
                .and_then(|session| session.record().head.holder.as_ref());
            holder.is_none_or(|holder| {
                if holder.process == PROCESSES[index] {
                    grant.token <= holder.token
                } else {
                    grant.token < holder.token
                }
            })
        })
}

/// What the threads of the model think they have, and what they have.
fn told<H: Hook>(side: &ProcessSide<H>, machine: &Process<H>, universe: &Universe) -> bool {
    let programs = universe.programs[usize::from(side.index)];
    programs.iter().enumerate().all(|(thread, program)| {
        let id = thread_id(thread);
        let is_own = |claim: &&ThreadClaim| claim.thread == id;
        let clients = || machine.sessions().map(|(_, client)| client);
        let held: usize = clients()
            .map(|client| client.lock().holders().iter().filter(is_own).count())
            .sum();
        let is_poisoned = clients().any(|client| {
            client
                .poisoned()
                .iter()
                .any(|(poisoned, _)| *poisoned == id)
        });
        let believed = side.threads[thread].locks(program).len();
        held == believed || (held < believed && is_poisoned)
    })
}

fn tickets_kept<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    clients(state).all(|(index, id, client)| {
        let Phase::Wanted {
            ticket: Some(ticket),
            request,
            ..
        } = client.phase()
        else {
            return true;
        };
        let Some(session) = state.store.machine.session(id) else {
            return true;
        };
        let mut places = session
            .lock()
            .waiters()
            .filter(|place| place.process == PROCESSES[index] && place.request == *request);
        places.all(|place| place.ticket == *ticket)
    })
}

/// A client state and the primary state of the same version are the same, less what changed since.
fn agreement<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    clients(state).all(|(index, id, client)| {
        let Some(session) = state.store.machine.session(id) else {
            return true;
        };
        let record = session.record();
        let is_held = client
            .grant()
            .is_some_and(|grant| is_current(state, index, id, grant));
        let arrived = client
            .commit()
            .filter(|commit| commit.base != record.head.version);
        if is_held && arrived.is_none() && client.version() != Some(record.head.version) {
            return false; // The holder has another version than the store.
        }
        if arrived.is_none() && client.version() != Some(record.head.version) {
            return true; // An old copy.
        }
        if !is_held && invariant::clean_version(client) != Some(record.head.version) {
            return true;
        }
        let expected = |name: &AttributeName, value: &Option<Value>, is_dirty: bool| {
            let sent = client.commit().and_then(|commit| {
                commit
                    .delta
                    .changes()
                    .iter()
                    .find(|change| change.name == *name)
            });
            match (sent, arrived.is_some()) {
                (Some(change), true) => Some(change.value.clone()),
                (Some(_), false) => None,
                (None, _) => (!is_dirty).then(|| value.clone()),
            }
        };
        let is_same = client.slots().iter().all(|slot| {
            expected(&slot.name, &slot.value, slot.is_dirty)
                .is_none_or(|value| value.as_ref() == record.value(&slot.name))
        });
        let is_whole = record
            .attributes()
            .iter()
            .filter(|attribute| attribute.value.is_some())
            .all(|attribute| {
                client
                    .slots()
                    .iter()
                    .any(|slot| slot.name == attribute.name)
            });
        is_same && is_whole
    })
}

fn durable_first<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    clients(state).all(|(_, id, client)| {
        let record = state.store.durable.get(id);
        let version = record.map_or(Version::NONE, |record| record.head.version);
        let token = record
            .and_then(|record| record.head.holder.as_ref())
            .map(|holder| holder.token);
        let is_known = client.version().is_none_or(|known| known <= version);
        is_known
            && client
                .grant()
                .is_none_or(|grant| token.is_some_and(|token| grant.token <= token))
    })
}

fn goodbye_is_final<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    state.each_machine().all(|(index, machine)| {
        let is_quiet = state
            .each_wire()
            .all(|(own, wire)| own != index || wire.up.is_empty());
        !machine.has_left() || !is_quiet || state.store.machine.peer(&PROCESSES[index]).is_none()
    })
}

fn tries_do_not_wait<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    sessions(state).all(|(_, session)| {
        session.busy().is_none()
            || session
                .lock()
                .waiters()
                .all(|place| place.patience == Patience::Wait)
    })
}

/// Nothing under way, every thread at its beginning.
fn rest_is_quiet<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    let is_at_rest = state.store.outbox.is_empty()
        && state
            .each_wire()
            .all(|(_, wire)| wire.is_open && wire.up.is_empty() && wire.down.is_empty())
        && state.each_process().all(|(_, side)| {
            side.threads.iter().all(crate::system::app::Thread::is_idle)
                && side.machine.as_ref().is_some_and(|machine| {
                    matches!(machine.connection(), Connection::Up(_))
                        && machine
                            .sessions()
                            .all(|(_, client)| client.returning().is_none())
                })
        });
    !is_at_rest
        || sessions(state)
            .all(|(_, session)| session.recall().is_none() && session.lock().waiting() == 0)
}

fn reused<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    clients(state).any(|(index, _, client)| {
        let is_silent = state
            .each_wire()
            .all(|(own, wire)| own != index || (wire.up.is_empty() && wire.down.is_empty()));
        let is_changed = client.slots().iter().any(|slot| slot.is_dirty);
        is_silent
            && is_changed
            && client.grant().is_some_and(|grant| grant.recall.is_none())
            && client.inside() > 0
    })
}

fn recall_crosses_release<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    state.each_wire().any(|(_, wire)| {
        wire.down.iter().any(|(_, down)| {
            let ToProcess::Recall { hold, .. } = down else { return false };
            wire.up.iter().any(|(_, up)| matches!(up, Some(ToStore::Release { token, .. }) if *token == hold.token))
        })
    })
}

fn request_crosses_grant<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    state.each_wire().any(|(_, wire)| {
        wire.down.iter().any(|(_, down)| {
            let ToProcess::Granted { request, .. } = down else {
                return false;
            };
            wire.up.iter().any(
                |(_, up)| matches!(up, Some(ToStore::Acquire(wish)) if wish.request == *request),
            )
        })
    })
}

fn grant_crosses_cancel<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    state.each_wire().any(|(_, wire)| {
        wire.down.iter().any(|(_, down)| {
            let ToProcess::Granted { request, .. } = down else { return false };
            wire.up.iter().any(|(_, up)| matches!(up, Some(ToStore::Cancel { request: other, .. }) if other == request))
        })
    })
}
