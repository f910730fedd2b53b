//! Names the rule that a store has violated, from the messages that its machine owed and the observed message. The
//! machine decides that the message is wrong, and this module only names the rule.

use super::store_hypothesis::Explained;
use crate::store::oracle::Connection;
use crate::store::oracle::hypothesis::{Hypothesis, Owed, What};
use crate::store::oracle::ledger::Attributes;
use crate::store::oracle::names::Kind;
use std::collections::BTreeSet;
use tenure_protocol::message::{Granted, Refusal, Revocation};
use tenure_protocol::store::Timer;
use tenure_protocol::{ProcessId, Request, SessionId, ToProcess, Version};

/// Returns the rule that a store violates by firing this timer too early.
pub(super) fn too_early(timer: &Timer) -> Option<&'static str> {
    match timer {
        Timer::Lease(_) => Some("lease.whole"),
        Timer::Revoke(_) => Some("recall.not-early"),
        Timer::Expire(_) => Some("expiry.not-early"),
        Timer::Wait(..) | Timer::Remind(_) => None,
    }
}

/// Returns the first overdue message.
pub(super) fn overdue(
    hypothesis: &Hypothesis,
    is_late: impl Fn(u64) -> bool,
) -> Option<(&Connection, &Owed)> {
    let late = hypothesis.owed.iter().filter_map(|(connection, all)| {
        // No rule requires a time for the end of a connection.
        let mut all = all.iter().filter(|own| own.what != What::Closed);
        let first = all.find(|own| !own.may_be_missing())?;
        is_late(first.since).then_some((connection, first))
    });
    // An acting process is answered before others are granted sessions as a result.
    let is_grant = |own: &Owed| matches!(own.what, What::Said(ToProcess::Granted(_)));
    late.min_by_key(|(_, own)| (own.since, is_grant(own)))
}

/// Returns the rule that requires a missing message. `queued` lists the requests whose place in the queue was sent.
pub(super) fn missing(
    queued: &BTreeSet<(ProcessId, SessionId, Request)>,
    own: &Explained,
    connection: &Connection,
    owed: &Owed,
) -> &'static str {
    let What::Said(message) = &owed.what else {
        return "connect.closes-replaced";
    };
    match message {
        ToProcess::Welcome { .. } => "connect.answers-hello",
        ToProcess::Alive { .. } => "lease.alive",
        ToProcess::Granted(Granted {
            session,
            request,
            token,
            ..
        }) => {
            let key = (connection.process.clone(), session.clone(), *request);
            if own
                .hypothesis
                .names
                .theirs(Kind::Token, session, token.0)
                .is_some()
            {
                "grant.same-again"
            } else if queued.contains(&key) {
                "queue.passes-by"
            } else {
                "grant.at-once"
            }
        }
        ToProcess::Queued { .. } => "queue.told",
        ToProcess::Recall { .. } => "recall.asks",
        ToProcess::Committed { .. } => "commit.answered",
        ToProcess::Released {
            version: Some(_), ..
        } => "release.answered",
        ToProcess::Released { version: None, .. } => "release.old",
        ToProcess::Revoked {
            why: Revocation::RecallDeadline,
            ..
        } => "recall.revokes",
        ToProcess::Revoked {
            why: Revocation::Fenced,
            ..
        } => "fence.commit",
        ToProcess::Refused { why, .. } => match why {
            Refusal::Cancelled => "end.cancelled",
            Refusal::Gone => "destroy.waiters",
            Refusal::Deadlock { .. } => "deadlock.found",
            Refusal::WouldBlock => "try.refused-otherwise",
            _ => "end.answered",
        },
        ToProcess::NotRenamed { .. } => "rename.taken",
        ToProcess::Gone {
            renamed: Some(_), ..
        } => "rename.moves",
        ToProcess::Gone { renamed: None, .. } => "destroy.answered",
        ToProcess::LeaseEnded => "lease.told",
        ToProcess::Superseded => "connect.superseded",
        ToProcess::Full => "limit.processes",
    }
}

/// Returns the rule that a message violates if the machine does not allow it. `existed` states whether its session was
/// ever written.
pub(super) fn wrong(
    own: &Explained,
    connection: &Connection,
    message: &ToProcess,
    results: &[Attributes],
    existed: bool,
) -> &'static str {
    let look = Look {
        hypothesis: &own.hypothesis,
        connection,
        message,
        results,
        existed,
    };
    if look.is_replaced() && !matches!(message, ToProcess::Superseded) {
        return match message {
            ToProcess::Welcome { .. } => "connect.late-hello",
            _ => "connect.old-connection",
        };
    }
    match message {
        ToProcess::Welcome { .. } => look.welcome(),
        ToProcess::Alive { .. } => look.alive(),
        ToProcess::Granted(Granted { session, .. }) => look.granted(session),
        ToProcess::Queued { session, .. } => look.queued(session),
        ToProcess::Recall { hold, .. } => look.recall(&hold.session),
        ToProcess::Committed { session, .. } => look.committed(session),
        ToProcess::Released {
            session, version, ..
        } => look.released(session, *version),
        ToProcess::Revoked { session, why, .. } => look.revoked(session, *why),
        ToProcess::Refused {
            session,
            request,
            why,
        } => look.refused(session, *request, why),
        ToProcess::NotRenamed { .. } => "rename.moves",
        ToProcess::Gone {
            session, renamed, ..
        } => look.gone(session, renamed.is_some()),
        ToProcess::LeaseEnded => "lease.whole",
        ToProcess::Superseded => "connect.superseded",
        ToProcess::Full => "limit.processes",
    }
}

/// The observed message and the machine.
struct Look<'a> {
    hypothesis: &'a Hypothesis,
    connection: &'a Connection,
    message: &'a ToProcess,
    results: &'a [Attributes],
    /// Whether the session was ever written.
    existed: bool,
}

impl<'a> Look<'a> {
    /// Returns whether the process has a newer connection.
    fn is_replaced(&self) -> bool {
        let peer = self.hypothesis.store.peer(&self.connection.process);
        let newest = peer.and_then(|peer| peer.link());
        newest.is_some_and(|newest| newest > self.connection.link)
    }

    fn owed(&self) -> impl Iterator<Item = &'a Owed> + use<'a> {
        self.hypothesis
            .owed
            .get(self.connection)
            .into_iter()
            .flatten()
    }

    /// Returns the first message owed about the session for which `is_it` returns a value.
    fn owed_of<T>(
        &self,
        session: &SessionId,
        is_it: impl Fn(&'a ToProcess) -> Option<T>,
    ) -> Option<T> {
        let of_it = self.owed().filter(|owed| owed.session() == Some(session));
        let mut said = of_it.filter_map(|owed| match &owed.what {
            What::Said(message) => is_it(message),
            What::Closed => None,
        });
        said.next()
    }

    fn holder(&self, session: &SessionId) -> Option<&'a tenure_protocol::attributes::Holder> {
        let own = self.hypothesis.store.session(session)?;
        own.record().head.holder.as_ref()
    }

    fn is_held(&self, session: &SessionId) -> bool {
        let holder = self.holder(session);
        holder.is_some_and(|holder| holder.process == self.connection.process)
    }

    fn waits(&self, session: &SessionId) -> bool {
        let own = self.hypothesis.store.session(session);
        let mut waiters = own.into_iter().flat_map(|own| own.lock().waiters());
        waiters.any(|place| place.process == self.connection.process)
    }

    fn welcome(&self) -> &'static str {
        let owed = self.owed().find_map(|owed| match &owed.what {
            What::Said(message) => Some(message),
            What::Closed => None,
        });
        let (
            Some(ToProcess::Welcome { sent, holds, .. }),
            ToProcess::Welcome {
                sent: theirs,
                holds: told,
                ..
            },
        ) = (owed, self.message)
        else {
            return match owed {
                Some(ToProcess::Superseded) => "connect.superseded",
                Some(ToProcess::Full) => "limit.processes",
                _ => "connect.late-hello",
            };
        };
        let sessions = |holds: &[tenure_protocol::message::GrantRef]| {
            let mut all: Vec<_> = holds.iter().map(|hold| hold.session.clone()).collect();
            all.sort();
            all
        };
        if sent != theirs {
            "lease.echo"
        } else if holds.len() != told.len() || sessions(holds) != sessions(told) {
            "reconnect.known"
        } else {
            "reconnect.ended"
        }
    }

    fn alive(&self) -> &'static str {
        let ToProcess::Alive { sent, recalls, .. } = self.message else {
            return "lease.echo";
        };
        let mut owed = self.owed().filter_map(|owed| match &owed.what {
            What::Said(ToProcess::Alive { sent, recalls, .. }) => Some((sent, recalls)),
            _ => None,
        });
        match owed.next() {
            Some((own, _)) if own != sent => "lease.echo",
            Some((_, own)) if own.len() > recalls.len() => "recall.repeated",
            Some(_) => "recall.ends-with-grant",
            None => "lease.echo",
        }
    }

    fn granted(&self, session: &SessionId) -> &'static str {
        let ToProcess::Granted(Granted {
            request,
            token,
            version,
            recall,
            ..
        }) = self.message
        else {
            return "grant.names-request";
        };
        let owed = self.owed().find_map(|owed| match &owed.what {
            What::Said(ToProcess::Granted(Granted {
                session: own,
                request,
                token,
                version,
                recall,
                ..
            })) if own == session => Some((owed, request, token, version, recall)),
            _ => None,
        });
        let Some((owed, own_request, own_token, own_version, own_recall)) = owed else {
            return self.granted_unasked(session);
        };
        let names = &self.hypothesis.names;
        let known = names.theirs(Kind::Token, session, own_token.0);
        let is_new = *own_version == Version::NONE;
        if own_request != request {
            "grant.names-request"
        } else if known.is_some_and(|known| known != token.0) {
            "grant.same-again"
        } else if known.is_none()
            && !names
                .clone()
                .meet(Kind::Token, session, (own_token.0, token.0), |_| true)
        {
            "grant.token-rises"
        } else if is_new && (version != own_version || !self.results.contains(&owed.attributes)) {
            // The state belongs to an ended life, or was never written.
            if self.existed {
                "destroy.stays"
            } else {
                "grant.new-session"
            }
        } else if !self.results.contains(&owed.attributes) {
            "grant.state"
        } else if recall.is_some() && own_recall.is_none() {
            "recall.not-without-reason"
        } else {
            "grant.state"
        }
    }

    fn granted_unasked(&self, session: &SessionId) -> &'static str {
        let Some(holder) = self.holder(session) else {
            return if self.waits(session) {
                "queue.fifo-connected"
            } else {
                "end.once"
            };
        };
        if holder.process == self.connection.process {
            return "end.once";
        }
        // Whether the new holder has received its grant.
        let is_untold = self.hypothesis.owed.iter().any(|(connection, all)| {
            connection.process == holder.process
                && all.iter().any(|owed| {
                    matches!(&owed.what, What::Said(ToProcess::Granted(Granted { session: own, .. })) if own == session)
                })
        });
        if is_untold && self.waits(session) {
            "queue.fifo-connected"
        } else {
            "grant.exclusive"
        }
    }

    fn queued(&self, session: &SessionId) -> &'static str {
        let owed = self.owed_of(session, |message| Some(message.clone()));
        match owed {
            Some(ToProcess::Granted(_)) => "grant.at-once",
            Some(ToProcess::Queued { ticket, .. }) => {
                let known = self
                    .hypothesis
                    .names
                    .theirs(Kind::Ticket, session, ticket.0);
                if known.is_some() {
                    "queue.same-ticket"
                } else {
                    "queue.tickets-rise"
                }
            }
            _ if self.waits(session) => "queue.same-ticket",
            _ => "end.once",
        }
    }

    fn recall(&self, session: &SessionId) -> &'static str {
        let recall = self
            .hypothesis
            .store
            .session(session)
            .and_then(|own| own.recall());
        if self.is_held(session) && recall.is_none() {
            "recall.not-without-reason"
        } else {
            "recall.ends-with-grant"
        }
    }

    fn committed(&self, session: &SessionId) -> &'static str {
        let is_fenced =
            |message: &ToProcess| matches!(message, ToProcess::Revoked { .. }).then_some(());
        let base = self.owed_of(session, |message| match message {
            ToProcess::Committed { base, version, .. } => Some((*base, *version)),
            _ => None,
        });
        match base {
            _ if self.owed_of(session, is_fenced).is_some() => "fence.commit",
            Some((base, version))
                if self
                    .hypothesis
                    .names
                    .theirs(Kind::Version, session, version.0)
                    .is_some()
                    && base != version =>
            {
                "commit.repeated"
            }
            _ => "commit.answered",
        }
    }

    fn released(&self, session: &SessionId, version: Option<Version>) -> &'static str {
        let owed = self.owed_of(session, |message| match message {
            ToProcess::Released { version, .. } => Some(*version),
            _ => None,
        });
        match (owed, version) {
            (Some(None), Some(_)) => "release.old",
            _ => "release.answered",
        }
    }

    fn revoked(&self, session: &SessionId, why: Revocation) -> &'static str {
        let recall = self
            .hypothesis
            .store
            .session(session)
            .and_then(|own| own.recall());
        match (why, recall) {
            (Revocation::Fenced, _) => "fence.commit",
            (_, Some(recall)) if !recall.reason.insists() => "recall.mild",
            _ if self.hypothesis.store.is_recalled_for_nobody(session) => "recall.for-nobody",
            _ => "recall.not-early",
        }
    }

    fn refused(&self, session: &SessionId, request: Request, why: &Refusal) -> &'static str {
        let owed = self.owed_of(session, |message| match message {
            ToProcess::Refused {
                request: own, why, ..
            } if *own == request => Some(why.clone()),
            _ => None,
        });
        match (why, owed) {
            (Refusal::Deadlock { .. }, _) => "deadlock.true",
            (_, Some(Refusal::Deadlock { .. })) => "deadlock.found",
            (_, Some(Refusal::Cancelled)) => "end.cancelled",
            (_, Some(Refusal::Gone)) => "destroy.waiters",
            (Refusal::WouldBlock, _) if self.waits(session) => "try.recalls",
            (Refusal::Deadline, _) if self.waits(session) => "end.answered",
            _ => "end.once",
        }
    }

    fn gone(&self, session: &SessionId, is_renamed: bool) -> &'static str {
        let owed = self.owed_of(session, |message| match message {
            ToProcess::Gone { renamed, .. } => Some(renamed.is_some()),
            _ => None,
        });
        match (owed, is_renamed) {
            (Some(true), true) => "rename.new-token",
            (Some(true), false) | (None, true) => "rename.moves",
            _ => "destroy.answered-old",
        }
    }
}
