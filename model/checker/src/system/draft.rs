//! A successor in the making: who steps, what that puts on the wires, and the canonical form of the result.

use super::canonical::{Image, Lister, Numbered, Ranks, Shift, is_canonical};
use super::deed::{Deed, Told};
use super::memo::Memo;
use super::player::{Cue, Played, Player, value};
use super::stage::{Event, Staged, stage};
use super::watch::Flaw;
use super::{
    ATTRIBUTES, Action, Model, PROCESSES, PROCESSES_MAX, ProcessSide, SESSIONS, Shared, StoreSide,
    System, Wire,
};
use std::hash::Hash;
use std::iter;
use std::sync::Arc;
use tenure_protocol::attributes::{Change, Head};
use tenure_protocol::process::Connection;
use tenure_protocol::renumber::Numbers;
use tenure_protocol::store::{Input as StoreInput, Output};
use tenure_protocol::{
    Delta, Hook, Incarnation, Link, Process, Records, Stamp, Store, Time, ToProcess, ToStore,
    Update, Version,
};

/// Where the clocks stand in a universe that has some: far enough from 0 to have a past.
pub(super) const NOW: Time = Time(100);

type Actor<H> = Shared<ProcessSide<H>>;
type Scene<H> = Shared<StoreSide<H>>;
/// What a process is after its step, and what that caused.
type Outcome<H> = Arc<(Actor<H>, Played)>;
/// What the store is after its step, and what that caused.
type Aftermath<H> = Arc<(Scene<H>, Staged)>;

/// What every step that was ever taken led to.
#[derive(Debug)]
pub(super) struct Memos<H> {
    played: Memo<(Actor<H>, Cue), Outcome<H>>,
    staged: Memo<(Scene<H>, [Stamp; 2], Event), Aftermath<H>>,
    processes: Memo<(Actor<H>, Image), Actor<H>>,
    stores: Memo<(Scene<H>, Image), Scene<H>>,
    wires: Memo<(Shared<Wire>, Image), Shared<Wire>>,
}

impl<H: Hook> Default for Memos<H> {
    fn default() -> Self {
        Self {
            played: Memo::default(),
            staged: Memo::default(),
            processes: Memo::default(),
            stores: Memo::default(),
            wires: Memo::default(),
        }
    }
}

struct Draft<'a, H> {
    model: &'a Model<H>,
    next: System<H>,
    /// The wires that change, taken out of the state.
    wires: [Option<Wire>; PROCESSES_MAX],
    /// What happens, if somebody wants to know.
    deeds: Option<Vec<Deed>>,
}

impl<H: Hook> Model<H> {
    /// The points in time that the store and the processes are told.
    pub(crate) fn now(&self) -> (Time, Time) {
        if self.universe.clocks.is_some() {
            (NOW, NOW)
        } else {
            (Time::ZERO, Time::ZERO)
        }
    }

    /// How many messages may be under way between a process and the store.
    fn channel_max(&self, index: usize) -> usize {
        let is_faulty = self.is_faulty(index as u8);
        self.universe
            .channel_max
            .filter(|_| is_faulty)
            .unwrap_or(usize::MAX)
    }

    fn lister(&self) -> Lister {
        Lister::new(self.universe)
    }

    /// All processes connected, every session with all its attributes and nobody in it.
    pub(super) fn initial(&self) -> System<H> {
        let mut durable = Records::default();
        let delta: Delta = ATTRIBUTES
            .iter()
            .take(usize::from(self.universe.attributes))
            .map(|name| Change {
                name: name.clone(),
                value: Some(value(0)),
            })
            .collect();
        for (index, session) in SESSIONS
            .iter()
            .take(usize::from(self.universe.sessions))
            .enumerate()
        {
            let version = Version(Stamp {
                epoch: 1,
                sequence: index as u64 + 1,
            });
            let expires = self
                .store_settings
                .time_to_live_ms
                .map(|live| self.now().0.after(live));
            let head = Head {
                version,
                floor: version,
                holder: None,
                expires,
            };
            durable.apply(&Update::Put {
                session: session.clone(),
                head,
                delta: delta.clone(),
            });
        }
        let machine = Store::with_hook(
            self.hook,
            self.store_settings.clone(),
            2,
            &durable,
            self.now().0,
        );
        if !self.universe.restarts {
            durable = Records::default();
        }
        let store = Shared::new(
            StoreSide {
                machine,
                durable,
                outbox: Vec::new(),
            },
            self.lister(),
        );
        let mut state = System {
            store,
            processes: [const { None }; PROCESSES_MAX],
            wires: [const { None }; PROCESSES_MAX],
            destroyed: [Stamp::default(); 2],
            flaw: None,
        };
        for index in 0..self.universe.programs.len() {
            let machine =
                Process::with_hook(self.hook, self.process_settings.clone(), Incarnation(1));
            let process = index as u8;
            let (machine, threads) = (Some(machine), Default::default());
            let side = ProcessSide {
                index: process,
                machine,
                incarnation: 1,
                threads,
                skew: 0,
            };
            let wire = Wire {
                index: process,
                is_open: true,
                up: Vec::new(),
                down: Vec::new(),
            };
            state.processes[index] = Some(Shared::new(side, self.lister()));
            state.wires[index] = Some(Shared::new(wire, self.lister()));
            state = self.successor(&state, Action::Connect { process });
            state = self.successor(
                &state,
                Action::ToStore {
                    process,
                    place: 0,
                    stays: false,
                },
            );
            state = self.successor(
                &state,
                Action::ToProcess {
                    process,
                    place: 0,
                    stays: false,
                },
            );
        }
        state
    }

    /// The state after a transition, in canonical form.
    pub(super) fn successor(&self, state: &System<H>, action: Action) -> System<H> {
        let mut draft = Draft::new(self, state);
        draft.take(action);
        canonical(draft.finish(), self)
    }

    /// The state after a transition, not in canonical form, and what happened.
    pub(crate) fn tell(&self, state: &System<H>, action: Action) -> Told<H> {
        let mut draft = Draft::new(self, state);
        draft.deeds = Some(Vec::new());
        draft.take(action);
        let deeds = draft.deeds.take().unwrap_or_default();
        Told {
            next: draft.finish(),
            deeds,
        }
    }

    /// The same state in canonical form.
    pub(crate) fn canonical(&self, state: System<H>) -> System<H> {
        canonical(state, self)
    }

    fn play(&self, actor: &Actor<H>, cue: Cue) -> Arc<(Actor<H>, Played)> {
        self.memos.played.get((actor.clone(), cue), |(actor, cue)| {
            let Player { side, played, .. } = Player::play(self, (**actor).clone(), cue.clone());
            Arc::new((Shared::new(side, self.lister()), played))
        })
    }

    fn stage(
        &self,
        scene: &Scene<H>,
        destroyed: [Stamp; 2],
        event: Event,
    ) -> Arc<(Scene<H>, Staged)> {
        self.memos.staged.get(
            (scene.clone(), destroyed, event),
            |(scene, destroyed, event)| {
                let mut side = (**scene).clone();
                let staged = stage(self, &mut side, *destroyed, event);
                Arc::new((Shared::new(side, self.lister()), staged))
            },
        )
    }
}

impl<'a, H: Hook> Draft<'a, H> {
    fn new(model: &'a Model<H>, state: &System<H>) -> Self {
        let mut next = state.clone();
        next.flaw = None;
        Self {
            model,
            next,
            wires: [const { None }; PROCESSES_MAX],
            deeds: None,
        }
    }

    fn tell(&mut self, deed: impl FnOnce() -> Deed) {
        if let Some(deeds) = &mut self.deeds {
            deeds.push(deed());
        }
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Thread { process, thread } => self.cue(process, Cue::Run(thread)),
            Action::Abandon { process, thread } => self.cue(process, Cue::Abandon(thread)),
            Action::ToStore {
                process,
                place,
                stays,
            } => self.store_hears(process, place.into(), stays),
            Action::ToProcess {
                process,
                place,
                stays,
            } => self.process_hears(process, place.into(), stays),
            Action::LoseUp { process, place } => {
                self.tell(|| Deed::Lost {
                    process: process.into(),
                    is_up: true,
                    place: place.into(),
                });
                self.wire(process.into()).up.remove(place.into());
            }
            Action::LoseDown { process, place } => {
                self.tell(|| Deed::Lost {
                    process: process.into(),
                    is_up: false,
                    place: place.into(),
                });
                self.wire(process.into()).down.remove(place.into());
            }
            // That a process hears a few more messages before it notices the cut is the same as hearing them before.
            Action::Cut { process, arrive } => {
                self.close(process.into(), arrive.into());
                self.cue(process, Cue::Cut);
            }
            Action::Connect { process } => {
                self.wire(process.into()).is_open = true;
                self.cue(process, Cue::Connect);
            }
            Action::Crash { process, arrive } => {
                self.close(process.into(), arrive.into());
                self.cue(process, Cue::Crash);
            }
            Action::Start { process } => self.cue(process, Cue::Start),
            Action::Shutdown { process } => self.cue(process, Cue::Shutdown),
            Action::GiveBack { process, session } => self.cue(process, Cue::GiveBack(session)),
            Action::Restart => self.restart(),
            Action::Flush => self.event(Event::Flush),
            Action::StoreTimer(timer) => self.event(Event::Step(StoreInput::Timer(timer.timer()))),
            Action::ProcessTimer { process, timer } => self.cue(process, Cue::Timer(timer)),
            Action::Tick { clocks } => self.tick(clocks),
        }
    }

    fn finish(mut self) -> System<H> {
        for (index, wire) in self.wires.into_iter().enumerate() {
            if let Some(wire) = wire {
                self.next.wires[index] = Some(Shared::new(wire, self.model.lister()));
            }
        }
        self.next
    }

    fn blame(&mut self, flaw: Option<Flaw>) {
        self.next.flaw = self.next.flaw.or(flaw);
    }

    fn wire(&mut self, index: usize) -> &mut Wire {
        self.wires[index]
            .get_or_insert_with(|| (**self.next.wires[index].as_ref().expect("it exists")).clone())
    }

    // The machines.

    fn cue(&mut self, process: u8, cue: Cue) {
        let index = usize::from(process);
        let actor = self.next.processes[index].as_ref().expect("it exists");
        if let Some(deeds) = &mut self.deeds {
            deeds.extend(Player::overhear(self.model, (**actor).clone(), cue.clone()));
        }
        let result = self.model.play(actor, cue);
        let (actor, played) = &*result;
        self.next.processes[index] = Some(actor.clone());
        self.blame(played.flaw);
        for (link, message) in &played.sent {
            self.send_up(index, *link, message);
        }
        if let Some(link) = played.closed {
            self.hang_up(index, link);
        }
    }

    fn event(&mut self, event: Event) {
        if let (Event::Flush, Some(Output::Persist(update))) =
            (&event, self.next.store.outbox.first())
        {
            let update = update.clone();
            self.tell(|| Deed::Durable(update));
        }
        let result = self
            .model
            .stage(&self.next.store, self.next.destroyed, event);
        let (scene, staged) = &*result;
        self.next.store = scene.clone();
        self.next.destroyed = staged.destroyed;
        self.blame(staged.flaw);
        for (index, link, message) in &staged.sent {
            self.send_down(*index, *link, message);
        }
    }

    fn restart(&mut self) {
        self.event(Event::Restart);
        for index in 0..self.model.universe.programs.len() {
            self.close(index, 0);
            self.lose(index, true, 0); // There is nobody left to hear it.
            self.cue(index as u8, Cue::Cut);
        }
    }

    fn tick(&mut self, clocks: [u8; PROCESSES_MAX]) {
        self.event(Event::Tick);
        for index in 0..self.model.universe.programs.len() {
            self.cue(index as u8, Cue::Tick(clocks));
            self.wire(index).visit(&mut Shift::new(clocks));
        }
    }

    // The network.

    fn store_hears(&mut self, process: u8, place: usize, stays: bool) {
        self.tell(|| Deed::Arrived {
            process: process.into(),
            is_up: true,
            place,
            stays,
        });
        let wire = self.wire(process.into());
        let (link, message) = if stays {
            wire.up[place].clone()
        } else {
            wire.up.remove(place)
        };
        let process = PROCESSES[usize::from(process)].clone();
        self.event(Event::Step(match message {
            Some(message) => StoreInput::Message {
                process,
                link,
                message,
            },
            None => StoreInput::Disconnected { process, link },
        }));
    }

    fn process_hears(&mut self, process: u8, place: usize, stays: bool) {
        self.tell(|| Deed::Arrived {
            process: process.into(),
            is_up: false,
            place,
            stays,
        });
        let wire = self.wire(process.into());
        let (link, message) = if stays {
            wire.down[place].clone()
        } else {
            wire.down.remove(place)
        };
        self.cue(process, Cue::Hear(link, message));
    }

    /// The connection breaks: what is under way to the process is lost, and all but `arrive` messages to the store.
    fn close(&mut self, index: usize, arrive: usize) {
        let link = self.link(index);
        self.lose(index, false, 0);
        self.lose(index, true, arrive);
        let wire = self.wire(index);
        if let (Some(link), true) = (link, wire.is_open) {
            wire.up.push((link, None));
            self.tell(|| Deed::Ended { process: index });
        }
        self.wire(index).is_open = false;
    }

    /// The process closes its connection; what it sent before still arrives.
    fn hang_up(&mut self, index: usize, link: Link) {
        let is_wild = self.model.channel_max(index) != usize::MAX;
        self.lose(index, false, 0);
        let wire = self.wire(index);
        if wire.is_open && !is_wild {
            wire.up.push((link, None));
            self.tell(|| Deed::Ended { process: index });
        }
        self.wire(index).is_open = false;
    }

    /// All but the first messages in a channel are lost.
    fn lose(&mut self, index: usize, is_up: bool, kept: usize) {
        let wire = self.wire(index);
        let count = if is_up {
            wire.up.len()
        } else {
            wire.down.len()
        };
        if is_up {
            wire.up.truncate(kept)
        } else {
            wire.down.truncate(kept)
        }
        for _ in kept..count {
            self.tell(|| Deed::Lost {
                process: index,
                is_up,
                place: kept,
            });
        }
    }

    fn send_up(&mut self, index: usize, link: Link, message: &ToStore) {
        let max = self.model.channel_max(index);
        let wire = self.wire(index);
        let is_under_way = wire.is_open && wire.up.len() + wire.down.len() < max;
        if is_under_way {
            wire.up.push((link, Some(message.clone())));
        }
        self.tell(|| Deed::SentUp {
            process: index,
            message: message.clone(),
            is_under_way,
        });
    }

    /// What is sent on a connection that was replaced or cut goes nowhere.
    fn send_down(&mut self, index: usize, link: Link, message: &ToProcess) {
        let max = self.model.channel_max(index);
        let current = self.link(index);
        let wire = self.wire(index);
        let is_under_way =
            wire.is_open && current == Some(link) && wire.up.len() + wire.down.len() < max;
        if is_under_way {
            wire.down.push((link, message.clone()));
        }
        self.tell(|| Deed::SentDown {
            process: index,
            message: message.clone(),
            is_under_way,
        });
    }

    fn link(&self, index: usize) -> Option<Link> {
        match self.next.processes[index]
            .as_ref()?
            .machine
            .as_ref()?
            .connection()
        {
            Connection::Greeting(link) | Connection::Up(link) => Some(link),
            Connection::Down => None,
        }
    }
}

/// The same state with the smallest numbers. See `canonical`.
fn canonical<H: Hook>(mut state: System<H>, model: &Model<H>) -> System<H> {
    let memos = &model.memos;
    let is_destroyed = state.destroyed != [Stamp::default(); 2];
    let destroyed = is_destroyed.then(|| {
        let mut numbers = model.lister();
        state
            .destroyed
            .iter_mut()
            .for_each(|stamp| numbers.stamp(stamp));
        numbers.finish();
        numbers
    });
    let ranks = {
        let processes = state.processes.iter().flatten().map(Shared::numbers);
        let wires = state.wires.iter().flatten().map(Shared::numbers);
        let parts = iter::once(state.store.numbers())
            .chain(&destroyed)
            .chain(processes)
            .chain(wires);
        if is_canonical(parts.clone()) {
            return state;
        }
        Ranks::of(parts)
    };
    renumber(&mut state.store, &ranks, &memos.stores);
    state
        .processes
        .iter_mut()
        .flatten()
        .for_each(|part| renumber(part, &ranks, &memos.processes));
    state
        .wires
        .iter_mut()
        .flatten()
        .for_each(|part| renumber(part, &ranks, &memos.wires));
    if is_destroyed {
        state
            .destroyed
            .iter_mut()
            .for_each(|stamp| ranks.writer().stamp(stamp));
    }
    state
}

fn renumber<T: Numbered + Clone + Hash + Eq>(
    part: &mut Shared<T>,
    ranks: &Ranks,
    memo: &Memo<(Shared<T>, Image), Shared<T>>,
) {
    if let Some(image) = ranks.image(part.numbers()) {
        *part = memo.get((part.clone(), image), |(part, _)| part.renumbered(ranks));
    }
}
