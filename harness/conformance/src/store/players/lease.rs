//! Steps of a scripted process whose lease ends.

use crate::end::Play;
use crate::store::players::grant_of;
use crate::store::{CaseContext, Grant, ScriptedProcess};
use std::time::Duration;
use tenure_protocol::message::{GrantRef, Release};
use tenure_protocol::{Delta, SessionId, ToProcess, ToStore, Token, Version};
use tokio::time::Instant;

impl ScriptedProcess {
    /// Sends nothing that extends the lease until the lease has ended, while `others` keep theirs. Returns the messages
    /// received before the end.
    ///
    /// The process repeatedly releases a grant that it never had. Such a release is always answered, and with
    /// `LeaseEnded` once the lease has ended.
    pub(crate) async fn loses_lease(
        &mut self,
        ctx: &CaseContext,
        others: &mut [&mut Self],
    ) -> Play<Vec<ToProcess>> {
        self.loses_lease_saying(ctx, others, &[]).await
    }

    /// As [`ScriptedProcess::loses_lease`], while sending these messages again and again.
    pub(crate) async fn loses_lease_saying(
        &mut self,
        ctx: &CaseContext,
        others: &mut [&mut Self],
        traffic: &[ToStore],
    ) -> Play<Vec<ToProcess>> {
        ctx.may_wait("a lease", self.lease_ms)?;
        self.keeps_alive = false;
        let until = Instant::now() + Duration::from_millis(self.lease_ms) + ctx.target().slack();
        let mut before = Vec::new();
        loop {
            let is_late = Instant::now() > until;
            for message in traffic {
                self.say(message.clone()).await?;
            }
            if self.asks_whether_it_lives(ctx, &mut before).await? {
                return Ok(before);
            }
            if is_late {
                return Err(self.failed("LeaseEnded when nothing prolongs the lease", "it lives"));
            }
            for other in &mut *others {
                other.settle().await?;
            }
            tokio::time::sleep(Duration::from_millis((self.lease_ms / 20).min(100))).await;
        }
    }

    /// Returns whether the lease has ended.
    async fn asks_whether_it_lives(
        &mut self,
        ctx: &CaseContext,
        before: &mut Vec<ToProcess>,
    ) -> Play<bool> {
        let nothing = GrantRef {
            session: ctx.session("never-had"),
            token: Token::default(),
        };
        self.say(ToStore::Release(Release {
            session: nothing.session.clone(),
            token: nothing.token,
            base: Version::NONE,
            delta: Delta::default(),
            requeue: None,
            idle_ms: 0,
        }))
        .await?;
        loop {
            match self.next("Released or LeaseEnded").await? {
                ToProcess::LeaseEnded => return Ok(true),
                ToProcess::Released { session, .. } if session == nothing.session => {
                    return Ok(false);
                }
                other => before.push(other),
            }
        }
    }

    /// Tries again and again, for the given time plus the slack. A try does not recall a holder that is disconnected.
    pub(crate) async fn tries_until_granted(
        &mut self,
        session: &SessionId,
        after_ms: u64,
    ) -> Play<Grant> {
        let until = self.until(after_ms);
        loop {
            let is_late = Instant::now() > until;
            let request = self.try_for(session).await?;
            let message = self.next("Granted, or Refused").await?;
            if let Some(grant) = grant_of(&message).filter(|grant| grant.request == request) {
                return Ok(grant);
            }
            let is_refused =
                matches!(&message, ToProcess::Refused { request: own, .. } if *own == request);
            if is_late || !is_refused {
                return Err(self.failed("Granted when the lease has ended", message));
            }
            tokio::time::sleep(Duration::from_millis((self.lease_ms / 20).min(100))).await;
            self.settle().await?;
        }
    }

    /// Waits until the store reports the end of the lease.
    pub(crate) async fn lease_ended(&mut self, why: &str) -> Play {
        self.expect(&format!("LeaseEnded: {why}"), |message| {
            matches!(message, ToProcess::LeaseEnded).then_some(())
        })
        .await
    }
}
