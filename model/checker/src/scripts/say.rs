//! The messages of processes: those that they may send, and those that must not change anything.

use super::place::Place;
use crate::system::{ATTRIBUTES, PROCESSES, SESSIONS};
use tenure_protocol::attributes::Change;
use tenure_protocol::message::{AcquireRequest, Commit, GrantRef, Hello, Release, WaitMode};
use tenure_protocol::{
    Delta, Incarnation, Link, Request, SessionId, Time, ToStore, Token, Value, Version,
};

fn delta(value: &'static str) -> Delta {
    let change = Change {
        name: ATTRIBUTES[0].clone(),
        value: Some(Value::from_static(value.as_bytes())),
    };
    [change].into_iter().collect()
}

fn hello(incarnation: Incarnation, holds: Vec<GrantRef>, waits: Vec<AcquireRequest>) -> ToStore {
    ToStore::Hello(Hello {
        minor: tenure_protocol::MINOR,
        incarnation,
        sent: Time(1),
        holds,
        waits,
    })
}

/// Returns the grants and the waits of a process.
fn belongings(place: &Place, process: usize) -> (Vec<GrantRef>, Vec<AcquireRequest>) {
    let name = &PROCESSES[process];
    let (mut holds, mut waits) = (Vec::new(), Vec::new());
    for id in &SESSIONS {
        let Some(session) = place.store.session(id) else {
            continue;
        };
        if let Some(holder) = &session.record().head.holder
            && holder.process == *name
        {
            let (session, token) = (id.clone(), holder.token);
            holds.push(GrantRef { session, token });
        }
        let mut waiters = session.lock().waiters();
        if let Some(own) = waiters.find(|own| own.process == *name) {
            waits.push(AcquireRequest {
                session: id.clone(),
                request: own.request,
                known: None,
                wait_mode: own.wait_mode,
                ticket: Some(own.ticket),
                existing: false,
            });
        }
    }
    (holds, waits)
}

type Say<'a> = &'a mut dyn FnMut(&str, Link, ToStore);

pub(super) fn hellos(place: &Place, process: usize, say: Say<'_>) {
    let side = &place.sides[process];
    let link = side.next_link();
    let (holds, waits) = belongings(place, process);
    let own = link.incarnation;
    if side.last_link == 0 {
        return say("first hello", link, hello(own, vec![], vec![]));
    }
    if side.last_link >= 4 {
        return;
    }
    let has_any = !holds.is_empty() || !waits.is_empty();
    if has_any {
        say("hello with all", link, hello(own, holds, waits.clone()));
    }
    if process > 0 {
        return;
    }
    say("hello with nothing", link, hello(own, vec![], vec![]));
    let ask = |request| AcquireRequest {
        session: SESSIONS[0].clone(),
        request,
        known: None,
        wait_mode: WaitMode::Wait,
        ticket: None,
        existing: false,
    };
    say(
        "hello that waits, with the next request",
        link,
        hello(own, vec![], vec![ask(side.next_request())]),
    );
    if side.last_request > 0 {
        say(
            "hello that waits, with the last request",
            link,
            hello(own, vec![], vec![ask(Request(side.last_request))]),
        );
    }
    strange_hellos(place, process, say);
}

/// Sends hellos with tokens or incarnations that are no longer valid, or not yet.
fn strange_hellos(place: &Place, process: usize, say: Say<'_>) {
    let side = &place.sides[process];
    let link = side.next_link();
    let own = link.incarnation;
    if let Some(token) = side.old {
        let session = SESSIONS[0].clone();
        let old = vec![GrantRef { session, token }];
        say("hello with an old token", link, hello(own, old, vec![]));
    }
    if side.incarnation == 1 {
        let next = Link {
            incarnation: Incarnation(2),
            number: 1,
        };
        say(
            "hello of a new incarnation",
            next,
            hello(next.incarnation, vec![], vec![]),
        );
    } else {
        let last = Link {
            incarnation: Incarnation(1),
            number: 9,
        };
        say(
            "hello of an old incarnation",
            last,
            hello(last.incarnation, vec![], vec![]),
        );
    }
}

/// Lists the messages of a connected process.
pub(super) fn says(place: &Place, process: usize, say: &mut dyn FnMut(&str, ToStore)) {
    let side = &place.sides[process];
    for id in &SESSIONS {
        // The second session is only a target for renames and waits.
        let is_first = *id == SESSIONS[0];
        if process == 2 && !is_first {
            continue;
        }
        let acquire = |request, wait_mode| {
            ToStore::Acquire(AcquireRequest {
                session: id.clone(),
                request,
                known: None,
                wait_mode,
                ticket: None,
                existing: false,
            })
        };
        say("acquire", acquire(side.next_request(), WaitMode::Wait));
        let token = place
            .store
            .session(id)
            .and_then(|session| session.record().head.holder.clone())
            .filter(|holder| holder.process == PROCESSES[process])
            .map(|holder| holder.token);
        if let Some(token) = token {
            holder(place, process, id, token, say);
        }
        if is_first && process < 2 {
            say("try", acquire(side.next_request(), WaitMode::Try));
        }
        if is_first && process == 0 {
            repeated(place, process, id, say);
            strangers(place, process, id, say);
        }
    }
    if process == 0 {
        say("keep-alive", ToStore::KeepAlive { sent: Time(2) });
        say("goodbye", ToStore::Goodbye);
    }
}

/// Lists the messages about a request that has ended, or that repeat an earlier message.
fn repeated(place: &Place, process: usize, id: &SessionId, say: &mut dyn FnMut(&str, ToStore)) {
    let last = Request(place.sides[process].last_request);
    if last.0 == 0 {
        return;
    }
    let acquire = |request| {
        ToStore::Acquire(AcquireRequest {
            session: id.clone(),
            request,
            known: None,
            wait_mode: WaitMode::Wait,
            ticket: None,
            existing: false,
        })
    };
    let cancel = |request| ToStore::Cancel {
        session: id.clone(),
        request,
    };
    say("acquire again", acquire(last));
    say("acquire, request 0", acquire(Request(0)));
    say("cancel", cancel(last));
    say("cancel, request 0", cancel(Request(0)));
}

fn strangers(place: &Place, process: usize, id: &SessionId, say: &mut dyn FnMut(&str, ToStore)) {
    if let Some(old) = place.sides[process].old {
        stranger(place, process, id, (old, " under an old token"), say);
    }
    let session = place.store.session(id);
    let holder = session.and_then(|own| own.record().head.holder.clone());
    if let Some(other) = holder.filter(|other| other.process != PROCESSES[process]) {
        let under = (other.token, " under another's token");
        stranger(place, process, id, under, say);
    }
}

fn version(place: &Place, id: &SessionId) -> Version {
    let session = place.store.session(id);
    session.map_or(Version::NONE, |session| session.record().head.version)
}

fn release(id: &SessionId, token: Token, base: Version, requeue: Option<Request>) -> ToStore {
    ToStore::Release(Release {
        session: id.clone(),
        token,
        base,
        delta: delta("released"),
        requeue,
        idle_ms: 0,
    })
}

fn holder(
    place: &Place,
    process: usize,
    id: &SessionId,
    token: Token,
    say: &mut dyn FnMut(&str, ToStore),
) {
    let (session, base) = (id.clone(), version(place, id));
    let busy = |blocked_on| ToStore::Busy {
        session: id.clone(),
        token,
        inside: 1,
        blocked_on,
    };
    let other = SESSIONS.iter().find(|other| *other != id);
    let other = other.cloned().expect("the model has two sessions");
    say("release", release(id, token, base, None));
    say("busy without the other session", busy(vec![other.clone()]));
    if process == 0 && *id == SESSIONS[0] {
        let requeue = Some(place.sides[process].next_request());
        say("release and ask again", release(id, token, base, requeue));
        say("busy", busy(vec![]));
        let commit = |base| {
            ToStore::Commit(Commit {
                session: id.clone(),
                token,
                base,
                delta: delta("committed"),
            })
        };
        say("commit", commit(base));
        if base != Version::NONE {
            say("commit to an older version", commit(Version::NONE));
        }
        let unchanged = ToStore::Release(Release {
            session: session.clone(),
            token,
            base,
            delta: Delta::default(),
            requeue: None,
            idle_ms: 0,
        });
        say("release unchanged", unchanged);
        say(
            "destroy",
            ToStore::Destroy {
                session: session.clone(),
                token,
            },
        );
        say(
            "rename",
            ToStore::Rename {
                session,
                token,
                to: other,
            },
        );
    }
}

/// Lists messages that must not change anything.
fn stranger(
    place: &Place,
    process: usize,
    id: &SessionId,
    (token, under): (Token, &str),
    say: &mut dyn FnMut(&str, ToStore),
) {
    let (session, base) = (id.clone(), version(place, id));
    let requeue = Some(place.sides[process].next_request());
    let commit = ToStore::Commit(Commit {
        session: session.clone(),
        token,
        base,
        delta: delta("lost"),
    });
    say(&format!("commit{under}"), commit);
    say(&format!("release{under}"), release(id, token, base, None));
    say(
        &format!("release and ask again{under}"),
        release(id, token, base, requeue),
    );
    let busy = ToStore::Busy {
        session: session.clone(),
        token,
        inside: 1,
        blocked_on: vec![],
    };
    say(&format!("busy{under}"), busy);
    say(
        &format!("destroy{under}"),
        ToStore::Destroy {
            session: session.clone(),
            token,
        },
    );
    let to = SESSIONS[1].clone();
    say(
        &format!("rename{under}"),
        ToStore::Rename { session, token, to },
    );
}
