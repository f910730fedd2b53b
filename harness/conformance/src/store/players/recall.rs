//! Recalls from the holder's point of view, and their deadlines as far as they are visible from outside.

use crate::end::{Play, holds};
use crate::store::{Grant, ScriptedProcess};
use std::time::Duration;
use tenure_protocol::message::{GrantRef, Reason, RecallInfo, Revocation};
use tenure_protocol::{SessionId, Time, ToProcess, ToStore, Token};
use tokio::time::Instant;

/// The rounding error of clocks with whole milliseconds on both sides.
const ROUNDING: Duration = Duration::from_millis(20);

/// The deadline of a grant according to a recall. Only the earliest and the latest time of its sending are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    earliest: Instant,
    latest: Instant,
    span: Duration,
}

impl Due {
    /// Returns the deadline of a recall that was received just now and was not sent before `since`.
    pub(crate) fn of(info: RecallInfo, since: Instant) -> Self {
        Self::after(info.deadline_ms, since)
    }

    /// Returns the deadline `span_ms` after an event between `since` and now.
    pub(crate) fn after(span_ms: u64, since: Instant) -> Self {
        let span = Duration::from_millis(span_ms);
        Self {
            earliest: since + span,
            latest: Instant::now() + span,
            span,
        }
    }

    /// Fails if the other deadline cannot be the same time.
    pub(crate) fn is_still(self, other: Self) -> Play {
        let is_later = other.earliest > self.latest + ROUNDING;
        let is_sooner = other.latest + ROUNDING < self.earliest;
        let moved = other
            .earliest
            .saturating_duration_since(self.latest)
            .max(self.earliest.saturating_duration_since(other.latest));
        holds(
            !is_later && !is_sooner,
            "the same deadline",
            format!("moved by {moved:?} at least"),
        )
    }

    /// Returns whether the other deadline is certainly later.
    pub(crate) fn is_before(self, other: Self) -> bool {
        other.earliest > self.latest + ROUNDING
    }

    /// Fails if the deadline cannot have passed yet.
    pub(crate) fn has_passed(self) -> Play {
        let left = self.earliest.saturating_duration_since(Instant::now());
        // The clocks of two machines run at different rates.
        let drift = self.span / 200;
        holds(
            left <= ROUNDING + drift,
            "nothing before the time that was named",
            format!("{left:?} sooner at least"),
        )
    }
}

impl ScriptedProcess {
    /// Sends a keep-alive, and returns the recalled grants in its answer.
    pub(crate) async fn recalls(&mut self) -> Play<Vec<(GrantRef, RecallInfo)>> {
        // Each call waits for the answer, so one number is enough.
        let asked = Time(2);
        self.say(ToStore::KeepAlive { sent: asked }).await?;
        self.expect("Alive", |message| match message {
            ToProcess::Alive { sent, recalls, .. } if *sent == asked => Some(recalls.clone()),
            _ => None,
        })
        .await
    }

    /// Returns the deadline of a recalled grant, as a keep-alive's answer states it.
    pub(crate) async fn due(&mut self, grant: &Grant) -> Play<Due> {
        let since = Instant::now();
        let recalls = self.recalls().await?;
        match recalls.iter().find(|(hold, _)| *hold == grant.hold()) {
            Some((_, info)) => Ok(Due::of(*info, since)),
            None => Err(self.failed("Alive with the recall", recalls)),
        }
    }

    /// Waits for a recall with a deadline.
    pub(crate) async fn recalled_for_good(&mut self, grant: &Grant) -> Play<RecallInfo> {
        self.expect("Recall, wait or operator", |message| match message {
            ToProcess::Recall { hold, info } if *hold == grant.hold() && info.reason.insists() => {
                Some(*info)
            }
            _ => None,
        })
        .await
    }

    /// Fails if the store recalls the grant. A recall for expiry does not count.
    pub(crate) async fn is_not_recalled(&mut self, grant: &Grant) -> Play {
        let own = grant.hold();
        let is_wanted =
            |hold: &GrantRef, info: &RecallInfo| *hold == own && info.reason != Reason::Expiry;
        let heard = self.settle().await?;
        let recall = heard.iter().find(|message| match message {
            ToProcess::Recall { hold, info } => is_wanted(hold, info),
            _ => false,
        });
        if let Some(recall) = recall {
            return Err(self.failed("no Recall of this grant", recall));
        }
        let mut recalls = self.recalls().await?;
        let told = grant.recall.map(|info| (own.clone(), info));
        recalls.extend(told);
        recalls.retain(|(hold, info)| is_wanted(hold, info));
        holds(recalls.is_empty(), "no recall of this grant", recalls)
    }

    /// Waits until a grant is revoked, and returns the reason.
    pub(crate) async fn revoked(
        &mut self,
        session: &SessionId,
        token: Token,
        after_ms: u64,
    ) -> Play<Revocation> {
        let expected = format!("Revoked of {token:?}");
        self.expect_after(&expected, after_ms, |message| match message {
            ToProcess::Revoked {
                session: own,
                token: revoked,
                why,
                ..
            } if own == session && *revoked == token => Some(*why),
            _ => None,
        })
        .await
    }

    /// Waits until that grant is revoked because its recall was not answered in time.
    pub(crate) async fn late(&mut self, grant: &Grant, after_ms: u64) -> Play {
        let why = self.revoked(&grant.session, grant.token, after_ms).await?;
        holds(
            why == Revocation::RecallDeadline,
            "Revoked, recall deadline",
            why,
        )
    }

    /// Waits until the store reports that this token is fenced.
    pub(crate) async fn fenced(&mut self, session: &SessionId, token: Token) -> Play {
        let why = self.revoked(session, token, 0).await?;
        holds(why == Revocation::Fenced, "Revoked, fenced", why)
    }
}
