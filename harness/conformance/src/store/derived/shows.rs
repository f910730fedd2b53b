//! Decides whether a property of the model shows from outside, in the messages of both sides.
//!
//! A property is about a moment in which two sides do not know of each other's message yet. Only the store's side is
//! visible from outside: what it had sent when a message arrived, and what it answered.

use crate::store::oracle::Connection;
use std::collections::{BTreeMap, BTreeSet};
use tenure_protocol::attributes::State;
use tenure_protocol::message::{Commit, Granted, Hello, Reason, Refusal, Release, WaitMode};
use tenure_protocol::{ProcessId, SessionId, ToProcess, ToStore, Token};

/// An event that is visible from outside, with the target's numbers.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Said(Connection, ToStore),
    Heard(Connection, ToProcess),
    Cut(Connection),
    Restarted,
    /// All messages to which a step leads have arrived.
    Settled,
}

type Shows = fn(&[Event]) -> bool;

/// Each property that a script may have, and the function that detects it.
pub(super) const PROPERTIES: &[(&str, Shows)] = &[
    ("recalled while inside", recalled_while_inside),
    ("recall crosses release", recall_crosses_release),
    ("a queue of two", a_queue_of_two),
    ("nothing to send", nothing_to_send),
    ("difference sent", difference_sent),
    ("whole state sent", whole_state_sent),
    ("committed under a recall", committed_under_a_recall),
    ("request crosses its grant", request_crosses_its_grant),
    ("grant crosses cancel", grant_crosses_cancel),
    ("release after reconnect", release_after_reconnect),
    ("holder is dead", holder_is_dead),
    ("takeover after restart", takeover_after_restart),
    ("revoked while inside", revoked_while_inside),
    ("lease renewed", lease_renewed),
    ("lease lost", lease_lost),
    ("try gets a kept grant", try_gets_a_kept_grant),
    ("try refused", try_refused),
    ("recalled to end", recalled_to_end),
    ("ended and back", ended_and_back),
    ("renamed", renamed),
    ("end told again", end_told_again),
    ("deadlock found", deadlock_found),
    ("wanted by two", wanted_by_two),
    ("granted at once", granted_at_once),
];

/// Returns whether the property shows.
pub(super) fn shows(property: &str, events: &[Event]) -> bool {
    let own = PROPERTIES.iter().find(|(name, _)| *name == property);
    own.is_some_and(|(_, shows)| shows(events))
}

// ---- what was said and heard, in order ------------------------------------------------------------------------------

/// Returns the messages to processes, each with the later events.
fn heard(events: &[Event]) -> impl Iterator<Item = (&ProcessId, &ToProcess, &[Event])> {
    let each = events.iter().enumerate();
    each.filter_map(|(place, event)| match event {
        Event::Heard(connection, message) => {
            Some((&connection.process, message, &events[place + 1..]))
        }
        _ => None,
    })
}

/// Returns the messages of processes, each with the later events.
fn said(events: &[Event]) -> impl Iterator<Item = (&ProcessId, &ToStore, &[Event])> {
    let each = events.iter().enumerate();
    each.filter_map(|(place, event)| match event {
        Event::Said(connection, message) => {
            Some((&connection.process, message, &events[place + 1..]))
        }
        _ => None,
    })
}

fn comes(events: &[Event], is_it: impl Fn(&ToProcess) -> bool) -> bool {
    heard(events).any(|(_, message, _)| is_it(message))
}

/// Returns the recalls with their grants, each with the later events.
fn recalls(events: &[Event]) -> impl Iterator<Item = (Token, Reason, &[Event])> {
    heard(events).filter_map(|(_, message, after)| match message {
        ToProcess::Recall { hold, info } => Some((hold.token, info.reason, after)),
        ToProcess::Granted(Granted {
            token,
            recall: Some(info),
            ..
        }) => Some((*token, info.reason, after)),
        _ => None,
    })
}

/// The holders and waiters, as far as the messages show.
#[derive(Default)]
struct Standing<'e> {
    holders: BTreeMap<&'e SessionId, &'e ProcessId>,
    waiters: BTreeSet<(&'e SessionId, &'e ProcessId)>,
    busy: BTreeSet<&'e SessionId>,
    connected: BTreeSet<&'e ProcessId>,
}

impl<'e> Standing<'e> {
    /// Returns whether the condition holds after some step has settled.
    fn ever(events: &'e [Event], is_so: impl Fn(&Self) -> bool) -> bool {
        let mut standing = Self::default();
        events.iter().any(|event| {
            standing.take(event);
            matches!(event, Event::Settled) && is_so(&standing)
        })
    }

    fn take(&mut self, event: &'e Event) {
        match event {
            Event::Said(own, ToStore::Hello(_)) => drop(self.connected.insert(&own.process)),
            Event::Said(own, ToStore::Acquire(acquire)) => {
                self.waiters.insert((&acquire.session, &own.process));
            }
            Event::Said(
                _,
                ToStore::Busy {
                    session, inside, ..
                },
            ) if *inside > 0 => {
                self.busy.insert(session);
            }
            Event::Heard(own, ToProcess::Granted(Granted { session, .. })) => {
                self.waiters.remove(&(session, &own.process));
                self.holders.insert(session, &own.process);
                self.busy.remove(session);
            }
            Event::Heard(own, ToProcess::Refused { session, .. }) => {
                self.waiters.remove(&(session, &own.process));
            }
            Event::Heard(
                _,
                ToProcess::Released { session, .. }
                | ToProcess::Revoked { session, .. }
                | ToProcess::Gone { session, .. },
            ) => drop(self.holders.remove(session)),
            Event::Cut(own) => drop(self.connected.remove(&own.process)),
            Event::Restarted => self.connected.clear(),
            _ => {}
        }
    }

    /// Returns the number of processes that wait for a session with another holder that meets the condition.
    fn waiting(&self, is_so: impl Fn(&SessionId, &ProcessId) -> bool) -> usize {
        let others = self.waiters.iter().filter(|(session, waiter)| {
            let holder = self.holders.get(session);
            holder.is_some_and(|holder| holder != waiter && is_so(session, holder))
        });
        others.count()
    }
}

// ---- the properties -------------------------------------------------------------------------------------------------

fn recalled_while_inside(events: &[Event]) -> bool {
    recalls(events).any(|(recalled, _, after)| {
        said(after).any(|(_, message, _)| {
            matches!(message, ToStore::Busy { token, inside, .. } if *token == recalled && *inside > 0)
        })
    })
}

fn recall_crosses_release(events: &[Event]) -> bool {
    recalls(events).any(|(recalled, _, after)| {
        said(after).any(|(_, message, after)| {
            matches!(message, ToStore::Release(Release { token, .. }) if *token == recalled)
                && comes(after, |answer| {
                    matches!(answer, ToProcess::Released { token, version: Some(_), .. } if *token == recalled)
                })
        })
    })
}

fn a_queue_of_two(events: &[Event]) -> bool {
    Standing::ever(events, |standing| standing.waiting(|_, _| true) > 1)
}

fn state_sent(events: &[Event], is_so: fn(&State) -> bool) -> bool {
    comes(
        events,
        |message| matches!(message, ToProcess::Granted(Granted { state, .. }) if is_so(state)),
    )
}

fn nothing_to_send(events: &[Event]) -> bool {
    state_sent(events, |state| matches!(state, State::Unchanged))
}

fn difference_sent(events: &[Event]) -> bool {
    state_sent(events, |state| matches!(state, State::Delta(_)))
}

fn whole_state_sent(events: &[Event]) -> bool {
    state_sent(events, |state| matches!(state, State::Full(_)))
}

fn committed_under_a_recall(events: &[Event]) -> bool {
    recalls(events).any(|(recalled, _, after)| {
        said(after).any(|(_, message, after)| {
            matches!(message, ToStore::Commit(Commit { token, .. }) if *token == recalled)
                && comes(after, |answer| {
                    matches!(answer, ToProcess::Committed { token, .. } if *token == recalled)
                })
        })
    })
}

/// Returns whether a grant is sent, its request is then repeated or cancelled, and the same grant is sent again.
fn told_again(events: &[Event], is_it: impl Fn(&ToStore, u64) -> bool) -> bool {
    heard(events).any(|(process, message, after)| {
        let ToProcess::Granted(Granted { request, token, .. }) = message else {
            return false;
        };
        said(after).any(|(speaker, message, after)| {
            let is_same = |answer: &ToProcess| {
                matches!(answer, ToProcess::Granted(Granted { request: own, token: again, .. })
                    if own == request && again == token)
            };
            speaker == process && is_it(message, request.0) && comes(after, is_same)
        })
    })
}

fn request_crosses_its_grant(events: &[Event]) -> bool {
    told_again(
        events,
        |message, request| matches!(message, ToStore::Acquire(acquire) if acquire.request.0 == request),
    )
}

fn grant_crosses_cancel(events: &[Event]) -> bool {
    told_again(
        events,
        |message, request| matches!(message, ToStore::Cancel { request: own, .. } if own.0 == request),
    )
}

fn release_after_reconnect(events: &[Event]) -> bool {
    said(events).any(|(process, message, after)| {
        let ToStore::Hello(Hello { holds, .. }) = message else {
            return false;
        };
        holds.iter().any(|hold| {
            let is_known = |answer: &ToProcess| {
                matches!(answer, ToProcess::Welcome { holds, .. } if holds.contains(hold))
            };
            let is_taken = |answer: &ToProcess| {
                matches!(answer, ToProcess::Released { token, version: Some(_), .. } if *token == hold.token)
            };
            let mut releases = said(after).filter(|(own, message, _)| {
                *own == process
                    && matches!(message, ToStore::Release(Release { token, .. }) if *token == hold.token)
            });
            comes(after, is_known) && releases.any(|(_, _, after)| comes(after, is_taken))
        })
    })
}

fn holder_is_dead(events: &[Event]) -> bool {
    Standing::ever(events, |standing| {
        standing.waiting(|_, holder| !standing.connected.contains(holder)) > 0
    })
}

fn takeover_after_restart(events: &[Event]) -> bool {
    let mut lives = events.split(|event| matches!(event, Event::Restarted));
    lives.next();
    lives.any(|life| {
        comes(
            life,
            |message| matches!(message, ToProcess::Welcome { holds, .. } if !holds.is_empty()),
        )
    })
}

fn revoked_while_inside(events: &[Event]) -> bool {
    heard(events).any(|(process, message, after)| {
        let ToProcess::Granted(Granted { token, .. }) = message else {
            return false;
        };
        heard(after).any(|(own, message, _)| {
            own == process
                && matches!(message, ToProcess::Revoked { token: revoked, .. } if revoked == token)
        })
    })
}

fn lease_renewed(events: &[Event]) -> bool {
    heard(events).any(|(process, message, after)| {
        matches!(message, ToProcess::Granted(_))
            && heard(after).any(|(own, message, _)| {
                own == process && matches!(message, ToProcess::Alive { .. })
            })
    })
}

/// Returns whether a process that has lost its lease sends a hello without its former grant.
fn lease_lost(events: &[Event]) -> bool {
    heard(events).any(|(process, message, after)| {
        matches!(message, ToProcess::Granted(_))
            && said(after).any(|(own, message, after)| {
                own == process
                    && matches!(message, ToStore::Hello(Hello { holds, .. }) if holds.is_empty())
                    && comes(after, |answer| matches!(answer, ToProcess::Welcome { .. }))
            })
    })
}

fn try_gets_a_kept_grant(events: &[Event]) -> bool {
    said(events).any(|(process, message, after)| {
        let ToStore::Acquire(acquire) = message else {
            return false;
        };
        let mut recalled = recalls(after);
        acquire.wait_mode == WaitMode::Try
            && recalled.any(|(_, _, after)| {
                heard(after).any(|(own, message, _)| {
                    own == process
                        && matches!(message, ToProcess::Granted(Granted { request, .. }) if *request == acquire.request)
                })
            })
    })
}

fn is_refused(events: &[Event], is_so: fn(&Refusal) -> bool) -> bool {
    comes(
        events,
        |message| matches!(message, ToProcess::Refused { why, .. } if is_so(why)),
    )
}

fn try_refused(events: &[Event]) -> bool {
    is_refused(events, |why| *why == Refusal::WouldBlock)
}

fn deadlock_found(events: &[Event]) -> bool {
    is_refused(events, |why| matches!(why, Refusal::Deadlock { .. }))
}

fn recalled_to_end(events: &[Event]) -> bool {
    recalls(events).any(|(_, reason, _)| reason == Reason::Expiry)
}

/// Returns the destroyed sessions, each with the later events.
fn destroyed(events: &[Event]) -> impl Iterator<Item = (&SessionId, &[Event])> {
    heard(events).filter_map(|(_, message, after)| match message {
        ToProcess::Gone {
            session,
            renamed: None,
            ..
        } => Some((session, after)),
        _ => None,
    })
}

fn is_renamed_to(message: &ToProcess, session: &SessionId) -> bool {
    matches!(message, ToProcess::Gone { renamed: Some(hold), .. } if hold.session == *session)
}

fn ended_and_back(events: &[Event]) -> bool {
    destroyed(events).any(|(session, after)| {
        comes(after, |message| {
            let is_granted =
                matches!(message, ToProcess::Granted(Granted { session: own, .. }) if own == session);
            is_granted || is_renamed_to(message, session)
        })
    })
}

fn renamed(events: &[Event]) -> bool {
    destroyed(events).any(|(session, after)| comes(after, |own| is_renamed_to(own, session)))
}

fn end_told_again(events: &[Event]) -> bool {
    comes(
        events,
        |message| matches!(message, ToProcess::Welcome { gone, .. } if !gone.is_empty()),
    )
}

fn wanted_by_two(events: &[Event]) -> bool {
    Standing::ever(events, |standing| {
        standing.waiting(|session, _| standing.busy.contains(session)) > 0
    })
}

fn granted_at_once(events: &[Event]) -> bool {
    said(events).any(|(process, message, after)| {
        let ToStore::Acquire(acquire) = message else {
            return false;
        };
        let mut answers = heard(after).filter(|(own, _, _)| *own == process);
        let first = answers.find_map(|(_, message, _)| match message {
            ToProcess::Granted(Granted { request, .. }) => Some((*request, true)),
            ToProcess::Queued { request, .. } => Some((*request, false)),
            _ => None,
        });
        first == Some((acquire.request, true))
    })
}
