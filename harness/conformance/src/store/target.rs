//! The store that is judged: where it listens, and what may be done to it.

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
    /// `HOST:PORT`.
    pub address: String,
    /// How much later than it has to come something may come, in milliseconds: no case is more exact than that.
    pub slack_ms: u64,
    /// The longest that a case waits for a deadline of the store, in milliseconds.
    pub wait_max_ms: u64,
    /// After how many milliseconds the store ends unused sessions, if it does.
    pub expires_ms: Option<u64>,
    /// What it accepts at most, as far as that is known.
    pub limits: Limits,
    /// What may be done to it.
    pub hooks: Hooks,
}

/// What may be done to the target.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// Kills the store and starts it again on the same data. It need not wait until it listens.
    pub restart: Option<Hook>,
    /// Stops the store as a debugger does.
    pub pause: Option<Hook>,
    /// Lets it go on.
    pub resume: Option<Hook>,
    /// Recalls a session, as an operator does.
    pub recall: Option<Hook>,
}

/// Something that is done to the target.
#[derive(Clone)]
pub enum Hook {
    /// By a command of the shell, which finds the session's id in `SESSION` and has to exit with 0.
    Shell(String),
    /// By a function, which gets the session's id, and may say what went wrong.
    Call(Arc<Call>),
}

/// A function that does something to the target; it gets the session's id, and says what went wrong.
type Call = dyn Fn(&str) -> Result<(), String> + Send + Sync;

impl Hook {
    /// A function.
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
    /// A store at that address, with defaults for all else.
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

    /// What a report calls it.
    pub(crate) fn name(&self) -> String {
        self.address.clone()
    }

    pub(crate) fn slack(&self) -> Duration {
        Duration::from_millis(self.slack_ms)
    }

    /// Whether a case can have that.
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
            CaseEnd::Unreachable(format!("{} cannot be reached: {why}", self.address))
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

    /// Waits until somebody listens there: nothing else tells that.
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

    /// Whether somebody listens there, soon: it may have been started just now.
    pub(crate) async fn reach(&self) -> Result<(), String> {
        match self.listens().await {
            Ok(()) => Ok(()),
            Err(CaseEnd::Unreachable(why) | CaseEnd::Fault(why)) => Err(why),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    /// Runs a hook.
    pub(crate) async fn hook(&self, hook: Option<&Hook>, session: &str) -> Play {
        let hook = hook.ok_or_else(|| CaseEnd::Skipped("without the hook".to_owned()))?;
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
