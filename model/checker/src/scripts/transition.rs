//! A transition as scripts distinguish them: the situation of a session, the act, and the answers.

use super::act::{Act, session_of};
use super::place::{Lead, Place, index};
use crate::system::{PROCESSES, SESSIONS};
use serde::{Deserialize, Serialize};
use tenure_protocol::message::{Granted, Reason, WaitMode};
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{SessionId, ToProcess, Version};

/// A transition of the store: the situation of a session, the act, and the answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Transition {
    /// The situation of the session for the acting process.
    pub session: String,
    /// The act.
    pub input: String,
    /// The kinds of the answers, with their receivers.
    pub answer: String,
}

impl Place {
    /// Returns the situation of a session for a process.
    pub(super) fn class(&self, process: usize, id: &SessionId) -> String {
        let name = &PROCESSES[process];
        let Some(session) = self.store.session(id) else {
            return "absent".to_owned();
        };
        let mut words = Vec::new();
        words.push(match session.holder() {
            None => "free",
            Some(holder) if holder == name => "held",
            Some(holder) if self.sides[index(holder)].link.is_some() => "held by another",
            Some(_) => "held by one away",
        });
        match session.recall().map(|recall| recall.reason) {
            Some(Reason::Try) => words.push("recalled by a try"),
            Some(_) => words.push("recalled"),
            None => {}
        }
        if session.busy().is_some() {
            words.push("busy");
        }
        let mut waiters = session.lock().waiters();
        if let Some(own) = waiters.find(|place| place.process == *name) {
            words.push(match own.wait_mode {
                WaitMode::Try => "tries",
                WaitMode::Wait => "waits",
            });
        }
        let mut waiters = session.lock().waiters();
        if waiters.any(|place| place.process != *name) && session.holder() != Some(name) {
            words.push("others wait");
        }
        words.join(", ")
    }

    /// Returns all facts that make a difference for the next steps of a script, as far as scripts distinguish them.
    pub(super) fn key(&self) -> String {
        let mut key = String::new();
        for (process, side) in self.sides.iter().enumerate() {
            let is_known = self.store.peer(&PROCESSES[process]).is_some();
            let speaks = (side.link.is_some(), side.is_silent);
            let link = (speaks, is_known, side.old.is_some());
            key += &format!("{link:?}{};", side.incarnation);
        }
        for id in &SESSIONS {
            key += "|";
            let Some(session) = self.store.session(id) else {
                continue;
            };
            let head = &session.record().head;
            let (recall, busy) = (session.recall().map(|own| own.reason), session.busy());
            let is_told = head.holder.as_ref().map(|own| {
                (
                    own.renamed.is_some(),
                    self.sides
                        .iter()
                        .any(|side| side.told.contains(&own.token.0)),
                )
            });
            let waiters: Vec<_> = session
                .lock()
                .waiters()
                .map(|place| (&place.process, place.wait_mode))
                .collect();
            let is_new = head.version == Version::NONE;
            key += &format!(
                "{:?}{is_told:?}{is_new}{recall:?}{busy:?}{waiters:?}",
                session.holder()
            );
        }
        let first = self.running.first();
        let is_ahead = first.map(|first| (&first.timer, self.lead(&first.timer) != Lead::Tied));
        key + &format!("{is_ahead:?}{}", self.store.stamps().last().epoch)
    }
}

/// Takes an act, and returns the kinds of its effects.
pub(super) fn take(place: &mut Place, act: &Act) -> String {
    let input = match act {
        Act::Input(input) => input,
        Act::Restart => {
            place.restart();
            return String::new();
        }
        Act::Silence(process) => {
            place.fall_silent(*process);
            return String::new();
        }
    };
    let from = match input {
        Input::Message { process, .. } | Input::Disconnected { process, .. } => {
            Some(process.clone())
        }
        Input::Timer(Timer::Lease(process) | Timer::Wait(_, process)) => Some(process.clone()),
        _ => None,
    };
    let outputs = place.step(input.clone());
    let told: Vec<String> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Persist(_) => None,
            Output::Send {
                process, message, ..
            } => {
                let to = if Some(process) == from.as_ref() {
                    ""
                } else {
                    " to another"
                };
                Some(format!("{}{to}", answer(message)))
            }
            Output::Disconnect { .. } => Some("the end of the connection".to_owned()),
        })
        .collect();
    told.join(" and ")
}

/// Returns the kind of an answer.
fn answer(message: &ToProcess) -> String {
    let text = format!("{message:?}");
    let word = |text: &str| {
        let end = text.find(|char: char| !char.is_alphanumeric());
        text[..end.unwrap_or(text.len())].to_owned()
    };
    match message {
        ToProcess::Granted(Granted {
            recall: Some(_), ..
        }) => "Granted, recalled".to_owned(),
        ToProcess::Refused { why, .. } => format!("Refused ({})", word(&format!("{why:?}"))),
        ToProcess::Revoked { why, .. } => format!("Revoked ({})", word(&format!("{why:?}"))),
        ToProcess::Released { version: None, .. } => "Released without a version".to_owned(),
        ToProcess::Welcome { holds, gone, .. } => {
            format!("Welcome ({} known, {} ended)", holds.len(), gone.len())
        }
        ToProcess::Gone {
            renamed: Some(_), ..
        } => "Gone to another id".to_owned(),
        _ => word(&text),
    }
}

/// Returns the situation of the session for the acting process.
pub(super) fn class_of(place: &Place, act: &Act) -> String {
    let (process, session) = match act {
        Act::Restart => (0, &SESSIONS[0]),
        Act::Silence(process) => (*process, &SESSIONS[0]),
        Act::Input(Input::Message {
            process, message, ..
        }) => (index(process), session_of(message)),
        Act::Input(Input::Disconnected { process, .. }) => (index(process), &SESSIONS[0]),
        Act::Input(Input::Timer(timer)) => match timer {
            Timer::Lease(process) => (index(process), &SESSIONS[0]),
            Timer::Wait(session, process) => (index(process), session),
            Timer::Remind(session) | Timer::Revoke(session) | Timer::Expire(session) => {
                (0, session)
            }
        },
        Act::Input(Input::Recall(session)) => (0, session),
        Act::Input(Input::Admission(_)) => (0, &SESSIONS[0]),
    };
    place.class(process, session)
}
