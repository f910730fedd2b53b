//! What the journals say must be in the store.

use crate::journal::{Event, Line};
use std::collections::BTreeMap;
use std::fmt;

/// The attribute that counts for the whole session.
pub const COUNT: &str = "count";

/// How the counters of threads begin.
pub const COUNTER: &str = "n:";

/// The numbers of one session.
pub type Numbers = BTreeMap<String, u64>;

/// Something that may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An acknowledged value is not there any more.
    Lost {
        /// Which session.
        session: String,
        /// Which counter.
        counter: String,
        /// What was acknowledged.
        acknowledged: u64,
        /// What is there.
        found: u64,
    },
    /// A counter is larger than its thread can have made it.
    Invented {
        /// Which session.
        session: String,
        /// Which counter.
        counter: String,
        /// The most that was tried.
        tried: u64,
        /// What is there.
        found: u64,
    },
    /// The counters of a session do not add up to its count.
    Differs {
        /// Which session.
        session: String,
        /// The sum of its counters.
        sum: u64,
        /// Its count.
        count: u64,
    },
    /// A grant had an older token than one that had written before.
    OldToken {
        /// Which session.
        session: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost {
                session,
                counter,
                acknowledged,
                found,
            } => write!(
                f,
                "lost: session {session}, {counter}: {acknowledged} was acknowledged, {found} is there"
            ),
            Self::Invented {
                session,
                counter,
                tried,
                found,
            } => write!(
                f,
                "invented: session {session}, {counter}: at most {tried} was written, {found} is there"
            ),
            Self::Differs {
                session,
                sum,
                count,
            } => write!(
                f,
                "differs: session {session}: the counters add up to {sum}, the count says {count}"
            ),
            Self::OldToken { session } => write!(f, "old token: session {session}"),
        }
    }
}

/// Between which bounds a counter must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bounds {
    acknowledged: u64,
    tried: u64,
}

/// What was found wrong, and how much was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What may not be; empty when all is well.
    pub findings: Vec<Finding>,
    /// Increments that were acknowledged.
    pub acknowledged: u64,
    /// Increments that are there, acknowledged or not.
    pub found: u64,
}

/// Judges the journals, each in its order, against what is in the store in the end.
#[must_use]
pub fn judge<'l>(
    journals: impl IntoIterator<Item = &'l [Line]>,
    sessions: &BTreeMap<String, Numbers>,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut bounds = BTreeMap::new();
    for line in journals.into_iter().flatten() {
        follow(line, &mut bounds, &mut verdict);
    }
    for ((session, counter), bounds) in &bounds {
        let found = sessions
            .get(*session)
            .and_then(|numbers| numbers.get(*counter));
        compare(
            session,
            counter,
            *bounds,
            found.copied().unwrap_or(0),
            &mut verdict.findings,
        );
    }
    for (session, numbers) in sessions {
        let counters = numbers.iter().filter(|(name, _)| name.starts_with(COUNTER));
        let sum = counters.map(|(_, value)| value).sum();
        let count = numbers.get(COUNT).copied().unwrap_or(0);
        if sum != count {
            let session = session.clone();
            verdict.findings.push(Finding::Differs {
                session,
                sum,
                count,
            });
        }
        verdict.found += sum;
    }
    verdict
}

fn follow<'l>(
    line: &'l Line,
    bounds: &mut BTreeMap<(&'l str, &'l str), Bounds>,
    verdict: &mut Verdict,
) {
    let Line {
        session,
        counter,
        event,
    } = line;
    let bounds = bounds.entry((session, counter)).or_default();
    match *event {
        Event::Saw(value) => {
            compare(session, counter, *bounds, value, &mut verdict.findings);
            // What was unknown before is known now, except whether it is durable.
            bounds.tried = value + 1;
        }
        Event::Did(value) => {
            if value != bounds.tried {
                let tried = bounds.tried;
                let (session, counter) = (session.clone(), counter.clone());
                verdict.findings.push(Finding::Invented {
                    session,
                    counter,
                    tried,
                    found: value,
                });
            }
            bounds.acknowledged = value;
            verdict.acknowledged += 1;
        }
        Event::Differs(sum, count) => {
            let session = session.clone();
            verdict.findings.push(Finding::Differs {
                session,
                sum,
                count,
            });
        }
        Event::OldToken => verdict.findings.push(Finding::OldToken {
            session: session.clone(),
        }),
    }
}

fn compare(session: &str, counter: &str, bounds: Bounds, found: u64, findings: &mut Vec<Finding>) {
    let Bounds {
        acknowledged,
        tried,
    } = bounds;
    let (session, counter) = (session.to_owned(), counter.to_owned());
    if found < acknowledged {
        findings.push(Finding::Lost {
            session,
            counter,
            acknowledged,
            found,
        });
    } else if found > tried {
        findings.push(Finding::Invented {
            session,
            counter,
            tried,
            found,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(events: &[Event]) -> Vec<Line> {
        let line = |event: &Event| Line {
            session: "s".to_owned(),
            counter: "n:p.1".to_owned(),
            event: *event,
        };
        events.iter().map(line).collect()
    }

    fn judged(events: &[Event], counter: u64, count: u64) -> Vec<Finding> {
        let numbers = [("n:p.1".to_owned(), counter), (COUNT.to_owned(), count)];
        let sessions = [("s".to_owned(), numbers.into())].into();
        judge([&lines(events)[..]], &sessions).findings
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_was_tried_may_be() {
        use Event::{Did, Saw};
        let events = [Saw(0), Did(1), Saw(1)];
        assert_eq!(judged(&events, 1, 1), []);
        assert_eq!(judged(&events, 2, 2), []);
        assert!(matches!(
            judged(&events, 0, 0)[..],
            [Finding::Lost {
                acknowledged: 1,
                found: 0,
                ..
            }]
        ));
        assert!(matches!(
            judged(&events, 3, 3)[..],
            [Finding::Invented {
                tried: 2,
                found: 3,
                ..
            }]
        ));
        assert!(matches!(
            judged(&events, 1, 2)[..],
            [Finding::Differs {
                sum: 1,
                count: 2,
                ..
            }]
        ));
    }

    #[test]
    fn what_a_thread_sees_is_judged_as_the_end_is() {
        use Event::{Did, Saw};
        assert!(matches!(
            judged(&[Saw(0), Did(1), Saw(0)], 1, 1)[..],
            [Finding::Lost { .. }]
        ));
        assert!(matches!(
            judged(&[Saw(0), Did(1), Saw(2)], 3, 3)[..],
            [Finding::Invented { .. }]
        ));
        // An increment without an answer may have happened.
        assert_eq!(judged(&[Saw(0), Saw(1), Did(2)], 2, 2), []);
        assert_eq!(judged(&[Saw(0), Saw(0), Did(1)], 1, 1), []);
    }
}
