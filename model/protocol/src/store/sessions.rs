//! The sessions that a store has in memory. Every access of a step goes through this type.
//!
//! Each look-up, and each element of a walk, calls the hook. A test can therefore count which sessions a step visits.
//! The hook of a running store ignores the call, and the compiler removes it.

use super::Session;
use crate::id::SessionId;
use crate::mutant::Hook;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

/// The map of sessions; see the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sessions<H> {
    hook: H,
    sessions: BTreeMap<SessionId, Box<Session>>,
}

impl<H: Hook> Sessions<H> {
    pub(crate) fn new(hook: H) -> Self {
        Self {
            hook,
            sessions: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn contains(&self, id: &SessionId) -> bool {
        self.hook.visits();
        self.sessions.contains_key(id)
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<&Session> {
        self.hook.visits();
        self.sessions.get(id).map(|session| &**session)
    }

    pub(crate) fn get_mut(&mut self, id: &SessionId) -> Option<&mut Session> {
        self.hook.visits();
        self.sessions.get_mut(id).map(|session| &mut **session)
    }

    /// Returns the session, after creating an empty one if the store did not have it.
    pub(crate) fn get_or_create(&mut self, id: &SessionId) -> &mut Session {
        self.hook.visits();
        // The session is almost always there, so that its id need not be cloned.
        if !self.sessions.contains_key(id) {
            self.sessions.insert(id.clone(), Box::default());
        }
        self.sessions
            .get_mut(id)
            .expect("the lines above have inserted the session if it was absent")
    }

    pub(crate) fn insert(&mut self, id: SessionId, session: Box<Session>) {
        self.hook.visits();
        self.sessions.insert(id, session);
    }

    pub(crate) fn remove(&mut self, id: &SessionId) -> Option<Box<Session>> {
        self.hook.visits();
        self.sessions.remove(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        let all = self.sessions.iter();
        all.map(|(id, session)| (id, &**session))
            .inspect(|_| self.hook.visits())
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        let hook = self.hook;
        let all = self.sessions.values_mut().map(|session| &mut **session);
        all.inspect(move |_| hook.visits())
    }
}
