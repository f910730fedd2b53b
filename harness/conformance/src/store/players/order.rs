//! Steps that check the order of messages, and that a message does not arrive. The chapters on grants, queues and ends
//! use them.
//!
//! A store processes the messages of one connection about one session in order, and promises no more than that. Both
//! checks therefore use a probe about that session which is always answered: a cancel of a request that was never made.

use crate::end::{CaseEnd, Play};
use crate::frames::encode;
use crate::store::grant::applied;
use crate::store::{Grant, Heard, ScriptedProcess};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;
use tenure_protocol::message::{AcquireRequest, Granted, Refusal, Revocation};
use tenure_protocol::{Delta, Request, SessionId, Ticket, ToProcess, ToStore};
use tenure_wire::{Fault, FaultCode, FromProcess};
use tokio::time::{Instant, sleep};

/// A request number that is never used: a process's first request is 1.
const NEVER: Request = Request(0);

impl ScriptedProcess {
    /// Waits until the store has processed all earlier messages on this connection about this session. Returns the
    /// messages received before.
    pub(crate) async fn settle_at(&mut self, session: &SessionId) -> Play<Vec<ToProcess>> {
        let (session, request) = (session.clone(), NEVER);
        let answer = ToProcess::Refused {
            session: session.clone(),
            request,
            why: Refusal::Cancelled,
        };
        self.say(ToStore::Cancel { session, request }).await?;
        let expected = "that the cancel of nothing is Refused";
        let until = Instant::now() + self.slack();
        let mut before = Vec::new();
        loop {
            let message = self.next(expected).await?;
            if message == answer {
                return Ok(before);
            }
            // A process whose lease has ended receives LeaseEnded for each message.
            let is_over = message.session().is_none() || Instant::now() > until;
            if is_over {
                return Err(self.failed(expected, message));
            }
            before.push(message);
        }
    }

    /// Fails if the store has sent anything about this session other than a queue place or a recall.
    pub(crate) async fn hears_nothing_of(&mut self, session: &SessionId, why: &str) -> Play {
        let heard = self.settle_at(session).await?;
        let is_news = |message: &&ToProcess| {
            let may_come = matches!(message, ToProcess::Queued { .. } | ToProcess::Recall { .. });
            message.session() == Some(session) && !may_come
        };
        match heard.iter().find(is_news) {
            None => Ok(()),
            Some(message) => Err(self.failed(&format!("nothing of {session}: {why}"), message)),
        }
    }

    /// Sends a request, and returns when it is queued.
    pub(crate) async fn waits_for(&mut self, session: &SessionId) -> Play<Request> {
        let request = self.ask(session).await?;
        self.hears_nothing_of(session, "it is held").await?;
        Ok(request)
    }

    /// Sends a try, and returns when it waits for the holder's answer.
    pub(crate) async fn tries(&mut self, session: &SessionId) -> Play<Request> {
        let request = self.try_for(session).await?;
        self.hears_nothing_of(session, "the holder has not answered")
            .await?;
        Ok(request)
    }

    /// Returns the last reported place in the queue. If the store sends no Queued, which is only a SHOULD, the case is
    /// skipped.
    pub(crate) async fn place(&mut self, session: &SessionId, request: Request) -> Play<Ticket> {
        let heard = self.settle_at(session).await?;
        let mut place = None;
        for message in heard {
            match message {
                ToProcess::Queued {
                    request: own,
                    ticket,
                    ..
                } if own == request => place = Some(ticket),
                ToProcess::Granted(_) | ToProcess::Refused { .. } => {
                    return Err(self.failed("Queued", message));
                }
                _ => {}
            }
        }
        place.ok_or_else(|| CaseEnd::Skipped("the store does not send Queued".to_owned()))
    }

    /// Sends a request, and expects its grant as the next message.
    pub(crate) async fn acquire_at_once(&mut self, session: &SessionId) -> Play<Grant> {
        let acquire = self.acquire_request(session);
        self.grant_at_once(acquire).await
    }

    /// Sends this request, and expects its grant as the next message.
    pub(crate) async fn grant_at_once(&mut self, acquire: AcquireRequest) -> Play<Grant> {
        let AcquireRequest {
            session, request, ..
        } = acquire.clone();
        self.say(ToStore::Acquire(acquire)).await?;
        let expected = format!("Granted to {request:?} for {session}, and nothing before it");
        match self.next(&expected).await? {
            ToProcess::Granted(Granted {
                session: own,
                request: answered,
                token,
                version,
                state,
                recall,
                give_back,
            }) if own == session && answered == request => Ok(Grant {
                session,
                request,
                token,
                version,
                attributes: applied(&BTreeMap::new(), &state),
                state,
                recall,
                give_back,
            }),
            other => Err(self.failed(&expected, other)),
        }
    }

    /// Repeats a request, or sends another one.
    pub(crate) async fn say_acquire(&mut self, acquire: &AcquireRequest) -> Play {
        self.say(ToStore::Acquire(acquire.clone())).await
    }

    pub(crate) async fn say_cancel(&mut self, session: &SessionId, request: Request) -> Play {
        let session = session.clone();
        self.say(ToStore::Cancel { session, request }).await
    }

    /// Releases a grant without changes.
    pub(crate) async fn give_back(&mut self, grant: &Grant) -> Play {
        self.release(grant, Delta::default()).await.map(drop)
    }

    /// Sends a commit that must be refused as too late.
    pub(crate) async fn is_fenced(&mut self, grant: &Grant, delta: Delta) -> Play {
        self.say_commit(grant, delta).await?;
        let hold = grant.hold();
        self.expect("Revoked, fenced", |message| match message {
            ToProcess::Revoked {
                session,
                token,
                why: Revocation::Fenced,
                ..
            } if *session == hold.session && *token == hold.token => Some(()),
            _ => None,
        })
        .await
    }

    /// Destroys the session.
    pub(crate) async fn ends_session(&mut self, grant: &Grant) -> Play {
        let hold = grant.hold();
        let (session, token) = (hold.session.clone(), hold.token);
        self.say(ToStore::Destroy { session, token }).await?;
        self.expect("Gone", |message| match message {
            ToProcess::Gone {
                session,
                token,
                renamed: None,
            } if *session == hold.session && *token == hold.token => Some(()),
            _ => None,
        })
        .await
    }

    /// Fails unless the store closes the connection without sending anything but a fault.
    pub(crate) async fn only_closed(&mut self, why: &str) -> Play<Option<Fault>> {
        let mut fault = None;
        loop {
            match self.hear(0).await? {
                Heard::Fault(own) if fault.is_none() => fault = Some(own),
                Heard::Closed => return Ok(fault),
                other => {
                    let expected = format!("nothing, and the connection is closed: {why}");
                    return Err(self.failed(&expected, other));
                }
            }
        }
    }

    /// Ends the connection with a fault, so that the store reads everything before it. Returns the messages received.
    pub(crate) async fn last_words(mut self) -> Play<Vec<ToProcess>> {
        let fault = Fault::new(FaultCode::ShuttingDown, "this player leaves");
        let bytes = encode(&FromProcess::Fault(fault))?;
        self.push(&bytes, "Fault: it leaves").await?;
        self.keeps_alive = false;
        let mut heard = Vec::new();
        loop {
            match self.hear(0).await? {
                Heard::Message(message) => heard.push(message),
                Heard::Fault(_) => {}
                // The rules do not require a store to close a connection that it ignores.
                Heard::Closed | Heard::Nothing => return Ok(heard),
                other => return Err(self.failed("messages", other)),
            }
        }
    }
}

/// Does something while these processes send keep-alives. Messages that they receive meanwhile are dropped.
pub(crate) async fn alive<T>(
    others: &mut [&mut ScriptedProcess],
    what: impl Future<Output = Play<T>>,
) -> Play<T> {
    let pulse = others.iter().map(|other| other.lease_ms / 4).min();
    let pulse = Duration::from_millis(pulse.unwrap_or(1_000));
    let keep_alive = async {
        loop {
            for other in &mut *others {
                other.settle().await?;
            }
            sleep(pulse).await;
        }
        #[allow(unreachable_code)] // This states the type with which the loop fails.
        Ok::<(), CaseEnd>(())
    };
    tokio::select! {
        biased;
        done = what => done,
        stop = keep_alive => Err(stop.err().unwrap_or_else(|| CaseEnd::fault("it ends by failing only"))),
    }
}
