//! Which explanations of what came so far are left when something more has come.

use crate::store::oracle::Connection;
use crate::store::oracle::compare::Came;
use crate::store::oracle::hypothesis::{Around, Hypothesis};
use crate::store::oracle::likeness::each_once;
use tenure_protocol::ToStore;
use tenure_protocol::store::{Input, Timer};

/// How many things that cannot be seen may have happened in a row to explain what came.
pub(super) const HIDDEN_MAX: usize = 2;
/// How many explanations are kept at most.
const WORLDS_MAX: usize = 8;
/// How many are looked at while one is looked for.
const HIDDEN_WORLDS_MAX: usize = 128;

/// What happened since the step began, to be told again to another explanation.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Heard(Connection, ToStore),
    Cut(Connection),
    Restarted,
    Passed(Timer),
    Came(Connection, Came),
}

/// Lets something happen in all hypotheses; where the rules leave two ways open, both become hypotheses.
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
            Entry::Came(..) => unreachable!("what came is followed"),
        }
    }
    hypotheses.extend(others);
}

/// The hypotheses after that came: those in which as little as will do happened before it that cannot be seen.
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

/// The hypotheses after one thing that cannot be seen.
pub(super) fn hidden(hypotheses: &[Hypothesis], around: &Around) -> Vec<Hypothesis> {
    let all = hypotheses
        .iter()
        .flat_map(|hypothesis| hypothesis.hidden(around));
    each_once(all, HIDDEN_WORLDS_MAX)
}

/// Each once, and not too many.
pub(super) fn few(hypotheses: Vec<Hypothesis>) -> Vec<Hypothesis> {
    each_once(hypotheses, WORLDS_MAX)
}
