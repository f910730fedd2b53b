//! Which grants are kept, and which of them to release. A hint only: the machine knows, this counts by its messages.

use std::collections::HashSet;
use tenure_protocol::message::ToProcess;
use tenure_protocol::{SessionId, Time, ToStore};

#[derive(Debug)]
pub(crate) struct Cache {
    kept: HashSet<SessionId>,
    kept_max: usize,
    idle_ms: u64,
    /// What a sweep found unused, and since when.
    idle: Vec<(Time, SessionId)>,
}

impl Cache {
    pub(crate) fn new(kept_max: usize, idle_ms: u64) -> Self {
        Self {
            kept: HashSet::new(),
            kept_max,
            idle_ms,
            idle: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.kept.len() > self.kept_max
    }

    pub(crate) fn note_received(&mut self, message: &ToProcess) {
        match message {
            ToProcess::Welcome { holds, gone, .. } => {
                let renamed = gone.iter().filter_map(|(_, renamed)| renamed.as_ref());
                let held = holds.iter().chain(renamed);
                self.kept = held.map(|hold| hold.session.clone()).collect();
            }
            ToProcess::Granted { session, .. } => {
                self.kept.insert(session.clone());
            }
            ToProcess::Gone {
                session, renamed, ..
            } => {
                self.kept.remove(session);
                self.kept
                    .extend(renamed.as_ref().map(|hold| hold.session.clone()));
            }
            ToProcess::Revoked { session, .. } => {
                self.kept.remove(session);
            }
            ToProcess::LeaseEnded | ToProcess::Superseded | ToProcess::Full => self.kept.clear(),
            _ => {}
        }
    }

    pub(crate) fn note_sent(&mut self, message: &ToStore) {
        if let ToStore::Release { session, .. } = message {
            self.kept.remove(session);
        }
    }

    pub(crate) fn note_lease_lost(&mut self) {
        self.kept.clear();
    }

    /// For how long a session must be unused for a sweep to tell of it: when there are too many, not at all.
    pub(crate) fn unused_ms(&self) -> u64 {
        /// Memory that only sessions in use need is given back after so long.
        const FOLD_MS: u64 = 60_000;
        if self.is_over() {
            0
        } else {
            self.idle_ms.min(FOLD_MS)
        }
    }

    pub(crate) fn note_idle(&mut self, session: SessionId, since: Time) {
        self.idle.push((since, session));
    }

    /// What to release after a sweep: what was unused for long, and the longest unused of too many, a few more than must be, so
    /// that the next grant does not need another look at all.
    pub(crate) fn trim(&mut self, now: Time) -> Vec<SessionId> {
        let mut idle = std::mem::take(&mut self.idle);
        let over = if self.is_over() {
            let target = self.kept_max - self.kept_max / 16;
            (self.kept.len() - target).min(idle.len())
        } else {
            0
        };
        if over > 0 && over < idle.len() {
            idle.select_nth_unstable_by_key(over - 1, |(since, _)| *since);
        }
        let long = |since: Time| now.since(since) >= self.idle_ms;
        let released = idle.into_iter().enumerate();
        let released = released.filter(|(place, (since, _))| *place < over || long(*since));
        released.map(|(_, (_, session))| session).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_protocol::Token;
    use tenure_protocol::message::Hold;

    fn session(number: u64) -> SessionId {
        SessionId::new(number.to_string()).expect("short")
    }

    fn filled(kept_max: usize, count: u64) -> Cache {
        let mut cache = Cache::new(kept_max, 1_000);
        let holds = (0..count).map(|number| Hold {
            session: session(number),
            token: Token::default(),
        });
        cache.note_received(&ToProcess::Welcome {
            sent: Time(0),
            lease_ms: 1,
            holds: holds.collect(),
            gone: Vec::new(),
        });
        cache
    }

    #[test]
    fn the_longest_unused_go_first() {
        let mut cache = filled(3, 5);
        for number in [3, 0, 4, 1] {
            cache.note_idle(session(number), Time(100 + number));
        }
        let mut released = cache.trim(Time(200));
        released.sort_by_key(ToString::to_string);
        assert_eq!(released, [session(0), session(1)]);
        assert!(cache.trim(Time(200)).is_empty(), "each is told once");
    }

    #[test]
    fn what_is_unused_for_long_goes() {
        let mut cache = filled(10, 2);
        assert_eq!(cache.unused_ms(), 1_000);
        cache.note_idle(session(0), Time(0));
        cache.note_idle(session(1), Time(1));
        assert_eq!(cache.trim(Time(1_000)), [session(0)]);
    }

    #[test]
    fn those_in_use_stay() {
        let mut cache = filled(0, 3);
        cache.note_idle(session(2), Time(0));
        assert_eq!(cache.trim(Time(1)), [session(2)]);
        cache.note_lease_lost();
        assert_eq!(cache.len(), 0);
    }
}
