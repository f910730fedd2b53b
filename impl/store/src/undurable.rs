//! What is not durable yet, and the messages that wait for it. Rule 8.

use std::collections::{BTreeMap, HashMap, VecDeque};
use tenure_protocol::{Link, ProcessId, SessionId, ToProcess};

/// A message and where it goes.
pub(crate) type Letter = (ProcessId, Link, ToProcess);

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Undurable {
    /// The number of the last update of each session that has one that is not durable.
    last: HashMap<SessionId, u64>,
    /// All updates that are not durable, in order.
    order: VecDeque<(u64, SessionId)>,
    /// Messages by the update that they wait for.
    held: BTreeMap<u64, Vec<Letter>>,
    /// Connections for which a message about the process as a whole waits: nothing overtakes it.
    gates: HashMap<(ProcessId, Link), u64>,
}

impl Undurable {
    /// An update was given to the writer under this number.
    pub(crate) fn note(&mut self, sequence: u64, id: &SessionId) {
        self.last.insert(id.clone(), sequence);
        self.order.push_back((sequence, id.clone()));
    }

    /// Whether an update of this session is not durable.
    pub(crate) fn has(&self, id: &SessionId) -> bool {
        self.last.contains_key(id)
    }

    /// Keeps a message until what it says is durable; `own` is the last update of the step that it comes from. Answers the
    /// message when it need not wait.
    pub(crate) fn hold(&mut self, own: Option<u64>, letter: Letter) -> Option<Letter> {
        let Some(sequence) = self.waits_for(own, &letter) else {
            return Some(letter);
        };
        if letter.2.session().is_none() {
            self.gates.insert((letter.0.clone(), letter.1), sequence);
        }
        self.held.entry(sequence).or_default().push(letter);
        None
    }

    fn waits_for(&self, own: Option<u64>, (process, link, message): &Letter) -> Option<u64> {
        if self.last.is_empty() {
            return None; // Then neither is anything behind a gate.
        }
        let last = |id| self.last.get(id).copied();
        let said = match message {
            // What has become of a session is as good as an answer to whoever ended or renamed it.
            ToProcess::Welcome { gone, .. } => {
                let ids = gone.iter().flat_map(|(hold, renamed)| {
                    [Some(hold), renamed.as_ref()].into_iter().flatten()
                });
                ids.filter_map(|hold| last(&hold.session)).max().max(own)
            }
            message => message.session().map_or(own, last),
        };
        if self.gates.is_empty() {
            return said;
        }
        said.max(self.gates.get(&(process.clone(), *link)).copied())
    }

    /// Everything up to `sequence` is durable. Answers the messages that have waited for it, in order.
    pub(crate) fn take(&mut self, sequence: u64) -> impl Iterator<Item = Letter> + use<> {
        while let Some((number, id)) = self.order.pop_front_if(|(number, _)| *number <= sequence) {
            if self.last.get(&id) == Some(&number) {
                self.last.remove(&id);
            }
        }
        self.gates.retain(|_, gate| *gate > sequence);
        let rest = self.held.split_off(&(sequence + 1));
        std::mem::replace(&mut self.held, rest)
            .into_values()
            .flatten()
    }
}
