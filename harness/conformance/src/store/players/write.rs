//! Repeated commits and releases, and their results.

use crate::end::{Play, holds};
use crate::store::grant::applied;
use crate::store::{Grant, Heard, ScriptedProcess, set};
use std::collections::BTreeMap;
use std::time::Duration;
use tenure_protocol::attributes::Value;
use tenure_protocol::message::{Granted, Release};
use tenure_protocol::{
    AttributeName, Delta, Request, SessionId, Stamp, ToProcess, ToStore, Token, Version,
};
use tokio::time::{Instant, timeout};

/// Returns a version that a session does not have yet.
pub(crate) fn later(version: Version) -> Version {
    Version(Stamp {
        epoch: version.0.epoch + 1_000_000,
        sequence: 1,
    })
}

/// Returns attributes given as text.
pub(crate) fn state(all: &[(&str, &str)]) -> BTreeMap<AttributeName, Value> {
    let own = |(name, value): &(&str, &str)| {
        let name = AttributeName::new(name.to_string()).expect("short names");
        (name, Value::from(value.to_string()))
    };
    all.iter().map(own).collect()
}

/// Fails unless the session has exactly these attributes.
pub(crate) fn is_state(grant: &Grant, expected: &[(&str, &str)]) -> Play {
    holds(
        grant.attributes == state(expected),
        &format!("the state {expected:?}"),
        &grant.attributes,
    )
}

/// Returns the grant in a message to a process without client state of the session.
pub(crate) fn grant_of(message: &ToProcess) -> Option<Grant> {
    let ToProcess::Granted(Granted {
        session,
        request,
        token,
        version,
        state,
        recall,
        give_back,
    }) = message.clone()
    else {
        return None;
    };
    Some(Grant {
        session,
        request,
        token,
        version,
        attributes: applied(&BTreeMap::new(), &state),
        state,
        recall,
        give_back,
    })
}

impl ScriptedProcess {
    /// Fails unless the grant is current and the session has exactly these attributes. No other process may request the
    /// session meanwhile.
    pub(crate) async fn still_has(&mut self, mut grant: Grant, expected: &[(&str, &str)]) -> Play {
        self.commit(&mut grant, set([("still", Some("held"))]))
            .await?;
        let version = self.release(&grant, set([])).await?;
        holds(version.is_some(), "Released with a version", version)?;
        let again = self.acquire(&grant.session).await?;
        let all = [expected, &[("still", "held")]].concat();
        is_state(&again, &all)
    }

    /// Waits for the answer to a commit that is based on the grant's version.
    pub(crate) async fn committed(&mut self, grant: &Grant) -> Play<Version> {
        let expected = format!("Committed on {:?}", grant.version);
        self.expect(&expected, |message| match message {
            ToProcess::Committed {
                session,
                token,
                base,
                version,
            } if *session == grant.session && *token == grant.token && *base == grant.version => {
                Some(*version)
            }
            _ => None,
        })
        .await
    }

    /// Releases, and requests the session again in the same message.
    pub(crate) async fn requeue(&mut self, grant: &Grant, delta: Delta) -> Play<Request> {
        let request = self.acquire_request(&grant.session).request;
        self.say_release(grant, delta, Some(request)).await?;
        Ok(request)
    }

    /// Releases an unwanted grant.
    pub(crate) async fn release_of(
        &mut self,
        session: &SessionId,
        token: Token,
    ) -> Play<Option<Version>> {
        self.say(ToStore::Release(Release {
            session: session.clone(),
            token,
            base: Version::NONE,
            delta: Delta::default(),
            requeue: None,
            idle_ms: 0,
        }))
        .await?;
        self.released(session, token).await
    }

    /// Waits for a grant of a session that this process has released in that state. The store may send a delta to it.
    pub(crate) async fn granted_again(
        &mut self,
        session: &SessionId,
        request: Request,
        base: &[(&str, &str)],
    ) -> Play<Grant> {
        self.granted_from(session, request, &state(base), 0).await
    }

    /// Requests a free session, and expects the grant as the next message. If a dead holder had the session, a recall's
    /// deadline would eventually free it, so no other message may precede the grant.
    pub(crate) async fn acquire_free(&mut self, session: &SessionId) -> Play<Grant> {
        let request = self.ask(session).await?;
        let message = self.next("Granted, and nothing before").await?;
        match grant_of(&message).filter(|grant| grant.request == request) {
            Some(grant) => Ok(grant),
            None => Err(self.failed("Granted, and nothing before", message)),
        }
    }

    /// Waits for a grant that may take this long.
    pub(crate) async fn granted_after(
        &mut self,
        session: &SessionId,
        request: Request,
        after_ms: u64,
    ) -> Play<Grant> {
        self.granted_from(session, request, &BTreeMap::new(), after_ms)
            .await
    }

    /// Sends a destroy of the session.
    pub(crate) async fn say_destroy(&mut self, grant: &Grant) -> Play {
        self.say(ToStore::Destroy {
            session: grant.session.clone(),
            token: grant.token,
        })
        .await
    }

    /// Sends a rename of the session.
    pub(crate) async fn say_rename(&mut self, grant: &Grant, to: &SessionId) -> Play {
        self.say(ToStore::Rename {
            session: grant.session.clone(),
            token: grant.token,
            to: to.clone(),
        })
        .await
    }

    /// Waits until the session is gone. Returns its new grant, if it was renamed.
    pub(crate) async fn gone(
        &mut self,
        grant: &Grant,
    ) -> Play<Option<tenure_protocol::message::GrantRef>> {
        self.expect("Gone", |message| match message {
            ToProcess::Gone {
                session,
                token,
                renamed,
            } if *session == grant.session && *token == grant.token => Some(renamed.clone()),
            _ => None,
        })
        .await
    }

    /// Expects that messages on a replaced connection are not answered. Waits until the store has closed the
    /// connection, because nothing else shows that it has read them. Meanwhile `newer` keeps its lease.
    pub(crate) async fn is_ignored(&mut self, newer: &mut Self, slack: Duration) -> Play {
        const EVERY: Duration = Duration::from_millis(50);
        self.keeps_alive = false;
        let until = Instant::now() + slack;
        while Instant::now() < until {
            newer.settle().await?;
            match timeout(EVERY, self.hear(0)).await {
                Ok(Ok(Heard::Closed)) => return Ok(()),
                Ok(Ok(Heard::Fault(_))) | Err(_) => {}
                Ok(Ok(other)) => return Err(self.failed("nothing on an old connection", other)),
                Ok(Err(stop)) => return Err(stop),
            }
        }
        Ok(())
    }
}
