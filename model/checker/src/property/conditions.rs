//! The conditions of properties that are too long for a row of their table.

use super::scope::*;
use crate::system::{Model, PROCESSES, SESSIONS, System};
use tenure_protocol::message::{Granted, Reason, Release, ToProcess, WaitMode};
use tenure_protocol::process::{Connection, Grant, Phase};
use tenure_protocol::store::{Input, Output, Place, Session};
use tenure_protocol::{
    AttributeName, Hook, SessionId, Stamp, Ticket, ToStore, Value, Version, invariant,
};

// ---- safety ---------------------------------------------------------------------------------------------------------

pub(super) fn exclusive<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    clients(state).all(|(index, id, client)| {
        client.grant().is_none_or(|grant| {
            is_current(state, index, id, grant) || is_ending(state, index, grant)
        })
    })
}

/// Returns whether a thread of the process itself has ended or renamed the session, and the process has not received
/// the answer. The answer is under way, or was lost with its connection.
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

pub(super) fn fenced<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
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

/// Returns whether each place in a queue that a process's pending request has is as `is_right` says. `is_right`
/// receives the number of the process, the ticket that the process knows, and the place.
fn own_places<H: Hook>(
    state: &System<H>,
    is_right: impl Fn(usize, Option<Ticket>, &Place) -> bool,
) -> bool {
    clients(state).all(|(index, id, client)| {
        let Phase::Wanted {
            ticket, request, ..
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
        places.all(|place| is_right(index, *ticket, place))
    })
}

pub(super) fn tickets_kept<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    own_places(state, |_, known, place| {
        known.is_none_or(|ticket| ticket == place.ticket)
    })
}

pub(super) fn place_told<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    let is_settled = |index: usize| {
        let mut wires = state.each_wire();
        state.store.updates.is_empty()
            && wires.all(|(own, wire)| {
                own != index || (wire.is_open && wire.up.is_empty() && wire.down.is_empty())
            })
    };
    own_places(state, |index, known, place| {
        known == Some(place.ticket) || !is_settled(index)
    })
}

/// Returns whether each client state equals the primary state of the same version, apart from changes since.
pub(super) fn agreement<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
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
            return true; // The client state is an old copy.
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

pub(super) fn durable_first<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
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

pub(super) fn goodbye_is_final<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    state.each_machine().all(|(index, machine)| {
        let is_quiet = state
            .each_wire()
            .all(|(own, wire)| own != index || wire.up.is_empty());
        !machine.has_left() || !is_quiet || state.store.machine.peer(&PROCESSES[index]).is_none()
    })
}

pub(super) fn tries_do_not_wait<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    sessions(state).all(|(_, session)| {
        session.busy().is_none()
            || session
                .lock()
                .waiters()
                .all(|place| place.wait_mode == WaitMode::Wait)
    })
}

/// Returns whether a system at rest has no recall and no waiter. At rest, no message is under way and every thread is
/// idle.
pub(super) fn rest_is_quiet<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    let is_at_rest = state.store.updates.is_empty()
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
        || state.store.machine.admission().stopping.is_stopping()
}

// ---- reachability ---------------------------------------------------------------------------------------------------

pub(super) fn recalled_for_nobody<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    let machine = &state.store.machine;
    let is_connected = |place: &Place| machine.is_connected(&place.process);
    sessions(state).any(|(_, session)| {
        let recall = session.recall();
        recall.is_some_and(|recall| recall.reason == Reason::Wait)
            && !session.lock().waiters().any(is_connected)
    })
}

pub(super) fn granted_at_once<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    state.each_wire().any(|(index, wire)| {
        wire.down.iter().any(|(_, message)| {
            let ToProcess::Granted(Granted {
                session, request, ..
            }) = message
            else {
                return false;
            };
            let side = state.processes[index].as_ref();
            let machine = side.and_then(|side| side.machine.as_ref());
            let client = machine.and_then(|machine| machine.session(session));
            let is_queued = |(_, other): &(_, ToProcess)| {
                matches!(other, ToProcess::Queued { request: queued, .. } if queued == request)
            };
            client.is_some_and(|client| {
                matches!(client.phase(), Phase::Wanted { request: own, ticket: None, .. } if own == request)
            }) && !wire.down.iter().any(is_queued)
        })
    })
}

/// Returns whether the next message is a hello whose answer leaves before an earlier update is durable.
pub(super) fn welcome_overtakes<H: Hook>(model: &Model<H>, state: &System<H>) -> bool {
    let side = &state.store;
    !side.updates.is_empty()
        && state.each_wire().any(|(index, wire)| {
            let Some((link, Some(message @ ToStore::Hello(_)))) = wire.up.first() else {
                return false;
            };
            let input = Input::Message {
                process: PROCESSES[index].clone(),
                link: *link,
                message: message.clone(),
            };
            let mut out = Vec::new();
            let mut machine = side.machine.clone();
            machine.step(model.universe.now().0, input, &mut out);
            let Some(Output::Send {
                process,
                link,
                message,
            }) = out.into_iter().next()
            else {
                return false; // An earlier output of the step holds it back.
            };
            let is_welcome = matches!(message, ToProcess::Welcome { .. });
            let mut barrier = side.barrier.clone();
            is_welcome && barrier.hold(None, (process, link, message)).is_some()
        })
}

pub(super) fn reused<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
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

pub(super) fn recall_crosses_release<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    state.each_wire().any(|(_, wire)| {
        wire.down.iter().any(|(_, down)| {
            let ToProcess::Recall { hold, .. } = down else {
                return false;
            };
            let crosses = |release: &Release| release.token == hold.token;
            let mut up = wire.up.iter();
            up.any(|(_, up)| matches!(up, Some(ToStore::Release(release)) if crosses(release)))
        })
    })
}

/// Returns whether the store has granted a try the session that another process has just released.
pub(super) fn try_gets_kept_grant<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    sessions(state).any(|(id, session)| {
        let holder = session.lock().holders().first();
        let Some(place) = holder.filter(|place| place.wait_mode == WaitMode::Try) else {
            return false;
        };
        state.each_wire().any(|(index, wire)| {
            let is_released = |(_, message): &(_, ToProcess)| {
                matches!(message, ToProcess::Released { session, version: Some(_), .. } if session == id)
            };
            PROCESSES[index] != place.process && wire.down.iter().any(is_released)
        })
    })
}

pub(super) fn request_crosses_grant<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    state.each_wire().any(|(_, wire)| {
        wire.down.iter().any(|(_, down)| {
            let ToProcess::Granted(Granted { request, .. }) = down else {
                return false;
            };
            wire.up.iter().any(
                |(_, up)| matches!(up, Some(ToStore::Acquire(acquire)) if acquire.request == *request),
            )
        })
    })
}

pub(super) fn grant_crosses_cancel<H: Hook>(_: &Model<H>, state: &System<H>) -> bool {
    state.each_wire().any(|(_, wire)| {
        wire.down.iter().any(|(_, down)| {
            let ToProcess::Granted(Granted { request, .. }) = down else { return false };
            wire.up.iter().any(|(_, up)| matches!(up, Some(ToStore::Cancel { request: other, .. }) if other == request))
        })
    })
}
