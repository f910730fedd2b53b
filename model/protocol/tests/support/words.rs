//! Short texts of messages, answers and states, for transcripts and tables.
//!
//! | written | meaning |
//! |---|---|
//! | `t1.3` | token, epoch 1, sequence 3 |
//! | `v1.3` | version; `v0`: the session does not exist |
//! | `k1.3` | ticket |
//! | `#3` | request |
//! | `i2` | incarnation |
//! | `a=x*` | an attribute that has changed since it was last sent |
//! | `a=x(y)` | a thread inside has written `y` and not unlocked |
//! | `-a` | an attribute that was removed |

use std::fmt::Write as _;
use tenure_protocol::attributes::{Change, Delta, Head, Holder, State, Update, Value};
use tenure_protocol::id::{AttributeName, Stamp, ThreadId, Token, Version};
use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Granted, Hello, Limited, Reason, RecallInfo, Refusal,
    Release, Revocation, WaitMode,
};
use tenure_protocol::process::{self, Answer, Connection, Ending, Phase, Poison, Slot, Wanted};
use tenure_protocol::{ProcessMachine, SessionId, StoreMachine, ToProcess, ToStore, store};

pub(crate) fn token(token: Token) -> String {
    format!("t{}", token.0)
}

pub(crate) fn version(version: Version) -> String {
    if version == Version::NONE {
        "v0".to_owned()
    } else {
        format!("v{}", version.0)
    }
}

fn ticket(ticket: Stamp) -> String {
    format!("k{ticket}")
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn list<T>(items: &[T], each: impl Fn(&T) -> String) -> String {
    format!(
        "[{}]",
        items.iter().map(each).collect::<Vec<_>>().join(", ")
    )
}

fn change(change: &Change) -> String {
    match &change.value {
        Some(value) => format!("{}={}", change.name, text(value)),
        None => format!("-{}", change.name),
    }
}

pub(crate) fn delta(delta: &Delta) -> String {
    let changes: Vec<String> = delta.changes().iter().map(change).collect();
    format!("{{{}}}", changes.join(", "))
}

fn wait_mode(wait_mode: WaitMode) -> &'static str {
    match wait_mode {
        WaitMode::Try => "try",
        WaitMode::Wait => "wait",
    }
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Expiry => "expiry",
        Reason::Try => "try",
        Reason::Wait => "wait",
        Reason::Operator => "operator",
    }
}

fn recall_info(info: RecallInfo) -> String {
    let within = if info.reason.insists() {
        format!(" within {} ms", info.deadline_ms)
    } else {
        String::new()
    };
    format!("recall ({}{within})", reason(info.reason))
}

fn hold(hold: &GrantRef) -> String {
    format!("{} {}", hold.session, token(hold.token))
}

fn acquire_request(acquire: &AcquireRequest) -> String {
    let mut words = format!(
        "{} #{} {}",
        acquire.session,
        acquire.request,
        wait_mode(acquire.wait_mode)
    );
    if let Some(known) = acquire.known {
        let _ = write!(words, " knows {}", version(known));
    }
    if let Some(place) = acquire.ticket {
        let _ = write!(words, " ticket {}", ticket(place.0));
    }
    if acquire.existing {
        words.push_str(" existing");
    }
    words
}

fn limited(limited: Limited) -> &'static str {
    match limited {
        Limited::Processes => "processes",
        Limited::Grants => "grants",
        Limited::Waiters => "waiters",
        Limited::Attributes => "attributes",
        Limited::AttributeBytes => "attribute bytes",
        Limited::SessionBytes => "session bytes",
        Limited::Threads => "threads",
        Limited::Storage => "storage",
    }
}

pub(crate) fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::WouldBlock => "would block".to_owned(),
        Refusal::Cancelled => "cancelled".to_owned(),
        Refusal::Deadline => "deadline".to_owned(),
        Refusal::Deadlock { cycle } => format!("deadlock {}", list(cycle, SessionId::to_string)),
        Refusal::Limit(limit) => format!("limit: {}", limited(*limit)),
        Refusal::Gone => "gone".to_owned(),
        Refusal::AlreadyLocked => "already locked".to_owned(),
        Refusal::NotHeld => "not held".to_owned(),
        Refusal::IdTaken => "id taken".to_owned(),
        Refusal::ShuttingDown => "shutting down".to_owned(),
        Refusal::Absent => "absent".to_owned(),
        Refusal::Unsupported => "unsupported".to_owned(),
    }
}

fn poison(poison: Poison) -> &'static str {
    match poison {
        Poison::LeaseLost => "lease lost",
        Poison::Revoked => "revoked",
        Poison::Late => "late",
        Poison::Superseded => "superseded",
    }
}

pub(crate) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Locked(own) => format!("locked under {}", token(*own)),
        Answer::Refused(why) => format!("refused: {}", refusal(why)),
        Answer::Committed(at) => format!("committed at {}", version(*at)),
        Answer::Destroyed => "destroyed".to_owned(),
        Answer::Renamed(to) => format!("renamed to {}", hold(to)),
        Answer::Poisoned(why) => format!("poisoned: {}", poison(*why)),
    }
}

#[expect(clippy::too_many_lines, reason = "one match, an arm for each message")]
pub(crate) fn to_store(message: &ToStore) -> String {
    match message {
        ToStore::Hello(Hello {
            incarnation,
            holds,
            waits,
            ..
        }) => {
            format!(
                "hello i{incarnation} holds {} waits {}",
                list(holds, hold),
                list(waits, acquire_request)
            )
        }
        ToStore::KeepAlive { sent } => format!("keep-alive of {sent}"),
        ToStore::Acquire(own) => format!("acquire {}", acquire_request(own)),
        ToStore::Cancel { session, request } => format!("cancel {session} #{request}"),
        ToStore::Commit(Commit {
            session,
            token: own,
            base,
            delta: changes,
        }) => {
            format!(
                "commit {session} {} {} to {}",
                token(*own),
                delta(changes),
                version(*base)
            )
        }
        ToStore::Release(Release {
            session,
            token: own,
            base,
            delta: changes,
            requeue,
            idle_ms,
        }) => {
            let requeue = requeue
                .map(|request| format!(" requeue #{request}"))
                .unwrap_or_default();
            let (changes, base) = (delta(changes), version(*base));
            format!(
                "release {session} {} {changes} to {base}{requeue} idle {idle_ms}",
                token(*own)
            )
        }
        ToStore::Busy {
            session,
            token: own,
            inside,
            blocked_on,
        } => {
            let blocked_on = list(blocked_on, SessionId::to_string);
            format!(
                "busy {session} {} inside {inside} blocked on {blocked_on}",
                token(*own)
            )
        }
        ToStore::Destroy {
            session,
            token: own,
        } => format!("destroy {session} {}", token(*own)),
        ToStore::Rename {
            session,
            token: own,
            to,
        } => {
            format!("rename {session} {} to {to}", token(*own))
        }
        ToStore::Goodbye => "goodbye".to_owned(),
    }
}

fn state(state: &State) -> String {
    match state {
        State::Unchanged => "unchanged".to_owned(),
        State::Delta(changes) => format!("delta {}", delta(changes)),
        State::Full(changes) => format!("full {}", delta(changes)),
    }
}

fn granted(message: &ToProcess) -> Option<String> {
    let ToProcess::Granted(Granted {
        session,
        request,
        token: own,
        version: at,
        state: with,
        recall,
        give_back,
    }) = message
    else {
        return None;
    };
    let (own, at, with) = (token(*own), version(*at), state(with));
    let mut words = format!("granted {session} #{request} {own} {at} {with}");
    if let Some(recall) = recall {
        let _ = write!(words, ", {}", recall_info(*recall));
    }
    if *give_back {
        words.push_str(", give back");
    }
    Some(words)
}

#[expect(clippy::too_many_lines, reason = "one match, an arm for each message")]
pub(crate) fn to_process(message: &ToProcess) -> String {
    match message {
        ToProcess::Welcome {
            lease_ms,
            holds,
            gone,
            ..
        } => {
            let mut words = format!("welcome lease {lease_ms} holds {}", list(holds, hold));
            if !gone.is_empty() {
                let end = |(own, renamed): &(GrantRef, Option<GrantRef>)| match renamed {
                    None => hold(own),
                    Some(to) => format!("{} renamed to {}", hold(own), hold(to)),
                };
                let _ = write!(words, " gone {}", list(gone, end));
            }
            words
        }
        ToProcess::Alive { sent, recalls, .. } => {
            let recalls = list(recalls, |(own, why)| {
                format!("{} {}", hold(own), recall_info(*why))
            });
            format!("alive of {sent} recalls {recalls}")
        }
        ToProcess::Granted(_) => granted(message).expect("it is a grant"),
        ToProcess::Queued {
            session,
            request,
            ticket: place,
        } => {
            format!("queued {session} #{request} {}", ticket(place.0))
        }
        ToProcess::Recall {
            hold: own,
            info: why,
        } => {
            format!(
                "{} {}",
                recall_info(*why).replace("recall", &format!("recall {}", own.session)),
                token(own.token)
            )
        }
        ToProcess::Committed {
            session,
            token: own,
            base,
            version: at,
        } => {
            format!(
                "committed {session} {} {} => {}",
                token(*own),
                version(*base),
                version(*at)
            )
        }
        ToProcess::Released {
            session,
            token: own,
            version: Some(at),
            ..
        } => {
            format!("released {session} {} at {}", token(*own), version(*at))
        }
        ToProcess::Released {
            session,
            token: own,
            version: None,
            limit,
        } => {
            let why = match limit {
                None => "had ended before".to_owned(),
                Some(limit) => format!("over the limit of {limit:?}"),
            };
            format!("released {session} {} {why}", token(*own))
        }
        ToProcess::Revoked {
            session,
            token: own,
            why,
            limit,
        } => {
            let why = match why {
                Revocation::RecallDeadline => "recall deadline",
                Revocation::Fenced => "fenced",
            };
            let limit = limit.map_or_else(String::new, |limit| {
                format!(", over the limit of {limit:?}")
            });
            format!("revoked {session} {}: {why}{limit}", token(*own))
        }
        ToProcess::Refused {
            session,
            request,
            why,
        } => {
            format!("refused {session} #{request}: {}", refusal(why))
        }
        ToProcess::NotRenamed {
            session,
            token: own,
            why,
        } => {
            format!("not renamed {session} {}: {}", token(*own), refusal(why))
        }
        ToProcess::Gone {
            session,
            token: own,
            renamed: Some(to),
        } => {
            format!("gone {session} {} renamed to {}", token(*own), hold(to))
        }
        ToProcess::Gone {
            session,
            token: own,
            renamed: None,
        } => {
            format!("gone {session} {}", token(*own))
        }
        ToProcess::LeaseEnded => "lease ended".to_owned(),
        ToProcess::Superseded => "superseded".to_owned(),
        ToProcess::Full => "full".to_owned(),
    }
}

/// Returns the version, the holder and the expiry.
fn of_head(head: &Head) -> (String, String) {
    let holder = head.holder.as_ref().map_or_else(
        || "free".to_owned(),
        |holder| {
            let Holder {
                process,
                incarnation,
                token: own,
                ..
            } = holder;
            format!("{process} i{incarnation} {}", token(*own))
        },
    );
    let expires = head.expires.map(|at| format!(" expires {at}"));
    let words = format!("{} {holder}", version(head.version));
    (words, expires.unwrap_or_default())
}

pub(crate) fn update(update: &Update) -> String {
    match update {
        Update::Put {
            session,
            head,
            delta: changes,
            ..
        } => {
            let changes = if changes.is_empty() {
                String::new()
            } else {
                format!(" {}", delta(changes))
            };
            let (holder, expires) = of_head(head);
            format!("{session} {holder}{changes}{expires}")
        }
        Update::Remove { session } => format!("{session} removed"),
        Update::Rename { from, to, head } => {
            let (holder, expires) = of_head(head);
            format!("{from} renamed to {to} {holder}{expires}")
        }
    }
}

pub(crate) fn connection(connection: Connection) -> String {
    match connection {
        Connection::Down => "down".to_owned(),
        Connection::Greeting(link) => format!("greeting on {link}"),
        Connection::Up(link) => format!("up on {link}"),
    }
}

/// Returns the facts of the whole process.
pub(crate) fn of_process(process: &ProcessMachine) -> String {
    let mut words = connection(process.connection());
    if let Some(lease) = process.lease() {
        let _ = write!(words, ", lease until {lease}");
    }
    if process.has_left() {
        words.push_str(", left");
    } else if process.is_closing() {
        words.push_str(", closing");
    }
    words
}

pub(crate) fn phase(phase: &Phase) -> String {
    match phase {
        Phase::Absent => "absent".to_owned(),
        Phase::Wanted {
            request,
            ticket: place,
            wait_mode: how,
            existing,
        } => {
            let place = place
                .map(|place| format!(" {}", ticket(place.0)))
                .unwrap_or_default();
            let existing = if *existing { " existing" } else { "" };
            format!("wanted #{request} {}{place}{existing}", wait_mode(*how))
        }
        Phase::Cancelling { request } => format!("cancelling #{request}"),
        Phase::Held(grant) => {
            let mut words = format!("held {}", token(grant.token));
            if grant.is_closed {
                words.push_str(" gate closed");
            }
            if let Some((why, late)) = grant.recall {
                let _ = write!(words, " recalled ({}, late at {late})", reason(why.reason));
            }
            if grant.give_back {
                words.push_str(" give back");
            }
            if let Some((thread, ending)) = &grant.ending {
                let _ = match ending {
                    Ending::Destroy => write!(words, " destroyed by {thread}"),
                    Ending::Rename(to) => write!(words, " renamed to {to} by {thread}"),
                };
            }
            words
        }
        Phase::Releasing {
            token: own,
            delta: changes,
            requeue,
            ..
        } => {
            let requeue = requeue
                .map(|request| format!(" requeue #{request}"))
                .unwrap_or_default();
            format!("releasing {} {}{requeue}", token(*own), delta(changes))
        }
    }
}

fn slot(slot: &Slot, written: Option<&Option<Value>>) -> String {
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), text);
    let written = written.map(|written| format!("({})", value(written)));
    let dirty = if slot.is_dirty { "*" } else { "" };
    format!(
        "{}={}{dirty}{}",
        slot.name,
        value(&slot.value),
        written.unwrap_or_default()
    )
}

fn wanted(wanted: &Wanted, slots: &[Slot]) -> String {
    let name = |place: &u32| slots[*place as usize].name.to_string();
    match wanted {
        Wanted::All => "*".to_owned(),
        Wanted::One(place) => name(place),
        Wanted::Many(places) => places.iter().map(name).collect::<Vec<_>>().join("+"),
    }
}

fn threads(threads: &[ThreadId]) -> String {
    list(threads, ThreadId::to_string)
}

/// Returns the facts of one session in a process.
pub(crate) fn of_client(session: &process::Session) -> String {
    let mut words = phase(session.phase());
    let claims = |claims: &mut dyn Iterator<Item = &process::ThreadClaim>| {
        claims
            .map(|claim| {
                format!(
                    "{}:{}",
                    claim.thread,
                    wanted(&claim.wanted, session.slots())
                )
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let inside = claims(&mut session.lock().holders().iter());
    if !inside.is_empty() {
        let _ = write!(words, ", inside {inside}");
    }
    let waiting = claims(&mut session.lock().waiters());
    if !waiting.is_empty() {
        let _ = write!(words, ", waiting {waiting}");
    }
    if let Some(own) = session.version() {
        let slots: Vec<String> = session
            .slots()
            .iter()
            .zip(0..)
            .map(|(own, place)| (own, session.written(place)))
            .filter(|(own, written)| own.value.is_some() || written.is_some() || own.is_dirty)
            .map(|(own, written)| slot(own, written))
            .collect();
        let _ = write!(words, ", {} {{{}}}", version(own), slots.join(", "));
    }
    if let Some(commit) = session.commit() {
        let _ = write!(
            words,
            ", commit {} out for {}",
            delta(&commit.delta),
            threads(&commit.threads)
        );
    }
    for (thread, why) in session.poisoned() {
        let _ = write!(words, ", {thread} poisoned ({})", poison(*why));
    }
    if let Some((own, why)) = session.early_recall() {
        let _ = write!(words, ", early {} of {}", recall_info(why), token(own));
    }
    if let Some(own) = session.returning() {
        let _ = write!(words, ", returning {}", token(own));
    }
    words
}

/// Returns the facts of one session at the store.
pub(crate) fn of_session(session: &store::Session) -> String {
    let head = &session.record().head;
    let mut words = head.holder.as_ref().map_or_else(
        || "free".to_owned(),
        |holder| {
            format!(
                "held by {} i{} {}",
                holder.process,
                holder.incarnation,
                token(holder.token)
            )
        },
    );
    let queue: Vec<String> = session
        .lock()
        .waiters()
        .map(|place| {
            let (place, how) = (place, wait_mode(place.wait_mode));
            format!(
                "{} #{} {how} {}",
                place.process,
                place.request,
                ticket(place.ticket.0)
            )
        })
        .collect();
    if !queue.is_empty() {
        let _ = write!(words, ", queue [{}]", queue.join(", "));
    }
    if let Some(recall) = session.recall() {
        let _ = write!(words, ", recalled ({}", reason(recall.reason));
        if recall.reason.insists() {
            let _ = write!(words, ", revoke at {}", recall.deadline);
        }
        words.push(')');
    }
    if let Some(busy) = session.busy() {
        let blocked_on = list(&busy.blocked_on, SessionId::to_string);
        let _ = write!(words, ", busy {} blocked on {blocked_on}", busy.inside);
    }
    let values: Vec<String> = session
        .record()
        .attributes()
        .iter()
        .filter_map(|own| Some(format!("{}={}", own.name, text(own.value.as_ref()?))))
        .collect();
    let _ = write!(
        words,
        ", {} {{{}}}",
        version(head.version),
        values.join(", ")
    );
    if let Some(expires) = head.expires {
        let _ = write!(words, ", expires {expires}");
    }
    words
}

/// Returns the state of every part of a store, by name.
pub(crate) fn parts_of_store(store: &StoreMachine) -> Vec<(String, String)> {
    let peers = store.peers().map(|(id, peer)| {
        let link = peer
            .link()
            .map_or_else(|| "none".to_owned(), |link| link.to_string());
        let words = format!(
            "i{} link {link} lease until {}",
            peer.incarnation(),
            peer.lease()
        );
        (format!("peer {id}"), words)
    });
    let sessions = store
        .sessions()
        .map(|(id, session)| (id.to_string(), of_session(session)));
    let mut parts: Vec<_> = peers.chain(sessions).collect();
    parts.sort();
    parts
}

/// Returns the state of every part of a process, by name.
pub(crate) fn parts_of_process(process: &ProcessMachine) -> Vec<(String, String)> {
    let sessions = process
        .sessions()
        .map(|(id, session)| (id.to_string(), of_client(session)));
    let mut parts: Vec<_> = sessions.collect();
    parts.sort();
    parts.insert(0, ("link".to_owned(), of_process(process)));
    parts
}

pub(crate) fn attribute(name: &str) -> AttributeName {
    AttributeName::new(name.to_owned()).expect("a short name")
}

pub(crate) fn session(name: &str) -> SessionId {
    SessionId::new(name.to_owned()).expect("a short name")
}
