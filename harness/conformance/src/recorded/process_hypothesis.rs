//! A hypothesis about a process: one explanation of its messages and of the answers to its threads. It consists of a
//! machine, the inputs in flight to it, and the messages and answers that it still owes.
//!
//! Tokens, versions and tickets are the store's numbers. Requests and send times are the process's own, so the
//! machine's numbers are paired with the process's.

use super::entry::{ThreadAnswer, ThreadCall};
use super::search::Hypothesis as Explanation;
use crate::process::refusal_kind;
use std::collections::{BTreeMap, VecDeque};
use tenure_protocol::config::Settings;
use tenure_protocol::message::{Commit, Granted, Release};
use tenure_protocol::process::{Answer, Call, Connection, Input, Names, Output, Poison, Timer};
use tenure_protocol::{
    Incarnation, Link, ProcessMachine, Request, SessionId, ThreadId, Time, ToProcess, ToStore,
};

/// The time of observation. The event itself may be earlier by up to `slack_ms`.
pub(super) struct Around {
    pub(super) now: Time,
    pub(super) slack_ms: u64,
    /// The kind of message to explain.
    pub(super) focus: Focus,
}

/// The observation to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    Session(SessionId),
    Hello,
    KeepAlive,
    Nothing,
}

/// An input in flight to the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Under {
    Message(String, ToProcess),
    Ends(String),
    ThreadCall(ThreadId, SessionId, ThreadCall),
    Input(Input),
}

/// The channel of an input. Inputs of one channel are processed in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Way {
    Connection(String),
    Thread(ThreadId),
    Driver,
}

/// A message or an answer that the process owes, with its time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owed<T> {
    pub(super) what: T,
    pub(super) since: Time,
}

/// A thread's unanswered call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asked {
    Lock,
    Commit,
    Ending,
}

/// A hypothesis about a process. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hypothesis {
    pub(super) machine: ProcessMachine,
    /// The machine's time, which never decreases.
    now: Time,
    under_way: BTreeMap<Way, VecDeque<(Time, Under)>>,
    pub(super) says: Vec<Owed<(Link, ToStore)>>,
    pub(super) tells: Vec<Owed<(ThreadId, SessionId, ThreadAnswer)>>,
    /// The machine's link for each connection, including ended ones.
    links: BTreeMap<String, Link>,
    ended: Vec<String>,
    pub(super) requests: Vec<(Request, Request)>,
    pub(super) sent: Vec<(Time, Time)>,
    asked: BTreeMap<(ThreadId, SessionId), (Asked, Names)>,
}

impl Hypothesis {
    pub(super) fn new(settings: &super::head::Settings, incarnation: u64) -> Self {
        Self {
            machine: ProcessMachine::new(
                Settings::new(settings.machine()),
                Incarnation(incarnation),
            ),
            now: Time::ZERO,
            under_way: BTreeMap::new(),
            says: Vec::new(),
            tells: Vec::new(),
            links: BTreeMap::new(),
            ended: Vec::new(),
            requests: Vec::new(),
            sent: Vec::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Adds an input in flight.
    pub(super) fn comes(&mut self, way: Way, now: Time, what: Under) {
        self.under_way
            .entry(way)
            .or_default()
            .push_back((now, what));
    }

    /// Processes the next input of a channel.
    pub(super) fn take(&mut self, way: &Way, around: &Around) {
        let next = self.under_way.get_mut(way).and_then(VecDeque::pop_front);
        self.under_way.retain(|_, all| !all.is_empty());
        let Some((since, what)) = next else { return };
        // Assume the earliest possible arrival: a lease that the message extends has not ended then.
        let now = since.before(around.slack_ms);
        match what {
            Under::Message(who, message) => self.hear(now, &who, message),
            Under::Ends(who) => self.end(now, &who),
            Under::ThreadCall(thread, session, call) => self.act(now, thread, session, call),
            Under::Input(input) => drop(self.step(now, input)),
        }
    }

    /// Processes the inputs in flight since before the given time.
    pub(super) fn take_before(&mut self, until: Time, around: &Around) {
        loop {
            let heads = self
                .under_way
                .iter()
                .filter_map(|(way, all)| Some((all.front()?.0, way)));
            let overdue = heads.filter(|(since, _)| *since < until);
            let Some((_, way)) = overdue.min_by_key(|(since, _)| *since) else {
                return;
            };
            let way = way.clone();
            self.take(&way, around);
        }
    }

    /// Fires a due timer.
    pub(super) fn passes(&mut self, due: Time, timer: Timer, around: &Around) {
        let now = around.now.before(around.slack_ms).max(due.min(around.now));
        self.step(now, Input::Timer(timer));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Performs one step of the machine, and records the messages and answers that it owes. Returns the answers.
    fn step(&mut self, now: Time, input: Input) -> Vec<Answer> {
        self.now = self.now.max(now);
        let own = match &input {
            Input::Thread {
                thread, session, ..
            } => Some((*thread, session.clone())),
            _ => None,
        };
        let mut out = Vec::new();
        self.machine.step(self.now, input, &mut out);
        let mut answers = Vec::new();
        for output in out {
            match output {
                Output::Send { link, message } => self.owe(link, message),
                Output::Disconnect { link } => {
                    // A goodbye is still sent.
                    let is_last = |message: &ToStore| *message == ToStore::Goodbye;
                    self.says
                        .retain(|own| own.what.0 != link || is_last(&own.what.1));
                }
                Output::Answer {
                    thread,
                    session,
                    answer,
                } => {
                    if own.as_ref() == Some(&(thread, session.clone())) {
                        answers.push(answer.clone());
                    }
                    self.answer(thread, session, answer);
                }
            }
        }
        answers
    }

    fn owe(&mut self, link: Link, message: ToStore) {
        let is_ended = |who: &String| self.links.get(who) == Some(&link);
        if !self.ended.iter().any(is_ended) {
            let (what, since) = ((link, message), self.now);
            self.says.push(Owed { what, since });
        }
    }

    fn answer(&mut self, thread: ThreadId, session: SessionId, answer: Answer) {
        let key = (thread, session.clone());
        let asked = self.asked.get(&key).cloned();
        let is_of = |kind: Asked| asked.as_ref().is_some_and(|(own, _)| *own == kind);
        let told = match answer {
            Answer::Locked(token) => {
                let names = asked.map_or(Names::All, |(_, names)| names);
                let values = self.values(thread, &session, &names);
                ThreadAnswer::Locked(token.0, values)
            }
            Answer::Refused(why) => ThreadAnswer::Refused(refusal_kind(&why).to_owned()),
            Answer::Committed(version) if is_of(Asked::Commit) => {
                ThreadAnswer::Committed(version.0)
            }
            Answer::Destroyed => ThreadAnswer::Destroyed,
            Answer::Renamed(hold) => ThreadAnswer::Renamed(hold.session, hold.token.0),
            // The thread receives this only with the answer to a call.
            Answer::Poisoned(why) if asked.is_some() => ThreadAnswer::Lost(why),
            Answer::Poisoned(_) | Answer::Committed(_) => return,
        };
        self.asked.remove(&key);
        self.tell(thread, session, told);
    }

    fn tell(&mut self, thread: ThreadId, session: SessionId, told: ThreadAnswer) {
        let since = self.now;
        let what = (thread, session, told);
        self.tells.push(Owed { what, since });
    }

    fn values(
        &self,
        thread: ThreadId,
        session: &SessionId,
        names: &Names,
    ) -> BTreeMap<tenure_protocol::AttributeName, tenure_protocol::attributes::Value> {
        let Some(own) = self.machine.session(session) else {
            return BTreeMap::new();
        };
        let is_asked = |name: &&tenure_protocol::AttributeName| match names {
            Names::All => true,
            Names::One(own) => own == *name,
            Names::Many(own) => own.contains(name),
        };
        let names = own.slots().iter().map(|slot| &slot.name).filter(is_asked);
        names
            .filter_map(|name| Some((name.clone(), own.value(thread, name)?.clone())))
            .collect()
    }

    /// Performs a thread's call.
    fn act(&mut self, now: Time, thread: ThreadId, session: SessionId, call: ThreadCall) {
        let poison = |own: &Self| {
            let session = own.machine.session(&session)?;
            session.poison_of(thread)
        };
        // Time advances first, so that whatever ends by then has ended.
        if self.machine.lease().is_some_and(|lease| lease < now) {
            self.step(now, Input::Timer(Timer::Lease));
        }
        let was_lost = poison(self);
        let key = (thread, session.clone());
        let asks = match &call {
            ThreadCall::Lock { names, .. } => Some((Asked::Lock, names.clone())),
            ThreadCall::Commit => Some((Asked::Commit, Names::All)),
            ThreadCall::Destroy | ThreadCall::Rename(_) => Some((Asked::Ending, Names::All)),
            _ => None,
        };
        let is_silent = asks.is_none() && call != ThreadCall::Abandon;
        if let Some(asks) = asks {
            self.asked.insert(key, asks);
        }
        let until = self.now.max(now);
        let Some(call) = machine_call(call, until) else {
            // The call only checks the grant.
            let told = was_lost.map_or(ThreadAnswer::Done, ThreadAnswer::Lost);
            return self.tell(thread, session, told);
        };
        let before = self.tells.len();
        let input = Input::Thread {
            thread,
            session: session.clone(),
            call,
        };
        let answers = self.step(now, input);
        if !is_silent {
            return;
        }
        match was_lost {
            // Whatever else the machine answers, the thread has lost the grant.
            Some(why) => {
                self.tells.truncate(before);
                self.tell(thread, session, ThreadAnswer::Lost(why));
            }
            None if answers.is_empty() => self.tell(thread, session, ThreadAnswer::Done),
            None => {}
        }
    }

    fn hear(&mut self, now: Time, who: &str, mut message: ToProcess) {
        let Some(link) = self.links.get(who).copied() else {
            return;
        };
        match &mut message {
            ToProcess::Granted(Granted { request, .. })
            | ToProcess::Queued { request, .. }
            | ToProcess::Refused { request, .. } => {
                let known = self.requests.iter().find(|(_, theirs)| theirs == request);
                *request = known.map_or(Request(u64::MAX), |(ours, _)| *ours);
            }
            ToProcess::Welcome { sent, .. } | ToProcess::Alive { sent, .. } => {
                let known = self.sent.iter().rev().find(|(_, theirs)| theirs == sent);
                *sent = known.map_or(Time::ZERO, |(ours, _)| *ours);
            }
            _ => {}
        }
        self.step(now, Input::Message { link, message });
    }

    fn end(&mut self, now: Time, who: &str) {
        self.ended.push(who.to_owned());
        let Some(link) = self.links.get(who).copied() else {
            return;
        };
        self.says.retain(|own| own.what.0 != link);
        if let Connection::Greeting(own) | Connection::Up(own) = self.machine.connection()
            && own == link
        {
            self.step(now, Input::Disconnected);
        }
    }

    // ---- what is seen -----------------------------------------------------------------------------------------------

    /// Accepts an answer to a thread if the hypothesis owes it.
    pub(super) fn is_told(
        &mut self,
        thread: ThreadId,
        session: &SessionId,
        told: &ThreadAnswer,
    ) -> bool {
        let place = self.tells.iter().position(|owed| {
            let (own, id, what) = &owed.what;
            *own == thread && id == session && is_same_answer(what, told)
        });
        if let Some(place) = place {
            self.tells.remove(place);
            return true;
        }
        // A loss may be reported without a call.
        let lost = self
            .machine
            .session(session)
            .and_then(|own| own.poison_of(thread));
        matches!((told, lost), (ThreadAnswer::Lost(why), Some(own)) if *why == own)
    }

    /// Accepts a message of the process on a connection if the hypothesis owes it.
    pub(super) fn is_said(&mut self, who: &str, message: &ToStore) -> bool {
        let is_hello = matches!(message, ToStore::Hello(_));
        for place in 0..self.says.len() {
            let (link, own) = self.says[place].what.clone();
            let is_here = if is_hello {
                matches!(own, ToStore::Hello(_))
            } else {
                self.links.get(who) == Some(&link)
            };
            if !is_here || session_of(&own) != session_of(message) {
                continue;
            }
            let mut next = self.clone();
            if next.is_same(&own, message) {
                next.says.remove(place);
                if is_hello {
                    next.links.insert(who.to_owned(), link);
                }
                *self = next;
                return true;
            }
            // Messages about one session stay in order.
            if session_of(&own).is_some() {
                return false;
            }
        }
        false
    }
}

impl Explanation<Around> for Hypothesis {
    fn taken(&self, around: &Around) -> Vec<Self> {
        let ways = self.under_way.keys().cloned();
        let all = ways.map(|way| {
            let mut own = self.clone();
            own.take(&way, around);
            own
        });
        all.collect()
    }

    fn passed(&self, around: &Around) -> Vec<Self> {
        let mut inputs = Vec::new();
        for (due, timer) in self.machine.timers() {
            let is_meant = match (&timer, &around.focus) {
                (Timer::KeepAlive, focus) => *focus == Focus::KeepAlive,
                (Timer::Resend(None), _) => false,
                (Timer::Resend(Some(own)), focus) => *focus == Focus::Session(own.clone()),
                _ => due <= around.now,
            };
            if is_meant {
                inputs.push((due, Input::Timer(timer)));
            }
        }
        match &around.focus {
            Focus::Hello => inputs.push((Time::ZERO, Input::Connected)),
            Focus::Session(session) => inputs.push((Time::ZERO, Input::Release(session.clone()))),
            Focus::KeepAlive | Focus::Nothing => {}
        }
        let now = around.now.before(around.slack_ms);
        let all = inputs.into_iter().map(|(due, input)| {
            let mut own = self.clone();
            own.step(now.max(due.min(around.now)), input);
            own
        });
        all.collect()
    }
}

/// Returns the machine's form of a thread's call, or `None` if the call only checks the grant.
fn machine_call(call: ThreadCall, now: Time) -> Option<Call> {
    Some(match call {
        ThreadCall::Lock {
            names,
            wait_mode,
            existing,
            wait_ms,
        } => Call::Lock {
            names,
            wait_mode,
            existing,
            until: now.after(wait_ms),
        },
        ThreadCall::Abandon => Call::Abandon,
        ThreadCall::Write(name, value) => Call::Write { name, value },
        ThreadCall::Unlock(names) => Call::Unlock(names),
        ThreadCall::Discard(names) => Call::Discard(names),
        ThreadCall::Commit => Call::Commit,
        ThreadCall::Destroy => Call::Destroy,
        ThreadCall::Rename(to) => Call::Rename(to),
        ThreadCall::Check => return None,
    })
}

/// Returns whether two answers to a thread are equivalent. Two events each have two equivalent answers: the thread has
/// left a session that has ended, and the process stops because a newer incarnation is connected.
fn is_same_answer(ours: &ThreadAnswer, theirs: &ThreadAnswer) -> bool {
    let is_refused = |told: &ThreadAnswer, reasons: &[&str]| match told {
        ThreadAnswer::Refused(why) => reasons.contains(&why.as_str()),
        _ => false,
    };
    let is_left = |told: &ThreadAnswer| is_refused(told, &["gone", "not-held"]);
    ours == theirs
        || (is_left(ours) && is_left(theirs))
        || (is_refused(ours, &["shutting-down"])
            && *theirs == ThreadAnswer::Lost(Poison::Superseded))
}

/// Returns the session that a message concerns.
pub(super) fn session_of(message: &ToStore) -> Option<&SessionId> {
    match message {
        ToStore::Acquire(acquire) => Some(&acquire.session),
        ToStore::Cancel { session, .. }
        | ToStore::Commit(Commit { session, .. })
        | ToStore::Release(Release { session, .. })
        | ToStore::Busy { session, .. }
        | ToStore::Destroy { session, .. }
        | ToStore::Rename { session, .. } => Some(session),
        ToStore::Hello(_) | ToStore::KeepAlive { .. } | ToStore::Goodbye => None,
    }
}
