//! Lending changes nothing: in every reachable state of the small universes, what threads do in a session that is lent is what
//! they would have done through the process; and what is accepted of a thread where its attribute is handed out is kept, however
//! near the limits the session is. Random schedules of the whole are in `model/protocol/tests/support/twin.rs`.

use stateright::Model as _;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use tenure_checker::system::{ATTRIBUTES, Model, SESSIONS, System, thread_id};
use tenure_checker::universe::UNIVERSES;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::Patience;
use tenure_protocol::process::{Answer, Call, Lent, Names, Output};
use tenure_protocol::{AttributeName, Limits, Process, SessionId, Sound, ThreadId, Time};

fn names() -> [Names; 4] {
    [
        Names::One(ATTRIBUTES[0].clone()),
        Names::One(ATTRIBUTES[1].clone()),
        Names::Many(ATTRIBUTES.to_vec()),
        Names::All,
    ]
}

fn calls(process: &mut Process, id: &SessionId, thread: ThreadId, call: &Call) -> Vec<Output> {
    let mut out = Vec::new();
    process.call(Time::ZERO, thread, id, call, &mut out);
    out
}

/// The client state and who is inside. All that can differ: the rest of a calm session is the grant alone.
fn seen(process: &Process, id: &SessionId) -> String {
    let session = process.session(id).expect("it was lent");
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

/// Goes in, writes, goes out, both ways.
fn is_alike(process: &Process, id: &SessionId, thread: ThreadId, names: &Names) -> bool {
    let (mut whole, mut part) = (process.clone(), process.clone());
    let mut lent = part.lend(id).expect("calm");
    let token = lent.token();
    let lock = Call::Lock {
        names: names.clone(),
        patience: Patience::Try,
        until: Time::ZERO,
    };
    let answer = Answer::Locked(token);
    let locked = Output::Answer {
        thread,
        session: id.clone(),
        answer,
    };
    let enters = lent.enter(thread, names);
    let out = calls(&mut whole, id, thread, &lock);
    let mut is_alike = enters == (out == [locked]);
    if enters {
        for name in &ATTRIBUTES {
            let value = Some(b"z".to_vec().into());
            let limits = Limits::default();
            let writes = lent.write(thread, name, value.as_ref(), &limits) == Ok(true);
            let write = Call::Write {
                name: name.clone(),
                value,
            };
            is_alike &= writes == calls(&mut whole, id, thread, &write).is_empty();
        }
        let mut midway = part.clone();
        midway.take_back(id.clone(), lent.clone());
        is_alike &= seen(&midway, id) == seen(&whole, id);
        is_alike &= lent.leave(Time::ZERO, thread, names, true);
        is_alike &= calls(&mut whole, id, thread, &Call::Unlock(names.clone())).is_empty();
    }
    part.take_back(id.clone(), lent);
    // Who was turned away is another matter: what the process then says, only the process says.
    is_alike && (!enters || seen(&part, id) == seen(&whole, id))
}

fn size(lent: &Lent) -> usize {
    let sizes = lent
        .attributes()
        .map(|(name, value)| name.as_bytes().len() + value.len());
    sizes.sum()
}

/// Writes as many bytes as are accepted, at most so many; answers how many.
fn fill(
    lent: &mut Lent,
    thread: ThreadId,
    name: &AttributeName,
    most: usize,
    limits: &Limits,
) -> Option<usize> {
    let mut lengths = (0..=most).rev();
    lengths.find(|length| {
        let value = Value::from(vec![b'z'; *length]);
        lent.write(thread, name, Some(&value), limits) == Ok(true)
    })
}

/// A thread uses an attribute that is handed out; that is taken in around it; another thread takes all the room that it gets,
/// and keeps it or not. What the first may have been told is accepted is still accepted then, and no limit is passed.
fn is_kept(
    mut lent: Lent,
    [user, other]: [ThreadId; 2],
    limits: &Limits,
    keeps: bool,
) -> Option<bool> {
    let [own, others] = &ATTRIBUTES;
    let most = limits.session_bytes_max;
    let out = lent.hand_out(own, limits)?;
    lent.take_in(own, (out.value, false), Time::ZERO, Some(user));
    let names = Names::One(others.clone());
    if lent.enter(other, &names) {
        fill(&mut lent, other, others, most, limits);
        assert!(lent.leave(Time::ZERO, other, &names, keeps));
    }
    let bytes = out.bytes_max as usize;
    let mut is_kept = fill(&mut lent, user, own, bytes, limits) == Some(bytes);
    // More than is reserved is a question, and its answer is kept as well: where it was accepted it is written again.
    let more = fill(&mut lent, user, own, most, limits);
    is_kept &= more >= Some(bytes) && fill(&mut lent, user, own, more?, limits) == more;
    is_kept &= lent.leave(Time::ZERO, user, &Names::One(own.clone()), true);
    Some(is_kept && size(&lent) <= most)
}

/// How often what is accepted was kept, in a session of this state whose limits are near.
fn keeps(process: &Process, id: &SessionId) -> usize {
    let lent = process.clone().lend(id).expect("calm");
    let mut kept = 0;
    for (room, keeps) in (0..8).flat_map(|room| [(room, false), (room, true)]) {
        let limits = Limits {
            session_bytes_max: size(&lent) + room,
            ..Limits::default()
        };
        let threads = [ThreadId(98), ThreadId(99)];
        if let Some(is_kept) = is_kept(lent.clone(), threads, &limits, keeps) {
            assert!(is_kept, "{room} bytes more {lent:#?}");
            kept += 1;
        }
    }
    kept
}

/// How many sessions of this state could be lent; and, added, how often in them what was accepted was kept.
fn lends(system: &System<Sound>, kept: &mut usize) -> usize {
    let stranger = ThreadId(99);
    let mut lent = 0;
    for ((_, process), id) in system
        .each_machine()
        .flat_map(|own| SESSIONS.iter().map(move |id| (own, id)))
    {
        let mut part = process.clone();
        let Some(calm) = part.lend(id) else {
            continue;
        };
        part.take_back(id.clone(), calm);
        assert_eq!(seen(&part, id), seen(process, id));
        for thread in [stranger, thread_id(0), thread_id(1)] {
            for names in names() {
                assert!(
                    is_alike(process, id, thread, &names),
                    "{thread} {names:?} {process:#?}"
                );
            }
        }
        *kept += keeps(process, id);
        lent += 1;
    }
    lent
}

#[test]
fn lending_changes_nothing() {
    for universe in UNIVERSES
        .iter()
        .filter(|universe| universe.unique_states < 100_000)
    {
        let model = Model::new(universe, Sound);
        let mut open = model.init_states();
        let mut known: HashSet<u64> = open.iter().map(fingerprint).collect();
        let (mut states, mut lent, mut kept) = (0, 0, 0);
        while let Some(state) = open.pop() {
            states += 1;
            lent += lends(&state, &mut kept);
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            let next = actions
                .into_iter()
                .filter_map(|action| model.next_state(&state, action));
            open.extend(next.filter(|next| known.insert(fingerprint(next))));
        }
        assert_eq!(states, universe.unique_states, "{}", universe.name);
        assert!(lent > 0, "{}: nothing was ever lent", universe.name);
        assert!(kept > 0, "{}: nothing was ever kept", universe.name);
    }
}

fn fingerprint(state: &System<Sound>) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
