//! The mapping between the machine's numbers and the target's.
//!
//! A store draws its numbers freely. Tokens of a session must rise, versions must only differ, and tickets must rise
//! among waiting processes. Exactly this is compared, for each session separately.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use tenure_protocol::{SessionId, Stamp};

/// The kind of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Token,
    Version,
    Ticket,
}

/// A number of the machine and the corresponding one of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    ours: Stamp,
    theirs: Stamp,
}

/// The mapping of numbers. See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(BTreeMap<(Kind, SessionId), Vec<Pair>>);

impl Names {
    /// Returns whether both numbers can correspond. If so, they correspond from now on. `ordered` selects the machine's
    /// numbers against which the order is checked.
    pub(crate) fn meet(
        &mut self,
        kind: Kind,
        session: &SessionId,
        (ours, theirs): (Stamp, Stamp),
        ordered: impl Fn(Stamp) -> bool,
    ) -> bool {
        let none = Stamp::default();
        if kind == Kind::Version && (ours == none || theirs == none) {
            return ours == theirs;
        }
        let pairs = self.0.entry((kind, session.clone())).or_default();
        if let Some(pair) = pairs.iter().find(|pair| pair.ours == ours) {
            return pair.theirs == theirs;
        }
        if kind == Kind::Ticket {
            // The ticket of a process that no longer waits may be drawn again.
            pairs.retain(|pair| pair.theirs != theirs || ordered(pair.ours));
        }
        let is_new = pairs.iter().all(|pair| pair.theirs != theirs);
        let mut against = pairs.iter().filter(|pair| ordered(pair.ours));
        let is_so = is_new && against.all(|pair| (pair.ours < ours) == (pair.theirs < theirs));
        if is_so {
            pairs.push(Pair { ours, theirs });
        }
        is_so
    }

    pub(crate) fn ours(&self, kind: Kind, session: &SessionId, theirs: Stamp) -> Option<Stamp> {
        self.find(kind, session, |pair| pair.theirs == theirs)
            .map(|pair| pair.ours)
    }

    pub(crate) fn theirs(&self, kind: Kind, session: &SessionId, ours: Stamp) -> Option<Stamp> {
        self.find(kind, session, |pair| pair.ours == ours)
            .map(|pair| pair.theirs)
    }

    fn find(&self, kind: Kind, session: &SessionId, is_it: impl Fn(&Pair) -> bool) -> Option<Pair> {
        let pairs = self.0.get(&(kind, session.clone()))?;
        // Use the last pair, because a number may recur in another life of the session.
        pairs.iter().rev().find(|pair| is_it(pair)).copied()
    }

    /// Hashes the parts of the mapping that matter for the future. `place` returns the rank of a machine's number among
    /// the numbers in use, if it is in use.
    pub(super) fn hash_by<H: Hasher>(
        &self,
        place: impl Fn(Stamp) -> Result<usize, usize>,
        state: &mut H,
    ) {
        for (of, pairs) in &self.0 {
            of.hash(state);
            let mut order: Vec<&Pair> = pairs.iter().collect();
            order.sort_by_key(|pair| pair.ours);
            for pair in order {
                (pair.theirs, place(pair.ours)).hash(state);
            }
        }
    }

    /// Records the end of a session: the versions of its next life are unrestricted.
    pub(crate) fn end(&mut self, session: &SessionId) {
        self.0.remove(&(Kind::Version, session.clone()));
    }

    /// Moves a session's numbers to its new id.
    pub(crate) fn rename(&mut self, from: &SessionId, to: &SessionId) {
        if let Some(pairs) = self.0.remove(&(Kind::Version, from.clone())) {
            self.0.insert((Kind::Version, to.clone()), pairs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> Stamp {
        Stamp { epoch: 1, sequence }
    }

    #[test]
    fn tokens_keep_their_order_and_correspond_one_to_one() {
        let (mut names, s) = (Names::default(), SessionId::from_static("s"));
        let mut meet = |ours, theirs| names.meet(Kind::Token, &s, (at(ours), at(theirs)), |_| true);
        assert!(meet(3, 30));
        assert!(meet(3, 30));
        assert!(!meet(3, 31));
        assert!(!meet(4, 30));
        assert!(!meet(4, 29));
        assert!(meet(2, 20));
        assert!(meet(4, 40));
    }

    #[test]
    fn no_version_corresponds_only_to_no_version() {
        let (mut names, s) = (Names::default(), SessionId::from_static("s"));
        let mut meet = |ours, theirs| names.meet(Kind::Version, &s, (ours, theirs), |_| false);
        assert!(meet(Stamp::default(), Stamp::default()));
        assert!(!meet(at(1), Stamp::default()));
        assert!(meet(at(1), at(9)));
        assert!(meet(at(2), at(8)));
    }
}
