//! The strongly connected components in which a fair run may stay, by Tarjan's algorithm without recursion.
//!
//! In the form of Pearce (Information Processing Letters 116, 2016): one number a state, its visiting index, lowered to
//! that of the earliest open state it reaches, and at the end a number above all indices. The path of the search and
//! the open states that have left it share one array from its two ends, since a state is never in both. With a cursor
//! for each state on the path that makes 12 bytes a state, reused from one obligation to the next.
//!
//! A state where the obligation is not pending is marked as closed from the start, so an edge costs one random read.
//! Deliberately absent: a list of components. Most are single states; of the fair ones only the shallowest are kept,
//! as labels in the marks and a few start states each. Also absent: haste for states with very many edges. A cursor is
//! resumed by skipping, so the time is quadratic in the edges of one state, of which a model has tens.

use std::ops::Range;

use crate::graph::{Class, Graph};

/// Fair components kept for the search for a short cycle.
const COMPONENTS: usize = 16;
/// Start states kept of each.
const STARTS: usize = 8;

const UNSEEN: u32 = 0;
const CLOSED: u32 = u32::MAX;
/// Lowest bit of a cursor: the state reaches no earlier open state, as far as seen. The other bits count edges.
const ROOT: u32 = 1;

/// The working memory of the pass. The arrays change their meaning between the search for components and the search
/// for cycles.
pub(super) struct Scratch {
    /// While searching, visiting index or [`CLOSED`]. Afterwards, the label of the component for those that were kept.
    pub(super) mark: Vec<u32>,
    /// While searching, the path from the left and the open states from the right. Then free.
    pub(super) stack: Vec<u32>,
    /// While searching, the next edge of each state of the path, and [`ROOT`]. Then free.
    pub(super) cursor: Vec<u32>,
}

impl Scratch {
    pub(super) fn new(states: usize) -> Self {
        // The indices count up from 1 and the labels down from CLOSED - 1; together they are at most as many as states.
        assert!(states < CLOSED as usize, "at most 2^32 - 2 states");
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

/// A state of a fair component, as a place to begin a cycle. Ordered by depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Start {
    pub(super) depth: u32,
    pub(super) state: u32,
    /// The mark of the states of its component.
    pub(super) label: u32,
}

/// Marks the shallowest fair components of the states where `obligation` is pending, and returns a few starts of each.
/// None if and only if there is no fair component.
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
    /// `stack[..front]` is the path.
    front: usize,
    /// `stack[back..]` are the open states that are no longer on the path, the latest first.
    back: usize,
    /// The next visiting index: one above those of the open states.
    next: u32,
    /// The label of the next component to be kept.
    label: u32,
    /// The starts of each component kept, the shallowest first, and the components in the same order.
    kept: Vec<Vec<Start>>,
}

impl<D: Fn(u32) -> u32> Search<'_, D> {
    fn run(&mut self) {
        // Edges mostly lead to later states. So from the last to the first, most successors are closed already, the
        // path stays short and memory is read nearly in order: two to three times as fast where there are few cycles.
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

    /// Follows the edges of the last state of the path up to one that leads to a new state. Leaves the state when no
    /// edge is left.
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
                // Not the edge after it: coming back, the mark of the target tells how far down it reached.
                assert!(edge < 1 << 31, "at most 2^31 edges of one state");
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

    /// Closes the component whose first state has just left the path, and has the index `first`.
    fn close(&mut self, first: u32) {
        let Scratch { mark, stack, .. } = &mut *self.scratch;
        let open = &stack[self.back..];
        let size = open
            .iter()
            .position(|&state| mark[state as usize] < first)
            .unwrap_or(open.len());
        let members = self.back..self.back + size;
        // Any order will do, and millions of rows are read far faster in that of memory.
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

    /// Whether the component, still open, has an edge inside and each fair class is taken inside or somewhere disabled.
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
                // The random read of the target's mark is needed only for what is not known yet. All that can be
                // reached from here is closed, with a mark not below `next`, or in this component.
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

    /// Keeps a fair component if it is among the shallowest so far. Returns the label of its states.
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
