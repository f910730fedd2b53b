//! The actions of threads in a scene, through the adapter, and checks for silence on both sides.

use crate::end::{CaseEnd, Play};
use crate::process::adapter::{Answer, name};
use crate::process::grant::{Grant, Locked, session, text};
use crate::process::scene::Scene;
use crate::process::scripted_store::Heard;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tenure_protocol::message::Refusal;
use tenure_protocol::{Request, SessionId, Stamp, ToStore, Token};

/// The time that a thread waits, unless a case sets another one.
const WAIT_MS: u64 = 120_000;

impl Scene {
    /// Begins a lock of these attributes, or of all if none are given. Returns the number of its command.
    pub(crate) async fn ask(
        &mut self,
        thread: u64,
        session: &SessionId,
        names: &[&str],
    ) -> Play<u64> {
        self.ask_with(thread, session, names, json!({})).await
    }

    /// Begins a try.
    pub(crate) async fn try_for(
        &mut self,
        thread: u64,
        session: &SessionId,
        names: &[&str],
    ) -> Play<u64> {
        self.ask_with(thread, session, names, json!({"try": true}))
            .await
    }

    pub(crate) async fn ask_with(
        &mut self,
        thread: u64,
        session: &SessionId,
        names: &[&str],
        with: Value,
    ) -> Play<u64> {
        let names: Option<Vec<Value>> =
            (!names.is_empty()).then(|| names.iter().map(name).collect());
        let mut lock = json!({
            "thread": thread, "session": name(session.as_bytes()), "attributes": names,
            "try": false, "wait_ms": WAIT_MS,
        });
        if let (Some(lock), Value::Object(with)) = (lock.as_object_mut(), with) {
            lock.extend(with);
        }
        self.adapter.begin("lock", lock).await
    }

    /// Waits until the lock is granted.
    pub(crate) async fn locked(&mut self, id: u64) -> Play<Locked> {
        match self.adapter.answer(id).await? {
            Ok(ok) => {
                let token = ok.get("token").and_then(stamp_of);
                let values = ok.get("values").and_then(Value::as_object).cloned();
                match (token, values) {
                    (Some(token), Some(values)) => Ok(Locked {
                        id,
                        token: Token(token),
                        values,
                    }),
                    _ => Err(CaseEnd::failed("`token` and `values`", ok)),
                }
            }
            Err(refused) => Err(CaseEnd::failed(format!("lock {id} is granted"), refused)),
        }
    }

    /// Waits until the lock is refused for this reason.
    pub(crate) async fn refused(&mut self, id: u64, kind: &str) -> Play<Vec<SessionId>> {
        let expected = format!("command {id} ends with `{kind}`");
        match self.adapter.answer(id).await? {
            Err(refused) if refused.kind == kind => Ok(refused.cycle),
            other => Err(CaseEnd::failed(expected, other)),
        }
    }

    /// Waits until the lock fails.
    pub(crate) async fn fails(&mut self, id: u64) -> Play {
        match self.adapter.answer(id).await? {
            Err(_) => Ok(()),
            other => Err(CaseEnd::failed(format!("command {id} fails"), other)),
        }
    }

    /// Locks attributes of a session that the process does not hold. The store grants the session empty.
    pub(crate) async fn take(
        &mut self,
        thread: u64,
        session: &SessionId,
        names: &[&str],
    ) -> Play<(Grant, Locked)> {
        self.take_full(thread, session, names, &[]).await
    }

    /// As [`Scene::take`], with these attributes in the session.
    pub(crate) async fn take_full(
        &mut self,
        thread: u64,
        session: &SessionId,
        names: &[&str],
        attributes: &[(&str, &str)],
    ) -> Play<(Grant, Locked)> {
        let id = self.ask(thread, session, names).await?;
        let acquire = self.acquired(session).await?;
        let grant = self.grant_of(&acquire);
        self.peer
            .say(grant.full(attributes.iter().copied()))
            .await?;
        Ok((grant, self.locked(id).await?))
    }

    /// As [`Scene::take`], if a cancel of another request may come first.
    pub(crate) async fn take_ignoring_cancel(
        &mut self,
        thread: u64,
        session: &SessionId,
        cancelled: Request,
    ) -> Play<(Grant, Locked)> {
        let id = self.ask(thread, session, &["a"]).await?;
        let expected = format!("Acquire of {session}");
        loop {
            match self.peer.next(&expected).await? {
                ToStore::Cancel { request, .. } if request == cancelled => {}
                ToStore::Acquire(acquire) if acquire.session == *session => {
                    let grant = self.grant_of(&acquire);
                    self.peer.say(grant.full([])).await?;
                    return Ok((grant, self.locked(id).await?));
                }
                other => return Err(self.peer.failed(&expected, other)),
            }
        }
    }

    /// Returns a cached grant that no thread uses.
    pub(crate) async fn keep(&mut self, session: &SessionId) -> Play<Grant> {
        let (grant, lock) = self.take(800, session, &["a"]).await?;
        self.unlock(&lock).await?;
        Ok(grant)
    }

    /// Locks attributes of a session that the process holds.
    pub(crate) async fn lock(
        &mut self,
        thread: u64,
        session: &SessionId,
        names: &[&str],
    ) -> Play<Locked> {
        let id = self.ask(thread, session, names).await?;
        self.locked(id).await
    }

    /// Executes a command on a lock, and returns its answer.
    pub(crate) async fn with(&mut self, what: &'static str, lock: &Locked) -> Play<Answer> {
        self.adapter.call(what, json!({"lock": lock.id})).await
    }

    /// Begins a command on a lock.
    pub(crate) async fn begin(&mut self, what: &'static str, lock: &Locked) -> Play<u64> {
        self.adapter.begin(what, json!({"lock": lock.id})).await
    }

    /// Waits until the command has succeeded.
    pub(crate) async fn done(&mut self, id: u64) -> Play<Map<String, Value>> {
        let answer = self.adapter.answer(id).await?;
        answer.map_err(|refused| CaseEnd::failed(format!("command {id} is done"), refused))
    }

    async fn must(&mut self, what: &'static str, with: Value) -> Play<Map<String, Value>> {
        let answer = self.adapter.call(what, with).await?;
        answer.map_err(|refused| CaseEnd::failed(format!("`{what}` is done"), refused))
    }

    pub(crate) async fn unlock(&mut self, lock: &Locked) -> Play {
        self.must("unlock", json!({"lock": lock.id}))
            .await
            .map(drop)
    }

    pub(crate) async fn stands(&mut self, lock: &Locked) -> Play {
        self.must("check", json!({"lock": lock.id})).await.map(drop)
    }

    /// Expects that the lock is lost and its thread is notified with one of these kinds.
    pub(crate) async fn lost(&mut self, lock: &Locked, kinds: &[&str]) -> Play {
        match self.with("check", lock).await? {
            Err(refused) if kinds.contains(&refused.kind.as_str()) => Ok(()),
            other => Err(CaseEnd::failed(
                format!("a lock that is lost: {kinds:?}"),
                other,
            )),
        }
    }

    pub(crate) async fn write(&mut self, lock: &Locked, attribute: &str, value: &str) -> Play {
        let with = json!({"lock": lock.id, "attribute": name(attribute), "value": name(value)});
        self.must("write", with).await.map(drop)
    }

    pub(crate) async fn try_write(
        &mut self,
        lock: &Locked,
        attribute: &str,
        value: &str,
    ) -> Play<Answer> {
        let with = json!({"lock": lock.id, "attribute": name(attribute), "value": name(value)});
        self.adapter.call("write", with).await
    }

    pub(crate) async fn read(&mut self, lock: &Locked, attribute: &str) -> Play<Option<String>> {
        let with = json!({"lock": lock.id, "attribute": name(attribute)});
        Ok(text(self.must("read", with).await?.get("value")))
    }

    pub(crate) async fn rename(&mut self, lock: &Locked, to: &SessionId) -> Play<u64> {
        let with = json!({"lock": lock.id, "to": name(to.as_bytes())});
        self.adapter.begin("rename", with).await
    }

    /// Cancels a command.
    pub(crate) async fn cancel(&mut self, id: u64) -> Play {
        self.must("cancel", json!({"command": id})).await.map(drop)
    }

    // ---- silence ----------------------------------------------------------------------------------------------------

    /// Waits until all sent messages are processed on both sides, by two round trips. Returns the messages that the
    /// store receives meanwhile.
    pub(crate) async fn settle(&mut self) -> Play<Vec<ToStore>> {
        let mut before = Vec::new();
        for _ in 0..2 {
            self.pings += 1;
            let session = session(&format!("ping-{}", self.pings));
            let id = self.ask(900 + self.pings, &session, &["a"]).await?;
            let acquire = loop {
                match self.peer.next("a request of the suite's own").await? {
                    ToStore::Acquire(acquire) if acquire.session == session => break acquire,
                    other => before.push(other),
                }
            };
            self.refuse(&acquire, Refusal::Gone).await?;
            self.fails(id).await?;
        }
        Ok(before)
    }

    /// Expects that the store receives nothing.
    pub(crate) async fn is_quiet(&mut self, why: &str) -> Play {
        let heard = self.settle().await?;
        match heard.first() {
            None => Ok(()),
            Some(message) => Err(self.peer.failed(&format!("nothing: {why}"), message)),
        }
    }

    /// Expects that a command is not answered although all messages were processed.
    pub(crate) async fn waits(&mut self, id: u64, why: &str) -> Play {
        self.is_quiet(why).await?;
        self.still_waits(id, why).await
    }

    pub(crate) async fn still_waits(&mut self, id: u64, why: &str) -> Play {
        if self.adapter.has_answered(id)? {
            let answer = self.adapter.answer(id).await?;
            return Err(CaseEnd::failed(
                format!("command {id} waits: {why}"),
                answer,
            ));
        }
        Ok(())
    }

    /// Expects that a request without waiting threads is cancelled, or that its grant is released when it comes.
    pub(crate) async fn settle_acquire(&mut self, session: &SessionId, request: Request) -> Play {
        let heard = self.settle().await?;
        let is_cancelled = |message: &ToStore| match message {
            ToStore::Cancel { request: own, .. } => *own == request,
            _ => false,
        };
        if heard.iter().any(is_cancelled) {
            return Ok(());
        }
        let grant = self.grant_for(session, request);
        self.peer.say(grant.full([])).await?;
        self.returned(&grant).await
    }

    /// Expects only keep-alives for the declared time.
    pub(crate) async fn silence(&mut self, ms: u64, why: &str) -> Play {
        match self.peer.hear_within(Duration::from_millis(ms)).await? {
            Heard::Nothing => Ok(()),
            other => Err(self.peer.failed(&format!("nothing: {why}"), other)),
        }
    }
}

fn stamp_of(value: &Value) -> Option<Stamp> {
    match value.as_array()?.as_slice() {
        [epoch, sequence] => Some(Stamp {
            epoch: epoch.as_u64()?,
            sequence: sequence.as_u64()?,
        }),
        _ => None,
    }
}
