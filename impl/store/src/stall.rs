//! A disk that does not answer: when the log says so.

use std::time::Duration;

/// Tells the log once when the disk no longer answers, and once when it does again.
#[derive(Debug, Default)]
pub(crate) struct StallWatch {
    longest: Option<Duration>,
}

/// What the log is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StallChange {
    /// The disk no longer answers: the oldest commit has waited for so long.
    Began(Duration),
    /// The disk answers again: a commit has waited for so long.
    Ended(Duration),
}

impl StallWatch {
    /// Returns what there is to say, now that commits have `stalled` for so long, or have not.
    pub(crate) fn look(&mut self, stalled: Option<Duration>) -> Option<StallChange> {
        match (self.longest, stalled) {
            (None, Some(waited)) => {
                self.longest = Some(waited);
                Some(StallChange::Began(waited))
            }
            (Some(longest), Some(waited)) => {
                self.longest = Some(longest.max(waited));
                None
            }
            (Some(longest), None) => {
                self.longest = None;
                Some(StallChange::Ended(longest))
            }
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_told_once_when_it_begins_and_once_when_it_ends() {
        let mut watch = StallWatch::default();
        let seconds = |count| Some(Duration::from_secs(count));
        let told = [
            None,
            seconds(6),
            seconds(7),
            seconds(9),
            None,
            None,
            seconds(5),
            None,
        ];
        let told = told.map(|stalled| watch.look(stalled));
        let began = |count| Some(StallChange::Began(Duration::from_secs(count)));
        let ended = |count| Some(StallChange::Ended(Duration::from_secs(count)));
        let expected = [
            None,
            began(6),
            None,
            None,
            ended(9),
            None,
            began(5),
            ended(5),
        ];
        assert_eq!(told, expected);
    }
}
