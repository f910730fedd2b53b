//! A world of one store and some processes. A script delivers every message, and a transcript records every event.

#![allow(dead_code)] // Each test file uses its own part of it.

pub(crate) mod book;
pub(crate) mod chart;
pub(crate) mod forgetful;
pub(crate) mod scenes;
pub(crate) mod script;
pub(crate) mod twin;
pub(crate) mod words;

use forgetful::Forgetful;
use script::{Fate, Op};
use std::collections::VecDeque;
use std::fmt::Write as _;
use tenure_protocol::process::{self, Call};
use tenure_protocol::{
    Incarnation, Link, ProcessId, ProcessMachine, ProcessSettings, Records, SessionId, Settings,
    StoreMachine, StoreSettings, ThreadId, Time, ToProcess, ToStore, store,
};
use twin::Twin;

/// A packet under way on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Packet<M> {
    Message(Link, M),
    /// The end of a connection, as the receiver will notice it.
    Closed(Link),
}

/// A process and its two lines.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) label: String,
    pub(crate) name: ProcessId,
    pub(crate) process: ProcessMachine,
    /// The same process with every session detached that can be.
    pub(crate) twin: Twin,
    pub(crate) to_store: VecDeque<Packet<ToStore>>,
    pub(crate) to_process: VecDeque<Packet<ToProcess>>,
}

/// The settings of the machines of a world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) store: StoreSettings,
    pub(crate) process: ProcessSettings,
}

/// The outputs of a machine in a step, for observers.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Store(store::Input, Vec<store::Output>),
    Process(usize, process::Input, Vec<process::Output>),
}

/// A world; see the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) setup: Setup,
    pub(crate) store: StoreMachine,
    /// The same store with every session evicted that can be.
    forgetful: Forgetful,
    pub(crate) epoch: u64,
    pub(crate) records: Records,
    pub(crate) nodes: Vec<Node>,
    /// The transcript so far; `None` when no test reads it.
    pub(crate) log: Option<String>,
    /// The outputs since the last call that took them.
    pub(crate) seen: Vec<Seen>,
}

/// Pushes a line to the transcript.
macro_rules! line {
    ($world:expr, $($words:tt)*) => {
        if let Some(log) = &mut $world.log {
            writeln!(log, $($words)*).expect("text can be written");
        }
    };
}

impl World {
    pub(crate) fn new(setup: Setup, nodes: &[&str]) -> Self {
        let records = Records::default();
        let store =
            StoreMachine::recover(Settings::new(setup.store.clone()), 1, &records, Time::ZERO);
        let forgetful = Forgetful::recover(&setup.store, 1, &records, Time::ZERO);
        let mut world = Self {
            now: Time::ZERO,
            setup,
            forgetful,
            store,
            epoch: 1,
            records,
            nodes: Vec::new(),
            log: None,
            seen: Vec::new(),
        };
        for label in nodes {
            let name = ProcessId::new((*label).to_owned()).expect("a short name");
            world.start(label, name, Incarnation(1));
        }
        world
    }

    /// Creates a world of connected and welcomed processes.
    pub(crate) fn connected(setup: Setup, nodes: &[&str]) -> Self {
        let mut world = Self::new(setup, nodes);
        for label in nodes {
            world.play(&Op::Connect((*label).to_owned()));
        }
        world.play(&Op::Settle);
        world.seen.clear();
        world
    }

    fn start(&mut self, label: &str, name: ProcessId, incarnation: Incarnation) {
        let process = ProcessMachine::new(Settings::new(self.setup.process.clone()), incarnation);
        self.nodes.push(Node {
            label: label.to_owned(),
            name,
            process: process.clone(),
            twin: Twin::new(process, self.setup.process.limits.clone()),
            to_store: VecDeque::new(),
            to_process: VecDeque::new(),
        });
    }

    pub(crate) fn run(&mut self, script: &str) {
        for line in script.lines() {
            let line = line.trim();
            if let Some(note) = line.strip_prefix('#') {
                line!(self, "\n#{note}");
            } else if !line.is_empty() {
                self.play(&line.parse::<Op>().expect("never fails"));
            }
        }
    }

    pub(crate) fn at(&self, label: &str) -> usize {
        let node = self.nodes.iter().position(|node| node.label == label);
        node.unwrap_or_else(|| panic!("no such process: {label}"))
    }

    pub(crate) fn node(&self, label: &str) -> &Node {
        &self.nodes[self.at(label)]
    }

    pub(crate) fn play(&mut self, op: &Op) {
        line!(self, "\n{op}");
        match op {
            Op::Connect(node) => self.process(self.at(node), process::Input::Connected),
            Op::Cut(node) => self.cut(self.at(node)),
            Op::Send(node, fate) => self.send(self.at(node), *fate),
            Op::Get(node, fate) => self.get(self.at(node), *fate),
            Op::Crash(node) => self.crash(self.at(node)),
            Op::Next(node, label) => {
                let old = self.node(node);
                let (name, incarnation) = (old.name.clone(), old.process.incarnation());
                self.start(label, name, Incarnation(incarnation.0 + 1));
            }
            Op::Tick(node) => self.tick(self.at(node)),
            Op::Release(node, session) => {
                self.process(self.at(node), process::Input::Release(session.clone()));
            }
            Op::Forget(node, session) => {
                self.process(self.at(node), process::Input::Forget(session.clone()));
            }
            Op::Shutdown(node) => self.process(self.at(node), process::Input::Shutdown),
            Op::Thread(node, thread, session, call) => {
                self.call(self.at(node), ThreadId(*thread), session, call);
            }
            Op::StoreCrash => self.store_crash(),
            Op::StoreTick => self.store_tick(),
            Op::StoreRecall(session) => self.store(store::Input::Recall(session.clone())),
            Op::Wait(ms) => {
                self.now = self.now.after(*ms);
                line!(self, "  clock  {}", self.now);
            }
            Op::Settle => self.settle(),
        }
    }

    fn call(&mut self, at: usize, thread: ThreadId, session: &SessionId, call: &Call) {
        let mut call = call.clone();
        if let Call::Lock { until, .. } = &mut call {
            *until = self.now.after(until.0);
        }
        let session = session.clone();
        self.process(
            at,
            process::Input::Thread {
                thread,
                session,
                call,
            },
        );
    }

    /// Takes one step of a process.
    pub(crate) fn process(&mut self, at: usize, input: process::Input) {
        let node = &mut self.nodes[at];
        let before = self
            .log
            .is_some()
            .then(|| words::parts_of_process(&node.process));
        let mut out = Vec::new();
        node.process.step(self.now, input.clone(), &mut out);
        node.twin.step(self.now, &input, &node.process, &out);
        self.seen.push(Seen::Process(at, input, out.clone()));
        let label = self.nodes[at].label.clone();
        if let Some(before) = before {
            let after = words::parts_of_process(&self.nodes[at].process);
            self.log_changes(&label, &before, &after);
        }
        for output in out {
            match output {
                process::Output::Send { link, message } => {
                    line!(self, "  {label:6} sends {}", words::to_store(&message));
                    self.nodes[at]
                        .to_store
                        .push_back(Packet::Message(link, message));
                }
                process::Output::Answer {
                    thread,
                    session,
                    answer,
                } => {
                    let who = format!("{label}.{thread}");
                    line!(
                        self,
                        "  {who:6} receives: {session} {}",
                        words::answer(&answer)
                    );
                }
                process::Output::Disconnect { link } => {
                    line!(self, "  {label:6} closes {link}");
                    let node = &mut self.nodes[at];
                    node.to_process.clear();
                    node.to_store.push_back(Packet::Closed(link));
                }
            }
        }
    }

    /// Takes one step of the store.
    pub(crate) fn store(&mut self, input: store::Input) {
        let before = self
            .log
            .is_some()
            .then(|| words::parts_of_store(&self.store));
        let mut out = Vec::new();
        self.store.step(self.now, input.clone(), &mut out);
        let other = (&self.store, &out[..]);
        self.forgetful.step(self.now, &input, &self.records, other);
        self.seen.push(Seen::Store(input, out.clone()));
        if let Some(before) = before {
            let after = words::parts_of_store(&self.store);
            self.log_changes("store", &before, &after);
        }
        for output in out {
            match output {
                store::Output::Persist(update) => {
                    line!(self, "  store  makes durable: {}", words::update(&update));
                    self.records.apply(&update);
                }
                store::Output::Send {
                    process,
                    link,
                    message,
                } => {
                    line!(
                        self,
                        "  store  sends {process}: {}",
                        words::to_process(&message)
                    );
                    if let Some(node) = self.line_of(&process, link) {
                        node.to_process.push_back(Packet::Message(link, message));
                    }
                }
                store::Output::Disconnect { process, link } => {
                    line!(self, "  store  closes {link} of {process}");
                    if let Some(node) = self.line_of(&process, link) {
                        node.to_store.clear();
                        node.to_process.push_back(Packet::Closed(link));
                    }
                }
            }
        }
    }

    fn line_of(&mut self, process: &ProcessId, link: Link) -> Option<&mut Node> {
        let mut nodes = self.nodes.iter_mut();
        nodes.find(|node| node.name == *process && node.process.incarnation() == link.incarnation)
    }

    fn log_changes(&mut self, who: &str, before: &[(String, String)], after: &[(String, String)]) {
        let value = |parts: &[(String, String)], name: &str| {
            let part = parts.iter().find(|(own, _)| own == name);
            part.map(|(_, words)| words.clone())
        };
        let mut names: Vec<&String> = before.iter().chain(after).map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (old, new) = (value(before, name), value(after, name));
            if old == new {
                continue;
            }
            let nothing = || "nothing".to_owned();
            line!(self, "  {who:6} {name}: {}", old.unwrap_or_else(nothing));
            line!(
                self,
                "       {:1$} => {2}",
                "",
                name.len(),
                new.unwrap_or_else(nothing)
            );
        }
    }

    fn cut(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let lost = node.to_store.len() + node.to_process.len();
        node.to_store.clear();
        node.to_process.clear();
        use process::Connection::{Down, Greeting, Up};
        if let Greeting(link) | Up(link) = node.process.connection() {
            node.to_store.push_back(Packet::Closed(link));
            node.to_process.push_back(Packet::Closed(link));
        } else if let Down = node.process.connection() {
            line!(self, "  there is no connection");
        }
        line!(self, "  {lost} messages are lost");
    }

    /// Returns the next packet of a line, with its fate applied.
    fn next<M: Clone>(queue: &mut VecDeque<Packet<M>>, fate: Fate) -> Option<Packet<M>> {
        let packet = queue.pop_front()?;
        match fate {
            Fate::Arrives => Some(packet),
            Fate::Lost => None,
            Fate::Twice => {
                queue.push_front(packet.clone());
                Some(packet)
            }
            Fate::Late => {
                queue.push_back(packet);
                None
            }
        }
    }

    fn send(&mut self, at: usize, fate: Fate) {
        let process = self.nodes[at].name.clone();
        let label = self.nodes[at].label.clone();
        match Self::next(&mut self.nodes[at].to_store, fate) {
            Some(Packet::Message(link, message)) => {
                line!(self, "  {label:6} > store: {}", words::to_store(&message));
                self.store(store::Input::Message {
                    process,
                    link,
                    message,
                });
            }
            Some(Packet::Closed(link)) => {
                line!(self, "  store  notices that {link} of {process} is closed");
                self.store(store::Input::Disconnected { process, link });
            }
            None => line!(self, "  nothing arrives"),
        }
    }

    fn get(&mut self, at: usize, fate: Fate) {
        let label = self.nodes[at].label.clone();
        match Self::next(&mut self.nodes[at].to_process, fate) {
            Some(Packet::Message(link, message)) => {
                line!(self, "  store  > {label}: {}", words::to_process(&message));
                self.process(at, process::Input::Message { link, message });
            }
            Some(Packet::Closed(link)) => {
                use process::Connection::{Greeting, Up};
                let connection = self.nodes[at].process.connection();
                if matches!(connection, Greeting(own) | Up(own) if own == link) {
                    line!(self, "  {label:6} notices that {link} is closed");
                    self.process(at, process::Input::Disconnected);
                }
            }
            None => line!(self, "  nothing arrives"),
        }
    }

    /// Delivers everything, one message of each line in turn.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            let is_quiet = |node: &Node| node.to_store.is_empty() && node.to_process.is_empty();
            if self.nodes.iter().all(is_quiet) {
                return;
            }
            for at in 0..self.nodes.len() {
                if !self.nodes[at].to_store.is_empty() {
                    self.send(at, Fate::Arrives);
                }
                if !self.nodes[at].to_process.is_empty() {
                    self.get(at, Fate::Arrives);
                }
            }
        }
        panic!("the machines do not come to rest: {:?}", self.log);
    }

    fn crash(&mut self, at: usize) {
        self.cut(at);
        let incarnation = Incarnation(self.nodes[at].process.incarnation().0 + 1);
        let settings = Settings::new(self.setup.process.clone());
        let node = &mut self.nodes[at];
        node.process = ProcessMachine::new(settings, incarnation);
        node.twin = Twin::new(node.process.clone(), self.setup.process.limits.clone());
        node.to_process.clear();
    }

    fn store_crash(&mut self) {
        for node in &mut self.nodes {
            node.to_store.clear();
            node.to_process.clear();
            use process::Connection::{Greeting, Up};
            if let Greeting(link) | Up(link) = node.process.connection() {
                node.to_process.push_back(Packet::Closed(link));
            }
        }
        self.epoch += 1;
        let settings = Settings::new(self.setup.store.clone());
        self.store = StoreMachine::recover(settings, self.epoch, &self.records, self.now);
        self.forgetful = Forgetful::recover(&self.setup.store, self.epoch, &self.records, self.now);
        if self.log.is_some() {
            let after = words::parts_of_store(&self.store);
            self.log_changes("store", &[], &after);
        }
    }

    /// Fires the timers of a process that are due now.
    fn tick(&mut self, at: usize) {
        let mut due: Vec<_> = self.nodes[at].process.timers().collect();
        due.retain(|(due, _)| *due <= self.now);
        due.sort();
        for (_, timer) in due {
            line!(self, "  {:6} timer: {timer:?}", self.nodes[at].label);
            self.process(at, process::Input::Timer(timer));
        }
    }

    /// Fires the timers of the store that are due now.
    fn store_tick(&mut self) {
        let mut due: Vec<_> = self.store.timers().collect();
        due.retain(|(due, _)| *due <= self.now);
        due.sort();
        for (_, timer) in due {
            line!(self, "  store  timer: {timer:?}");
            self.store(store::Input::Timer(timer));
        }
    }
}

/// Plays a script in a world of connected processes, and returns the transcript after `# begin`, or from the start.
pub(crate) fn transcript(title: &str, setup: Setup, nodes: &[&str], script: &str) -> String {
    let mut world = World::connected(setup, nodes);
    world.log = Some(format!("{title}\n"));
    world.run(script);
    world.log.expect("it was just set")
}
