//! Scripts for the conformance suite: the shortest ways through the store's machine, as far as a black box can go them.
//!
//! `walk` explores the machine from outside, breadth first: processes say what they may say, and some things that they may
//! not. For every *transition*, which is how a session stands for who says something, what is said, and what kinds of answers
//! that has, there is a script that leads to it. `witness` takes the shortest way to each `sometimes` property and keeps what
//! the store sees of it.
//!
//! Numbers in a script are those that the machine draws: who plays it learns from the answers what the target's are.
//!
//! Deliberately absent: what a black box cannot do or see. It is counted, with the reason.

mod place;
mod step;
mod walk;
mod witness;

use serde::Serialize;
use std::collections::BTreeMap;

pub use step::Step;

/// A script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Script {
    /// Its name, for ever.
    pub id: String,
    /// What it leads to.
    pub title: String,
    /// The kinds of what it doubts: inputs of transitions, or a property.
    pub doubts: Vec<String>,
    /// How it goes.
    pub steps: Vec<Step>,
}

/// What a black box can play, and what it cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Export {
    /// How many transitions, or properties, the scripts lead to.
    pub covered: usize,
    /// How many were left out, by the reason.
    pub left_out: BTreeMap<String, usize>,
    /// The scripts.
    pub scripts: Vec<Script>,
}

/// The scripts that lead to every transition.
#[must_use]
pub fn transitions() -> Export {
    walk::export()
}

/// The scripts that lead to every `sometimes` property.
#[must_use]
pub fn sometimes() -> Export {
    witness::export()
}

impl Export {
    /// As the file that is checked in: a step a line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let json = |value: &dyn erased::Json| value.json();
        let mut out = format!(
            "{{\n\"covered\": {},\n\"left_out\": {},\n\"scripts\": [",
            self.covered,
            json(&self.left_out)
        );
        for (place, script) in self.scripts.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let steps: Vec<String> = script.steps.iter().map(|step| json(step)).collect();
            out += &format!(
                "{comma}\n{{\"id\": {}, \"title\": {},\n \"doubts\": {},\n \"steps\": [\n  {}\n ]}}",
                json(&script.id),
                json(&script.title),
                json(&script.doubts),
                steps.join(",\n  ")
            );
        }
        out + "\n]\n}\n"
    }
}

mod erased {
    /// What can be written.
    pub(super) trait Json {
        fn json(&self) -> String;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_string(self).expect("strings, numbers and lists")
        }
    }
}
