//! The judged library: the command of its adapter.

use crate::case::Need;
use crate::end::CaseEnd;
use std::time::Duration;

/// A library to be judged.
#[derive(Clone, Debug)]
pub struct Target {
    /// The command of the adapter, and its arguments.
    pub command: Vec<String>,
    /// The tolerance for late messages in milliseconds. No case is more exact than that.
    pub slack_ms: u64,
}

impl Target {
    /// Returns a library whose adapter is started by that command, with default settings.
    #[must_use]
    pub fn of(command: Vec<String>) -> Self {
        Self {
            command,
            slack_ms: 10_000,
        }
    }

    /// Returns the target's name in reports.
    pub(crate) fn name(&self) -> String {
        self.command.join(" ")
    }

    pub(crate) fn slack(&self) -> Duration {
        Duration::from_millis(self.slack_ms)
    }

    /// Returns whether the target meets a requirement of a case.
    pub(crate) fn has(&self, need: Need) -> bool {
        matches!(need, Need::Alone)
    }

    /// Checks that the program can be started. The cases judge its output.
    pub(crate) async fn reach(&self) -> Result<(), String> {
        let spawned = match self.command() {
            Ok(mut command) => command.spawn().map_err(|why| why.to_string()),
            Err(CaseEnd::Unreachable(why)) => Err(why),
            Err(other) => Err(format!("{other:?}")),
        };
        let mut child = spawned.map_err(|why| {
            format!(
                "the adapter {} cannot be started: {why}; check its command",
                self.name()
            )
        })?;
        child.kill().await.map_err(|why| why.to_string())
    }
}
