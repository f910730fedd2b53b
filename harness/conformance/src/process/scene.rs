//! The scene of most cases: a process and its scripted store, with the steps that most cases need.

use crate::end::{CaseEnd, Play, holds};
use crate::process::adapter::Adapter;
use crate::process::context::CaseContext;
use crate::process::scripted_store::{LEASE_MS, Listener, ScriptedStore};
use serde_json::{Map, Value, json};
use tenure_protocol::message::{AcquireRequest, GrantRef, Refusal};
use tenure_protocol::{Request, SessionId, Stamp, Ticket, ToProcess, ToStore, Token, Version};
use tenure_wire::Opening;

pub(crate) use crate::process::grant::{Grant, Locked, delta, session};
pub(crate) use tenure_protocol::message::{Commit, Release};

/// A process and its scripted store. See the [module](self).
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) ctx: CaseContext,
    pub(crate) listener: Listener,
    pub(crate) peer: ScriptedStore,
    pub(crate) adapter: Adapter,
    /// The settings of the library.
    settings: Map<String, Value>,
    /// The hello of the newest connection.
    pub(crate) opening: Opening,
    connecting: Option<u64>,
    stamps: u64,
    pub(crate) pings: u64,
}

impl CaseContext {
    /// Returns a process that has connected and is welcome.
    pub(crate) async fn scene(&self) -> Play<Scene> {
        self.scene_with(json!({}), LEASE_MS).await
    }

    /// As [`CaseContext::scene`], with settings, which the library may reject, and a lease time.
    pub(crate) async fn scene_with(&self, settings: Value, lease_ms: u64) -> Play<Scene> {
        let mut scene = Scene::silent(self, settings).await?;
        scene.peer.lease_ms = lease_ms;
        scene.enter().await?;
        Ok(scene)
    }
}

impl Scene {
    /// Skips the case if the library supports only version 1.0, which lacks the later additions.
    pub(crate) fn of_1_1(self) -> Play<Self> {
        match self.opening.minor_max {
            0 => Err(CaseEnd::Skipped(
                "the library supports only version 1.0".to_owned(),
            )),
            _ => Ok(self),
        }
    }

    /// Returns a process that has connected and sent its hello.
    pub(crate) async fn silent(ctx: &CaseContext, settings: Value) -> Play<Self> {
        let listener = Listener::bind(ctx.trace().clone(), ctx.slack()).await?;
        let mut adapter = ctx.adapter("adapter").await?;
        // Repeated messages would be legal, but a trace without them is easier to read.
        let mut all = json!({"resend_ms": 60_000, "keep_alive_ms": 1_000});
        if let (Some(all), Value::Object(settings)) = (all.as_object_mut(), settings) {
            all.extend(settings);
        }
        let connecting = adapter
            .begin("connect", connect(&listener, Some(7), all))
            .await?;
        Self::greeted(ctx, listener, adapter, connecting).await
    }

    /// As [`Scene::silent`], if the library chooses the incarnation.
    pub(crate) async fn unnumbered(ctx: &CaseContext) -> Play<Self> {
        let listener = Listener::bind(ctx.trace().clone(), ctx.slack()).await?;
        let mut adapter = ctx.adapter("adapter").await?;
        let connecting = adapter
            .begin("connect", connect(&listener, None, json!({})))
            .await?;
        Self::greeted(ctx, listener, adapter, connecting).await
    }

    async fn greeted(
        ctx: &CaseContext,
        mut listener: Listener,
        mut adapter: Adapter,
        connecting: u64,
    ) -> Play<Self> {
        let mut peer = listener.accept_from(&mut adapter, connecting).await?;
        let opening = peer.hello().await?;
        Ok(Self {
            ctx: ctx.clone(),
            listener,
            peer,
            adapter,
            settings: Map::new(),
            opening,
            connecting: Some(connecting),
            stamps: 100,
            pings: 0,
        })
    }

    // ---- the connection ---------------------------------------------------------------------------------------------

    /// Sends a Welcome to the process, which holds nothing.
    pub(crate) async fn enter(&mut self) -> Play {
        self.welcome(Vec::new(), Vec::new()).await?;
        self.connected().await
    }

    pub(crate) fn welcome_of(
        &self,
        holds: Vec<GrantRef>,
        gone: Vec<(GrantRef, Option<GrantRef>)>,
    ) -> ToProcess {
        ToProcess::Welcome {
            minor: self.peer.minor,
            sent: self.opening.sent,
            lease_ms: self.peer.lease_ms,
            holds,
            gone,
            limits: self.peer.limits,
        }
    }

    pub(crate) async fn welcome(
        &mut self,
        holds: Vec<GrantRef>,
        gone: Vec<(GrantRef, Option<GrantRef>)>,
    ) -> Play {
        let welcome = self.welcome_of(holds, gone);
        self.peer.say(welcome).await
    }

    /// Waits until the adapter reports that its process has connected.
    pub(crate) async fn connected(&mut self) -> Play {
        let Some(id) = self.connecting.take() else {
            return Ok(());
        };
        match self.adapter.answer(id).await? {
            Ok(ok) => {
                let settings = ok.get("settings").and_then(Value::as_object);
                self.settings = settings.cloned().unwrap_or_default();
                Ok(())
            }
            Err(refused) => Err(CaseEnd::failed("a process that connects", refused)),
        }
    }

    /// Returns a setting of the library. Skips the case if the setting is unknown or above `most`.
    pub(crate) fn setting(&self, what: &str, most: u64) -> Play<u64> {
        let own = self.settings.get(what).and_then(Value::as_u64);
        own.filter(|own| *own <= most).ok_or_else(|| {
            CaseEnd::Skipped(format!(
                "the library's {what} is {own:?}, and not {most} at most"
            ))
        })
    }

    /// Cuts the connection, and waits for the hello of the next one.
    pub(crate) async fn reconnect(&mut self) -> Play {
        self.peer.close().await;
        self.next_hello().await
    }

    /// As [`Scene::reconnect`], followed by a Welcome with all listed grants.
    pub(crate) async fn come_back(&mut self) -> Play {
        self.reconnect().await?;
        self.welcome(self.opening.holds.clone(), Vec::new()).await
    }

    /// Waits until the process reconnects by itself and still lists this grant.
    pub(crate) async fn come_back_by_itself(&mut self, grant: &Grant) -> Play {
        self.next_hello().await?;
        holds(
            self.opening.holds == [grant.hold()],
            "the grant",
            &self.opening,
        )?;
        self.welcome(vec![grant.hold()], Vec::new()).await?;
        self.is_quiet("nothing is unanswered").await
    }

    /// Waits for the hello of the next connection, which the process opens by itself.
    pub(crate) async fn next_hello(&mut self) -> Play {
        let mut peer = self.listener.accept().await?;
        peer.lease_ms = self.peer.lease_ms;
        peer.limits = self.peer.limits;
        peer.keeps_alive = self.peer.keeps_alive;
        self.opening = peer.hello().await?;
        self.peer = peer;
        Ok(())
    }

    // ---- the store --------------------------------------------------------------------------------------------------

    pub(crate) fn stamp(&mut self) -> Stamp {
        self.stamps += 1;
        Stamp {
            epoch: 1,
            sequence: self.stamps,
        }
    }

    pub(crate) fn version(&mut self) -> Version {
        Version(self.stamp())
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        Ticket(self.stamp())
    }

    /// Returns a grant that answers a request, with a new token. The caller sends it.
    pub(crate) fn grant_of(&mut self, acquire: &AcquireRequest) -> Grant {
        self.grant_for(&acquire.session, acquire.request)
    }

    pub(crate) fn grant_for(&mut self, session: &SessionId, request: Request) -> Grant {
        Grant {
            session: session.clone(),
            request,
            token: Token(self.stamp()),
            version: self.version(),
        }
    }

    /// Waits for a request for that session.
    pub(crate) async fn acquired(&mut self, session: &SessionId) -> Play<AcquireRequest> {
        let expected = format!("Acquire of {session}");
        match self.peer.next(&expected).await? {
            ToStore::Acquire(acquire) if acquire.session == *session => Ok(acquire),
            other => Err(self.peer.failed(&expected, other)),
        }
    }

    pub(crate) async fn released(&mut self, grant: &Grant) -> Play<Release> {
        self.released_after(grant, 0).await
    }

    /// Waits for the release of the grant.
    pub(crate) async fn released_after(&mut self, grant: &Grant, after_ms: u64) -> Play<Release> {
        let expected = format!("Release of {:?}", grant.hold());
        match self.peer.next_after(&expected, after_ms).await? {
            ToStore::Release(release)
                if release.session == grant.session && release.token == grant.token =>
            {
                Ok(release)
            }
            other => Err(self.peer.failed(&expected, other)),
        }
    }

    /// Waits for the release of a grant that the process has not used.
    pub(crate) async fn returned(&mut self, grant: &Grant) -> Play {
        let release = self.released(grant).await?;
        holds(
            release.delta.is_empty(),
            "a Release without changes",
            release,
        )
    }

    /// Waits for a commit under that grant.
    pub(crate) async fn committed(&mut self, grant: &Grant) -> Play<Commit> {
        let expected = format!("Commit under {:?}", grant.hold());
        match self.peer.next(&expected).await? {
            ToStore::Commit(commit)
                if commit.session == grant.session && commit.token == grant.token =>
            {
                Ok(commit)
            }
            other => Err(self.peer.failed(&expected, other)),
        }
    }

    /// Waits for a Busy. Returns the sessions that block the threads inside.
    pub(crate) async fn busy(&mut self, grant: &Grant) -> Play<Vec<SessionId>> {
        let expected = format!("Busy of {:?}", grant.hold());
        match self.peer.next(&expected).await? {
            ToStore::Busy {
                session,
                token,
                blocked_on,
                ..
            } if session == grant.session && token == grant.token => Ok(blocked_on),
            other => Err(self.peer.failed(&expected, other)),
        }
    }

    /// Sends a place in the queue for a request, and returns its ticket.
    pub(crate) async fn queue(&mut self, acquire: &AcquireRequest) -> Play<Ticket> {
        let ticket = self.ticket();
        let queued = ToProcess::Queued {
            session: acquire.session.clone(),
            request: acquire.request,
            ticket,
        };
        self.peer.say(queued).await?;
        Ok(ticket)
    }

    pub(crate) async fn refuse(&mut self, acquire: &AcquireRequest, why: Refusal) -> Play {
        self.peer
            .say(ToProcess::Refused {
                session: acquire.session.clone(),
                request: acquire.request,
                why,
            })
            .await
    }
}

fn connect(listener: &Listener, incarnation: Option<u64>, settings: Value) -> Value {
    json!({
        "store": listener.address.to_string(), "process": "p", "incarnation": incarnation,
        "settings": settings,
    })
}
