//! Progress under weak fairness: no obligation stays pending for ever.
//!
//! Stateright's `eventually` is blind on cycles and where paths join, and a starved waiter is exactly a cycle. So this
//! pass works on the complete reachable graph. A run is fair if every class `Fair(c)` is, infinitely often, taken or
//! disabled; `Free` edges need never be taken, `Fault` edges stop at some point. For an obligation, look only at the
//! states in which it is pending. It may stay pending for ever if and only if
//!
//! 1. one of these states has no fair edge, so that the run may rest there, or
//! 2. without the fault edges, these states have a strongly connected component with at least one edge, in which
//!    every fair class is taken or somewhere disabled.
//!
//! Weak fairness asks only that things be met, never avoided, so a larger component meets no less than its parts: the
//! maximal components of one Tarjan pass decide. What is found is returned as a [`Lasso`], kept short, and checked by
//! [`is_fair_lasso`], which shares no code with the search.
//!
//! Deliberately absent: strong fairness (an action that is enabled again and again but never taken is no excuse for a
//! protocol), the stem (the explorer knows the shortest way to every state), and more than one lasso an obligation.

mod components;
mod cycle;
mod lasso;

use std::time::Instant;

use crate::graph::{Class, Graph};
use components::Scratch;
pub use lasso::{Lasso, is_fair_lasso};

/// What the pass did and found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Wall time of the pass.
    pub seconds: f64,
    /// Scratch memory in bytes: 12 a state, whatever the number of obligations.
    pub bytes: usize,
    /// The obligations that are pending in some state, one bit each. The others were never put to the test.
    pub checked: u64,
    /// One way to stay pending for ever for each obligation that has one, in the order of the obligations.
    pub lassos: Vec<Lasso>,
}

/// Looks, for each obligation, for a fair run in which it stays pending for ever.
///
/// `depth` is the length of the shortest stem to a state; it decides only which lasso is reported, never whether one is.
///
/// # Panics
/// If a fair component has no fair cycle or a lasso does not pass [`is_fair_lasso`], which would be errors of this
/// pass; and beyond 2^32 - 2 states or 2^31 edges of one state.
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

/// The obligations that are ever pending and, for each, the shallowest state (depth, state) where a run may rest with
/// it pending. One pass in memory order serves all obligations.
fn survey(graph: &Graph, depth: impl Fn(u32) -> u32) -> (u64, [Option<(u32, u32)>; 64]) {
    let states = u32::try_from(graph.len()).expect("at most 2^32 - 2 states");
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

/// The positions of the set bits, lowest first.
fn bits(set: u64) -> impl Iterator<Item = u8> {
    (0..64).filter(move |bit| set >> bit & 1 == 1)
}
