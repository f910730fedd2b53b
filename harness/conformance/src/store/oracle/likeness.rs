//! When two hypotheses explain the same from now on.
//!
//! The machine only compares the numbers that it draws. Whether one request was taken before another or after it soon shows in
//! nothing but numbers that nobody uses any more: told apart by these, hypotheses that are alike would crowd the right one out. So a
//! number counts by its place among those in use.

use crate::store::oracle::Connection;
use crate::store::oracle::hypothesis::{Hypothesis, Owed, What};
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use tenure_protocol::message::{GrantRef, Reason};
use tenure_protocol::renumber::Numbers;
use tenure_protocol::{Records, Stamp, StoreMachine};

/// Of those that hash alike the first, and not too many.
pub(crate) fn each_once<W: Hash>(hypotheses: impl IntoIterator<Item = W>, max: usize) -> Vec<W> {
    let mut hypotheses = hypotheses.into_iter().peekable();
    let Some(first) = hypotheses.next() else {
        return Vec::new();
    };
    if hypotheses.peek().is_none() {
        return vec![first]; // So it is most of the time, and hashes take most of the time.
    }
    let mut seen = HashSet::new();
    let all = std::iter::once(first).chain(hypotheses);
    let is_new = |hypothesis: &W| seen.insert(hash(hypothesis));
    all.filter(is_new).take(max).collect()
}

pub(crate) fn hash(hypothesis: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(hypothesis)
}

/// The same for hypotheses that explain the same from now on.
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

/// The parts of a hypothesis in which numbers of the machine's are in use.
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

/// Lists the numbers that it is shown, or puts their places for them.
enum Pass<'a> {
    List(&'a mut Vec<Stamp>),
    Place(&'a [Stamp]),
}

impl Numbers for Pass<'_> {
    fn stamp(&mut self, stamp: &mut Stamp) {
        // No store draws these: a process has made them up.
        if stamp.epoch == 0 || stamp.epoch == u64::MAX {
            return;
        }
        match self {
            Self::List(all) => all.push(*stamp),
            Self::Place(all) => {
                let place = all.binary_search(stamp).expect("it was listed");
                (stamp.epoch, stamp.sequence) = (1, place as u64);
            }
        }
    }

    fn store_counter(&mut self, _: &mut u64, sequence: &mut u64) {
        *sequence = 0; // What is drawn next is after all others.
    }
}
