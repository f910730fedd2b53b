//! Estimated sizes in bytes. The store enforces its memory limits by these estimates, not by exact sizes.

use tenure_protocol::attributes::State;
use tenure_protocol::message::{Commit, Granted, Hello, Release};
use tenure_protocol::store::Input;
use tenure_protocol::{Delta, ToProcess, ToStore, Update};

/// The size of a message or update without its variable-size parts.
const HEAD: usize = 256;

/// The size of one list item: an id and a few numbers.
const ITEM: usize = 160;

fn of_delta(delta: &Delta) -> usize {
    let changes = delta.changes().iter();
    let bytes = changes
        .map(|change| change.name.as_bytes().len() + change.value.as_ref().map_or(0, |v| v.len()));
    bytes.map(|bytes| bytes + 32).sum()
}

/// Returns the estimated size of an update that is to be made durable.
pub(crate) fn of_update(update: &Update) -> usize {
    HEAD + match update {
        Update::Put { delta, .. } => of_delta(delta),
        Update::Remove { .. } | Update::Rename { .. } => 0,
    }
}

/// Returns the estimated size of an input that waits for a session to be loaded.
pub(crate) fn of_input(input: &Input) -> usize {
    let Input::Message { message, .. } = input else {
        return HEAD;
    };
    HEAD + match message {
        ToStore::Commit(Commit { delta, .. }) | ToStore::Release(Release { delta, .. }) => {
            of_delta(delta)
        }
        ToStore::Hello(Hello { holds, waits, .. }) => ITEM * (holds.len() + waits.len()),
        ToStore::Busy { blocked_on, .. } => ITEM * blocked_on.len(),
        _ => 0,
    }
}

/// Returns the estimated size of a message to a process.
pub(crate) fn of_message(message: &ToProcess) -> usize {
    HEAD + match message {
        ToProcess::Granted(Granted {
            state: State::Delta(delta) | State::Full(delta),
            ..
        }) => of_delta(delta),
        ToProcess::Welcome { holds, gone, .. } => ITEM * (holds.len() + 2 * gone.len()),
        ToProcess::Alive { recalls, .. } => ITEM * recalls.len(),
        _ => 0,
    }
}
