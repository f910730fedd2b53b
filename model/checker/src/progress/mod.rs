//! Progress under weak fairness: no obligation stays pending for ever.
//!
//! Stateright's `eventually` does not see cycles and joining paths, and a starved waiter is exactly a cycle. This pass
//! therefore works on the complete reachable graph. A run is fair if every class `Fair(c)` is, infinitely often, taken
//! or disabled. `Free` edges need never be taken, and `Fault` edges stop at some point. For each obligation, the pass
//! considers only the states in which the obligation is pending. The obligation may stay pending for ever if and only
//! if
//!
//! 1. one of these states has no fair edge, so that the run may rest there, or
//! 2. without the fault edges, these states have a strongly connected component with at least one edge, in which
//!    every fair class is taken or somewhere disabled.
//!
//! Weak fairness only demands that classes are met, never that they are avoided. A larger component therefore meets at
//! least the classes of its parts, and the maximal components of one Tarjan pass decide. Each finding is returned as a
//! short [`Lasso`], and [`is_fair_lasso`] checks it without code of the search.
//!
//! The pass deliberately leaves out three things: strong fairness (a protocol must not rely on an action that is
//! enabled again and again), the stem (the explorer knows the shortest path to every state), and more than one lasso
//! for each obligation.

mod components;
mod cycle;
mod lasso;

use std::time::Instant;

use crate::graph::{Class, Graph};
use components::Scratch;
pub use lasso::{Lasso, is_fair_lasso};

/// The effort and the findings of the pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The duration of the pass, in seconds.
    pub seconds: f64,
    /// The working memory in bytes: 12 for each state, for any number of obligations.
    pub bytes: usize,
    /// The obligations that are pending in some state, one bit each. The other obligations were not tested.
    pub checked: u64,
    /// One lasso for each obligation that can stay pending for ever, in the order of the obligations.
    pub lassos: Vec<Lasso>,
}

/// Searches, for each obligation, for a fair run on which the obligation stays pending for ever.
///
/// `depth` returns the length of the shortest stem to a state. It affects only the choice of the lasso, never whether
/// one is found.
///
/// When a fair component has no fair cycle, or a lasso does not pass [`is_fair_lasso`]: both would be errors of this
/// pass. Also beyond 2^32 - 2 states, or 2^31 edges of one state.
#[must_use]
pub fn check(graph: &Graph, depth: impl Fn(u32) -> u32) -> Report {
    let began = Instant::now();
    let (checked, resting) = survey(graph, &depth);
    let mut scratch = Scratch::new(if checked == 0 { 0 } else { graph.len() });
    let mut lassos = Vec::new();
    for obligation in bits(checked) {
        let starts = components::fair(graph, obligation, &mut scratch, &depth);
        let rest = resting[usize::from(obligation)].map(|(_, start)| Lasso {
            obligation,
            cycle: Vec::new(),
            start,
        });
        let Some(lasso) = cycle::shortest(graph, obligation, rest, starts, &mut scratch, &depth)
        else {
            continue;
        };
        if let Err(reason) = is_fair_lasso(graph, &lasso) {
            panic!("the progress pass found a lasso that is none ({reason}): {lasso:?}");
        }
        lassos.push(lasso);
    }
    Report {
        seconds: began.elapsed().as_secs_f64(),
        bytes: scratch.bytes(),
        checked,
        lassos,
    }
}

/// Returns the obligations that are ever pending. For each obligation, also returns the shallowest state (depth, state)
/// in which a run may rest with the obligation pending. One pass in memory order serves all obligations.
fn survey(graph: &Graph, depth: impl Fn(u32) -> u32) -> (u64, [Option<(u32, u32)>; 64]) {
    let states =
        u32::try_from(graph.len()).expect("the explorer numbers fewer than 2^32 - 1 states");
    let mut checked = 0;
    let mut resting: [Option<(u32, u32)>; 64] = [None; 64];
    for state in 0..states {
        let pending = graph.pending(state);
        checked |= pending;
        if pending == 0
            || graph
                .edges(state)
                .any(|(_, class)| matches!(class, Class::Fair(_)))
        {
            continue;
        }
        let here = (depth(state), state);
        for obligation in bits(pending) {
            let best = &mut resting[usize::from(obligation)];
            if best.is_none_or(|best| here < best) {
                *best = Some(here);
            }
        }
    }
    (checked, resting)
}

/// Returns the positions of the set bits, lowest first.
fn bits(set: u64) -> impl Iterator<Item = u8> {
    (0..64).filter(move |bit| set >> bit & 1 == 1)
}
