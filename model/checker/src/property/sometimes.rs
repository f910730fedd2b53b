//! Reachability properties: the races that some state must show. Without them, a model in which nothing happens would
//! pass.

use super::conditions::*;
use super::scope::*;
use super::{Checked, Kind};
use crate::system::PROCESSES;
use tenure_protocol::message::{Granted, Limited, Reason, Refusal, ToProcess};
use tenure_protocol::process::{Connection, Phase};
use tenure_protocol::store::Stopping;
use tenure_protocol::{Hook, Stamp};

macro_rules! sometimes {
    ($name:literal, $rule:literal, $rules:expr, $text:literal, $applies:expr, $condition:expr) => {
        Checked {
            name: $name,
            rule: $rule,
            rules: &$rules,
            kind: Kind::Sometimes,
            text: $text,
            condition: $condition,
            applies: $applies,
        }
    };
}

/// Returns all reachability properties.
#[allow(clippy::too_many_lines)] // The function is a table.
pub(super) fn all<H: Hook>() -> Vec<Checked<H>> {
    vec![
        sometimes!(
            "reused without a message",
            2,
            [
                "grant.keeps",
                "recall.not-without-reason",
                "thread.sees-state"
            ],
            "a thread reads another thread's change under the same grant, without a message",
            everywhere,
            reused
        ),
        sometimes!(
            "recalled while inside",
            3,
            ["recall.keeps-until-out", "recall.obeyed"],
            "a grant is recalled while a thread is inside",
            several_processes,
            |_, state| clients(state).any(|(_, _, client)| {
                client.grant().is_some_and(|grant| grant.is_closed)
                    && !client.lock().holders().is_empty()
            })
        ),
        sometimes!(
            "recall crosses release",
            3,
            ["recall.crossed"],
            "a recall and the release of the same grant pass each other",
            crosses,
            recall_crosses_release
        ),
        sometimes!(
            "a queue of two",
            5,
            [],
            "two processes wait for a session that a third one holds",
            queues,
            |_, state| { sessions(state).any(|(_, session)| session.lock().waiters().len() > 1) }
        ),
        sometimes!(
            "nothing to send",
            7,
            ["grant.smallest-state", "grant.keeps-base"],
            "a grant travels without its state",
            keeps_base,
            |_, state| is_under_way(state, |message| {
                matches!(
                    message,
                    ToProcess::Granted(Granted {
                        state: tenure_protocol::attributes::State::Unchanged,
                        ..
                    })
                )
            })
        ),
        sometimes!(
            "difference sent",
            7,
            [
                "grant.smallest-state",
                "grant.keeps-base",
                "release.really-changed"
            ],
            "a grant travels with a delta",
            keeps_bases,
            |_, state| is_under_way(state, |message| {
                matches!(
                    message,
                    ToProcess::Granted(Granted {
                        state: tenure_protocol::attributes::State::Delta(_),
                        ..
                    })
                )
            })
        ),
        sometimes!(
            "whole state sent",
            7,
            ["grant.full"],
            "a grant travels with the whole state",
            everywhere,
            |_, state| is_under_way(state, |message| {
                matches!(
                    message,
                    ToProcess::Granted(Granted {
                        state: tenure_protocol::attributes::State::Full(_),
                        ..
                    })
                )
            })
        ),
        sometimes!(
            "committed under a recall",
            11,
            ["commit.keeps-grant", "commit.under-recall"],
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
            ["gate.insiders"],
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
            ["gate.closed"],
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
            [],
            "two threads are inside with different attributes",
            two_attributes,
            |_, state| { clients(state).any(|(_, _, client)| client.inside() > 1) }
        ),
        sometimes!(
            "recall before its grant",
            14,
            ["recall.early"],
            "a recall comes before the grant that it recalls",
            |universe| universe.channel_max.is_some(),
            |_, state| clients(state).any(|(_, _, client)| client.early_recall().is_some())
        ),
        sometimes!(
            "request crosses its grant",
            14,
            ["grant.same-again", "grant.unasked"],
            "a process repeats a request while the grant is under way",
            |universe| universe.channel_max.is_some(),
            request_crosses_grant
        ),
        sometimes!(
            "grant crosses cancel",
            14,
            ["end.cancel-crossed"],
            "a process cancels a request while the grant is under way",
            |universe| universe.abandons,
            grant_crosses_cancel
        ),
        sometimes!(
            "release after reconnect",
            15,
            ["release.voluntary", "reconnect.repeats"],
            "an unanswered release survives a cut of the connection",
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
            "passed by",
            5,
            [],
            "a session is free while only a process without a connection waits for it",
            loses_waiters,
            |_, state| {
                sessions(state)
                    .any(|(_, session)| session.holder().is_none() && session.lock().waiting() > 0)
            }
        ),
        sometimes!(
            "recalled for nobody",
            11,
            ["recall.spares"],
            "a grant is recalled for a waiter, but no connected process waits any more",
            loses_waiters,
            recalled_for_nobody
        ),
        sometimes!(
            "holder is dead",
            10,
            ["lease.ends"],
            "the store has recalled the grant of a process that has died",
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
            ["lease.restart", "reconnect.untold"],
            "a process keeps its grant over a restart of the store",
            |universe| universe.restarts || universe.closes,
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
            "welcome overtakes the disk",
            15,
            [],
            "a welcome leaves before an earlier update is durable",
            |universe| universe.restarts,
            welcome_overtakes
        ),
        sometimes!(
            "kept over a stop",
            2,
            ["stop.keeps"],
            "a thread is inside while the store stops for a restart",
            |universe| universe.closes,
            |_, state| {
                let stopping = state.store.machine.admission().stopping;
                stopping == Stopping::Keeping
                    && clients(state).any(|(_, _, client)| client.inside() > 0)
            }
        ),
        sometimes!(
            "drained",
            3,
            ["stop.drains"],
            "a store that drains has every grant back while a process still waits",
            |universe| universe.closes,
            |_, state| {
                let machine = &state.store.machine;
                machine.admission().stopping == Stopping::Draining
                    && machine.held() == 0
                    && machine.waiting() > 0
            }
        ),
        sometimes!(
            "refused for want of room",
            18,
            ["limit.storage"],
            "a request is refused because the disk is full",
            |universe| universe.fills,
            |_, state| is_under_way(state, |message| {
                let why = Refusal::Limit(Limited::Storage);
                matches!(message, ToProcess::Refused { why: said, .. } if *said == why)
            })
        ),
        sometimes!(
            "revoked while inside",
            11,
            ["recall.gives-up"],
            "the store revokes a grant while a thread is inside and does not know of it",
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
            ["lease.lost", "thread.told"],
            "a thread inside was notified that its grant was lost",
            |universe| universe.lingers,
            |_, state| { clients(state).any(|(_, _, client)| !client.poisoned().is_empty()) }
        ),
        sometimes!(
            "lease renewed",
            10,
            ["lease.echo", "lease.alive", "lease.keeps-alive"],
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
            "silent connection left",
            10,
            ["lease.silent"],
            "a process with a grant leaves a silent connection and says hello on a new one",
            |universe| universe.silences.is_some(),
            |_, state| {
                state.each_machine().any(|(index, machine)| {
                    matches!(machine.connection(), Connection::Greeting(_))
                        && clients(state)
                            .any(|(own, _, client)| own == index && client.grant().is_some())
                })
            }
        ),
        sometimes!(
            "lease lost",
            10,
            ["lease.only-keep-alive"],
            "a lease ends while its process has a grant",
            |universe| universe.clocks.is_some() && universe.silences.is_none(),
            |_, state| {
                state.each_machine().any(|(index, machine)| {
                    machine.lease().is_none()
                        && sessions(state)
                            .any(|(_, session)| session.holder() == Some(&PROCESSES[index]))
                })
            }
        ),
        sometimes!(
            "try gets a kept grant",
            13,
            ["recall.mild-gate", "recall.mild-obeyed", "try.recalls"],
            "a try is granted a session that another process only cached",
            tries,
            try_gets_kept_grant
        ),
        sometimes!(
            "try refused",
            13,
            ["try.refused-when-busy"],
            "a try is refused because a thread is inside the holding process",
            tries,
            |_, state| is_under_way(state, |message| {
                matches!(
                    message,
                    ToProcess::Refused {
                        why: Refusal::WouldBlock,
                        ..
                    }
                )
            })
        ),
        sometimes!(
            "recalled to end",
            16,
            ["recall.mild-gate", "recall.mild-obeyed", "expiry.recalls"],
            "a cached session is recalled because its time to live may have ended",
            |universe| (universe.store)().time_to_live_ms.is_some(),
            |_, state| {
                sessions(state).any(|(_, session)| {
                    session
                        .recall()
                        .is_some_and(|recall| recall.reason == Reason::Expiry)
                })
            }
        ),
        sometimes!(
            "ended and back",
            16,
            [
                "release.drops-lost",
                "expiry.ends",
                "destroy.stays",
                "destroy.answered",
                "destroy.waiters"
            ],
            "a destroyed session exists again under a new grant",
            |universe| universe.watches_destroyed,
            |_, state| {
                state.destroyed[0] != Stamp::default()
                    && sessions(state).any(|(_, session)| session.record().exists())
            }
        ),
        sometimes!(
            "renamed",
            9,
            [
                "rename.new-token",
                "rename.taken",
                "rename.repeated",
                "rename.moves"
            ],
            "a session is renamed to the id of a destroyed session",
            renames,
            |_, state| is_under_way(state, |message| {
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
            [
                "reconnect.ended",
                "reconnect.ended-by-me",
                "reconnect.repeats",
                "destroy.answered-old",
                "rename.repeated"
            ],
            "the answer to a destroy or a rename is lost, and a welcome repeats it",
            renames,
            |_, state| is_under_way(state, |message| {
                matches!(message, ToProcess::Welcome { gone, .. } if !gone.is_empty())
            })
        ),
        sometimes!(
            "deadlock found",
            17,
            [
                "deadlock.true",
                "deadlock.blocked-on",
                "deadlock.found",
                "deadlock.says-again",
                "deadlock.victims"
            ],
            "a deadlock across sessions is found, and one wait is refused",
            crossing,
            |_, state| is_under_way(state, |message| {
                matches!(
                    message,
                    ToProcess::Refused {
                        why: Refusal::Deadlock { .. },
                        ..
                    }
                )
            })
        ),
        sometimes!(
            "wanted by two",
            1,
            [],
            "a thread is inside while another process waits for the session",
            several_processes,
            |_, state| clients(state).any(|(_, id, client)| {
                let session = state.store.machine.session(id);
                client.inside() > 0 && session.is_some_and(|session| session.lock().waiting() > 0)
            })
        ),
        sometimes!(
            "granted at once",
            6,
            ["grant.new-session", "grant.at-once"],
            "a grant answers a request that was never queued",
            everywhere,
            granted_at_once
        ),
        sometimes!(
            "queue is full",
            18,
            ["limit.waiters"],
            "a process is refused because the queue is at its limit",
            fills_queue,
            |_, state| is_under_way(state, |message| {
                let why = Refusal::Limit(Limited::Waiters);
                matches!(message, ToProcess::Refused { why: said, .. } if *said == why)
            })
        ),
        sometimes!(
            "told absent",
            16,
            ["exists.absent"],
            "a request that wants a session only if it exists is refused because the session is absent",
            asks_existing,
            |_, state| is_under_way(state, |message| {
                matches!(
                    message,
                    ToProcess::Refused {
                        why: Refusal::Absent,
                        ..
                    }
                )
            })
        ),
        sometimes!(
            "absent to others",
            16,
            ["exists.not-before", "exists.told"],
            "a request is refused as absent while a thread waits that accepts a new session, or has asked since",
            is_joined,
            |_, state| {
                clients(state).any(|(index, id, client)| {
                    let mut waiters = client.lock().waiters();
                    let is_absent = |message: &ToProcess| {
                        matches!(message, ToProcess::Refused { session, why: Refusal::Absent, .. } if session == id)
                    };
                    waiters.any(|claim| !claim.is_asked())
                        && state.each_wire().any(|(own, wire)| {
                            own == index && wire.down.iter().any(|(_, message)| is_absent(message))
                        })
                })
            }
        ),
        sometimes!(
            "asked an older store",
            16,
            ["exists.asks-newer", "exists.unsupported"],
            "a thread waits for a session only if it exists, and the welcoming store is of an older version",
            is_older,
            |_, state| {
                clients(state).any(|(index, _, client)| {
                    let is_asked = matches!(client.phase(), Phase::Wanted { existing: true, .. });
                    let welcomes = |(own, wire): (usize, &crate::system::Wire)| {
                        own == index
                            && wire.down.iter().any(|(_, message)| {
                                matches!(message, ToProcess::Welcome { minor: 0, .. })
                            })
                    };
                    is_asked && state.each_wire().any(welcomes)
                })
            }
        ),
        sometimes!(
            "commit over a limit",
            18,
            ["limit.ends-grant", "limit.until-heard"],
            "a grant ends because its commit would exceed a limit of the store",
            is_deaf,
            |_, state| is_under_way(state, |message| {
                matches!(message, ToProcess::Revoked { limit: Some(_), .. })
            })
        ),
        sometimes!(
            "release over a limit",
            18,
            ["limit.ends-grant"],
            "a grant is given back without its changes, which would exceed a limit of the store",
            is_deaf,
            |_, state| is_under_way(state, |message| {
                matches!(message, ToProcess::Released { limit: Some(_), .. })
            })
        ),
    ]
}
