//! What the manager keeps of one session: a small lock, behind it the session while it is detached, and the cells of the
//! attributes that are handed out further.
//!
//! The lock orders everything but what happens in open cells. Whoever changes a closed cell holds it: that is what nearly
//! all `unsafe` functions of [`cell`](crate::cell) ask for, and why they are called here alone.
#![allow(unsafe_code)]

mod handoff;

use crate::cell::{Cell, Closed, Entrance, HandedOver, Held, Terms};
use crate::cells::{Cells, Key};
use crate::content::Content;
use crate::hint::Hint;
use crate::mutant::{self, LockMutant};
use crate::snapshot::Discard;
use crate::sync::{Arc, Mutex, MutexGuard, lock};
use crate::uses::Class;
use crate::wait::{Outcome, Waiter, wake_all};
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::panic::resume_unwind;
use std::task::Waker;
use tenure_protocol::attributes::Value;
use tenure_protocol::id::ShortId;
use tenure_protocol::process::{Detached, Handoff, Names};
use tenure_protocol::{AttributeName, Limits, SessionId, ThreadId, Time};

/// See the [module](self).
#[repr(C)] // What a look-up reads comes first, together.
pub(crate) struct Entry {
    cells: Cells,
    pub(crate) id: SessionId,
    state: Mutex<State>,
}

/// What stands behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    /// The session; `None` while the process has it, or does not know it.
    pub(crate) detached: Option<Detached>,
    /// Where it stands among all by its last use.
    pub(crate) class: Class,
    /// Its last use, as far as that is known there.
    pub(crate) known: Time,
    /// Whether it is noted there.
    pub(crate) is_noted: bool,
    /// What most sessions have none of.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    /// The guards that are not in a cell.
    inside: Vec<Inside>,
    /// Those who wait for a lock: each thread for one.
    waiting: BTreeMap<ThreadId, Arc<Waiter>>,
    /// The last write set that was discarded.
    discard: Option<Discard>,
    /// What is planned in a cell, and has happened or not.
    handoff: Option<Handoff>,
}

impl State {
    /// The guards that are not in a cell.
    pub(crate) fn inside(&self) -> &[Inside] {
        self.rare.as_ref().map_or(&[], |rare| &rare.inside)
    }

    /// A guard is inside that is not in a cell.
    #[inline(always)]
    pub(crate) fn note_inside(&mut self, inside: Inside) {
        self.rare.get_or_insert_default().inside.push(inside);
    }

    /// A thread waits for a lock. Answers `false` when it waits for one already.
    #[must_use]
    pub(crate) fn note_waiting(&mut self, waiter: Arc<Waiter>) -> bool {
        let all = &mut self.rare.get_or_insert_default().waiting;
        match all.entry(waiter.entrance.thread) {
            btree_map::Entry::Vacant(place) => {
                place.insert(waiter);
                true
            }
            btree_map::Entry::Occupied(_) => false,
        }
    }

    /// A thread does not wait for a lock any more.
    #[inline(always)]
    pub(crate) fn end_waiting(&mut self, thread: ThreadId) -> Option<Arc<Waiter>> {
        self.rare.as_mut()?.waiting.remove(&thread)
    }

    /// A thread does not wait for this lock any more. Answers whether it did.
    pub(crate) fn end_wait(&mut self, waiter: &Arc<Waiter>) -> bool {
        let thread = waiter.entrance.thread;
        let rare = self.rare.as_ref();
        let own = rare.and_then(|rare| rare.waiting.get(&thread));
        let is_it = own.is_some_and(|own| Arc::ptr_eq(own, waiter));
        is_it && self.end_waiting(thread).is_some()
    }

    /// A thread that has waited is let in: it is inside from here on, whenever it comes for its guard. Answers whom to wake.
    #[inline(always)]
    pub(crate) fn let_in(&mut self, now: Time, waiter: &Waiter, granted: Granted) -> Option<Waker> {
        let names = waiter.names.clone();
        let entrance = Entrance {
            now,
            ..waiter.entrance
        };
        self.note_inside(Inside { names, entrance });
        waiter.wait.answer(Outcome::Locked(Box::new(granted)))
    }

    /// Somebody uses the session. Answers whether that is to be [noted](crate::uses).
    #[inline]
    pub(crate) fn wakes(&mut self) -> bool {
        self.class == Class::Cold && !std::mem::replace(&mut self.is_noted, true)
    }

    /// The last write set that was discarded.
    pub(crate) fn discard(&self) -> Option<&Discard> {
        self.rare.as_ref()?.discard.as_ref()
    }

    /// A write set was discarded.
    pub(crate) fn note_discard(&mut self, discard: Discard) {
        self.rare.get_or_insert_default().discard = Some(discard);
    }
}

/// A guard that is not in a cell.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    pub(crate) names: Names,
    pub(crate) entrance: Entrance,
}

/// How a thread went in without the process.
#[derive(Debug)]
pub(crate) enum Entered<'e> {
    /// Into the attribute's cell.
    Cell(Held<'e>),
    /// Into the session.
    Session(Granted),
}

impl Entered<'_> {
    /// In the session.
    pub(crate) fn session(self) -> Granted {
        match self {
            Self::Session(granted) => granted,
            Self::Cell(_) => unreachable!("who asks for several does not go into a cell"),
        }
    }
}

/// Attributes that were locked together.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) token: tenure_protocol::Token,
    pub(crate) values: Values,
}

/// What they were when they were locked.
#[derive(Debug)]
pub(crate) enum Values {
    /// One attribute was asked for.
    One(Option<Value>),
    /// Those among several that have a value.
    Many(Vec<(AttributeName, Value)>),
}

impl Values {
    /// Those of `names` among the attributes that have a value.
    #[inline(always)]
    pub(crate) fn of<'a>(
        names: &Names,
        mut all: impl Iterator<Item = (&'a AttributeName, &'a Value)>,
    ) -> Self {
        if let Names::One(name) = names {
            let own = all.find(|(own, _)| *own == name);
            return Self::One(own.map(|(_, value)| value.clone()));
        }
        let own = all.filter(|(name, _)| has(names, name));
        Self::Many(
            own.map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }

    /// That of the one attribute.
    pub(crate) fn one(self) -> Option<Value> {
        match self {
            Self::One(value) => value,
            Self::Many(_) => unreachable!("one was asked for"),
        }
    }

    /// Those of several.
    pub(crate) fn many(self) -> Vec<(AttributeName, Value)> {
        match self {
            Self::One(_) => unreachable!("several were asked for"),
            Self::Many(values) => values,
        }
    }
}

/// Whom to wake: mostly nobody or one, for whom no memory is needed.
#[derive(Debug, Default)]
pub(crate) struct Woken(Option<Waker>, Vec<Waker>);

impl Woken {
    fn add(&mut self, waker: Waker) {
        match &self.0 {
            None => self.0 = Some(waker),
            Some(_) => self.1.push(waker),
        }
    }

    /// Wakes them. Nothing may be locked.
    #[inline]
    pub(crate) fn wake(self) {
        let Some(first) = self.0 else {
            return;
        };
        if self.1.is_empty() {
            first.wake();
        } else if let Err(panicked) = wake_all(std::iter::once(first).chain(self.1)) {
            resume_unwind(panicked);
        }
    }
}

/// An entry whose lock is held.
#[derive(Debug)]
pub(crate) struct Locked<'e> {
    cells: &'e Cells,
    pub(crate) state: MutexGuard<'e, State>,
}

impl Granted {
    /// These attributes of a session that is detached.
    #[inline(always)]
    fn of(detached: &Detached, names: &Names) -> Self {
        Self {
            token: detached.token(),
            values: Values::of(names, detached.attributes()),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&ShortId(&self.id)).finish() // Neither its id nor what is in it.
    }
}

impl Entry {
    pub(crate) fn new(id: SessionId) -> Self {
        Self {
            id,
            state: Mutex::new(State {
                detached: None,
                class: Class::New,
                known: Time::ZERO,
                is_noted: true, // In the map.
                rare: None,
            }),
            cells: Cells::new(),
        }
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        let mut own = Locked {
            cells: &self.cells,
            state: lock(&self.state),
        };
        own.settle_planned();
        own
    }

    /// Goes into an attribute of this session that was handed off.
    pub(crate) fn follow(&self, handed_off: HandedOver, entrance: Entrance) -> Held<'_> {
        // SAFETY: it is this session's, which the request owns that waited here; the cell stays as long as that, or who is inside.
        unsafe { handed_off.follow(entrance) }
    }

    /// The cell of the attribute that was first used.
    pub(crate) fn first(&self) -> Option<&Cell> {
        self.cells.first()
    }

    /// Has what a look-up reads fetched from memory.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        let own = Hint::of(self);
        own.at(-16).prefetch(); // What counts the owners.
        own.at(40).prefetch();
    }

    /// Goes into an open cell.
    #[inline(always)]
    pub(crate) fn enter_cell(&self, key: Key<'_>, entrance: Entrance) -> Option<Held<'_>> {
        self.cells.get(key)?.enter(entrance)
    }

    /// Who is inside by way of cells.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&AttributeName, Entrance)> {
        let cells = self.cells.iter();
        cells.filter_map(|cell| Some((cell.name(), cell.inside()?)))
    }

    /// Gives the memory of the cells back, which nobody can reach.
    pub(crate) fn fold(&mut self) {
        let mut own = self.lock();
        own.close_all();
        own.state.rare.take_if(|rare| {
            rare.inside.is_empty() && rare.waiting.is_empty() && rare.discard.is_none()
        });
        if let Some(detached) = &mut own.state.detached {
            detached.shrink();
        }
        drop(own);
        self.cells = Cells::new();
    }

    pub(crate) fn has_cells(&self) -> bool {
        !self.cells.is_empty()
    }
}

impl<'e> Locked<'e> {
    /// Whether the session is detached and exists at the store.
    pub(crate) fn exists(&self) -> bool {
        self.state.detached.as_ref().is_some_and(Detached::exists)
    }

    /// Lets a thread go into one attribute, if the session is detached and nobody is in its way.
    pub(crate) fn enter_one(
        &mut self,
        name: &AttributeName,
        entrance: Entrance,
        limits: &Limits,
    ) -> Option<Entered<'e>> {
        let detached = self.state.detached.as_mut()?;
        // SAFETY: the lock of the cells' session is held.
        let cell = unsafe { self.cells.get_or_make(name) };
        if let Some(cell) = cell.filter(|cell| cell.is_open()) {
            return cell.enter(entrance).map(Entered::Cell);
        }
        if let Some(cell) = cell.filter(|cell| cell.is_idle())
            && let Some(out) = detached.hand_out(name, limits)
        {
            let terms = Terms {
                token: detached.token(),
                bytes_max: out.bytes_max,
            };
            // SAFETY: the lock is held; the cell is closed and idle.
            return Some(Entered::Cell(unsafe {
                cell.open(out.value, terms, entrance)
            }));
        }
        self.enter_session(&Names::One(name.clone()), entrance)
            .map(Entered::Session)
    }

    /// Lets a thread go into several attributes or all, as [`Locked::enter_one`].
    pub(crate) fn enter_session(&mut self, names: &Names, entrance: Entrance) -> Option<Granted> {
        self.state.detached.as_ref()?;
        match names {
            Names::All => self.close_all(),
            Names::One(name) => self.close(name),
            Names::Many(names) => names.iter().for_each(|name| self.close(name)),
        }
        let state = &mut *self.state;
        let detached = state.detached.as_mut()?;
        if !detached.enter(entrance.thread, names) {
            return None;
        }
        let granted = Granted::of(detached, names);
        let names = names.clone();
        state.note_inside(Inside { names, entrance });
        Some(granted)
    }

    /// Lets those in who wait and may go in now that a thread has left, while the session is detached. Answers whom to wake.
    #[inline(always)]
    pub(crate) fn admit(&mut self, now: Time) -> Woken {
        let state = &mut *self.state;
        let mut woken = Woken::default();
        if mutant::is(LockMutant::LeavesWithoutAdmitting) {
            return woken;
        }
        while let Some(detached) = &mut state.detached
            && let Some(thread) = detached.admit()
        {
            let Some(waiter) = state.end_waiting(thread) else {
                continue;
            };
            let detached = state.detached.as_ref().expect("just seen");
            let granted = Granted::of(detached, &waiter.names);
            if let Some(waker) = state.let_in(now, &waiter, granted) {
                woken.add(waker);
            }
        }
        woken
    }

    pub(crate) fn close(&mut self, name: &AttributeName) {
        if let Some(cell) = self.cells.get(Key::new(name.as_bytes())) {
            self.close_cell(cell);
        }
    }

    /// Takes all attributes back that are handed out.
    pub(crate) fn close_all(&mut self) {
        let cells = self.cells;
        for cell in cells.iter() {
            self.close_cell(cell);
        }
    }

    fn close_cell(&mut self, cell: &Cell) {
        // SAFETY: the lock of the cell's session is held.
        let Some(closed) = (unsafe { cell.close() }) else {
            return;
        };
        let Closed {
            value,
            is_changed,
            at,
            user,
        } = closed;
        let detached = self.state.detached.as_mut();
        let detached = detached.expect("a session with an open cell is detached");
        detached.take_in(cell.name(), (value, is_changed), at, user);
    }

    /// Takes the session out, whole, for the process.
    pub(crate) fn take(&mut self) -> Option<Detached> {
        if !mutant::is(LockMutant::ReattachesOpen) {
            self.close_all();
        }
        self.state.detached.take()
    }

    /// How many guards of `thread` are in the session by this count: those in closed cells among them.
    pub(crate) fn guards_of(&self, thread: ThreadId) -> usize {
        let others = self.state.inside().iter();
        let others = others.filter(|inside| inside.entrance.thread == thread);
        let cells = self.cells.iter();
        let cells = cells.filter(|cell| cell.inside().is_some_and(|own| own.thread == thread));
        others.count() + cells.count()
    }

    /// A guard has left that was in no cell.
    pub(crate) fn forget(&mut self, thread: ThreadId, names: &Names) -> Option<Inside> {
        let inside = &mut self.state.rare.as_mut()?.inside;
        let is_it = |own: &Inside| own.entrance.thread == thread && own.names == *names;
        let place = inside.iter().position(is_it)?;
        Some(inside.swap_remove(place))
    }

    /// A guard has left by way of the session: so it leaves its cell, if it is in one. Gives back what was there, which
    /// takes longer to drop than others should have to wait.
    #[inline(always)]
    pub(crate) fn let_out(
        &mut self,
        thread: ThreadId,
        names: &Names,
        held: Option<Held<'_>>,
    ) -> Option<[Content; 2]> {
        let Some(held) = held else {
            self.forget(thread, names);
            return None;
        };
        // SAFETY: the lock is held; the session has let the guard out, so the cell is closed.
        Some(unsafe { held.let_go() })
    }

    /// What was written in a closed cell is in the session now.
    pub(crate) fn rebase(&self, held: &mut Held<'_>) {
        // SAFETY: the lock is held, and the caller has closed the cell.
        unsafe { held.rebase() };
    }

    /// Where `thread` has locked one of `names`.
    pub(crate) fn place_of(&self, thread: ThreadId, names: &Names) -> Option<Entrance> {
        let others = self.state.inside().iter();
        let others = others.map(|inside| (&inside.names, inside.entrance));
        let mut others = others.filter(|(own, _)| shares(own, names));
        let other = others.find(|(_, entrance)| entrance.thread == thread);
        let mut cells = self.cells.iter().filter(|cell| has(names, cell.name()));
        let cell = || cells.find_map(|cell| cell.inside().filter(|own| own.thread == thread));
        other.map(|(_, entrance)| entrance).or_else(cell)
    }

    /// When a thread last left, if the session is detached.
    pub(crate) fn used(&self) -> Option<Time> {
        let detached = self.state.detached.as_ref()?;
        let cells = self.cells.iter().filter(|cell| cell.is_open());
        Some(cells.fold(detached.used(), |used, cell| used.max(cell.at())))
    }

    /// Whether any thread is inside.
    pub(crate) fn is_used(&self) -> bool {
        !self.state.inside().is_empty() || self.cells.iter().any(|cell| cell.inside().is_some())
    }
}

/// Whether an attribute is among `names`.
pub(crate) fn has(names: &Names, name: &AttributeName) -> bool {
    match names {
        Names::All => true,
        Names::One(own) => own == name,
        Names::Many(own) => own.contains(name),
    }
}

fn shares(one: &Names, two: &Names) -> bool {
    match (one, two) {
        (Names::All, _) | (_, Names::All) => true,
        (Names::One(own), other) | (other, Names::One(own)) => has(other, own),
        (Names::Many(own), other) => own.iter().any(|name| has(other, name)),
    }
}
