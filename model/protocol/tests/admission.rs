//! A store that stops, and a store whose disk is full.

use tenure_protocol::message::{
    AcquireRequest, GrantRef, Hello, Limited, Reason, Refusal, Release, WaitMode,
};
use tenure_protocol::store::{Admission, Input, Output, Stopping};
use tenure_protocol::{
    Delta, Incarnation, Link, ProcessId, Records, Request, SessionId, Settings, StoreMachine,
    StoreSettings, Ticket, Time, ToProcess, ToStore, Token, Version,
};

const NOW: Time = Time(1_000);

struct Rig {
    store: StoreMachine,
    records: Records,
}

impl Rig {
    /// Creates a store with the connected processes `p`, `q` and `r`.
    fn new() -> Self {
        let mut rig = Self {
            store: store(1, &Records::default()),
            records: Records::default(),
        };
        for process in ["p", "q", "r"] {
            rig.hello(process, 1, &[], &[]);
        }
        rig
    }

    /// Crashes the store, and recovers it from its durable records.
    fn restart(&mut self) {
        let epoch = self.store.stamps().last().epoch + 1;
        self.store = store(epoch, &self.records);
    }

    fn step(&mut self, input: Input) -> Vec<(String, ToProcess)> {
        let mut out = Vec::new();
        self.store.step(NOW, input, &mut out);
        let mut sent = Vec::new();
        for output in out {
            match output {
                Output::Persist(update) => self.records.apply(&update),
                Output::Send {
                    process, message, ..
                } => sent.push((process.to_string(), message)),
                Output::Disconnect { process, .. } => panic!("{process} is disconnected"),
            }
        }
        sent
    }

    fn say(&mut self, process: &str, message: ToStore) -> Vec<(String, ToProcess)> {
        let number = self.link(process).map_or(1, |link| link.number);
        self.step(Input::Message {
            process: name(process),
            link: link(number),
            message,
        })
    }

    fn link(&self, process: &str) -> Option<Link> {
        self.store.peer(&name(process))?.link()
    }

    fn hello(
        &mut self,
        process: &str,
        number: u64,
        holds: &[(&str, Token)],
        waits: &[AcquireRequest],
    ) -> Vec<(String, ToProcess)> {
        let hold = |(session, token): &(&str, Token)| GrantRef {
            session: id(session),
            token: *token,
        };
        let message = ToStore::Hello(Hello {
            minor: tenure_protocol::MINOR,
            incarnation: Incarnation(1),
            sent: NOW,
            holds: holds.iter().map(hold).collect(),
            waits: waits.to_vec(),
        });
        self.step(Input::Message {
            process: name(process),
            link: link(number),
            message,
        })
    }

    fn acquire(&mut self, process: &str, session: &str, request: u64) -> Vec<(String, ToProcess)> {
        self.say(
            process,
            ToStore::Acquire(acquire_request(session, request, None)),
        )
    }

    fn release(
        &mut self,
        process: &str,
        session: &str,
        requeue: Option<u64>,
    ) -> Vec<(String, ToProcess)> {
        let message = ToStore::Release(Release {
            session: id(session),
            token: self.token(session),
            base: Version::NONE,
            delta: Delta::default(),
            requeue: requeue.map(Request),
            idle_ms: 0,
        });
        self.say(process, message)
    }

    fn token(&self, session: &str) -> Token {
        let session = self.store.session(&id(session)).expect("in memory");
        session.record().head.holder.as_ref().expect("held").token
    }

    fn admit(&mut self, is_full: bool, stopping: Stopping) -> Vec<(String, ToProcess)> {
        self.step(Input::Admission(Admission { is_full, stopping }))
    }

    fn holder(&self, session: &str) -> Option<String> {
        let holder = self.store.session(&id(session))?.holder();
        holder.map(ToString::to_string)
    }
}

fn store(epoch: u64, records: &Records) -> StoreMachine {
    let settings = Settings::new(StoreSettings::default());
    StoreMachine::recover(settings, epoch, records, NOW)
}

fn name(process: &str) -> ProcessId {
    ProcessId::new(process.to_owned()).expect("a short name")
}

fn id(session: &str) -> SessionId {
    SessionId::new(session.to_owned()).expect("a short id")
}

fn link(number: u64) -> Link {
    Link {
        incarnation: Incarnation(1),
        number,
    }
}

fn acquire_request(session: &str, request: u64, ticket: Option<Ticket>) -> AcquireRequest {
    AcquireRequest {
        session: id(session),
        request: Request(request),
        known: None,
        wait_mode: WaitMode::Wait,
        ticket,
        existing: false,
    }
}

fn ticket(sent: &[(String, ToProcess)], process: &str) -> Ticket {
    let told = sent.iter().find_map(|(to, message)| match message {
        ToProcess::Queued { ticket, .. } if to == process => Some(*ticket),
        _ => None,
    });
    told.unwrap_or_else(|| panic!("{process} is not told its place: {sent:?}"))
}

fn is_refused(sent: &[(String, ToProcess)], reason: &Refusal) -> bool {
    let is_it =
        |message: &ToProcess| matches!(message, ToProcess::Refused { why, .. } if why == reason);
    sent.iter().any(|(_, message)| is_it(message))
}

fn recalls(sent: &[(String, ToProcess)]) -> usize {
    let is_recall = |message: &ToProcess| match message {
        ToProcess::Recall { info, .. } => info.reason == Reason::Operator,
        _ => false,
    };
    sent.iter()
        .filter(|(_, message)| is_recall(message))
        .count()
}

#[test]
fn a_full_disk_refuses_new_requests_and_keeps_holders_and_waiters() {
    let mut rig = Rig::new();
    rig.acquire("p", "s", 1);
    let before = ticket(&rig.acquire("q", "s", 1), "q");
    rig.admit(true, Stopping::No);

    let full = Refusal::Limit(Limited::Storage);
    assert!(is_refused(&rig.acquire("r", "s", 1), &full));
    assert!(is_refused(&rig.acquire("r", "free", 2), &full));
    assert_eq!(
        ticket(&rig.acquire("q", "s", 1), "q"),
        before,
        "its place stays"
    );
    let again = rig.acquire("p", "s", 1);
    assert!(
        matches!(&again[..], [(_, ToProcess::Granted(_))]),
        "{again:?}"
    );

    rig.admit(false, Stopping::No);
    rig.acquire("r", "free", 3);
    assert_eq!(rig.holder("free").as_deref(), Some("r"));
}

#[test]
fn a_store_that_stops_for_a_restart_recalls_nothing_and_the_order_survives() {
    let mut rig = Rig::new();
    rig.acquire("p", "s", 1);
    let token = rig.token("s");
    assert_eq!(rig.admit(false, Stopping::Keeping), []);
    let first = ticket(&rig.acquire("q", "s", 1), "q");
    let second = ticket(&rig.acquire("r", "s", 1), "r");
    assert!(
        rig.store
            .session(&id("s"))
            .expect("held")
            .recall()
            .is_none()
    );

    rig.restart();
    rig.hello("p", 2, &[("s", token)], &[]);
    rig.hello("r", 2, &[], &[acquire_request("s", 1, Some(second))]);
    rig.hello("q", 2, &[], &[acquire_request("s", 1, Some(first))]);
    rig.release("p", "s", None);
    assert_eq!(
        rig.holder("s").as_deref(),
        Some("q"),
        "the earlier request is granted"
    );
}

#[test]
fn a_store_that_stops_grants_nothing_new() {
    for stopping in [Stopping::Keeping, Stopping::Draining] {
        let mut rig = Rig::new();
        rig.acquire("p", "s", 1);
        rig.acquire("q", "s", 1);
        rig.admit(false, stopping);
        ticket(&rig.acquire("r", "free", 1), "r");
        // A holder that asks again waits behind the other processes.
        ticket(&rig.release("p", "s", Some(2)), "p");
        assert_eq!((rig.holder("s"), rig.holder("free")), (None, None));
        assert_eq!((rig.store.held(), rig.store.waiting()), (0, 3));

        let attempt = AcquireRequest {
            wait_mode: WaitMode::Try,
            ..acquire_request("other", 2, None)
        };
        let sent = rig.say("r", ToStore::Acquire(attempt));
        assert!(is_refused(&sent, &Refusal::WouldBlock));
        assert!(
            rig.records
                .iter()
                .all(|(_, record)| record.head.holder.is_none())
        );
    }
}

#[test]
fn a_drain_recalls_every_grant_once_even_after_a_stop_or_a_rename() {
    let mut rig = Rig::new();
    for (request, session) in ["a", "b", "c"].into_iter().enumerate() {
        rig.acquire("p", session, request as u64 + 1);
    }
    assert_eq!(recalls(&rig.admit(false, Stopping::Keeping)), 0);
    assert_eq!(recalls(&rig.admit(false, Stopping::Draining)), 3);
    assert_eq!(recalls(&rig.admit(true, Stopping::No)), 0);
    assert_eq!(
        rig.store.admission().stopping,
        Stopping::Draining,
        "there is no way back"
    );

    let token = rig.token("a");
    let (session, to) = (id("a"), id("d"));
    let sent = rig.say("p", ToStore::Rename { session, token, to });
    assert_eq!(recalls(&sent), 1, "{sent:?}");
    for session in ["b", "c", "d"] {
        rig.release("p", session, None);
    }
    assert_eq!(rig.store.held(), 0);
}
