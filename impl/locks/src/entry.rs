//! The manager's entry for one session: a mutex, the detached session behind it, and the cells of its attributes.
//!
//! The mutex orders all operations except those in open cells. A thread that changes a closed cell must hold the mutex.
//! Nearly all `unsafe` functions of [`cell`](crate::cell) require that, and so they are called only here.
#![allow(unsafe_code)]

use crate::cell::{Cell, Closed, Entrance, HandedOver, Held, Terms, handoff};
use crate::cells::Cells;
use crate::content::Content;
use crate::granted::{Granted, has, shares};
use crate::hint::Hint;
use crate::key::Key;
use crate::mutant::{self, LockMutant};
use crate::state::{Inside, State};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::wait::wake_all;
use std::fmt;
use std::panic::resume_unwind;
use std::task::Waker;
use tenure_protocol::id::ShortId;
use tenure_protocol::process::{Detached, Names};
use tenure_protocol::{AttributeName, Limits, SessionId, ThreadId, Time};

/// The manager's entry for one session. See the [module](self).
#[repr(C)] // The fields that a look-up reads come first, together.
pub(crate) struct Entry {
    cells: Cells,
    pub(crate) id: SessionId,
    state: Mutex<State>,
}

/// The access of a thread that entered without the machine.
#[derive(Debug)]
pub(crate) enum Entered<'e> {
    /// The thread is in the attribute's cell.
    Cell(Held<'e>),
    /// The thread is in the session.
    Session(Granted),
}

impl Entered<'_> {
    /// Returns the access through the session.
    pub(crate) fn session(self) -> Granted {
        match self {
            Self::Session(granted) => granted,
            Self::Cell(_) => unreachable!(
                "only a request for one attribute enters a cell, and this caller requests several"
            ),
        }
    }
}

/// The wakers to wake: usually none or one, which need no allocation.
#[derive(Debug, Default)]
pub(crate) struct Woken(Option<Waker>, Vec<Waker>);

impl Woken {
    fn add(&mut self, waker: Waker) {
        match &self.0 {
            None => self.0 = Some(waker),
            Some(_) => self.1.push(waker),
        }
    }

    /// Wakes all of them. The caller must hold no mutex.
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

/// An entry whose mutex is held.
#[derive(Debug)]
pub(crate) struct Locked<'e> {
    cells: &'e Cells,
    pub(crate) state: MutexGuard<'e, State>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&ShortId(&self.id)).finish() // Neither the id nor the values: both are secret.
    }
}

impl Entry {
    pub(crate) fn new(id: SessionId) -> Self {
        Self {
            id,
            state: Mutex::new(State::new()),
            cells: Cells::new(),
        }
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        let mut own = Locked {
            cells: &self.cells,
            state: lock(&self.state),
        };
        if let Some(handoff) = own.state.take_handoff() {
            // SAFETY: the cells and the state belong to this session.
            unsafe { handoff::settle(&mut own.state, own.cells, &handoff) };
        }
        own
    }

    /// Enters an attribute of this session that was handed off.
    pub(crate) fn follow(&self, handed_off: HandedOver, entrance: Entrance) -> Held<'_> {
        // SAFETY: the cell belongs to this session. The request that waited here owns the entry, and later the
        // thread inside keeps it alive.
        unsafe { handed_off.follow(entrance) }
    }

    /// Returns the cell that was created first.
    pub(crate) fn first(&self) -> Option<&Cell> {
        self.cells.first()
    }

    /// Prefetches the memory that a look-up reads.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        let own = Hint::of(self);
        own.at(-16).prefetch(); // The reference counts of the `Arc`.
        own.at(40).prefetch();
    }

    /// Enters an open cell.
    #[inline(always)]
    pub(crate) fn enter_cell(&self, key: Key<'_>, entrance: Entrance) -> Option<Held<'_>> {
        self.cells.get(key)?.enter(entrance)
    }

    /// Returns the threads that are inside cells.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&AttributeName, Entrance)> {
        let cells = self.cells.iter();
        cells.filter_map(|cell| Some((cell.name(), cell.inside()?)))
    }

    /// Frees the memory of the cells, which no thread can reach any more.
    pub(crate) fn fold(&mut self) {
        let mut own = self.lock();
        own.close_all();
        own.state.shrink();
        drop(own);
        self.cells = Cells::new();
    }

    pub(crate) fn has_cells(&self) -> bool {
        !self.cells.is_empty()
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.state.has_waiting() {
            // SAFETY: the cells and the state belong to this session.
            unsafe { handoff::publish(&mut self.state, self.cells) };
        }
    }
}

impl<'e> Locked<'e> {
    /// Returns whether the session is detached and exists at the store.
    pub(crate) fn exists(&self) -> bool {
        self.state.detached.as_ref().is_some_and(Detached::exists)
    }

    /// Enters one attribute for a thread, if the session is detached and no other thread is in the way.
    pub(crate) fn enter_one(
        &mut self,
        name: &AttributeName,
        entrance: Entrance,
        limits: &Limits,
    ) -> Option<Entered<'e>> {
        let detached = self.state.detached.as_mut()?;
        // SAFETY: the mutex of the cells' session is held.
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
            // SAFETY: the mutex is held, and the cell is closed and idle.
            return Some(Entered::Cell(unsafe {
                cell.open(out.value, terms, entrance)
            }));
        }
        self.enter_session(&Names::One(name.clone()), entrance)
            .map(Entered::Session)
    }

    /// Enters several attributes or all for a thread, as [`Locked::enter_one`].
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

    /// Grants the lock to each waiting thread that can enter after another thread has left, while the session is
    /// detached. Returns the wakers to wake.
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
            let detached = state.detached.as_ref().expect(
                "the loop condition has matched the detached session, and nothing has removed it",
            );
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

    /// Closes all cells, and returns their attributes to the session.
    pub(crate) fn close_all(&mut self) {
        let cells = self.cells;
        for cell in cells.iter() {
            self.close_cell(cell);
        }
    }

    fn close_cell(&mut self, cell: &Cell) {
        // SAFETY: the mutex of the cell's session is held.
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

    /// Takes the whole session out, for the machine.
    pub(crate) fn take(&mut self) -> Option<Detached> {
        if !mutant::is(LockMutant::ReattachesOpen) {
            self.close_all();
        }
        self.state.detached.take()
    }

    /// Returns the number of guards of `thread` that the session counts, including those in closed cells.
    pub(crate) fn guards_of(&self, thread: ThreadId) -> usize {
        let others = self.state.inside().iter();
        let others = others.filter(|inside| inside.entrance.thread == thread);
        let cells = self.cells.iter();
        let cells = cells.filter(|cell| cell.inside().is_some_and(|own| own.thread == thread));
        others.count() + cells.count()
    }

    /// Completes the leaving of a guard through the session, and takes it out of its cell, if any. Returns the values
    /// of the cell, so that the caller drops them after others have been woken.
    #[inline(always)]
    pub(crate) fn let_out(
        &mut self,
        thread: ThreadId,
        names: &Names,
        held: Option<Held<'_>>,
    ) -> Option<[Content; 2]> {
        let Some(held) = held else {
            self.state.end_inside(thread, names);
            return None;
        };
        // SAFETY: the mutex is held. The session has let the guard out, so the cell is closed.
        Some(unsafe { held.let_go() })
    }

    /// Makes the written value of a closed cell current, after the session has taken it over.
    pub(crate) fn rebase(&self, held: &mut Held<'_>) {
        // SAFETY: the mutex is held, and the caller has closed the cell.
        unsafe { held.rebase() };
    }

    /// Returns the source line and time at which `thread` has locked one of `names`.
    pub(crate) fn place_of(&self, thread: ThreadId, names: &Names) -> Option<Entrance> {
        let others = self.state.inside().iter();
        let others = others.map(|inside| (&inside.names, inside.entrance));
        let mut others = others.filter(|(own, _)| shares(own, names));
        let other = others.find(|(_, entrance)| entrance.thread == thread);
        let mut cells = self.cells.iter().filter(|cell| has(names, cell.name()));
        let cell = || cells.find_map(|cell| cell.inside().filter(|own| own.thread == thread));
        other.map(|(_, entrance)| entrance).or_else(cell)
    }

    /// Returns the time at which a thread last left, if the session is detached.
    pub(crate) fn used(&self) -> Option<Time> {
        let detached = self.state.detached.as_ref()?;
        let cells = self.cells.iter().filter(|cell| cell.is_open());
        Some(cells.fold(detached.used(), |used, cell| used.max(cell.at())))
    }

    /// Returns whether any thread is inside.
    pub(crate) fn is_used(&self) -> bool {
        !self.state.inside().is_empty() || self.cells.iter().any(|cell| cell.inside().is_some())
    }
}
