//! The universes in which a property applies, and helpers that read a state.

use crate::system::app::Do;
use crate::system::{PROCESSES, System};
use crate::universe::Universe;
use tenure_protocol::process::{Grant, Session as Client};
use tenure_protocol::store::Session;
use tenure_protocol::{Hook, SessionId, ToProcess};

pub(super) fn everywhere(_: &Universe) -> bool {
    true
}

/// No living process loses its grant without its consent, so its belief and the store's state agree.
pub(super) fn is_gentle(universe: &Universe) -> bool {
    !universe.lingers
}

/// No message is lost on an open connection. Where messages are lost, a pending timer repeats them.
pub(super) fn loses_nothing(universe: &Universe) -> bool {
    universe.channel_max.is_none()
}

/// No wait ends early. Where waits do, a repetition of a request may pass the end of that request.
pub(super) fn never_gives_up(universe: &Universe) -> bool {
    !universe.abandons
}

pub(super) fn queues(universe: &Universe) -> bool {
    universe.programs.len() > 2 && (universe.store)().limits.waiters_max > 1
}

pub(super) fn fills_queue(universe: &Universe) -> bool {
    (universe.store)().limits.waiters_max + 1 < universe.programs.len()
}

pub(super) fn asks_existing(universe: &Universe) -> bool {
    universe.asks_existing() && !universe.is_older
}

/// Several threads of a process wait for the same session.
pub(super) fn is_joined(universe: &Universe) -> bool {
    asks_existing(universe) && universe.programs[0].len() > 1
}

pub(super) fn is_older(universe: &Universe) -> bool {
    universe.is_older
}

pub(super) fn is_deaf(universe: &Universe) -> bool {
    universe.is_deaf
}

pub(super) fn several_processes(universe: &Universe) -> bool {
    universe.programs.len() > 1
}

/// The store sees that a waiting process has no connection.
pub(super) fn loses_waiters(universe: &Universe) -> bool {
    several_processes(universe) && (universe.cuts || universe.crashes)
}

pub(super) fn keeps_bases(universe: &Universe) -> bool {
    several_processes(universe) && (universe.process)().keeps_base
}

pub(super) fn keeps_base(universe: &Universe) -> bool {
    universe.gives_back || universe.abandons
}

pub(super) fn crosses(universe: &Universe) -> bool {
    universe.gives_back
}

pub(super) fn steps(universe: &Universe) -> impl Iterator<Item = Do> {
    universe
        .programs
        .iter()
        .flat_map(|threads| threads.iter())
        .flat_map(|program| program.iter().copied())
}

pub(super) fn commits(universe: &Universe) -> bool {
    steps(universe).any(|step| matches!(step, Do::Commit(_)))
}

pub(super) fn tries(universe: &Universe) -> bool {
    steps(universe).any(|step| matches!(step, Do::Try(..)))
}

pub(super) fn several_threads(universe: &Universe) -> bool {
    several_processes(universe) && universe.programs.iter().any(|threads| threads.len() > 1)
}

pub(super) fn nests(universe: &Universe) -> bool {
    universe.name == "calm"
}

pub(super) fn two_attributes(universe: &Universe) -> bool {
    matches!(universe.name, "calm" | "threads")
}

pub(super) fn crossing(universe: &Universe) -> bool {
    universe.name == "crossing"
}

pub(super) fn renames(universe: &Universe) -> bool {
    steps(universe).any(|step| matches!(step, Do::Rename(..)))
}

pub(super) fn sessions<H: Hook>(state: &System<H>) -> impl Iterator<Item = (&SessionId, &Session)> {
    state.store.machine.sessions()
}

pub(super) fn clients<H: Hook>(
    state: &System<H>,
) -> impl Iterator<Item = (usize, &SessionId, &Client)> {
    state.each_machine().flat_map(|(index, machine)| {
        machine
            .sessions()
            .map(move |(id, client)| (index, id, client))
    })
}

/// Returns whether a message that `is_it` accepts is on its way to a process.
pub(super) fn is_under_way<H: Hook>(state: &System<H>, is_it: impl Fn(&ToProcess) -> bool) -> bool {
    state
        .each_wire()
        .any(|(_, wire)| wire.down.iter().any(|(_, message)| is_it(message)))
}

/// Returns whether the store agrees that the process at `index` has this grant.
pub(super) fn is_current<H: Hook>(
    state: &System<H>,
    index: usize,
    id: &SessionId,
    grant: &Grant,
) -> bool {
    state
        .store
        .machine
        .session(id)
        .is_some_and(|session| session.is_held(&PROCESSES[index], grant.token))
}
