//! What a transition depends on, so that its result can be remembered.

use super::Action;

/// The parts of a state on which a transition depends.
pub(super) enum Scope {
    /// One process and its connection.
    Process(u8),
    /// The store, and the connection from which it receives a message.
    Store(Option<u8>),
    /// More than one part.
    World,
}

pub(super) fn scope(action: Action) -> Scope {
    match action {
        Action::Thread { process, .. }
        | Action::Abandon { process, .. }
        | Action::ToProcess { process, .. }
        | Action::LoseUp { process, .. }
        | Action::LoseDown { process, .. }
        | Action::Cut { process, .. }
        | Action::Silence { process }
        | Action::Connect { process }
        | Action::Crash { process, .. }
        | Action::Start { process }
        | Action::Shutdown { process }
        | Action::GiveBack { process, .. }
        | Action::ProcessTimer { process, .. } => Scope::Process(process),
        Action::ToStore { process, .. } => Scope::Store(Some(process)),
        Action::StoreTimer(_) | Action::Flush | Action::Stop { .. } | Action::Fill { .. } => {
            Scope::Store(None)
        }
        Action::Restart | Action::Tick { .. } => Scope::World,
    }
}

/// Returns the process that moves.
pub(super) fn process_of(action: Action) -> Option<u8> {
    match scope(action) {
        Scope::Process(process) => Some(process),
        Scope::Store(_) | Scope::World => None,
    }
}
