//! Detaching changes nothing. In every reachable state of the small universes, the threads of a detached session do
//! what they would do through the process. A write that is accepted at a handed-out attribute is kept, however near the
//! limits the session is. Random schedules of the whole are in `model/protocol/tests/support/twin.rs`.

use stateright::Model as _;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use tenure_checker::system::{ATTRIBUTES, Model, SESSIONS, System, thread_id};
use tenure_checker::universe::UNIVERSES;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::WaitMode;
use tenure_protocol::process::{Answer, Call, Detached, Names, Output, Wanted};
use tenure_protocol::{AttributeName, Limits, ProcessMachine, SessionId, Sound, ThreadId, Time};

fn names() -> [Names; 4] {
    [
        Names::One(ATTRIBUTES[0].clone()),
        Names::One(ATTRIBUTES[1].clone()),
        Names::Many(ATTRIBUTES.to_vec()),
        Names::All,
    ]
}

fn calls(
    process: &mut ProcessMachine,
    id: &SessionId,
    thread: ThreadId,
    call: &Call,
) -> Vec<Output> {
    let mut out = Vec::new();
    process.call(Time::ZERO, thread, id, call, &mut out);
    out
}

/// Returns the client state and the threads inside. Nothing else can differ: the rest of a calm session is the grant.
fn seen(process: &ProcessMachine, id: &SessionId) -> String {
    let session = process.session(id).expect("it was detached");
    let mut inside: Vec<String> = session
        .lock()
        .holders()
        .iter()
        .map(|claim| format!("{} {:?} {:?}", claim.thread, claim.wanted, claim.written))
        .collect();
    inside.sort();
    let slots = session.slots();
    let slots = slots
        .iter()
        .filter(|slot| slot.value.is_some() || slot.is_dirty);
    format!(
        "{:?} {:?} {inside:?}",
        session.phase(),
        slots.collect::<Vec<_>>()
    )
}

/// Lets a thread enter, write and leave, both ways.
fn is_alike(process: &ProcessMachine, id: &SessionId, thread: ThreadId, names: &Names) -> bool {
    let (mut whole, mut part) = (process.clone(), process.clone());
    let mut detached = part.detach(id).expect("calm");
    let token = detached.token();
    let lock = Call::Lock {
        names: names.clone(),
        wait_mode: WaitMode::Try,
        until: Time::ZERO,
        existing: false,
    };
    let answer = Answer::Locked(token);
    let locked = Output::Answer {
        thread,
        session: id.clone(),
        answer,
    };
    let enters = detached.enter(thread, names);
    let out = calls(&mut whole, id, thread, &lock);
    let mut is_alike = enters == (out == [locked]);
    if enters {
        for name in &ATTRIBUTES {
            let value = Some(b"z".to_vec().into());
            let limits = Limits::default();
            let writes = detached.write(thread, name, value.as_ref(), &limits) == Ok(true);
            let write = Call::Write {
                name: name.clone(),
                value,
            };
            is_alike &= writes == calls(&mut whole, id, thread, &write).is_empty();
        }
        let mut midway = part.clone();
        midway.reattach(id.clone(), detached.clone());
        is_alike &= seen(&midway, id) == seen(&whole, id);
        is_alike &= leaves_alike(&mut detached, &mut whole, id, thread, names);
    }
    part.reattach(id.clone(), detached);
    // A refused thread is another matter: only the process decides the answer then.
    is_alike && (!enters || seen(&part, id) == seen(&whole, id))
}

/// Lets a thread leave both ways. Both ways must admit the same threads, in the same order.
fn leaves_alike(
    detached: &mut Detached,
    whole: &mut ProcessMachine,
    id: &SessionId,
    thread: ThreadId,
    names: &Names,
) -> bool {
    let token = detached.token();
    let has_left = detached.leave(Time::ZERO, thread, names, true);
    let let_in = std::iter::from_fn(|| detached.admit());
    let locked = let_in.map(|thread| Output::Answer {
        thread,
        session: id.clone(),
        answer: Answer::Locked(token),
    });
    let locked: Vec<Output> = locked.collect();
    has_left && locked == calls(whole, id, thread, &Call::Unlock(names.clone()))
}

/// Lets each thread that is inside leave, both ways. Both ways must hand the lock to the same waiter, and the process
/// must know the same waits. Returns the number of admitted threads.
fn hands_off(process: &ProcessMachine, id: &SessionId) -> usize {
    let session = process.session(id).expect("it can be detached");
    let name = |slot: &u32| session.slots()[*slot as usize].name.clone();
    let mut let_in = 0;
    for claim in session.lock().holders() {
        let names = match &claim.wanted {
            Wanted::All => Names::All,
            Wanted::One(slot) => Names::One(name(slot)),
            Wanted::Many(slots) => Names::Many(slots.iter().map(name).collect()),
        };
        let (mut whole, mut part) = (process.clone(), process.clone());
        let mut detached = part.detach(id).expect("calm");
        let before = detached.waiters().count();
        let is_alike = leaves_alike(&mut detached, &mut whole, id, claim.thread, &names);
        let_in += before - detached.waiters().count();
        part.reattach(id.clone(), detached);
        let waiters = |process: &ProcessMachine| {
            let lock = process.session(id).expect("taken back").lock();
            lock.waiters().cloned().collect::<Vec<_>>()
        };
        assert!(is_alike && waiters(&part) == waiters(&whole), "{claim:?}");
        assert_eq!(part.waits(), whole.waits(), "{claim:?}");
        // A used-up grant may be on its way back; such a session cannot be detached.
        let stays = whole.clone().detach(id).is_some();
        assert!(stays && seen(&part, id) == seen(&whole, id), "{claim:?}");
    }
    let_in
}

/// Lets a thread use a handed-out attribute. Another thread comes and waits, so that the attribute is taken in around
/// the first one. When the first one has written and leaves, the planned thread must be admitted, everything else must
/// be as through the process, and the other thread may write as much as the first. Returns the number of such cases.
fn count_plans(process: &ProcessMachine, id: &SessionId) -> usize {
    let threads = [ThreadId(98), ThreadId(99)];
    let ways = [None, Some(None), Some(Some(Value::from_static(b"z")))];
    let tried = ATTRIBUTES.iter().flat_map(|name| {
        let ways = ways.iter();
        ways.filter_map(move |written| is_planned(process, id, name, threads, written.clone()))
    });
    tried
        .inspect(|is_planned| assert!(is_planned, "{process:#?}"))
        .count()
}

fn is_planned(
    process: &ProcessMachine,
    id: &SessionId,
    name: &AttributeName,
    [user, other]: [ThreadId; 2],
    written: Option<Option<Value>>,
) -> Option<bool> {
    let names = Names::One(name.clone());
    let mut process = process.clone();
    let mut detached = process.detach(id)?;
    let limits = Limits {
        session_bytes_max: size(&detached) + 8,
        ..Limits::default()
    };
    let out = detached.hand_out(name, &limits)?;
    detached.take_in(name, (out.value, false), Time::ZERO, Some(user));
    assert_eq!(detached.plan(), None, "nobody waits");
    process.reattach(id.clone(), detached);
    let lock = Call::Lock {
        names: names.clone(),
        wait_mode: WaitMode::Wait,
        until: Time(1),
        existing: false,
    };
    assert_eq!(calls(&mut process, id, other, &lock), []);
    let (mut whole, mut part) = (process.clone(), process);
    if let Some(value) = &written {
        let (name, value) = (name.clone(), value.clone());
        let write = Call::Write { name, value };
        assert_eq!(calls(&mut whole, id, user, &write), []);
    }
    let mut detached = part.detach(id)?;
    let handoff = detached.plan().expect("it waits for this alone");
    assert_eq!((handoff.from, handoff.to), (user, other));
    detached.settle_handoff(Time::ZERO, &handoff, written);
    let locked = Output::Answer {
        thread: other,
        session: id.clone(),
        answer: Answer::Locked(detached.token()),
    };
    let may_write = writes_beside(
        detached.clone(),
        other,
        name,
        out.bytes_max as usize,
        &limits,
    );
    part.reattach(id.clone(), detached);
    let is_alike = calls(&mut whole, id, user, &Call::Unlock(names)) == [locked];
    let is_same = seen(&part, id) == seen(&whole, id) && part.waits() == whole.waits();
    Some(is_alike && is_same && may_write)
}

/// Returns whether a thread may write so many bytes when another thread has taken all the room in the other attribute.
fn writes_beside(
    mut detached: Detached,
    thread: ThreadId,
    name: &AttributeName,
    bytes: usize,
    limits: &Limits,
) -> bool {
    let stranger = ThreadId(100);
    let others = ATTRIBUTES.iter().find(|other| *other != name);
    let others = others.expect("there are two");
    if detached.enter(stranger, &Names::One(others.clone())) {
        fill(
            &mut detached,
            stranger,
            others,
            limits.session_bytes_max,
            limits,
        );
    }
    fill(&mut detached, thread, name, bytes, limits) == Some(bytes)
}

fn size(detached: &Detached) -> usize {
    let sizes = detached
        .attributes()
        .map(|(name, value)| name.as_bytes().len() + value.len());
    sizes.sum()
}

/// Writes the most bytes that are accepted, up to a bound, and returns the number.
fn fill(
    detached: &mut Detached,
    thread: ThreadId,
    name: &AttributeName,
    most: usize,
    limits: &Limits,
) -> Option<usize> {
    let mut lengths = (0..=most).rev();
    lengths.find(|length| {
        let value = Value::from(vec![b'z'; *length]);
        detached.write(thread, name, Some(&value), limits) == Ok(true)
    })
}

/// Lets a thread use a handed-out attribute, which is then taken in around it. Another thread takes all the room that
/// it gets, and keeps it or not. A write that the first thread may have been promised must still be accepted, and no
/// limit may be exceeded.
fn is_kept(
    mut detached: Detached,
    [user, other]: [ThreadId; 2],
    limits: &Limits,
    keeps: bool,
) -> Option<bool> {
    let [own, others] = &ATTRIBUTES;
    let most = limits.session_bytes_max;
    let out = detached.hand_out(own, limits)?;
    detached.take_in(own, (out.value, false), Time::ZERO, Some(user));
    let names = Names::One(others.clone());
    if detached.enter(other, &names) {
        fill(&mut detached, other, others, most, limits);
        assert!(detached.leave(Time::ZERO, other, &names, keeps));
    }
    let bytes = out.bytes_max as usize;
    let mut is_kept = fill(&mut detached, user, own, bytes, limits) == Some(bytes);
    // A write beyond the reserved bytes is a question. An accepted write is kept as well: where it was accepted it is
    // written again.
    let more = fill(&mut detached, user, own, most, limits);
    is_kept &= more >= Some(bytes) && fill(&mut detached, user, own, more?, limits) == more;
    is_kept &= detached.leave(Time::ZERO, user, &Names::One(own.clone()), true);
    Some(is_kept && size(&detached) <= most)
}

/// Returns how often an accepted write was kept, in a session of this state whose limits are near.
fn keeps(process: &ProcessMachine, id: &SessionId) -> usize {
    let detached = process.clone().detach(id).expect("calm");
    let mut kept = 0;
    for (room, keeps) in (0..8).flat_map(|room| [(room, false), (room, true)]) {
        let limits = Limits {
            session_bytes_max: size(&detached) + room,
            ..Limits::default()
        };
        let threads = [ThreadId(98), ThreadId(99)];
        if let Some(is_kept) = is_kept(detached.clone(), threads, &limits, keeps) {
            assert!(is_kept, "{room} bytes more {detached:#?}");
            kept += 1;
        }
    }
    kept
}

/// The number of detached sessions, and in them the numbers of kept writes, of admitted waiters, and of planned
/// handoffs.
#[derive(Default)]
struct Seen {
    detached: usize,
    kept: usize,
    let_in: usize,
    planned: usize,
}

fn detaches(system: &System<Sound>, so_far: &mut Seen) {
    let stranger = ThreadId(99);
    for ((_, process), id) in system
        .each_machine()
        .flat_map(|own| SESSIONS.iter().map(move |id| (own, id)))
    {
        let mut part = process.clone();
        let Some(calm) = part.detach(id) else {
            continue;
        };
        part.reattach(id.clone(), calm);
        assert_eq!(seen(&part, id), seen(process, id));
        for thread in [stranger, thread_id(0), thread_id(1)] {
            for names in names() {
                assert!(
                    is_alike(process, id, thread, &names),
                    "{thread} {names:?} {process:#?}"
                );
            }
        }
        so_far.let_in += hands_off(process, id);
        so_far.kept += keeps(process, id);
        so_far.planned += count_plans(process, id);
        so_far.detached += 1;
    }
}

#[test]
fn detaching_changes_nothing() {
    let mut let_in = 0;
    for universe in UNIVERSES
        .iter()
        .filter(|universe| universe.unique_states < 100_000)
    {
        let model = Model::new(universe, Sound);
        let mut open = model.init_states();
        let mut known: HashSet<u64> = open.iter().map(fingerprint).collect();
        let (mut states, mut seen) = (0, Seen::default());
        while let Some(state) = open.pop() {
            states += 1;
            detaches(&state, &mut seen);
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            let next = actions
                .into_iter()
                .filter_map(|action| model.next_state(&state, action));
            open.extend(next.filter(|next| known.insert(fingerprint(next))));
        }
        assert_eq!(states, universe.unique_states, "{}", universe.name);
        assert!(
            seen.detached > 0,
            "{}: nothing was ever detached",
            universe.name
        );
        assert!(seen.kept > 0, "{}: nothing was ever kept", universe.name);
        let name = universe.name;
        assert!(seen.planned > 0, "{name}: nothing was ever planned");
        let_in += seen.let_in;
    }
    assert!(let_in > 0, "nobody who waited was ever let in");
}

fn fingerprint(state: &System<Sound>) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
