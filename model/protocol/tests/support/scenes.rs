//! Scenes of two or three processes, as scripts: the twelve races of the design, and everyday situations.
//!
//! `tests/races.rs` draws the races as the pictures of the book. `impl/wire/tests/traces.rs` sends all scenes through
//! the codec: they are the traces of `impl/wire/tests/vectors/traces`.

use super::Setup;

/// A scene of the processes `p` and `q`, sometimes `r`, and their store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    /// The name on the page, which is also the name of the file.
    pub(crate) name: &'static str,
    /// The store's `recall_ms`, if it is not the default.
    recall_ms: Option<u64>,
    pub(crate) script: &'static str,
}

impl Scene {
    /// Returns the processes of the scene.
    pub(crate) fn nodes(&self) -> &'static [&'static str] {
        let is_of_three = self.script.contains("r.1 ");
        if is_of_three {
            &["p", "q", "r"]
        } else {
            &["p", "q"]
        }
    }

    pub(crate) fn setup(&self) -> Setup {
        let mut setup = Setup::default();
        setup.store.recall_ms = self.recall_ms.unwrap_or(setup.store.recall_ms);
        setup
    }
}

/// Returns the scene of this name.
pub(crate) fn scene(name: &str) -> Scene {
    let mut all = RACES.iter().chain(ORDINARY);
    *all.find(|scene| scene.name == name)
        .expect("there is such a scene")
}

/// The twelve races, in the order of the page.
pub(crate) const RACES: &[Scene] = &[
    Scene {
        name: "holder-dies",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 q.1 lock s a
                 settle
                 p cut
                 p send
                 wait 9000
                 q tick
                 settle
                 wait 1000
                 store tick
                 q get",
    },
    Scene {
        name: "replaced-connection",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 p.1 write s a x
                 p.1 unlock s a
                 p release s
                 p connect
                 p send late
                 p send
                 p get
                 q.1 lock s a
                 q send
                 p send
                 settle",
    },
    Scene {
        name: "request-crosses-grant",
        recall_ms: None,
        script: "p.1 lock s a
                 p send
                 wait 2000
                 p tick
                 p get
                 p send
                 p get
                 p.1 unlock s a",
    },
    Scene {
        name: "try-and-kept",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 p.1 write s a x
                 p.1 unlock s a
                 q.1 try s a
                 settle",
    },
    Scene {
        name: "recall-overtakes-grant",
        recall_ms: None,
        script: "p.1 lock s a
                 p send
                 q.1 lock s a
                 q send
                 q get
                 p get late
                 p get
                 p get
                 p.2 lock s b
                 p send
                 p.1 unlock s a
                 settle",
    },
    Scene {
        name: "orphaned-waiter",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 q.1 lock s a
                 settle
                 q cut
                 q send
                 p.2 lock s a
                 p.1 unlock s a
                 settle
                 wait 9000
                 p tick
                 settle
                 wait 1000
                 store tick
                 settle",
    },
    Scene {
        name: "unlock-by-stranger",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 p.2 unlock s a
                 p.2 write s a y
                 p.2 lock s a
                 p.1 unlock s a",
    },
    Scene {
        name: "freed-before-written",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 p.1 write s a x
                 q.1 lock s a
                 q send
                 q get
                 p get
                 p send
                 p.1 unlock s a
                 settle",
    },
    Scene {
        name: "read-bumps-token",
        recall_ms: None,
        script: "p.1 lock s a
                 p send
                 wait 2000
                 p tick
                 p get
                 p.1 write s a x
                 p.1 commit s
                 p send
                 p send
                 settle",
    },
    Scene {
        name: "used-after-timeout",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 q.1 lock s a until 100
                 settle
                 p.1 unlock s a
                 p send
                 wait 100
                 q tick
                 q get
                 q.1 write s a y
                 q send
                 settle",
    },
    Scene {
        name: "written-back",
        recall_ms: Some(4_000),
        script: "p.1 lock s a
                 settle
                 p.1 write s a x
                 p.1 commit s
                 settle
                 p.1 write s a y
                 q.1 lock s *
                 settle
                 wait 4000
                 store tick
                 q get
                 q.1 destroy s
                 q send
                 q get
                 p.1 unlock s a
                 p send
                 settle
                 q.2 lock s a
                 settle",
    },
    Scene {
        name: "lease-unheard",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 q.1 lock s a
                 settle
                 wait 3000
                 p tick
                 p send lose
                 q tick
                 settle
                 wait 6500
                 p tick
                 p.1 write s a x
                 p.1 unlock s a
                 wait 500
                 store tick
                 q get",
    },
];

/// The scenes that are no races.
pub(crate) const ORDINARY: &[Scene] = &[
    // A session is acquired, cached, recalled, handed off with its changes, and held over a cut.
    Scene {
        name: "ordinary",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 p.1 write s a x
                 p.1 unlock s a
                 p.1 lock s a
                 p.2 lock s b
                 p.2 write s b y
                 p.2 unlock s b
                 q.1 lock s a
                 settle
                 p.1 unlock s a
                 settle
                 q.1 write s a z
                 q.1 commit s
                 settle
                 p.1 lock s *
                 settle
                 q.1 unlock s a
                 settle
                 p.1 write s c w
                 p cut
                 wait 3000
                 p get
                 p send
                 p connect
                 settle
                 p.1 commit s
                 settle
                 p.1 unlock s *
                 q tick
                 p tick
                 settle
                 p shutdown
                 settle",
    },
    // A store that is killed knows its holder and its queue.
    Scene {
        name: "restart",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 p.1 write s a x
                 p.1 commit s
                 settle
                 q.1 lock s a
                 settle
                 store crash
                 p get
                 q get
                 p connect
                 q connect
                 settle
                 p.1 unlock s a
                 settle
                 q.1 write s a y
                 q.1 unlock s a
                 q release s
                 settle",
    },
    // A session is renamed, and is then destroyed.
    Scene {
        name: "rename-and-destroy",
        recall_ms: None,
        script: "p.1 lock s *
                 settle
                 p.1 write s a x
                 p.1 rename s t
                 settle
                 p.1 unlock t *
                 q.1 lock t *
                 settle
                 q.1 destroy t
                 settle
                 p.1 lock t a
                 settle",
    },
    // Each process has the session that the other one waits for; then one asks in vain.
    Scene {
        name: "deadlock-and-try",
        recall_ms: None,
        script: "p.1 lock s a
                 q.1 lock t a
                 settle
                 p.1 lock t a
                 settle
                 q.1 lock s a
                 settle
                 p.1 unlock s a
                 settle
                 p.2 try s a
                 settle",
    },
    // A process starts again while it holds a session that another process waits for.
    Scene {
        name: "new-incarnation",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 q.1 lock s a
                 settle
                 p cut
                 p send
                 p next p2
                 p2 connect
                 settle
                 p2.1 lock s a
                 settle
                 q.1 unlock s a
                 settle",
    },
    // Three processes want the same session: two wait, in the order of arrival.
    Scene {
        name: "queue",
        recall_ms: None,
        script: "p.1 lock s a
                 settle
                 q.1 lock s a
                 settle
                 r.1 lock s a
                 settle
                 p.1 write s a x
                 p.2 lock s a
                 p.1 unlock s a
                 settle
                 q.1 unlock s a
                 settle
                 r.1 unlock s a
                 settle",
    },
];
