//! When something is due, without looking at everything: the earliest timer of each session and each process.

use crate::memory::InputQueue;
use std::collections::{BTreeSet, HashMap};
use tenure_protocol::{ProcessId, SessionId, Time};

/// Whose timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    Session(SessionId),
    Process(ProcessId),
}

impl Owner {
    /// The line of its timers.
    pub(crate) fn queue(&self) -> InputQueue {
        match self {
            Self::Session(id) => InputQueue::Session(id.clone()),
            Self::Process(process) => InputQueue::Process(process.clone()),
        }
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Timers {
    order: BTreeSet<(Time, Owner)>,
    due: HashMap<Owner, Time>,
}

impl Timers {
    /// Whatever was due for `owner`, this is now.
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

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Takes out whose timer is due at `now`; it is to be set again.
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
    fn the_earliest_comes_first_and_a_later_setting_replaces_an_earlier() {
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
