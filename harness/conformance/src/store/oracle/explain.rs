//! Finds the hypotheses that still explain everything after a new observation.

use crate::store::oracle::Connection;
use crate::store::oracle::compare::Came;
use crate::store::oracle::hypothesis::{Around, Hypothesis};
use crate::store::oracle::likeness::each_once;
use tenure_protocol::ToStore;
use tenure_protocol::store::{Input, Timer};

/// The most consecutive invisible events that may explain an observation.
pub(super) const HIDDEN_MAX: usize = 2;
/// The most hypotheses to keep.
const WORLDS_MAX: usize = 8;
/// The most hypotheses to examine during a search.
const HIDDEN_WORLDS_MAX: usize = 128;

/// An event of the current step, to be replayed on other hypotheses.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Heard(Connection, ToStore),
    Cut(Connection),
    Restarted,
    Passed(Timer),
    Came(Connection, Came),
}

/// Applies an event to all hypotheses. If the rules leave a choice open, both alternatives become hypotheses.
pub(super) fn replay(
    hypotheses: &mut Vec<Hypothesis>,
    entry: &Entry,
    around: &Around,
    expires: bool,
) {
    let mut others = Vec::new();
    for hypothesis in &mut *hypotheses {
        match entry {
            Entry::Heard(connection, message) => {
                let before = hypothesis.clone();
                hypothesis.hear(connection, message, around);
                others.extend(before.others(connection, message, hypothesis, around));
            }
            Entry::Cut(connection) => hypothesis.cut(connection),
            Entry::Restarted => hypothesis.restart(expires),
            Entry::Passed(timer) => hypothesis.step(Input::Timer(timer.clone()), around),
            Entry::Came(..) => {
                unreachable!("received messages are handled by follow and not by replay")
            }
        }
    }
    hypotheses.extend(others);
}

/// Returns the hypotheses that explain a received message with the least number of invisible events before it.
pub(super) fn follow(
    hypotheses: &[Hypothesis],
    connection: &Connection,
    came: &Came,
    around: &Around,
    hidden_max: usize,
) -> Vec<Hypothesis> {
    let mut from = hypotheses.to_vec();
    for _ in 0..=hidden_max {
        let mut found = from.clone();
        found.retain_mut(|hypothesis| hypothesis.take(connection, came));
        if !found.is_empty() {
            return few(found);
        }
        from = hidden(&from, around);
    }
    Vec::new()
}

/// Returns the hypotheses after one invisible event.
pub(super) fn hidden(hypotheses: &[Hypothesis], around: &Around) -> Vec<Hypothesis> {
    let all = hypotheses
        .iter()
        .flat_map(|hypothesis| hypothesis.hidden(around));
    each_once(all, HIDDEN_WORLDS_MAX)
}

/// Removes duplicates and limits the number of hypotheses.
pub(super) fn few(hypotheses: Vec<Hypothesis>) -> Vec<Hypothesis> {
    each_once(hypotheses, WORLDS_MAX)
}
