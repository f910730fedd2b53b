//! Short texts for messages, calls and answers.
//!
//! `#` is a fencing token, `v` a version, `r` a request. The name of a session is left out where there is only one.

use tenure_protocol::attributes::{Change, State};
use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Granted, Hello, Limited, Reason, RecallInfo, Refusal,
    Release, Revocation, WaitMode,
};
use tenure_protocol::process::{Answer, Call, Names, Poison};
use tenure_protocol::{Delta, SessionId, ToProcess, ToStore, Update, Value};

/// The legend of the signs in the texts.
pub(super) const SIGNS: &str = "signs: # fencing token, v version, r request, {} attributes";

/// The names of a universe in texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// Whether there is more than one session.
    pub(super) names_sessions: bool,
}

impl Words {
    /// Returns the session with a space before it, if there are several sessions.
    fn of(self, session: &SessionId) -> String {
        if self.names_sessions {
            format!(" {session}")
        } else {
            String::new()
        }
    }

    /// Returns the session as a part of a sentence.
    pub(super) fn session(self, session: &SessionId) -> String {
        if self.names_sessions {
            session.to_string()
        } else {
            "the session".to_owned()
        }
    }

    pub(super) fn to_store(self, message: &ToStore) -> String {
        match message {
            ToStore::Hello(Hello {
                incarnation,
                holds,
                waits,
                ..
            }) => self.hello(incarnation.0, holds, waits),
            ToStore::KeepAlive { .. } => "KeepAlive".to_owned(),
            ToStore::Acquire(acquire) => format!("Acquire{}", self.acquire_request(acquire)),
            ToStore::Cancel { session, request } => {
                format!("Cancel{} r{request}", self.of(session))
            }
            ToStore::Commit(Commit {
                session,
                token,
                base,
                delta,
            }) => {
                format!(
                    "Commit{} #{token} {} onto v{base}",
                    self.of(session),
                    changes(delta)
                )
            }
            ToStore::Release(Release {
                session,
                token,
                base,
                delta,
                requeue,
                ..
            }) => {
                let changed = match delta.is_empty() {
                    true => ", nothing changed".to_owned(),
                    false => format!(" {} onto v{base}", changes(delta)),
                };
                let again = requeue.map(|request| format!(", asks again as r{request}"));
                format!(
                    "Release{} #{token}{changed}{}",
                    self.of(session),
                    again.unwrap_or_default()
                )
            }
            ToStore::Busy {
                session,
                token,
                inside,
                blocked_on,
            } => {
                let blocked = match blocked_on.is_empty() {
                    true => String::new(),
                    false => format!(", blocked on {}", list(blocked_on)),
                };
                format!(
                    "Busy{} #{token}, {inside} inside{blocked}",
                    self.of(session)
                )
            }
            ToStore::Destroy { session, token } => format!("Destroy{} #{token}", self.of(session)),
            ToStore::Rename { session, token, to } => format!("Rename {session} #{token} to {to}"),
            ToStore::Goodbye => "Goodbye".to_owned(),
        }
    }

    fn hello(self, incarnation: u64, holds: &[GrantRef], waits: &[AcquireRequest]) -> String {
        let mut text = String::from("Hello");
        if incarnation > 1 {
            text.push_str(&format!(" (incarnation {incarnation})"));
        }
        if !holds.is_empty() {
            text.push_str(&format!(", holds {}", self.holds(holds)));
        }
        let waits: Vec<String> = waits
            .iter()
            .map(|acquire| self.acquire_request(acquire))
            .collect();
        if !waits.is_empty() {
            text.push_str(&format!(", wants{}", waits.join(" and")));
        }
        text
    }

    /// Returns the text with a space before it.
    fn acquire_request(self, acquire: &AcquireRequest) -> String {
        let mut text = format!("{} r{}", self.of(&acquire.session), acquire.request);
        if acquire.wait_mode == WaitMode::Try {
            text.push_str(", only tries");
        }
        if acquire.existing {
            text.push_str(", only if it exists");
        }
        if let Some(ticket) = acquire.ticket {
            text.push_str(&format!(", ticket {ticket}"));
        }
        if let Some(known) = acquire.known {
            text.push_str(&format!(", has v{known}"));
        }
        text
    }

    fn hold(self, hold: &GrantRef) -> String {
        format!("{} #{}", self.of(&hold.session), hold.token)
            .trim_start()
            .to_owned()
    }

    fn holds(self, holds: &[GrantRef]) -> String {
        holds
            .iter()
            .map(|hold| self.hold(hold))
            .collect::<Vec<_>>()
            .join(" and ")
    }

    pub(super) fn to_process(self, message: &ToProcess) -> String {
        match message {
            ToProcess::Welcome {
                holds,
                gone,
                lease_ms,
                ..
            } => {
                let holds = if holds.is_empty() {
                    "nothing".to_owned()
                } else {
                    self.holds(holds)
                };
                let gone: String = gone
                    .iter()
                    .map(|(hold, renamed)| match renamed {
                        None => format!(", {} has gone", self.hold(hold)),
                        Some(to) => format!(", {} is {} now", self.hold(hold), self.hold(to)),
                    })
                    .collect();
                format!("Welcome, you hold {holds}{gone}{}", lease(*lease_ms))
            }
            ToProcess::Alive {
                recalls, lease_ms, ..
            } => {
                let recall = |(hold, info): &(GrantRef, RecallInfo)| {
                    format!(", Recall {} ({})", self.hold(hold), why(info))
                };
                format!(
                    "Alive{}{}",
                    lease(*lease_ms),
                    recalls.iter().map(recall).collect::<String>()
                )
            }
            ToProcess::LeaseEnded => "LeaseEnded".to_owned(),
            ToProcess::Superseded => "Superseded".to_owned(),
            ToProcess::Full => "Full".to_owned(),
            ToProcess::Granted(_) => self.granted(message),
            ToProcess::Queued {
                session,
                request,
                ticket,
            } => {
                format!("Queued{} r{request}, ticket {ticket}", self.of(session))
            }
            ToProcess::Recall { hold, info } => {
                format!("Recall {} ({})", self.hold(hold), why(info))
            }
            ToProcess::Refused {
                session,
                request,
                why,
            } => {
                format!("Refused{} r{request}: {}", self.of(session), refusal(why))
            }
            ToProcess::Committed { .. }
            | ToProcess::Released { .. }
            | ToProcess::Revoked { .. }
            | ToProcess::NotRenamed { .. }
            | ToProcess::Gone { .. } => self.answer_to_holder(message),
        }
    }

    /// Returns the text about a grant that a process has or had.
    #[expect(clippy::too_many_lines, reason = "one match, an arm for each message")]
    fn answer_to_holder(self, message: &ToProcess) -> String {
        let (name, session, token, so) = match message {
            ToProcess::Committed {
                session,
                token,
                version,
                ..
            } => ("Committed", session, token, format!("v{version}")),
            ToProcess::Released {
                session,
                token,
                version: Some(version),
                ..
            } => ("Released", session, token, format!("v{version}")),
            ToProcess::Released {
                session,
                token,
                version: None,
                limit: Some(limit),
            } => (
                "Released",
                session,
                token,
                format!("over the limit of {}", limited(limit)),
            ),
            ToProcess::Released {
                session,
                token,
                version: None,
                limit: None,
            } => ("Released", session, token, "it had ended before".to_owned()),
            ToProcess::Revoked {
                session,
                token,
                limit: Some(limit),
                ..
            } => (
                "Revoked",
                session,
                token,
                format!("over the limit of {}", limited(limit)),
            ),
            ToProcess::Revoked {
                session,
                token,
                why,
                limit: None,
            } => (
                "Revoked",
                session,
                token,
                match why {
                    Revocation::RecallDeadline => "the recall's deadline passed".to_owned(),
                    Revocation::Fenced => "the token is old".to_owned(),
                },
            ),
            ToProcess::NotRenamed {
                session,
                token,
                why,
            } => ("NotRenamed", session, token, refusal(why)),
            ToProcess::Gone {
                session,
                token,
                renamed: Some(to),
            } => ("Gone", session, token, format!("now {}", self.hold(to))),
            ToProcess::Gone {
                session,
                token,
                renamed: None,
            } => ("Gone", session, token, "it was destroyed".to_owned()),
            _ => return String::new(),
        };
        format!("{name}{} #{token}, {so}", self.of(session))
    }

    fn granted(self, message: &ToProcess) -> String {
        let ToProcess::Granted(Granted {
            session,
            request,
            token,
            version,
            state,
            recall,
            give_back,
        }) = message
        else {
            return String::new();
        };
        let mut text = format!(
            "Granted{} #{token} for r{request}, v{version}",
            self.of(session)
        );
        text.push_str(&match state {
            State::Unchanged => " as you have it".to_owned(),
            State::Delta(delta) => format!(" with changes {}", changes(delta)),
            State::Full(delta) => format!(" {}", changes(delta)),
        });
        if let Some(info) = recall {
            text.push_str(", and recalled");
            if info.reason != Reason::Wait {
                text.push_str(&format!(" ({})", why(info)));
            }
        }
        if *give_back {
            text.push_str(", for one use");
        }
        text
    }

    pub(super) fn call(self, session: &SessionId, call: &Call) -> String {
        let of = if self.names_sessions {
            format!(" of {session}")
        } else {
            String::new()
        };
        match call {
            Call::Lock {
                names: which,
                wait_mode,
                existing,
                ..
            } => {
                let lock = match wait_mode {
                    WaitMode::Wait => "lock",
                    WaitMode::Try => "try to lock",
                };
                let only = if *existing { ", if it exists" } else { "" };
                format!("{lock} {}{of}{only}", names(which))
            }
            Call::Abandon => format!("give up waiting{}", of.replace(" of", " for")),
            Call::Write { name, value } => format!("write {name}={}{of}", shown(value.as_ref())),
            Call::Unlock(which) => format!("unlock {}{of}", names(which)),
            Call::Discard(which) => format!("unlock {}{of} and discard its writes", names(which)),
            Call::Commit => format!("commit{}", self.of(session)),
            Call::Destroy => format!("destroy {}", self.session(session)),
            Call::Rename(to) => format!("rename {} to {to}", self.session(session)),
        }
    }

    pub(super) fn answer(self, session: &SessionId, answer: &Answer) -> String {
        match answer {
            Answer::Locked(token) => format!("locked{} under #{token}", self.of(session)),
            Answer::Refused(why) => format!("refused{}: {}", self.of(session), refusal(why)),
            Answer::Committed(version) => format!("committed{}, v{version}", self.of(session)),
            Answer::Destroyed => format!("destroyed{}", self.of(session)),
            Answer::Renamed(to) => format!("renamed to {}", self.hold(to)),
            Answer::Poisoned(why) => format!("poisoned{}: {}", self.of(session), poison(*why)),
        }
    }

    pub(super) fn update(self, update: &Update) -> String {
        match update {
            Update::Put {
                session,
                head,
                delta,
                ..
            } => {
                let mut text = match &head.holder {
                    Some(holder) => format!(
                        "{} held by {} as #{}",
                        self.of(session),
                        holder.process,
                        holder.token
                    ),
                    None => format!("{} free", self.of(session)),
                };
                if !delta.is_empty() {
                    text.push_str(&format!(", v{} {}", head.version, changes(delta)));
                }
                text.trim_start().to_owned()
            }
            Update::Remove { session } => format!("{} is no more", self.session(session)),
            Update::Rename { from, to, .. } => format!("{from} is now {to}"),
        }
    }
}

/// Returns the text of a duration; empty where clocks do not matter.
fn lease(lease_ms: u64) -> String {
    if lease_ms == 0 {
        String::new()
    } else {
        format!(", lease {lease_ms} from when you asked")
    }
}

fn why(info: &RecallInfo) -> &'static str {
    reason(info.reason)
}

pub(super) fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Expiry => "its time may have ended",
        Reason::Try => "another tries",
        Reason::Wait => "another waits",
        Reason::Operator => "the operator asks",
    }
}

pub(super) fn poison(why: Poison) -> &'static str {
    match why {
        Poison::LeaseLost => "the lease has ended",
        Poison::Revoked => "the store took the grant",
        Poison::Late => "too late after a recall",
        Poison::Superseded => "a newer incarnation is here",
    }
}

fn limited(limited: &Limited) -> &'static str {
    match limited {
        Limited::Processes => "processes",
        Limited::Grants => "grants",
        Limited::Waiters => "waiters",
        Limited::Attributes => "attributes",
        Limited::AttributeBytes => "bytes of an attribute",
        Limited::SessionBytes => "bytes of a session",
        Limited::Threads => "waiting threads",
        Limited::Storage => "storage",
    }
}

pub(super) fn refusal(why: &Refusal) -> String {
    match why {
        Refusal::WouldBlock => "would have to wait".to_owned(),
        Refusal::Cancelled => "cancelled".to_owned(),
        Refusal::Deadline => "waited too long".to_owned(),
        Refusal::Deadlock { cycle } => format!("deadlock over {}", list(cycle)),
        Refusal::Limit(which) => format!("limit of {}", limited(which)),
        Refusal::Gone => "the session has gone".to_owned(),
        Refusal::AlreadyLocked => "has it or waits for it already".to_owned(),
        Refusal::NotHeld => "does not hold it".to_owned(),
        Refusal::IdTaken => "the id is taken".to_owned(),
        Refusal::ShuttingDown => "shutting down".to_owned(),
        Refusal::Absent => "absent".to_owned(),
        Refusal::Unsupported => "not supported by the store".to_owned(),
    }
}

fn names(which: &Names) -> String {
    match which {
        Names::All => "all".to_owned(),
        Names::One(name) => name.to_string(),
        Names::Many(names) => list(names).replace(", ", "+"),
    }
}

/// Returns the changes of a delta: `{a=1, b removed}`.
pub(super) fn changes(delta: &Delta) -> String {
    let change = |change: &Change| match &change.value {
        None => format!("{} removed", change.name),
        value => format!("{}={}", change.name, shown(value.as_ref())),
    };
    format!(
        "{{{}}}",
        delta
            .changes()
            .iter()
            .map(change)
            .collect::<Vec<_>>()
            .join(", ")
    )
}

pub(super) fn shown(value: Option<&Value>) -> String {
    value.map_or_else(
        || "none".to_owned(),
        |value| String::from_utf8_lossy(value).into_owned(),
    )
}

pub(super) fn list<T: ToString>(items: &[T]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
