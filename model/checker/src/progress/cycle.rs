//! A short fair cycle within a fair component.
//!
//! The shortest is a travelling salesman's problem, so this is a search by rule of thumb. From a start, walk to the
//! nearest edge that meets a fair class not met so far (it is of the class, or leads to where the class is disabled), on
//! to the next, and home when all are met. Do this from several starts, the shallowest first, then from the states of
//! the cycles found, because a smaller one often lies around them. A lasso enters its cycle at the shallowest state.
//! On random graphs made to be hard the result was 8 % longer than the shortest, on a lock server not at all.
//!
//! Effort: the walks go round after round with more states to look at each, so that a small component is not left aside
//! for a huge one, and they share a budget. Only when that is spent and nothing found does a walk go on to its end,
//! since there is a cycle and it must be shown. Deliberately absent: any claim that the result is the shortest.

use super::components::{Scratch, Start};
use super::lasso::Lasso;
use crate::graph::{Class, Graph};

/// States that one walk may find, in each round.
const ROUNDS: [usize; 4] = [1 << 10, 1 << 14, 1 << 18, usize::MAX];
/// States that all walks for an obligation find before they settle for what they have: below a second.
const EFFORT: usize = 1 << 20;
/// Starts tried for an obligation.
const STARTS: usize = 256;
const NONE: u32 = u32::MAX;

/// The shortest lasso found: `rest`, if there is one, or a cycle through one of `starts` if that is shorter.
pub(super) fn shortest(
    graph: &Graph,
    obligation: u8,
    rest: Option<Lasso>,
    mut starts: Vec<Start>,
    scratch: &mut Scratch,
    depth: impl Fn(u32) -> u32,
) -> Option<Lasso> {
    let Some(shallowest) = starts.iter().map(|start| start.depth as usize).min() else {
        return rest;
    };
    // Of two lassos equally long, the one with the shorter cycle is easier to read.
    let length = |lasso: &Lasso| {
        let cycle = lasso.cycle.len();
        (depth(lasso.start) as usize + cycle, cycle)
    };
    let mut best = rest.map(|rest| (length(&rest), rest));
    let mut walker = Walker::new(graph, scratch);
    for round in ROUNDS {
        let mut weary = Vec::new();
        let mut next = 0;
        while let Some(&start) = starts.get(next) {
            next += 1;
            let spent = walker.seen >= EFFORT || round == usize::MAX;
            if spent && best.is_some() {
                break;
            }
            walker.allow(if spent { usize::MAX } else { round });
            // No cycle begins above the shallowest start, so one that is longer than this loses.
            walker.longest = best.as_ref().map_or(usize::MAX, |((total, _), _)| {
                total.saturating_sub(shallowest)
            });
            let cycle = match walker.walk(start) {
                Walk::Closed(cycle) => cycle,
                Walk::Long => continue,
                Walk::Weary => {
                    weary.push(start);
                    continue;
                }
            };
            add_starts(&mut starts, &cycle, start.label, &depth);
            let lasso = lasso(obligation, cycle, &depth);
            if best.as_ref().is_none_or(|(best, _)| length(&lasso) < *best) {
                best = Some((length(&lasso), lasso));
            }
        }
        starts = weary;
    }
    best.map(|(_, lasso)| lasso)
}

/// Adds the states of a cycle to the starts, as far as there is room.
fn add_starts(starts: &mut Vec<Start>, cycle: &Cycle, label: u32, depth: impl Fn(u32) -> u32) {
    for &(state, _) in cycle {
        if starts.len() == STARTS {
            return;
        }
        if starts.iter().all(|start| start.state != state) {
            let depth = depth(state);
            starts.push(Start {
                depth,
                state,
                label,
            });
        }
    }
}

/// The lasso that enters `cycle` at its shallowest state.
fn lasso(obligation: u8, mut cycle: Cycle, depth: impl Fn(u32) -> u32) -> Lasso {
    let first = (0..cycle.len()).min_by_key(|&at| depth(cycle[at].0));
    cycle.rotate_left(first.expect("a cycle has an edge"));
    Lasso {
        obligation,
        start: cycle[0].0,
        cycle,
    }
}

/// A closed walk: each state with the index of the edge taken from it.
type Cycle = Vec<(u32, usize)>;

enum Walk {
    Closed(Cycle),
    /// Given up as too long.
    Long,
    /// Given up as too much effort.
    Weary,
}

struct Walker<'a> {
    graph: &'a Graph,
    /// The component of each state.
    mark: &'a [u32],
    /// From where the current leg found each state.
    parent: &'a mut [u32],
    /// The states that the current leg found, in breadth-first order.
    queue: &'a mut [u32],
    /// States found in all legs of all walks.
    seen: usize,
    /// Where `seen` ends the current walk.
    limit: usize,
    /// The longest cycle that is of use.
    longest: usize,
}

impl<'a> Walker<'a> {
    fn new(graph: &'a Graph, scratch: &'a mut Scratch) -> Self {
        scratch.stack.fill(NONE);
        Self {
            graph,
            mark: &scratch.mark,
            parent: &mut scratch.stack,
            queue: &mut scratch.cursor,
            seen: 0,
            limit: usize::MAX,
            longest: usize::MAX,
        }
    }

    /// Sets how many states the next walk may find.
    fn allow(&mut self, states: usize) {
        self.limit = self.seen.saturating_add(states);
    }

    /// Looks for a fair cycle through `start`.
    fn walk(&mut self, start: Start) -> Walk {
        let mut cycle = Cycle::new();
        let mut at = start.state;
        let mut unmet = enabled(self.graph, at);
        while unmet != 0 || at != start.state || cycle.is_empty() {
            let known = cycle.len();
            let goal = Goal {
                unmet,
                home: start.state,
            };
            let Some(last) = self.leg(at, goal, &mut cycle) else {
                return Walk::Weary;
            };
            cycle.push(last);
            for &step in &cycle[known..] {
                let (target, taken) = follow(self.graph, step);
                unmet &= enabled(self.graph, target) & !taken;
                at = target;
            }
            if cycle.len() > self.longest {
                return Walk::Long;
            }
        }
        Walk::Closed(cycle)
    }

    /// Appends to `cycle` the shortest way to a state with an edge that meets the goal, within the component of `from`.
    /// Returns that state and edge, or nothing at the limit of effort. Never gives up otherwise, as that would turn a
    /// bug in the search for components into a verdict.
    fn leg(&mut self, from: u32, goal: Goal, cycle: &mut Cycle) -> Option<(u32, usize)> {
        let (mut head, mut tail) = (0, 1);
        self.queue[0] = from;
        self.parent[from as usize] = from;
        let mut found = None;
        while found.is_none() && self.seen < self.limit {
            assert!(
                head < tail,
                "in a fair component every goal is within reach"
            );
            let state = self.queue[head];
            head += 1;
            let known = tail;
            found = self
                .expand(state, goal, &mut tail)
                .map(|edge| (state, edge));
            self.seen += tail - known;
        }
        if let Some((state, _)) = found {
            self.trace(from, state, cycle);
        }
        for &state in &self.queue[..tail] {
            self.parent[state as usize] = NONE;
        }
        found
    }

    /// Queues the new successors of `state`. Returns its edge that meets most of the goal, if one meets any.
    fn expand(&mut self, state: u32, goal: Goal, tail: &mut usize) -> Option<usize> {
        let label = self.mark[state as usize];
        let mut best = None;
        for (edge, (target, class)) in self.graph.edges(state).enumerate() {
            if class == Class::Fault || self.mark[target as usize] != label {
                continue;
            }
            let mut met = goal.unmet & bit(class);
            let new = self.parent[target as usize] == NONE;
            if new {
                self.parent[target as usize] = state;
                self.queue[*tail] = target;
                *tail += 1;
            }
            // A state found before did not meet anything, or the leg would have ended there.
            if new || met != 0 {
                met |= goal.unmet & !enabled(self.graph, target);
            }
            let home = target == goal.home;
            let gain = (met.count_ones(), home);
            let useful = met != 0 || goal.unmet == 0 && home;
            if useful && best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, edge));
            }
        }
        best.map(|(_, edge)| edge)
    }

    /// Appends the way by which the current leg found `to`.
    fn trace(&self, from: u32, to: u32, cycle: &mut Cycle) {
        let known = cycle.len();
        let mut target = to;
        while target != from {
            let state = self.parent[target as usize];
            let edge = self
                .graph
                .edges(state)
                .position(|(other, class)| other == target && class != Class::Fault);
            cycle.push((state, edge.expect("the leg came by an edge")));
            target = state;
        }
        cycle[known..].reverse();
    }
}

/// What a leg looks for: to take one of the unmet fair classes, or be where one is disabled; with none left, home.
#[derive(Clone, Copy)]
struct Goal {
    unmet: u64,
    home: u32,
}

/// The target of an edge and the bit of its class.
fn follow(graph: &Graph, (state, edge): (u32, usize)) -> (u32, u64) {
    let (target, class) = graph.edges(state).nth(edge).expect("an edge of the state");
    (target, bit(class))
}

/// The fair classes that are enabled in `state`, one bit each.
fn enabled(graph: &Graph, state: u32) -> u64 {
    graph
        .edges(state)
        .fold(0, |set, (_, class)| set | bit(class))
}

fn bit(class: Class) -> u64 {
    match class {
        Class::Fair(class) => 1 << class,
        Class::Free | Class::Fault => 0,
    }
}
