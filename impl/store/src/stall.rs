//! The rule by which the log reports a stalled disk.

use std::time::Duration;

/// A filter that reports a stall of the disk once when it begins and once when it ends.
#[derive(Debug, Default)]
pub(crate) struct StallWatch {
    longest: Option<Duration>,
}

/// The change that the log is to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StallChange {
    /// The disk no longer answers. The oldest commit has waited this long.
    Began(Duration),
    /// The disk answers again. The longest wait of a commit was this long.
    Ended(Duration),
}

impl StallWatch {
    /// Returns the change to report. `stalled` is the wait of the oldest commit, or `None` if the disk answers.
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
    fn a_stall_is_reported_once_when_it_begins_and_once_when_it_ends() {
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
