//! For the operator: what is held by whom, who waits and for how long, and metrics. Over HTTP, on loopback unless told otherwise.
//!
//! It names sessions by their short ids, as the logs do: an id is as good as a password, and a metrics scraper must not see
//! it. On loopback it shows whole ids when asked to. What is in a session it never shows.
//!
//! | module | what it does |
//! |---|---|
//! | `listen` | connections, bounded in number, time and size |
//! | `origin` | keeps web pages away |
//! | `ids` | whole and short ids |

mod ids;
mod listen;
mod origin;

use crate::config::millis;
use crate::connection::Service;
use crate::server::{Stop, Stopper};
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

/// Sessions in one answer, at most.
const SESSIONS_MAX: usize = 10_000;

/// The store as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// The epoch of this start.
    pub epoch: u64,
    /// Open connections.
    pub connections: usize,
    /// Whether the disk is full, and new work refused.
    pub is_full: bool,
    /// Sessions in memory.
    pub sessions: usize,
    /// Sessions that a process holds.
    pub held: usize,
    /// Processes that wait for a session.
    pub waiting: usize,
    /// The processes that have a lease.
    pub processes: Vec<ProcessStatus>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its name.
    pub process: String,
    /// Which start of it.
    pub incarnation: u64,
    /// Whether it has a connection.
    pub is_connected: bool,
    /// In how many milliseconds its lease ends.
    pub lease_ms: u64,
    /// Sessions that it holds or waits for.
    pub sessions: usize,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its short id, as in the logs. Where ids are revealed: its id, as [`show`] writes it.
    pub session: String,
    /// The version of its state, if it exists.
    pub version: Option<String>,
    /// How many attributes it has.
    pub attributes: usize,
    /// Bytes of their names and values.
    pub bytes: usize,
    /// Who has the grant.
    pub holder: Option<HolderStatus>,
    /// Who waits, in order.
    pub waiters: Vec<WaiterStatus>,
    /// In how many milliseconds it ends unless it is used.
    pub expires_ms: Option<u64>,
}

/// Who has a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderStatus {
    /// Which process.
    pub process: String,
    /// The fencing token.
    pub token: String,
    /// Why it is recalled, if it is.
    pub recall: Option<String>,
    /// In how many milliseconds the grant is revoked, if it is recalled.
    pub revoke_ms: Option<u64>,
    /// How many threads were inside when it last said that it is busy.
    pub inside: Option<u32>,
}

/// Who waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiterStatus {
    /// Which process.
    pub process: String,
    /// For how many milliseconds it has waited.
    pub waited_ms: u64,
    /// In how many milliseconds its wait ends.
    pub left_ms: u64,
}

/// The answer to a request to drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drains {
    /// How many sessions are held, and recalled.
    pub held: usize,
    /// After how many milliseconds the store ends at the latest.
    pub stop_ms: u64,
}

/// Which sessions.
#[derive(Debug, Default, Deserialize)]
struct Which {
    /// Only those that somebody waits for.
    #[serde(default)]
    waiting: bool,
    /// At most so many.
    limit: Option<usize>,
    /// Whether ids are shown whole.
    #[serde(default)]
    reveal: bool,
}

/// Why a request has no answer: a status, and the text.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

/// Whether ids are shown whole, once it is known that they may be.
#[derive(Clone, Copy, Debug)]
struct Reveal(bool);

impl Reveal {
    fn new(is_wanted: bool, peer: Peer) -> Result<Self, Refused> {
        if is_wanted && !peer.is_local() {
            let text = "whole ids are shown on loopback alone: ask on the machine of the store";
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
    // These name neither a process nor a session and change nothing: a scraper may use whatever name it has.
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
        (StatusCode::SERVICE_UNAVAILABLE, "the disk is full\n").into_response()
    } else if admin.service.shard.failed.borrow().is_some() {
        (StatusCode::SERVICE_UNAVAILABLE, "the engine has failed\n").into_response()
    } else if let Some(waited) = admin.service.stalled() {
        let text = format!(
            "the disk does not answer: the oldest commit has waited {} ms, more than stall_ms, {}\n",
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
        let session = store.session(&id).expect("found under the same lock");
        Ok(describe(reveal.id(&id), session, now, wait_ms))
    };
    admin.service.shard.look(look).map(Json)
}

fn unreadable(why: String) -> Refused {
    Refused(StatusCode::BAD_REQUEST, why)
}

/// The one session that has a name.
fn one(named: Named, text: &str) -> Result<SessionId, Refused> {
    match named {
        Named::One(id) => Ok(id),
        Named::None => Err(not_here()),
        Named::Many(count) => {
            let why = format!(
                "{text} is the short id of {count} sessions in memory: name one by its whole id, which --reveal shows on loopback"
            );
            Err(Refused(StatusCode::CONFLICT, why))
        }
    }
}

fn not_here() -> Refused {
    let text = "not in memory: nobody holds this session or waits for it";
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

/// Stops the store for good: what is held is recalled first.
async fn drain(State(admin): Own) -> Response {
    let held = admin.service.shard.held();
    tracing::info!(held, "told to drain, over the admin listener");
    admin.stopper.stop(Stop::Drain);
    let drains = Drains {
        held,
        stop_ms: millis::of(admin.service.config.stop_limit),
    };
    (StatusCode::ACCEPTED, Json(drains)).into_response()
}

/// `id`: the session's id, as it may be shown.
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
