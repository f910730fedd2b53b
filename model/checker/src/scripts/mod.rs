//! Scripts for the conformance suite: the shortest paths through the store's machine that a black box can play.
//!
//! `walk` explores the machine from outside, breadth first. Processes send every message that they may send, and some
//! that they must not send. A *transition* consists of a session's situation for the acting process, the act, and the
//! kinds of the answers. For every transition there is a script that takes it, and that names the step. `witness`
//! searches the shortest playable path to each `sometimes` property and keeps the inputs of the store. `proof` plays
//! scripts again, as they stand in a file, and checks their claims.
//!
//! The numbers in a script are those that the machine draws. The player learns from the answers which numbers of the
//! target correspond.
//!
//! The scripts deliberately leave out everything that a black box cannot do or see. Each omission is listed with its
//! reason.

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
    /// The id of the script, which never changes.
    pub id: String,
    /// The statement that the script tests.
    pub title: String,
    /// The subjects of the test: kinds of inputs of transitions, or a property.
    pub doubts: Vec<String>,
    /// The universe in which the model reaches the property.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub universe: Option<String>,
    /// The transitions for which the script exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes: Vec<Taken>,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A transition that a script takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The number of the step, from 1.
    pub step: usize,
    /// The transition.
    #[serde(flatten)]
    pub transition: Transition,
}

/// The export: the scripts that a black box can play, and the omissions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The number of transitions, or properties, that the scripts lead to.
    pub covered: usize,
    /// The omissions, by reason.
    pub left_out: BTreeMap<String, Vec<String>>,
    /// The scripts.
    pub scripts: Vec<Script>,
}

/// Returns the scripts that lead to every transition.
#[must_use]
pub fn transitions() -> Export {
    cover::export()
}

/// Returns the scripts that lead to every `sometimes` property.
#[must_use]
pub fn sometimes() -> Export {
    witness::export()
}

impl Export {
    /// Returns the export in the form of the checked-in file: one step on each line.
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
    serde_json::to_string(value)
        .expect("an export contains only strings, numbers and lists, which JSON can express")
}
