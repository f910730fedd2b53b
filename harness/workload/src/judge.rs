//! Compares the sessions in the store with the journals.

use crate::journal::{Event, Line};
use std::collections::BTreeMap;
use std::fmt;

/// The attribute with the count of the whole session.
pub const COUNT: &str = "count";

/// The prefix of the threads' counters.
pub const COUNTER: &str = "n:";

/// The numbers in one session.
pub type Numbers = BTreeMap<String, u64>;

/// A violation of a guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An acknowledged value is missing.
    Lost {
        /// The session.
        session: String,
        /// The counter.
        counter: String,
        /// The acknowledged value.
        acknowledged: u64,
        /// The value found.
        found: u64,
    },
    /// A counter is larger than any value that its thread has written.
    Invented {
        /// The session.
        session: String,
        /// The counter.
        counter: String,
        /// The largest value written.
        tried: u64,
        /// The value found.
        found: u64,
    },
    /// The sum of a session's counters differs from its count.
    Differs {
        /// The session.
        session: String,
        /// The sum of the counters.
        sum: u64,
        /// The count.
        count: u64,
    },
    /// A grant had a smaller token than an earlier writer.
    OldToken {
        /// The session.
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
                "lost: session {session}, {counter}: {acknowledged} was acknowledged, but {found} was found"
            ),
            Self::Invented {
                session,
                counter,
                tried,
                found,
            } => write!(
                f,
                "invented: session {session}, {counter}: at most {tried} was written, but {found} was found"
            ),
            Self::Differs {
                session,
                sum,
                count,
            } => write!(
                f,
                "differs: session {session}: the sum of the counters is {sum}, but the count is {count}"
            ),
            Self::OldToken { session } => write!(
                f,
                "old token: session {session}: a grant had a smaller token than \
            an earlier writer"
            ),
        }
    }
}

/// The bounds of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bounds {
    acknowledged: u64,
    tried: u64,
}

/// The findings, and the number of acknowledged increments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The violations; empty if there are none.
    pub findings: Vec<Finding>,
    /// The number of acknowledged increments.
    pub acknowledged: u64,
    /// The number of increments found, acknowledged or not.
    pub found: u64,
}

/// Judges the journals, each in order, against the final contents of the store.
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
            // The earlier increment is now known to have happened, but not to be durable.
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
    fn acknowledged_increments_must_be_found_and_unanswered_ones_may_be() {
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
    fn a_value_that_a_thread_sees_is_judged_like_the_final_value() {
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
