//! The guard of one locked attribute.

use crate::cell::{Entrance, Held};
use crate::error::Error;
use crate::granted::Granted;
use crate::mutant::{self, LockMutant};
use crate::session::Session;
use crate::session_ref::GuardSession;
use crate::snapshot::{Discard, Discarded};
use crate::sync::{Arc, panicking};
use crate::wait::{Wait, block_on, in_drop};
use std::convert::identity;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::GrantRef;
use tenure_protocol::process::{Call, Names};
use tenure_protocol::{AttributeName, SessionId, ThreadId, Token, Version};

/// A lock on one attribute. Dropping the guard unlocks the attribute and makes its writes visible to the next thread.
/// If the thread panics, the drop discards the writes.
///
/// A guard may move to another OS thread. It still belongs to the thread that locked it: that thread cannot lock the
/// attribute again before.
#[must_use = "dropping a guard unlocks its attribute at once"]
pub struct Guard<'s> {
    home: GuardSession<'s>,
    access: Access<'s>,
}

#[derive(Debug)]
enum Access<'s> {
    /// The value is in the attribute's cell.
    Cell(Held<'s>),
    /// The value is in the session.
    Session(Box<SlowGuard>),
    /// The guard has been left.
    Left,
}

#[derive(Debug)]
struct SlowGuard {
    name: AttributeName,
    thread: ThreadId,
    token: Token,
    value: Option<Value>,
    is_written: bool,
    /// Whether the thread was already unwinding when it locked. If so, unwinding says nothing about the work under the
    /// lock.
    was_panicking: bool,
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Guard");
        shown
            .field("session", self.home.entry())
            .finish_non_exhaustive() // Never the value: it may be secret.
    }
}

impl<'s> Guard<'s> {
    #[inline(always)]
    pub(crate) fn in_cell(home: GuardSession<'s>, held: Held<'s>) -> Self {
        Self {
            home,
            access: Access::Cell(held),
        }
    }

    pub(crate) fn in_session(
        home: GuardSession<'s>,
        name: AttributeName,
        thread: ThreadId,
        granted: Granted,
    ) -> Self {
        let own = SlowGuard {
            name,
            thread,
            token: granted.token,
            value: granted.values.one(),
            is_written: false,
            was_panicking: panicking(),
        };
        Self {
            home,
            access: Access::Session(Box::new(own)),
        }
    }

    /// Returns the id of the session.
    #[must_use]
    pub fn session_id(&self) -> &SessionId {
        &self.home.entry().id
    }

    /// Returns the thread that owns the lock, for [`LockRequest::beside`](crate::LockRequest::beside).
    #[must_use]
    pub fn thread(&self) -> ThreadId {
        match &self.access {
            Access::Cell(held) => held.thread(),
            Access::Session(own) => own.thread,
            Access::Left => unreachable!("only the methods that consume or drop a guard leave it"),
        }
    }

    /// Returns the attribute's name.
    #[must_use]
    pub fn name(&self) -> &AttributeName {
        match &self.access {
            Access::Cell(held) => held.name(),
            Access::Session(own) => &own.name,
            Access::Left => unreachable!("only the methods that consume or drop a guard leave it"),
        }
    }

    /// Returns the attribute's value without a copy, or `None` if the attribute does not exist.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.access {
            Access::Cell(held) => held.bytes(),
            Access::Session(own) => own.value.as_deref(),
            Access::Left => None,
        }
    }

    /// Replaces the attribute's value without copying it.
    ///
    /// # Errors
    /// [`Error::Limit`] when the attribute or the session would become too large: the value is unchanged. An error
    /// that [`is_lost`](Error::is_lost) when the loss of the grant is already known.
    pub fn set(&mut self, value: impl Into<Value>) -> Result<(), Error> {
        self.write(Some(value.into()))
    }

    /// Removes the attribute.
    ///
    /// # Errors
    /// An error that [`is_lost`](Error::is_lost) when the loss of the grant is already known.
    pub fn remove(&mut self) -> Result<(), Error> {
        self.write(None)
    }

    fn write(&mut self, value: Option<Value>) -> Result<(), Error> {
        let home = self.home;
        home.hub().refuse_forked()?;
        match &mut self.access {
            Access::Cell(held) => {
                let length = value.as_ref().map_or(0, Value::len);
                if length > held.terms().bytes_max as usize {
                    let (name, thread) = (held.name(), held.thread());
                    home.with(|Session { hub, entry }| {
                        hub.write(entry, thread, name, value.as_ref(), Some(held))
                    })?;
                }
                held.set(value);
            }
            Access::Session(own) => {
                home.with(|Session { hub, entry }| {
                    hub.write(entry, own.thread, &own.name, value.as_ref(), None)
                })?;
                own.value = value;
                own.is_written = true;
            }
            Access::Left => {}
        }
        Ok(())
    }

    /// Changes the attribute's value in place. An attribute that does not exist starts empty. The first change under a
    /// guard copies the value once, into reused memory, so that a panic or a lost grant can discard the change.
    ///
    /// # Errors
    /// [`Error::Limit`] when the attribute or the session would become too large. The value is then the last one
    /// that the session has accepted from this guard. Smaller changes in place since then were not checked with the
    /// session, and are undone too.
    ///
    /// An error that [`is_lost`](Error::is_lost) when the loss of the grant is already known.
    #[inline(always)]
    pub fn edit<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> Result<R, Error> {
        let bytes_max = match &self.access {
            Access::Cell(held) => held.terms().bytes_max as usize,
            _ => return self.edit_copy(change),
        };
        self.home.hub().refuse_forked()?;
        let Access::Cell(held) = &mut self.access else {
            unreachable!("the match above returns unless the access is a cell")
        };
        let change = |bytes: &mut Vec<u8>| (change(bytes), bytes.len());
        let (result, length) = self.home.edit(held, change);
        if length > bytes_max {
            self.accept_growth()?;
        }
        Ok(result)
    }

    /// Checks with the session whether the written value may be as large as it is.
    #[cold]
    #[inline(never)]
    fn accept_growth(&mut self) -> Result<(), Error> {
        let home = self.home;
        let Access::Cell(held) = &mut self.access else {
            return Ok(());
        };
        let (name, thread) = (held.name(), held.thread());
        let value = held.written().map(identity).flatten();
        home.with(|Session { hub, entry }| {
            let result = hub.write(entry, thread, name, value.as_ref(), Some(held));
            match &result {
                Err(error) if error.is_lost() || *error == Error::Forked => held.undo(),
                Err(_) => held.set(hub.value(entry, thread, name)),
                Ok(()) => {}
            }
            result
        })
    }

    fn edit_copy<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> Result<R, Error> {
        let mut bytes = self.bytes().unwrap_or_default().to_vec();
        let result = change(&mut bytes);
        self.write(Some(bytes.into()))?;
        Ok(result)
    }

    /// Returns the fencing token of the grant, for other resources. Rule 9.
    #[must_use]
    pub fn token(&self) -> Token {
        match &self.access {
            Access::Cell(held) => held.terms().token,
            Access::Session(own) => own.token,
            Access::Left => Token::default(),
        }
    }

    /// Returns whether the store has recalled the session, or the lease has ended by the coarse clock. If so, the
    /// thread should finish soon. Costs two loads and one reading of that clock, unless the session is reattached to
    /// the machine.
    #[must_use]
    pub fn recalled(&self) -> bool {
        let (hub, entry) = (self.home.hub(), self.home.entry());
        match &self.access {
            Access::Cell(held) if !held.is_closed() => hub.is_past_lease(),
            _ => hub.is_recalled(entry),
        }
    }

    /// Checks by the exact clock that the grant is still valid.
    ///
    /// # Errors
    /// An error that [`is_lost`](Error::is_lost) when the grant was lost: all writes under this guard are discarded.
    pub fn check(&self) -> Result<(), Error> {
        let is_detached = matches!(&self.access, Access::Cell(held) if !held.is_closed());
        self.home
            .with(|Session { hub, entry }| hub.check(entry, self.thread(), is_detached))
    }

    /// Makes the writes under this guard durable, and keeps the lock. Await the result, or call [`Commit::blocking`].
    /// The commit may include writes of the same thread under other guards of the session.
    pub fn commit(&mut self) -> Commit<'_, 's> {
        let write = match &self.access {
            Access::Cell(held) => held.written().call(held.name()),
            _ => None,
        };
        let thread = self.thread();
        let (held, is_written) = match &mut self.access {
            Access::Cell(held) => (Some(held), None),
            Access::Session(own) => (None, Some(&mut own.is_written)),
            Access::Left => (None, None),
        };
        Commit {
            session: self.home.handle(),
            thread,
            write,
            cell: held,
            rename: None,
            is_written,
            wait: None,
        }
    }

    /// Unlocks the attribute, and returns whether the grant was still valid.
    ///
    /// # Errors
    /// An error that [`is_lost`](Error::is_lost) when the grant was lost: the writes are discarded.
    pub fn unlock(mut self) -> Result<(), Error> {
        if self.home.hub().is_past_lease() {
            return self.leave_session(true);
        }
        self.leave(true)
    }

    /// Discards the writes under this guard, and unlocks the attribute.
    pub fn discard(mut self) {
        // A lost grant has already discarded the writes.
        let _ = self.leave(false);
    }

    /// Returns the thread and the source line of this lock, if it has written.
    #[cold]
    fn written(&self) -> Option<Entrance> {
        let entry = self.home.entry();
        match &self.access {
            Access::Cell(held) if held.is_written() => held.inside(),
            Access::Session(own) if own.is_written => {
                let names = Names::One(own.name.clone());
                entry.lock().place_of(own.thread, &names)
            }
            _ => None,
        }
    }

    #[inline]
    fn leave(&mut self, keeps: bool) -> Result<(), Error> {
        if let Access::Cell(held) = &self.access
            && self.home.leave(held, keeps)
        {
            self.access = Access::Left;
            return Ok(());
        }
        self.leave_session(keeps)
    }

    /// Leaves through the session, on the slow path.
    #[cold]
    #[inline(never)]
    fn leave_session(&mut self, keeps: bool) -> Result<(), Error> {
        // Marks the guard as left first: a waker may panic, and then the guard is dropped once more.
        let access = std::mem::replace(&mut self.access, Access::Left);
        if matches!(access, Access::Left) {
            return Ok(());
        }
        if keeps
            && let Access::Cell(held) = &access
            && held.is_planned()
            && !self.home.hub().is_past_lease()
            && handoff(self.home, held)
        {
            return Ok(());
        }
        self.home.with(|Session { hub, entry }| match access {
            Access::Cell(held) => {
                let names = Names::One(held.name().clone());
                hub.leave(entry, held.thread(), &names, keeps, Some(held))
            }
            Access::Session(own) => {
                hub.leave(entry, own.thread, &Names::One(own.name), keeps, None)
            }
            Access::Left => Ok(()),
        })
    }
}

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Access::Cell(held) = &self.access
            && !held.is_panicking()
        {
            // A handoff comes first, since another thread sleeps until then.
            if held.is_planned() && !panicking() && handoff(self.home, held) {
                return;
            }
            if self.home.leave(held, true) {
                return;
            }
        }
        in_drop(|| self.drop_slowly());
    }
}

/// Hands the attribute off to the waiting thread, see [`Held::handoff`].
#[cold]
#[inline(never)]
fn handoff(home: GuardSession<'_>, held: &Held<'_>) -> bool {
    if home.hub().is_forked() {
        return false;
    }
    let _owner = home.owner();
    held.handoff(home.hub().clock.seen())
}

impl Guard<'_> {
    #[cold]
    #[inline(never)]
    fn drop_slowly(&mut self) {
        if self.home.hub().is_forked() {
            self.access = Access::Left;
            return;
        }
        let panics = match &self.access {
            Access::Cell(held) => held.is_panicking(),
            Access::Session(own) => panicking() && !own.was_panicking,
            Access::Left => return,
        };
        if !panics {
            // If the cell were open, the guard would have left it directly. The loss of a grant was
            // reported when it was noticed.
            let _ = self.leave_session(true);
            return;
        }
        let panicked = self.written();
        let panicked = panicked.map(|entrance| (self.home.handle(), entrance));
        if self.leave(mutant::is(LockMutant::PanicKeepsWrites)).is_ok()
            && let Some((session, entrance)) = panicked
        {
            note_panic(&session, entrance);
        }
    }
}

#[cold]
pub(crate) fn note_panic(session: &Session, entrance: Entrance) {
    let discard = Discard {
        session: session.entry.id.clone(),
        thread: entrance.thread,
        place: Some(entrance.place),
        why: Discarded::Panic,
    };
    session.hub.discarded(&session.entry, discard);
}

/// A commit in progress, from [`Guard::commit`] or [`GuardSet::commit`](crate::GuardSet::commit). If it is dropped
/// early, the writes stay in the session. They become durable when the grant is given back.
#[must_use = "a commit sends nothing until it is awaited or `blocking` is called"]
pub struct Commit<'g, 's> {
    pub(crate) session: Session,
    pub(crate) thread: ThreadId,
    /// The call for the write in a cell, which must go to the session first.
    pub(crate) write: Option<Call>,
    /// That cell. After the commit, the thread sees the committed value there.
    pub(crate) cell: Option<&'g mut Held<'s>>,
    /// The pending rename of the session by the same guard, which moves the guard to another session.
    pub(crate) rename: Option<Arc<Wait<GrantRef>>>,
    /// Whether the guard has uncommitted writes, for a guard without a cell.
    pub(crate) is_written: Option<&'g mut bool>,
    pub(crate) wait: Option<Arc<Wait<Version>>>,
}

impl fmt::Debug for Commit<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Commit");
        shown
            .field("session", &self.session.entry)
            .finish_non_exhaustive()
    }
}

impl Commit<'_, '_> {
    /// Blocks this OS thread until the writes are durable. Returns the version of the session that contains them.
    ///
    /// # Errors
    /// The errors of the future. An error that [`is_lost`](Error::is_lost) means that the grant was lost first: the
    /// writes may or may not be durable.
    pub fn blocking(self) -> Result<Version, Error> {
        block_on(self, |own, context| own.go_on(context), |_| Duration::MAX)
    }
}

impl Future for Commit<'_, '_> {
    type Output = Result<Version, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.go_on(context)
    }
}

impl Commit<'_, '_> {
    fn go_on(&mut self, context: &Context<'_>) -> Poll<Result<Version, Error>> {
        if let Err(forked) = self.session.hub.refuse_forked() {
            self.wait = None;
            return Poll::Ready(Err(forked));
        }
        if self.wait.is_none() {
            let write = self.write.take();
            // Registered first: if a waker panics, no waiting thread is lost.
            let wait = Arc::clone(self.wait.insert(Arc::default()));
            let Session { hub, entry } = &self.session;
            let of = || hub.moved(entry, self.rename.as_ref());
            if let Err(error) = hub.ask_to(of, self.thread, write, &Call::Commit, &wait) {
                self.wait = None;
                return Poll::Ready(Err(error));
            }
            let Self { session, cell, .. } = self;
            if let Some(held) = cell {
                session.entry.lock().rebase(held);
            }
            if let Some(is_written) = self.is_written.take() {
                *is_written = false;
            }
        }
        let wait = self
            .wait
            .as_ref()
            .expect("the block above registers a wait if there is none");
        let Poll::Ready(outcome) = wait.poll(context) else {
            return Poll::Pending;
        };
        self.wait = None;
        Poll::Ready(outcome.map_err(|error| *error))
    }
}

impl Drop for Commit<'_, '_> {
    fn drop(&mut self) {
        if let Some(wait) = &self.wait {
            let Session { hub, entry } = &self.session;
            in_drop(|| hub.forget_commit(entry, self.thread, wait));
        }
    }
}
