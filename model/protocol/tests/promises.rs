//! The promises of one start of a store bind the next start, whose settings may differ.

use tenure_protocol::message::{
    AcquireRequest, Commit, GrantRef, Granted, Hello, Release, WaitMode,
};
use tenure_protocol::store::{Input, Output};
use tenure_protocol::{
    AttributeName, Delta, Incarnation, Link, ProcessId, Promised, Records, Request, SessionId,
    Settings, StoreMachine, StoreSettings, Time, ToProcess, ToStore, Token, Version,
    attributes::Change,
};

const P: ProcessId = ProcessId::from_static("p");
const Q: ProcessId = ProcessId::from_static("q");
const S: SessionId = SessionId::from_static("s");

/// A store with its durable records.
struct World {
    store: StoreMachine,
    records: Records,
}

fn link(incarnation: u64, number: u64) -> Link {
    Link {
        incarnation: Incarnation(incarnation),
        number,
    }
}

impl World {
    fn start(settings: StoreSettings, epoch: u64, records: Records, now: u64) -> Self {
        let store = StoreMachine::recover(Settings::new(settings), epoch, &records, Time(now));
        Self { store, records }
    }

    /// Takes a message, and returns the messages of the store.
    fn says(
        &mut self,
        now: u64,
        process: ProcessId,
        link: Link,
        message: ToStore,
    ) -> Vec<ToProcess> {
        let mut out = Vec::new();
        let input = Input::Message {
            process,
            link,
            message,
        };
        self.store.step(Time(now), input, &mut out);
        let mut said = Vec::new();
        for output in out {
            match output {
                Output::Persist(update) => self.records.apply(&update),
                Output::Send { message, .. } => said.push(message),
                Output::Disconnect { link: old, .. } => assert_ne!(old, link, "it was replaced"),
            }
        }
        said
    }

    fn hello(&mut self, now: u64, process: ProcessId, link: Link, holds: Vec<GrantRef>) {
        let hello = ToStore::Hello(Hello {
            minor: tenure_protocol::MINOR,
            incarnation: link.incarnation,
            sent: Time(now),
            holds,
            waits: Vec::new(),
        });
        let said = self.says(now, process, link, hello);
        let is_welcome = |message: &ToProcess| matches!(message, ToProcess::Welcome { .. });
        assert!(said.iter().any(is_welcome), "{said:?}");
    }

    fn acquire(&mut self, now: u64, process: ProcessId, link: Link) -> Vec<ToProcess> {
        let acquire = AcquireRequest {
            session: S,
            request: Request(1),
            ticket: None,
            known: None,
            wait_mode: WaitMode::Wait,
            existing: false,
        };
        self.says(now, process, link, ToStore::Acquire(acquire))
    }

    /// Welcomes `p` and grants it the session.
    fn granted(&mut self, now: u64) -> Token {
        self.hello(now, P, link(1, 1), Vec::new());
        match &self.acquire(now, P, link(1, 1))[..] {
            [ToProcess::Granted(Granted { token, .. })] => *token,
            other => panic!("{other:?}"),
        }
    }

    fn lease(&self) -> u64 {
        self.store.peer(&P).expect("it has a lease").lease().0
    }
}

fn settings(change: impl FnOnce(&mut StoreSettings)) -> StoreSettings {
    let mut settings = StoreSettings {
        lease_ms: 2_000,
        recall_ms: 3_000,
        ..StoreSettings::default()
    };
    change(&mut settings);
    settings
}

#[test]
fn a_longer_lease_of_an_earlier_start_holds_after_a_restart() {
    let mut before = World::start(
        settings(|own| own.lease_ms = 10_000),
        1,
        Records::default(),
        0,
    );
    let token = before.granted(0);
    let shorter = settings(|own| own.promised.lease = Time(10_500));
    let mut world = World::start(shorter, 2, before.records, 500);
    assert_eq!(world.lease(), 10_500);
    // The process continues to rely on the longer lease, so no hello and no keep-alive shortens it.
    let held = GrantRef { session: S, token };
    world.hello(1_000, P, link(1, 2), vec![held]);
    assert_eq!(world.lease(), 10_500);
    world.says(
        8_000,
        P,
        link(1, 2),
        ToStore::KeepAlive { sent: Time(8_000) },
    );
    assert_eq!(world.lease(), 10_500);
    world.says(
        9_000,
        P,
        link(1, 2),
        ToStore::KeepAlive { sent: Time(9_000) },
    );
    assert_eq!(world.lease(), 11_000, "from here on this start's own");
    // A newer start of the process has no promise.
    world.hello(9_500, P, link(2, 1), Vec::new());
    assert_eq!(world.lease(), 11_500);
}

#[test]
fn a_longer_deadline_of_a_recall_of_an_earlier_start_holds_after_a_restart() {
    let mut before = World::start(settings(|_| {}), 1, Records::default(), 0);
    let token = before.granted(0);
    let promised = settings(|own| {
        own.promised = Promised {
            lease: Time(60_000),
            recall: Time(30_500),
        };
    });
    let mut world = World::start(promised, 2, before.records, 500);
    let held = GrantRef { session: S, token };
    world.hello(1_000, P, link(1, 2), vec![held]);
    world.hello(1_000, Q, link(1, 1), Vec::new());
    let deadline_of = |said: &[ToProcess]| {
        let recalled = said.iter().find_map(|message| match message {
            ToProcess::Recall { info, .. } => Some(info.deadline_ms),
            _ => None,
        });
        recalled.expect("a recall")
    };
    assert_eq!(deadline_of(&world.acquire(1_000, Q, link(1, 1))), 29_500);
    // The next grant is a grant of this start.
    let release = ToStore::Release(Release {
        session: S,
        token,
        base: Version::NONE,
        delta: Delta::default(),
        requeue: Some(Request(2)),
        idle_ms: 0,
    });
    let said = world.says(2_000, P, link(1, 2), release);
    assert_eq!(deadline_of(&said_or_recall(&world, said)), 3_000);
}

/// Returns the sent messages, with the recall in force if the grant carried it.
fn said_or_recall(world: &World, mut said: Vec<ToProcess>) -> Vec<ToProcess> {
    let within = said.iter().find_map(|message| match message {
        ToProcess::Granted(Granted {
            session,
            token,
            recall: Some(info),
            ..
        }) => Some((session.clone(), *token, *info)),
        _ => None,
    });
    if let Some((session, token, info)) = within {
        assert!(world.store.session(&session).is_some());
        let hold = GrantRef { session, token };
        said.push(ToProcess::Recall { hold, info });
    }
    said
}

#[test]
fn a_longer_time_to_live_of_an_earlier_start_holds_after_a_restart() {
    let long = settings(|own| own.time_to_live_ms = Some(100_000));
    let mut before = World::start(long, 1, Records::default(), 0);
    let token = before.granted(0);
    let base = match &before.says(0, P, link(1, 1), commit(token, Version::NONE, "1"))[..] {
        [ToProcess::Committed { version, .. }] => *version,
        other => panic!("{other:?}"),
    };
    let expires = |world: &World| world.records.get(&S).expect("a record").head.expires;
    assert_eq!(expires(&before), Some(Time(100_000)));

    let short = settings(|own| own.time_to_live_ms = Some(1_000));
    let mut world = World::start(short, 2, before.records, 500);
    world.hello(1_000, P, link(1, 2), vec![GrantRef { session: S, token }]);
    let said = world.says(2_000, P, link(1, 2), commit(token, base, "2"));
    assert!(
        matches!(said[..], [ToProcess::Committed { .. }]),
        "{said:?}"
    );
    assert_eq!(expires(&world), Some(Time(100_000)), "as it was promised");
    // When the promised end is nearer than this start's, a use counts again.
    let base = world.records.get(&S).expect("a record").head.version;
    world.says(
        99_500,
        P,
        link(1, 2),
        ToStore::KeepAlive { sent: Time(99_500) },
    );
    world.says(99_500, P, link(1, 2), commit(token, base, "3"));
    assert_eq!(expires(&world), Some(Time(100_500)));
}

fn commit(token: Token, base: Version, value: &'static str) -> ToStore {
    let change = Change {
        name: AttributeName::from_static("a"),
        value: Some(value.as_bytes().into()),
    };
    ToStore::Commit(Commit {
        session: S,
        token,
        base,
        delta: [change].into_iter().collect(),
    })
}
