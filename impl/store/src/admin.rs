//! The admin interface for the operator, over HTTP: holders, waiters and their waits, and metrics. The listener is on
//! loopback unless configured otherwise.
//!
//! Responses name sessions by their short ids, as the logs do. A session id grants access like a password, so a metrics
//! scraper must not see it. On loopback, whole ids are shown on request. The contents of a session are never shown.
//!
//! | module | task |
//! |---|---|
//! | `listen` | accepts connections, bounded in number, time and size |
//! | `origin` | rejects requests caused by foreign web pages |
//! | `ids` | parses and prints whole and short session ids |

mod ids;
mod listen;
mod origin;

use crate::config::millis;
use crate::connection::Service;
use crate::stop::{Stop, Stopper};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router, middleware};
use ids::{Name, Named};
pub use ids::{parse, short, show};
use listen::{Bounds, Peer};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tenure_protocol::id::ShortId;
use tenure_protocol::store::Session;
use tenure_protocol::{SessionId, StoreMachine, Time};
use tokio::net::TcpListener;

/// The most sessions in one response.
const SESSIONS_MAX: usize = 10_000;

/// The status of the store as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// The epoch of this start.
    pub epoch: u64,
    /// The number of open connections.
    pub connections: usize,
    /// Whether the disk is full, so that new work is refused.
    pub is_full: bool,
    /// The number of sessions in memory.
    pub sessions: usize,
    /// The number of sessions that a process holds.
    pub held: usize,
    /// The number of processes that wait for a session.
    pub waiting: usize,
    /// The processes that have a lease.
    pub processes: Vec<ProcessStatus>,
}

/// The status of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// The name of the process.
    pub process: String,
    /// The incarnation number of the process: each start of a process has a higher one.
    pub incarnation: u64,
    /// Whether the process has a connection.
    pub is_connected: bool,
    /// The remaining time of the process's lease, in milliseconds.
    pub lease_ms: u64,
    /// The number of sessions that the process holds or waits for.
    pub sessions: usize,
}

/// The status of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The session's short id, as in the logs. If ids are revealed, the whole id as [`show`] writes it.
    pub session: String,
    /// The version of the session's state, if the session exists.
    pub version: Option<String>,
    /// The number of the session's attributes.
    pub attributes: usize,
    /// The bytes of all attribute names and values.
    pub bytes: usize,
    /// The holder of the grant.
    pub holder: Option<HolderStatus>,
    /// The waiting processes, in queue order.
    pub waiters: Vec<WaiterStatus>,
    /// The remaining time to live if the session stays unused, in milliseconds.
    pub expires_ms: Option<u64>,
}

/// The holder of a session's grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderStatus {
    /// The name of the process.
    pub process: String,
    /// The fencing token.
    pub token: String,
    /// The reason of the recall, if the grant is recalled.
    pub recall: Option<String>,
    /// The time until the grant is revoked, in milliseconds, if it is recalled with a deadline.
    pub revoke_ms: Option<u64>,
    /// The number of threads inside the session when the process last reported that it is busy.
    pub inside: Option<u32>,
}

/// A process that waits for a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiterStatus {
    /// The name of the process.
    pub process: String,
    /// The time that the process has waited, in milliseconds.
    pub waited_ms: u64,
    /// The remaining time of the wait, in milliseconds.
    pub left_ms: u64,
}

/// The response to a drain request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drains {
    /// The number of held sessions, all of which are recalled.
    pub held: usize,
    /// The time after which the store stops at the latest, in milliseconds.
    pub stop_ms: u64,
}

/// The query parameters of a session list.
#[derive(Debug, Default, Deserialize)]
struct Which {
    /// Selects only sessions with waiters.
    #[serde(default)]
    waiting: bool,
    /// The most sessions to return.
    limit: Option<usize>,
    /// Whether whole ids are shown.
    #[serde(default)]
    reveal: bool,
}

/// The error response to a request: a status and a text.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

/// The permission to show whole ids.
#[derive(Clone, Copy, Debug)]
struct Reveal(bool);

impl Reveal {
    fn new(is_wanted: bool, peer: Peer) -> Result<Self, Refused> {
        if is_wanted && !peer.is_local() {
            let text =
                "whole ids are shown on loopback only: send this request from the store's machine";
            return Err(Refused(StatusCode::FORBIDDEN, text.to_owned()));
        }
        Ok(Self(is_wanted))
    }

    fn id(self, id: &SessionId) -> String {
        match self.0 {
            true => show(id),
            false => ShortId(id).to_string(),
        }
    }
}

pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>, stopper: Stopper) {
    let names: origin::Names = service.config.admin_names().map(str::to_owned).collect();
    let state = Admin { service, stopper };
    let guarded = Router::new()
        .route("/status", get(status))
        .route("/sessions", get(sessions))
        .route("/sessions/{id}", get(session))
        .route("/sessions/{id}/recall", post(recall))
        .route("/drain", post(drain))
        .layer(middleware::from_fn_with_state(names, origin::check));
    // These routes reveal no process or session and change nothing, so a scraper may use any host name.
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(guarded)
        .with_state(state);
    listen::serve(listener, router, Bounds::default()).await;
}

#[derive(Clone, Debug)]
struct Admin {
    service: Arc<Service>,
    stopper: Stopper,
}

type Own = State<Admin>;

async fn readyz(State(admin): Own) -> Response {
    if admin.stopper.how() > Stop::Run {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else if admin.service.shard.is_full() {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the disk is full: new work is refused until there is room\n",
        )
            .into_response()
    } else if admin.service.shard.failed.borrow().is_some() {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the storage engine has failed: the store is stopping\n",
        )
            .into_response()
    } else if let Some(waited) = admin.service.stalled() {
        let text = format!(
            "the disk does not answer: the oldest commit has waited {} ms, more than stall_ms = {}\n",
            waited.as_millis(),
            millis::of(admin.service.config.stall)
        );
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    } else {
        "ok\n".into_response()
    }
}

async fn metrics(State(admin): Own) -> Response {
    let kind = [(
        "content-type",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    let oldest = admin.service.shard.writer.oldest_wait();
    (kind, admin.service.metrics.text(oldest)).into_response()
}

async fn status(State(admin): Own) -> Json<StoreStatus> {
    let shard = &admin.service.shard;
    let mut status = shard.look(|store, now| {
        let mut status = StoreStatus {
            epoch: store.stamps().last().epoch,
            connections: 0,
            is_full: false,
            sessions: store.resident(),
            held: store.held(),
            waiting: store.waiting(),
            processes: Vec::new(),
        };
        let peers = store.peers().map(|(process, peer)| ProcessStatus {
            process: process.to_string(),
            incarnation: peer.incarnation().0,
            is_connected: peer.link().is_some(),
            lease_ms: peer.lease().since(now),
            sessions: peer.concerns(),
        });
        status.processes = peers.collect();
        status
    });
    status.is_full = shard.is_full();
    status.connections = usize::try_from(admin.service.metrics.connections.get()).unwrap_or(0);
    Json(status)
}

async fn sessions(
    State(admin): Own,
    Extension(peer): Extension<Peer>,
    Query(which): Query<Which>,
) -> Result<Json<Vec<SessionStatus>>, Refused> {
    let reveal = Reveal::new(which.reveal, peer)?;
    let limit = which.limit.unwrap_or(SESSIONS_MAX).min(SESSIONS_MAX);
    let wait_ms = millis::of(admin.service.config.wait);
    let found = admin.service.shard.look(|store, now| {
        let sessions = store.sessions();
        let sessions =
            sessions.filter(|(_, session)| !which.waiting || session.lock().waiting() > 0);
        let sessions = sessions.take(limit);
        sessions
            .map(|(id, session)| describe(reveal.id(id), session, now, wait_ms))
            .collect()
    });
    Ok(Json(found))
}

async fn session(
    State(admin): Own,
    Extension(peer): Extension<Peer>,
    Path(text): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<SessionStatus>, Refused> {
    let reveal = Reveal::new(which.reveal, peer)?;
    let name = Name::read(&text).map_err(unreadable)?;
    let wait_ms = millis::of(admin.service.config.wait);
    let look = |store: &StoreMachine, now| {
        let id = one(name.find(store), &text)?;
        let session = store
            .session(&id)
            .expect("the shard's mutex is held since the session was found");
        Ok(describe(reveal.id(&id), session, now, wait_ms))
    };
    admin.service.shard.look(look).map(Json)
}

fn unreadable(why: String) -> Refused {
    Refused(StatusCode::BAD_REQUEST, why)
}

/// Returns the session that the name denotes, or the error response if there is none or more than one.
fn one(named: Named, text: &str) -> Result<SessionId, Refused> {
    match named {
        Named::One(id) => Ok(id),
        Named::None => Err(not_here()),
        Named::Many(count) => {
            let why = format!(
                "{text} is the short id of {count} sessions in memory: use the whole id, which --reveal shows on \
                loopback"
            );
            Err(Refused(StatusCode::CONFLICT, why))
        }
    }
}

fn not_here() -> Refused {
    // `tenure ctl` tells this answer of a store from any other server's 404 by its first word.
    let text = "not in memory: no process holds this session or waits for it";
    Refused(StatusCode::NOT_FOUND, text.to_owned())
}

async fn recall(State(admin): Own, Path(text): Path<String>) -> Result<Response, Refused> {
    let name = Name::read(&text).map_err(unreadable)?;
    let shard = &admin.service.shard;
    let held = shard.look(|store, _| {
        let id = one(name.find(store), &text)?;
        let is_held = store.session(&id).is_some_and(|own| own.holder().is_some());
        if is_held { Ok(id) } else { Err(not_here()) }
    });
    // r[recall.operator]
    shard.recall(&held?);
    Ok((StatusCode::ACCEPTED, "recalled\n").into_response())
}

/// Stops the store after recalling all grants.
async fn drain(State(admin): Own) -> Response {
    let held = admin.service.shard.held();
    tracing::info!(held, "the admin listener received a request to drain");
    admin.stopper.stop(Stop::Drain);
    let drains = Drains {
        held,
        stop_ms: millis::of(admin.service.config.stop_limit),
    };
    (StatusCode::ACCEPTED, Json(drains)).into_response()
}

/// Returns the status of a session. `id` is the id in the form that may be shown.
fn describe(id: String, session: &Session, now: Time, wait_ms: u64) -> SessionStatus {
    let record = session.record();
    let values = record.attributes().iter();
    let values =
        values.filter_map(|own| Some((own.name.as_bytes().len(), own.value.as_ref()?.len())));
    let (attributes, bytes) = values.fold((0, 0), |(count, bytes), (name, value)| {
        (count + 1, bytes + name + value)
    });
    let recall = session.recall();
    let holder = record.head.holder.as_ref().map(|holder| HolderStatus {
        process: holder.process.to_string(),
        token: holder.token.to_string(),
        recall: recall.map(|recall| format!("{:?}", recall.reason).to_lowercase()),
        revoke_ms: recall
            .filter(|recall| recall.reason.insists())
            .map(|recall| recall.deadline.since(now)),
        inside: session.busy().map(|busy| busy.inside),
    });
    let waiters = session.lock().waiters().map(|place| WaiterStatus {
        process: place.process.to_string(),
        waited_ms: wait_ms.saturating_sub(place.until.since(now)),
        left_ms: place.until.since(now),
    });
    SessionStatus {
        session: id,
        version: record.exists().then(|| record.head.version.to_string()),
        attributes,
        bytes,
        holder,
        waiters: waiters.collect(),
        expires_ms: record.head.expires.map(|expires| expires.since(now)),
    }
}
