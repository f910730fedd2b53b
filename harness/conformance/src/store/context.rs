//! The context of a store case: scripted processes, session ids that no other case uses, and random numbers.

use crate::end::{CaseEnd, Play};
use crate::store::heartbeat::Starved;
use crate::store::{ScriptedProcess, Target};
use crate::trace::{PAUSES, RECALLS, RESTARTS, Trace};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tenure_protocol::{Link, ProcessId, SessionId, ToStore};
use tokio::io::AsyncWriteExt as _;

/// The context of one case against a store.
#[derive(Clone, Debug)]
pub struct CaseContext {
    target: Arc<Target>,
    prefix: String,
    trace: Trace,
    seed: u64,
    /// The scripted processes, and the number of times each of their connections was opened.
    played: Arc<Mutex<BTreeMap<String, BTreeMap<Link, usize>>>>,
    starved: Starved,
}

impl CaseContext {
    pub(crate) fn new(target: Arc<Target>, case: &str, seed: u64, trace: Trace) -> Self {
        // Names depend on the case, so that they stay the same when other cases are added. They also depend on the
        // seed, so that data of earlier runs in the store does no harm.
        let own = case.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self {
            target,
            prefix: format!("c{:08x}", fastrand::u32(..)),
            trace,
            seed: own,
            played: Arc::default(),
            starved: Starved::default(),
        }
    }

    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Records that a process of the case opens a connection. Returns how often it has opened that connection.
    pub(crate) fn note(&self, name: &str, link: Link) -> usize {
        let mut played = self.played.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = played.entry(name.to_owned()).or_default();
        let times = opened.entry(link).or_default();
        *times += 1;
        *times
    }

    /// Ends the case: its processes send Goodbye, so that none of their leases counts against a limit of the store.
    pub(crate) async fn leave(&self) {
        let played = self
            .played
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let apart = Self {
            trace: Trace::default(), // The report does not show this trace.
            ..self.clone()
        };
        for (name, opened) in played {
            if let Some((newest, _)) = opened.last_key_value() {
                // The cases themselves report a store that does not respond.
                let _ = apart.goodbye(&name, *newest).await;
            }
        }
    }

    async fn goodbye(&self, name: &str, link: Link) -> Play {
        let mut player =
            ScriptedProcess::connect(self, name, link.incarnation.0, link.number + 1).await?;
        player.enter().await?;
        player.say(ToStore::Goodbye).await?;
        // After Goodbye this side closes, and the store closes when it has read that.
        player.stream.shutdown().await.map_err(CaseEnd::fault)?;
        player.thrown_out("after a goodbye").await.map(drop)
    }

    pub(crate) fn starved(&self) -> &Starved {
        &self.starved
    }

    /// Returns the final result of the case.
    pub(crate) fn judged(&self, play: Play) -> Play {
        play.map_err(|stop| match stop {
            CaseEnd::Failed { expected, seen } if self.starved.is_so() => {
                CaseEnd::Starved { expected, seen }
            }
            other => other,
        })
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns a context for the same case with fresh names and a fresh trace.
    pub(crate) fn another(&self, trace: Trace) -> Self {
        Self {
            prefix: format!("c{:08x}", fastrand::u32(..)),
            trace,
            ..self.clone()
        }
    }

    /// Returns the seed of the run and the case.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns a session id without the prefix of this case.
    pub(crate) fn short(&self, session: &SessionId) -> Option<SessionId> {
        let rest = session.as_bytes().strip_prefix(self.prefix.as_bytes())?;
        SessionId::new(rest.strip_prefix(b"-")?.to_vec()).ok()
    }

    /// Returns a random number generator that depends on the run's seed.
    pub(crate) fn chance(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }

    /// Returns a session id that only this case uses.
    pub(crate) fn session(&self, name: &str) -> SessionId {
        SessionId::new(format!("{}-{name}", self.prefix)).expect("short names")
    }

    /// Returns a process name that only this case uses.
    pub(crate) fn name(&self, name: &str) -> ProcessId {
        ProcessId::new(format!("{}-{name}", self.prefix)).expect("short names")
    }

    /// Returns a process that is connected and welcome.
    pub(crate) async fn player(&self, name: &str) -> Play<ScriptedProcess> {
        let mut player = self.silent(name).await?;
        player.enter().await?;
        Ok(player)
    }

    /// Returns two processes that are connected and have received their `Welcome`.
    pub(crate) async fn two(&self) -> Play<[ScriptedProcess; 2]> {
        Ok([self.player("p").await?, self.player("q").await?])
    }

    /// Returns three processes that are connected and welcome.
    pub(crate) async fn three(&self) -> Play<[ScriptedProcess; 3]> {
        let [p, q] = self.two().await?;
        Ok([p, q, self.player("r").await?])
    }

    /// Returns a process that is connected and has sent nothing yet.
    pub(crate) async fn silent(&self, name: &str) -> Play<ScriptedProcess> {
        ScriptedProcess::connect(self, name, 1, 1).await
    }

    /// Skips the case if it would have to wait longer than `--wait-max-ms`.
    pub(crate) fn may_wait(&self, what: &str, ms: u64) -> Play {
        let most = self.target.wait_max_ms;
        if ms <= most {
            return Ok(());
        }
        Err(CaseEnd::Skipped(format!(
            "{what} of {ms} ms is longer than --wait-max-ms {most}"
        )))
    }

    /// Kills the store and starts it again.
    pub(crate) async fn restart(&self) -> Play {
        self.trace.did("store", RESTARTS);
        let hook = self.target.hooks.restart.as_ref();
        self.target.hook(hook, "").await?;
        self.target.listens().await
    }

    /// Recalls a session as the operator.
    pub(crate) async fn recall(&self, session: &SessionId) -> Play {
        self.trace.did("store", format!("{RECALLS}{session}"));
        let hook = self.target.hooks.recall.as_ref();
        self.target.hook(hook, &session.to_string()).await
    }

    /// Pauses the store, as a debugger does.
    pub(crate) async fn pause(&self) -> Play {
        self.trace.did("store", PAUSES);
        let hook = self.target.hooks.pause.as_ref();
        self.target.hook(hook, "").await
    }

    /// Resumes the paused store.
    pub(crate) async fn resume(&self) -> Play {
        self.trace.did("store", "goes on");
        let hook = self.target.hooks.resume.as_ref();
        self.target.hook(hook, "").await
    }
}
