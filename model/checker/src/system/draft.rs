//! The draft of a successor: it lets a machine step, puts its messages on the wires, and finishes the state.

use super::canonical::{Numbered, Shift};
use super::event::{StepEvents, TraceEvent};
use super::player::{Cue, Player};
use super::scope::process_of;
use super::stage::{Event, Staged, stage};
use super::watch::Violation;
use super::{Action, Model, PROCESSES, PROCESSES_MAX, ProcessTimer, Shared, System, Wire};
use tenure_protocol::store::{Admission, Input as StoreInput, Stopping};
use tenure_protocol::{Hook, Link, ToProcess, ToStore};

pub(super) struct Draft<'a, H> {
    model: &'a Model<H>,
    next: System<H>,
    /// The changed wires, taken out of the state.
    wires: [Option<Wire>; PROCESSES_MAX],
    /// The trace events, if they are recorded.
    events: Option<Vec<TraceEvent>>,
    /// The threads of the moving process that were refused as absent, one bit for each.
    pub(super) told_absent: u8,
}

impl<H: Hook> Model<H> {
    /// Returns the most messages that may be under way between a process and the store.
    fn channel_max(&self, index: usize) -> usize {
        let is_faulty = self.is_faulty(index as u8);
        self.universe
            .channel_max
            .filter(|_| is_faulty)
            .unwrap_or(usize::MAX)
    }

    /// Takes a transition with its trace events. The state is not in canonical form.
    pub(crate) fn tell(&self, state: &System<H>, action: Action) -> StepEvents<H> {
        let mut draft = Draft::new(self, state);
        draft.events = Some(Vec::new());
        draft.take(action);
        let events = draft.events.take().unwrap_or_default();
        let told_absent = draft.told_absent;
        let mut next = draft.finish();
        if let Some(process) = process_of(action) {
            next.violation = next
                .violation
                .or_else(|| self.falsely_absent(state, process.into(), told_absent));
        }
        StepEvents {
            next: self.with_absent(next, state),
            events,
        }
    }
}

impl<'a, H: Hook> Draft<'a, H> {
    pub(super) fn new(model: &'a Model<H>, state: &System<H>) -> Self {
        let mut next = state.clone();
        next.violation = None;
        Self {
            model,
            next,
            wires: [const { None }; PROCESSES_MAX],
            events: None,
            told_absent: 0,
        }
    }

    fn tell(&mut self, event: impl FnOnce() -> TraceEvent) {
        if let Some(events) = &mut self.events {
            events.push(event());
        }
    }

    pub(super) fn take(&mut self, action: Action) {
        match action {
            Action::Thread { process, thread } => self.cue(process, Cue::Run(thread)),
            Action::Abandon { process, thread } => self.cue(process, Cue::Abandon(thread)),
            Action::ToStore { .. }
            | Action::Flush
            | Action::StoreTimer(_)
            | Action::Stop { .. }
            | Action::Fill { .. } => {
                let event = self
                    .event_of(action)
                    .expect("every action of this arm has an event of the store");
                self.event(event);
            }
            Action::ToProcess {
                process,
                place,
                stays,
            } => self.process_hears(process, place.into(), stays),
            Action::LoseUp { process, place } => {
                self.tell(|| TraceEvent::Lost {
                    process: process.into(),
                    is_up: true,
                    place: place.into(),
                });
                self.wire(process.into()).up.remove(place.into());
            }
            Action::LoseDown { process, place } => {
                self.tell(|| TraceEvent::Lost {
                    process: process.into(),
                    is_up: false,
                    place: place.into(),
                });
                self.wire(process.into()).down.remove(place.into());
            }
            // A process that receives more messages before it notices the cut equals a process that received them
            // before the cut.
            Action::Cut { process, arrive } => {
                self.close(process.into(), arrive.into());
                self.cue(process, Cue::Cut);
            }
            Action::Silence { process } => {
                let index = process.into();
                self.lose(index, true, 0);
                self.lose(index, false, 0);
                self.wire(index).is_open = false;
            }
            // An unanswered hello is sent again on a new connection.
            Action::ProcessTimer {
                process,
                timer: ProcessTimer::ResendHello,
            } if self.model.universe.silences.is_some() => {
                let index = process.into();
                self.lose(index, true, 0);
                self.lose(index, false, 0);
                self.wire(index).is_open = true;
                self.cue(process, Cue::Timer(ProcessTimer::ResendHello));
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
            Action::ProcessTimer { process, timer } => self.cue(process, Cue::Timer(timer)),
            Action::Tick { clocks } => self.tick(clocks),
        }
    }

    pub(super) fn finish(mut self) -> System<H> {
        for (index, wire) in self.wires.into_iter().enumerate() {
            if let Some(wire) = wire {
                self.next.wires[index] = Some(Shared::new(wire, self.model.lister()));
            }
        }
        self.next
    }

    fn blame(&mut self, violation: Option<Violation>) {
        self.next.violation = self.next.violation.or(violation);
    }

    fn wire(&mut self, index: usize) -> &mut Wire {
        self.wires[index].get_or_insert_with(|| {
            (**self.next.wires[index]
                .as_ref()
                .expect("every process has a wire"))
            .clone()
        })
    }

    // The machines.

    fn cue(&mut self, process: u8, cue: Cue) {
        let index = usize::from(process);
        let actor = self.next.processes[index]
            .as_ref()
            .expect("every process of the universe has a state");
        if let Some(events) = &mut self.events {
            events.extend(Player::overhear(self.model, (**actor).clone(), cue.clone()));
        }
        let Player { side, played, .. } = Player::play(self.model, (**actor).clone(), cue);
        self.next.processes[index] = Some(Shared::new(side, self.model.lister()));
        self.blame(played.violation);
        self.told_absent |= played.told_absent;
        for (link, message) in &played.sent {
            self.send_up(index, *link, message);
        }
        if let Some(link) = played.closed {
            self.hang_up(index, link);
        }
    }

    fn event(&mut self, event: Event) {
        if let (Event::Flush, Some(update)) = (&event, self.next.store.updates.first()) {
            let update = update.clone();
            self.tell(|| TraceEvent::Durable(update));
        }
        let mut side = (*self.next.store).clone();
        let staged = stage(self.model, &mut side, self.next.destroyed, &event);
        self.next.store = Shared::new(side, self.model.lister());
        self.next.destroyed = staged.destroyed;
        self.blame(staged.violation);
        self.deliver(&staged, None);
    }

    /// Puts the store's messages on the wires: those to this process, or all.
    pub(super) fn deliver(&mut self, staged: &Staged, to: Option<usize>) {
        for (index, link, message) in &staged.sent {
            if to.is_none_or(|to| to == *index) {
                self.send_down(*index, *link, message);
            }
        }
    }

    fn restart(&mut self) {
        self.event(Event::Restart);
        for index in 0..self.model.universe.programs.len() {
            self.close(index, 0);
            self.lose(index, true, 0); // The store that would have received them is gone.
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

    /// Returns the event of an action at the store. A received message is taken from the channel.
    pub(super) fn event_of(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::ToStore {
                process,
                place,
                stays,
            } => Some(self.store_hears(process, place.into(), stays)),
            Action::Flush => Some(Event::Flush),
            Action::StoreTimer(timer) => Some(Event::Step(StoreInput::Timer(timer.timer()))),
            Action::Stop { drains } => {
                let stopping = if drains {
                    Stopping::Draining
                } else {
                    Stopping::Keeping
                };
                let now = self.next.store.machine.admission();
                Some(Event::Step(StoreInput::Admission(Admission {
                    stopping,
                    ..now
                })))
            }
            Action::Fill { is_full } => {
                let now = self.next.store.machine.admission();
                Some(Event::Step(StoreInput::Admission(Admission {
                    is_full,
                    ..now
                })))
            }
            _ => None,
        }
    }

    fn store_hears(&mut self, process: u8, place: usize, stays: bool) -> Event {
        self.tell(|| TraceEvent::Arrived {
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
        Event::Step(match message {
            Some(message) => StoreInput::Message {
                process,
                link,
                message,
            },
            None => StoreInput::Disconnected { process, link },
        })
    }

    fn process_hears(&mut self, process: u8, place: usize, stays: bool) {
        self.tell(|| TraceEvent::Arrived {
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

    /// Breaks the connection: all messages to the process are lost, and all but the first `arrive` messages to the
    /// store.
    fn close(&mut self, index: usize, arrive: usize) {
        let link = self.next.link(index);
        self.lose(index, false, 0);
        self.lose(index, true, arrive);
        let wire = self.wire(index);
        if let (Some(link), true) = (link, wire.is_open) {
            wire.up.push((link, None));
            self.tell(|| TraceEvent::Ended { process: index });
        }
        self.wire(index).is_open = false;
    }

    /// Closes the connection on the process's side. Messages sent before still arrive.
    fn hang_up(&mut self, index: usize, link: Link) {
        let is_wild = self.model.channel_max(index) != usize::MAX;
        self.lose(index, false, 0);
        let wire = self.wire(index);
        if wire.is_open && !is_wild {
            wire.up.push((link, None));
            self.tell(|| TraceEvent::Ended { process: index });
        }
        self.wire(index).is_open = false;
    }

    /// Loses all but the first `kept` messages of a channel.
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
            self.tell(|| TraceEvent::Lost {
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
        self.tell(|| TraceEvent::SentUp {
            process: index,
            message: message.clone(),
            is_under_way,
        });
    }

    /// Puts a message to a process on its wire. A message on a replaced or cut connection is lost.
    fn send_down(&mut self, index: usize, link: Link, message: &ToProcess) {
        let max = self.model.channel_max(index);
        let current = self.next.link(index);
        let wire = self.wire(index);
        let is_under_way =
            wire.is_open && current == Some(link) && wire.up.len() + wire.down.len() < max;
        if is_under_way {
            wire.down.push((link, message.clone()));
        }
        self.tell(|| TraceEvent::SentDown {
            process: index,
            message: message.clone(),
            is_under_way,
        });
    }
}
