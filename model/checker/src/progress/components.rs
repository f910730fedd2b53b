//! The strongly connected components in which a fair run can stay, by Tarjan's algorithm without recursion.
//!
//! The algorithm has the form of Pearce (Information Processing Letters 116, 2016). It keeps one number for each state:
//! its visiting index, lowered to the index of the earliest open state that it reaches, and at the end a number above
//! all indices. The path of the search and the open states that have left the path share one array from its two ends,
//! since a state is never in both. With a cursor for each state on the path, that makes 12 bytes a state. The memory is
//! reused from one obligation to the next.
//!
//! A state in which the obligation is not pending is marked as closed from the start, so an edge costs one random read.
//!
//! There is deliberately no list of components. Most components are single states. Only the shallowest fair ones are
//! kept, as labels in the marks and a few start states each. States with very many edges are not optimised: a cursor is
//! resumed by skipping, so the time is quadratic in the number of edges of one state, of which a model has tens.

use std::ops::Range;

use crate::graph::{Class, Graph};

/// The most fair components that are kept for the search for a short cycle.
const COMPONENTS: usize = 16;
/// The most start states that are kept for each component.
const STARTS: usize = 8;

const UNSEEN: u32 = 0;
const CLOSED: u32 = u32::MAX;
/// The lowest bit of a cursor: the state reaches no earlier open state, as far as seen. The other bits count edges.
const ROOT: u32 = 1;

/// The working memory of the pass. Its arrays have one meaning in the search for components, and another in the search
/// for cycles.
pub(super) struct Scratch {
    /// During the search, the visiting index or [`CLOSED`]. Afterwards, the label of a kept component.
    pub(super) mark: Vec<u32>,
    /// During the search, the path from the left and the open states from the right. Unused afterwards.
    pub(super) stack: Vec<u32>,
    /// During the search, the next edge of each state of the path, and [`ROOT`]. Unused afterwards.
    pub(super) cursor: Vec<u32>,
}

impl Scratch {
    pub(super) fn new(states: usize) -> Self {
        // The indices count up from 1 and the labels down from CLOSED - 1. Together there are at most as many as
        // states.
        assert!(
            states < CLOSED as usize,
            "the explorer numbers fewer than 2^32 - 1 states"
        );
        Self {
            mark: vec![UNSEEN; states],
            stack: vec![0; states],
            cursor: vec![0; states],
        }
    }

    pub(super) fn bytes(&self) -> usize {
        (self.mark.capacity() + self.stack.capacity() + self.cursor.capacity()) * size_of::<u32>()
    }
}

/// A state of a fair component at which a cycle may begin. Ordered by depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Start {
    pub(super) depth: u32,
    pub(super) state: u32,
    /// The mark of the states of the component.
    pub(super) label: u32,
}

/// Marks the shallowest fair components of the states in which `obligation` is pending, and returns a few starts of
/// each. The result is empty if and only if there is no fair component.
pub(super) fn fair(
    graph: &Graph,
    obligation: u8,
    scratch: &mut Scratch,
    depth: impl Fn(u32) -> u32,
) -> Vec<Start> {
    for (state, mark) in (0..).zip(&mut scratch.mark) {
        let pending = graph.pending(state) >> obligation & 1 == 1;
        *mark = if pending { UNSEEN } else { CLOSED };
    }
    let back = scratch.stack.len();
    let mut search = Search {
        graph,
        scratch,
        depth,
        front: 0,
        back,
        next: UNSEEN + 1,
        label: CLOSED - 1,
        kept: Vec::new(),
    };
    search.run();
    let mut starts: Vec<Start> = search.kept.into_iter().flatten().collect();
    starts.sort_unstable();
    starts
}

struct Search<'a, D> {
    graph: &'a Graph,
    scratch: &'a mut Scratch,
    depth: D,
    /// The length of the path, which is `stack[..front]`.
    front: usize,
    /// The start of the open states that have left the path, which are `stack[back..]`, the latest first.
    back: usize,
    /// The next visiting index: one above the indices of the open states.
    next: u32,
    /// The label of the next component that is kept.
    label: u32,
    /// The starts of each kept component, the shallowest first. The components have the same order.
    kept: Vec<Vec<Start>>,
}

impl<D: Fn(u32) -> u32> Search<'_, D> {
    fn run(&mut self) {
        // Most edges lead to later states. In the order from the last state to the first, most successors are therefore
        // closed already, the path stays short, and memory is read nearly in order. This is two to three times as fast
        // where there are few cycles.
        for state in (0..self.scratch.mark.len() as u32).rev() {
            if self.scratch.mark[state as usize] == UNSEEN {
                self.enter(state);
                while self.front > 0 {
                    self.advance();
                }
            }
        }
    }

    fn enter(&mut self, state: u32) {
        self.scratch.mark[state as usize] = self.next;
        self.next += 1;
        self.scratch.stack[self.front] = state;
        self.scratch.cursor[self.front] = ROOT;
        self.front += 1;
    }

    /// Follows the edges of the last state of the path up to an edge that leads to a new state. Removes the state from
    /// the path when no edge is left.
    fn advance(&mut self) {
        let top = self.front - 1;
        let Scratch {
            mark,
            stack,
            cursor,
        } = &mut *self.scratch;
        let state = stack[top];
        let mut root = cursor[top] & ROOT;
        let mut low = mark[state as usize];
        let resume = (cursor[top] >> 1) as usize;
        for (edge, (target, class)) in self.graph.edges(state).enumerate().skip(resume) {
            if class == Class::Fault {
                continue;
            }
            let seen = mark[target as usize];
            if seen == UNSEEN {
                mark[state as usize] = low;
                // The cursor stays at this edge: on the way back, the mark of the target says which states the target
                // reached.
                assert!(
                    edge < 1 << 31,
                    "the model lists far fewer than 2^31 actions in one state"
                );
                cursor[top] = (edge as u32) << 1 | root;
                self.enter(target);
                return;
            }
            if seen < low {
                low = seen;
                root = 0;
            }
        }
        mark[state as usize] = low;
        self.front = top;
        self.back -= 1;
        stack[self.back] = state;
        if root == ROOT {
            self.close(low);
        }
    }

    /// Closes the component whose first state, with the index `first`, has just left the path.
    fn close(&mut self, first: u32) {
        let Scratch { mark, stack, .. } = &mut *self.scratch;
        let open = &stack[self.back..];
        let size = open
            .iter()
            .position(|&state| mark[state as usize] < first)
            .unwrap_or(open.len());
        let members = self.back..self.back + size;
        // Any order is correct, and millions of rows are read far faster in the order of memory.
        stack[members.clone()].sort_unstable();
        let label = if self.is_fair(&self.scratch.stack[members.clone()]) {
            self.keep(members.clone())
        } else {
            CLOSED
        };
        let Scratch { mark, stack, .. } = &mut *self.scratch;
        for &state in &stack[members] {
            mark[state as usize] = label;
        }
        self.back += size;
        self.next = first;
    }

    /// Returns whether the open component has an inner edge, and each fair class is taken inside or disabled in some
    /// state.
    fn is_fair(&self, members: &[u32]) -> bool {
        let mut unmet = u64::MAX;
        let mut edge_inside = members.len() > 1;
        for &state in members {
            let mut enabled = 0;
            for (target, class) in self.graph.edges(state) {
                let bit = match class {
                    Class::Fair(class) => 1 << class,
                    Class::Free => 0,
                    Class::Fault => continue,
                };
                enabled |= bit;
                // The random read of the target's mark is needed only when it can add something. Every state reachable
                // from here is either closed, with a mark not below `next`, or in this component.
                let news = bit & unmet != 0 || !edge_inside;
                if news && self.scratch.mark[target as usize] < self.next {
                    unmet &= !bit;
                    edge_inside = true;
                }
            }
            unmet &= enabled;
            if unmet == 0 && edge_inside {
                return true;
            }
        }
        false
    }

    /// Keeps a fair component if it is among the shallowest so far. Returns the label for its states.
    fn keep(&mut self, members: Range<usize>) -> u32 {
        let label = self.label;
        let mut starts: Vec<Start> = Vec::with_capacity(STARTS + 1);
        for &state in &self.scratch.stack[members] {
            let start = Start {
                depth: (self.depth)(state),
                state,
                label,
            };
            if starts.len() < STARTS || start < starts[STARTS - 1] {
                starts.insert(starts.partition_point(|&other| other < start), start);
                starts.truncate(STARTS);
            }
        }
        let rank = self.kept.partition_point(|other| other[0] < starts[0]);
        if rank == COMPONENTS {
            return CLOSED;
        }
        self.kept.insert(rank, starts);
        self.kept.truncate(COMPONENTS);
        self.label -= 1;
        label
    }
}
