//! Equivalence of hypotheses: two hypotheses are alike if they explain the same future messages.
//!
//! The machine only compares the numbers that it draws. Soon only unused numbers show which of two requests was
//! processed first. If such numbers counted, many equivalent hypotheses would displace the right one. A number
//! therefore counts only by its rank among the numbers in use.

use crate::store::oracle::Connection;
use crate::store::oracle::hypothesis::{Hypothesis, Owed, What};
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use tenure_protocol::message::{GrantRef, Reason};
use tenure_protocol::renumber::Numbers;
use tenure_protocol::{Records, Stamp, StoreMachine};

/// Returns the first of each group of equal hashes, up to a maximum.
pub(crate) fn each_once<W: Hash>(hypotheses: impl IntoIterator<Item = W>, max: usize) -> Vec<W> {
    let mut hypotheses = hypotheses.into_iter().peekable();
    let Some(first) = hypotheses.next() else {
        return Vec::new();
    };
    if hypotheses.peek().is_none() {
        return vec![first]; // This case is frequent, and hashing is the main cost.
    }
    let mut seen = HashSet::new();
    let all = std::iter::once(first).chain(hypotheses);
    let is_new = |hypothesis: &W| seen.insert(hash(hypothesis));
    all.filter(is_new).take(max).collect()
}

pub(crate) fn hash(hypothesis: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(hypothesis)
}

/// Hypotheses that explain the same future messages have the same hash.
impl Hash for Hypothesis {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut using = Using {
            store: self.store.clone(),
            records: self.records.clone(),
            owed: self.owed.clone(),
            recalls: self.recalls.clone(),
        };
        let mut in_use = Vec::new();
        using.visit(&mut Pass::List(&mut in_use));
        in_use.sort_unstable();
        in_use.dedup();
        using.visit(&mut Pass::Place(&in_use));
        using.hash(state);
        self.names
            .hash_by(|ours| in_use.binary_search(&ours), state);
        (self.epoch, &self.unnoticed, self.clock).hash(state);
    }
}

/// The parts of a hypothesis in which the machine's numbers are in use.
#[derive(Hash)]
struct Using {
    store: StoreMachine,
    records: Records,
    owed: BTreeMap<Connection, Vec<Owed>>,
    recalls: [Vec<(GrantRef, Reason)>; 2],
}

impl Using {
    fn visit(&mut self, pass: &mut Pass<'_>) {
        self.store.visit(pass);
        self.records.visit(pass);
        for (connection, owed) in &mut self.owed {
            for owed in owed {
                if let What::Said(message) = &mut owed.what {
                    message.visit(&connection.process, pass);
                }
            }
        }
        for (hold, _) in self.recalls.iter_mut().flatten() {
            pass.stamp(&mut hold.token.0);
        }
    }
}

/// A pass that lists the numbers in use, or replaces numbers by their ranks.
enum Pass<'a> {
    List(&'a mut Vec<Stamp>),
    Place(&'a [Stamp]),
}

impl Numbers for Pass<'_> {
    fn stamp(&mut self, stamp: &mut Stamp) {
        // No store draws these numbers: a process has made them up.
        if stamp.epoch == 0 || stamp.epoch == u64::MAX {
            return;
        }
        match self {
            Self::List(all) => all.push(*stamp),
            Self::Place(all) => {
                let place = all
                    .binary_search(stamp)
                    .expect("the first pass has listed every number in use");
                (stamp.epoch, stamp.sequence) = (1, place as u64);
            }
        }
    }

    fn store_counter(&mut self, _: &mut u64, sequence: &mut u64) {
        *sequence = 0; // The next number is greater than all others.
    }
}
