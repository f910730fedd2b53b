//! Which explanations of what came so far are left when something more has come.

use crate::store::oracle::Connection;
use crate::store::oracle::compare::Came;
use crate::store::oracle::likeness::each_once;
use crate::store::oracle::world::{Around, World};
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

/// Lets something happen in all worlds; where the rules leave two ways open, both become worlds.
pub(super) fn replay(worlds: &mut Vec<World>, entry: &Entry, around: &Around, expires: bool) {
    let mut others = Vec::new();
    for world in &mut *worlds {
        match entry {
            Entry::Heard(connection, message) => {
                let before = world.clone();
                world.hear(connection, message, around);
                others.extend(before.others(connection, message, world, around));
            }
            Entry::Cut(connection) => world.cut(connection),
            Entry::Restarted => world.restart(expires),
            Entry::Passed(timer) => world.step(Input::Timer(timer.clone()), around),
            Entry::Came(..) => unreachable!("what came is followed"),
        }
    }
    worlds.extend(others);
}

/// The worlds after that came: those in which as little as will do happened before it that cannot be seen.
pub(super) fn follow(
    worlds: &[World],
    connection: &Connection,
    came: &Came,
    around: &Around,
    hidden_max: usize,
) -> Vec<World> {
    let mut from = worlds.to_vec();
    for _ in 0..=hidden_max {
        let mut found = from.clone();
        found.retain_mut(|world| world.take(connection, came));
        if !found.is_empty() {
            return few(found);
        }
        from = hidden(&from, around);
    }
    Vec::new()
}

/// The worlds after one thing that cannot be seen.
pub(super) fn hidden(worlds: &[World], around: &Around) -> Vec<World> {
    let all = worlds.iter().flat_map(|world| world.hidden(around));
    each_once(all, HIDDEN_WORLDS_MAX)
}

/// Each once, and not too many.
pub(super) fn few(worlds: Vec<World>) -> Vec<World> {
    each_once(worlds, WORLDS_MAX)
}
