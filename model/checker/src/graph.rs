//! The reachable graph of a model, for the progress pass.
//!
//! The explorer builds the graph once, in compressed rows: 5 bytes for an edge, and 8 bytes plus 4 bytes of row offset
//! for a state. States are numbered in the order of breadth-first discovery, so the initial states come first.

/// The promise of fairness for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// A weakly fair action: an action of this class (0..64) that stays possible is taken in the end.
    Fair(u8),
    /// An action that may be left out for ever, such as a thread's request for a lock.
    Free,
    /// A fault. Faults happen finitely often, so a fault may stand in the stem of a lasso, but not in its cycle.
    Fault,
}

impl Class {
    const FREE: u8 = 64;
    const FAULT: u8 = 65;

    /// Returns the class as one byte, as an edge stores it.
    #[must_use]
    pub fn pack(self) -> u8 {
        match self {
            Self::Fair(class) => {
                assert!(
                    class < Self::FREE,
                    "the model numbers its fairness classes from 0 to 63"
                );
                class
            }
            Self::Free => Self::FREE,
            Self::Fault => Self::FAULT,
        }
    }

    /// Returns the class of a byte from [`Class::pack`].
    #[must_use]
    pub fn unpack(byte: u8) -> Self {
        match byte {
            Self::FREE => Self::Free,
            Self::FAULT => Self::Fault,
            class => Self::Fair(class),
        }
    }
}

/// The reachable states and their transitions, complete: every possible action of every state is an edge, also a
/// self-loop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    offsets: Vec<u32>,
    targets: Vec<u32>,
    classes: Vec<u8>,
    pending: Vec<u64>,
}

impl Graph {
    /// Appends the next state: its pending obligations (one bit each) and its edges.
    ///
    /// # Panics
    /// Beyond 2^32 states or edges.
    pub fn push(&mut self, pending: u64, edges: impl IntoIterator<Item = (u32, Class)>) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        for (target, class) in edges {
            self.targets.push(target);
            self.classes.push(class.pack());
        }
        self.pending.push(pending);
        let end = u32::try_from(self.targets.len()).expect("the explorer stops before 2^32 edges");
        self.offsets.push(end);
    }

    /// Returns the number of states.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Returns whether there is no state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns the number of edges.
    #[must_use]
    pub fn edge_count(&self) -> usize {
        self.targets.len()
    }

    /// Returns the pending obligations of `state`, one bit each.
    #[must_use]
    pub fn pending(&self, state: u32) -> u64 {
        self.pending[state as usize]
    }

    /// Returns the edges of `state`, in the order in which the model listed its actions.
    pub fn edges(&self, state: u32) -> impl ExactSizeIterator<Item = (u32, Class)> + '_ {
        let row = self.offsets[state as usize] as usize..self.offsets[state as usize + 1] as usize;
        self.targets[row.clone()]
            .iter()
            .zip(&self.classes[row])
            .map(|(&target, &class)| (target, Class::unpack(class)))
    }

    /// Returns the heap memory of the graph, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.offsets.capacity() * 4
            + self.targets.capacity() * 4
            + self.classes.capacity()
            + self.pending.capacity() * 8
    }
}
