//! The reference: the abstract machine, driven only by its inputs. No session is detached, and no thread waits. Each
//! answer goes to the thread of the history that made the request.

use super::net::Out;
use tenure_protocol::attributes::Value;
use tenure_protocol::process::{Answer, Call, Input, Names, Output, Poison, Session, ThreadClaim};
use tenure_protocol::{
    Incarnation, Limits, ProcessMachine, ProcessSettings, SessionId, Settings, ThreadId, Time,
    ToProcess, Token,
};

/// An answer, and the thread and session that it is for.
pub(crate) type To = (ThreadId, SessionId, Answer);

/// The reference machine. See the [module](self).
pub(crate) struct Machine {
    process: ProcessMachine,
    /// The outputs since they were last taken.
    pub(crate) outs: Vec<Out>,
    answers: Vec<To>,
}

impl Machine {
    pub(crate) fn new(settings: ProcessSettings) -> Self {
        Self {
            process: ProcessMachine::new(Settings::new(settings), Incarnation(1)),
            outs: Vec::new(),
            answers: Vec::new(),
        }
    }

    pub(crate) fn process(&self) -> &ProcessMachine {
        &self.process
    }

    pub(crate) fn input(&mut self, now: Time, mut input: Input) -> Vec<To> {
        if let Input::Message {
            message: ToProcess::Welcome { limits, .. },
            ..
        } = &mut input
        {
            *limits = None; // The manager alone limits the sizes of sessions, see `Setup::machine`.
        }
        let mut out = Vec::new();
        self.process.step(now, input, &mut out);
        self.sort(out)
    }

    pub(crate) fn call(
        &mut self,
        now: Time,
        thread: ThreadId,
        session: &SessionId,
        call: &Call,
    ) -> Vec<To> {
        let mut out = Vec::new();
        self.process.call(now, thread, session, call, &mut out);
        self.sort(out)
    }

    /// Handles all deadlines that have passed, in order of time, until none is left. As a driver does.
    pub(crate) fn tick(&mut self, now: Time) -> Vec<To> {
        let mut told = Vec::new();
        loop {
            let timers = self.process.timers();
            let mut due: Vec<_> = timers.filter(|(due, _)| *due <= now).collect();
            due.sort();
            if due.is_empty() {
                return told;
            }
            for (_, timer) in due {
                told.extend(self.input(now, Input::Timer(timer)));
            }
        }
    }

    fn sort(&mut self, out: Vec<Output>) -> Vec<To> {
        for output in out {
            match output {
                Output::Send { link, message } => self.outs.push(Out::Send(link, message)),
                Output::Disconnect { link } => self.outs.push(Out::Close(link)),
                Output::Answer {
                    thread,
                    session,
                    answer,
                } => self.answers.push((thread, session, answer)),
            }
        }
        std::mem::take(&mut self.answers)
    }

    /// Returns how a thread has lost the grant of a session, if it has.
    pub(crate) fn lost(&self, thread: ThreadId, session: &SessionId) -> Option<Poison> {
        self.process.session(session)?.poison_of(thread)
    }

    /// Returns the token of the grant.
    pub(crate) fn token(&self, session: &SessionId) -> Option<Token> {
        Some(self.process.session(session)?.grant()?.token)
    }

    /// Returns whether the threads inside a session should finish soon.
    pub(crate) fn is_recalled(&self, session: &SessionId) -> bool {
        let session = self.process.session(session);
        session
            .and_then(|session| session.grant())
            .is_none_or(|grant| grant.recall.is_some() || grant.give_back)
    }

    /// Returns whether a commit is under way.
    pub(crate) fn has_commit(&self, session: &SessionId) -> bool {
        self.process
            .session(session)
            .is_some_and(|session| session.commit().is_some())
    }

    /// Returns the threads inside a session, with their attributes.
    pub(crate) fn holders(&self, session: &SessionId) -> Vec<(ThreadId, String)> {
        let Some(session) = self.process.session(session) else {
            return Vec::new();
        };
        let name = |at: u32| session.slots()[at as usize].name.clone();
        let holders = session.lock().holders().iter();
        let mut holders: Vec<_> = holders
            .map(|claim| {
                let names = match &claim.wanted {
                    tenure_protocol::process::Wanted::All => Names::All,
                    tenure_protocol::process::Wanted::One(at) => Names::One(name(*at)),
                    tenure_protocol::process::Wanted::Many(all) => {
                        Names::Many(all.iter().map(|at| name(*at)).collect())
                    }
                };
                (claim.thread, words(&names))
            })
            .collect();
        holders.sort();
        holders
    }

    /// Returns the sessions that exceed a limit, or could exceed one if some of their threads keep their writes and
    /// others discard them.
    pub(crate) fn too_large(&self, limits: &Limits) -> Vec<SessionId> {
        let sessions = self.process.sessions();
        let too_large = sessions.filter(|(_, session)| {
            // For each claim and for the unlocked attributes, the larger of both outcomes counts.
            let free = sizes(session, |at| {
                let mut holders = session.lock().holders().iter();
                !holders.any(|claim| claim.wanted.has(at))
            });
            let kept = session.lock().holders().iter().map(|claim| {
                let (before, after) = (
                    sizes(session, |at| claim.wanted.has(at)),
                    written(session, claim),
                );
                (before.0.max(after.0), before.1.max(after.1))
            });
            let all = kept.fold(free, |sum, own| (sum.0 + own.0, sum.1 + own.1));
            all.0 > limits.attributes_max || all.1 > limits.session_bytes_max
        });
        too_large.map(|(id, _)| id.clone()).collect()
    }

    /// Returns the waiting threads, in order.
    pub(crate) fn waiters(&self, session: &SessionId) -> Vec<ThreadId> {
        let session = self.process.session(session);
        session
            .map(|session| session.lock().waiters().map(|claim| claim.thread).collect())
            .unwrap_or_default()
    }

    /// Returns the free sessions that have been idle for this time, with their last use. In a free session, no thread
    /// holds or waits for a lock.
    pub(crate) fn idle(&self, now: Time, unused_ms: u64) -> Vec<(SessionId, Time)> {
        let mut copy = self.process.clone();
        let ids = self.process.sessions().map(|(id, _)| id.clone());
        let idle = ids.filter_map(|id| {
            let session = self.process.session(&id)?;
            let is_free = session.lock().is_free();
            let used = copy.detach(&id)?.used();
            (is_free && now.since(used) >= unused_ms).then_some((id, used))
        });
        let mut idle: Vec<_> = idle.collect();
        idle.sort();
        idle
    }
}

/// Returns the number of the selected attributes with a value, and the bytes of their names and values.
fn sizes(session: &Session, is_meant: impl Fn(u32) -> bool) -> (usize, usize) {
    size(session, |at| {
        is_meant(at).then(|| session.slots()[at as usize].value.as_ref())?
    })
}

/// Returns the sizes of the attributes that a thread has locked, as [`sizes`], for the case that it keeps its writes.
fn written(session: &Session, claim: &ThreadClaim) -> (usize, usize) {
    size(session, |at| {
        let before = &session.slots()[at as usize].value;
        let value = claim.written(at).unwrap_or(before).as_ref();
        value.filter(|_| claim.wanted.has(at))
    })
}

fn size<'s>(session: &'s Session, value: impl Fn(u32) -> Option<&'s Value>) -> (usize, usize) {
    let slots = session.slots().iter().zip(0..);
    let bytes = slots.filter_map(|(slot, at)| Some(slot.name.as_bytes().len() + value(at)?.len()));
    bytes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
}

/// Formats the names of attributes for a script.
pub(crate) fn words(names: &Names) -> String {
    match names {
        Names::All => "*".to_owned(),
        Names::One(name) => name.to_string(),
        Names::Many(names) => {
            let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
            names.sort();
            names.join("+")
        }
    }
}
