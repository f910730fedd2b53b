//! Tests that play the scripts to the machine itself: which properties show from outside, and where they do not.

use super::script::{Script, Step};
use super::shows::{Event, PROPERTIES, shows};
use super::{SCRIPTS, all};
use crate::case::Level;
use crate::store::oracle::{Connection, Kind};
use std::collections::BTreeSet;
use tenure_protocol::message::Hello;
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{
    Records, SessionId, Settings, Stamp, StoreMachine, StoreSettings, Time, ToProcess, ToStore,
};

#[test]
fn every_script_cites_rules_of_the_book() {
    for case in all() {
        assert!(!case.rules.is_empty(), "{case:?} cites no rule");
        for rule in case.rules {
            assert!(crate::rules::find(rule).is_some(), "{case:?}: {rule}");
        }
    }
}

/// The level follows from the rules alone: if a rule only recommends, so does its case.
#[test]
fn a_case_has_the_level_that_all_its_rules_have() {
    let level = |id: &str| {
        let case = all().iter().find(|case| case.id == id);
        case.unwrap_or_else(|| panic!("{id}")).level
    };
    assert_eq!(level("derived/sometimes/deadlock-found"), Level::Must);
    assert_eq!(level("derived/sometimes/nothing-to-send"), Level::Should);
    assert_eq!(
        level("derived/the-recall-is-repeated/held-recalled"),
        Level::Should
    );
}

/// The machine as a target: its numbers are those of the scripts.
struct Machine {
    store: StoreMachine,
    records: Records,
    events: Vec<Event>,
}

fn settings(ends: bool) -> Settings<StoreSettings> {
    Settings::new(StoreSettings {
        lease_ms: 0,
        remind_ms: 0,
        recall_ms: 0,
        wait_ms: 0,
        time_to_live_ms: ends.then_some(0),
        turns: 0,
        promised: tenure_protocol::Promised::default(),
        limits: tenure_protocol::Limits::default(),
    })
}

impl Machine {
    /// Returns the visible events of the first steps of a script.
    fn plays(script: &Script, steps: &[Step]) -> Vec<Event> {
        let ends = script.steps.iter().any(|step| step.what == "expires");
        let records = Records::default();
        let mut machine = Self {
            store: StoreMachine::recover(settings(ends), 2, &records, Time::ZERO),
            records,
            events: Vec::new(),
        };
        for step in steps {
            machine.take(step, ends);
            machine.events.push(Event::Settled);
        }
        machine.events
    }

    fn take(&mut self, step: &Step, ends: bool) {
        match step.what.as_str() {
            "restart" => {
                self.events.push(Event::Restarted);
                let epoch = self.store.stamps().last().epoch + 1;
                self.store =
                    StoreMachine::recover(settings(ends), epoch, &self.records, Time::ZERO);
            }
            "cut" => {
                let connection = step
                    .connection()
                    .expect("a message step names its connection");
                self.events.push(Event::Cut(connection.clone()));
                let Connection { process, link } = connection;
                self.step(Input::Disconnected { process, link });
            }
            "silence" | "rest" => {}
            "revokes" | "expires" | "wait ends" | "lease ends" | "reminds" => {
                self.step(Input::Timer(timer(step)));
            }
            _ => self.say(step),
        }
    }

    fn say(&mut self, step: &Step) {
        let same = |_: Kind, _: &SessionId, ours: Stamp| Some(ours);
        let connection = step
            .connection()
            .expect("a hello step names its connection");
        let message = match step.what.as_str() {
            "connect" => {
                let holds = step.holds.iter().map(|own| own.hold(&same));
                let waits = step.waits.iter().map(|own| own.acquire_request(&same));
                ToStore::Hello(Hello {
                    minor: tenure_protocol::MINOR,
                    incarnation: connection.link.incarnation,
                    sent: Time(1),
                    holds: holds.collect::<Result<_, _>>().expect("holds"),
                    waits: waits.collect::<Result<_, _>>().expect("acquire requests"),
                })
            }
            "keep alive" => ToStore::KeepAlive { sent: Time(2) },
            "goodbye" => ToStore::Goodbye,
            _ => step.message(&same).expect("a message"),
        };
        self.events
            .push(Event::Said(connection.clone(), message.clone()));
        let Connection { process, link } = connection;
        self.step(Input::Message {
            process,
            link,
            message,
        });
    }

    fn step(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.store.step(Time::ZERO, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Persist(update) => self.records.apply(&update),
                Output::Send {
                    process,
                    link,
                    message,
                } => {
                    let connection = Connection { process, link };
                    self.events.push(Event::Heard(connection, message));
                }
                Output::Disconnect { .. } => {}
            }
        }
    }
}

fn timer(step: &Step) -> Timer {
    let session = || step.session().expect("a session");
    let process = || step.process().expect("a process");
    match step.what.as_str() {
        "revokes" => Timer::Revoke(session()),
        "expires" => Timer::Expire(session()),
        "wait ends" => Timer::Wait(session(), process()),
        "lease ends" => Timer::Lease(process()),
        _ => Timer::Remind(session()),
    }
}

/// Returns the scripts of properties.
fn sometimes() -> impl Iterator<Item = (&'static str, &'static Script)> {
    SCRIPTS
        .iter()
        .filter_map(|script| Some((script.property()?, script)))
}

/// The properties that show in every script with a grant.
const EVERYWHERE: [&str; 2] = ["granted at once", "whole state sent"];

#[test]
fn every_property_shows_in_its_script_and_not_before_the_first_action() {
    for (property, script) in sometimes() {
        let events = Machine::plays(script, &script.steps);
        assert!(
            shows(property, &events),
            "{property} does not show: {events:#?}"
        );
        // The preparation before the run of the model begins must show nothing.
        let begins = script.steps.iter().position(|step| step.what == "goodbye");
        let before = &script.steps
            [..=begins.expect("the process that creates the sessions leaves with a goodbye")];
        let is_shown = shows(property, &Machine::plays(script, before));
        assert!(
            !is_shown || EVERYWHERE.contains(&property),
            "{property} shows before anything is done"
        );
    }
    let names: BTreeSet<&str> = sometimes().map(|(property, _)| property).collect();
    assert_eq!(names, PROPERTIES.iter().map(|(name, _)| *name).collect());
}

#[test]
fn a_property_does_not_show_if_a_needed_event_is_left_out() {
    let answers = |event: &Event| match event {
        Event::Heard(_, message) => !matches!(message, ToProcess::Welcome { .. }),
        _ => false,
    };
    for (property, script) in sometimes() {
        let events = Machine::plays(script, &script.steps);
        // If the store answers nothing, no property shows.
        let silent: Vec<Event> = events
            .iter()
            .filter(|event| !answers(event))
            .cloned()
            .collect();
        let needs_welcome = ["end told again", "takeover after restart"].contains(&property);
        assert_eq!(
            shows(property, &silent),
            needs_welcome,
            "{property}, unanswered"
        );
        // Only connections and one request remain.
        let first = script.steps.iter().position(|step| step.what == "acquire");
        let asked = &script.steps[..=first.expect("somebody asks")];
        let is_shown = shows(property, &Machine::plays(script, asked));
        assert_eq!(
            is_shown,
            EVERYWHERE.contains(&property),
            "{property}, asked"
        );
    }
}
