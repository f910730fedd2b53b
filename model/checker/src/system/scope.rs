//! What a transition depends on, so that its result can be remembered.

use super::Action;

/// What a transition depends on.
pub(super) enum Scope {
    /// One process and its connection.
    Process(u8),
    /// The store, and the connection that it hears something from.
    Store(Option<u8>),
    /// More than that.
    World,
}

/// Returns what a transition depends on.
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

/// The process that moves.
pub(super) fn process_of(action: Action) -> Option<u8> {
    match scope(action) {
        Scope::Process(process) => Some(process),
        Scope::Store(_) | Scope::World => None,
    }
}
