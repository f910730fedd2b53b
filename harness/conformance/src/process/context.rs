//! The context of a process case: the target library, which an adapter drives, the trace and the seed.

use crate::end::Play;
use crate::process::Target;
use crate::process::adapter::Adapter;
use crate::trace::Trace;
use std::sync::Arc;
use std::time::Duration;

/// The context of one case against a process library.
#[derive(Clone, Debug)]
pub struct CaseContext {
    target: Arc<Target>,
    trace: Trace,
    seed: u64,
}

impl CaseContext {
    pub(crate) fn new(target: Arc<Target>, case: &str, seed: u64, trace: Trace) -> Self {
        let seed = case.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self {
            target,
            trace,
            seed,
        }
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(crate) fn slack(&self) -> Duration {
        self.target.slack()
    }

    /// Returns a random number generator that depends on the run's seed.
    pub(crate) fn chance(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }

    /// Returns an adapter whose process has not connected.
    pub(crate) async fn adapter(&self, who: &str) -> Play<Adapter> {
        Adapter::start(&self.target, &self.trace, who).await
    }
}
