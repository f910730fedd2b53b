//! The judged store: its address, and the hooks that act on it.

use crate::case::Need;
use crate::end::{CaseEnd, Play};
use crate::store::Limits;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

/// A store to be judged.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address as `HOST:PORT`.
    pub address: String,
    /// The tolerance for late messages in milliseconds. No case is more exact than that.
    pub slack_ms: u64,
    /// The longest wait of a case for a deadline of the store, in milliseconds.
    pub wait_max_ms: u64,
    /// The time in milliseconds after which the store ends unused sessions, if it does.
    pub expires_ms: Option<u64>,
    /// The known limits of the store.
    pub limits: Limits,
    /// The available hooks.
    pub hooks: Hooks,
}

/// The hooks that act on the target.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// Kills the store and starts it again on the same data. The hook need not wait until the store listens.
    pub restart: Option<Hook>,
    /// Pauses the store, as a debugger does.
    pub pause: Option<Hook>,
    /// Resumes the paused store.
    pub resume: Option<Hook>,
    /// Recalls a session, as an operator does.
    pub recall: Option<Hook>,
}

/// An action on the target.
#[derive(Clone)]
pub enum Hook {
    /// A shell command, which finds the session's id in `SESSION` and must exit with 0.
    Shell(String),
    /// A function, which receives the session's id and returns an error text on failure.
    Call(Arc<Call>),
}

/// A function that acts on the target. It receives the session's id and returns an error text on failure.
type Call = dyn Fn(&str) -> Result<(), String> + Send + Sync;

impl Hook {
    /// Returns a hook that calls a function.
    pub fn call(call: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self::Call(Arc::new(call))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(command) => f.write_str(command),
            Self::Call(_) => f.write_str("a function"),
        }
    }
}

impl Target {
    /// Returns a store at that address with default settings.
    #[must_use]
    pub fn at(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            slack_ms: 5_000,
            wait_max_ms: 15_000,
            expires_ms: None,
            limits: Limits::default(),
            hooks: Hooks::default(),
        }
    }

    /// Returns the target's name in reports.
    pub(crate) fn name(&self) -> String {
        self.address.clone()
    }

    pub(crate) fn slack(&self) -> Duration {
        Duration::from_millis(self.slack_ms)
    }

    /// Returns whether the target meets a requirement of a case.
    pub(crate) fn has(&self, need: Need) -> bool {
        match need {
            Need::Restart => self.hooks.restart.is_some(),
            Need::Pause => self.hooks.pause.is_some() && self.hooks.resume.is_some(),
            Need::Recall => self.hooks.recall.is_some(),
            Need::Expiry => self.expires_ms.is_some(),
            Need::Limits => !self.limits.is_empty(),
            Need::Alone => true,
        }
    }

    pub(crate) async fn connect(&self) -> Play<TcpStream> {
        let unreachable = |why: &dyn fmt::Display| {
            CaseEnd::Unreachable(format!(
                "the store at {} cannot be reached: {why}",
                self.address
            ))
        };
        match timeout(self.slack(), TcpStream::connect(&self.address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(CaseEnd::fault)?;
                Ok(stream)
            }
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(_) => Err(unreachable(&"no answer")),
        }
    }

    /// Waits until the store accepts connections, because no other event shows that.
    pub(crate) async fn listens(&self) -> Play {
        const EVERY: Duration = Duration::from_millis(20);
        let until = tokio::time::Instant::now() + self.slack();
        loop {
            match self.connect().await {
                Ok(_) => return Ok(()),
                Err(stop) if tokio::time::Instant::now() >= until => return Err(stop),
                Err(_) => tokio::time::sleep(EVERY).await,
            }
        }
    }

    /// Waits shortly until the store accepts connections, because it may have been started just now.
    pub(crate) async fn reach(&self) -> Result<(), String> {
        match self.listens().await {
            Ok(()) => Ok(()),
            Err(CaseEnd::Unreachable(why) | CaseEnd::Fault(why)) => Err(why),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    /// Runs a hook.
    pub(crate) async fn hook(&self, hook: Option<&Hook>, session: &str) -> Play {
        let hook =
            hook.ok_or_else(|| CaseEnd::Skipped("the hook for this action is not set".to_owned()))?;
        let command = match hook {
            Hook::Shell(command) => command,
            Hook::Call(call) => {
                return call(session)
                    .map_err(|why| CaseEnd::Fault(format!("a hook failed: {why}")));
            }
        };
        let output = Command::new("sh")
            .args(["-c", command])
            .env("SESSION", session)
            .output()
            .await
            .map_err(CaseEnd::fault)?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(CaseEnd::Fault(format!(
            "the hook `{command}` failed: {}",
            text.trim()
        )))
    }
}
