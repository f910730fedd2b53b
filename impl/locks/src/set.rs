//! The guard of several attributes, or of all, locked together.

use crate::answers::{Destroyed, Ending};
use crate::entry::Entry;
use crate::error::Error;
use crate::granted::{Granted, has};
use crate::guard::{Commit, note_panic};
use crate::hub::Hub;
use crate::machine::Awaited;
use crate::mutant::{self, LockMutant};
use crate::session::Session;
use crate::sync::{Arc, panicking};
use crate::wait::{Outcome, Wait, in_drop};
use std::fmt;
use std::future::poll_fn;
use std::task::Poll;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::{GrantRef, Refusal};
use tenure_protocol::process::{Call, Names};
use tenure_protocol::{AttributeName, SessionId, ThreadId, Token};

/// A lock on several attributes of a session, or on all. The writes are applied or discarded together. Dropping the
/// guard unlocks the attributes, as with [`Guard`](crate::Guard). The guard owns a handle to the session, so it can be
/// stored and sent to other tasks.
#[must_use = "dropping a guard unlocks its attributes at once"]
pub struct GuardSet {
    session: Session,
    /// The entry of the session. Differs from the session's entry after this guard has renamed it.
    entry: Arc<Entry>,
    names: Names,
    thread: ThreadId,
    token: Token,
    /// The locked attributes that exist, sorted by name.
    values: Vec<(AttributeName, Value)>,
    is_written: bool,
    is_inside: bool,
    /// The pending end or rename of the session. Stored here and not in the future that waits for the answer: the
    /// future may be dropped, and the request takes effect nonetheless.
    ending: Option<Ending>,
    was_panicking: bool,
}

impl fmt::Debug for GuardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("GuardSet");
        shown
            .field("session", &self.entry)
            .field("names", &self.names);
        shown.finish_non_exhaustive() // Never the values: they may be secret.
    }
}

impl GuardSet {
    pub(crate) fn new(session: &Session, names: Names, thread: ThreadId, granted: Granted) -> Self {
        Self {
            session: session.clone(),
            entry: Arc::clone(&session.entry),
            names,
            thread,
            token: granted.token,
            values: granted.values.many(),
            is_written: false,
            is_inside: true,
            ending: None,
            was_panicking: panicking(),
        }
    }

    /// Returns the thread that owns the lock, for [`LockRequest::beside`](crate::LockRequest::beside).
    #[must_use]
    pub fn thread(&self) -> ThreadId {
        self.thread
    }

    /// Returns the fencing token of the grant, for other resources. Rule 9.
    #[must_use]
    pub fn token(&self) -> Token {
        self.moved().map_or(self.token, |to| to.token)
    }

    fn rename_wait(&self) -> Option<&Arc<Wait<GrantRef>>> {
        self.ending.as_ref()?.rename()
    }

    /// Returns the new grant of a renamed session, if the rename has been answered but not yet applied to this guard.
    fn moved(&self) -> Option<GrantRef> {
        self.session.hub.renamed(self.rename_wait()?)
    }

    /// Returns the entry of the session that this guard is in.
    fn entry(&self) -> Arc<Entry> {
        self.session.hub.moved(&self.entry, self.rename_wait())
    }

    /// Applies the result of an end or a rename whose future was dropped.
    fn take_note(&mut self) {
        if self.session.hub.is_forked() {
            return;
        }
        match &self.ending {
            Some(Ending::Destroy(wait)) => {
                if let Some(outcome) = wait.take() {
                    self.has_ended(&outcome);
                }
            }
            Some(Ending::Rename(wait)) => {
                if let Some(outcome) = wait.take() {
                    self.has_moved(&outcome);
                }
            }
            None => {}
        }
    }

    /// Applies the result of an end.
    fn has_ended(&mut self, outcome: &Outcome<Destroyed>) {
        self.ending = None;
        self.is_inside &= outcome.is_err();
    }

    /// Applies the result of a rename.
    fn has_moved(&mut self, outcome: &Outcome<GrantRef>) {
        self.ending = None;
        if let Ok(to) = outcome {
            self.entry = self.session.hub.map.get_or_make(&to.session);
            self.token = to.token;
        }
    }

    /// Returns the locked attributes that exist, with their values.
    pub fn attributes(&self) -> impl Iterator<Item = (&AttributeName, &[u8])> {
        self.values.iter().map(|(name, value)| (name, &value[..]))
    }

    /// Returns the value of an attribute, or `None` if the attribute does not exist.
    ///
    /// # Errors
    /// [`Error::NotLocked`] when this guard does not lock the attribute. [`Error::Name`] when the name is invalid.
    pub fn bytes(&self, name: impl AsRef<[u8]>) -> Result<Option<&[u8]>, Error> {
        let name = self.own(name.as_ref())?;
        let place = self.values.iter().find(|(own, _)| *own == name);
        Ok(place.map(|(_, value)| &value[..]))
    }

    /// Replaces the value of an attribute without copying it. On an error, the value is unchanged.
    ///
    /// # Errors
    /// As [`GuardSet::bytes`]. [`Error::Limit`] when the attribute or the session would become too large. An error that
    /// [`is_lost`](Error::is_lost) when the loss of the grant is already known.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl Into<Value>) -> Result<(), Error> {
        let name = self.own(name.as_ref())?;
        self.write(name, Some(value.into()))
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// As [`GuardSet::set`].
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        let name = self.own(name.as_ref())?;
        self.write(name, None)
    }

    /// Copies the value, applies `change` to the copy, and replaces the value with it.
    ///
    /// # Errors
    /// As [`GuardSet::set`].
    pub fn edit<R>(
        &mut self,
        name: impl AsRef<[u8]>,
        change: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, Error> {
        let name = name.as_ref();
        let mut bytes = self.bytes(name)?.unwrap_or_default().to_vec();
        let result = change(&mut bytes);
        self.set(name, bytes)?;
        Ok(result)
    }

    fn own(&self, name: &[u8]) -> Result<AttributeName, Error> {
        let name = self.session.hub.name(name)?;
        if has(&self.names, &name) {
            Ok(name)
        } else {
            Err(Error::NotLocked(Box::new(name)))
        }
    }

    fn write(&mut self, name: AttributeName, value: Option<Value>) -> Result<(), Error> {
        self.take_note();
        let Session { hub, .. } = &self.session;
        let mut result = hub.write(&self.entry, self.thread, &name, value.as_ref(), None);
        if result.is_err() && self.moved().is_some() {
            self.take_note(); // A rename was answered in the meantime.
            let Session { hub, .. } = &self.session;
            result = hub.write(&self.entry, self.thread, &name, value.as_ref(), None);
        }
        result?;
        self.is_written = true;
        let place = self.values.iter().position(|(own, _)| *own == name);
        match (place, value) {
            (Some(place), Some(value)) => self.values[place].1 = value,
            (Some(place), None) => drop(self.values.remove(place)),
            (None, Some(value)) => {
                let place = self.values.partition_point(|(own, _)| *own < name);
                self.values.insert(place, (name, value));
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Returns whether the store has recalled the session. If so, the thread should finish soon.
    #[must_use]
    pub fn recalled(&self) -> bool {
        self.session.hub.is_recalled(&self.entry())
    }

    /// Checks by the exact clock that the grant is still valid.
    ///
    /// # Errors
    /// An error that [`is_lost`](Error::is_lost) when the grant was lost: all writes under this guard are discarded.
    pub fn check(&self) -> Result<(), Error> {
        self.session.hub.check(&self.entry(), self.thread, false)
    }

    /// Makes the writes under this guard durable, and keeps the locks. Await the result, or call [`Commit::blocking`].
    /// The commit may include writes of the same thread under other guards of the session.
    pub fn commit(&mut self) -> Commit<'_, '_> {
        self.take_note();
        Commit {
            session: Session {
                hub: Arc::clone(&self.session.hub),
                entry: Arc::clone(&self.entry),
            },
            thread: self.thread,
            write: None,
            cell: None,
            rename: self.rename_wait().cloned(),
            is_written: Some(&mut self.is_written),
            wait: None,
        }
    }

    /// Ends the session: it loses all attributes, and no late write of any process can bring it back. Rule 16. The
    /// guard must lock the whole session.
    ///
    /// # Errors
    /// [`Error::Gone`] when the guard does not lock the whole session, or when this process no longer holds the
    /// session. An error that [`is_lost`](Error::is_lost) when the grant was lost first: the session may or may not
    /// have ended.
    pub async fn destroy(mut self) -> Result<(), Error> {
        let outcome = self.end(&Call::Destroy, Ending::Destroy).await?;
        self.has_ended(&outcome);
        outcome.map_or_else(|error| Err(*error), |Destroyed| Ok(()))
    }

    /// Changes the id of the session, and keeps the locks. The guard must lock the whole session. Requests that wait
    /// for the old id fail with [`Error::Gone`]. Open new handles with the new id.
    ///
    /// Dropping the future does not cancel the rename: the guard moves along when the session gets its new id.
    ///
    /// # Errors
    /// As [`GuardSet::destroy`]. [`Error::IdTaken`] when a session with the new id exists.
    pub async fn rename(&mut self, to: &SessionId) -> Result<(), Error> {
        let call = Call::Rename(to.clone());
        let outcome = self.end(&call, Ending::Rename).await?;
        self.has_moved(&outcome);
        outcome.map_or_else(|error| Err(*error), |_| Ok(()))
    }

    /// Makes a call that ends or renames the session, and waits for its answer.
    async fn end<T: Awaited>(
        &mut self,
        call: &Call,
        ending: fn(Arc<Wait<T>>) -> Ending,
    ) -> Result<Outcome<T>, Error> {
        self.take_note();
        if self.ending.is_some() {
            let refused = self
                .session
                .hub
                .refused(&self.entry.id, Refusal::AlreadyLocked);
            return Err(refused);
        }
        let wait = Arc::new(Wait::default());
        // Registered first: if a waker panics, the answer still finds the wait.
        self.ending = Some(ending(Arc::clone(&wait)));
        let entry = || Arc::clone(&self.entry);
        let hub = &self.session.hub;
        if let Err(error) = hub.ask_to(entry, self.thread, None, call, &wait) {
            self.ending = None;
            return Err(error);
        }
        let polled = Polled(hub, &wait);
        let outcome = poll_fn(|context| match hub.refuse_forked() {
            Ok(()) => polled.1.poll(context),
            Err(forked) => Poll::Ready(Err(Box::new(forked))),
        });
        let outcome = outcome.await;
        drop(polled);
        Ok(outcome)
    }

    /// Unlocks the attributes, and returns whether the grant was still valid.
    ///
    /// # Errors
    /// An error that [`is_lost`](Error::is_lost) when the grant was lost: the writes are discarded.
    pub fn unlock(mut self) -> Result<(), Error> {
        self.leave(true)
    }

    /// Discards the writes under this guard, and unlocks the attributes.
    pub fn discard(mut self) {
        // A lost grant has already discarded the writes.
        let _ = self.leave(false);
    }

    fn leave(&mut self, keeps: bool) -> Result<(), Error> {
        if !std::mem::take(&mut self.is_inside) {
            return Ok(());
        }
        let Self {
            entry,
            thread,
            names,
            ..
        } = &*self;
        let hub = &self.session.hub;
        match &self.ending {
            Some(wait) => hub.leave_ending(entry, *thread, names, keeps, wait),
            None => hub.leave(entry, *thread, names, keeps, None),
        }
    }
}

/// A wait whose future may be dropped before the answer. Dropping this removes the waker, so that the answer does not
/// wake that task.
struct Polled<'w, T>(&'w Hub, &'w Wait<T>);

impl<T> Drop for Polled<'_, T> {
    fn drop(&mut self) {
        if !self.0.is_forked() {
            self.1.sleep();
        }
    }
}

impl Drop for GuardSet {
    fn drop(&mut self) {
        in_drop(|| self.drop_now());
    }
}

impl GuardSet {
    fn drop_now(&mut self) {
        if self.session.hub.is_forked() {
            return;
        }
        let panics = panicking() && !self.was_panicking;
        let keeps = !panics || mutant::is(LockMutant::PanicKeepsWrites);
        // The loss of a grant was reported when it was noticed.
        let panicked = (panics && self.is_written && self.is_inside)
            .then(|| self.entry.lock().place_of(self.thread, &self.names))
            .flatten();
        if self.leave(keeps).is_ok()
            && let Some(entrance) = panicked
        {
            note_panic(&self.session, entrance);
        }
    }
}
