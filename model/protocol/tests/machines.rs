//! Random schedules of the machines and their parts, checked against properties that must always hold.
//!
//! A failing schedule is shrunk and printed as a script that `transcripts.rs` can play. Its seed goes to
//! `machines.regressions`, which the next run tries first.
//!
//! This file deliberately leaves out all interleavings of a small system, which the checker explores.

use crate::support::script::{Fate, Op, WAIT_MS};
use crate::support::{Node, Packet, Seen, Setup, World, words};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::{BTreeMap, BTreeSet};
use tenure_protocol::attributes::{Change, REMOVED_MAX, Record, Records, State, Update, Value};
use tenure_protocol::invariant;
use tenure_protocol::lock::{Claim, Gate, Lock, Parts};
use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Granted, Hello, Limited, Reason, RecallInfo, Refusal,
    Release, Revocation, WaitMode,
};
use tenure_protocol::process::{self, Answer, Call, Connection, Names, Phase, Wanted};
use tenure_protocol::store::{self, Admission, Output, Stopping};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Link, ProcessId, ProcessMachine, ProcessSettings, Request,
    SessionId, Settings, Stamp, StoreMachine, StoreSettings, ThreadId, Ticket, Time, ToProcess,
    ToStore, Token, Version,
};

fn config(cases: u32) -> ProptestConfig {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/machines.regressions");
    // A run can have more cases: PROPTEST_CASES=100000.
    let asked = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(cases),
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        ..ProptestConfig::default()
    }
}

// ---- the lock ------------------------------------------------------------------------------------------------------

/// A claim of `owner` to the parts in `mask`. `id` is its number in order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bits {
    id: usize,
    owner: u8,
    parts: Vec<u32>,
    until: Time,
    is_try: bool,
}

impl Bits {
    fn new(id: usize, owner: u8, mask: u8) -> Self {
        let parts = (0..4).filter(|part| mask & 1 << part != 0);
        Self {
            id,
            owner,
            parts: parts.collect(),
            until: Time(u64::from(mask) * 7 + id as u64 % 5),
            is_try: id.is_multiple_of(3),
        }
    }
}

impl Claim for Bits {
    type Owner = u8;

    fn owner(&self) -> &u8 {
        &self.owner
    }

    fn parts(&self) -> Parts<'_> {
        match &self.parts[..] {
            [part] => Parts::One(*part),
            [_, _, _, _] => Parts::All,
            parts => Parts::Many(parts),
        }
    }

    fn until(&self) -> Time {
        self.until
    }

    fn is_try(&self) -> bool {
        self.is_try
    }
}

#[derive(Clone, Debug)]
enum LockOp {
    Ask(u8, u8),
    AskBefore(u8, u8, prop::sample::Index),
    Leave(prop::sample::Index),
    GiveUp(prop::sample::Index),
    Change(prop::sample::Index),
    RefuseTries,
    Renumber,
    Gate(Gate),
}

fn gate() -> impl Strategy<Value = Gate> {
    prop_oneof![3 => Just(Gate::Open), 2 => Just(Gate::Insiders), 1 => Just(Gate::Closed)]
}

fn lock_op() -> impl Strategy<Value = LockOp> {
    let index = any::<prop::sample::Index>;
    // Most claims want one part, so that the queue is sometimes short and sometimes long.
    let mask = || prop_oneof![8 => (0_u8..4).prop_map(|part| 1 << part), 1 => 1_u8..16];
    prop_oneof![
        20 => (0_u8..60, mask()).prop_map(|(owner, mask)| LockOp::Ask(owner, mask)),
        1 => (0_u8..60, mask(), index()).prop_map(|(owner, mask, at)| LockOp::AskBefore(owner, mask, at)),
        8 => index().prop_map(LockOp::Leave),
        4 => index().prop_map(LockOp::GiveUp),
        1 => index().prop_map(LockOp::Change),
        1 => Just(LockOp::RefuseTries),
        1 => Just(LockOp::Renumber),
        3 => gate().prop_map(LockOp::Gate),
    ]
}

/// The queue by its definition.
struct Defined<'a> {
    holders: &'a [Bits],
    waiters: Vec<Bits>,
}

impl<'a> Defined<'a> {
    fn of(lock: &'a Lock<Bits>) -> Self {
        Self {
            holders: lock.holders(),
            waiters: lock.waiters().cloned().collect(),
        }
    }

    fn is_inside(&self, owner: u8) -> bool {
        self.holders.iter().any(|holder| holder.owner == owner)
    }

    /// Returns the waiters that stand before a waiter.
    fn rank(&self, place: usize) -> (bool, usize) {
        (!self.is_inside(self.waiters[place].owner), place)
    }

    fn passes(&self, owner: u8, gate: Gate) -> bool {
        gate == Gate::Open || gate == Gate::Insiders && self.is_inside(owner)
    }

    fn fits(&self, claim: &Bits) -> bool {
        !self.holders.iter().any(|holder| holder.conflicts(claim))
    }

    /// Returns the waiter that goes next.
    fn next(&self, gate: Gate) -> Option<usize> {
        let all = 0..self.waiters.len();
        let may_go = |place: &usize| {
            let claim = &self.waiters[*place];
            let is_in_the_way = |other: usize| {
                self.rank(other) < self.rank(*place)
                    && self.passes(self.waiters[other].owner, gate)
                    && self.waiters[other].conflicts(claim)
            };
            self.passes(claim.owner, gate) && self.fits(claim) && !all.clone().any(is_in_the_way)
        };
        let able = all.clone().filter(may_go);
        able.min_by_key(|place| self.rank(*place))
    }

    fn may_enter(&self, claim: &Bits, gate: Gate) -> bool {
        let is_inside = self.is_inside(claim.owner);
        let mut others = self.waiters.iter();
        self.passes(claim.owner, gate)
            && self.fits(claim)
            && !others.any(|other| {
                (!is_inside || self.is_inside(other.owner))
                    && self.passes(other.owner, gate)
                    && other.conflicts(claim)
            })
    }

    /// Returns the waiters that block the waiter at `place`, directly or indirectly.
    fn before(&self, place: usize) -> BTreeSet<usize> {
        let (mut open, mut found) = (vec![place], BTreeSet::new());
        while let Some(own) = open.pop() {
            for other in 0..self.waiters.len() {
                let stands_before = self.rank(other) < self.rank(own);
                if stands_before
                    && self.waiters[other].conflicts(&self.waiters[own])
                    && found.insert(other)
                {
                    open.push(other);
                }
            }
        }
        found
    }

    /// The holders that have to leave before the waiter at `place` can go.
    fn in_the_way(&self, place: usize) -> Vec<usize> {
        let before = self.before(place);
        let blocked = before.iter().chain([&place]);
        let blocked: Vec<&Bits> = blocked.map(|place| &self.waiters[*place]).collect();
        let holders = self.holders.iter();
        let holders = holders.filter(|own| blocked.iter().any(|other| own.conflicts(other)));
        holders.map(|holder| holder.id).collect()
    }
}

proptest! {
    #![proptest_config(config(400))]

    /// The lock agrees with the definition on the next waiter, on admission and on blockers, in short and in long
    /// queues.
    #[test]
    fn lock_does_what_the_definition_says(ops in vec(lock_op(), 1..160)) {
        let mut lock = Lock::<Bits>::default();
        let mut gate = Gate::Open;
        for (id, op) in ops.into_iter().enumerate() {
            match op {
                LockOp::Ask(owner, mask) | LockOp::AskBefore(owner, mask, _) => {
                    let claim = Bits::new(id, owner, mask);
                    let expected = Defined::of(&lock).may_enter(&claim, gate);
                    prop_assert_eq!(lock.may_enter(&claim, gate, false), expected, "{:?}: {:?}", claim, lock);
                    if lock.waiter(&owner).is_some() {
                        continue;
                    }
                    match op {
                        LockOp::AskBefore(_, _, at) if lock.waiting() > 0 => {
                            let before = lock.waiters().nth(at.index(lock.waiting())).expect("in range").id;
                            lock.enqueue_before(claim, |other| other.id == before);
                        }
                        _ if expected => lock.hold(claim),
                        _ => lock.enqueue(claim),
                    }
                }
                LockOp::Leave(at) if !lock.holders().is_empty() => {
                    let id = lock.holders()[at.index(lock.holders().len())].id;
                    prop_assert!(lock.remove_holder(|claim| claim.id == id).is_some());
                }
                LockOp::GiveUp(at) if lock.waiting() > 0 => {
                    let owner = lock.waiters().nth(at.index(lock.waiting())).expect("in range").owner;
                    prop_assert_eq!(lock.remove_waiter_of(&owner).map(|claim| claim.owner), Some(owner));
                }
                LockOp::Change(at) if lock.waiting() > 0 => {
                    let place = at.index(lock.waiting());
                    let owner = lock.waiters().nth(place).expect("in range").owner;
                    lock.change_waiter(&owner, |claim| claim.is_try = !claim.is_try);
                    prop_assert_eq!(lock.waiters().nth(place).map(|claim| claim.owner), Some(owner));
                }
                LockOp::RefuseTries => {
                    let tries: Vec<Bits> = lock.waiters().filter(|claim| claim.is_try).cloned().collect();
                    prop_assert_eq!(lock.remove_tries(), tries);
                }
                LockOp::Renumber => lock.update(|claim| claim.until = claim.until.after(1)),
                LockOp::Gate(new) => gate = new,
                _ => {}
            }
            loop {
                let defined = Defined::of(&lock);
                let expected = defined.next(gate).map(|place| defined.waiters[place].id);
                let spot = lock.next(gate);
                prop_assert_eq!(spot.map(|spot| lock.at(spot).id), expected, "{:?}: {:?}", gate, lock);
                let Some(spot) = spot else { break };
                lock.admit(spot);
            }
            check_queue(&mut lock)?;
        }
    }
}

/// Compares all other queries of a queue with the definition.
fn check_queue(lock: &mut Lock<Bits>) -> Result<(), TestCaseError> {
    let defined = Defined::of(lock);
    let ends = defined.waiters.iter().map(|claim| claim.until);
    prop_assert_eq!(lock.next_end(), ends.clone().min());
    let now = Time(30);
    let mut ended: Vec<Time> = ends.filter(|end| *end <= now).collect();
    ended.sort();
    let found: Vec<Time> = lock.ended(now).iter().map(|claim| claim.until).collect();
    prop_assert_eq!(found, ended);
    let has_patient = defined.waiters.iter().any(|claim| !claim.is_try);
    prop_assert_eq!(lock.has_patient(), has_patient);
    for (place, claim) in defined.waiters.iter().enumerate() {
        let spot = lock.place_of(&claim.owner).expect("it waits");
        let in_the_way: Vec<usize> = lock.in_the_way(spot).map(|holder| holder.id).collect();
        prop_assert_eq!(
            in_the_way,
            defined.in_the_way(place),
            "{:?}: {:?}",
            claim,
            lock
        );
        let other = (place * 7 + 3) % defined.waiters.len();
        let at = lock
            .place_of(&defined.waiters[other].owner)
            .expect("it waits");
        let is_behind = defined.before(place).contains(&other);
        prop_assert_eq!(
            lock.is_behind(spot, at),
            is_behind,
            "{} {}: {:?}",
            place,
            other,
            lock
        );
    }
    let before = lock.clone();
    if !before.holders().is_empty() && lock.next(Gate::Open).is_none() {
        let mut left = before.clone();
        let leaving = left.holders()[0].id;
        left.remove_holder(|claim| claim.id == leaving);
        let mut let_in = Vec::new();
        while let Some(spot) = left.next(Gate::Open) {
            let_in.push(left.admit(spot).id);
        }
        let alone = let_in.first().copied().filter(|_| let_in.len() == 1);
        prop_assert_eq!(
            lock.successor(0, Gate::Open).map(|claim| claim.id),
            alone,
            "{:?}",
            before
        );
        prop_assert_eq!(&*lock, &before);
    }
    Ok(())
}

// ---- attributes ----------------------------------------------------------------------------------------------------

type Values = BTreeMap<AttributeName, Value>;

fn apply(values: &mut Values, delta: &Delta) {
    for Change { name, value } in delta.changes() {
        match value {
            Some(value) => drop(values.insert(name.clone(), value.clone())),
            None => drop(values.remove(name)),
        }
    }
}

fn values_of(record: &Record) -> Values {
    let values = record.attributes().iter();
    values
        .filter_map(|own| Some((own.name.clone(), own.value.clone()?)))
        .collect()
}

fn delta(names: usize) -> impl Strategy<Value = Delta> {
    let value = prop_oneof![
        2 => Just(None),
        3 => vec(any::<u8>(), 0..4).prop_map(|bytes| Some(Value::from(bytes))),
    ];
    let change = (0..names, value).prop_map(|(name, value)| Change {
        name: words::attribute(&format!("n{name}")),
        value,
    });
    vec(change, 1..8).prop_map(|changes| changes.into_iter().collect())
}

proptest! {
    #![proptest_config(config(300))]

    /// The output of `state_since` brings a process from any version to the record's state.
    #[test]
    fn state_brings_any_version_up_to_date(deltas in vec(delta(40), 1..25)) {
        let mut record = Record::default();
        let mut history = vec![(Version::NONE, Values::new())];
        for (at, delta) in deltas.iter().enumerate() {
            let mut values = history.last().expect("never empty").1.clone();
            apply(&mut values, delta);
            let bytes = values.iter().map(|(name, value)| name.as_bytes().len() + value.len()).sum::<usize>();
            prop_assert_eq!(record.size_with(delta), (bytes, values.len()));

            let version = Version(Stamp { epoch: 1, sequence: 1 + at as u64 });
            record.apply(delta, version);
            history.push((version, values.clone()));
            prop_assert_eq!(values_of(&record), values.clone());
            let removed = record.attributes().iter().filter(|own| own.value.is_none()).count();
            prop_assert!(removed <= REMOVED_MAX);

            for (known, old) in &history {
                let mut copy = old.clone();
                match record.state_since(Some(*known)) {
                    State::Unchanged => prop_assert_eq!(*known, record.head.version),
                    State::Delta(delta) => apply(&mut copy, &delta),
                    State::Full(delta) => {
                        copy.clear();
                        apply(&mut copy, &delta);
                    }
                }
                prop_assert_eq!(&copy, &values, "from {:?}", known);
            }
            prop_assert!(matches!(record.state_since(None), State::Full(_)));
        }
    }

    /// The last change of an attribute counts, and a delta is sorted.
    #[test]
    fn delta_keeps_the_last_change(changes in vec((0_usize..6, any::<Option<u8>>()), 0..20)) {
        let mut model = BTreeMap::new();
        let mut delta = Delta::default();
        for (name, value) in changes {
            let (name, value) = (words::attribute(&format!("n{name}")), value.map(|byte| Value::from(vec![byte])));
            model.insert(name.clone(), value.clone());
            delta.set(name, value);
        }
        let model: Vec<Change> = model.into_iter().map(|(name, value)| Change { name, value }).collect();
        prop_assert_eq!(delta.changes(), &model[..]);
    }
}

// ---- the store and two processes -----------------------------------------------------------------------------------

const SESSIONS: [&str; 2] = ["s", "r"];
const NODES: [&str; 2] = ["p", "q"];

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn a_session() -> impl Strategy<Value = SessionId> {
    prop::sample::select(&SESSIONS[..]).prop_map(words::session)
}

fn a_name() -> impl Strategy<Value = AttributeName> {
    prop::sample::select(&["a", "b"][..]).prop_map(words::attribute)
}

fn some_names() -> impl Strategy<Value = Names> {
    let both = vec![words::attribute("b"), words::attribute("a")];
    prop_oneof![
        5 => a_name().prop_map(Names::One),
        2 => Just(Names::Many(both)),
        2 => Just(Names::All),
    ]
}

fn a_call() -> impl Strategy<Value = Call> {
    let wait_mode = prop_oneof![4 => Just(WaitMode::Wait), 1 => Just(WaitMode::Try)];
    let existing = prop_oneof![4 => Just(false), 1 => Just(true)];
    // Each written value is replaced by a number that is larger than all earlier ones.
    let value = prop_oneof![6 => Just(Some(Value::new())), 1 => Just(None)];
    prop_oneof![
        10 => (some_names(), wait_mode, existing).prop_map(|(names, wait_mode, existing)| Call::Lock {
            names,
            wait_mode,
            existing,
            until: Time(WAIT_MS),
        }),
        1 => Just(Call::Abandon),
        6 => (a_name(), value).prop_map(|(name, value)| Call::Write { name, value }),
        8 => some_names().prop_map(Call::Unlock),
        1 => some_names().prop_map(Call::Discard),
        2 => Just(Call::Commit),
        1 => Just(Call::Destroy),
        1 => a_session().prop_map(Call::Rename),
    ]
}

fn an_op() -> impl Strategy<Value = Op> {
    let fate = || {
        prop_oneof![
            16 => Just(Fate::Arrives), 1 => Just(Fate::Lost), 1 => Just(Fate::Twice), 1 => Just(Fate::Late),
        ]
    };
    let node = || one_of(&NODES);
    prop_oneof![
        24 => (node(), 1_u64..3, a_session(), a_call())
            .prop_map(|(node, thread, session, call)| Op::Thread(node, thread, session, call)),
        20 => (node(), fate()).prop_map(|(node, fate)| Op::Send(node, fate)),
        20 => (node(), fate()).prop_map(|(node, fate)| Op::Get(node, fate)),
        1 => node().prop_map(Op::Cut),
        3 => node().prop_map(Op::Connect),
        1 => node().prop_map(Op::Crash),
        1 => Just(Op::StoreCrash),
        1 => (node(), a_session()).prop_map(|(node, session)| Op::Release(node, session)),
        1 => (node(), a_session()).prop_map(|(node, session)| Op::Forget(node, session)),
        1 => a_session().prop_map(Op::StoreRecall),
        4 => prop_oneof![Just(100_u64), Just(1_000), Just(2_000), Just(3_500)].prop_map(Op::Wait),
        3 => node().prop_map(Op::Tick),
        2 => Just(Op::StoreTick),
    ]
}

/// A world, with the facts that its judge must remember.
struct Judge {
    world: World,
    /// The next written value.
    next: u64,
    /// The threads that wait for the answer to a lock, with the session.
    pending: BTreeMap<(String, u64), SessionId>,
    /// The threads that wait for the answer to another call.
    blocked: BTreeSet<(String, u64)>,
    /// The values of every version that was ever durable.
    history: BTreeMap<Version, Values>,
    /// The changes that a process gave back under each token.
    given_back: BTreeMap<Token, Values>,
    /// The last durable value of each attribute, removed or not.
    last: BTreeMap<SessionId, Values>,
    script: Vec<Op>,
}

impl Judge {
    fn new(setup: Setup) -> Self {
        let world = World::connected(setup, &NODES);
        let history = BTreeMap::from([(Version::NONE, Values::new())]);
        Self {
            world,
            next: 0,
            pending: BTreeMap::new(),
            blocked: BTreeSet::new(),
            history,
            given_back: BTreeMap::new(),
            last: BTreeMap::new(),
            script: Vec::new(),
        }
    }

    /// Plays one operation, unless a waiting thread would have to do it.
    fn play(&mut self, mut op: Op) -> Result<(), TestCaseError> {
        let releases = self.release_in(&op);
        match &mut op {
            Op::Thread(node, thread, session, call) => {
                let key = (node.clone(), *thread);
                let waits = self.pending.get(&key);
                match call {
                    Call::Abandon if waits == Some(session) => {}
                    _ if waits.is_some() || self.blocked.contains(&key) => return Ok(()),
                    Call::Abandon => return Ok(()),
                    Call::Write {
                        value: Some(value), ..
                    } => {
                        self.next += 1;
                        *value = Value::from(format!("{:06}", self.next));
                    }
                    Call::Lock { .. } => {
                        self.pending.insert(key, session.clone());
                    }
                    Call::Commit | Call::Destroy | Call::Rename(_) => {
                        self.blocked.insert(key);
                    }
                    _ => {}
                }
            }
            Op::Crash(node) => {
                self.pending.retain(|(own, _), _| own != node);
                self.blocked.retain(|(own, _)| own != node);
            }
            Op::Connect(node) if self.world.node(node).process.has_left() => return Ok(()),
            _ => {}
        }
        self.script.push(op.clone());
        self.world.play(&op);
        self.judge(releases)
    }

    /// Returns the session and token of a release that is about to be accepted.
    fn release_in(&self, op: &Op) -> Option<(SessionId, Token)> {
        let Op::Send(node, Fate::Arrives | Fate::Twice) = op else {
            return None;
        };
        let node = self.world.node(node);
        let Some(Packet::Message(link, ToStore::Release(Release { session, token, .. }))) =
            node.to_store.front()
        else {
            return None;
        };
        let is_current = self.world.store.peer(&node.name)?.link() == Some(*link)
            && self
                .world
                .store
                .session(session)?
                .is_held(&node.name, *token);
        is_current.then(|| (session.clone(), *token))
    }

    fn judge(&mut self, released: Option<(SessionId, Token)>) -> Result<(), TestCaseError> {
        for invariant in invariant::of_store() {
            prop_assert!((invariant.holds)(&self.world.store), "{}", invariant.name);
        }
        for node in &self.world.nodes {
            for invariant in invariant::of_process() {
                prop_assert!((invariant.holds)(&node.process), "{}", invariant.name);
            }
        }
        for seen in std::mem::take(&mut self.world.seen) {
            match seen {
                Seen::Process(at, _, out) => self.judge_answers(at, &out)?,
                Seen::Store(_, out) => self.judge_updates(&out)?,
            }
        }
        self.judge_records()?;
        self.judge_copies()?;
        if let Some((session, token)) = released {
            let durable = self
                .world
                .records
                .get(&session)
                .map(values_of)
                .unwrap_or_default();
            if let Some(given) = self.given_back.get(&token) {
                prop_assert_eq!(
                    &durable,
                    given,
                    "what was given back under {} is durable",
                    token
                );
            }
        }
        Ok(())
    }

    /// Checks that each lock is answered exactly once.
    fn judge_answers(&mut self, at: usize, out: &[process::Output]) -> Result<(), TestCaseError> {
        for output in out {
            let process::Output::Answer {
                thread,
                session,
                answer,
            } = output
            else {
                continue;
            };
            let key = (self.world.nodes[at].label.clone(), thread.0);
            if !matches!(answer, Answer::Locked(_)) {
                self.blocked.remove(&key);
            }
            match answer {
                Answer::Locked(_) => {
                    let asked = self.pending.remove(&key);
                    prop_assert_eq!(asked.as_ref(), Some(session), "{:?} has not asked", key);
                }
                // A thread that is poisoned while it waits for a further attribute no longer waits.
                Answer::Refused(_) | Answer::Poisoned(_)
                    if self.pending.get(&key) == Some(session) =>
                {
                    self.pending.remove(&key);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that a durable value never gives way to an older one: no write of a fenced grant is accepted, and none is
    /// applied twice.
    fn judge_updates(&mut self, out: &[Output]) -> Result<(), TestCaseError> {
        for output in out {
            match output {
                Output::Persist(Update::Put { session, delta, .. }) => {
                    let last = self.last.entry(session.clone()).or_default();
                    for Change { name, value } in delta.changes() {
                        let Some(value) = value else { continue };
                        let old = last.insert(name.clone(), value.clone());
                        // The values are numbers of equal length that grow with every write of any thread.
                        prop_assert!(
                            old.is_none_or(|old| old <= value),
                            "{} of {} goes back",
                            name,
                            session
                        );
                    }
                }
                Output::Persist(Update::Remove { session }) => drop(self.last.remove(session)),
                Output::Persist(Update::Rename { from, to, .. }) => {
                    let last = self.last.remove(from).unwrap_or_default();
                    self.last.insert(to.clone(), last);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that the store's memory equals the durable records, and that a version has one content.
    fn judge_records(&mut self) -> Result<(), TestCaseError> {
        let durable: BTreeMap<_, _> = self.world.records.iter().collect();
        let memory: BTreeMap<_, _> = self
            .world
            .store
            .sessions()
            .map(|(id, session)| (id, session.record()))
            // Otherwise only processes without a connection wait for it.
            .filter(|(_, record)| record.exists() || record.head.holder.is_some())
            .collect();
        prop_assert_eq!(durable.len(), memory.len());
        for (id, record) in durable {
            let own = memory[id];
            prop_assert_eq!(record.attributes(), own.attributes());
            prop_assert_eq!(record.head.version, own.head.version);
            prop_assert_eq!(&record.head.holder, &own.head.holder);
            let values = values_of(record);
            let known = self
                .history
                .entry(record.head.version)
                .or_insert_with(|| values.clone());
            prop_assert_eq!(
                &*known,
                &values,
                "version {} has two contents",
                record.head.version
            );
        }
        Ok(())
    }

    /// Checks that a clean copy equals the durable state of its version.
    fn judge_copies(&mut self) -> Result<(), TestCaseError> {
        for node in &self.world.nodes {
            for (id, session) in node.process.sessions() {
                let slots = session.slots().iter();
                let copy: Values = slots
                    .filter_map(|slot| Some((slot.name.clone(), slot.value.clone()?)))
                    .collect();
                if let Phase::Releasing { token, .. } = session.phase() {
                    self.given_back
                        .entry(*token)
                        .or_insert_with(|| copy.clone());
                }
                if let Some(version) = invariant::clean_version(session) {
                    let durable = self.history.get(&version);
                    prop_assert_eq!(
                        Some(&copy),
                        durable,
                        "{} has {} of {}",
                        node.label,
                        version,
                        id
                    );
                }
            }
        }
        Ok(())
    }

    /// Ends all faults: every message arrives, threads that are inside and do not wait leave, and timers fire in time.
    /// Then no thread may wait any more.
    fn heal(&mut self) -> Result<(), TestCaseError> {
        for node in NODES {
            if self.world.node(node).process.connection() == Connection::Down {
                self.play(Op::Connect(node.to_owned()))?;
            }
        }
        for _ in 0..24 {
            self.deliver()?;
            self.leave()?;
            self.deliver()?;
            self.play(Op::Wait(500))?;
            for node in NODES {
                self.play(Op::Tick(node.to_owned()))?;
                if self.world.node(node).process.connection() == Connection::Down {
                    self.play(Op::Connect(node.to_owned()))?;
                }
            }
            self.play(Op::StoreTick)?;
        }
        self.deliver()?;
        prop_assert!(self.pending.is_empty(), "still waiting: {:?}", self.pending);
        prop_assert!(
            self.blocked.is_empty(),
            "still without an answer: {:?}",
            self.blocked
        );
        for (id, session) in self.world.store.sessions() {
            prop_assert_eq!(session.lock().waiting(), 0, "{}", id);
            prop_assert!(session.recall().is_none(), "{} is still recalled", id);
        }
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..3_000 {
            let is_quiet = |node: &Node| node.to_store.is_empty() && node.to_process.is_empty();
            if self.world.nodes.iter().all(is_quiet) {
                return Ok(());
            }
            for node in NODES {
                self.play(Op::Send(node.to_owned(), Fate::Arrives))?;
                self.play(Op::Get(node.to_owned(), Fate::Arrives))?;
            }
        }
        Err(TestCaseError::fail("the machines do not come to rest"))
    }

    fn leave(&mut self) -> Result<(), TestCaseError> {
        let mut calls = Vec::new();
        for node in &self.world.nodes {
            for (id, session) in node.process.sessions() {
                let waits = |thread: ThreadId| {
                    let key = (node.label.clone(), thread.0);
                    self.pending.contains_key(&key) || self.blocked.contains(&key)
                };
                for claim in session
                    .lock()
                    .holders()
                    .iter()
                    .filter(|claim| !waits(claim.thread))
                {
                    let name = |place: &u32| session.slots()[*place as usize].name.clone();
                    let names = match &claim.wanted {
                        Wanted::All => Names::All,
                        Wanted::One(place) => Names::One(name(place)),
                        Wanted::Many(places) => Names::Many(places.iter().map(name).collect()),
                    };
                    calls.push(Op::Thread(
                        node.label.clone(),
                        claim.thread.0,
                        id.clone(),
                        Call::Unlock(names),
                    ));
                }
                for (thread, _) in session.poisoned() {
                    let call = Call::Unlock(Names::One(words::attribute("zz")));
                    calls.push(Op::Thread(node.label.clone(), thread.0, id.clone(), call));
                }
            }
        }
        calls.into_iter().try_for_each(|op| self.play(op))
    }
}

fn small(turns: u8, keeps_base: bool) -> Setup {
    let mut setup = Setup::default();
    setup.store.recall_ms = 4_000;
    setup.store.turns = turns;
    setup.process.keeps_base = keeps_base;
    setup
}

proptest! {
    #![proptest_config(config(300))]

    /// Any schedule of calls, messages, faults and timers keeps every promise, and after the faults no thread waits.
    #[test]
    fn schedules_keep_every_promise(
        ops in vec(an_op(), 1..160),
        turns in prop_oneof![Just(0_u8), Just(2)],
        keeps_base in any::<bool>(),
    ) {
        let mut judge = Judge::new(small(turns, keeps_base));
        let verdict = ops.into_iter().try_for_each(|op| judge.play(op)).and_then(|()| judge.heal());
        if let Err(why) = verdict {
            let script: Vec<String> = judge.script.iter().map(ToString::to_string).collect();
            return Err(TestCaseError::fail(format!("{why}\nafter the script\n{}\n", script.join("\n"))));
        }
    }
}

// ---- untrusted bytes -----------------------------------------------------------------------------------------------

fn stamp() -> impl Strategy<Value = Stamp> {
    prop_oneof![
        12 => (0_u64..3, 0_u64..14).prop_map(|(epoch, sequence)| Stamp { epoch, sequence }),
        1 => Just(Stamp { epoch: u64::MAX, sequence: u64::MAX }),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0_u64..6, 1 => Just(u64::MAX)]
}

fn any_session() -> impl Strategy<Value = SessionId> {
    prop::sample::select(&["s", "r", "t"][..]).prop_map(words::session)
}

fn any_hold() -> impl Strategy<Value = GrantRef> {
    (any_session(), stamp()).prop_map(|(session, token)| GrantRef {
        session,
        token: Token(token),
    })
}

fn any_wait_mode() -> impl Strategy<Value = WaitMode> {
    prop_oneof![Just(WaitMode::Wait), Just(WaitMode::Try)]
}

fn any_acquire() -> impl Strategy<Value = AcquireRequest> {
    (
        any_session(),
        number(),
        prop::option::of(stamp()),
        any_wait_mode(),
        prop::option::of(stamp()),
        any::<bool>(),
    )
        .prop_map(
            |(session, request, known, wait_mode, ticket, existing)| AcquireRequest {
                session,
                request: Request(request),
                known: known.map(Version),
                wait_mode,
                ticket: ticket.map(Ticket),
                existing,
            },
        )
}

fn any_write() -> impl Strategy<Value = (SessionId, Token, Version, Delta)> {
    (
        any_session(),
        stamp(),
        stamp(),
        prop_oneof![Just(Delta::default()), delta(4)],
    )
        .prop_map(|(session, token, base, delta)| (session, Token(token), Version(base), delta))
}

fn any_to_store() -> impl Strategy<Value = ToStore> {
    let hello = (
        number(),
        number(),
        vec(any_hold(), 0..4),
        vec(any_acquire(), 0..4),
    )
        .prop_map(|(incarnation, sent, holds, waits)| {
            ToStore::Hello(Hello {
                minor: tenure_protocol::MINOR,
                incarnation: Incarnation(incarnation),
                sent: Time(sent),
                holds,
                waits,
            })
        });
    let release = (any_write(), prop::option::of(number()), number()).prop_map(
        |((session, token, base, delta), requeue, idle_ms)| {
            ToStore::Release(Release {
                session,
                token,
                base,
                delta,
                requeue: requeue.map(Request),
                idle_ms,
            })
        },
    );
    let busy =
        (any_hold(), 0_u32..3, vec(any_session(), 0..4)).prop_map(|(hold, inside, blocked_on)| {
            ToStore::Busy {
                session: hold.session,
                token: hold.token,
                inside,
                blocked_on,
            }
        });
    prop_oneof![
        2 => hello,
        1 => number().prop_map(|sent| ToStore::KeepAlive { sent: Time(sent) }),
        6 => any_acquire().prop_map(ToStore::Acquire),
        2 => (any_session(), number())
            .prop_map(|(session, request)| ToStore::Cancel { session, request: Request(request) }),
        3 => any_write().prop_map(|(session, token, base, delta)| {
            ToStore::Commit(Commit { session, token, base, delta })
        }),
        3 => release,
        2 => busy,
        1 => any_hold().prop_map(|GrantRef { session, token }| ToStore::Destroy { session, token }),
        1 => (any_hold(), any_session())
            .prop_map(|(GrantRef { session, token }, to)| ToStore::Rename { session, token, to }),
        1 => Just(ToStore::Goodbye),
    ]
}

/// An input of a store: a message of any process, with or without the right token, or the clock.
#[derive(Clone, Debug)]
enum ToTheStore {
    Message(u8, Option<Link>, ToStore),
    /// A message like `Message`, with the current token and base, so that it has an effect.
    Right(u8, ToStore),
    Disconnected(u8, Link),
    Recall(SessionId),
    Wait(u64),
    Restart,
    Admission(Admission),
}

fn any_link() -> impl Strategy<Value = Link> {
    (number(), number()).prop_map(|(incarnation, number)| Link {
        incarnation: Incarnation(incarnation),
        number,
    })
}

/// An admission: full or not, and seldom stopping, since only a restart ends that.
fn any_admission() -> impl Strategy<Value = Admission> {
    let stopping = prop_oneof![
        6 => Just(Stopping::No),
        1 => Just(Stopping::Keeping),
        1 => Just(Stopping::Draining),
    ];
    (prop::bool::ANY, stopping).prop_map(|(is_full, stopping)| Admission { is_full, stopping })
}

fn to_the_store() -> impl Strategy<Value = ToTheStore> {
    prop_oneof![
        10 => (0_u8..3, prop::option::weighted(0.2, any_link()), any_to_store())
            .prop_map(|(who, link, message)| ToTheStore::Message(who, link, message)),
        8 => (0_u8..3, any_to_store()).prop_map(|(who, message)| ToTheStore::Right(who, message)),
        1 => (0_u8..3, any_link()).prop_map(|(who, link)| ToTheStore::Disconnected(who, link)),
        1 => any_session().prop_map(ToTheStore::Recall),
        1 => any_admission().prop_map(ToTheStore::Admission),
        3 => prop_oneof![Just(10_u64), Just(1_000), Just(12_000)].prop_map(ToTheStore::Wait),
        1 => Just(ToTheStore::Restart),
    ]
}

/// Returns the token and version of the session, if it is held.
fn current(store: &StoreMachine, id: &SessionId) -> Option<(Token, Version)> {
    let head = &store.session(id)?.record().head;
    Some((head.holder.as_ref()?.token, head.version))
}

/// Returns `message` with the current token and base.
fn put_right(store: &StoreMachine, mut message: ToStore) -> ToStore {
    match &mut message {
        ToStore::Commit(Commit {
            session,
            token,
            base,
            ..
        })
        | ToStore::Release(Release {
            session,
            token,
            base,
            ..
        }) => {
            if let Some(current) = current(store, session) {
                (*token, *base) = current;
            }
        }
        ToStore::Busy { session, token, .. }
        | ToStore::Destroy { session, token }
        | ToStore::Rename { session, token, .. } => {
            if let Some((own, _)) = current(store, session) {
                *token = own;
            }
        }
        ToStore::Hello(Hello { holds, .. }) => {
            for hold in holds {
                if let Some((own, _)) = current(store, &hold.session) {
                    hold.token = own;
                }
            }
        }
        _ => {}
    }
    message
}

proptest! {
    #![proptest_config(config(400))]

    /// No message that a process may send makes the store panic or break an invariant, and its records stay durable.
    #[test]
    fn store_survives_garbage(inputs in vec(to_the_store(), 1..80)) {
        let mut settings = StoreSettings { turns: 1, time_to_live_ms: Some(20_000), ..StoreSettings::default() };
        settings.limits.waiters_max = 1;
        settings.limits.processes_max = 2;
        settings.limits.attributes_max = 3;
        settings.limits.grants_max = 2;
        let settings = Settings::new(settings);
        let names = ["p", "q", "x"].map(ProcessId::from_static);
        let (mut records, mut epoch, mut now) = (Records::default(), 1, Time::ZERO);
        let mut store = StoreMachine::recover(settings.clone(), epoch, &records, now);
        for input in inputs {
            let link_of = |who: u8| store.peer(&names[who as usize]).and_then(|peer| peer.link());
            let process = |who: u8| names[who as usize].clone();
            let mut out = Vec::new();
            let inputs = match input {
                ToTheStore::Message(who, link, message) => {
                    let link = link.or_else(|| link_of(who)).unwrap_or_default();
                    vec![store::Input::Message { process: process(who), link, message }]
                }
                ToTheStore::Right(who, message) => {
                    let link = link_of(who).unwrap_or_default();
                    let message = put_right(&store, message);
                    vec![store::Input::Message { process: process(who), link, message }]
                }
                ToTheStore::Disconnected(who, link) => {
                    vec![store::Input::Disconnected { process: process(who), link }]
                }
                ToTheStore::Recall(session) => vec![store::Input::Recall(session)],
                ToTheStore::Admission(admission) => vec![store::Input::Admission(admission)],
                ToTheStore::Wait(ms) => {
                    now = now.after(ms);
                    let due = store.timers().filter(|(due, _)| *due <= now);
                    due.map(|(_, timer)| store::Input::Timer(timer)).collect()
                }
                ToTheStore::Restart => {
                    epoch += 1;
                    store = StoreMachine::recover(settings.clone(), epoch, &records, now);
                    invariant::assert_store(&store);
                    vec![]
                }
            };
            for input in inputs {
                store.step(now, input, &mut out);
                invariant::assert_store(&store);
            }
            for output in &out {
                if let Output::Persist(update) = output {
                    records.apply(update);
                }
            }
            let durable = records.iter().map(|(id, record)| (id, record.attributes(), &record.head.holder));
            let durable: Vec<_> = durable.collect();
            // While a store stops, a request waits for a session that has no record.
            let known = store.sessions().filter(|(_, session)| session.record().exists() || session.holder().is_some());
            let own = known.map(|(id, session)| (id, session.record().attributes(), &session.record().head.holder));
            prop_assert_eq!(durable, own.collect::<Vec<_>>());
        }
    }
}

fn any_refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::WouldBlock),
        Just(Refusal::Cancelled),
        Just(Refusal::Deadline),
        vec(any_session(), 0..3).prop_map(|cycle| Refusal::Deadlock { cycle }),
        Just(Refusal::Limit(Limited::Waiters)),
        Just(Refusal::Gone),
        Just(Refusal::Absent),
        Just(Refusal::NotHeld),
    ]
}

fn any_recall_info() -> impl Strategy<Value = RecallInfo> {
    let reason =
        prop::sample::select(&[Reason::Expiry, Reason::Try, Reason::Wait, Reason::Operator][..]);
    (reason, number()).prop_map(|(reason, deadline_ms)| RecallInfo {
        reason,
        deadline_ms,
    })
}

fn any_granted() -> impl Strategy<Value = ToProcess> {
    let state = prop_oneof![
        1 => Just(State::Unchanged),
        1 => delta(4).prop_map(State::Delta),
        2 => delta(4).prop_map(State::Full),
    ];
    (
        any_hold(),
        number(),
        stamp(),
        state,
        prop::option::of(any_recall_info()),
        any::<bool>(),
    )
        .prop_map(|(hold, request, version, state, recall, give_back)| {
            ToProcess::Granted(Granted {
                session: hold.session,
                request: Request(request),
                token: hold.token,
                version: Version(version),
                state,
                recall,
                give_back,
            })
        })
}

fn any_to_process() -> impl Strategy<Value = ToProcess> {
    let welcome = (
        number(),
        number(),
        vec(any_hold(), 0..4),
        vec((any_hold(), prop::option::of(any_hold())), 0..2),
    )
        .prop_map(|(sent, lease_ms, holds, gone)| ToProcess::Welcome {
            minor: tenure_protocol::MINOR,
            sent: Time(sent),
            lease_ms,
            holds,
            gone,
            limits: None,
        });
    let alive = (
        number(),
        number(),
        vec((any_hold(), any_recall_info()), 0..3),
    )
        .prop_map(|(sent, lease_ms, recalls)| ToProcess::Alive {
            sent: Time(sent),
            lease_ms,
            recalls,
        });
    prop_oneof![
        3 => welcome,
        1 => alive,
        6 => any_granted(),
        1 => (any_session(), number(), stamp()).prop_map(|(session, request, ticket)| ToProcess::Queued {
            session, request: Request(request), ticket: Ticket(ticket) }),
        3 => (any_hold(), any_recall_info()).prop_map(|(hold, info)| ToProcess::Recall { hold, info }),
        2 => (any_hold(), stamp(), stamp()).prop_map(|(hold, base, version)| ToProcess::Committed {
            session: hold.session, token: hold.token, base: Version(base), version: Version(version) }),
        2 => (any_hold(), prop::option::of(stamp())).prop_map(|(hold, version)| ToProcess::Released {
            session: hold.session, token: hold.token, version: version.map(Version), limit: None }),
        1 => any_hold().prop_map(|hold| ToProcess::Revoked {
            session: hold.session, token: hold.token, why: Revocation::Fenced, limit: None }),
        2 => (any_session(), number(), any_refusal()).prop_map(|(session, request, why)| ToProcess::Refused {
            session, request: Request(request), why }),
        1 => any_hold().prop_map(|hold| ToProcess::NotRenamed {
            session: hold.session, token: hold.token, why: Refusal::IdTaken }),
        1 => (any_hold(), prop::option::of(any_hold())).prop_map(|(hold, renamed)| ToProcess::Gone {
            session: hold.session, token: hold.token, renamed }),
        1 => prop::sample::select(&[ToProcess::LeaseEnded, ToProcess::Superseded, ToProcess::Full][..]),
    ]
}

/// An input of a process.
#[derive(Clone, Debug)]
enum ToTheProcess {
    Connected,
    Message(Option<Link>, ToProcess),
    /// A message like `Message`, with the current request or token.
    Right(ToProcess),
    Call(u64, SessionId, Call),
    Release(SessionId),
    Forget(SessionId),
    Wait(u64),
    Shutdown,
}

fn to_the_process() -> impl Strategy<Value = ToTheProcess> {
    prop_oneof![
        2 => Just(ToTheProcess::Connected),
        6 => (prop::option::weighted(0.1, any_link()), any_to_process())
            .prop_map(|(link, message)| ToTheProcess::Message(link, message)),
        10 => any_to_process().prop_map(ToTheProcess::Right),
        10 => (1_u64..4, any_session(), a_call())
            .prop_map(|(thread, session, call)| ToTheProcess::Call(thread, session, call)),
        1 => any_session().prop_map(ToTheProcess::Release),
        1 => any_session().prop_map(ToTheProcess::Forget),
        2 => prop_oneof![Just(10_u64), Just(3_000)].prop_map(ToTheProcess::Wait),
        1 => prop_oneof![9 => Just(ToTheProcess::Wait(0)), 1 => Just(ToTheProcess::Shutdown)],
    ]
}

/// Returns `message` with the request or token that the process waits for.
fn answered(process: &ProcessMachine, mut message: ToProcess) -> ToProcess {
    let phase = |id: &SessionId| process.session(id).map(process::Session::phase);
    let fit = |id: &SessionId, own: &mut Token| match phase(id) {
        Some(Phase::Held(grant)) => *own = grant.token,
        Some(Phase::Releasing { token, .. }) => *own = *token,
        _ => {}
    };
    match &mut message {
        ToProcess::Granted(Granted {
            session, request, ..
        })
        | ToProcess::Queued {
            session, request, ..
        }
        | ToProcess::Refused {
            session, request, ..
        } => match phase(session) {
            Some(Phase::Wanted { request: own, .. } | Phase::Cancelling { request: own }) => {
                *request = *own
            }
            Some(Phase::Releasing {
                requeue: Some(own), ..
            }) => *request = *own,
            _ => {}
        },
        ToProcess::Recall { hold, .. } => fit(&hold.session, &mut hold.token),
        ToProcess::Committed {
            session,
            token,
            base,
            ..
        } => {
            fit(session, token);
            if let Some(commit) = process.session(session).and_then(process::Session::commit) {
                *base = commit.base;
            }
        }
        ToProcess::Released { session, token, .. }
        | ToProcess::Revoked { session, token, .. }
        | ToProcess::NotRenamed { session, token, .. }
        | ToProcess::Gone { session, token, .. } => fit(session, token),
        ToProcess::Welcome {
            holds,
            gone,
            lease_ms,
            ..
        } => {
            *lease_ms = 10_000;
            holds
                .iter_mut()
                .chain(gone.iter_mut().map(|(hold, _)| hold))
                .for_each(|hold| fit(&hold.session, &mut hold.token));
        }
        _ => {}
    }
    message
}

proptest! {
    #![proptest_config(config(400))]

    /// No message of a store and no call of a thread makes a process panic or break an invariant.
    #[test]
    fn process_survives_garbage(inputs in vec(to_the_process(), 1..80)) {
        let mut settings = ProcessSettings::default();
        settings.limits.threads_max = 2;
        settings.limits.attributes_max = 1;
        let mut process = ProcessMachine::new(Settings::new(settings), Incarnation(1));
        let mut now = Time::ZERO;
        let mut out = Vec::new();
        for input in [ToTheProcess::Connected].into_iter().chain(inputs) {
            let link = match process.connection() {
                Connection::Greeting(link) | Connection::Up(link) => link,
                Connection::Down => Link::default(),
            };
            let inputs = match input {
                ToTheProcess::Connected => vec![process::Input::Connected],
                ToTheProcess::Message(other, message) => {
                    vec![process::Input::Message { link: other.unwrap_or(link), message }]
                }
                ToTheProcess::Right(message) => {
                    vec![process::Input::Message { link, message: answered(&process, message) }]
                }
                ToTheProcess::Call(thread, session, mut call) => {
                    if let Call::Lock { until, .. } = &mut call {
                        *until = now.after(5_000);
                    }
                    vec![process::Input::Thread { thread: ThreadId(thread), session, call }]
                }
                ToTheProcess::Release(session) => vec![process::Input::Release(session)],
                ToTheProcess::Forget(session) => vec![process::Input::Forget(session)],
                ToTheProcess::Shutdown => vec![process::Input::Shutdown],
                ToTheProcess::Wait(ms) => {
                    now = now.after(ms);
                    let due = process.timers().filter(|(due, _)| *due <= now);
                    due.map(|(_, timer)| process::Input::Timer(timer)).collect()
                }
            };
            for input in inputs {
                process.step(now, input, &mut out);
                invariant::assert_process(&process);
            }
            out.clear();
        }
    }
}

/// The names of invariants are unique: a verdict names one invariant.
#[test]
fn every_invariant_has_a_unique_name() {
    let names = invariant::STORE
        .iter()
        .chain(&invariant::PROCESS)
        .map(|(name, ..)| *name);
    let all: Vec<_> = names.collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}
