//! For the operator: what is held by whom, who waits and for how long, and metrics. Over HTTP, on loopback unless told otherwise.
//!
//! It names sessions by their ids, never by what is in them.

use crate::connection::Service;
use crate::server::{Stop, Stopper};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tenure_protocol::store::Session;
use tenure_protocol::{SessionId, Time};
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
    /// Its id: as text if it is printable, else `hex:` and its bytes.
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
}

/// A session's id as people see it.
#[must_use]
pub fn show(id: &SessionId) -> String {
    let bytes = id.as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with("hex:") && text.chars().all(|c| c.is_ascii_graphic()) => {
            text.to_owned()
        }
        _ => {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
            format!("hex:{}", hex.collect::<String>())
        }
    }
}

/// Reads what [`show`] has written.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<SessionId, String> {
    let bytes = match text.strip_prefix("hex:") {
        Some(hex) => {
            let digits = hex.as_bytes();
            let pairs = digits.chunks(2).map(|pair| {
                let pair = std::str::from_utf8(pair).ok()?;
                u8::from_str_radix(pair, 16)
                    .ok()
                    .filter(|_| pair.len() == 2)
            });
            let bytes: Option<Vec<u8>> = pairs.collect();
            bytes.ok_or_else(|| format!("{text:?} is not hex: and pairs of hexadecimal digits"))?
        }
        None => text.as_bytes().to_vec(),
    };
    SessionId::new(bytes).map_err(|error| error.to_string())
}

pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>, stopper: Stopper) {
    let state = Admin { service, stopper };
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/sessions", get(sessions))
        .route("/sessions/{id}", get(session))
        .route("/sessions/{id}/recall", post(recall))
        .route("/drain", post(drain))
        .with_state(state);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin listener has ended");
    }
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
            admin.service.config.stall_ms
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
            sessions: 0,
            held: 0,
            waiting: 0,
            processes: Vec::new(),
        };
        for (_, session) in store.sessions() {
            status.sessions += 1;
            status.held += usize::from(session.holder().is_some());
            status.waiting += session.lock().waiting();
        }
        let peers = store.peers().map(|(process, peer)| ProcessStatus {
            process: process.to_string(),
            incarnation: peer.incarnation().0,
            is_connected: peer.link().is_some(),
            lease_ms: peer.lease().since(now),
            sessions: peer.sessions().len(),
        });
        status.processes = peers.collect();
        status
    });
    status.is_full = shard.is_full();
    status.connections = usize::try_from(admin.service.metrics.connections.get()).unwrap_or(0);
    Json(status)
}

async fn sessions(State(admin): Own, Query(which): Query<Which>) -> Json<Vec<SessionStatus>> {
    let limit = which.limit.unwrap_or(SESSIONS_MAX).min(SESSIONS_MAX);
    let wait_ms = admin.service.config.wait_ms;
    let found = admin.service.shard.look(|store, now| {
        let sessions = store.sessions();
        let sessions =
            sessions.filter(|(_, session)| !which.waiting || session.lock().waiting() > 0);
        let sessions = sessions.take(limit);
        sessions
            .map(|(id, session)| describe(id, session, now, wait_ms))
            .collect()
    });
    Json(found)
}

async fn session(State(admin): Own, Path(id): Path<String>) -> Response {
    let id = match parse(&id) {
        Ok(id) => id,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let wait_ms = admin.service.config.wait_ms;
    let look = |store: &tenure_protocol::Store, now| {
        let session = store.session(&id)?;
        Some(describe(&id, session, now, wait_ms))
    };
    match admin.service.shard.look(look) {
        Some(status) => Json(status).into_response(),
        None => not_here(),
    }
}

fn not_here() -> Response {
    let text = "not in memory: nobody holds this session or waits for it\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn recall(State(admin): Own, Path(id): Path<String>) -> Response {
    let id = match parse(&id) {
        Ok(id) => id,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let shard = &admin.service.shard;
    let is_held =
        shard.look(|store, _| store.session(&id).is_some_and(|own| own.holder().is_some()));
    if !is_held {
        return not_here();
    }
    shard.recall(&id);
    (StatusCode::ACCEPTED, "recalled\n").into_response()
}

/// Stops the store for good: what is held is recalled first.
async fn drain(State(admin): Own) -> Response {
    let held = admin.service.shard.held();
    tracing::info!(held, "told to drain, over the admin listener");
    admin.stopper.stop(Stop::Drain);
    let drains = Drains {
        held,
        stop_ms: admin.service.config.stop_ms,
    };
    (StatusCode::ACCEPTED, Json(drains)).into_response()
}

fn describe(id: &SessionId, session: &Session, now: Time, wait_ms: u64) -> SessionStatus {
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
        session: show(id),
        version: record.exists().then(|| record.head.version.to_string()),
        attributes,
        bytes,
        holder,
        waiters: waiters.collect(),
        expires_ms: record.head.expires.map(|expires| expires.since(now)),
    }
}
