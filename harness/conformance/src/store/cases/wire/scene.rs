//! The scene for refused bytes: their sender holds a session, and another process must notice nothing.

use super::bytes::{hello, release, vector};
use crate::end::{CaseEnd, Play, holds};
use crate::store::{CaseContext, Grant, Heard, ScriptedProcess, set};
use tenure_protocol::ToProcess;
use tenure_wire::Fault;
use tokio::io::AsyncWriteExt;

/// The scene: `p` holds a session in which `a` is 1, and `q` is connected too.
pub(super) struct Scene {
    ctx: CaseContext,
    pub(super) p: ScriptedProcess,
    q: ScriptedProcess,
    pub(super) grant: Grant,
}

impl Scene {
    pub(super) async fn set(ctx: CaseContext) -> Play<Self> {
        let [mut p, q] = ctx.two().await?;
        let mut grant = p.acquire(&ctx.session("s")).await?;
        p.commit(&mut grant, set([("a", Some("1"))])).await?;
        Ok(Self { ctx, p, q, grant })
    }

    /// Sends refused bytes as `p`, followed by a release that must have no effect. Then `p` reconnects and still has
    /// its grant.
    pub(super) async fn refuses(&mut self, bytes: &[u8], why: &str) -> Play<Option<Fault>> {
        let behind = release(&self.grant, "behind");
        self.p.settle().await?;
        self.p.keeps_alive = false; // No keep-alive may come between the bytes.
        self.p.push(&[bytes, &behind].concat(), why).await?;
        let fault = ends(&mut self.p, why).await?;
        self.is_back().await?;
        Ok(fault)
    }

    /// Sends the beginning of a frame as `p`, and nothing more.
    pub(super) async fn breaks_off(&mut self, bytes: &[u8], why: &str) -> Play<Option<Fault>> {
        self.p.settle().await?;
        self.p.keeps_alive = false;
        self.p.push(bytes, why).await?;
        sends_no_more(&mut self.p).await?;
        let fault = ends(&mut self.p, why).await?;
        self.is_back().await?;
        Ok(fault)
    }

    /// Cuts the connection of `p`, as by the network, and reconnects.
    pub(super) async fn is_cut(&mut self) -> Play {
        let again = self.p.again(&self.ctx).await?;
        std::mem::replace(&mut self.p, again).cut();
        self.enters().await
    }

    /// Connects `p` again, and expects its grant unchanged.
    pub(super) async fn is_back(&mut self) -> Play {
        self.p = self.p.again(&self.ctx).await?;
        self.enters().await
    }

    async fn enters(&mut self) -> Play {
        let hold = self.grant.hold();
        let welcome = self.p.enter_with(vec![hold.clone()], vec![]).await?;
        holds(
            welcome.holds == [hold],
            "a Welcome that knows the grant, as before",
            &welcome,
        )?;
        self.q.is_quiet("`q` is not affected").await
    }

    /// Releases the session to `q`, and expects it unchanged.
    pub(super) async fn shows_unchanged(mut self) -> Play {
        let version = self.p.release(&self.grant, set([])).await?;
        holds(
            version == Some(self.grant.version),
            "the version that was there",
            version,
        )?;
        let next = self.q.acquire(&self.grant.session).await?;
        let is_so = next.text("a").as_deref() == Some("1") && next.attributes.len() == 1;
        holds(is_so, "a is 1, and nothing else", &next.attributes)
    }
}

/// Expects that each of these vectors is refused.
pub(super) async fn refused(ctx: CaseContext, names: &[&str]) -> Play {
    let mut scene = Scene::set(ctx).await?;
    for name in names {
        scene.refuses(&vector(name)?, name).await?;
    }
    scene.shows_unchanged().await
}

/// Sends a first frame that must be refused, and expects no effect on the connection on which the process is welcome.
///
/// Each call within a case needs another name `who`.
pub(super) async fn refused_first(
    ctx: &CaseContext,
    (who, why): (&str, &str),
    first: impl FnOnce(&ScriptedProcess, &Grant) -> Vec<u8>,
) -> Play {
    let mut p = ctx.player(who).await?;
    let mut grant = p.acquire(&ctx.session(who)).await?;
    let mut again = p.again(ctx).await?;
    // If this were accepted as a hello, it would end the grant, which it does not list.
    let behind = hello(&again, 0, &[]);
    let bytes = [first(&again, &grant), behind].concat();
    again.push(&bytes, why).await?;
    ends(&mut again, why).await?;
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

/// Waits for the end of the connection. Before it, only messages that a store may always send are allowed.
pub(in crate::store::cases) async fn ends(
    p: &mut ScriptedProcess,
    why: &str,
) -> Play<Option<Fault>> {
    use ToProcess::{Alive, Queued, Recall};
    let mut fault = None;
    loop {
        match p.hear(0).await? {
            Heard::Message(Alive { .. } | Queued { .. } | Recall { .. }) if fault.is_none() => {}
            Heard::Fault(own) if fault.is_none() => fault = Some(own),
            Heard::Closed => return Ok(fault),
            other => {
                let expected = format!("no answer, and the end of the connection: {why}");
                return Err(p.failed(&expected, other));
            }
        }
    }
}

/// Closes the sending direction of a process, which still receives.
pub(super) async fn sends_no_more(p: &mut ScriptedProcess) -> Play {
    p.stream.shutdown().await.map_err(CaseEnd::fault)
}
