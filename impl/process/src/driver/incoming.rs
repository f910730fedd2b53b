//! The receiving half of the driver: passes the store's messages to the locks, and reads in them what the driver needs.

use super::{Driver, SWEEP_SOON};
use crate::connection_state::ConnectionState;
use crate::error::ConnectError;
use crate::log::Log;
use crate::shared::{Identity, Phase};
use std::time::Duration;
use tenure_locks::ShortId;
use tenure_protocol::message::{Granted, RecallInfo, ToProcess};
use tenure_protocol::{Link, ProcessSettings};
use tenure_wire::{Fault, FaultCode, FromProcess, FromStore};
use tokio::time::Instant;
use tracing::{Level, debug, error, info, warn};

impl Driver {
    /// Takes all received items: passes messages to the locks, and handles faults and undecodable input.
    pub(super) fn take_messages(&mut self) {
        while let ConnectionState::Open(connection) = &mut self.connection {
            match (connection.next(), connection.link) {
                (Ok(None), _) => return,
                // r[wire.in-order]
                (Ok(Some(FromStore::Message(message))), Some(link)) => {
                    self.on_message(link, message);
                }
                (Ok(Some(FromStore::Fault(fault))), _) => self.on_fault(&fault),
                (Ok(Some(_)), None) => {
                    self.close("the store sent a message before the hello of this process")
                }
                (Err(error), _) => {
                    let fault = FromProcess::Fault(Fault::from(&error));
                    // A best-effort send: the connection is closed in any case.
                    // r[wire.fault]
                    let _ = connection.push(&fault).map(|()| connection.flush());
                    // r[wire.fault-last]
                    self.close(&format!("could not decode a frame from the store: {error}"));
                }
            }
        }
    }

    fn on_message(&mut self, link: Link, message: ToProcess) {
        self.log_message(&message);
        let mut welcomed = None;
        match &message {
            ToProcess::Welcome {
                lease_ms, limits, ..
            } => {
                if let (Some(store), ConnectionState::Open(connection)) =
                    (limits, &mut self.connection)
                {
                    // The store's limit for a session may be larger than this process's. The locks
                    // refuse only such sessions.
                    connection.set_limits(self.limits.and_of(store));
                }
                welcomed = Some(*lease_ms);
            }
            ToProcess::Granted(_) if self.cache.is_full(&self.shared.locks) => {
                self.sweep_at = self.sweep_at.min(Instant::now() + SWEEP_SOON);
            }
            ToProcess::LeaseEnded => self.verdict = Some("the store has ended the lease"),
            ToProcess::Full => {
                self.verdict = Some("the store already knows its maximum number of processes");
            }
            ToProcess::Superseded => {
                let (address, name) = (self.address(), self.shared.identity.name.to_string());
                self.shared.locks.message(link, message);
                return self.fail(Some(ConnectError::Superseded { address, name }));
            }
            _ => {}
        }
        self.shared.locks.message(link, message);
        if let Some(lease_ms) = welcomed {
            self.on_welcome(lease_ms);
        }
    }

    /// Logs a message that concerns one session.
    fn log_message(&self, message: &ToProcess) {
        match message {
            ToProcess::Granted(Granted { session, token, .. }) if Log::is_on(Level::DEBUG) => {
                let (session, token) = (session.clone(), *token);
                self.log.say(Level::DEBUG, move || {
                    debug!(session = %ShortId(&session), token = %token, "granted");
                });
            }
            ToProcess::Recall { hold, info } if Log::is_on(Level::DEBUG) => {
                let (session, info) = (hold.session.clone(), *info);
                let RecallInfo {
                    reason,
                    deadline_ms,
                } = info;
                self.log.say(Level::DEBUG, move || {
                    debug!(session = %ShortId(&session), ?reason, deadline_ms, "recalled");
                });
            }
            ToProcess::Revoked {
                session,
                why,
                limit,
                ..
            } => {
                let (session, why, limit) = (session.clone(), *why, *limit);
                self.log.say(Level::WARN, move || {
                    let session = ShortId(&session);
                    match limit {
                        None => warn!(%session, ?why, "the store revoked the grant"),
                        Some(limit) => warn!(
                            %session, ?limit,
                            "the store revoked the grant: a commit exceeds this limit of the store, and its writes \
                             are lost"
                        ),
                    }
                });
            }
            ToProcess::Released {
                session,
                limit: Some(limit),
                ..
            } => {
                let (session, limit) = (session.clone(), *limit);
                self.log.say(Level::WARN, move || {
                    warn!(
                        session = %ShortId(&session), ?limit,
                        "the session was released without its changes: they exceed this limit of the store, and are \
                         lost"
                    );
                });
            }
            _ => {}
        }
    }

    fn on_welcome(&mut self, lease_ms: u64) {
        let ProcessSettings {
            keep_alive_ms,
            margin_ms,
            ..
        } = self.settings;
        if lease_ms <= keep_alive_ms.saturating_add(margin_ms) {
            let failure = ConnectError::LeaseTooShort {
                address: self.address(),
                lease: Duration::from_millis(lease_ms),
                keep_alive: Duration::from_millis(keep_alive_ms),
                margin: Duration::from_millis(margin_ms),
            };
            if self.connect_by.is_some() {
                return self.fail(Some(failure));
            }
            let why = failure.to_string();
            self.note_error(&why);
            self.log.say(Level::ERROR, move || error!("{why}"));
        }
        let locks = &self.shared.locks;
        if locks.lease().is_none() {
            return; // The answer took longer than the lease. The locks have already requested a disconnect.
        }
        self.connect_by = None;
        let Identity { address, name, .. } = self.shared.identity.clone();
        self.log.say(
            Level::INFO,
            move || info!(%address, process = %name, lease_ms, "connected"),
        );
        self.shared.state.send_modify(|state| {
            state.phase = Phase::Connected;
            state.connections += 1;
        });
    }

    fn on_fault(&mut self, fault: &Fault) {
        let why = fault.to_string();
        let is_final = matches!(fault.code, FaultCode::Version | FaultCode::Forbidden);
        if is_final && self.connect_by.is_some() {
            let address = self.address();
            return self.fail(Some(ConnectError::Refused { address, why }));
        }
        self.close(&format!(
            "the store refused a frame and closes the connection: {why}"
        ));
    }
}
