//! The place of a script: the store's machine, and the knowledge of each process.

use crate::system::{PROCESSES, PROCESSES_MAX};
use std::collections::BTreeSet;
use tenure_protocol::message::{Commit, Granted, Hello, Release};
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{
    Incarnation, Limits, Link, ProcessId, Records, Request, Settings, Stamp, StoreMachine,
    StoreSettings, Ticket, Time, ToProcess, ToStore, Token,
};

/// The knowledge of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub(super) link: Option<Link>,
    /// Whether the process has stopped sending keep-alives.
    pub(super) is_silent: bool,
    pub(super) incarnation: u64,
    pub(super) last_link: u64,
    pub(super) last_request: u64,
    /// The tokens, versions and tickets that the process has received.
    pub(super) told: BTreeSet<Stamp>,
    /// A token of the process that is no longer valid.
    pub(super) old: Option<Token>,
    pub(super) ticket: Option<Ticket>,
}

/// A place; see the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) store: StoreMachine,
    records: Records,
    /// Whether unused sessions end.
    ends: bool,
    pub(super) sides: [Side; PROCESSES_MAX],
    /// The number of steps taken.
    pub(super) steps: usize,
    /// The timers whose end is known from outside, the next to end first.
    pub(super) running: Vec<Running>,
}

/// A running timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) timer: Timer,
    /// The holder of the recalled grant. A recall outlives its token when the grant is made again after a restart.
    holder: Option<ProcessId>,
    /// The step that started the timer.
    since: usize,
}

/// The lead of a timer over the next timer that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// There is no next timer.
    Alone,
    /// The rest of all processes before this step, which started the next timer.
    By(usize),
    /// Both timers started in one step.
    Tied,
}

/// The reason for which the lease of a speaking process cannot end in a script. A silent process is another case.
pub(super) const SPEAKS: &str = "a connected process that speaks keeps its lease";

/// The epoch in the universes of the model and in the oracle of the suite. Scripts contain numbers of this epoch.
pub(super) const EPOCH: u64 = 2;

/// Returns the settings of the suite's oracle: timers are due when a script says so.
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
    found.expect("scripts name only processes of the model")
}

impl Place {
    pub(super) fn first() -> Self {
        Self::new(false)
    }

    /// Returns the same place with unused sessions that end.
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

    /// Applies an input to the store and returns its outputs.
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

    /// Applies an input of a process outside the model, which leaves before the script proper begins.
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

    /// Makes a process silent. It keeps its connection.
    pub(super) fn fall_silent(&mut self, process: usize) {
        self.sides[process].is_silent = true;
        self.watch(false);
        self.steps += 1;
    }

    fn note(&mut self, process: usize, link: Link, message: &ToStore) {
        let side = &mut self.sides[process];
        match message {
            ToStore::Hello(Hello {
                incarnation, waits, ..
            }) => {
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
            ToStore::Release(Release {
                requeue: Some(request),
                ..
            }) => side.last_request = side.last_request.max(request.0),
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

    /// Returns whether a black box can send a message: it has received the numbers in the message.
    pub(super) fn can_say(&self, message: &ToStore) -> bool {
        // The black box plays all processes, so the numbers that another process received are known too.
        let told = |stamp: Stamp| {
            stamp == Stamp::default() || self.sides.iter().any(|side| side.told.contains(&stamp))
        };
        match message {
            ToStore::Hello(Hello { holds, waits, .. }) => {
                holds.iter().all(|hold| told(hold.token.0))
                    && waits
                        .iter()
                        .all(|acquire| acquire.ticket.is_none_or(|ticket| told(ticket.0)))
            }
            ToStore::Acquire(acquire) => acquire.ticket.is_none_or(|ticket| told(ticket.0)),
            ToStore::Commit(Commit { token, base, .. })
            | ToStore::Release(Release { token, base, .. }) => told(token.0) && told(base.0),
            ToStore::Busy { token, .. }
            | ToStore::Destroy { token, .. }
            | ToStore::Rename { token, .. } => told(token.0),
            ToStore::KeepAlive { .. } | ToStore::Cancel { .. } | ToStore::Goodbye => true,
        }
    }

    /// Returns the reason for which waiting for a timer would show something else, if there is one.
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

    /// Returns the lead of a timer, the first running one, over the next.
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

    /// Notes the running timers whose end is known from outside, in the order of their ends: the leases of absent or
    /// silent processes and the insisting recalls by their start, and behind them the waits.
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
            ToProcess::Granted(Granted { token, version, .. }) => {
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
