//! The rows of a chart: first the action, then its trace events, then changes that would otherwise not be visible.

use super::Step;
use super::letters::{Letter, Letters};
use super::words::Words;
use crate::chart::{Chart, Event};
use crate::system::event::{StepEvents, TraceEvent};
use crate::system::{Action, Model, PROCESSES, SESSIONS, System};
use tenure_protocol::attributes::Holder;
use tenure_protocol::{Hook, ThreadId, Update};

/// A lane of the chart, before the renderer knows which lanes are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    Thread(usize, usize),
    Process(usize),
    Store,
}

/// A chart in the making; see the [module](self).
pub(super) struct Renderer<'a, H> {
    pub(super) model: &'a Model<H>,
    words: Words,
    chart: Chart,
    actors: Vec<Actor>,
    letters: Letters,
    step: usize,
}

impl<'a, H: Hook> Renderer<'a, H> {
    pub(super) fn new(model: &'a Model<H>, title: String) -> Self {
        let processes = model.universe.programs.len();
        let mut actors = Vec::new();
        for process in 0..processes {
            let threads = (0..model.threads(process)).map(|thread| Actor::Thread(process, thread));
            // The first process stands to the left of the store, with its threads outside; the others stand to the
            // right.
            if process == 0 {
                actors.extend(threads);
                actors.extend([Actor::Process(process), Actor::Store]);
            } else {
                actors.push(Actor::Process(process));
                actors.extend(threads);
            }
        }
        let names = actors.iter().map(|actor| match actor {
            Actor::Thread(process, thread) => format!("{}.t{}", PROCESSES[*process], thread + 1),
            Actor::Process(process) => PROCESSES[*process].to_string(),
            Actor::Store => "store".to_owned(),
        });
        Self {
            model,
            words: Words {
                names_sessions: model.universe.sessions > 1,
            },
            chart: Chart::new(title, names.collect::<Vec<_>>()),
            letters: Letters::new(processes),
            actors,
            step: 0,
        }
    }

    /// Marks the beginning of the steps that repeat for ever.
    pub(super) fn begin_cycle(&mut self) {
        self.chart.cycle_from = Some(self.chart.rows.len());
    }

    /// Returns the chart, without the lanes that have no events.
    pub(super) fn finish(mut self) -> Chart {
        let store = self.lane(Actor::Store);
        let mut is_used = vec![false; self.actors.len()];
        is_used[store] = true;
        for row in &mut self.chart.rows {
            lanes_of(&mut row.event)
                .into_iter()
                .for_each(|lane| is_used[*lane] = true);
        }
        for row in &mut self.chart.rows {
            for lane in lanes_of(&mut row.event) {
                *lane = is_used[..*lane].iter().filter(|is_used| **is_used).count();
            }
        }
        let mut used = is_used.into_iter();
        self.chart.lanes.retain(|_| used.next() == Some(true));
        self.chart
    }

    /// Adds the rows of one step.
    pub(super) fn tell(&mut self, step: &Step<H>) {
        self.step += 1;
        let rows = self.chart.rows.len();
        self.open(step);
        for event in &step.told.events {
            self.event(event);
        }
        self.close(step);
        if self.chart.rows.len() == rows {
            self.note(Actor::Store, step.action.to_string());
        }
    }

    fn lane(&self, actor: Actor) -> usize {
        self.actors
            .iter()
            .position(|other| *other == actor)
            .unwrap_or(0)
    }

    fn thread(&self, process: usize, thread: ThreadId) -> usize {
        self.lane(Actor::Thread(process, (thread.0 - 1) as usize))
    }

    pub(super) fn session(&self, index: u8) -> String {
        self.words.session(&SESSIONS[usize::from(index)])
    }

    fn push(&mut self, event: Event) {
        self.chart.push(self.step, event);
    }

    pub(super) fn note(&mut self, actor: Actor, text: impl Into<String>) {
        let (lane, text) = (self.lane(actor), text.into());
        self.push(Event::Note { lane, text });
    }

    pub(super) fn fault(&mut self, actor: Actor, text: impl Into<String>) {
        let (lane, text) = (Some(self.lane(actor)), text.into());
        self.push(Event::Fault { lane, text });
    }

    fn event(&mut self, event: &TraceEvent) {
        match event {
            TraceEvent::Called {
                process,
                thread,
                session,
                call,
            } => {
                let text = self.words.call(session, call);
                self.call(
                    self.thread(*process, *thread),
                    self.lane(Actor::Process(*process)),
                    text,
                );
            }
            TraceEvent::Answered {
                process,
                thread,
                session,
                answer,
            } => {
                let text = self.words.answer(session, answer);
                self.call(
                    self.lane(Actor::Process(*process)),
                    self.thread(*process, *thread),
                    text,
                );
            }
            TraceEvent::Durable(update) => {
                self.note(
                    Actor::Store,
                    format!("on disk: {}", self.words.update(update)),
                );
            }
            _ => self.travel(event),
        }
    }

    /// Applies a trace event to the messages under way.
    fn travel(&mut self, event: &TraceEvent) {
        match event {
            TraceEvent::SentUp {
                process,
                message,
                is_under_way,
            } => {
                let text = self.words.to_store(message);
                self.send(*process, true, text, *is_under_way);
            }
            TraceEvent::SentDown {
                process,
                message,
                is_under_way,
            } => {
                let text = self.words.to_process(message);
                self.send(*process, false, text, *is_under_way);
            }
            TraceEvent::Ended { process } => self.letters.push(*process, true, None),
            TraceEvent::Arrived {
                process,
                is_up,
                place,
                stays,
            } => {
                let letter = self.letters.read(*process, *is_up, *place);
                if !stays {
                    self.letters.take(*process, *is_up, *place);
                }
                self.arrive(*process, *is_up, letter);
            }
            TraceEvent::Lost {
                process,
                is_up,
                place,
            } => {
                let (from, to) = self.ends(*process, *is_up);
                if let Some((message, text)) = self.letters.take(*process, *is_up, *place) {
                    self.push(Event::Lose {
                        from,
                        to,
                        message,
                        text,
                    });
                }
            }
            TraceEvent::Called { .. } | TraceEvent::Answered { .. } | TraceEvent::Durable(_) => {}
        }
    }

    /// Adds the arrival of a message; `None` is the end of a connection.
    fn arrive(&mut self, process: usize, is_up: bool, letter: Option<Letter>) {
        let (from, to) = self.ends(process, is_up);
        match letter {
            Some((message, text)) => self.push(Event::Receive {
                from,
                to,
                message,
                text,
            }),
            None => self.note(
                Actor::Store,
                format!("sees that the connection of {} is gone", PROCESSES[process]),
            ),
        }
    }

    /// Adds a call or its answer. The writes and the unlock of one program step stand on one row.
    fn call(&mut self, from: usize, to: usize, text: String) {
        let step = self.step;
        let last = self.chart.rows.last_mut().filter(|last| last.step == step);
        if let Some(Event::Call {
            from: caller,
            to: called,
            text: said,
        }) = last.map(|last| &mut last.event)
            && (*caller, *called) == (from, to)
        {
            let both_write = said.contains("write ") && text.starts_with("write ");
            let text = if both_write {
                text.trim_start_matches("write ")
            } else {
                &text
            };
            said.push_str(&format!(", {text}"));
        } else {
            self.push(Event::Call { from, to, text });
        }
    }

    fn ends(&self, process: usize, is_up: bool) -> (usize, usize) {
        let (own, store) = (self.lane(Actor::Process(process)), self.lane(Actor::Store));
        if is_up { (own, store) } else { (store, own) }
    }

    fn send(&mut self, process: usize, is_up: bool, text: String, is_under_way: bool) {
        let (from, to) = self.ends(process, is_up);
        let message = self.letters.number();
        self.push(Event::Send {
            from,
            to,
            message,
            text: text.clone(),
        });
        if is_under_way {
            self.letters.push(process, is_up, Some((message, text)));
        } else {
            self.push(Event::Lose {
                from,
                to,
                message,
                text,
            });
        }
    }

    /// Adds the changes that no event and no message of the step shows.
    fn close(&mut self, step: &Step<H>) {
        let Step {
            before,
            action,
            told,
        } = step;
        self.holders(before, told);
        if !matches!(action, Action::Flush | Action::Restart) {
            self.new_on_disk(before, told);
        }
        let is_silent =
            told.events.len() == 1 && matches!(told.events[0], TraceEvent::Arrived { .. });
        let is_message = self
            .chart
            .rows
            .last()
            .is_some_and(|row| matches!(row.event, Event::Receive { .. }));
        match action {
            Action::ToStore { .. }
                if is_silent && is_message && before.store == told.next.store =>
            {
                self.note(Actor::Store, "ignores it");
            }
            Action::ToProcess { process, .. } if is_silent => {
                let index = usize::from(*process);
                if before.processes[index] == told.next.processes[index] {
                    self.note(Actor::Process(index), "ignores it");
                }
            }
            _ => {}
        }
    }

    /// Adds the updates of this step that are not durable yet, and the messages that wait for these or earlier updates.
    fn new_on_disk(&mut self, before: &System<H>, told: &StepEvents<H>) {
        let (old, new) = (&before.store, &told.next.store);
        for update in new.updates.iter().skip(old.updates.len()) {
            let text = format!("not yet on disk: {}", self.words.update(update));
            self.note(Actor::Store, text);
        }
        let mut known: Vec<_> = old.barrier.held().collect();
        for held in new.barrier.held() {
            if let Some(place) = known.iter().position(|own| *own == held) {
                known.remove(place);
                continue;
            }
            let (_, (process, _, message)) = held;
            let text = self.words.to_process(message);
            self.note(Actor::Store, format!("after that, to {process}: {text}"));
        }
    }

    /// Adds the beginning or end of a grant at the store, when no message under way shows it.
    fn holders(&mut self, before: &System<H>, told: &StepEvents<H>) {
        let has_sent = |process: &tenure_protocol::ProcessId| {
            told.events.iter().any(|event| match event {
                TraceEvent::SentDown {
                    process: index,
                    is_under_way,
                    ..
                } => *is_under_way && PROCESSES[*index] == *process,
                _ => false,
            })
        };
        for id in &SESSIONS[..usize::from(self.model.universe.sessions)] {
            let holder = |state: &System<H>| {
                let session = state.store.machine.session(id)?;
                session.record().head.holder.clone()
            };
            let (old, new) = (holder(before), holder(&told.next));
            if old == new {
                continue;
            }
            if let Some(old) = old.filter(|old| !has_sent(&old.process)) {
                self.note(
                    Actor::Store,
                    format!(
                        "{} is taken from {}: #{} is void",
                        self.words.session(id),
                        old.process,
                        old.token
                    ),
                );
            }
            let is_written = |new: &Holder| {
                let mut updates = told.next.store.updates.iter();
                updates.any(|update| matches!(update, Update::Put { head, .. } if head.holder.as_ref() == Some(new)))
            };
            if let Some(new) = new.filter(|new| !has_sent(&new.process) && !is_written(new)) {
                self.note(
                    Actor::Store,
                    format!(
                        "{} goes to {} as #{}",
                        self.words.session(id),
                        new.process,
                        new.token
                    ),
                );
            }
        }
    }
}

fn lanes_of(event: &mut Event) -> Vec<&mut usize> {
    match event {
        Event::Note { lane, .. } => vec![lane],
        Event::Call { from, to, .. }
        | Event::Send { from, to, .. }
        | Event::Receive { from, to, .. }
        | Event::Lose { from, to, .. } => vec![from, to],
        Event::Fault { lane, .. } => lane.iter_mut().collect(),
    }
}
