//! A script as a sequence picture in text: the processes and the store side by side, with time from top to bottom.
//!
//! A message is one arrow if that shows the order correctly: its receiver, or its sender, does nothing between its
//! sending and its arrival. Otherwise the message leaves on one line and arrives on another, with the same number.

use super::book::{with_letters, without_times};
use super::script::{Fate, Op};
use super::{Seen, Setup, World, words};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use tenure_protocol::message::Granted;
use tenure_protocol::{ToProcess, ToStore, Token, process, store};

/// A lane from top to bottom: the store's, or that of the process with this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Store,
    Process(usize),
}

#[derive(Clone, Debug, PartialEq)]
enum Event {
    Note(Lane, String),
    Sent(usize),
    Came(usize),
    Lost(usize),
    /// The message is sent and arrives on one line.
    Arrow(usize),
}

#[derive(Clone, Debug, PartialEq)]
enum Letter {
    ToStore(ToStore),
    ToProcess(ToProcess),
}

#[derive(Clone, Debug)]
struct Message {
    from: Lane,
    to: Lane,
    letter: Letter,
    text: String,
    /// Whether the message may still arrive.
    is_under_way: bool,
    /// The number of the message, if it takes two lines.
    number: Option<usize>,
}

#[derive(Debug, Default)]
struct Story {
    events: Vec<Event>,
    messages: Vec<Message>,
    /// The tokens of grants that have arrived.
    known: BTreeSet<Token>,
}

/// Plays `script` in a world of connected processes. The first process stands left of the store, the second one right.
pub(crate) fn chart(setup: Setup, nodes: [&str; 2], script: &str) -> String {
    let mut world = World::connected(setup, &nodes);
    let mut story = Story::default();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let op: Op = line.parse().expect("never fails");
        story.announce(&world, &op);
        world.play(&op);
        let may_come_again = matches!(op, Op::Send(_, Fate::Twice) | Op::Get(_, Fate::Twice));
        for seen in std::mem::take(&mut world.seen) {
            story.tell(&seen, may_come_again);
        }
    }
    story.join();
    story.draw(nodes)
}

impl Story {
    /// Plays the events that the world causes by itself.
    fn announce(&mut self, world: &World, op: &Op) {
        match op {
            Op::Cut(node) => {
                let lane = Lane::Process(world.at(node));
                self.lose(lane);
                self.note(lane, "✕ the connection is cut".to_owned());
            }
            Op::Wait(ms) => self.note(
                Lane::Store,
                format!("⋮ {} seconds pass", *ms as f64 / 1_000.0),
            ),
            Op::Send(node, Fate::Lost) => self.lose_next(Lane::Process(world.at(node)), true),
            Op::Get(node, Fate::Lost) => self.lose_next(Lane::Process(world.at(node)), false),
            _ => {}
        }
    }

    fn note(&mut self, lane: Lane, text: String) {
        self.events.push(Event::Note(lane, text));
    }

    fn lose(&mut self, lane: Lane) {
        for (at, message) in self.messages.iter_mut().enumerate() {
            if message.is_under_way && (message.from == lane || message.to == lane) {
                message.is_under_way = false;
                self.events.push(Event::Lost(at));
            }
        }
    }

    fn lose_next(&mut self, lane: Lane, is_sent: bool) {
        let mut messages = self.messages.iter_mut().enumerate();
        let next = messages.find(|(_, message)| {
            message.is_under_way && lane == if is_sent { message.from } else { message.to }
        });
        if let Some((at, message)) = next {
            message.is_under_way = false;
            self.events.push(Event::Lost(at));
        }
    }

    fn send(&mut self, from: Lane, to: Lane, letter: Letter, text: String) {
        self.events.push(Event::Sent(self.messages.len()));
        self.messages.push(Message {
            from,
            to,
            letter,
            text,
            is_under_way: true,
            number: None,
        });
    }

    fn come(&mut self, to: Lane, letter: &Letter, may_come_again: bool) {
        let mut messages = self.messages.iter_mut().enumerate();
        let found =
            messages.find(|(_, own)| own.is_under_way && own.to == to && own.letter == *letter);
        let (at, message) = found.expect("what comes was sent");
        message.is_under_way = may_come_again;
        self.events.push(Event::Came(at));
    }

    fn tell(&mut self, seen: &Seen, may_come_again: bool) {
        match seen {
            Seen::Store(input, out) => self.tell_store(input, out, may_come_again),
            Seen::Process(at, input, out) => self.tell_process(*at, input, out, may_come_again),
        }
    }

    fn tell_store(&mut self, input: &store::Input, out: &[store::Output], may_come_again: bool) {
        match input {
            store::Input::Message { message, .. } => {
                self.come(
                    Lane::Store,
                    &Letter::ToStore(message.clone()),
                    may_come_again,
                );
                let is_heard = matches!(message, ToStore::Busy { .. } | ToStore::Goodbye);
                if out.is_empty() && !is_heard {
                    self.note(Lane::Store, "nothing happens".to_owned());
                }
            }
            store::Input::Timer(timer) if !out.is_empty() => {
                let text = match timer {
                    store::Timer::Lease(process) => format!("⏲ the lease of {process} ends"),
                    store::Timer::Remind(_) => "⏲ the recall is repeated".to_owned(),
                    store::Timer::Revoke(_) => "⏲ the recall's deadline".to_owned(),
                    store::Timer::Wait(_, process) => format!("⏲ the wait of {process} ends"),
                    store::Timer::Expire(_) => "⏲ the time to live ends".to_owned(),
                };
                self.note(Lane::Store, text);
            }
            _ => {}
        }
        for output in out {
            match output {
                store::Output::Persist(update) => {
                    self.note(Lane::Store, format!("■ durable: {}", words::update(update)));
                }
                store::Output::Send {
                    process, message, ..
                } => {
                    let at = usize::from(process.as_bytes() != b"p");
                    let text = words::to_process(message);
                    let letter = Letter::ToProcess(message.clone());
                    self.send(Lane::Store, Lane::Process(at), letter, text);
                }
                store::Output::Disconnect { .. } => {
                    self.note(Lane::Store, "closes the connection".to_owned());
                }
            }
        }
    }

    fn tell_process(
        &mut self,
        at: usize,
        input: &process::Input,
        out: &[process::Output],
        may_come_again: bool,
    ) {
        let own = Lane::Process(at);
        match input {
            process::Input::Message { message, .. } => {
                self.come(own, &Letter::ToProcess(message.clone()), may_come_again);
                if let (ToProcess::Granted(Granted { token, .. }), true) = (message, out.is_empty())
                {
                    let is_new = self.known.insert(*token);
                    let text = if is_new {
                        "keeps it: nobody waits"
                    } else {
                        "knows it already"
                    };
                    self.note(own, text.to_owned());
                } else if let ToProcess::Granted(Granted { token, .. }) = message {
                    self.known.insert(*token);
                }
            }
            process::Input::Thread {
                thread,
                session,
                call,
            } => {
                let op = Op::Thread(String::new(), thread.0, session.clone(), call.clone());
                let text = op.to_string();
                let text = text.trim_start_matches('.').replacen(' ', ": ", 1);
                self.note(own, format!("thread {text}"));
            }
            process::Input::Timer(process::Timer::Lease) => {
                self.note(own, "⏲ the lease ends".to_owned());
            }
            process::Input::Timer(process::Timer::Wait(_, thread)) => {
                self.note(own, format!("⏲ the wait of thread {thread} ends"));
            }
            process::Input::Release(_) => self.note(own, "gives back what is idle".to_owned()),
            process::Input::Disconnected => self.note(own, "notices the cut".to_owned()),
            process::Input::Connected => self.note(own, "has a new connection".to_owned()),
            _ => {}
        }
        for output in out {
            match output {
                process::Output::Send { message, .. } => {
                    let text = words::to_store(message);
                    let letter = Letter::ToStore(message.clone());
                    self.send(own, Lane::Store, letter, text);
                }
                process::Output::Answer { thread, answer, .. } => {
                    self.note(
                        own,
                        format!("thread {thread} receives: {}", words::answer(answer)),
                    );
                }
                process::Output::Disconnect { .. } => {
                    self.note(own, "closes the connection".to_owned());
                }
            }
        }
    }

    fn is_at(&self, event: &Event, lane: Lane) -> bool {
        match event {
            Event::Note(own, _) => *own == lane,
            Event::Sent(at) => self.messages[*at].from == lane,
            Event::Came(at) => self.messages[*at].to == lane,
            Event::Lost(_) => false,
            Event::Arrow(at) => {
                let message = &self.messages[*at];
                message.from == lane || message.to == lane
            }
        }
    }

    /// Merges the sending and the arrival of a message into one line, where possible.
    fn join(&mut self) {
        let mut numbers = 0;
        for at in 0..self.messages.len() {
            let place = |of: &Event| self.events.iter().position(|event| event == of);
            let Some(sent) = place(&Event::Sent(at)) else {
                continue;
            };
            let comes: Vec<usize> = (0..self.events.len())
                .filter(|place| self.events[*place] == Event::Came(at))
                .collect();
            let lost = place(&Event::Lost(at));
            if let &[came] = &comes[..] {
                let between = &self.events[sent + 1..came];
                let (from, to) = (self.messages[at].from, self.messages[at].to);
                let is_free = |lane| !between.iter().any(|event| self.is_at(event, lane));
                if is_free(to) {
                    self.events.remove(came);
                    self.events[sent] = Event::Arrow(at);
                    continue;
                }
                if is_free(from) {
                    self.events[came] = Event::Arrow(at);
                    self.events.remove(sent);
                    continue;
                }
            }
            if lost == Some(sent + 1) {
                self.events.remove(sent);
                continue;
            }
            if !comes.is_empty() || lost.is_some() {
                numbers += 1;
                self.messages[at].number = Some(numbers);
            }
        }
    }

    fn draw(&self, nodes: [&str; 2]) -> String {
        let seen: RefCell<BTreeMap<char, Vec<String>>> = RefCell::default();
        let letter = |kind: char, stamp: &str| {
            let mut seen = seen.borrow_mut();
            let own = seen.entry(kind).or_default();
            let place = own.iter().position(|known| known == stamp);
            let place = place.unwrap_or_else(|| {
                own.push(stamp.to_owned());
                own.len() - 1
            });
            format!("{kind}{}", place + 1)
        };
        let said = |text: &str| {
            let text = without_times(&with_letters(text, letter));
            text.replace(" s ", " ").replace(" blocked on []", "")
        };
        let rows: Vec<(&Event, String)> = self
            .events
            .iter()
            .map(|event| (event, said(self.text(event))))
            .collect();
        let widest = rows.iter().map(|(_, text)| text.chars().count()).max();
        let width = (widest.unwrap_or(0) + 14).max(30);
        let mut drawn = Canvas::new(width).heads(nodes);
        for (event, text) in &rows {
            drawn += &self.row(Canvas::new(width), event, text);
        }
        drawn
    }

    fn text<'a>(&'a self, event: &'a Event) -> &'a str {
        match event {
            Event::Note(_, text) => text,
            Event::Sent(at) | Event::Came(at) | Event::Lost(at) | Event::Arrow(at) => {
                &self.messages[*at].text
            }
        }
    }

    fn row(&self, mut canvas: Canvas, event: &Event, text: &str) -> String {
        match event {
            Event::Note(lane, _) => canvas.note(*lane, text),
            Event::Arrow(at) => canvas.arrow(&self.messages[*at], text, '─', true),
            Event::Sent(at) => {
                let text = match self.messages[*at].number {
                    Some(number) => format!("{text} ({number})"),
                    None => format!("{text} ✕ lost"),
                };
                canvas.arrow(&self.messages[*at], &text, '┄', false);
            }
            Event::Came(at) => {
                let number = self.messages[*at].number.unwrap_or_default();
                canvas.arrow(&self.messages[*at], &format!("({number})"), '┄', true);
            }
            Event::Lost(at) => {
                let text = match self.messages[*at].number {
                    Some(number) => format!("({number}) ✕ lost"),
                    None => format!("{text} ✕ lost"),
                };
                canvas.arrow(&self.messages[*at], &text, '┄', false);
            }
        }
        canvas.line()
    }
}

/// One line of the picture.
struct Canvas {
    cells: Vec<char>,
    /// Draws an arrow from one lane to the next.
    width: usize,
}

impl Canvas {
    fn new(width: usize) -> Self {
        let mut cells = vec![' '; 2 * width + 3];
        for lane in 0..3 {
            cells[1 + lane * width] = '│';
        }
        Self { cells, width }
    }

    fn column(&self, lane: Lane) -> usize {
        1 + self.width
            * match lane {
                Lane::Process(0) => 0,
                Lane::Store => 1,
                Lane::Process(_) => 2,
            }
    }

    fn put(&mut self, at: usize, text: &str) {
        for (cell, letter) in self.cells[at..].iter_mut().zip(text.chars()) {
            *cell = letter;
        }
    }

    fn heads(mut self, [left, right]: [&str; 2]) -> String {
        self.cells.fill(' ');
        self.put(1, left);
        self.put(self.width - 1, "store");
        self.put(1 + 2 * self.width, right);
        self.line()
    }

    fn note(&mut self, lane: Lane, text: &str) {
        let at = self.column(lane);
        match lane {
            Lane::Process(1..) => self.put(at - 1 - text.chars().count(), text),
            _ => self.put(at + 2, text),
        }
    }

    fn arrow(&mut self, message: &Message, text: &str, stroke: char, has_head: bool) {
        let (from, to) = (self.column(message.from), self.column(message.to));
        let (left, right) = (from.min(to) + 1, from.max(to));
        self.cells[left..right].fill(stroke);
        let text = format!(" {text} ");
        self.put(left + (right - left - text.chars().count()) / 2, &text);
        if has_head {
            let (at, head) = if to > from {
                (to - 1, '►')
            } else {
                (to + 1, '◄')
            };
            self.cells[at] = head;
        }
    }

    fn line(&self) -> String {
        let line: String = self.cells.iter().collect();
        line.trim_end().to_owned() + "\n"
    }
}
