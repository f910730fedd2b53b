//! Names the rule that a process has violated, from the messages that its machine owed and the observed message. The
//! machine decides that the message is wrong, and this module only names the rule.

use super::entry::ThreadAnswer;
use super::process_hypothesis::{Hypothesis, session_of};
use tenure_protocol::message::{Commit, Hello, Release};
use tenure_protocol::process::{Connection, Phase, Poison, Session};
use tenure_protocol::{SessionId, ThreadId, Time, ToStore};

/// Returns whether a required message is overdue.
pub(super) fn is_overdue(own: &Hypothesis, is_late: impl Fn(Time) -> bool) -> bool {
    let says = own.says.iter().filter(|owed| is_asked(&owed.what.1));
    says.map(|owed| owed.since)
        .chain(own.tells.iter().map(|owed| owed.since))
        .any(is_late)
}

/// Returns whether a message is required. A keep-alive is not, because its absence has no effect on others.
fn is_asked(message: &ToStore) -> bool {
    !matches!(
        message,
        ToStore::KeepAlive { .. } | ToStore::Hello(_) | ToStore::Goodbye
    )
}

/// Returns the rule of an overdue message, and a description of the message.
pub(super) fn missing(own: &Hypothesis, is_late: impl Fn(Time) -> bool) -> (&'static str, String) {
    let mut told = own.tells.iter().filter(|owed| is_late(owed.since));
    if let Some(owed) = told.next() {
        let (thread, _, told) = &owed.what;
        let rule = match told {
            ThreadAnswer::Refused(why) if why == "deadline" => "thread.deadline",
            ThreadAnswer::Lost(_) => "thread.told",
            _ => "thread.ends-once",
        };
        return (rule, format!("thread {} receives: {told:?}", thread.0));
    }
    let mut said = own
        .says
        .iter()
        .filter(|owed| is_asked(&owed.what.1) && is_late(owed.since));
    let Some(owed) = said.next() else {
        return ("end.resends", allowed(own));
    };
    let message = &owed.what.1;
    let session = session_of(message).and_then(|id| own.machine.session(id));
    let rule = match message {
        ToStore::Release(_) => {
            let returns = session.and_then(Session::returning).is_some();
            if returns {
                "grant.returns-unasked"
            } else {
                "recall.obeyed"
            }
        }
        ToStore::Busy { .. } => "recall.obeyed",
        ToStore::Acquire(_) => "thread.asks",
        ToStore::Cancel { .. } => "end.cancels",
        ToStore::Commit(_) | ToStore::Destroy { .. } | ToStore::Rename { .. } => {
            "reconnect.repeats"
        }
        ToStore::Hello(_) | ToStore::KeepAlive { .. } | ToStore::Goodbye => "end.resends",
    };
    (rule, format!("{message:?}"))
}

/// Describes the messages and answers that the machine owes.
pub(super) fn allowed(own: &Hypothesis) -> String {
    let says = own.says.iter().map(|owed| format!("{:?}", owed.what.1));
    let tells = own.tells.iter().map(|owed| {
        let (thread, _, told) = &owed.what;
        format!("thread {} receives: {told:?}", thread.0)
    });
    let mut all: Vec<String> = says.chain(tells).collect();
    if all.is_empty() {
        all.push(
            "only unprompted messages: keep-alives, repetitions, and releases of idle grants"
                .to_owned(),
        );
    }
    format!(
        "the machine sends, with its own numbers: {}",
        all.join("; ")
    )
}

/// Returns the rule that a message violates if the machine does not send it.
pub(super) fn wrong_said(own: &Hypothesis, message: &ToStore) -> &'static str {
    let id = session_of(message);
    let session = id.and_then(|id| own.machine.session(id));
    let mut owed = own.says.iter().map(|owed| &owed.what.1);
    match message {
        ToStore::Hello(Hello { holds, waits, .. }) => wrong_hello(own, holds.len(), waits),
        ToStore::Acquire(acquire) => {
            let known = owed.find_map(|owed| match owed {
                ToStore::Acquire(own) if own.session == acquire.session => Some(own),
                _ => None,
            });
            let phase = session.map(Session::phase);
            let ticket = match phase {
                Some(Phase::Wanted { ticket, .. }) => *ticket,
                _ => known.and_then(|own| own.ticket),
            };
            match phase {
                Some(Phase::Held(_) | Phase::Releasing { .. } | Phase::Cancelling { .. }) => {
                    "end.one-at-a-time"
                }
                Some(Phase::Wanted { .. }) if ticket != acquire.ticket => "queue.keeps-ticket",
                _ if acquire.known.is_some()
                    && known.is_some_and(|own| own.known != acquire.known) =>
                {
                    "grant.known"
                }
                Some(Phase::Wanted { request, .. }) => {
                    let mut pairs = own.requests.iter();
                    let is_known =
                        pairs.any(|(ours, theirs)| ours == request && *theirs == acquire.request);
                    let is_first = own.requests.iter().all(|(ours, _)| ours != request);
                    if is_known {
                        "grant.known"
                    } else if is_first {
                        "end.requests-rise"
                    } else {
                        "end.one-at-a-time"
                    }
                }
                _ => "thread.asks",
            }
        }
        ToStore::Release(Release { token, requeue, .. }) => {
            wrong_release(own, session, (id, *token), requeue.is_some())
        }
        ToStore::Commit(Commit { token, .. }) => {
            let is_new = owed.any(
                |own| matches!(own, ToStore::Commit(Commit { session, .. }) if Some(session) == id),
            );
            let is_out = !is_new && session.and_then(Session::commit).is_some();
            let is_own = session
                .and_then(Session::grant)
                .is_some_and(|grant| grant.token == *token);
            if !is_own {
                "release.over"
            } else if is_out {
                "commit.one-at-a-time"
            } else {
                "thread.discards"
            }
        }
        ToStore::Busy { .. } => "deadlock.blocked-on",
        ToStore::Destroy { .. } | ToStore::Rename { .. } => "destroy.all-locked",
        ToStore::Cancel { .. } => "end.one-at-a-time",
        ToStore::Goodbye => "lease.goodbye-last",
        ToStore::KeepAlive { .. } => "connect.hello-alone",
    }
}

fn wrong_hello(
    own: &Hypothesis,
    holds: usize,
    waits: &[tenure_protocol::message::AcquireRequest],
) -> &'static str {
    if own.machine.has_left() {
        return "connect.superseded-stops";
    }
    let mut all: Vec<_> = own.machine.sessions().collect();
    all.retain(|(_, session)| !matches!(session.phase(), Phase::Absent));
    let held = all
        .iter()
        .filter(|(_, session)| matches!(session.phase(), Phase::Held(_) | Phase::Releasing { .. }));
    if held.count() != holds {
        return "reconnect.names-holds";
    }
    for (id, session) in &all {
        if let Phase::Wanted { ticket, .. } = session.phase() {
            match waits.iter().find(|acquire| acquire.session == **id) {
                Some(acquire) if acquire.ticket != *ticket => return "queue.keeps-ticket",
                Some(_) => {}
                None => return "reconnect.names-waits",
            }
        }
    }
    "reconnect.names-holds"
}

fn wrong_release(
    own: &Hypothesis,
    session: Option<&Session>,
    (id, token): (Option<&SessionId>, tenure_protocol::Token),
    is_requeued: bool,
) -> &'static str {
    let owed = own.says.iter().find_map(|owed| match &owed.what.1 {
        ToStore::Release(Release {
            session,
            token: own,
            requeue,
            ..
        }) if Some(session) == id => Some((*own, requeue.is_some())),
        _ => None,
    });
    let grant = session.and_then(Session::grant);
    match (owed, grant) {
        (Some((own, requeue)), _) if own == token && requeue != is_requeued => "gate.requeues",
        (Some((own, _)), _) if own == token => "release.whole",
        (_, Some(grant)) if grant.token == token => {
            if session.is_some_and(|own| own.inside() > 0) {
                "recall.keeps-until-out"
            } else {
                "release.whole"
            }
        }
        _ => match session.map(Session::phase) {
            Some(Phase::Releasing { .. }) => "recall.crossed",
            _ => "recall.unknown",
        },
    }
}

/// Returns the rule that is violated if a thread receives an answer that the machine does not give.
pub(super) fn wrong_answer(
    own: &Hypothesis,
    thread: ThreadId,
    id: &SessionId,
    told: &ThreadAnswer,
) -> &'static str {
    let session = own.machine.session(id);
    let mut owed = own
        .tells
        .iter()
        .filter(|owed| owed.what.0 == thread && owed.what.1 == *id);
    let owed = owed.next().map(|owed| &owed.what.2);
    match (told, owed) {
        (ThreadAnswer::Locked(token, _), Some(ThreadAnswer::Locked(own, _))) => {
            if token == own {
                "thread.sees-state"
            } else {
                "fence.token-shown"
            }
        }
        (ThreadAnswer::Locked(..), _) => wrong_locked(own, session, thread),
        (ThreadAnswer::Done, Some(ThreadAnswer::Refused(_))) => "thread.stranger",
        (_, Some(ThreadAnswer::Lost(why))) => match why {
            Poison::LeaseLost | Poison::Superseded => "lease.lost",
            Poison::Revoked => "fence.revoked",
            Poison::Late => "thread.told",
        },
        (ThreadAnswer::Committed(_), _) => "commit.told",
        (ThreadAnswer::Destroyed | ThreadAnswer::Renamed(..), _) => "reconnect.ended-by-me",
        (ThreadAnswer::Lost(_), _) => "thread.told",
        _ => "thread.ends-once",
    }
}

fn wrong_locked(own: &Hypothesis, session: Option<&Session>, thread: ThreadId) -> &'static str {
    let waits = own.machine.waits().contains_key(&thread);
    let grant = session.and_then(Session::grant);
    if !waits {
        return "thread.ends-once";
    }
    let Some((grant, session)) = grant.zip(session) else {
        let is_over = session.is_some_and(|own| matches!(own.phase(), Phase::Releasing { .. }));
        let is_gone = own.machine.connection() == Connection::Down && own.machine.lease().is_none();
        return match (is_over, is_gone) {
            (true, _) => "release.over",
            (_, true) => "lease.lost",
            _ => "thread.needs-grant",
        };
    };
    if grant.ending.is_some() {
        "destroy.nobody-enters"
    } else if grant.is_closed && !session.is_inside(thread) {
        "gate.closed"
    } else if session.inside() > 0 {
        "thread.one-per-attribute"
    } else {
        "gate.order"
    }
}
