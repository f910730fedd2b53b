//! A lock, from its request until its end. Each lock has its own task.

use crate::command::{Answer, Hex, Lock, Refusal, answer, hex};
use serde_json::{Map, Value, json};
use std::future::Future;
use std::time::Duration;
use tenure::{
    Error, Guard, GuardSet, Process, Session, SessionId, ThreadId, Token, Version, WAIT_MS,
};
use tokio::sync::{mpsc, oneshot};

/// A command on a lock.
#[derive(Debug)]
pub(crate) enum Do {
    Read(Hex),
    Write(Hex, Option<Hex>),
    Check,
    Recalled,
    Commit(oneshot::Receiver<()>),
    Rename(Hex, oneshot::Receiver<()>),
    Destroy(oneshot::Receiver<()>),
    Unlock,
    Discard,
}

/// The guards of a lock: one, or one for each of several attributes that were locked together.
enum Held<'s> {
    One(Guard<'s>),
    Set(GuardSet),
}

/// Locks the attributes, then executes commands on the lock until it ends.
pub(crate) async fn hold(
    process: Process,
    id: u64,
    lock: Lock,
    mut inbox: mpsc::UnboundedReceiver<(u64, Do)>,
    cancel: oneshot::Receiver<()>,
) {
    let session = match process.session(&lock.session.0) {
        Ok(session) => session,
        Err(error) => return answer(id, Err(error.into())),
    };
    drop(process); // The session keeps the process alive.
    let mut held = match unless_cancelled(locked(&session, &lock), cancel).await {
        Ok(held) => Some(held),
        Err(refusal) => {
            answer(id, Err(refusal));
            None
        }
    };
    if let Some(held) = &held {
        answer(
            id,
            Ok(json!({"token": stamp(held.token()), "values": held.values()})),
        );
    }
    while let Some(own) = held.take() {
        let Some((id, what)) = inbox.recv().await else {
            return;
        };
        held = own.carry_out(id, what).await;
    }
    inbox.close();
    while let Some((id, _)) = inbox.recv().await {
        answer(
            id,
            Err(Refusal::new("not-held", "the lock has already ended")),
        );
    }
}

async fn locked<'s>(session: &'s Session, lock: &'s Lock) -> Result<Held<'s>, Error> {
    let limit = Duration::from_millis(lock.wait_ms.unwrap_or(WAIT_MS));
    // The suite's threads are the library's threads: locks of one thread belong together, whichever task requests them.
    let thread = ThreadId(lock.thread);
    if let Some([name]) = lock.attributes.as_deref() {
        let asked = session.lock(&name.0).beside(thread).timeout(limit);
        let asked = if lock.is_try { asked.try_lock() } else { asked };
        let asked = if lock.existing {
            asked.existing()
        } else {
            asked
        };
        return asked.await.map(Held::One);
    }
    let asked = match &lock.attributes {
        Some(names) => session.lock_many(names.iter().map(|name| &name.0)),
        None => session.lock_all(),
    };
    let asked = asked.beside(thread).timeout(limit);
    let asked = if lock.is_try { asked.try_lock() } else { asked };
    let asked = if lock.existing {
        asked.existing()
    } else {
        asked
    };
    asked.await.map(Held::Set)
}

/// Waits for a result of the library, unless the suite cancels the command first.
async fn unless_cancelled<T>(
    answer: impl Future<Output = Result<T, Error>>,
    cancel: oneshot::Receiver<()>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        answer = answer => Ok(answer?),
        Ok(()) = cancel => Err(Refusal::new("cancelled", "cancelled by the suite")),
    }
}

impl Held<'_> {
    /// Executes a command, answers it, and returns the lock if it is still held.
    async fn carry_out(mut self, id: u64, what: Do) -> Option<Self> {
        let done = json!({});
        let (result, left): (Answer, _) = match what {
            Do::Read(name) => (self.read(&name), Some(self)),
            Do::Write(name, value) => (self.write(&name, value).map(|()| done), Some(self)),
            Do::Check => (self.check().map(|()| done), Some(self)),
            Do::Recalled => (Ok(json!({"recalled": self.recalled()})), Some(self)),
            Do::Commit(cancel) => {
                let version = unless_cancelled(self.commit(), cancel).await;
                let version = version.map(|Version(stamp)| json!([stamp.epoch, stamp.sequence]));
                (
                    version.map(|version| json!({"version": version})),
                    Some(self),
                )
            }
            Do::Rename(to, cancel) => (self.rename(to, cancel).await, Some(self)),
            Do::Destroy(cancel) => (self.destroy(cancel).await.map(|()| done), None),
            Do::Unlock => (self.unlock().map(|()| done), None),
            Do::Discard => {
                self.discard();
                (Ok(done), None)
            }
        };
        answer(id, result);
        left
    }

    fn token(&self) -> Token {
        match self {
            Self::One(guard) => guard.token(),
            Self::Set(guards) => guards.token(),
        }
    }

    /// Returns the values of the locked attributes that exist.
    fn values(&self) -> Map<String, Value> {
        let one = |name: &[u8], value: &[u8]| (hex(name), hex(value).into());
        match self {
            Self::One(guard) => guard
                .bytes()
                .map(|value| one(guard.name().as_bytes(), value))
                .into_iter()
                .collect(),
            Self::Set(guards) => guards
                .attributes()
                .map(|(name, value)| one(name.as_bytes(), value))
                .collect(),
        }
    }

    fn read(&self, name: &Hex) -> Answer {
        let value = match self {
            Self::One(guard) if guard.name().as_bytes() == name.0 => guard.bytes(),
            Self::One(_) => return Err(not_locked()),
            Self::Set(guards) => guards.bytes(&name.0)?,
        };
        Ok(json!({"value": value.map(hex)}))
    }

    fn write(&mut self, name: &Hex, value: Option<Hex>) -> Result<(), Refusal> {
        let value = value.map(|Hex(value)| value);
        match (self, value) {
            (Self::One(guard), _) if guard.name().as_bytes() != name.0 => return Err(not_locked()),
            (Self::One(guard), Some(value)) => guard.set(value)?,
            (Self::One(guard), None) => guard.remove()?,
            (Self::Set(guards), Some(value)) => guards.set(&name.0, value)?,
            (Self::Set(guards), None) => guards.remove(&name.0)?,
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::One(guard) => guard.check()?,
            Self::Set(guards) => guards.check()?,
        }
        Ok(())
    }

    fn recalled(&self) -> bool {
        match self {
            Self::One(guard) => guard.recalled(),
            Self::Set(guards) => guards.recalled(),
        }
    }

    async fn commit(&mut self) -> Result<Version, Error> {
        match self {
            Self::One(guard) => guard.commit().await,
            Self::Set(guards) => guards.commit().await,
        }
    }

    async fn rename(&mut self, to: Hex, cancel: oneshot::Receiver<()>) -> Answer {
        let to = SessionId::new(to.0).map_err(|why| Refusal::new("name", why))?;
        match self {
            Self::One(_) => return Err(not_all()),
            Self::Set(guards) => unless_cancelled(guards.rename(&to), cancel).await?,
        }
        Ok(json!({"token": stamp(self.token())}))
    }

    async fn destroy(self, cancel: oneshot::Receiver<()>) -> Result<(), Refusal> {
        match self {
            Self::One(_) => Err(not_all()),
            Self::Set(guards) => unless_cancelled(guards.destroy(), cancel).await,
        }
    }

    fn unlock(self) -> Result<(), Refusal> {
        match self {
            Self::One(guard) => guard.unlock()?,
            Self::Set(guards) => guards.unlock()?,
        }
        Ok(())
    }

    fn discard(self) {
        match self {
            Self::One(guard) => guard.discard(),
            Self::Set(guards) => guards.discard(),
        }
    }
}

fn stamp(Token(stamp): Token) -> Value {
    json!([stamp.epoch, stamp.sequence])
}

fn not_locked() -> Refusal {
    Refusal::new("not-held", "this lock does not have the attribute")
}

fn not_all() -> Refusal {
    Refusal::new("not-held", "only a lock on all attributes can do that")
}
