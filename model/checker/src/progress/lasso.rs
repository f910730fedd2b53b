//! Lassos, which stand for runs that never end, and the check that a lasso is fair.
//!
//! The check evaluates the definition of fairness again, on the lasso alone. It shares no code with the search that
//! finds lassos, so an error in one does not hide in the other. The stem is deliberately left out: the explorer builds
//! it and replays it through the model.

use crate::graph::{Class, Graph};

/// A run on which an obligation stays pending for ever: the run reaches `start` and then repeats `cycle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lasso {
    /// The obligation that stays pending.
    pub obligation: u8,
    /// Each state of the cycle, with the index within [`Graph::edges`] of the edge taken from it. The last edge leads
    /// back to `start`. Empty if the run rests at `start`.
    pub cycle: Vec<(u32, usize)>,
    /// The first state of the cycle, or the state at which the run rests.
    pub start: u32,
}

/// Checks that `lasso` is a fair run of `graph` on which its obligation stays pending.
///
/// # Errors
/// The first error, in words.
pub fn is_fair_lasso(graph: &Graph, lasso: &Lasso) -> Result<(), String> {
    if lasso.obligation >= 64 {
        return Err(format!("there is no obligation {}", lasso.obligation));
    }
    expect_pending(graph, lasso.start, lasso.obligation)?;
    if lasso.cycle.is_empty() {
        return expect_rest(graph, lasso.start);
    }
    let mut met = [false; 64];
    let mut at = lasso.start;
    for &(state, edge) in &lasso.cycle {
        if state != at {
            return Err(format!("the cycle is at {at} but goes on from {state}"));
        }
        expect_pending(graph, state, lasso.obligation)?;
        let mut disabled = [true; 64];
        for (_, class) in graph.edges(state) {
            if let Class::Fair(class) = class {
                disabled[usize::from(class)] = false;
            }
        }
        for (met, disabled) in met.iter_mut().zip(disabled) {
            *met |= disabled;
        }
        let Some((target, class)) = graph.edges(state).nth(edge) else {
            return Err(format!("state {state} has no edge {edge}"));
        };
        match class {
            Class::Fair(class) => met[usize::from(class)] = true,
            Class::Free => {}
            Class::Fault => return Err(format!("edge {edge} of state {state} is a fault")),
        }
        at = target;
    }
    if at != lasso.start {
        return Err(format!(
            "the cycle ends at {at}, not at its start {}",
            lasso.start
        ));
    }
    match met.iter().position(|&met| !met) {
        Some(class) => Err(format!(
            "fair class {class} is always enabled and never taken"
        )),
        None => Ok(()),
    }
}

fn expect_pending(graph: &Graph, state: u32, obligation: u8) -> Result<(), String> {
    if state as usize >= graph.len() {
        return Err(format!("there is no state {state}"));
    }
    if graph.pending(state) >> obligation & 1 == 0 {
        return Err(format!(
            "obligation {obligation} is not pending in state {state}"
        ));
    }
    Ok(())
}

fn expect_rest(graph: &Graph, state: u32) -> Result<(), String> {
    for (edge, (_, class)) in graph.edges(state).enumerate() {
        if let Class::Fair(class) = class {
            return Err(format!(
                "the run cannot rest at {state}: its edge {edge} is of fair class {class}"
            ));
        }
    }
    Ok(())
}
