//! Scripts for the conformance suite: the shortest ways through the store's machine, as far as a black box can go them.
//!
//! `walk` explores the machine from outside, breadth first: processes say what they may say, and some things that they may
//! not. For every *transition*, which is how a session stands for who says something, what is said, and what kinds of answers
//! that has, there is a script that takes it, and says in which step. `witness` takes the shortest way that can be played to each
//! `sometimes` property and keeps what the store sees of it. `proof` plays scripts again, as they stand in a file, and
//! finds out whether they do what they say.
//!
//! Numbers in a script are those that the machine draws: who plays it learns from the answers what the target's are.
//!
//! Deliberately absent: what a black box cannot do or see. It is listed, with the reason.

mod act;
mod cover;
mod follow;
mod place;
mod proof;
mod say;
mod step;
mod transition;
mod walk;
mod witness;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use proof::{Unproved, prove};
pub use step::{Step, Word};
pub use transition::Transition;

/// A script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Its name, for ever.
    pub id: String,
    /// What it leads to.
    pub title: String,
    /// The kinds of what it doubts: inputs of transitions, or a property.
    pub doubts: Vec<String>,
    /// In which universe the model reaches the property.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub universe: Option<String>,
    /// The transitions that it is there for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes: Vec<Taken>,
    /// How it goes.
    pub steps: Vec<Step>,
}

/// A transition that a script takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// In which step, from 1.
    pub step: usize,
    /// Which.
    #[serde(flatten)]
    pub transition: Transition,
}

/// What a black box can play, and what it cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// How many transitions, or properties, the scripts lead to.
    pub covered: usize,
    /// What was left out, by the reason.
    pub left_out: BTreeMap<String, Vec<String>>,
    /// The scripts.
    pub scripts: Vec<Script>,
}

/// The scripts that lead to every transition.
#[must_use]
pub fn transitions() -> Export {
    cover::export()
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
        let left_out: Vec<String> = self.left_out.iter().map(left_out).collect();
        let scripts: Vec<String> = self.scripts.iter().map(Script::to_lines).collect();
        format!(
            "{{\n\"covered\": {},\n\"left_out\": {{{}\n}},\n\"scripts\": [{}\n]}}\n",
            self.covered,
            left_out.join(","),
            scripts.join(",")
        )
    }
}

fn left_out((why, what): (&String, &Vec<String>)) -> String {
    let what: Vec<String> = what
        .iter()
        .map(|own| format!("\n  {}", json(own)))
        .collect();
    format!("\n {}: [{}]", json(why), what.join(","))
}

impl Script {
    fn to_lines(&self) -> String {
        let list = |all: Vec<String>| format!("[\n  {}\n ]", all.join(",\n  "));
        let mut out = format!(
            "\n{{\"id\": {}, \"title\": {},\n \"doubts\": {}",
            json(&self.id),
            json(&self.title),
            json(&self.doubts),
        );
        if let Some(universe) = &self.universe {
            out += &format!(",\n \"universe\": {}", json(universe));
        }
        if !self.takes.is_empty() {
            let takes = list(self.takes.iter().map(json).collect());
            out += &format!(",\n \"takes\": {takes}");
        }
        let steps = list(self.steps.iter().map(json).collect());
        out + &format!(",\n \"steps\": {steps}}}")
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("strings, numbers and lists")
}
