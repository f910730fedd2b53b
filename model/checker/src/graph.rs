//! The reachable graph of a model, as the progress pass needs it.
//!
//! The explorer builds it once, in compressed rows: 5 bytes an edge, 8 bytes a state and 4 bytes of row offset. A state
//! is a number, in the order of breadth-first discovery, so state 0.. are the initial states.

/// What fairness promises of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Weakly fair: an action of this class (0..64) that stays possible is taken in the end.
    Fair(u8),
    /// May be taken or not, for ever: a thread that asks for a lock.
    Free,
    /// A fault. It happens finitely often, so it may stand in the stem of a lasso but not in its cycle.
    Fault,
}

impl Class {
    const FREE: u8 = 64;
    const FAULT: u8 = 65;

    /// One byte, as an edge stores it.
    #[must_use]
    pub fn pack(self) -> u8 {
        match self {
            Self::Fair(class) => {
                assert!(class < Self::FREE, "at most 64 fairness classes");
                class
            }
            Self::Free => Self::FREE,
            Self::Fault => Self::FAULT,
        }
    }

    /// The inverse of [`Class::pack`].
    #[must_use]
    pub fn unpack(byte: u8) -> Self {
        match byte {
            Self::FREE => Self::Free,
            Self::FAULT => Self::Fault,
            class => Self::Fair(class),
        }
    }
}

/// Reachable states and their transitions, complete: every possible action of every state is an edge, self-loops included.
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
        let end = u32::try_from(self.targets.len()).expect("at most 2^32 edges");
        self.offsets.push(end);
    }

    /// Number of states.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether there is no state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Number of edges.
    #[must_use]
    pub fn edge_count(&self) -> usize {
        self.targets.len()
    }

    /// The obligations that are pending in `state`, one bit each.
    #[must_use]
    pub fn pending(&self, state: u32) -> u64 {
        self.pending[state as usize]
    }

    /// The edges of `state`, in the order in which the model listed its actions.
    pub fn edges(&self, state: u32) -> impl ExactSizeIterator<Item = (u32, Class)> + '_ {
        let row = self.offsets[state as usize] as usize..self.offsets[state as usize + 1] as usize;
        self.targets[row.clone()]
            .iter()
            .zip(&self.classes[row])
            .map(|(&target, &class)| (target, Class::unpack(class)))
    }

    /// Heap memory in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.offsets.capacity() * 4
            + self.targets.capacity() * 4
            + self.classes.capacity()
            + self.pending.capacity() * 8
    }
}
