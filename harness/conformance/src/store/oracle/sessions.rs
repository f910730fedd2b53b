//! Replaces session ids in messages: the machine's ids are short, and the target's have the prefix of the case.

use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Granted, Hello, Refusal, Release,
};
use tenure_protocol::{SessionId, ToProcess, ToStore};

type Name<'a> = &'a dyn Fn(&SessionId) -> SessionId;

/// Replaces the ids in a message of a process.
pub(super) fn said(mut message: ToStore, name: Name<'_>) -> ToStore {
    match &mut message {
        ToStore::Hello(Hello { holds, waits, .. }) => {
            holds.iter_mut().for_each(|own| hold(own, name));
            waits.iter_mut().for_each(|own| acquire_request(own, name));
        }
        ToStore::Acquire(own) => acquire_request(own, name),
        ToStore::Busy {
            session,
            blocked_on,
            ..
        } => {
            *session = name(session);
            blocked_on.iter_mut().for_each(|own| *own = name(own));
            blocked_on.sort(); // The protocol requires ascending order.
        }
        ToStore::Rename { session, to, .. } => (*session, *to) = (name(session), name(to)),
        ToStore::Cancel { session, .. }
        | ToStore::Commit(Commit { session, .. })
        | ToStore::Release(Release { session, .. })
        | ToStore::Destroy { session, .. } => *session = name(session),
        ToStore::KeepAlive { .. } | ToStore::Goodbye => {}
    }
    message
}

/// Replaces the ids in a message of a store.
pub(super) fn told(mut message: ToProcess, name: Name<'_>) -> ToProcess {
    match &mut message {
        ToProcess::Welcome { holds, gone, .. } => {
            holds.iter_mut().for_each(|own| hold(own, name));
            for (own, renamed) in gone {
                hold(own, name);
                renamed.iter_mut().for_each(|own| hold(own, name));
            }
        }
        ToProcess::Alive { recalls, .. } => {
            recalls.iter_mut().for_each(|(own, _)| hold(own, name));
        }
        ToProcess::Recall { hold: own, .. } => hold(own, name),
        ToProcess::Refused { session, why, .. } => {
            *session = name(session);
            if let Refusal::Deadlock { cycle } = why {
                cycle.iter_mut().for_each(|own| *own = name(own));
            }
        }
        ToProcess::Gone {
            session, renamed, ..
        } => {
            *session = name(session);
            renamed.iter_mut().for_each(|own| hold(own, name));
        }
        ToProcess::Granted(Granted { session, .. })
        | ToProcess::Queued { session, .. }
        | ToProcess::Committed { session, .. }
        | ToProcess::Released { session, .. }
        | ToProcess::Revoked { session, .. }
        | ToProcess::NotRenamed { session, .. } => *session = name(session),
        ToProcess::LeaseEnded | ToProcess::Superseded | ToProcess::Full => {}
    }
    message
}

fn hold(own: &mut GrantRef, name: Name<'_>) {
    own.session = name(&own.session);
}

fn acquire_request(own: &mut AcquireRequest, name: Name<'_>) {
    own.session = name(&own.session);
}
