//! What the lock manager allocates and keeps: pinned, since neither depends on the machine.

#[path = "../../impl/locks/tests/support/mod.rs"]
mod support;

use allocation_counter::measure;
use support::{Rig, session};
use tenure_protocol::{SessionId, ThreadId};

/// Waits for nothing: an attribute that is free.
fn poll<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it is free"),
    }
}

#[test]
fn a_kept_session_is_used_without_allocating() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut count = 0;
    for _ in 0..4 {
        let info = measure(|| {
            let mut guard = s.lock("a").blocking().expect("free");
            guard
                .edit(|bytes| bytes[0] += 1)
                .expect("as long as before");
            drop(guard);
            let mut guard = poll(s.lock("a")).expect("free");
            guard
                .edit(|bytes| bytes[0] += 1)
                .expect("as long as before");
            drop(guard);
        });
        count = info.count_total;
    }
    assert_eq!(count, 0);
}

#[test]
fn a_handoff_allocates_nothing() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut guard = s.lock("a").blocking().expect("free");
    let next = s.lock("a").beside(ThreadId(u64::MAX >> 10));
    let mut next = std::pin::pin!(next);
    assert!(next.as_mut().poll(&mut context).is_pending());
    guard.set("1").expect("small");
    let mut handed = None;
    let info = measure(|| {
        drop(guard);
        handed = Some(next.poll(&mut context));
    });
    assert_eq!(info.count_total, 0);
    let Some(std::task::Poll::Ready(Ok(guard))) = handed else {
        panic!("it is handed off")
    };
    assert_eq!(guard.bytes(), Some(&b"1"[..]));
}

/// Names that come from outside, each locked once through a handle, take no more memory than a session has
/// attributes.
#[test]
fn locking_absent_attributes_takes_a_limited_amount_of_memory() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let info = measure(|| {
        for at in 0..20_000 {
            let name = format!("name{at}");
            let guard = s.lock(&name).blocking().expect("free");
            assert_eq!(guard.bytes(), None);
        }
    });
    assert!(info.bytes_current < 512 << 10, "{info:?}");
}

/// What a thread that leaves has to do does not grow with how many others are inside, beyond a look at each.
#[test]
fn leaving_beside_a_waiter_for_all_copies_nothing() {
    let rig = Rig::holding(&[session()]);
    let s = rig.locks.session(&session());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let names: Vec<String> = (0..64).map(|at| format!("n{at}")).collect();
    let guards = names
        .iter()
        .map(|name| s.lock(name).blocking().expect("free"));
    let guards: Vec<_> = guards.collect();
    let all = s.lock_all();
    let mut all = std::pin::pin!(all);
    assert!(all.as_mut().poll(&mut context).is_pending());
    let info = measure(|| drop(guards));
    assert!(info.count_total <= 64, "{info:?}");
    assert!(all.poll(&mut context).is_ready());
}

#[test]
fn a_cached_idle_session_with_four_attributes_is_small() {
    const SESSIONS: usize = 10_000;
    const ATTRIBUTES: [(&str, &[u8]); 4] = [
        ("cart", &[1; 100]),
        ("user", &[2; 100]),
        ("seen", &[3; 100]),
        ("lang", &[4; 100]),
    ];
    const ATTRIBUTE_BYTES: u64 = 4 * (4 + 100);
    let mut rig = Rig::new();
    for at in 0..SESSIONS {
        // As long as ids are that web frameworks draw.
        let id = SessionId::new(format!("{at:032}")).expect("a short id");
        rig.hold(&id, &[]);
        let s = rig.locks.session(&id);
        for (name, bytes) in ATTRIBUTES {
            let mut guard = s.lock(name).blocking().expect("free");
            guard.set(bytes.to_vec()).expect("within the limits");
        }
    }
    rig.pass(1_000);
    rig.locks.sweep(1_000);
    rig.pump();
    let locks = rig.into_locks();
    let freed = -measure(|| drop(locks)).bytes_current;
    let each = u64::try_from(freed).expect("memory was freed") / SESSIONS as u64;
    println!(
        "{} bytes above the {ATTRIBUTE_BYTES} of its attributes",
        each - ATTRIBUTE_BYTES
    );
    assert!(
        each - ATTRIBUTE_BYTES <= 730,
        "{each} bytes, {ATTRIBUTE_BYTES} of them its attributes'"
    );
}
