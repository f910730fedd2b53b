//! Where a script is: the store's machine, and what each process was told.

use crate::system::{PROCESSES, PROCESSES_MAX};
use std::collections::BTreeSet;
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{
    Incarnation, Limits, Link, ProcessId, Records, Request, Settings, Stamp, StoreMachine,
    StoreSettings, Ticket, Time, ToProcess, ToStore, Token,
};

/// What a process knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub(super) link: Option<Link>,
    /// Says no longer by itself that it lives.
    pub(super) is_silent: bool,
    pub(super) incarnation: u64,
    pub(super) last_link: u64,
    pub(super) last_request: u64,
    /// Tokens, versions and tickets that it was told.
    pub(super) told: BTreeSet<Stamp>,
    /// A token of its that is none any more.
    pub(super) old: Option<Token>,
    pub(super) ticket: Option<Ticket>,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) store: StoreMachine,
    records: Records,
    /// Whether sessions that nobody uses end.
    ends: bool,
    pub(super) sides: [Side; PROCESSES_MAX],
    /// How many steps were taken.
    pub(super) steps: usize,
    /// Those timers whose end can be told from outside, the next to end first.
    pub(super) running: Vec<Running>,
}

/// A timer that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) timer: Timer,
    /// Whose grant is recalled. A recall outlives its token when the same grant is told anew after a restart.
    holder: Option<ProcessId>,
    /// The step that began it.
    since: usize,
}

/// How far a timer is ahead of the next that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// There is no next.
    Alone,
    /// As far as all rest before this step, which began the next.
    By(usize),
    /// Both began in one step.
    Tied,
}

/// Who falls silent is another matter.
pub(super) const SPEAKS: &str = "who is connected and speaks keeps its lease";

/// As in the universes of the model, and in the oracle of the suite: scripts name numbers of it.
pub(super) const EPOCH: u64 = 2;

/// As the oracle of the suite sets it: timers are due when a script says so.
fn settings(ends: bool) -> Settings<StoreSettings> {
    Settings::new(StoreSettings {
        lease_ms: 0,
        remind_ms: 0,
        recall_ms: 0,
        wait_ms: 0,
        time_to_live_ms: ends.then_some(0),
        turns: 0,
        promised: tenure_protocol::Promised::default(),
        limits: Limits::default(),
    })
}

pub(super) fn index(process: &ProcessId) -> usize {
    let found = PROCESSES.iter().position(|own| own == process);
    found.expect("a process of the model")
}

impl Place {
    pub(super) fn first() -> Self {
        Self::new(false)
    }

    /// The same, where sessions that nobody uses end.
    pub(super) fn first_that_ends() -> Self {
        Self::new(true)
    }

    fn new(ends: bool) -> Self {
        let records = Records::default();
        Self {
            store: StoreMachine::recover(settings(ends), EPOCH, &records, Time::ZERO),
            records,
            ends,
            sides: Default::default(),
            steps: 0,
            running: Vec::new(),
        }
    }

    /// What the store sees happens; answers what it says.
    pub(super) fn step(&mut self, input: Input) -> Vec<Output> {
        match &input {
            Input::Message {
                process,
                link,
                message,
            } => self.note(index(process), *link, message),
            Input::Disconnected { process, link } => {
                let side = &mut self.sides[index(process)];
                side.link = side.link.filter(|own| own != link);
            }
            _ => {}
        }
        let mut outputs = Vec::new();
        self.store.step(Time::ZERO, input, &mut outputs);
        for output in &outputs {
            match output {
                Output::Persist(update) => self.records.apply(update),
                Output::Send {
                    process,
                    link,
                    message,
                } => self.sides[index(process)].hear(*link, message),
                Output::Disconnect { process, link } => {
                    let side = &mut self.sides[index(process)];
                    side.link = side.link.filter(|own| own != link);
                }
            }
        }
        self.watch(false);
        self.steps += 1;
        outputs
    }

    /// The same of a process that is none of the model's, and has left before anything else begins.
    pub(super) fn prepare(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.store.step(Time::ZERO, input, &mut outputs);
        for output in &outputs {
            if let Output::Persist(update) = output {
                self.records.apply(update);
            }
        }
        outputs
    }

    /// A process says nothing more, and keeps its connection.
    pub(super) fn fall_silent(&mut self, process: usize) {
        self.sides[process].is_silent = true;
        self.watch(false);
        self.steps += 1;
    }

    fn note(&mut self, process: usize, link: Link, message: &ToStore) {
        let side = &mut self.sides[process];
        match message {
            ToStore::Hello {
                incarnation, waits, ..
            } => {
                let last = waits.iter().map(|acquire| acquire.request.0).max();
                side.last_request = side.last_request.max(last.unwrap_or(0));
                if side.incarnation <= incarnation.0 {
                    (side.link, side.is_silent) = (Some(link), false);
                }
                side.last_link = link.number;
                side.incarnation = side.incarnation.max(incarnation.0);
            }
            ToStore::Goodbye => side.link = None,
            ToStore::Acquire(acquire) => {
                side.last_request = side.last_request.max(acquire.request.0);
            }
            ToStore::Release {
                requeue: Some(request),
                ..
            } => side.last_request = side.last_request.max(request.0),
            _ => {}
        }
    }

    pub(super) fn restart(&mut self) {
        let epoch = self.store.stamps().last().epoch + 1;
        self.store = StoreMachine::recover(settings(self.ends), epoch, &self.records, Time::ZERO);
        for side in &mut self.sides {
            (side.link, side.is_silent) = (None, false);
        }
        self.watch(true);
        self.steps += 1;
    }

    /// Whether a black box can say it: it was told the numbers in it.
    pub(super) fn can_say(&self, message: &ToStore) -> bool {
        // What another was told is known too: the black box is all of them.
        let told = |stamp: Stamp| {
            stamp == Stamp::default() || self.sides.iter().any(|side| side.told.contains(&stamp))
        };
        match message {
            ToStore::Hello { holds, waits, .. } => {
                holds.iter().all(|hold| told(hold.token.0))
                    && waits
                        .iter()
                        .all(|acquire| acquire.ticket.is_none_or(|ticket| told(ticket.0)))
            }
            ToStore::Acquire(acquire) => acquire.ticket.is_none_or(|ticket| told(ticket.0)),
            ToStore::Commit { token, base, .. } | ToStore::Release { token, base, .. } => {
                told(token.0) && told(base.0)
            }
            ToStore::Busy { token, .. }
            | ToStore::Destroy { token, .. }
            | ToStore::Rename { token, .. } => told(token.0),
            ToStore::KeepAlive { .. } | ToStore::Cancel { .. } | ToStore::Goodbye => true,
        }
    }

    /// Why waiting for that timer would show something else, if it would.
    pub(super) fn race(&self, timer: &Timer) -> Option<&'static str> {
        let first = self.running.first();
        match timer {
            Timer::Remind(session) => {
                let holder = self.store.session(session).and_then(|own| own.holder());
                let is_told = holder.is_some_and(|own| self.is_connected(own));
                (!is_told).then_some("a recall that is repeated to nobody shows nothing")
            }
            Timer::Expire(_) => None,
            Timer::Lease(_) if !self.is_running(timer) => Some(SPEAKS),
            _ if first.is_none_or(|first| first.timer != *timer) => Some(match timer {
                Timer::Wait(..) => "a wait ends after the recalls and leases that run",
                _ => "another timer began to run before it, and ends first",
            }),
            _ if self.lead(timer) == Lead::Tied => {
                Some("which of two timers that begin together ends first is the target's own")
            }
            _ => None,
        }
    }

    /// How far a timer, the first that runs, is ahead of the next.
    pub(super) fn lead(&self, timer: &Timer) -> Lead {
        let is_wait = |timer: &Timer| matches!(timer, Timer::Wait(..));
        let own = self.running.iter().find(|own| own.timer == *timer);
        let mut like = self.running.iter();
        let next =
            like.find(|other| other.timer != *timer && is_wait(&other.timer) == is_wait(timer));
        match (own, next) {
            (Some(own), Some(next)) if own.since < next.since => Lead::By(next.since),
            (Some(_), Some(_)) => Lead::Tied,
            _ => Lead::Alone,
        }
    }

    pub(super) fn is_running(&self, timer: &Timer) -> bool {
        self.running.iter().any(|own| own.timer == *timer)
    }

    fn is_connected(&self, process: &ProcessId) -> bool {
        self.sides[index(process)].link.is_some()
    }

    /// Notes which timers run towards an end that is known from outside, in the order of their ends: leases of those who are
    /// away or silent, then recalls that insist, as both began; and behind all of them the waits.
    fn watch(&mut self, is_new_life: bool) {
        let before = std::mem::take(&mut self.running);
        let runs = |timer: &Timer| match timer {
            Timer::Lease(process) => {
                let side = &self.sides[index(process)];
                side.link.is_none() || side.is_silent
            }
            Timer::Revoke(_) | Timer::Wait(..) => true,
            Timer::Remind(_) | Timer::Expire(_) => false,
        };
        for (_, timer) in self.store.timers().filter(|(_, timer)| runs(timer)) {
            let holder = match &timer {
                Timer::Revoke(session) => {
                    let own = self.store.session(session);
                    own.and_then(|own| own.holder()).cloned()
                }
                _ => None,
            };
            let is_it = |own: &&Running| own.timer == timer && own.holder == holder;
            let known = before.iter().find(is_it).filter(|_| !is_new_life);
            let since = known.map_or(self.steps, |own| own.since);
            self.running.push(Running {
                timer,
                holder,
                since,
            });
        }
        let end = |own: &Running| (matches!(own.timer, Timer::Wait(..)), own.since);
        self.running.sort_by_key(end);
    }
}

impl Side {
    pub(super) fn next_link(&self) -> Link {
        Link {
            incarnation: Incarnation(self.incarnation.max(1)),
            number: self.last_link + 1,
        }
    }

    pub(super) fn next_request(&self) -> Request {
        Request(self.last_request + 1)
    }

    fn hear(&mut self, link: Link, message: &ToProcess) {
        if self.link != Some(link) {
            return;
        }
        match message {
            ToProcess::Granted { token, version, .. } => {
                self.told.extend([token.0, version.0]);
            }
            ToProcess::Queued { ticket, .. } => {
                self.ticket = Some(*ticket);
                self.told.insert(ticket.0);
            }
            ToProcess::Committed { version, .. } => drop(self.told.insert(version.0)),
            ToProcess::Released { version, token, .. } => {
                self.told.extend(version.map(|version| version.0));
                self.old = Some(*token);
            }
            ToProcess::Revoked { token, .. } => self.old = Some(*token),
            ToProcess::Gone { renamed, token, .. } => {
                self.told.extend(renamed.as_ref().map(|hold| hold.token.0));
                self.old = Some(*token);
            }
            ToProcess::Welcome { gone, .. } => {
                let renamed = gone.iter().filter_map(|(_, renamed)| renamed.as_ref());
                self.told.extend(renamed.map(|hold| hold.token.0));
            }
            ToProcess::Superseded | ToProcess::Full => self.link = None,
            _ => {}
        }
    }
}
