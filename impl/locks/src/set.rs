//! What a thread has while several attributes are locked together, or all.

use crate::entry::{Entry, Granted, has};
use crate::error::Error;
use crate::guard::{Commit, note_panic};
use crate::hub::Hub;
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

/// Several attributes of a session, or all, locked together: their write sets are kept or discarded together. Dropping it
/// unlocks them, as with [`Guard`](crate::Guard). A set has its own handle to the session: it may be stored and sent to other tasks.
#[must_use = "dropping it unlocks at once"]
pub struct GuardSet {
    session: Session,
    /// Another than the session's when this guard has renamed it.
    entry: Arc<Entry>,
    names: Names,
    thread: ThreadId,
    token: Token,
    /// Those that exist, sorted by name.
    values: Vec<(AttributeName, Value)>,
    is_written: bool,
    is_inside: bool,
    /// It wants the session to end or to have another id. Cached here, and not by the future that waits for the answer: that
    /// may be dropped, and what was asked for happens nonetheless.
    ending: Option<Arc<Wait>>,
    was_panicking: bool,
}

impl fmt::Debug for GuardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("GuardSet");
        shown
            .field("session", &self.entry)
            .field("names", &self.names);
        shown.finish_non_exhaustive() // Never the values.
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

    /// Whose it is: for [`LockRequest::beside`](crate::LockRequest::beside).
    #[must_use]
    pub fn thread(&self) -> ThreadId {
        self.thread
    }

    /// The fencing token of the grant, for resources outside. Rule 9.
    #[must_use]
    pub fn token(&self) -> Token {
        self.moved().map_or(self.token, |to| to.token)
    }

    /// What its session has become, if nobody has taken note of that.
    fn moved(&self) -> Option<GrantRef> {
        self.session.hub.renamed(self.ending.as_ref()?)
    }

    /// What is kept of the session that it is in.
    fn entry(&self) -> Arc<Entry> {
        self.session.hub.moved(&self.entry, self.ending.as_ref())
    }

    /// Takes note of how an attempt to end or rename the session has ended whose future was dropped.
    fn take_note(&mut self) {
        if self.session.hub.is_forked() {
            return;
        }
        if let Some(outcome) = self.ending.as_ref().and_then(|wait| wait.take()) {
            self.ended(&outcome);
        }
    }

    fn ended(&mut self, outcome: &Outcome) {
        self.ending = None;
        match outcome {
            Outcome::Destroyed => self.is_inside = false,
            Outcome::Renamed(to) => {
                self.entry = self.session.hub.map.get_or_make(&to.session);
                self.token = to.token;
            }
            _ => {}
        }
    }

    /// The locked attributes that exist.
    pub fn attributes(&self) -> impl Iterator<Item = (&AttributeName, &[u8])> {
        self.values.iter().map(|(name, value)| (name, &value[..]))
    }

    /// The value of an attribute; `None` when it does not exist.
    ///
    /// # Errors
    /// [`Error::NotLocked`] when it is not among the locked ones, [`Error::Name`] when it cannot be the name of one.
    pub fn bytes(&self, name: impl AsRef<[u8]>) -> Result<Option<&[u8]>, Error> {
        let name = self.own(name.as_ref())?;
        let place = self.values.iter().find(|(own, _)| *own == name);
        Ok(place.map(|(_, value)| &value[..]))
    }

    /// Replaces a value; nothing is copied.
    ///
    /// # Errors
    /// As [`GuardSet::bytes`]; [`Error::Limit`] when the attribute or the session would be too large;
    /// One that [`is_lost`](Error::is_lost) when the grant was lost, if that is known already. The value stays as it was.
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

    /// Changes a copy of the value, and replaces the value with it.
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
            self.take_note(); // Of a rename that was answered meanwhile.
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

    /// Whether the store has asked for the session, so that this thread should hurry.
    #[must_use]
    pub fn recalled(&self) -> bool {
        self.session.hub.is_recalled(&self.entry())
    }

    /// Whether the grant still stands, by the clock, which is looked at.
    ///
    /// # Errors
    /// One that [`is_lost`](Error::is_lost) when it was lost: whatever this guard writes is discarded.
    pub fn check(&self) -> Result<(), Error> {
        self.session.hub.check(&self.entry(), self.thread, false)
    }

    /// Makes what was written under this guard durable, and keeps the locks. To be awaited, or waited for. What the thread
    /// has written under other guards of the session may go along or not.
    pub fn commit(&mut self) -> Commit<'_, '_> {
        self.take_note();
        Commit {
            session: Session {
                hub: Arc::clone(&self.session.hub),
                entry: Arc::clone(&self.entry),
            },
            thread: self.thread,
            writes: None,
            cell: None,
            ending: self.ending.clone(),
            is_written: Some(&mut self.is_written),
            wait: None,
        }
    }

    /// Ends the session: it has no attributes any more, and nobody's late write brings it back. Rule 16. All must be locked.
    ///
    /// # Errors
    /// [`Error::Gone`] when not all is locked or this process no longer has the session; one that [`is_lost`](Error::is_lost) when the grant
    /// was lost first: then the session may or may not have ended.
    pub async fn destroy(mut self) -> Result<(), Error> {
        match self.end(&Call::Destroy).await {
            Outcome::Destroyed => Ok(()),
            Outcome::Failed(error) => Err(*error),
            _ => unreachable!("a destroy is answered by its end or a refusal"),
        }
    }

    /// Gives the session another id, and keeps the locks. Those who wait for the old id are told that it has gone. All must
    /// be locked. New handles are to be taken by the new id. Dropping the future takes nothing back: the guard goes along
    /// when the session has its new id.
    ///
    /// # Errors
    /// As [`GuardSet::destroy`]; [`Error::IdTaken`] when there is a session of that id.
    pub async fn rename(&mut self, to: &SessionId) -> Result<(), Error> {
        match self.end(&Call::Rename(to.clone())).await {
            Outcome::Renamed(_) => Ok(()),
            Outcome::Failed(error) => Err(*error),
            _ => unreachable!("a rename is answered by the new id or a refusal"),
        }
    }

    async fn end(&mut self, call: &Call) -> Outcome {
        self.take_note();
        if self.ending.is_some() {
            let refused = self
                .session
                .hub
                .refused(&self.entry.id, Refusal::AlreadyLocked);
            return Outcome::Failed(Box::new(refused));
        }
        let wait = Arc::new(Wait::default());
        // First of all: whoever is woken may panic, and the answer still comes.
        self.ending = Some(Arc::clone(&wait));
        let entry = || Arc::clone(&self.entry);
        let hub = &self.session.hub;
        if let Err(error) = hub.ask_to(entry, self.thread, None, call, &wait) {
            self.ending = None;
            return Outcome::Failed(Box::new(error));
        }
        let polled = Polled(hub, &wait);
        let outcome = poll_fn(|context| match hub.refuse_forked() {
            Ok(()) => polled.1.poll(context),
            Err(forked) => Poll::Ready(Outcome::Failed(Box::new(forked))),
        });
        let outcome = outcome.await;
        drop(polled);
        self.ended(&outcome);
        outcome
    }

    /// Unlocks, and says whether that was in time.
    ///
    /// # Errors
    /// One that [`is_lost`](Error::is_lost) when the grant was lost: what was written is discarded.
    pub fn unlock(mut self) -> Result<(), Error> {
        self.leave(true)
    }

    /// Discards what was written, and unlocks.
    pub fn discard(mut self) {
        // A lost grant has discarded it already.
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

/// A wait whose answer may be awaited no more before it comes: then whoever polled is not woken by it.
struct Polled<'w>(&'w Hub, &'w Wait);

impl Drop for Polled<'_> {
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
        // A lost grant is reported where it was noticed.
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
