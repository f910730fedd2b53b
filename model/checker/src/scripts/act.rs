//! The acts that are possible at a place: messages that a process may send, some messages that it must not send, events
//! at a process, and timers of the store.

use super::Step;
use super::place::{EPOCH, Place};
use super::say::{hellos, says};
use crate::system::{PROCESSES, SESSIONS};
use tenure_protocol::message::{Commit, Release};
use tenure_protocol::store::{Input, Timer};
use tenure_protocol::{Link, ProcessId, SessionId, ToStore};

/// An act at a place.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Input(Input),
    /// The store is killed and started again.
    Restart,
    /// A process falls silent and keeps its connection.
    Silence(usize),
}

impl Act {
    /// Returns the act as a step of a script.
    pub(super) fn step(&self) -> Step {
        match self {
            Self::Input(input) => Step::of(input),
            Self::Restart => Step::restart(),
            Self::Silence(process) => Step::silence(&PROCESSES[*process]),
        }
    }
}

/// Returns the acts that are possible at a place, each with its kind.
pub(super) fn acts(place: &Place) -> Vec<(String, Act)> {
    let mut all = Vec::new();
    for (process, name) in PROCESSES.iter().enumerate() {
        let mut say = |kind: &str, link: Link, message: ToStore| {
            let process = name.clone();
            let input = Input::Message {
                process,
                link,
                message,
            };
            all.push((kind.to_owned(), Act::Input(input)));
        };
        hellos(place, process, &mut say);
        let side = &place.sides[process];
        let Some(link) = side.link else { continue };
        // A silent process sends nothing before its lease has ended.
        let waits_for_end = side.is_silent && place.store.peer(name).is_some();
        if !waits_for_end {
            let mut own = |kind: &str, message| say(kind, link, message);
            says(place, process, &mut own);
        }
        if process == 0 && !side.is_silent {
            all.push(("a process falls silent".to_owned(), Act::Silence(process)));
        }
        if process < 2 {
            let process = name.clone();
            let input = Input::Disconnected { process, link };
            all.push(("the connection is cut".to_owned(), Act::Input(input)));
        }
    }
    for (_, timer) in place.store.timers() {
        let kind = timer_kind(&timer).to_owned();
        all.push((kind, Act::Input(Input::Timer(timer))));
    }
    if place.store.stamps().last().epoch == EPOCH {
        all.push(("the store restarts".to_owned(), Act::Restart));
    }
    all
}

fn timer_kind(timer: &Timer) -> &'static str {
    match timer {
        Timer::Lease(_) => "the lease ends",
        Timer::Remind(_) => "the recall is repeated",
        Timer::Revoke(_) => "the recall's deadline passes",
        Timer::Wait(..) => "the wait ends",
        Timer::Expire(_) => "the time to live ends",
    }
}

/// Returns the process and the session of an act, if it has any.
pub(super) fn whose(act: &Act) -> (Option<ProcessId>, Option<SessionId>) {
    match act {
        Act::Input(Input::Message {
            process, message, ..
        }) => (Some(process.clone()), Some(session_of(message).clone())),
        Act::Input(Input::Disconnected { process, .. }) => (Some(process.clone()), None),
        Act::Input(Input::Timer(timer)) => match timer {
            Timer::Lease(process) => (Some(process.clone()), None),
            Timer::Wait(session, process) => (Some(process.clone()), Some(session.clone())),
            Timer::Remind(session) | Timer::Revoke(session) | Timer::Expire(session) => {
                (None, Some(session.clone()))
            }
        },
        Act::Input(Input::Recall(session)) => (None, Some(session.clone())),
        Act::Input(Input::Admission(_)) => (None, None),
        Act::Silence(process) => (Some(PROCESSES[*process].clone()), None),
        Act::Restart => (None, None),
    }
}

/// Returns whether the first process acts on the first session, or the act has no process. The other processes and
/// sessions are alike.
pub(super) fn is_first(act: &Act) -> bool {
    let (process, session) = whose(act);
    process.is_none_or(|process| process == PROCESSES[0])
        && session.is_none_or(|session| session == SESSIONS[0])
}

/// Returns the reason for which a black box cannot do the act, if there is one.
pub(super) fn cannot(place: &Place, act: &Act) -> Option<&'static str> {
    match act {
        Act::Input(Input::Message { message, .. }) if !place.can_say(message) => {
            Some("needs a number that nobody outside was told")
        }
        Act::Input(Input::Timer(timer)) => place.race(timer),
        _ => None,
    }
}

/// Returns the session that a message is about.
pub(super) fn session_of(message: &ToStore) -> &SessionId {
    match message {
        ToStore::Acquire(acquire) => &acquire.session,
        ToStore::Cancel { session, .. }
        | ToStore::Commit(Commit { session, .. })
        | ToStore::Release(Release { session, .. })
        | ToStore::Busy { session, .. }
        | ToStore::Destroy { session, .. }
        | ToStore::Rename { session, .. } => session,
        ToStore::Hello(_) | ToStore::KeepAlive { .. } | ToStore::Goodbye => &SESSIONS[0],
    }
}
