//! An index of the earliest deadline of each session and each process, so that finding the next timer needs no scan.

use crate::memory::InputQueue;
use std::collections::{BTreeSet, HashMap};
use tenure_protocol::{ProcessId, SessionId, Time};

/// The owner of a timer: a session or a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    Session(SessionId),
    Process(ProcessId),
}

impl Owner {
    /// Returns the input queue to which this owner's timers belong.
    pub(crate) fn queue(&self) -> InputQueue {
        match self {
            Self::Session(id) => InputQueue::Session(id.clone()),
            Self::Process(process) => InputQueue::Process(process.clone()),
        }
    }
}

/// The timer index. See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Timers {
    order: BTreeSet<(Time, Owner)>,
    due: HashMap<Owner, Time>,
}

impl Timers {
    /// Replaces the deadline of `owner`. `None` removes it.
    pub(crate) fn set(&mut self, owner: Owner, due: Option<Time>) {
        let earlier = match due {
            Some(due) => self.due.insert(owner.clone(), due),
            None => self.due.remove(&owner),
        };
        if earlier == due {
            return;
        }
        if let Some(earlier) = earlier {
            self.order.remove(&(earlier, owner.clone()));
        }
        if let Some(due) = due {
            self.order.insert((due, owner));
        }
    }

    /// Returns the earliest deadline of all owners.
    pub(crate) fn next(&self) -> Option<Time> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Removes and returns the owner with the earliest deadline, if that is due at `now`. The caller sets the owner's
    /// next deadline.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Owner> {
        if self.next()? > now {
            return None;
        }
        let (_, owner) = self.order.pop_first()?;
        self.due.remove(&owner);
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_comes_first_and_a_later_setting_replaces_an_earlier_one() {
        let mut timers = Timers::default();
        let owner = |name: &'static str| Owner::Session(SessionId::from_static(name));
        timers.set(owner("a"), Some(Time(5)));
        timers.set(owner("b"), Some(Time(3)));
        timers.set(owner("a"), Some(Time(2)));
        timers.set(owner("c"), Some(Time(1)));
        timers.set(owner("c"), None);
        assert_eq!(timers.next(), Some(Time(2)));
        assert_eq!(timers.pop(Time(1)), None);
        assert_eq!(timers.pop(Time(9)), Some(owner("a")));
        assert_eq!(timers.pop(Time(9)), Some(owner("b")));
        assert_eq!(timers.pop(Time(9)), None);
        assert!(timers.due.is_empty());
    }
}
