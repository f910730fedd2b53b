//! A process whose connection was lost.

use crate::stop::{Play, holds};
use crate::store::player::Welcome;
use crate::store::{Grant, Player, Stage};
use tenure_protocol::message::{AcquireRequest, GrantRef, WaitMode};
use tenure_protocol::{Request, SessionId, Ticket};

/// A request that is said again.
pub(crate) fn acquire_request(
    session: &SessionId,
    request: Request,
    ticket: Option<Ticket>,
) -> AcquireRequest {
    AcquireRequest {
        session: session.clone(),
        request,
        known: None,
        wait_mode: WaitMode::Wait,
        ticket,
        existing: false,
    }
}

impl Player {
    /// Loses its connection, and says on the next one what it holds and waits for.
    pub(crate) async fn back(
        self,
        stage: &Stage,
        claims: Vec<GrantRef>,
        waits: Vec<AcquireRequest>,
    ) -> Play<(Self, Welcome)> {
        let mut next = self.again(stage).await?;
        self.cut();
        let welcome = next.enter_with(claims, waits).await?;
        Ok((next, welcome))
    }

    /// Loses its connection, and still has the grant on the next one.
    pub(crate) async fn back_with(self, stage: &Stage, grant: &Grant) -> Play<Self> {
        let (next, welcome) = self.back(stage, vec![grant.hold()], Vec::new()).await?;
        holds(
            welcome.holds == [grant.hold()],
            "the grant is known",
            &welcome,
        )?;
        Ok(next)
    }

    /// Loses its connection, and has the grant no more.
    pub(crate) async fn back_without(self, stage: &Stage, grant: &Grant) -> Play<Self> {
        let (next, welcome) = self.back(stage, vec![grant.hold()], Vec::new()).await?;
        holds(welcome.holds.is_empty(), "the grant is not known", &welcome)?;
        Ok(next)
    }
}
