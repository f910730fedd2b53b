//! The successor of a state, memoised where possible.
//!
//! A transition of a process depends only on that process and its connection. A transition of the store depends only on
//! the store and the message. A universe of millions of states has some thousand of each, so nearly every transition is
//! composed of memoised parts. The others are drafted.

use super::canonical::{Image, Lister, Numbered, Ranks, is_canonical};
use super::draft::Draft;
use super::memo::Memo;
use super::scope::{Scope, scope};
use super::stage::{Staged, stage};
use super::symmetry::{Named, Permutation};
use super::watch::Violation;
use super::{Action, Model, PROCESSES_MAX, ProcessSide, Shared, StoreSide, System, Wire};
use std::hash::Hash;
use std::iter;
use std::sync::Arc;
use tenure_protocol::renumber::Numbers;
use tenure_protocol::{Hook, Link, Stamp};

pub(super) type Actor<H> = Shared<ProcessSide<H>>;
pub(super) type Scene<H> = Shared<StoreSide<H>>;
type WireOf = Option<Shared<Wire>>;

/// The result of a transition of a process: its own parts of the state.
#[derive(Clone, Debug)]
struct Outcome<H> {
    actor: Option<Actor<H>>,
    wire: WireOf,
    violation: Option<Violation>,
    told_absent: u8,
}

/// The result of a transition of the store, before its messages enter the wires.
#[derive(Debug)]
struct Aftermath<H> {
    scene: Scene<H>,
    /// The wire from which the store received a message.
    wire: WireOf,
    staged: Staged,
}

/// The key of a transition of a process: everything that it depends on.
type Move<H> = (Option<Actor<H>>, WireOf, Action);
/// The key of a transition of the store: everything that it depends on.
type StoreMove<H> = (Scene<H>, [Stamp; 2], WireOf, Action);
/// The key of a delivery of the store's messages to a wire: everything that it depends on.
type Delivery<H> = (WireOf, Option<Link>, Arc<Aftermath<H>>);

/// The results of all steps taken so far.
#[derive(Debug)]
pub(super) struct Memos<H> {
    outcomes: Memo<Move<H>, Outcome<H>>,
    aftermaths: Memo<StoreMove<H>, Arc<Aftermath<H>>>,
    /// The wires after a delivery.
    deliveries: Memo<Delivery<H>, WireOf>,
    pub(super) processes: Parts<ProcessSide<H>>,
    pub(super) stores: Parts<StoreSide<H>>,
    pub(super) wires: Parts<Wire>,
}

/// The memoised parts of one kind.
#[derive(Debug)]
pub(super) struct Parts<T> {
    /// Equal parts are stored once, so that comparing them is comparing pointers.
    known: Memo<Shared<T>, Shared<T>>,
    renumbered: Memo<(Shared<T>, Image), Shared<T>>,
    renamed: Memo<(Shared<T>, Permutation), Shared<T>>,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self {
            known: Memo::default(),
            renumbered: Memo::default(),
            renamed: Memo::default(),
        }
    }
}

impl<T: Numbered + Clone + Hash + Eq> Parts<T> {
    /// Returns the stored part that is equal to this one.
    fn known(&self, part: &Shared<T>) -> Shared<T> {
        self.known
            .get(part, |known| known == part, || (part.clone(), part.clone()))
    }

    /// Returns the part with its processes' names exchanged.
    pub(super) fn renamed(&self, part: &Shared<T>, permutation: &Permutation) -> Shared<T>
    where
        T: Named,
    {
        self.renamed.get(
            (part, permutation),
            |key| (&key.0, &key.1) == (part, permutation),
            || {
                let renamed = self.known(&part.remade(|value| value.renamed(permutation)));
                ((part.clone(), *permutation), renamed)
            },
        )
    }

    fn renumber(&self, part: &mut Shared<T>, ranks: &Ranks) {
        let Some(image) = ranks.image(part.numbers()) else {
            return;
        };
        let renumbered = self.renumbered.get(
            (&*part, &image),
            |key| (&key.0, &key.1) == (&*part, &image),
            || {
                let renumbered = self.known(&part.renumbered(ranks));
                ((part.clone(), image.clone()), renumbered)
            },
        );
        *part = renumbered;
    }
}

impl<H: Hook> Default for Memos<H> {
    fn default() -> Self {
        Self {
            outcomes: Memo::default(),
            aftermaths: Memo::default(),
            deliveries: Memo::default(),
            processes: Parts::default(),
            stores: Parts::default(),
            wires: Parts::default(),
        }
    }
}

impl<H: Hook> Model<H> {
    pub(super) fn lister(&self) -> Lister {
        Lister::new(self.universe)
    }

    /// Returns the state after a transition, in canonical form.
    pub(crate) fn successor(&self, state: &System<H>, action: Action) -> System<H> {
        self.representative(self.moved(state, action))
    }

    /// Returns the same without an exchange of process names.
    pub(super) fn moved(&self, state: &System<H>, action: Action) -> System<H> {
        let next = match scope(action) {
            Scope::Process(process) => self.process_moves(state, process.into(), action),
            Scope::Store(from) => self.store_moves(state, from.map(usize::from), action),
            Scope::World => self.draft(state, action).0,
        };
        canonical(self.with_absent(next, state), self)
    }

    /// Returns the state after a transition, and the threads that were refused as absent.
    fn draft(&self, state: &System<H>, action: Action) -> (System<H>, u8) {
        let mut draft = Draft::new(self, state);
        draft.take(action);
        let told_absent = draft.told_absent;
        (draft.finish(), told_absent)
    }

    fn known_actor(&self, actor: &Option<Actor<H>>) -> Option<Actor<H>> {
        Some(self.memos.processes.known(actor.as_ref()?))
    }

    fn known_wire(&self, wire: &WireOf) -> WireOf {
        Some(self.memos.wires.known(wire.as_ref()?))
    }

    fn process_moves(&self, state: &System<H>, index: usize, action: Action) -> System<H> {
        let (actor, wire) = (&state.processes[index], &state.wires[index]);
        let outcome = self.memos.outcomes.get(
            (actor, wire, action),
            |key| (&key.0, &key.1, key.2) == (actor, wire, action),
            || {
                let (next, told_absent) = self.draft(state, action);
                let outcome = Outcome {
                    actor: self.known_actor(&next.processes[index]),
                    wire: self.known_wire(&next.wires[index]),
                    violation: next.violation,
                    told_absent,
                };
                ((actor.clone(), wire.clone(), action), outcome)
            },
        );
        let mut next = state.clone();
        next.processes[index] = outcome.actor;
        next.wires[index] = outcome.wire;
        next.violation = outcome
            .violation
            .or_else(|| self.falsely_absent(state, index, outcome.told_absent));
        next
    }

    fn store_moves(&self, state: &System<H>, from: Option<usize>, action: Action) -> System<H> {
        let none = None;
        let wire = from.map_or(&none, |index| &state.wires[index]);
        let (scene, destroyed) = (&state.store, state.destroyed);
        let aftermath = self.memos.aftermaths.get(
            (scene, destroyed, wire, action),
            |key| (&key.0, key.1, &key.2, key.3) == (scene, destroyed, wire, action),
            || {
                let key = (scene.clone(), destroyed, wire.clone(), action);
                (key, Arc::new(self.aftermath(state, from, action)))
            },
        );
        let mut next = state.clone();
        next.store = aftermath.scene.clone();
        next.destroyed = aftermath.staged.destroyed;
        next.violation = aftermath.staged.violation;
        if let Some(index) = from {
            next.wires[index] = aftermath.wire.clone();
        }
        let told = |index| aftermath.staged.sent.iter().any(|sent| sent.0 == index);
        for index in (0..PROCESSES_MAX).filter(|index| told(*index)) {
            let (wire, link) = (&next.wires[index], next.link(index));
            let pointer = Arc::as_ptr(&aftermath) as usize;
            let delivered = self.memos.deliveries.get(
                (wire, link, pointer),
                |key| (&key.0, key.1) == (wire, link) && Arc::ptr_eq(&key.2, &aftermath),
                || {
                    let mut draft = Draft::new(self, &next);
                    draft.deliver(&aftermath.staged, Some(index));
                    let key = (wire.clone(), link, aftermath.clone());
                    (key, self.known_wire(&draft.finish().wires[index]))
                },
            );
            next.wires[index] = delivered;
        }
        next
    }

    fn aftermath(&self, state: &System<H>, from: Option<usize>, action: Action) -> Aftermath<H> {
        let mut draft = Draft::new(self, state);
        let event = draft
            .event_of(action)
            .expect("scope passes only actions of the store to this function");
        let mut side = (*state.store).clone();
        let staged = stage(self, &mut side, state.destroyed, &event);
        Aftermath {
            scene: self.memos.stores.known(&Shared::new(side, self.lister())),
            wire: from.and_then(|index| self.known_wire(&draft.finish().wires[index])),
            staged,
        }
    }

    /// Returns the same state in canonical form: with the smallest numbers in the same order.
    #[must_use]
    pub fn canonical(&self, state: System<H>) -> System<H> {
        canonical(state, self)
    }
}

/// Returns the same state with the smallest numbers. See `canonical`.
fn canonical<H: Hook>(mut state: System<H>, model: &Model<H>) -> System<H> {
    let memos = &model.memos;
    let is_destroyed = state.destroyed != [Stamp::default(); 2];
    let destroyed = is_destroyed.then(|| {
        let mut numbers = model.lister();
        state
            .destroyed
            .iter_mut()
            .for_each(|stamp| numbers.stamp(stamp));
        numbers.finish();
        numbers
    });
    let ranks = {
        let processes = state.processes.iter().flatten().map(Shared::numbers);
        let wires = state.wires.iter().flatten().map(Shared::numbers);
        let parts = iter::once(state.store.numbers())
            .chain(&destroyed)
            .chain(processes)
            .chain(wires);
        if is_canonical(parts.clone()) {
            return state;
        }
        Ranks::of(parts)
    };
    memos.stores.renumber(&mut state.store, &ranks);
    for part in state.processes.iter_mut().flatten() {
        memos.processes.renumber(part, &ranks);
    }
    for part in state.wires.iter_mut().flatten() {
        memos.wires.renumber(part, &ranks);
    }
    if is_destroyed {
        state
            .destroyed
            .iter_mut()
            .for_each(|stamp| ranks.writer().stamp(stamp));
    }
    state
}
