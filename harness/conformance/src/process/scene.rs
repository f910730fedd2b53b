//! A process and its store, with the words that most cases need.

use crate::end::{CaseEnd, Play, holds};
use crate::process::adapter::Adapter;
use crate::process::context::CaseContext;
use crate::process::scripted_store::{Listener, ScriptedStore};
use serde_json::{Map, Value, json};
use tenure_protocol::message::{AcquireRequest, GrantRef, Refusal};
use tenure_protocol::{Request, SessionId, Stamp, Ticket, ToProcess, ToStore, Token, Version};
use tenure_wire::Opening;

pub(crate) use crate::process::grant::{Commit, Grant, Locked, Release, delta, session};

/// A recall of a scripted store leaves so much time, unless a case says otherwise.
pub(crate) const RECALL_MS: u64 = 120_000;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) ctx: CaseContext,
    pub(crate) listener: Listener,
    pub(crate) peer: ScriptedStore,
    pub(crate) adapter: Adapter,
    /// As the library has them.
    settings: Map<String, Value>,
    /// The hello of the newest connection.
    pub(crate) opening: Opening,
    connecting: Option<u64>,
    stamps: u64,
    pub(crate) pings: u64,
}

impl Scene {
    /// Skips the case when the library speaks version 1.0: it knows nothing of what was added since.
    pub(crate) fn of_1_1(self) -> Play<Self> {
        match self.opening.minor_max {
            0 => Err(CaseEnd::Skipped(
                "the library speaks version 1.0".to_owned(),
            )),
            _ => Ok(self),
        }
    }

    /// A process that connects, and has said hello.
    pub(crate) async fn silent(ctx: &CaseContext, settings: Value) -> Play<Self> {
        let listener = Listener::bind(ctx).await?;
        let mut adapter = ctx.adapter("adapter").await?;
        // Repetitions would be legal; without them a trace is easier to read.
        let mut all = json!({"resend_ms": 60_000, "keep_alive_ms": 1_000});
        if let (Some(all), Value::Object(settings)) = (all.as_object_mut(), settings) {
            all.extend(settings);
        }
        let connecting = adapter
            .begin("connect", connect(&listener, Some(7), all))
            .await?;
        Self::greeted(ctx, listener, adapter, connecting).await
    }

    /// As [`Scene::silent`], when the library chooses the incarnation.
    pub(crate) async fn unnumbered(ctx: &CaseContext) -> Play<Self> {
        let listener = Listener::bind(ctx).await?;
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

    /// Welcomes the process, which holds nothing.
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

    /// The adapter says that its process has connected.
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

    /// A setting as the library has it; skips the case when it does not say, or when it is more than `most`.
    pub(crate) fn setting(&self, what: &str, most: u64) -> Play<u64> {
        let own = self.settings.get(what).and_then(Value::as_u64);
        own.filter(|own| *own <= most).ok_or_else(|| {
            CaseEnd::Skipped(format!(
                "the library's {what} is {own:?}, and not {most} at most"
            ))
        })
    }

    /// Cuts the connection, and hears the hello of the next.
    pub(crate) async fn reconnect(&mut self) -> Play {
        self.peer.close().await;
        self.next_hello().await
    }

    /// As [`Scene::reconnect`], and welcomes it with all that it holds.
    pub(crate) async fn come_back(&mut self) -> Play {
        self.reconnect().await?;
        self.welcome(self.opening.holds.clone(), Vec::new()).await
    }

    /// The process connects again by itself and has kept this grant.
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

    /// The hello of the next connection, which the process makes by itself.
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

    /// A grant that answers a request, with a new token, which is still to be said.
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

    /// The store hears a request for that session.
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

    /// The store hears that the grant is given back.
    pub(crate) async fn released_after(&mut self, grant: &Grant, after_ms: u64) -> Play<Release> {
        let expected = format!("Release of {:?}", grant.hold());
        match self.peer.next_after(&expected, after_ms).await? {
            ToStore::Release {
                session,
                token,
                base,
                delta,
                requeue,
                idle_ms,
            } if session == grant.session && token == grant.token => Ok(Release {
                session,
                token,
                base,
                delta,
                requeue,
                idle_ms,
            }),
            other => Err(self.peer.failed(&expected, other)),
        }
    }

    /// It hears that a grant comes back that the process has not used.
    pub(crate) async fn returned(&mut self, grant: &Grant) -> Play {
        let release = self.released(grant).await?;
        holds(
            release.delta.is_empty(),
            "a Release without changes",
            release,
        )
    }

    /// The store hears a commit under that grant.
    pub(crate) async fn committed(&mut self, grant: &Grant) -> Play<Commit> {
        let expected = format!("Commit under {:?}", grant.hold());
        match self.peer.next(&expected).await? {
            ToStore::Commit {
                session,
                token,
                base,
                delta,
            } if session == grant.session && token == grant.token => {
                Ok(Commit { token, base, delta })
            }
            other => Err(self.peer.failed(&expected, other)),
        }
    }

    /// It hears that threads are inside; answers what blocks them.
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

    /// Says that a request has a place in the queue, and returns its ticket.
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
