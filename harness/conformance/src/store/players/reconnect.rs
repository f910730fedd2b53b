//! Steps of a process whose connection was lost.

use crate::end::{Play, holds};
use crate::store::scripted_process::Welcome;
use crate::store::{CaseContext, Grant, ScriptedProcess};
use tenure_protocol::message::{AcquireRequest, GrantRef, WaitMode};
use tenure_protocol::{Request, SessionId, Ticket};

/// Returns a request for repetition.
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

impl ScriptedProcess {
    /// Loses the connection, reconnects, and lists the given grants and requests.
    pub(crate) async fn back(
        self,
        ctx: &CaseContext,
        claims: Vec<GrantRef>,
        waits: Vec<AcquireRequest>,
    ) -> Play<(Self, Welcome)> {
        let mut next = self.again(ctx).await?;
        self.cut();
        let welcome = next.enter_with(claims, waits).await?;
        Ok((next, welcome))
    }

    /// Loses the connection, reconnects, and expects the grant to be known.
    pub(crate) async fn back_with(self, ctx: &CaseContext, grant: &Grant) -> Play<Self> {
        let (next, welcome) = self.back(ctx, vec![grant.hold()], Vec::new()).await?;
        holds(
            welcome.holds == [grant.hold()],
            "the grant is known",
            &welcome,
        )?;
        Ok(next)
    }

    /// Loses the connection, reconnects, and expects the grant not to be known.
    pub(crate) async fn back_without(self, ctx: &CaseContext, grant: &Grant) -> Play<Self> {
        let (next, welcome) = self.back(ctx, vec![grant.hold()], Vec::new()).await?;
        holds(welcome.holds.is_empty(), "the grant is not known", &welcome)?;
        Ok(next)
    }
}
