//! Traces in which one thing is wrong.

use crate::record::Entry;

/// One thing that is done wrong in a scene.
pub(crate) struct Wrong {
    pub(crate) name: &'static str,
    pub(crate) scene: &'static str,
    /// The rule that it breaks.
    pub(crate) rule: &'static str,
    pub(crate) what: &'static str,
    edit: fn(&mut Vec<Entry>) -> usize,
}

impl Wrong {
    /// Makes it; answers where. What would come behind it is left out.
    pub(crate) fn make(&self, entries: &mut Vec<Entry>) -> usize {
        let place = (self.edit)(entries);
        entries.truncate(place + 1);
        place
    }
}

pub(crate) const ALL: &[Wrong] = &[];
