//! The reference store as a target of the suite: an OS process of this program, with all hooks.

use crate::crash::own;
use crate::ctl;
use anyhow::{Result, anyhow};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;
use tenure_conformance::store::{Hook, Hooks, Limits, Target};
use tenure_wire::FrameLimits;
use tenure_workload::program::{Program, Served};

/// The idle time after which sessions end: far longer than any case leaves a session alone that it still needs.
const TIME_TO_LIVE_MS: u64 = 5_000;

/// Timeouts short enough for the suite to wait for.
const TIMES: &[(&str, u64)] = &[
    ("lease_ms", 1_500),
    ("recall_ms", 1_500),
    ("remind_ms", 300),
    ("wait_ms", 3_000),
    ("time_to_live_ms", TIME_TO_LIVE_MS),
];

/// Limits that the suite can reach, with room for all cases in parallel.
const LIMITS: &[(&str, u64)] = &[
    ("connections_max", 512),
    ("processes_max", 400),
    ("grants_max", 300),
    ("waiters_max", 8),
    ("attributes_max", 64),
    ("attribute_bytes_max", 64 << 10),
    ("session_bytes_max", 256 << 10),
];

/// Returns the limits that the suite must know: the limits above, and the frame limits that follow from them.
fn limits() -> Result<Limits> {
    let told = |name: &str| {
        let mut all = LIMITS.iter();
        let limit = all.find(|(own, _)| *own == name).map(|(_, limit)| *limit);
        usize::try_from(limit.unwrap_or_default())
    };
    let frames = FrameLimits::generous(&tenure_protocol::Limits {
        grants_max: told("grants_max")?,
        attributes_max: told("attributes_max")?,
        session_bytes_max: told("session_bytes_max")?,
        ..tenure_protocol::Limits::default()
    });
    let own = LIMITS.iter().map(|(name, limit)| format!("{name}={limit}"));
    let derived = [
        format!("frame_bytes_max={}", frames.frame_bytes_max),
        format!("changes_max={}", frames.changes_max),
        format!("items_max={}", frames.items_max),
    ];
    let text = own.chain(derived).collect::<Vec<_>>().join(",");
    text.parse().map_err(anyhow::Error::msg)
}

/// A store that runs for the suite, with short timeouts.
pub(crate) struct Store {
    served: Arc<Mutex<Served>>,
    /// The folder with the data and the log of the store.
    _folder: TempDir,
}

impl Store {
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut arguments = vec!["serve".to_owned()];
        let mut set = |key: &str, value: u64| {
            arguments.push(format!("--{}", key.replace('_', "-")));
            arguments.push(value.to_string());
        };
        TIMES
            .iter()
            .chain(LIMITS)
            .for_each(|(key, value)| set(key, *value));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let served = Program::new(&own()?, &arguments).serve(folder.path())?;
        Ok(Self {
            served: Arc::new(Mutex::new(served)),
            _folder: folder,
        })
    }

    /// Returns the address, the limits and the hooks of the store for the suite.
    pub(crate) fn target(&self) -> Result<Target> {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let mut target = Target::at(served.address().to_string());
        target.limits = limits()?;
        target.expires_ms = Some(TIME_TO_LIVE_MS);
        target.hooks = Hooks {
            restart: Some(self.hook(|served, _| served.kill())),
            pause: Some(self.hook(|served, _| served.pause())),
            resume: Some(self.hook(|served, _| served.resume())),
            recall: Some(self.hook(|served, session| ctl::recall(&served.admin()?, session))),
        };
        Ok(target)
    }

    fn hook(&self, act: impl Fn(&mut Served, &str) -> Result<()> + Send + Sync + 'static) -> Hook {
        let served = Arc::clone(&self.served);
        Hook::call(move |session| {
            let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
            act(&mut served, session).map_err(|error| anyhow!("{error:#}").to_string())
        })
    }
}
