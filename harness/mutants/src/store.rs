//! A store with one mutant, in this OS process.

use crate::core::Core;
use crate::line::{Control, serve};
use crate::mutant::{DriverMutant, Mutant};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tenure_conformance::store::{Hook, Hooks, Target};
use tenure_protocol::{Limits, SessionId, StoreSettings};
use tenure_wire::FrameLimits;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The time that the disk needs for a flush.
const DISK: Duration = Duration::from_millis(5);

/// The settings of such a store, with short times, because the suite waits for their end.
#[derive(Clone, Debug)]
pub struct Settings(pub StoreSettings);

impl Default for Settings {
    fn default() -> Self {
        Self(StoreSettings {
            lease_ms: 1_500,
            remind_ms: 300,
            recall_ms: 1_500,
            wait_ms: 3_000,
            time_to_live_ms: None,
            turns: 3,
            promised: tenure_protocol::Promised::default(),
            limits: Limits {
                waiters_max: 8,
                ..Limits::default()
            },
        })
    }
}

/// A running store, which ends when it is dropped.
#[derive(Debug)]
pub struct Store {
    address: SocketAddr,
    core: Arc<Core>,
    control: watch::Sender<Control>,
    settings: StoreSettings,
    /// The tasks of the store, which end with it.
    _tasks: JoinSet<()>,
}

impl Store {
    /// Starts a store with `mutant`.
    ///
    /// # Errors
    /// The error of the operating system if no port is available.
    pub async fn start(mutant: Mutant, settings: Settings) -> io::Result<Arc<Self>> {
        let told = settings.0;
        let mut own = told.clone();
        if mutant.is(DriverMutant::LimitOffByOne) {
            own.limits.waiters_max += 1;
        }
        let limits = FrameLimits::generous(&own.limits);
        let core = Arc::new(Core::new(mutant, own));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let control = watch::Sender::new(Control::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(
            listener,
            Arc::clone(&core),
            control.subscribe(),
            limits,
        ));
        tasks.spawn(keep_time(Arc::clone(&core)));
        Ok(Arc::new(Self {
            address,
            core,
            control,
            settings: told,
            _tasks: tasks,
        }))
    }

    /// Kills the store, and restarts it on the same data.
    pub fn restart(&self) {
        self.core.restart();
        let life = self.core.life();
        self.control.send_modify(|control| control.life = life);
    }

    /// Returns the store as a target of the suite.
    #[must_use]
    pub fn target(self: &Arc<Self>) -> Target {
        let mut target = Target::at(self.address.to_string());
        let own = Arc::clone(self);
        let restart = Hook::call(move |_| {
            own.restart();
            Ok(())
        });
        let pause = self.pauses(true);
        let resume = self.pauses(false);
        let own = Arc::clone(self);
        let recall = Hook::call(move |session| {
            let session =
                SessionId::new(session.to_owned()).expect("the suite passes valid session ids");
            own.core.recall(session);
            Ok(())
        });
        target.expires_ms = self.settings.time_to_live_ms;
        let waiters = format!("waiters_max={}", self.settings.limits.waiters_max);
        target.limits = waiters.parse().expect("a limit");
        target.hooks = Hooks {
            restart: Some(restart),
            pause: Some(pause),
            resume: Some(resume),
            recall: Some(recall),
        };
        target
    }

    fn pauses(self: &Arc<Self>, is_paused: bool) -> Hook {
        let own = Arc::clone(self);
        Hook::call(move |_| {
            own.control
                .send_modify(|control| control.is_paused = is_paused);
            Ok(())
        })
    }
}

async fn listen(
    listener: TcpListener,
    core: Arc<Core>,
    control: watch::Receiver<Control>,
    limits: FrameLimits,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let core = Arc::clone(&core);
                    connections.spawn(serve(core, control.clone(), stream, limits.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Fires timers and flushes the disk at intervals.
async fn keep_time(core: Arc<Core>) {
    let mut tick = tokio::time::interval(DISK);
    loop {
        tick.tick().await;
        core.tick();
        core.flush();
    }
}
