//! Locks of existing sessions only: their cost, and that a missing session leaves no state.

mod support;

use support::{Rig, poll, session};
use tenure_locks::{Error, Event, Locks, Unsupported};
use tenure_protocol::{
    Incarnation, Link, ProcessSettings, SessionId, StoreSettings, Time, ToProcess, ToStore,
};

fn absent(id: &SessionId) -> Error {
    Error::Absent(Box::new(id.clone()))
}

/// Requests one attribute, and returns only whether the lock was granted.
fn ends(rig: &mut Rig, id: &SessionId) -> Result<(), Error> {
    let session = rig.locks.session(id);
    let mut request = Box::pin(session.lock("a").existing());
    rig.complete(&mut request).map(drop)
}

#[test]
fn existing_locks_with_5000_unknown_ids_cost_one_query_each_and_leave_no_state() {
    const COUNT: u64 = 5_000;
    let mut rig = Rig::new();
    let ids: Vec<SessionId> = (0..COUNT)
        .map(|number| SessionId::new(format!("cookie-{number}")).expect("a short id"))
        .collect();
    let messages = rig.messages;
    for (id, manner) in ids.iter().zip((0..3).cycle()) {
        let session = rig.locks.session(id);
        let error = match manner {
            0 => rig
                .complete(&mut Box::pin(session.lock("a").existing()))
                .map(drop),
            1 => rig
                .complete(&mut Box::pin(session.lock_all().existing().try_lock()))
                .map(drop),
            _ => rig
                .complete(&mut Box::pin(rig.locks.clone().lock(id, "a").existing()))
                .map(drop),
        };
        assert_eq!(error, Err(absent(id)));
    }
    let messages = rig.messages - messages;
    assert_eq!(
        messages as u64,
        2 * COUNT,
        "each id costs one query and one answer"
    );
    assert_eq!(rig.updates, 0, "the store writes no update");
    assert_eq!(rig.resident(), 0, "the store has no session in memory");
    assert_eq!(rig.locks.known(), 0, "the process knows no session");
    rig.locks.sweep(0);
    assert_eq!(rig.locks.entries(), 0);
}

#[test]
fn an_existing_lock_on_a_cached_session_sends_no_message() {
    let id = session();
    let mut rig = Rig::new();
    rig.hold(&id, &[("a", b"0")]);
    // The commit gives the session a version.
    let session = rig.locks.session(&id);
    let mut guard = session.lock("a").blocking().expect("cached");
    guard.set(&b"1"[..]).expect("set");
    rig.complete(&mut guard.commit()).expect("durable");
    drop(guard);
    let messages = rig.messages;
    for name in ["a", "b", "a", "b"] {
        let guard = session.lock(name).existing().blocking().expect("it exists");
        let value = guard.bytes().map(<[u8]>::to_vec);
        assert_eq!(value, (name == "a").then(|| b"1".to_vec()));
    }
    drop(session.lock_all().existing().blocking().expect("it exists"));
    let held = session.lock("a").blocking().expect("free");
    let refused = session
        .lock("a")
        .existing()
        .try_lock()
        .beside(tenure_protocol::ThreadId(900));
    assert!(matches!(refused.blocking(), Err(Error::WouldBlock(_))));
    drop(held);
    assert_eq!(rig.messages, messages);
}

#[test]
fn a_cached_session_becomes_existing_when_a_write_is_unlocked() {
    let id = session();
    let mut rig = Rig::new();
    let session = rig.locks.session(&id);
    let mut guard = rig
        .complete(&mut Box::pin(session.lock("a")))
        .expect("granted");
    let messages = rig.messages;
    guard.set(&b"1"[..]).expect("set");
    // A second thread requests another attribute. The write of the first thread counts only after it is unlocked.
    let other = || {
        session
            .lock("b")
            .existing()
            .beside(tenure_protocol::ThreadId(900))
    };
    assert_eq!(other().blocking().map(drop), Err(absent(&id)));
    // A request for the same attribute waits, and then finds the write of the first thread.
    let same = || {
        session
            .lock("a")
            .existing()
            .beside(tenure_protocol::ThreadId(901))
    };
    let mut waits = Box::pin(same());
    assert!(poll(&mut waits).is_none());
    guard.discard();
    assert_eq!(
        poll(&mut waits).map(|ended| ended.map(drop)),
        Some(Err(absent(&id)))
    );

    let mut guard = session.lock("a").blocking().expect("cached");
    guard.set(&b"2"[..]).expect("set");
    let mut waits = Box::pin(same());
    assert!(poll(&mut waits).is_none());
    guard.unlock().expect("held");
    let let_in = poll(&mut waits).expect("let in").expect("it exists");
    assert_eq!(let_in.bytes(), Some(&b"2"[..]));
    drop(other().blocking().expect("it exists"));
    drop(let_in);
    drop(session.lock("a").existing().blocking().expect("it exists"));
    assert_eq!(
        rig.messages, messages,
        "the process needs no message for these answers"
    );
}

#[test]
fn a_session_created_by_another_process_exists() {
    let id = session();
    let mut rig = Rig::new();
    assert_eq!(ends(&mut rig, &id), Err(absent(&id)));
    rig.hold(&id, &[("a", b"0")]);
    rig.locks.release(&id);
    rig.pump();
    rig.locks.forget(&id);
    assert_eq!(ends(&mut rig, &id), Ok(()));
}

/// Opens a connection, and returns its link number.
fn greeted(locks: &Locks) -> Link {
    locks.connected();
    let Some(Event::Send { link, message }) = locks.try_event() else {
        panic!("the first message of a connection is a hello");
    };
    assert!(matches!(message, ToStore::Hello(_)));
    link
}

/// Returns the welcome of a store of version 1.0.
fn welcome_of_1_0() -> ToProcess {
    ToProcess::Welcome {
        minor: 0,
        sent: Time::ZERO,
        lease_ms: StoreSettings::default().lease_ms,
        holds: Vec::new(),
        gone: Vec::new(),
        limits: None,
    }
}

/// The machine ignores the message, so the limits in it do not apply to threads.
#[test]
fn a_welcome_on_an_earlier_connection_changes_no_limits() {
    let locks = Locks::with_manual_clock(ProcessSettings::default(), Incarnation(1));
    let earlier = greeted(&locks);
    locks.disconnected();
    let link = greeted(&locks);
    locks.message(link, welcome_of_1_0());
    let mut late = welcome_of_1_0();
    if let ToProcess::Welcome { minor, .. } = &mut late {
        *minor = 7;
    }
    locks.message(earlier, late);
    let error = locks
        .session(&session())
        .lock("a")
        .existing()
        .blocking()
        .map(drop);
    let Err(Error::Unsupported(unsupported)) = &error else {
        panic!("the request must fail as unsupported, not with {error:?}");
    };
    assert_eq!(unsupported.store, (1, 0));
}

#[test]
fn an_existing_lock_at_a_store_of_1_0_fails_without_a_message() {
    let locks = Locks::with_manual_clock(ProcessSettings::default(), Incarnation(1));
    let link = greeted(&locks);
    locks.message(link, welcome_of_1_0());
    let id = session();
    let session = locks.session(&id);
    let error = session.lock("a").existing().blocking().map(drop);
    let Err(Error::Unsupported(unsupported)) = &error else {
        panic!("the request must fail as unsupported, not with {error:?}");
    };
    let expected = Unsupported {
        session: id,
        feature: "existing()",
        needs: (1, 1),
        store: (1, 0),
    };
    assert_eq!(**unsupported, expected);
    let text = error.expect_err("refused").to_string();
    assert!(
        text.ends_with(
            "existing() needs a store that speaks version 1.1 of the protocol, and this one speaks 1.0; \
             update the store, or lock without it"
        ),
        "{text}"
    );
    let is_sent = |event: &Event| matches!(event, Event::Send { .. });
    let events = std::iter::from_fn(|| locks.try_event());
    assert_eq!(events.filter(is_sent).count(), 0);
    assert_eq!(locks.known(), 0);
    // All other requests still work.
    assert!(poll(&mut Box::pin(session.lock("a"))).is_none());
    let events = std::iter::from_fn(|| locks.try_event());
    assert!(events.filter(is_sent).count() >= 1);
}
