//! The library that is judged: how its adapter is started.

use crate::case::Need;
use crate::end::CaseEnd;
use std::time::Duration;

/// A library to be judged.
#[derive(Clone, Debug)]
pub struct Target {
    /// The command of its adapter, and its arguments.
    pub command: Vec<String>,
    /// How much later than it has to come something may come, in milliseconds: no case is more exact than that.
    pub slack_ms: u64,
}

impl Target {
    /// A library whose adapter is started by that command, with defaults for all else.
    #[must_use]
    pub fn of(command: Vec<String>) -> Self {
        Self {
            command,
            slack_ms: 10_000,
        }
    }

    /// What a report calls it.
    pub(crate) fn name(&self) -> String {
        self.command.join(" ")
    }

    pub(crate) fn slack(&self) -> Duration {
        Duration::from_millis(self.slack_ms)
    }

    /// Whether a case can have that.
    pub(crate) fn has(&self, need: Need) -> bool {
        matches!(need, Need::Alone)
    }

    /// Whether there is such a program. What it says is judged by the cases.
    pub(crate) async fn reach(&self) -> Result<(), String> {
        let spawned = match self.command() {
            Ok(mut command) => command.spawn().map_err(|why| why.to_string()),
            Err(CaseEnd::Unreachable(why)) => Err(why),
            Err(other) => Err(format!("{other:?}")),
        };
        let mut child =
            spawned.map_err(|why| format!("{} cannot be started: {why}", self.name()))?;
        child.kill().await.map_err(|why| why.to_string())
    }
}
