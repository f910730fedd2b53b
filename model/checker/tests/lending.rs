//! Lending changes nothing: in every reachable state of the small universes, what threads do in a session that is lent is what
//! they would have done through the process. Random schedules of the whole are in `model/protocol/tests/support/twin.rs`.

use stateright::Model as _;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use tenure_checker::system::{ATTRIBUTES, Model, SESSIONS, System, thread_id};
use tenure_checker::universe::UNIVERSES;
use tenure_protocol::message::Patience;
use tenure_protocol::process::{Answer, Call, Names, Output};
use tenure_protocol::{Limits, Process, SessionId, Sound, ThreadId, Time};

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

/// How many sessions of this state could be lent.
fn lends(system: &System<Sound>) -> usize {
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
        let (mut states, mut lent) = (0, 0);
        while let Some(state) = open.pop() {
            states += 1;
            lent += lends(&state);
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            let next = actions
                .into_iter()
                .filter_map(|action| model.next_state(&state, action));
            open.extend(next.filter(|next| known.insert(fingerprint(next))));
        }
        assert_eq!(states, universe.unique_states, "{}", universe.name);
        assert!(lent > 0, "{}: nothing was ever lent", universe.name);
    }
}

fn fingerprint(state: &System<Sound>) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
