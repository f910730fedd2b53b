//! How often the machines allocate on the common paths, pinned: a change here is a change of cost.

use allocation_counter::measure;
use tenure_benches::{
    NOW, Rig, THREAD, acquire, attribute, delta, from, holding, lock, process, session, store,
    unlock, value, write,
};
use tenure_protocol::message::Release;
use tenure_protocol::process::Call;
use tenure_protocol::{ProcessMachine, SessionId, ToStore};

/// Allocations of these calls, after as many as bring every buffer to its size.
fn of_calls(process: &mut ProcessMachine, session: &SessionId, calls: &[Call]) -> u64 {
    let mut out = Vec::with_capacity(8);
    let mut count = 0;
    for _ in 0..4 {
        let info = measure(|| {
            for call in calls {
                process.call(NOW, THREAD, session, call, &mut out);
            }
            out.clear();
        });
        count = info.count_total;
    }
    count
}

#[test]
fn local_use_of_a_kept_session() {
    let mut process = holding(&mut store(10), 0, 10);
    let (session, name) = (session(5), attribute(0));
    let (lock, write, unlock) = (lock(&name), write(&name, &value()), unlock(&name));
    let used = of_calls(&mut process, &session, &[lock.clone(), unlock.clone()]);
    let written = of_calls(&mut process, &session, &[lock, write, unlock]);
    println!("lock and unlock: {used}; lock, write and unlock: {written}");
    // The write set is a list that its claim owns; threads of `impl/locks` write into cells instead.
    assert_eq!((used, written), (0, 1));
}

#[test]
fn a_request_at_the_store() {
    let mut store = store(1_000);
    let me = process(0);
    let mut out = Vec::with_capacity(8);
    let (mut granted, mut released) = (0, 0);
    for at in 0..4 {
        let id = session(at);
        let input = from(&me, acquire(&id, 1));
        granted = measure(|| store.step(NOW, input, &mut out)).count_total;
        out.clear();
        let head = &store.session(&id).expect("resident").record().head;
        let release = ToStore::Release(Release {
            session: id.clone(),
            token: head.holder.as_ref().expect("held").token,
            base: head.version,
            delta: delta(),
            requeue: None,
            idle_ms: 0,
        });
        let input = from(&me, release);
        released = measure(|| store.step(NOW, input, &mut out)).count_total;
        out.clear();
    }
    println!("acquire and grant: {granted}; release with a change: {released}");
    assert!(granted <= 8 && released <= 8, "{granted}, {released}");
}

#[test]
fn a_handoff() {
    let mut rig = Rig::new(10);
    let (session, name, value) = (session(5), attribute(0), value());
    let (mut count, mut sent) = (0, 0);
    for at in [0, 1, 0, 1, 0, 1] {
        let info = measure(|| {
            sent = rig.thread(at, &session, &lock(&name));
            rig.thread(at, &session, &write(&name, &value));
            rig.thread(at, &session, &unlock(&name));
        });
        count = info.count_total;
    }
    println!("handoff: {count} allocations, {sent} messages");
    assert!(count <= 60, "{count}");
}
