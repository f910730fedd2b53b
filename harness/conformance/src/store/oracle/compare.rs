//! Compares the target's messages with the messages that a hypothesis owes, except for numbers.

use crate::store::oracle::Connection;
use crate::store::oracle::hypothesis::{EARLIEST, Hypothesis, Owed, What};
use crate::store::oracle::ledger::Attributes;
use crate::store::oracle::names::Kind;
use std::collections::BTreeSet;
use tenure_protocol::message::{GrantRef, Granted, Reason, RecallInfo, Refusal};
use tenure_protocol::{Request, SessionId, Ticket, ToProcess, Token, Version};

/// A received message, for a grant with the state that the process may have after it.
#[derive(Clone, Debug)]
pub(crate) enum Came {
    Said(ToProcess, Vec<Attributes>),
    Closed,
}

impl Hypothesis {
    /// Accepts a received message if the hypothesis allows it now.
    pub(crate) fn take(&mut self, connection: &Connection, came: &Came) -> bool {
        match came {
            Came::Closed => self.is_closed(connection),
            Came::Said(message, results) => {
                self.owes(connection, message, results) || self.is_free(connection, message)
            }
        }
    }

    fn is_closed(&mut self, connection: &Connection) -> bool {
        let owed = self.owed.get(connection).map_or(&[][..], Vec::as_slice);
        let is_told = |owed: &Owed| owed.what == What::Closed || owed.may_be_missing();
        let is_newest = self
            .store
            .peer(&connection.process)
            .is_some_and(|peer| peer.link() == Some(connection.link));
        let is_owed = owed.iter().any(|owed| owed.what == What::Closed);
        if owed.iter().all(is_told) && (is_owed || !is_newest) {
            self.cut(connection);
            return true;
        }
        false
    }

    /// Returns whether the message is the next one owed about its session.
    fn owes(
        &mut self,
        connection: &Connection,
        message: &ToProcess,
        results: &[Attributes],
    ) -> bool {
        let Some(owed) = self.owed.get(connection).cloned() else {
            return false;
        };
        let is_alive = matches!(message, ToProcess::Alive { .. });
        for (place, next) in owed.iter().enumerate() {
            let What::Said(said) = &next.what else {
                if next.may_be_missing() {
                    continue;
                }
                return false;
            };
            let is_welcome = matches!(said, ToProcess::Welcome { .. });
            if is_alive != matches!(said, ToProcess::Alive { .. })
                || (next.session() != message.session() && !is_welcome)
            {
                continue;
            }
            let mut hypothesis = self.clone();
            if hypothesis.is_same(next, said, message, results) {
                let rest = hypothesis.owed.get_mut(connection).expect("cloned");
                let mut at = 0;
                rest.retain(|other| {
                    at += 1;
                    let is_passed_over = at <= place
                        && other.may_be_missing()
                        && other.session() == message.session();
                    at != place + 1 && !is_passed_over
                });
                hypothesis.owe_recall(connection, said, message);
                *self = hypothesis;
                return true;
            }
            if !next.may_be_missing() && !is_alive {
                return false;
            }
        }
        false
    }

    /// Owes a recall separately, because it may come with the grant or after it.
    fn owe_recall(&mut self, connection: &Connection, said: &ToProcess, came: &ToProcess) {
        if let (
            ToProcess::Granted(Granted {
                session,
                token,
                recall: Some(info),
                ..
            }),
            ToProcess::Granted(Granted { recall: None, .. }),
        ) = (said, came)
        {
            let (session, token) = (session.clone(), *token);
            let owed = Owed::recall(GrantRef { session, token }, *info, self.clock);
            self.owed
                .entry(connection.clone())
                .or_default()
                .insert(0, owed);
        }
    }

    /// Returns whether the message may come at any time, such as a repeated recall or queue place.
    fn is_free(&mut self, connection: &Connection, message: &ToProcess) -> bool {
        match message {
            ToProcess::Recall { hold, info } => {
                let now = self.recalled();
                let [last, before] = self.recalls.clone();
                let mut all = now.iter().chain(&last).chain(&before);
                all.any(|(own, reason)| self.is_hold(own, hold) && *reason == info.reason)
            }
            ToProcess::Queued {
                session,
                request,
                ticket,
            } => {
                let own = self.place(connection, session, *request);
                own.is_some_and(|own| self.meet(Kind::Ticket, session, own.0, ticket.0))
            }
            _ => false,
        }
    }

    /// Returns the place at which the process waits by that request.
    fn place(
        &self,
        connection: &Connection,
        session: &SessionId,
        request: Request,
    ) -> Option<Ticket> {
        let mut places = self.store.session(session)?.lock().waiters();
        let place = places.find(|place| place.process == connection.process)?;
        (place.request == request).then_some(place.ticket)
    }

    fn meet(
        &mut self,
        kind: Kind,
        session: &SessionId,
        ours: tenure_protocol::Stamp,
        theirs: tenure_protocol::Stamp,
    ) -> bool {
        let own = self.store.session(session);
        let waiting: BTreeSet<_> = own
            .into_iter()
            .flat_map(|own| own.lock().waiters())
            .map(|place| place.ticket.0)
            .collect();
        self.names
            .meet(kind, session, (ours, theirs), |stamp| match kind {
                Kind::Token => true,
                Kind::Version => false,
                Kind::Ticket => waiting.contains(&stamp),
            })
    }

    fn is_token(&mut self, session: &SessionId, ours: Token, theirs: Token) -> bool {
        // A process may receive a token that it made up itself.
        let known = self.names.ours(Kind::Token, session, theirs.0);
        known.is_none() && ours.0.epoch == 0 || self.meet(Kind::Token, session, ours.0, theirs.0)
    }

    fn is_version(&mut self, session: &SessionId, ours: Version, theirs: Version) -> bool {
        self.meet(Kind::Version, session, ours.0, theirs.0)
    }

    fn is_hold(&mut self, ours: &GrantRef, theirs: &GrantRef) -> bool {
        ours.session == theirs.session && self.is_token(&ours.session, ours.token, theirs.token)
    }

    fn are_holds(&mut self, ours: &[GrantRef], theirs: &[GrantRef]) -> bool {
        ours.len() == theirs.len()
            && theirs.iter().all(|hold| {
                let mut own = ours.iter().filter(|own| own.session == hold.session);
                own.any(|own| self.is_hold(own, hold))
            })
    }

    fn are_ends(
        &mut self,
        ours: &[(GrantRef, Option<GrantRef>)],
        theirs: &[(GrantRef, Option<GrantRef>)],
    ) -> bool {
        ours.len() == theirs.len()
            && theirs.iter().all(|(hold, renamed)| {
                ours.iter().any(|(own, own_renamed)| {
                    self.is_hold(own, hold) && self.is_same_rename(own_renamed, renamed)
                })
            })
    }

    fn is_same_rename(&mut self, ours: &Option<GrantRef>, theirs: &Option<GrantRef>) -> bool {
        match (ours, theirs) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => self.is_hold(ours, theirs),
            _ => false,
        }
    }

    /// Checks the recalls in an Alive. A recall present both now and at the begin of the step must be listed, and one
    /// present only once may be.
    fn are_recalls(
        &mut self,
        theirs: &[(GrantRef, RecallInfo)],
        ours: &[(GrantRef, Reason)],
        last: &[(GrantRef, Reason)],
    ) -> bool {
        let mut is_told = vec![false; ours.len()];
        theirs.iter().all(|(hold, info)| {
            let place = ours
                .iter()
                .position(|(own, reason)| *reason == info.reason && self.is_hold(own, hold));
            if let Some(place) = place {
                is_told[place] = true;
            }
            let mut was = last.iter();
            place.is_some()
                || was.any(|(own, reason)| *reason == info.reason && self.is_hold(own, hold))
        }) && ours
            .iter()
            .zip(is_told)
            .all(|(own, is_told)| is_told || !last.contains(own))
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one match, an arm for each pair of messages"
    )]
    fn is_same(
        &mut self,
        owed: &Owed,
        ours: &ToProcess,
        theirs: &ToProcess,
        results: &[Attributes],
    ) -> bool {
        use ToProcess::{
            Alive, Committed, Full, Gone, Granted, LeaseEnded, NotRenamed, Queued, Recall, Refused,
            Released, Revoked, Superseded, Welcome,
        };
        match (ours, theirs) {
            (
                Welcome {
                    sent: a,
                    holds,
                    gone,
                    ..
                },
                Welcome {
                    sent: b,
                    holds: theirs,
                    gone: ends,
                    ..
                },
            ) => a == b && self.are_holds(holds, theirs) && self.are_ends(gone, ends),
            (
                Alive {
                    sent: a,
                    recalls: own,
                    ..
                },
                Alive {
                    sent: b, recalls, ..
                },
            ) => {
                let own: Vec<_> = own
                    .iter()
                    .map(|(hold, info)| (hold.clone(), info.reason))
                    .collect();
                let [last, _] = self.recalls.clone();
                a == b && self.are_recalls(recalls, &own, &last)
            }
            (Granted(a), Granted(b)) => {
                a.request == b.request
                    && results.contains(&owed.attributes)
                    && self.is_same_grant(ours, theirs)
            }
            (
                Queued {
                    request: a,
                    ticket,
                    session,
                },
                Queued {
                    request: b,
                    ticket: own,
                    ..
                },
            ) => a == b && self.meet(Kind::Ticket, session, ticket.0, own.0),
            (
                Recall { hold, info },
                Recall {
                    hold: own,
                    info: named,
                },
            ) => self.is_hold(hold, own) && info.reason == named.reason,
            (Committed { .. }, Committed { .. }) | (Released { .. }, Released { .. }) => {
                self.is_same_answer(ours, theirs)
            }
            (
                Revoked {
                    session,
                    token,
                    why: a,
                    ..
                },
                Revoked {
                    token: own, why: b, ..
                },
            ) => a == b && self.is_token(session, *token, *own),
            (
                Refused {
                    request: a, why, ..
                },
                Refused {
                    request: b,
                    why: own,
                    ..
                },
            ) => a == b && is_same_refusal(why, own),
            (
                NotRenamed {
                    session,
                    token,
                    why: a,
                },
                NotRenamed {
                    token: own, why: b, ..
                },
            ) => a == b && self.is_token(session, *token, *own),
            (
                Gone {
                    session,
                    token,
                    renamed,
                },
                Gone {
                    token: own,
                    renamed: to,
                    ..
                },
            ) => {
                let rises =
                    |old: &Token, new: &Option<GrantRef>| new.as_ref().map(|new| new.token > *old);
                rises(token, renamed) == rises(own, to)
                    && self.is_token(session, *token, *own)
                    && self.is_same_rename(renamed, to)
            }
            (LeaseEnded, LeaseEnded) | (Superseded, Superseded) | (Full, Full) => true,
            _ => false,
        }
    }

    fn is_same_grant(&mut self, ours: &ToProcess, theirs: &ToProcess) -> bool {
        let (
            ToProcess::Granted(Granted {
                session,
                token: a,
                version: v,
                recall: own,
                ..
            }),
            ToProcess::Granted(Granted {
                token: b,
                version: w,
                recall,
                ..
            }),
        ) = (ours, theirs)
        else {
            return false;
        };
        let is_asked = match (own, recall) {
            (Some(own), Some(recall)) => own.reason == recall.reason,
            (None, Some(_)) => false,
            (_, None) => true,
        };
        is_asked && self.is_token(session, *a, *b) && self.is_version(session, *v, *w)
    }

    fn is_same_answer(&mut self, ours: &ToProcess, theirs: &ToProcess) -> bool {
        match (ours, theirs) {
            (
                ToProcess::Committed {
                    session,
                    token: a,
                    base: c,
                    version: v,
                },
                ToProcess::Committed {
                    token: b,
                    base: d,
                    version: w,
                    ..
                },
            ) => {
                // The base is the version that the process sent, whatever the machine's number for it is.
                let is_base = *c == EARLIEST || self.is_version(session, *c, *d);
                is_base
                    && (v > c) == (w > d)
                    && self.is_token(session, *a, *b)
                    && self.is_version(session, *v, *w)
            }
            (
                ToProcess::Released {
                    session,
                    token: a,
                    version: v,
                    ..
                },
                ToProcess::Released {
                    token: b,
                    version: w,
                    ..
                },
            ) => {
                let is_version = match (v, w) {
                    (Some(v), Some(w)) => self.is_version(session, *v, *w),
                    (v, w) => v == w,
                };
                is_version && self.is_token(session, *a, *b)
            }
            _ => false,
        }
    }
}

/// Compares cycles without regard to their beginning.
fn is_same_refusal(ours: &Refusal, theirs: &Refusal) -> bool {
    match (ours, theirs) {
        (Refusal::Deadlock { cycle: a }, Refusal::Deadlock { cycle: b }) => {
            let sorted = |all: &[SessionId]| all.iter().cloned().collect::<BTreeSet<_>>();
            a.len() == b.len() && sorted(a) == sorted(b)
        }
        (ours, theirs) => ours == theirs,
    }
}
